// How a tensor prints: digit for digit as PyTorch's tensor_str with its default options.
#include <charconv>
#include <cmath>
#include <ostream>
#include "graft/core/autograd.h"

namespace graft::inline v1 {
namespace {

constexpr int kPrecision = 4, kLineWidth = 80;
constexpr int64_t kThreshold = 1000, kEdgeItems = 3;  // more elements than this: only those at the edges

std::string_view torch_name(DType t) {
  constexpr std::array<std::string_view, kDTypes> names{"float32", "float64", "float16", "bfloat16", "int64", "int32",
                                                        "int16", "int8", "uint8", "bool", "complex64", "complex128"};
  return names[size_t(t)];
}

std::string to_text(double x, std::chars_format format, int digits) {
  if (std::isnan(x)) return "nan";
  std::array<char, 400> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), x, format, digits).ptr;
  return {buffer.data(), end};
}

// The common format of all numbers of one tensor: fixed, scientific, or whole numbers with a point.
class FloatFormat {
 public:
  void add(double x) {
    if (x == 0 || !std::isfinite(x)) return;
    values_.push_back(x);
  }
  void settle() {
    if (values_.empty()) return;
    double least = std::abs(values_[0]), most = least;
    for (const double x : values_) {
      least = std::min(least, std::abs(x));
      most = std::max(most, std::abs(x));
      if (x != std::ceil(x)) whole_ = false;
    }
    scientific_ = most / least > 1000.0 || most > 1.0e8 || least < 1.0e-4;
    for (const double x : values_) width_ = std::max(width_, raw(x).size() + (whole_ && !scientific_));
  }
  std::string operator()(double x) const {
    std::string text = raw(x);
    if (whole_ && !scientific_ && std::isfinite(x)) text += '.';
    return std::string(width_ - std::min(width_, text.size()), ' ') + text;
  }
  size_t width() const { return width_; }

 private:
  std::string raw(double x) const {
    if (scientific_) return to_text(x, std::chars_format::scientific, kPrecision);
    return to_text(x, std::chars_format::fixed, whole_ ? 0 : kPrecision);
  }
  std::vector<double> values_;
  size_t width_ = 1;
  bool whole_ = true, scientific_ = false;
};

class Printer {
 public:
  explicit Printer(const Tensor& t) : t_(t), summarize_(t.numel() > kThreshold) {
    std::array<int64_t, kMaxRank> index{};
    visit(index, 0, [this](const Scalar& s) { measure(s); });
    real_.settle();
    imaginary_.settle();
  }
  std::string text(int indent) {
    std::array<int64_t, kMaxRank> index{};
    return block(index, 0, indent);
  }

 private:
  using Index = std::array<int64_t, kMaxRank>;
  Scalar value(const Index& i) const { return t_.scalar_at(std::span(i.data(), size_t(t_.dim()))); }
  bool skips(int d) const { return summarize_ && t_.size(d) > 2 * kEdgeItems; }

  template <class F> void visit(Index& index, int d, const F& f) const {
    if (d == t_.dim()) return f(value(index));
    for (int64_t i = 0; i < t_.size(d); ++i) {
      if (skips(d) && i == kEdgeItems) i = t_.size(d) - kEdgeItems;
      index[size_t(d)] = i;
      visit(index, d + 1, f);
    }
  }
  void measure(const Scalar& s) {
    if (is_complex(t_.dtype())) {
      const auto z = s.to<std::complex<double>>();
      real_.add(z.real());
      imaginary_.add(z.imag());
    } else if (is_floating(t_.dtype())) {
      real_.add(s.to<double>());
    } else {
      width_ = std::max(width_, integer(s).size());
    }
  }
  std::string integer(const Scalar& s) const {
    if (t_.dtype() == boolean) return s.to<bool>() ? "True" : "False";
    return std::to_string(s.to<int64_t>());
  }
  std::string element(const Scalar& s) const {
    if (is_complex(t_.dtype())) {
      const auto z = s.to<std::complex<double>>();
      std::string imaginary = imaginary_(z.imag()) + "j";
      imaginary.erase(0, imaginary.find_first_not_of(' '));
      return real_(z.real()) + (imaginary[0] == '-' ? "" : "+") + imaginary;
    }
    if (is_floating(t_.dtype())) return real_(s.to<double>());
    const std::string text = integer(s);
    return std::string(width_ - text.size(), ' ') + text;
  }
  size_t element_width() const {
    if (is_complex(t_.dtype())) return real_.width() + imaginary_.width() + 3;
    return (is_floating(t_.dtype()) ? real_.width() : width_) + 2;
  }

