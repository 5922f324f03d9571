// The rules of the source tree that no compiler checks: who may include whom, names, opening comments.
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <string>
#include <vector>
#include <gtest/gtest.h>

namespace {

namespace fs = std::filesystem;
const fs::path kRoot = fs::path(GRAFT_TESTS_DIR).parent_path();

constexpr std::array kFolders = {"kernels", "core",     "nn",    "optim",     "io", "surgery",
                                 "tools",   "examples", "tests", "benchmarks"};

// What each layer may include: itself and what lies below.
const std::map<std::string, std::set<std::string>> kBelow = {
    {"kernels", {"kernels"}},
    {"core", {"kernels", "core"}},
    {"nn", {"kernels", "core", "nn"}},
    {"optim", {"kernels", "core", "nn", "optim"}},
    {"io", {"kernels", "core", "nn", "optim", "io"}},
    {"surgery", {"kernels", "core", "nn", "optim", "io", "surgery"}},
};

// Why a line of a file in `layer` is not allowed, or nothing.
std::optional<std::string> misplaced_include(const std::string& layer, const std::string& line) {
  static const std::regex quoted("^\\s*#\\s*include\\s*\"([^\"]*)\"");
  static const std::regex ours("graft/([a-z_]+)/.*");
  std::smatch include, folder;
  if (!std::regex_search(line, include, quoted)) return {};
  const std::string path = include[1];
  if (!std::regex_match(path, folder, ours)) return "\"" + path + "\" is not written as \"graft/...\"";
  if (!kBelow.at(layer).contains(folder[1])) return layer + "/ must not include \"" + path + "\"";
  return {};
}

bool names_a_private_library(const std::string& line) {
  static const std::regex library(
      "^\\s*#\\s*include\\s*[<\"](Eigen/|unsupported/|nlohmann/|CLI/|cuda|cu[a-z]+\\.h|google/|benchmark/|gtest/|zlib)");
  return std::regex_search(line, library);
}

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

bool is_source(const fs::path& file) {
  static const std::set<std::string> extensions = {".h", ".inc", ".cpp", ".cu", ".cuh"};
  return extensions.contains(file.extension().string());
}

// The files of a folder of the project, without what was built.
std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  if (!fs::exists(folder)) return files;
  for (auto it = fs::recursive_directory_iterator(folder); it != fs::recursive_directory_iterator(); ++it) {
    const std::string name = it->path().filename().string();
    if (it->is_directory() && (name[0] == '.' || name.starts_with("build"))) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file()) {
      files.push_back(it->path());
    }
  }
  return files;
}

std::vector<fs::path> sources_in(const std::string& folder) {
  std::vector<fs::path> files = files_in(kRoot / folder);
  std::erase_if(files, [](const fs::path& file) { return !is_source(file); });
  return files;
}

std::string place(const fs::path& file, size_t line) {
  return fs::relative(file, kRoot).string() + ":" + std::to_string(line + 1);
}

// Calls check(line), which says what is wrong with it, for each line of each source of each layer.
template <class Check> void for_each_line(Check check) {
  int seen = 0;
  for (const auto& [layer, below] : kBelow) {
    for (const fs::path& file : sources_in(layer)) {
      const std::vector<std::string> lines = lines_of(file);
      for (size_t i = 0; i < lines.size(); ++i) {
        ++seen;
        if (const std::optional<std::string> wrong = check(layer, file, lines[i])) {
          ADD_FAILURE() << place(file, i) << ": " << *wrong;
        }
      }
    }
  }
  EXPECT_GT(seen, 1000) << "the sources were not found in " << kRoot;
}

}  // namespace

TEST(Architecture, an_include_that_points_up_is_recognised) {
  EXPECT_TRUE(misplaced_include("kernels", "#include \"graft/core/tensor.h\""));
  EXPECT_TRUE(misplaced_include("nn", "  # include \"graft/optim/sgd.h\""));
  EXPECT_TRUE(misplaced_include("core", "#include \"graft/io/safetensors.h\""));
  EXPECT_TRUE(misplaced_include("core", "#include \"tensor.h\""));
  EXPECT_FALSE(misplaced_include("surgery", "#include \"graft/kernels/view.h\""));
  EXPECT_FALSE(misplaced_include("core", "#include <vector>"));
  EXPECT_FALSE(misplaced_include("core", "// graft/nn/module.h"));
  EXPECT_TRUE(names_a_private_library("#include <Eigen/Dense>"));
  EXPECT_TRUE(names_a_private_library("#include <cuda_runtime.h>"));
  EXPECT_FALSE(names_a_private_library("#include <cstdint>"));
}

TEST(Architecture, includes_point_down_kernels_core_nn_optim_surgery) {
  for_each_line([](const std::string& layer, const fs::path&, const std::string& line) {
    return misplaced_include(layer, line);
  });
}

TEST(Architecture, headers_include_no_library_that_a_user_would_have_to_install) {
  for_each_line([](const std::string&, const fs::path& file, const std::string& line) -> std::optional<std::string> {
    const bool of_cuda = file.string().find("/kernels/cuda/") != std::string::npos;  // for .cu files only, not installed
    if (file.extension() != ".h" || of_cuda || !names_a_private_library(line)) return {};
    return "a library in a header: " + line;
  });
}

TEST(Architecture, every_source_opens_by_saying_what_is_in_it_or_with_the_header_that_does) {
  for (const char* folder : kFolders) {
    for (const fs::path& file : sources_in(folder)) {
      const std::vector<std::string> lines = lines_of(file);
      const std::string header = file.stem().string() + ".h\"";
      EXPECT_TRUE(!lines.empty() && (lines[0].starts_with("//") || lines[0].ends_with(header)))
          << place(file, 0) << ": no opening comment";
    }
  }
}

TEST(Architecture, no_file_or_folder_has_a_name_that_says_nothing) {
  static const std::set<std::string> empty_names = {"utils", "util", "common", "misc", "helpers", "helper"};
  for (const fs::path& file : files_in(kRoot)) {
    for (fs::path part = fs::relative(file, kRoot); !part.empty(); part = part.parent_path()) {
      EXPECT_FALSE(empty_names.contains(part.stem().string())) << fs::relative(file, kRoot);
    }
  }
}

TEST(Architecture, no_source_depends_on_a_place_outside_of_the_project) {
  static const std::regex outside("[\" ]/(work|home|root|tmp/[a-z])|(^|[^a-z_])shared/(design|prototypes|conformance|originals)");
  for (const char* folder : kFolders) {
    for (const fs::path& file : sources_in(folder)) {
      if (file.filename() == "architecture_test.cpp") continue;
      const std::vector<std::string> lines = lines_of(file);
      for (size_t i = 0; i < lines.size(); ++i) {
        EXPECT_FALSE(std::regex_search(lines[i], outside)) << place(file, i) << ": " << lines[i];
      }
    }
  }
}
