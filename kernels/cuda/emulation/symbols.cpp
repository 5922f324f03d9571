// Names and source lines of code addresses, by addr2line: the kernels are compiled with line numbers.
#include <dlfcn.h>
#include <link.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include "graft/kernels/cuda/emulation/state.h"

namespace graft::inline v1::cuda::emulation {

// As in the repository: "kernels/softmax/cuda.cu:41", wherever that lies.
static std::string short_path(const std::string& line) {
  std::string path = std::filesystem::path(line.substr(0, line.find(" (discriminator"))).lexically_normal();
  for (const char* folder : {"/kernels/", "/tests/"})
    if (const size_t at = path.rfind(folder); at != std::string::npos) path.erase(0, at + 1);
  return path;
}

// The two lines that addr2line prints: function, file:line.
static std::pair<std::string, std::string> look_up(const void* code) {
  Dl_info info;
  link_map* map = nullptr;
  if (!dladdr1(code, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP)) return {"?", "?"};
  std::error_code ignored;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  char command[4200];
  std::snprintf(command, sizeof command, "addr2line -f -C -e '%s' 0x%lx 2>/dev/null", *map->l_name ? map->l_name : program.c_str(),
                (unsigned long)(reinterpret_cast<uintptr_t>(code) - map->l_addr));
  std::string lines[2] = {"?", "?"};
  FILE* f = popen(command, "r");
  if (!f) return {"?", "?"};
  char line[4096];
  for (std::string& text : lines) {
    if (!fgets(line, sizeof line, f)) break;
    text = line;
    while (!text.empty() && text.back() == '\n') text.pop_back();
  }
  pclose(f);
  return {lines[0], lines[1]};
}

// A line "program offset" at the end of the file that GRAFT_EMULATE_LAUNCHED names.
void record_launched(const void* kernel) {
  const char* path = std::getenv("GRAFT_EMULATE_LAUNCHED");
  Dl_info info;
  link_map* map = nullptr;
  if (!path || !dladdr1(kernel, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP)) return;
  std::error_code ignored;
  const std::string program = *map->l_name ? map->l_name : std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  if (FILE* f = std::fopen(path, "a")) {
    std::fprintf(f, "%s %lx\n", program.c_str(), (unsigned long)(reinterpret_cast<uintptr_t>(kernel) - map->l_addr));
    std::fclose(f);
  }
}

std::string kernel_name(const void* kernel) { return look_up(kernel).first; }
std::string source_line(const void* code) { return short_path(look_up(code).second); }

std::vector<std::string> source_lines(const std::vector<const void*>& code) {
  std::vector<std::string> lines;
  if (code.empty()) return lines;
  Dl_info info;
  link_map* map = nullptr;
  if (!dladdr1(code[0], &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP)) return std::vector<std::string>(code.size(), "?");
  std::error_code ignored;
  const std::string program = *map->l_name ? map->l_name : std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  std::string command = "addr2line -a -i -e '" + program + "'";
  for (const void* c : code) {  // those of another library come out as ??
    char address[32];
    std::snprintf(address, sizeof address, " 0x%lx", (unsigned long)(reinterpret_cast<uintptr_t>(c) - map->l_addr - 1));
    command += address;
  }
  FILE* f = popen((command + " 2>/dev/null").c_str(), "r");
  char line[4096];
  while (f && fgets(line, sizeof line, f)) {
    std::string text = line;
    text.erase(text.find_last_not_of("\n") + 1);
    if (text.starts_with("0x")) lines.emplace_back("?");
    else if (!lines.empty()) lines.back() = short_path(text);
  }
  if (f) pclose(f);
  lines.resize(code.size(), "?");
  return lines;
}

}  // namespace graft::cuda::emulation
