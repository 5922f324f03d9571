# Turns the ```cpp blocks of one Markdown page into a program. A block whose first line begins with #include, struct, class,
# template, namespace, using or void is placed at file level; the statements of all others run in order in one function.
# -v headers="a.h b.h": what the program includes.
BEGIN {
  count = split(headers, header, " ")
  for (i = 1; i <= count; ++i) print "#include \"" header[i] "\""
  print "#include <iostream>\nusing namespace graft;\n"
  statements = ""
}
/^```cpp[ \t]*$/ { inside = 1; first = 1; next }
/^```/ && inside { inside = 0; next }
inside {
  if (first) file_level = $0 ~ /^(#include|struct|class|template|namespace|using|void)/
  line = (first ? "#line " NR " \"" FILENAME "\"\n" : "") $0 "\n"
  first = 0
  if (file_level) printf "%s", line
  else statements = statements line
}
END {
  print "\nstatic void page() {\n" statements "}\n"
  print "int main() {\n  try {\n    page();\n  } catch (const std::exception& e) {\n    std::cerr << e.what() << '\\n';\n    return 1;\n  }\n}"
}
