// Snapshots, and reports of what differs between two of them.
#include <filesystem>
#include <fstream>
#include <sstream>
#include <gtest/gtest.h>
#include "graft/core/ops.h"
#include "graft/nn/activation.h"
#include "graft/nn/containers.h"
#include "graft/nn/conv.h"
#include "graft/nn/linear.h"
#include "graft/nn/norm.h"
#include "graft/surgery/fuse.h"
#include "graft/surgery/operations.h"
#include "graft/surgery/replace.h"
#include "graft/surgery/report.h"

namespace {

using namespace graft;
using surgery::Report;
using surgery::Snapshot;
using Sign = Report::Line::Sign;

std::shared_ptr<nn::Sequential> net() {
  return nn::make<nn::Sequential>(nn::make<nn::Conv2d>(3, 8, 3), nn::make<nn::BatchNorm2d>(8), nn::make<nn::ReLU>(),
                                  nn::make<nn::Sequential>(nn::make<nn::Conv2d>(8, 4, 1), nn::make<nn::ReLU>()));
}
const Snapshot::Row& row(const Snapshot& s, const std::string& path) {
  for (const Snapshot::Row& r : s.rows)
    if (r.path == path) return r;
  throw std::runtime_error("no row " + path);
}
// "~ 2", "+ 3": the sign and the path of every line that is not the same.
std::vector<std::string> differences(const Snapshot& before, const Snapshot& after) {
  const Report r = surgery::report(before, after);
  std::vector<std::string> list;
  for (const Report::Line& l : r.lines())
    if (l.sign != Sign::same)
      list.push_back(std::string(1, char(l.sign)) + " " + (l.after >= 0 ? after.rows[size_t(l.after)] : before.rows[size_t(l.before)]).path);
  return list;
}
using List = std::vector<std::string>;

TEST(Snapshot, has_a_row_for_every_slot_with_what_is_in_it) {
  const auto m = net();
  m->eval();
  const Snapshot s = surgery::snapshot(*m, {ones({2, 3, 10, 10})});
  ASSERT_EQ(s.rows.size(), 7);
  EXPECT_EQ(s.rows[0].type, "Sequential");
  EXPECT_EQ(s.rows[0].parameters, 3 * 8 * 9 + 8 + 16 + 8 * 4 + 4);
  EXPECT_EQ(row(s, "0").text, nn::repr(m->get_submodule("0")));
  EXPECT_EQ(row(s, "0").parameters, 3 * 8 * 9 + 8);
  EXPECT_EQ(row(s, "0").output, "[2,8,8,8]");
  EXPECT_EQ(row(s, "0").macs, 2 * 8 * 8 * 8 * 27);
  EXPECT_EQ(row(s, "3").parameters, 36);
  EXPECT_EQ(row(s, "3").macs, 2 * 4 * 8 * 8 * 8);
  EXPECT_EQ(s.rows[0].macs, row(s, "0").macs + row(s, "3").macs);
  EXPECT_EQ(row(s, "3.1").depth, 2);
  EXPECT_GT(*row(s, "0").milliseconds, 0);
  EXPECT_GE(*s.rows[0].milliseconds, *row(s, "0").milliseconds);
  EXPECT_GT(s.peak_bytes, s.state_bytes);
  EXPECT_EQ(s.unknown, "");
}

TEST(Snapshot, counts_shared_modules_and_tied_parameters_once) {
  const auto shared = nn::make<nn::Linear>(4, 4);
  const auto m = nn::make<nn::Sequential>(shared, nn::make<nn::ReLU>(), shared);
  const Snapshot s = surgery::snapshot(*m);
  ASSERT_EQ(s.rows.size(), 4);
  EXPECT_EQ(s.rows[1].shared, "");
  EXPECT_EQ(s.rows[3].shared, "0");
  EXPECT_EQ(s.rows[0].parameters, 20);
  EXPECT_EQ(s.rows[3].parameters, 0);
  EXPECT_EQ(s.rows[0].macs, 0);
  EXPECT_EQ(s.rows[0].output, "-");
}

TEST(Snapshot, leaves_a_model_in_training_mode_as_it_is) {
  const auto m = net();
  const Snapshot s = surgery::snapshot(*m, {ones({2, 3, 10, 10})});
  EXPECT_FALSE(s.rows[0].milliseconds);
  EXPECT_EQ(s.unknown, "times: the model is in training mode");
  EXPECT_EQ(m->get_buffer("1.num_batches_tracked").item<int64_t>(), 0);
  EXPECT_GT(s.rows[0].macs, 0);
}

TEST(Report, equal_models_have_no_differences) {
  const auto m = net();
  const Report r = surgery::report(surgery::snapshot(*m), surgery::snapshot(*m));
  EXPECT_EQ(r.count(Sign::same), 7);
  for (const Report::Line& l : r.lines()) EXPECT_FALSE(l.touched);
  EXPECT_NE(r.text().find("nothing differs"), std::string::npos);
}

TEST(Report, names_what_was_replaced_and_touches_what_it_lies_in) {
  const auto m = net();
  const Snapshot before = surgery::snapshot(*m);
  surgery::replace(*m, {surgery::on<nn::ReLU>([](const nn::ReLU&) { return nn::make<nn::GELU>(); })});
  const Snapshot after = surgery::snapshot(*m);
  EXPECT_EQ(differences(before, after), (List{"~ 2", "~ 3.1"}));
  const Report r = surgery::report(before, after);
  EXPECT_TRUE(r.lines()[0].touched);
  EXPECT_FALSE(r.lines()[1].touched);
  EXPECT_EQ(r.lines()[4].before, 4);  // "3": the same itself, and touched by what is in it
  EXPECT_EQ(r.lines()[4].sign, Sign::same);
  EXPECT_TRUE(r.lines()[4].touched);
}

TEST(Report, an_insertion_does_not_turn_all_that_follow_into_changes) {
  const auto a = net(), same = net(), b = nn::make<nn::Sequential>(nn::make<nn::Identity>());
  for (const auto& e : same->child_entries()) b->append(e->module);
  EXPECT_EQ(differences(surgery::snapshot(*a), surgery::snapshot(*b)), (List{"+ 0"}));
  EXPECT_EQ(differences(surgery::snapshot(*b), surgery::snapshot(*a)), (List{"- 0"}));
}

TEST(Report, what_goes_with_a_module_goes_with_it) {
  const auto a = nn::make<nn::Sequential>(nn::make<nn::ReLU>(), net()), b = nn::make<nn::Sequential>(nn::make<nn::ReLU>());
  EXPECT_EQ(differences(surgery::snapshot(*a), surgery::snapshot(*b)),
            (List{"- 1", "- 1.0", "- 1.1", "- 1.2", "- 1.3", "- 1.3.0", "- 1.3.1"}));
}

TEST(Report, very_long_lists_are_compared_by_name) {
  const auto a = nn::make<nn::ModuleList>(), b = nn::make<nn::ModuleList>();
  for (int i = 0; i < 3000; ++i) {
    a->append(nn::make<nn::Linear>(1, 1 + i));
    b->append(nn::make<nn::Linear>(2, 1 + i));
  }
  b->append(nn::make<nn::ReLU>());
  const Report r = surgery::report(surgery::snapshot(*a), surgery::snapshot(*b));
  EXPECT_EQ(r.count(Sign::changed), 3000);
  EXPECT_EQ(r.count(Sign::added), 1);
}

TEST(Report, of_a_fusion_in_every_form) {
  const auto m = net();
  m->eval();
  const Tensor x = ones({1, 3, 8, 8});
  const Snapshot before = surgery::snapshot(*m, {x});
  const surgery::Fusion f = surgery::fuse(*m, {x});
  const Report r = surgery::report(before, surgery::snapshot(*m, {x}),
                                   {.title = "<Fusion> & more", .refused = {{"3.1", "subclass", "says \"no\""}}, .recipe = "{\"a\": 1}"});
  const std::string text = r.text(), html = r.html(), svg = r.svg();
  EXPECT_NE(text.find("ConvReLU2d"), std::string::npos) << text;
  EXPECT_NE(text.find("parameters"), std::string::npos);
  EXPECT_NE(text.find("3.1  subclass  says \"no\""), std::string::npos) << text;
  EXPECT_NE(html.find("<title>&lt;Fusion&gt; &amp; more</title>"), std::string::npos);
  EXPECT_NE(html.find("says &quot;no&quot;"), std::string::npos);
  EXPECT_NE(html.find("{&quot;a&quot;: 1}"), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos) << "a page may not need the network";
  EXPECT_EQ(svg.find("<Fusion>"), std::string::npos);
  size_t rows = 0;
  for (size_t at = html.find("<tr class="); at != std::string::npos; at = html.find("<tr class=", at + 1)) ++rows;
  EXPECT_EQ(rows, r.lines().size());
}

TEST(Report, is_written_as_its_ending_says) {
  const Report r = surgery::report(surgery::snapshot(*net()), surgery::snapshot(*net()));
  const auto folder = std::filesystem::temp_directory_path();
  const auto read = [](const std::filesystem::path& p) {
    std::ifstream in(p);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  for (const auto& [ending, content] : {std::pair<std::string, std::string>(".html", r.html()), {".svg", r.svg()}, {".txt", r.text()}}) {
    const auto file = folder / ("graft_report_test" + ending);
    r.write(file.string());
    EXPECT_EQ(read(file), content);
    std::filesystem::remove(file);
  }
  EXPECT_THROW(r.write((folder / "report.pdf").string()), Error);
  EXPECT_THROW(r.write((folder / "no_such_folder" / "report.html").string()), Error);
}

TEST(Report, needs_snapshots_with_rows) { EXPECT_THROW(surgery::report({}, surgery::snapshot(*net())), Error); }

}  // namespace
