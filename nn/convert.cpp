// Conversions of a module's tensors: device, dtype, memory format. In place: a parameter keeps its identity (so that
// optimizers stay valid) and gets other memory; its gradient follows. Everything is made aside, then put in.
#include <unordered_map>

#include "graft/core/cuda.h"
#include "graft/core/op.h"
#include "graft/nn/param.h"

namespace graft::inline v1::nn {

using Convert = std::function<Tensor(const Tensor&)>;

static void convert_all(Module& root, const Convert& convert) {
  struct NewLeaf { Tensor leaf, data, grad; };
  std::vector<NewLeaf> leaves;
  std::vector<std::pair<ParamEntry*, Tensor>> values;  // of edited parameters: recorded, the leaf stays as it is
  std::vector<std::pair<BufferEntry*, Tensor>> buffers;
  std::unordered_map<const TensorImpl*, Tensor> done;  // shared tensors stay shared
  auto converted = [&](const Tensor& t) {
    const NoGrad quiet;
    return convert(t.detach());
  };
  for (Module* m : root.modules()) {
    for (const auto& e : m->param_entries()) {
      if (e->is_edited()) {
        if (!e->value().defined()) continue;
        Tensor& t = done[e->value().impl()];
        if (!t.defined()) t = convert(e->value());
        values.emplace_back(e.get(), t);
        continue;
      }
      if (!e->leaf.defined() || !done.try_emplace(e->leaf.impl()).second) continue;
      const Tensor g = e->leaf.grad();
      leaves.push_back({e->leaf, converted(e->leaf), g.defined() ? converted(g) : Tensor()});
    }
    for (const auto& e : m->buffer_entries()) {
      if (!e->value.defined()) continue;
      Tensor& t = done[e->value.impl()];
      if (!t.defined()) t = converted(e->value);
      buffers.emplace_back(e.get(), t);
    }
  }
  for (const NewLeaf& n : leaves) {
    Storage* to = n.data.impl()->storage.get();
    const Storage* from = n.leaf.impl()->storage.get();
    if (to != from) {
      to->version.store(from->version + 1, std::memory_order_relaxed);  // a graph that saved the leaf must notice
      n.leaf.set_data(n.data);
    }
    if (n.grad.defined()) n.leaf.set_grad(n.grad);
  }
  for (auto& [e, t] : values) e->edited = t;
  for (auto& [e, t] : buffers) e->value = t;
}

static bool changes_dtype(const Tensor& t) { return is_differentiable(t.dtype()); }

static void check_dtype(DType t) {
  GRAFT_CHECK(is_differentiable(t), ErrorCode::type_error,
              "nn.Module.to only accepts floating point or complex dtypes, but got desired dtype=", name_of(t));
}
Module& Module::to(Device device, std::optional<DType> dtype, bool non_blocking) {
  if (dtype) check_dtype(*dtype);
  cuda::need("to", device);
  convert_all(*this, [&](const Tensor& t) {
    return t.to(dtype && changes_dtype(t) ? *dtype : t.dtype()).to(device, non_blocking);
  });
  return *this;
}
Module& Module::to(DType dtype, bool) {
  check_dtype(dtype);
  convert_all(*this, [&](const Tensor& t) { return changes_dtype(t) ? t.to(dtype) : t; });
  return *this;
}
Module& Module::to(const Tensor& like, bool non_blocking) { return to(like.device(), like.dtype(), non_blocking); }

Module& Module::to(MemoryFormat format) {
  convert_all(*this, [&](const Tensor& t) {
    if (format == MemoryFormat::channels_last && t.dim() == 4)
      return t.transpose(1, 2).transpose(2, 3).contiguous().transpose(2, 3).transpose(1, 2);
    if (format == MemoryFormat::channels_last_3d && t.dim() == 5)
      return t.transpose(1, 2).transpose(2, 3).transpose(3, 4).contiguous().transpose(3, 4).transpose(2, 3).transpose(1, 2);
    return format == MemoryFormat::contiguous ? t.contiguous() : t;
  });
  return *this;
}

Module& Module::type(DType dtype) {
  for (const Tensor& p : parameters())
    GRAFT_CHECK(is_differentiable(dtype) || !p.requires_grad(), ErrorCode::type_error, "type: a parameter that requires grad (",
                p.view(), ") cannot become ", name_of(dtype));
  convert_all(*this, [&](const Tensor& t) { return t.to(dtype); });
  return *this;
}
Module& Module::to_empty(Device device) {
  cuda::need("to_empty", device);
  convert_all(*this, [&](const Tensor& t) { return empty(t.shape(), Options(t.dtype(), device)); });
  return *this;
}

Module& Module::cuda(int index) { return to(Device(Device::cuda, index)); }
Module& Module::ipu(int) { fail(ErrorCode::not_implemented, "ipu: not supported by graft; devices are cpu, cuda and meta"); }
Module& Module::xpu(int) { fail(ErrorCode::not_implemented, "xpu: not supported by graft; devices are cpu, cuda and meta"); }

}  // namespace graft::nn
