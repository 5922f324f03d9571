// Contractions by names of dimensions, as batched matrix products: einsum, tensordot; outer, kron.
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {
namespace {

// A letter per dimension; the dimensions of an ellipsis are '0', '1', ... from the last.
using Labels = std::string;

struct Factor {
  Tensor x;
  Labels labels;
  bool has(char c) const { return labels.find(c) != Labels::npos; }
  int dim(char c) const { return int(labels.find(c)); }
  int64_t size(char c) const { return has(c) ? x.size(dim(c)) : 1; }
};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// "i...j" for a tensor of rank 4 is "i10j".
Labels expand_ellipsis(std::string_view text, int rank, std::string_view equation) {
  Labels before, after;
  bool ellipsis = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 3) == "...") {
      GRAFT_CHECK(!ellipsis, "einsum: more than one ellipsis in '", equation, "'");
      ellipsis = true;
      i += 2;
    } else {
      GRAFT_CHECK(is_letter(text[i]), "einsum: '", text[i], "' in '", equation, "' is not a letter");
      (ellipsis ? after : before) += text[i];
    }
  }
  const int hidden = rank - int(before.size() + after.size());
  GRAFT_CHECK(ellipsis ? hidden >= 0 : hidden == 0 || rank < 0, ErrorCode::shape_mismatch, "einsum: '", text, "' in '",
              equation, "' does not name the ", rank, " dimensions of its tensor");
  for (int i = hidden; i-- > 0;) before += char('0' + i);
  return before + after;
}

// A letter that a factor repeats is its diagonal.
Factor with_diagonals(Factor f) {
  for (size_t i = 0; i < f.labels.size(); ++i) {
    const size_t again = f.labels.find(f.labels[i], i + 1);
    if (again == Labels::npos) continue;
    const char c = f.labels[i];
    GRAFT_CHECK(f.x.size(int(i)) == f.x.size(int(again)), ErrorCode::shape_mismatch, "einsum: '", c,
                "' names dimensions of different sizes: ", f.x);
    f.x = f.x.diagonal(0, int(i), int(again));
    f.labels.erase(again, 1);
    f.labels.erase(i, 1);
    f.labels += c;
    return with_diagonals(std::move(f));
  }
  return f;
}
// Sums the dimensions that nobody else needs.
Factor summed(Factor f, const Labels& needed) {
  Shape to = f.x.shape(), left;
  Labels labels;
  for (size_t i = 0; i < f.labels.size(); ++i) {
    if (needed.find(f.labels[i]) == Labels::npos) {
      to[int(i)] = 1;
    } else {
      labels += f.labels[i];
      left.push_back(to[int(i)]);
    }
  }
  if (labels == f.labels) return f;
  return {sum_to(f.x, to).reshape(left), labels};
}
// The factor as [group 0, group 1, ..] with the labels of each group in their order; absent ones have size 1.
Tensor grouped(const Factor& f, std::initializer_list<Labels> groups) {
  Shape order, sizes;
  for (const Labels& g : groups) {
    int64_t n = 1;
    for (const char c : g) {
      if (!f.has(c)) continue;
      order.push_back(f.dim(c));
      n *= f.size(c);
    }
    sizes.push_back(n);
  }
  return f.x.permute(order).reshape(sizes);
}
// Size-1 dimensions broadcast: they are dropped where the other factor has the label with another size.
Factor without_ones(Factor f, const Factor& other) {
  for (size_t i = f.labels.size(); i-- > 0;) {
    if (f.x.size(int(i)) != 1 || other.size(f.labels[i]) == 1) continue;
    f.x = f.x.squeeze(int(i));
    f.labels.erase(i, 1);
  }
  return f;
}
Factor multiplied(Factor a, Factor b, const Labels& needed) {
  a = summed(std::move(a), needed + b.labels);
  b = summed(std::move(b), needed + a.labels);
  const Factor a0 = a;
  a = without_ones(std::move(a), b);
  b = without_ones(std::move(b), a0);
  Labels batch, rows, columns, inner;
  for (const char c : a.labels) {
    if (b.has(c))
      GRAFT_CHECK(a.size(c) == b.size(c), ErrorCode::shape_mismatch, "einsum: '", c, "' has sizes ", a.size(c), " and ",
                  b.size(c), ": ", a.x, ", ", b.x);
    const bool kept = needed.find(c) != Labels::npos;
    (b.has(c) ? kept ? batch : inner : rows) += c;
  }
  for (const char c : b.labels)
    if (!a.has(c)) columns += c;
  a = summed(std::move(a), batch + rows + inner);
  Shape shape;
  for (const char c : batch + rows) shape.push_back(a.size(c));
  for (const char c : columns) shape.push_back(b.size(c));
  const Tensor left = grouped(a, {batch, rows, inner}), right = grouped(b, {batch, inner, columns});
  const Tensor y = inner.empty() ? left * right : matmul(left, right);
  Factor result{y.reshape(shape), batch + rows + columns};
  return summed(std::move(result), needed);
}

}  // namespace

