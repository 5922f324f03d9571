#include "graft/io/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include "graft/core/error.h"

namespace graft::inline v1::io {
namespace {

using nlohmann::json;

constexpr size_t kMostDims = 64;

struct TypeName {
  std::string_view text;
  DType dtype;
};
// In the order in which the reference implementation sorts them, smallest first.
constexpr std::array kTypes{TypeName{"BOOL", boolean}, TypeName{"U8", u8},   TypeName{"I8", i8},
                            TypeName{"I16", i16},      TypeName{"F16", f16}, TypeName{"BF16", bf16},
                            TypeName{"I32", i32},      TypeName{"F32", f32}, TypeName{"C64", c64},
                            TypeName{"F64", f64},      TypeName{"I64", i64}};

// A name from a file, cut where an error message would become unreadable.
std::string quote(std::string_view name) {
  constexpr size_t kMost = 80;
  const std::string_view head = name.substr(0, kMost);
  return json(std::string(head)).dump(-1, ' ', true, json::error_handler_t::replace) + (head == name ? "" : "...");
}

// Takes the events of a JSON parser that does not recurse. The format has four levels, so a deeper one is refused when
// it opens.
class HeaderReader : public nlohmann::json_sax<json> {
 public:
  HeaderReader(SafetensorsHeader& to, std::string_view file) : to_(to), file_(file) {}

