// Elements picked by class label or row number: negative log likelihood, cross entropy, embedding, one hot. Labels and rows
// are checked here, before a kernel runs.
#include "graft/kernels/label/attrs.h"

#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/ops/indexing.h"

namespace graft::inline v1 {

// As contiguous i64, each in [0, limit) or `ignore`.
static Tensor checked(const char* op, const char* what, const Tensor& index, int64_t limit, std::optional<int64_t> ignore = {},
                      const char* of = "rows") {
  GRAFT_CHECK(is_integral(index.dtype()), ErrorCode::dtype_mismatch, op, ": expected integers as ", what, ", not ", index);
  const Tensor t = index.to(i64).contiguous();
  const auto bad = first_outside(t, {0, limit, ignore.has_value(), ignore.value_or(0)});
  GRAFT_CHECK(!bad, ErrorCode::index_out_of_range, op, ": ", what, " ", *bad, " is out of range for ", limit, " ", of);
  return t;
}

// ---- negative log likelihood ---------------------------------------------------------------------------------

// Of (x[n, classes, d...], label[n, d...][, weight]): loss and weight of every label.
static void infer_nll(Infer& c, int64_t classes, bool weight) {
  const View &x = c.in(0), &label = c.in(1);
  c.check(x.rank >= 1 && label.rank == x.rank - 1, "needs input[n, classes, d...] and label[n, d...]");
  const int at = class_dim(x.rank);
  for (int i = 0; i < x.rank; ++i)
    c.check(i == at || x.size[i] == label.size[i < at ? i : i - 1], "sizes differ in dimension ", i);
  if (weight)
    c.check(c.in(2).rank == 1 && c.in(2).size[0] == classes && c.in(2).dtype == x.dtype, "weight must be ", name_of(x.dtype), "[", classes, "]");
  for (int i = 0; i < 2; ++i) copy_sizes(c.out(i), label);
}

extern const OpDef nll_op;
static Tensor nll_picked(const Tensor& logp, const Tensor& label, const Tensor& weight, NllAttrs a, Tensor* used = nullptr) {
  std::array<Tensor, 2> out;
  std::array<TensorImpl*, 3> in{logp.impl(), label.impl(), weight.impl()};
  apply_into(Call{nll_op, std::span(in).first(a.weight ? 3 : 2), a}, out);
  if (used) *used = out[1];
  return out[0];
}
static const OpDef nll_grad_op{  // (g, label[, weight]), the transpose of nll
    .name = "nll_grad",
    .infer =
        [](Infer& c) {
          const auto& a = c.attrs<NllAttrs>();
          const View& label = c.in(1);
          View& y = c.out();
          y.rank = uint8_t(label.rank + 1);
          const int at = class_dim(y.rank);
          for (int i = 0; i < y.rank; ++i) y.size[i] = i == at ? a.classes : label.size[i < at ? i : i - 1];
        },
    .backward =
        [](Backward& b) {
          const auto& a = b.attrs<NllAttrs>();
          b.to(0) = nll_picked(b.g().contiguous(), b.input(1), a.weight ? b.input(2) : Tensor(), a);
        },
    .reads = {Reads(input(1) | input(2))},
};
const OpDef nll_op{
    .name = "nll",
    .infer =
        [](Infer& c) {
          const auto& a = c.attrs<NllAttrs>();
          infer_nll(c, a.classes, a.weight);
        },
    .backward =
        [](Backward& b) {
          const auto& a = b.attrs<NllAttrs>();
          const Tensor g = b.g().contiguous();
          b.to(0) = a.weight ? apply(nll_grad_op, a, g, b.input(1), b.input(2)) : apply(nll_grad_op, a, g, b.input(1));
        },
    .reads = {Reads(input(1) | input(2))},
};

NllResult nll(const Tensor& logp, const Tensor& label, const Tensor& weight, int64_t ignore_index) {
  GRAFT_CHECK(logp.dim() >= 1, ErrorCode::shape_mismatch, "nll: needs logp[n, classes, d...]: ", logp);
  const int64_t classes = logp.size(class_dim(logp.dim()));
  const Tensor target = checked("nll", "label", label, classes, ignore_index, "classes");
  const Tensor w = weight.defined() ? weight.detach().to(logp.dtype()).contiguous() : weight;  // a constant, as in PyTorch
  NllResult r;
  r.loss = nll_picked(logp.contiguous(), target, w, {classes, ignore_index, w.defined()}, &r.weight);
  return r;
}

// ---- cross entropy -------------------------------------------------------------------------------------------

static const OpDef cross_entropy_grad_op{  // (g, x, label, top, sum[, weight]): first order only
    .name = "cross_entropy_grad", .infer = [](Infer& c) { copy_sizes(c.out(), c.in(1)); }};

// As a formula: softmax(x) times the weight of its line, less the weight of each class.
static Tensor cross_entropy_gradient(Backward& b) {
  const auto& a = b.attrs<CrossEntropyAttrs>();
  const Tensor &x = b.input(0), &label = b.input(1), w = a.weight ? b.input(2) : Tensor(), g = b.g();
  const int dim = class_dim(x.dim());
  const double share = a.smoothing / double(a.classes);
  const Tensor counted = ne(label, a.ignore).to(x.dtype()), spread = g * counted * share;
  const Tensor of_label = g * nll(zeros(x.shape(), x.options()), label, w, a.ignore).weight * (1 - a.smoothing);
  Shape wide = x.shape();
  for (int i = 0; i < wide.rank(); ++i)
    if (i != dim) wide[i] = 1;
  const Tensor per_class = w.defined() ? w.reshape(wide) : ones(wide, x.options());
  const Tensor of_line = of_label + spread * sum(per_class);
  const NllAttrs labels{a.classes, a.ignore, false};
  return softmax(x, dim) * of_line.unsqueeze(dim) + apply(nll_grad_op, labels, of_label.contiguous(), label) - spread.unsqueeze(dim) * per_class;
}
static const OpDef cross_entropy_op{
    .name = "cross_entropy",
    .infer =
        [](Infer& c) {
          const auto& a = c.attrs<CrossEntropyAttrs>();
          infer_nll(c, a.classes, a.weight);
          for (int i = 2; i < 4; ++i) {
            copy_sizes(c.out(i), c.in(1));
            c.out(i).dtype = compute_dtype(c.in(0).dtype);
          }
        },
    .backward =
        [](Backward& b) {
          if (b.create_graph()) return void(b.to(0) = cross_entropy_gradient(b));
          const auto& a = b.attrs<CrossEntropyAttrs>();
          const Tensor g = b.g().contiguous();
          const auto run = [&](const auto&... weight) {
            b.to(0) = apply(cross_entropy_grad_op, a, g, b.input(0), b.input(1), b.output(2), b.output(3), weight...);
          };
          a.weight ? run(b.input(2)) : run();
        },
    .reads = {Reads(input(0) | input(1) | input(2) | output(2) | output(3))},
};

NllResult cross_entropy(const Tensor& x, const Tensor& label, const Tensor& weight, int64_t ignore_index, double label_smoothing) {
  GRAFT_CHECK(x.dim() >= 1, ErrorCode::shape_mismatch, "cross_entropy: needs input [n, classes, d...]: ", x);
  GRAFT_CHECK(label_smoothing >= 0 && label_smoothing <= 1, "cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: ", label_smoothing);
  const Tensor in = (is_integral(x.dtype()) ? x.to(f32) : x).contiguous();
  const int64_t classes = x.size(class_dim(x.dim()));
  if (classes == 0) return nll(in, label, weight, ignore_index);  // no line has a number: what is ignored is 0
  const Tensor target = checked("cross_entropy", "label", label, classes, ignore_index, "classes");
  const Tensor w = weight.defined() ? weight.detach().to(in.dtype()).contiguous() : weight;
  std::array<Tensor, 4> out;
  std::array<TensorImpl*, 3> inputs{in.impl(), target.impl(), w.impl()};
  const CrossEntropyAttrs a{classes, ignore_index, label_smoothing, w.defined()};
  apply_into(Call{cross_entropy_op, std::span(inputs).first(a.weight ? 3 : 2), a}, out);
  return {out[0], out[1]};
}

// ---- embedding -----------------------------------------------------------------------------------------------

static const OpDef embedding_grad_op{  // (g, index)
    .name = "embedding_grad",
    .infer =
        [](Infer& c) {
          c.out().rank = 2;
          c.out().size[0] = c.attrs<EmbeddingAttrs>().rows;
          c.out().size[1] = c.in(0).size[c.in(0).rank - 1];
        },
    .backward =
        [](Backward& b) {
          const auto& a = b.attrs<EmbeddingAttrs>();
          GRAFT_CHECK(!a.by_frequency, ErrorCode::not_implemented, "embedding: a second gradient with scale_grad_by_freq");
          Tensor g = b.g();
          if (a.padding >= 0) {  // that row was left out
            Region row{.rank = 2, .size = {1, g.size(1)}, .stride = {g.size(1), 1}, .offset = a.padding * g.size(1)};
            g = overwrite(g.contiguous(), zeros({1, g.size(1)}, g.options()), row);
          }
          b.to(0) = embedding(g, b.input(1), a.padding, a.by_frequency);
        },
    .reads = {input(1)},
};
static const OpDef embedding_op{
    .name = "embedding",
    .infer =
        [](Infer& c) {
          const View& index = c.in(1);
          c.check(c.in(0).rank == 2, "weight must be [rows, width]");
          copy_sizes(c.out(), index);
          c.check(index.rank < kMaxRank, "index has too many dimensions");
          c.out().rank = uint8_t(index.rank + 1);
          c.out().size[index.rank] = c.in(0).size[1];
        },
    .backward =
        [](Backward& b) {
          b.to(0) = apply(embedding_grad_op, b.attrs<EmbeddingAttrs>(), b.g().contiguous(), b.input(1));
        },
    .reads = {input(1)},
};
Tensor embedding(const Tensor& weight, const Tensor& index, int64_t padding_idx, bool scale_grad_by_freq) {
  GRAFT_CHECK(weight.dim() == 2, ErrorCode::shape_mismatch, "embedding: weight must be [rows, width], not ", weight);
  const Tensor rows = checked("embedding", "index", index, weight.size(0));
  return apply(embedding_op, EmbeddingAttrs{weight.size(0), padding_idx, scale_grad_by_freq}, weight.contiguous(), rows);
}

static const OpDef renorm_op{.name = "embedding_renorm", .infer = infer_same};
void embedding_renorm_(const Tensor& weight, const Tensor& index, double max_norm, double norm_type) {
  const NoGrad quiet;
  const Tensor rows = checked("embedding", "index", index, weight.size(0));
  if (has_values(weight)) apply_inplace(renorm_op, RenormAttrs{max_norm, norm_type}, weight, rows);
}

static const OpDef one_hot_op{
    .name = "one_hot",
    .infer =
        [](Infer& c) {
          const View& x = c.in(0);
          c.check(x.rank < kMaxRank, "has too many dimensions");
          copy_sizes(c.out(), x);
          c.out().rank = uint8_t(x.rank + 1);
          c.out().size[x.rank] = c.attrs<OneHotAttrs>().classes;
        },
};
Tensor one_hot(const Tensor& x, int64_t num_classes) {
  const Tensor label = checked("one_hot", "class", x, num_classes < 0 ? INT64_MAX : num_classes, {}, "classes");
  if (num_classes < 0) {
    GRAFT_CHECK(has_values(label), ErrorCode::data_dependent, "one_hot: num_classes depends on the values of ", x);
    GRAFT_CHECK(x.numel() > 0, "one_hot: an empty input needs num_classes");
    const Tensor here = label.to(Device::cpu);
    num_classes = *std::max_element(here.data<int64_t>(), here.data<int64_t>() + here.numel()) + 1;
  }
  return apply(one_hot_op, OneHotAttrs{num_classes}, label);
}

}  // namespace graft
