// Counts what kernels move. Accesses of a block are noted one by one and joined to requests of warps when the block ends.
#include "graft/kernels/cuda/emulation/traffic.h"

#include <algorithm>
#include <cstdio>
#include <unordered_map>
#include "graft/kernels/cuda/emulation/state.h"

namespace graft::inline v1::cuda::emulation {
namespace {

constexpr uint64_t kSector = 32, kBanks = 32, kWord = 4;

struct Noted {
  uint32_t site, nth;  // which instruction, and how often this thread was there before
  uint16_t thread;
  uint16_t bytes;
  uint64_t address;
};
struct SiteCount {
  const void* pc;
  AccessLine counts;
  std::vector<uint32_t> times;  // per thread of the block
};
struct Touched { uint32_t read = 0, written = 0; };  // bits of a sector's bytes

struct Counter {
  LaunchTraffic launch;
  std::unordered_map<const void*, uint32_t> site_of[2][2];  // by shared, write: code may be shared between both
  std::vector<SiteCount> sites;
  std::vector<Noted> noted;  // by the running block
  std::unordered_map<uint64_t, Touched> touched;
  std::vector<LaunchTraffic> finished;
};
Counter& counter() {
  static auto* c = new Counter;
  return *c;
}

// Sectors of one request, and what of them is touched.
void count_global(AccessLine& to, const Noted* first, const Noted* last) {
  std::pair<uint64_t, uint32_t> sectors[32 * 32];
  size_t n = 0;
  for (const Noted* a = first; a != last; ++a)
    for (uint64_t at = a->address, end = a->address + a->bytes; at < end;) {
      const uint64_t sector = at / kSector, stop = std::min(end, (sector + 1) * kSector), size = stop - at;
      const uint32_t bits = size == kSector ? ~0U : ((1U << size) - 1) << (at % kSector);
      if (n < std::size(sectors)) sectors[n++] = {sector, bits};
      at = stop;
    }
  std::sort(sectors, sectors + n);
  size_t distinct = 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < n;) {
    const uint64_t sector = sectors[i].first;
    uint32_t bits = 0;
    for (; i < n && sectors[i].first == sector; ++i) bits |= sectors[i].second;
    ++distinct;
    bytes += __builtin_popcount(bits);
    Touched& t = counter().touched[sector];
    (to.write ? t.written : t.read) |= bits;
  }
  ++to.requests;
  to.bytes += bytes;
  to.transactions += int64_t(distinct);
  to.ideal += (bytes + int64_t(kSector) - 1) / int64_t(kSector);
}

// Shared memory serves 128 bytes at a time: all lanes of up to four bytes each, or half of them of eight, or a quarter of 16.
void count_shared(AccessLine& to, const Noted* first, const Noted* last) {
  const unsigned bytes = std::max_element(first, last, [](const Noted& a, const Noted& b) { return a.bytes < b.bytes; })->bytes;
  const unsigned lanes = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;
  for (const Noted* a = first; a != last;) {
    const unsigned part = a->thread % 32 / lanes;
    std::vector<uint64_t> words;
    for (; a != last && a->thread % 32 / lanes == part; ++a)
      for (uint64_t w = a->address / kWord; w <= (a->address + a->bytes - 1) / kWord; ++w) words.push_back(w);
    std::ranges::sort(words);
    words.erase(std::unique(words.begin(), words.end()), words.end());
    unsigned of_bank[kBanks] = {};
    for (const uint64_t w : words) ++of_bank[w % kBanks];
    to.bytes += int64_t(words.size() * kWord);
    to.transactions += *std::max_element(of_bank, of_bank + kBanks);
    to.ideal += int64_t((words.size() + kBanks - 1) / kBanks);
  }
  ++to.requests;
}

template <class Value> int64_t sum_of(const std::vector<AccessLine>& lines, bool shared, Value value) {
  int64_t sum = 0;
  for (const AccessLine& l : lines)
    if (l.shared == shared) sum += l.*value;
  return sum;
}

}  // namespace

void begin_traffic(const LaunchConfig& c) {
  Counter& k = counter();
  k.launch = {};
  k.launch.kernel = kernel_name(c.kernel);
  k.launch.blocks = int64_t(c.grid.x) * c.grid.y * c.grid.z;
  k.launch.threads = int64_t(c.block.x) * c.block.y * c.block.z;
  for (auto& by_write : k.site_of)
    for (auto& sites : by_write) sites.clear();
  k.sites.clear();
  k.noted.clear();
  k.touched.clear();
}