  bool start_object(size_t) override {
    if (at_ == At::start) return enter(At::root);
    if (at_ == At::root) return enter(in_metadata_ ? At::metadata : At::entry);
    refuse("an object");
  }
  bool end_object() override {
    if (at_ == At::entry) {
      for (int f = 0; f < 3; ++f)
        if (!(seen_ >> f & 1)) fail_entry("has no \"", kFields[size_t(f)], '"');
    }
    return enter(at_ == At::root ? At::end : At::root);
  }
  bool key(std::string& k) override {
    if (at_ == At::root) return begin_entry(k);
    if (at_ == At::metadata) {
      if (to_.metadata.contains(k)) fail_here("__metadata__ has ", quote(k), " twice");
      metadata_key_ = k;
      return true;
    }
    field_ = size_t(std::find(kFields.begin(), kFields.end(), k) - kFields.begin());
    if (field_ == kFields.size()) fail_entry("has an unknown field ", quote(k));
    if (seen_ >> field_ & 1) fail_entry("has \"", kFields[field_], "\" twice");
    seen_ |= 1U << field_;
    return true;
  }
  bool string(std::string& s) override {
    if (at_ == At::metadata) return to_.metadata.emplace(std::move(metadata_key_), std::move(s)), true;
    if (at_ != At::entry || field_ != kDtype) refuse("a string");
    if (s.size() > 32) fail_entry("has the dtype ", quote(s));
    to_.entries.back().dtype = s;
    return true;
  }
  bool start_array(size_t) override {
    if (at_ != At::entry || field_ == kDtype) refuse("a list");
    return enter(At::numbers);
  }
  bool end_array() override {
    if (field_ == kOffsets && offsets_ != 2) fail_entry("has ", offsets_, " data_offsets instead of 2");
    return enter(At::entry);
  }
  bool number_unsigned(uint64_t v) override {
    if (at_ != At::numbers) refuse("a number");
    TensorEntry& e = to_.entries.back();
    if (field_ == kOffsets) {
      if (offsets_ < 2) (offsets_ == 0 ? e.begin : e.end) = v;
      ++offsets_;
      return true;
    }
    if (v > uint64_t(std::numeric_limits<int64_t>::max()))
      fail(ErrorCode::overflow, file_, ": tensor ", quote(e.name), " has a dimension of ", v);
    if (e.shape.size() == kMostDims)
      fail(ErrorCode::too_large, file_, ": tensor ", quote(e.name), " has more than ", kMostDims, " dimensions");
    e.shape.push_back(int64_t(v));
    return true;
  }
  bool number_integer(int64_t v) override { refuse("the negative number ", v); }
  bool number_float(double, const std::string& text) override {
    refuse("the number ", std::string_view(text).substr(0, 40), ", which is no 64-bit integer,");
  }
  bool null() override { refuse("null"); }
  bool boolean(bool) override { refuse("true or false"); }
  bool binary(json::binary_t&) override { refuse("binary data"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& e) override {
    fail_here("not JSON in UTF-8 at byte ", position == 0 ? 0 : position - 1,
              " of the header: ", std::string_view(e.what()).substr(0, 200));
  }

 private:
  enum class At { start, root, metadata, entry, numbers, end };
  static constexpr std::array<std::string_view, 3> kFields{"dtype", "shape", "data_offsets"};
  static constexpr size_t kDtype = 0, kOffsets = 2;

  bool enter(At at) { return at_ = at, true; }
  bool begin_entry(const std::string& name) {
    in_metadata_ = name == "__metadata__";
    if (in_metadata_ ? std::exchange(had_metadata_, true) : !names_.insert(name).second)
      fail_here("the name ", quote(name), " occurs twice");
    if (in_metadata_) return true;
    to_.entries.emplace_back().name = name;
    seen_ = 0;
    offsets_ = 0;
    return true;
  }
  template <class... A>
  [[noreturn]] void fail_here(const A&... parts) const {
    fail(ErrorCode::malformed, file_, ": ", parts...);
  }
  template <class... A>
  [[noreturn]] void fail_entry(const A&... parts) const {
    fail_here("tensor ", quote(to_.entries.back().name), ' ', parts...);
  }
  // A value of a kind that does not belong at this place.
  template <class... A>
  [[noreturn]] void refuse(const A&... what) const {
    if (at_ == At::start || at_ == At::end) fail_here("the header is not an object");
    if (at_ == At::metadata) fail_here("__metadata__ ", quote(metadata_key_), ": expected a string, found ", what...);
    if (at_ == At::root && in_metadata_) fail_here("__metadata__ is not an object");
    if (at_ == At::root) fail_entry("is not described by an object but by ", what...);
    fail_entry("cannot have ", what..., " in its ", kFields[field_]);
  }

  SafetensorsHeader& to_;
  std::string_view file_;
  At at_ = At::start;
  bool in_metadata_ = false, had_metadata_ = false;
  std::string metadata_key_;
  size_t field_ = 0;
  unsigned seen_ = 0;  // fields of the present entry, one bit each
  int offsets_ = 0;
  std::unordered_set<std::string> names_;
};

uint64_t checked_product(const TensorEntry& e, uint64_t element, std::string_view file) {
  bool empty = false, overflow = false;
  uint64_t n = element;  // zeros count as one: strides are computed from the same product
  for (const int64_t d : e.shape) {
    empty |= d == 0;
    overflow |= d > 1 && n > uint64_t(std::numeric_limits<int64_t>::max()) / uint64_t(d);
    n *= d == 0 ? 1 : uint64_t(d);
  }
  if (overflow) fail(ErrorCode::overflow, file, ": tensor ", quote(e.name), ": its size overflows 64 bits");
  return empty ? 0 : n;
}

void check_sizes(const TensorEntry& e, uint64_t data_bytes, std::string_view file) {
  const auto describe = [&] {
    return concat(file, ": tensor ", quote(e.name), ": data_offsets [", e.begin, ", ", e.end, ']');
  };
  if (e.begin > e.end) fail(ErrorCode::malformed, describe(), " end before they begin");
  if (e.end > data_bytes)
    fail(ErrorCode::malformed, describe(), " reach past the end of the data, which has ", data_bytes, " bytes");
  DType t{};
  const bool known = dtype_from_safetensors(e.dtype, t);
  const uint64_t bytes = checked_product(e, known ? uint64_t(size_of(t)) : 1, file);
  if (known && bytes != e.end - e.begin)
    fail(ErrorCode::mismatch, describe(), " hold ", e.end - e.begin, " bytes, but its shape and dtype ", e.dtype,
         " need ", bytes);
}

// Every byte of the data belongs to exactly one tensor.
void check_tiling(const std::vector<TensorEntry>& entries, uint64_t data_bytes, std::string_view file) {
  std::vector<const TensorEntry*> sorted;
  sorted.reserve(entries.size());
  for (const TensorEntry& e : entries) sorted.push_back(&e);
  std::sort(sorted.begin(), sorted.end(), [](const TensorEntry* a, const TensorEntry* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  uint64_t at = 0;
  for (const TensorEntry* e : sorted) {
    if (e->begin != at)
      fail(ErrorCode::malformed, file, ": tensor ", quote(e->name), " begins at byte ", e->begin,
           e->begin < at ? ", inside the tensor before it" : ", which leaves a hole",
           "; the tensors before it end at byte ", at);
    at = e->end;
  }
  if (at != data_bytes)
    fail(ErrorCode::malformed, file, ": the data has ", data_bytes, " bytes, but the last tensor ends at byte ", at);
}

}  // namespace

bool dtype_from_safetensors(std::string_view text, DType& out) {
  for (const TypeName& t : kTypes)
    if (t.text == text) return out = t.dtype, true;
  return false;
}
int safetensors_dtype_order(DType t) {
  for (size_t i = 0; i < kTypes.size(); ++i)
    if (kTypes[i].dtype == t) return int(i);
  return -1;
}
std::string_view safetensors_dtype(DType t) {
  const int i = safetensors_dtype_order(t);
  return i < 0 ? std::string_view{} : kTypes[size_t(i)].text;
}

SafetensorsHeader parse_safetensors_header(std::string_view text, uint64_t data_bytes, std::string_view file) {
  if (!text.starts_with('{')) fail(ErrorCode::malformed, file, ": the header does not begin with '{'");
  // The JSON parser takes a NUL for the end of its input, and would not see what follows.
  if (const size_t nul = text.find('\0'); nul != text.npos)
    fail(ErrorCode::malformed, file, ": NUL at byte ", nul, " of the header");
  SafetensorsHeader header;
  HeaderReader reader(header, file);
  json::sax_parse(text.begin(), text.end(), &reader);
  for (const TensorEntry& e : header.entries) check_sizes(e, data_bytes, file);
  check_tiling(header.entries, data_bytes, file);
  return header;
}

std::string format_safetensors_header(const SafetensorsHeader& header, std::string_view file) {
  const auto text = [&](const std::string& s) {
    try {
      return json(s).dump();
    } catch (const json::type_error&) {
      fail(ErrorCode::malformed, file, ": the name or metadata ", quote(s), " is not UTF-8");
    }
  };
  const auto list = [](const std::vector<int64_t>& numbers) {  // by hand: json's destructor of a list allocates
    std::string all = "[";
    for (const int64_t n : numbers) all += (all.size() > 1 ? "," : "") + std::to_string(n);
    return all + "]";
  };
  std::string out(8, '\0');
  out += '{';
  const auto separate = [&] {
    if (out.back() != '{') out += ',';
  };
  if (!header.metadata.empty()) {
    out += "\"__metadata__\":{";
    for (const auto& [k, v] : header.metadata) {
      separate();
      out += text(k) + ':' + text(v);
    }
    out += '}';
  }
  for (const TensorEntry& e : header.entries) {
    separate();
    out += text(e.name) + ":{\"dtype\":" + text(e.dtype) + ",\"shape\":" + list(e.shape) +
           ",\"data_offsets\":[" + std::to_string(e.begin) + ',' + std::to_string(e.end) + "]}";
  }
  out += '}';
  out.resize((out.size() + 7) / 8 * 8, ' ');
  const uint64_t length = out.size() - 8;
  if (length > kMostHeaderBytes)
    fail(ErrorCode::too_large, file, ": a header of ", length, " bytes exceeds the format's ", kMostHeaderBytes);
  for (int i = 0; i < 8; ++i) out[size_t(i)] = char(length >> (8 * i) & 255);
  return out;
}

}  // namespace graft::inline v1::io
