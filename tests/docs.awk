# Turns the ```cpp blocks of one Markdown page into a program. A block whose first line begins with #include, struct, class,
# template, namespace, using or void is placed at file level; the statements of all others run in order in one function.
# A ```text block behind such statements is what they print: the program fails where it is not (docs.h).
# -v headers="a.h b.h": what the program includes.
function statement(text) { statements = statements text "\n" }
BEGIN {
  count = split(headers, header, " ")
  for (i = 1; i <= count; ++i) print "#include \"" header[i] "\""
  print "#include <iostream>\n#include \"docs.h\"\nusing namespace graft;\n"
}
/^```cpp[ \t]*$/ { inside = 1; first = 1; prints = 0; next }
/^```text[ \t]*$/ {
  if (!prints) {
    print FILENAME ":" NR ": a text block must follow the cpp block that prints it" > "/dev/stderr"
    failed = 1
    exit 1
  }
  expected = 1
  prints = 0
  says = NR
  statement("docs_page.expect(R\"docs(")
  next
}
/^```/ && expected { expected = 0; statement(")docs\", \"" FILENAME "\", " says ");"); next }
expected { statement($0); next }
/^```/ && inside { inside = 0; prints = !file_level; next }
inside {
  if (first) file_level = $0 ~ /^(#include|struct|class|template|namespace|using|void)/
  line = (first ? "#line " NR " \"" FILENAME "\"\n" : "") $0
  if (file_level) print line
  else statement((first ? "docs_page.block();\n" : "") line)
  first = 0
}
END {
  if (failed) exit 1
  print "\nstatic void page([[maybe_unused]] docs::Page& docs_page) {\n" statements "}\n"
  print "int main() {\n  docs::Page docs_page;\n  try {\n    page(docs_page);\n  } catch (const std::exception& e) {"
  print "    std::cerr << e.what() << '\\n';\n    return 1;\n  }\n  return docs_page.differs();\n}"
}