  std::string row(Index& index, int indent) const {
    const int d = t_.dim() - 1;
    std::string text = "[";
    const size_t per_line = std::max<size_t>(1, size_t(std::max(0, kLineWidth - indent)) / element_width());
    size_t n = 0;
    auto put = [&](const std::string& item) {
      if (n > 0) text += n % per_line ? ", " : ",\n" + std::string(size_t(indent + 1), ' ');
      text += item;
      ++n;
    };
    for (int64_t i = 0; i < t_.size(d); ++i) {
      if (skips(d) && i == kEdgeItems) {
        put(" ...");
        i = t_.size(d) - kEdgeItems;
      }
      index[size_t(d)] = i;
      put(element(value(index)));
    }
    return text + "]";
  }
  std::string block(Index& index, int d, int indent) const {
    if (t_.dim() == 0) return element(value(index));
    if (d == t_.dim() - 1) return row(index, indent);
    const std::string gap = "," + std::string(size_t(t_.dim() - d - 1), '\n') + std::string(size_t(indent + 1), ' ');
    std::string text = "[";
    for (int64_t i = 0; i < t_.size(d); ++i) {
      if (i > 0) text += gap;
      if (skips(d) && i == kEdgeItems) {
        text += "..." + gap;
        i = t_.size(d) - kEdgeItems;
      }
      index[size_t(d)] = i;
      text += block(index, d + 1, indent + 1);
    }
    return text + "]";
  }

  const Tensor& t_;
  const bool summarize_;
  size_t width_ = 1;  // of integers and bools
  FloatFormat real_, imaginary_;
};

std::string tuple(const Shape& s) {
  std::string text = "(";
  for (int i = 0; i < s.rank(); ++i) text += (i ? ", " : "") + std::to_string(s[i]);
  return text + (s.rank() == 1 ? ",)" : ")");
}

// "index_put" -> "IndexPutBackward0"; "add_scalar" -> "AddBackward0", as PyTorch, which has one name for both
std::string grad_fn_name(const Node& node) {
  std::string text;
  bool upper = true;
  const bool custom = node.note && node.note->function;
  std::string_view name = custom ? node.note->function->name() : node.op->name;
  if (!custom && name.ends_with("_scalar")) name.remove_suffix(7);
  for (const char c : name) {
    if (c == '_') upper = true;
    else text += std::exchange(upper, false) && c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c;
  }
  return text + (custom ? "Backward" : "Backward0");
}

}  // namespace

std::ostream& operator<<(std::ostream& o, const Tensor& t) {
  if (!t.defined()) return o << "tensor(undefined)";
  constexpr int kIndent = 7;  // of "tensor("
  std::vector<std::string> suffixes;
  std::string text = "tensor(";
  const bool meta = t.device().type == Device::meta;
  if (t.device().type != Device::cpu) suffixes.push_back("device='" + to_string(t.device()) + "'");
  const DType type = t.dtype();
  bool named = type == f32;  // is the dtype what the values would be taken for?
  if (meta || (t.numel() == 0 && t.dim() != 1)) suffixes.push_back("size=" + tuple(t.shape()));
  if (!meta && t.numel() > 0) named = named || type == c64 || type == i64 || type == boolean;
  if (!named) suffixes.push_back("dtype=torch." + std::string(torch_name(type)));
  if (meta) text += "...";
  else if (t.numel() == 0) text += "[]";
  else text += Printer(t.device() == Device::cpu ? t : t.detach().to(Device::cpu)).text(kIndent);
  if (t.requires_grad())
    suffixes.push_back(t.is_leaf() ? "requires_grad=True" : "grad_fn=<" + grad_fn_name(*t.impl()->node) + ">");

  size_t line = text.size() - (text.rfind('\n') + 1) + 2;  // PyTorch counts two more than there are
  for (const std::string& s : suffixes) {
    const bool fits = line + s.size() + 2 <= kLineWidth;
    text += fits ? ", " + s : ",\n" + std::string(kIndent, ' ') + s;
    line = fits ? line + s.size() + 2 : kIndent + s.size();
  }
  return o << text + ")";
}

}  // namespace graft
