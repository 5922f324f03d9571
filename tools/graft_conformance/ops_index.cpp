// Adapters of indexing.
#include "graft/core/ops.h"
#include "ops.h"
#include "report.h"

namespace conformance {
namespace {

using namespace graft;

int dim_of(Arguments& a) { return int(a.integer("dim")); }
std::optional<int64_t> bound(const Json& j) { return j.is_null() ? std::nullopt : std::optional(j.get<int64_t>()); }

TensorIndex index_of(const Json& j, Arguments& a) {
  if (j.is_null()) return None;
  if (j.is_boolean()) return j.get<bool>();
  if (j.is_number_integer()) return j.get<int64_t>();
  if (j.is_array()) {  // a list of numbers
    const Ints v = j.get<Ints>();
    return graft::tensor(std::span<const int64_t>(v), Shape{int64_t(v.size())});
  }
  if (j.contains("tensor")) return a.tensor_of(j);
  if (j.contains("ellipsis")) return Ellipsis;
  if (!j.contains("slice")) throw Unsupported("the index " + j.dump());
  const auto start = bound(j["slice"].at(0)), stop = bound(j["slice"].at(1)), step = bound(j["slice"].at(2));
  Slice s;
  if (start) s.start = *start;
  if (stop) s.stop = *stop;
  s.step = step.value_or(1);
  return s;
}

Outputs getitem(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Json& index = a.json("index");
  std::vector<TensorIndex> items;
  if (!index.is_array())
    items.push_back(index_of(index, a));
  else
    for (const Json& item : index) items.push_back(index_of(item, a));
  return {x.index(items)};
}
Outputs gather(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int dim = dim_of(a);
  return {graft::gather(x, dim, a.tensor("index"))};
}
Outputs scatter(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int dim = dim_of(a);
  const Tensor index = a.tensor("index");
  const bool number = !a.has_tensor("src");
  const Tensor src = number ? Tensor() : a.tensor("src");
  const Scalar value = number ? a.scalar("src") : Scalar();
  const std::string reduce = a.text("reduce");
  if (reduce.empty()) return {number ? graft::scatter(x, dim, index, value) : graft::scatter(x, dim, index, src)};
  return {number ? graft::scatter(x, dim, index, value, reduce) : graft::scatter(x, dim, index, src, reduce)};
}
template <Tensor (*f)(const Tensor&, int, const Tensor&, const Tensor&)>
Outputs along(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int dim = dim_of(a);
  const Tensor index = a.tensor("index");
  return {f(x, dim, index, a.tensor("src"))};
}
Outputs scatter_reduce(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int dim = dim_of(a);
  const Tensor index = a.tensor("index"), src = a.tensor("src");
  const std::string reduce = a.text("reduce");
  return {graft::scatter_reduce(x, dim, index, src, reduce, a.boolean("include_self", true))};
}
Outputs index_select(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int dim = dim_of(a);
  return {graft::index_select(x, dim, a.tensor("index"))};
}
Outputs index_add(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int dim = dim_of(a);
  const Tensor index = a.tensor("index"), source = a.tensor("source");
  return {graft::index_add(x, dim, index, source, a.scalar("alpha", 1))};
}
Outputs index_fill(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int dim = dim_of(a);
  const Tensor index = a.tensor("index");
  const Scalar value = a.has_tensor("value") ? a.tensor("value").item() : a.scalar("value");
  return {graft::index_fill(x, dim, index, value)};
}
Outputs take_along_dim(Arguments& a) {
  const Tensor x = a.tensor("input"), index = a.tensor("indices");
  const auto dim = a.integer_or_none("dim");
  return {graft::take_along_dim(x, index, dim ? std::optional(int(*dim)) : std::nullopt)};
}
Outputs masked_fill(Arguments& a) {
  const Tensor x = a.tensor("input"), mask = a.tensor("mask");
  if (a.has_tensor("value")) return {graft::masked_fill(x, mask, a.tensor("value"))};
  return {graft::masked_fill(x, mask, a.scalar("value"))};
}
Outputs masked_scatter(Arguments& a) {
  const Tensor x = a.tensor("input"), mask = a.tensor("mask");
  return {graft::masked_scatter(x, mask, a.tensor("source"))};
}
template <Tensor (*f)(const Tensor&, const Tensor&)>
Outputs by_index(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {f(x, a.tensor("index"))};
}

const OpAdapter kIndexOps[] = {
    {"__getitem__", getitem},
    {"gather", gather},
    {"scatter", scatter},
    {"scatter_add", along<scatter_add>},
    {"scatter_reduce", scatter_reduce},
    {"index_select", index_select},
    {"index_add", index_add},
    {"index_copy", along<index_copy>},
    {"index_fill", index_fill},
    {"take", by_index<take>},
    {"take_along_dim", take_along_dim},
    {"masked_fill", masked_fill},
    {"masked_select", by_index<masked_select>},
    {"masked_scatter", masked_scatter},
    {"nonzero", [](Arguments& a) -> Outputs { return {nonzero(a.tensor("input"))}; }},
};

}  // namespace

std::span<const OpAdapter> index_ops() { return kIndexOps; }

}  // namespace conformance
