// Names and source lines of code addresses, by addr2line: the kernels are compiled with line numbers.
#include <dlfcn.h>
#include <link.h>

#include <cstdio>
#include <filesystem>
#include "graft/kernels/cuda/emulation/state.h"

namespace graft::inline v1::cuda::emulation {

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

std::string kernel_name(const void* kernel) { return look_up(kernel).first; }
std::string source_line(const void* code) { return std::filesystem::path(look_up(code).second).lexically_normal(); }

}  // namespace graft::cuda::emulation
