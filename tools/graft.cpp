// graft: looks at model files, operates on them and compares them. Exit codes: 0 ok, 1 differs, 2 usage, 3 bad file.
#include <csignal>
#include <iostream>
#include "graft/command.h"
#include "graft/core/version.h"

using namespace command;

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that has seen enough is no error
  CLI::App app("Looks at models in files, operates on them and compares them. Model files are written by surgery::save_model().");
  app.footer("Exit codes: 0 ok, 1 the models or answers differ, 2 wrong usage or a refused operation, 3 a file is not right.\n"
             "Example: graft summary net.safetensors --input 1x3x32x32");
  app.set_version_flag("--version", std::string("graft ") + graft::kVersion);
  app.require_subcommand(1);
  Commands commands{app, {}};
  add_inspection(commands);
  add_operations(commands);
  add_measurements(commands);
  add_information(commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kOk : kUsage;
  }
  try {
    const int code = commands.run();
    std::cout.flush();
    return code;
  } catch (const BadFile& e) {
    std::cerr << "graft: " << e.what() << '\n';
    return kBadFile;
  } catch (const std::exception& e) {
    std::cerr << "graft: " << e.what() << '\n';
    return kUsage;
  }
}