void note_access(const void* p, unsigned bytes, bool write, bool shared, const void* pc) {
  Counter& k = counter();
  const auto [found, fresh] = k.site_of[shared][write].try_emplace(pc, uint32_t(k.sites.size()));
  if (fresh) k.sites.push_back({pc, {{}, shared, write}, std::vector<uint32_t>(size_t(k.launch.threads))});
  SiteCount& site = k.sites[found->second];
  const auto thread = uint16_t(running.thread->index);
  k.noted.push_back({found->second, site.times[thread]++, thread, uint16_t(bytes), reinterpret_cast<uint64_t>(p)});
}

void end_block_traffic() {
  Counter& k = counter();
  const auto key = [](const Noted& a) { return std::tuple(a.site, a.thread / 32, a.nth, a.thread); };
  std::ranges::sort(k.noted, [&](const Noted& a, const Noted& b) { return key(a) < key(b); });
  const auto same = [](const Noted& a, const Noted& b) { return a.site == b.site && a.thread / 32 == b.thread / 32 && a.nth == b.nth; };
  for (const Noted *a = k.noted.data(), *end = a + k.noted.size(); a != end;) {
    const Noted* first = a;
    while (a != end && same(*first, *a)) ++a;
    AccessLine& to = k.sites[first->site].counts;
    if (to.shared) count_shared(to, first, a);
    else count_global(to, first, a);
  }
  k.noted.clear();
  for (SiteCount& s : k.sites) std::ranges::fill(s.times, 0);
}

void end_traffic() {
  Counter& k = counter();
  std::vector<const void*> code;
  for (const SiteCount& s : k.sites) code.push_back(s.pc);
  const std::vector<std::string> lines = source_lines(code);
  std::vector<AccessLine>& all = k.launch.lines;
  for (size_t i = 0; i < k.sites.size(); ++i) {
    const AccessLine& c = k.sites[i].counts;
    const auto same = [&](const AccessLine& l) { return l.line == lines[i] && l.shared == c.shared && l.write == c.write; };
    auto at = std::ranges::find_if(all, same);
    if (at == all.end()) at = all.insert(at, {lines[i], c.shared, c.write});
    at->requests += c.requests;
    at->bytes += c.bytes;
    at->transactions += c.transactions;
    at->ideal += c.ideal;
  }
  std::ranges::sort(all, [](const AccessLine& a, const AccessLine& b) {
    return std::tie(a.shared, a.line, a.write) < std::tie(b.shared, b.line, b.write);
  });
  for (const auto& [sector, t] : k.touched) {
    k.launch.unique_read += __builtin_popcount(t.read);
    k.launch.unique_written += __builtin_popcount(t.written);
  }
  k.finished.push_back(std::move(k.launch));
}

int64_t LaunchTraffic::moved() const { return sum_of(lines, false, &AccessLine::bytes); }
double LaunchTraffic::coalescing() const {
  const int64_t sectors = sum_of(lines, false, &AccessLine::transactions);
  return sectors ? double(sum_of(lines, false, &AccessLine::ideal)) / double(sectors) : 1;
}
int64_t LaunchTraffic::conflicts() const {
  return sum_of(lines, true, &AccessLine::transactions) - sum_of(lines, true, &AccessLine::ideal);
}

std::vector<LaunchTraffic> take_traffic() {
  const Lock lock(mutex());
  return std::exchange(counter().finished, {});
}

std::string describe(const LaunchTraffic& t) {
  char row[512];
  std::string text = t.kernel + "\n";
  std::snprintf(row, sizeof row, "  %ld blocks of %ld threads; %ld bytes moved, %ld unique: %.2f x; coalescing %.1f %%; %ld bank conflicts\n",
                long(t.blocks), long(t.threads), long(t.moved()), long(t.unique()),
                t.unique() ? double(t.moved()) / double(t.unique()) : 1., 100 * t.coalescing(), long(t.conflicts()));
  text += row;
  for (const AccessLine& l : t.lines) {
    std::snprintf(row, sizeof row, "  %-40s %-6s %-5s %8ld requests %10ld bytes %8ld %-10s %6.1f %%\n", l.line.c_str(),
                  l.shared ? "shared" : "global", l.write ? "write" : "read", long(l.requests), long(l.bytes), long(l.transactions),
                  l.shared ? "wavefronts" : "sectors", 100. * double(l.ideal) / double(std::max<int64_t>(l.transactions, 1)));
    text += row;
  }
  return text;
}

}  // namespace graft::cuda::emulation