Tensor einsum(std::string_view equation, const Tensors& operands) {
  std::string text;
  for (const char c : equation)
    if (c != ' ') text += c;
  const size_t arrow = text.find("->");
  std::string_view left(text.data(), std::min(arrow, text.size()));
  std::vector<Factor> factors;
  for (size_t i = 0; i < operands.size(); ++i) {
    const size_t comma = left.find(',');
    GRAFT_CHECK((comma == std::string_view::npos) == (i + 1 == operands.size()), "einsum: '", equation,
                "' does not name ", operands.size(), " tensors");
    const Labels labels = expand_ellipsis(left.substr(0, comma), operands[i].dim(), equation);
    factors.push_back(with_diagonals({operands[i], labels}));
    left = comma == std::string_view::npos ? std::string_view() : left.substr(comma + 1);
  }
  GRAFT_CHECK(!factors.empty(), "einsum: needs at least one tensor");

  std::string all;
  int hidden = 0;  // dimensions of the widest ellipsis
  for (size_t i = 0; i < factors.size(); ++i)
    for (const char c : factors[i].labels)
      if (!is_letter(c)) hidden = std::max(hidden, c - '0' + 1);
  std::string_view sides(text.data(), std::min(arrow, text.size()));
  for (const char c : sides)
    if (is_letter(c)) all += c;
  Labels out;
  for (int i = hidden; i-- > 0;) out += char('0' + i);
  if (arrow == std::string::npos) {  // letters that occur once, in the order of the alphabet
    std::string letters = all;
    std::ranges::sort(letters);
    for (const char c : letters)
      if (std::ranges::count(all, c) == 1) out += c;
  } else {
    const std::string_view right = std::string_view(text).substr(arrow + 2);
    int letters = 0;
    for (const char c : right) letters += is_letter(c);
    const bool ellipsis = right.find("...") != std::string_view::npos;
    out = expand_ellipsis(right, letters + (ellipsis ? hidden : 0), equation);
    for (const char c : out) {
      GRAFT_CHECK(!is_letter(c) || all.find(c) != std::string::npos, "einsum: '", c,
                  "' of the result is in no tensor: '", equation, "'");
      GRAFT_CHECK(std::ranges::count(out, c) == 1, "einsum: '", c, "' occurs twice in the result: '", equation, "'");
    }
  }

  Factor result = factors[0];
  for (size_t i = 1; i < factors.size(); ++i) {
    Labels needed = out;
    for (size_t k = i + 1; k < factors.size(); ++k) needed += factors[k].labels;
    result = multiplied(std::move(result), factors[i], needed);
  }
  result = summed(std::move(result), out);
  Shape order, sizes;
  for (const char c : out)
    if (result.has(c)) order.push_back(result.dim(c));
  for (const char c : out) sizes.push_back(result.size(c));
  return result.x.permute(order).reshape(sizes);
}

Tensor tensordot(const Tensor& a, const Tensor& b, const Shape& dims_a, const Shape& dims_b) {
  GRAFT_CHECK(dims_a.rank() == dims_b.rank(), ErrorCode::shape_mismatch, "tensordot: ", dims_a, " and ", dims_b,
              " differ in length");
  const auto split = [](const Tensor& t, const Shape& dims, bool inner_first, Shape& free) {
    unsigned used = 0;
    Shape order, inner;
    int64_t k = 1, m = 1;
    for (const int64_t d : dims) {
      const int w = wrap_dim("tensordot", int(d), t.view());
      used |= 1U << w;
      inner.push_back(w);
      k *= t.size(w);
    }
    Shape outer;
    for (int d = 0; d < t.dim(); ++d) {
      if (used >> d & 1U) continue;
      outer.push_back(d);
      free.push_back(t.size(d));
      m *= t.size(d);
    }
    for (const int64_t d : inner_first ? inner : outer) order.push_back(d);
    for (const int64_t d : inner_first ? outer : inner) order.push_back(d);
    return t.permute(order).reshape(inner_first ? Shape{k, m} : Shape{m, k});
  };
  for (int i = 0; i < dims_a.rank(); ++i)
    GRAFT_CHECK(a.size(int(dims_a[i])) == b.size(int(dims_b[i])), ErrorCode::shape_mismatch,
                "tensordot: contracted sizes differ: ", a, ", ", b);
  Shape shape;
  const Tensor left = split(a, dims_a, false, shape), right = split(b, dims_b, true, shape);
  return matmul(left, right).reshape(shape);
}
Tensor tensordot(const Tensor& a, const Tensor& b, int dims) {
  GRAFT_CHECK(dims >= 0 && dims <= a.dim() && dims <= b.dim(), "tensordot: ", dims, " dimensions of ", a, " and ", b);
  Shape last, first;
  for (int i = 0; i < dims; ++i) last.push_back(a.dim() - dims + i), first.push_back(i);
  return tensordot(a, b, last, first);
}
Tensor outer(const Tensor& a, const Tensor& b) {
  GRAFT_CHECK(a.dim() == 1 && b.dim() == 1, ErrorCode::shape_mismatch, "outer: needs two vectors, not ", a, " and ", b);
  return a.unsqueeze(1) * b;
}
Tensor kron(const Tensor& a, const Tensor& b) {
  const int rank = std::max(a.dim(), b.dim());
  Shape sa, sb, to;
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.dim()), ib = i - (rank - b.dim());
    const int64_t na = ia < 0 ? 1 : a.size(ia), nb = ib < 0 ? 1 : b.size(ib);
    sa.push_back(na), sa.push_back(1);
    sb.push_back(1), sb.push_back(nb);
    to.push_back(na * nb);
  }
  return (a.reshape(sa) * b.reshape(sb)).reshape(to);
}

}  // namespace graft
