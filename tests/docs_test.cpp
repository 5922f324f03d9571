// What holds a page's words against what its program prints: docs.h.
#include "docs.h"

#include <gtest/gtest.h>

namespace {

TEST(Docs, what_a_page_says_is_what_was_printed_but_for_blanks_at_ends) {
  EXPECT_EQ(docs::trimmed("a  \n\n b\n \n"), "a\n\n b");
  EXPECT_TRUE(docs::matches("", ""));
  EXPECT_TRUE(docs::matches("12.5\n1", "12.5\n1"));
  EXPECT_FALSE(docs::matches("12.5", "12.50"));
  EXPECT_FALSE(docs::matches("", "1"));
  EXPECT_FALSE(docs::matches("1", ""));
  EXPECT_FALSE(docs::matches("1", "2"));
}

TEST(Docs, three_dots_stand_for_anything) {
  EXPECT_TRUE(docs::matches("...", ""));
  EXPECT_TRUE(docs::matches("a...", "a\nb"));
  EXPECT_TRUE(docs::matches("...b", "a b"));
  EXPECT_TRUE(docs::matches("by ..., ... ulp", "by 0.1, 7 ulp"));
  EXPECT_FALSE(docs::matches("a...b", "a c"));
  EXPECT_FALSE(docs::matches("a...a", "a"));  // no character counts twice
  EXPECT_FALSE(docs::matches("...b...b", "b"));
  EXPECT_FALSE(docs::matches("x...", "a x"));
  EXPECT_TRUE(docs::matches("Block(...)", "Block(...)"));
}

TEST(Docs, a_difference_is_reported_with_its_place_and_both_texts) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  bool differs_before = true, differs = false;
  {
    docs::Page page;
    page.block();
    std::cout << "first\n";
    page.expect("\nfirst\n", "docs/a.md", 3);
    differs_before = page.differs();
    page.block();
    std::cout << 41 << '\n';
    page.expect("\n42\n", "docs/a.md", 7);
    std::cout << "on it goes\n";
    differs = page.differs();
  }
  std::cout << "behind\n";
  EXPECT_FALSE(differs_before);
  EXPECT_TRUE(differs);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "docs/a.md:7: the page says\n42\nbut the block before it printed\n41\n");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "first\n41\non it goes\nbehind\n");
}

}  // namespace
