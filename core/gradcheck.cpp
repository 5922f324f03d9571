#include "graft/core/gradcheck.h"

#include <cmath>
#include <complex>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"

namespace graft::inline v1 {
namespace {

using Complex = std::complex<double>;

// The element at a place in logical order, in memory.
int64_t offset_of(const View& v, int64_t element) {
  int64_t offset = 0;
  for (int d = v.rank - 1; d >= 0; --d) {
    offset += element % v.size[d] * v.stride[d];
    element /= v.size[d];
  }
  return offset;
}
double& part(const Tensor& t, int64_t element, bool imaginary) {
  const int parts = is_complex(t.dtype()) ? 2 : 1;
  return t.view().as<double>()[offset_of(t.view(), element) * parts + imaginary];
}
std::string place(const Tensor& t, int64_t element, bool imaginary) {
  Shape index = t.shape();
  for (int d = index.rank() - 1; d >= 0; --d) {
    const int64_t size = index[d];
    index[d] = element % size;
    element /= size;
  }
  return concat(index, is_complex(t.dtype()) ? imaginary ? ".imag" : ".real" : "", " of ", t);
}

// Every output as f64 or c128, contiguous, without history.
Tensors values_of(const TensorFn& f, const Tensors& inputs) {
  Tensors out;
  for (const Tensor& t : f(inputs)) {
    const Tensor y = t.detach();
    out.push_back(is_differentiable(y.dtype()) ? y.to(is_complex(y.dtype()) ? c128 : f64).contiguous() : y);
  }
  return out;
}

class Check {
 public:
  Check(const TensorFn& f, const Tensors& inputs, const GradcheckOptions& options) : f_(f), inputs_(inputs), options_(options) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Tensor& t = inputs[i];
      if (!t.requires_grad()) continue;
      GRAFT_CHECK(t.dtype() == f64 || t.dtype() == c128, ErrorCode::dtype_mismatch, "gradcheck: input ", i, " (", t,
                  ") is to be f64 or c128: finite differences need the digits");
      GRAFT_CHECK(t.device() == Device::cpu, ErrorCode::device_mismatch, "gradcheck: input ", i, " (", t, ") is not on cpu");
      for (int d = 0; d < t.dim(); ++d)
        GRAFT_CHECK(t.size(d) <= 1 || t.stride(d) != 0, "gradcheck: elements of input ", i, " (", t, ") share memory");
      wanted_.push_back(i);
    }
    GRAFT_CHECK(!wanted_.empty(), ErrorCode::autograd, "gradcheck: no input requires grad");
  }

  GradcheckReport run() {
    const Tensors out = f_(inputs_);
    for (size_t o = 0; o < out.size() && report_.ok; ++o) {
      if (!is_differentiable(out[o].dtype())) continue;
      analytic(out, o);
    }
    for (size_t k = 0; k < wanted_.size() && report_.ok; ++k) compare(k, out);
    if (!report_.ok && options_.raise) throw Error(report_.text, ErrorCode::autograd);
    return report_;
  }

 private:
  // Rows of the Jacobian: one backward pass per (part of an) element of an output.
  void analytic(const Tensors& out, size_t o) {
    const Tensor& y = out[o];
    Tensors in;
    for (const size_t i : wanted_) in.push_back(inputs_[i]);
    for (int64_t e = 0; e < y.numel(); ++e)
      for (int imaginary = 0; imaginary <= int(is_complex(y.dtype())); ++imaginary) {
        Tensors row(in.size());
        if (y.requires_grad()) {
          const Tensor seed = zeros(y.shape(), is_complex(y.dtype()) ? c128 : f64);
          part(seed, e, imaginary) = 1;
          row = grad({y}, in, {.grad_outputs = {seed.to(y.dtype())}, .retain_graph = true, .allow_unused = true});
        }
        for (size_t k = 0; k < in.size(); ++k) {
          GRAFT_CHECK(!row[k].defined() || (row[k].shape() == in[k].shape() && row[k].dtype() == in[k].dtype()),
                      ErrorCode::autograd, "gradcheck: the gradient ", row[k], " of input ", wanted_[k], " (", in[k],
                      ") is of another kind");
          rows_.push_back(row[k].defined() ? row[k].contiguous() : Tensor());
        }
      }
  }

  // Columns: a central difference per (part of an) element of an input.
  void compare(size_t k, const Tensors& out) {
    const Tensor& x = inputs_[wanted_[k]];
    for (int64_t e = 0; e < x.numel() && report_.ok; ++e)
      for (int imaginary = 0; imaginary <= int(is_complex(x.dtype())) && report_.ok; ++imaginary) {
        const double before = part(x, e, imaginary);
        struct Restore {
          ~Restore() { place = value; }
          double& place;
          double value;
        } restore{part(x, e, imaginary), before};
        restore.place = before + options_.eps;
        const Tensors up = values_of(f_, inputs_);
        restore.place = before - options_.eps;
        const Tensors down = values_of(f_, inputs_);
        compare_column(k, e, imaginary, up, down, out);
      }
  }

  void compare_column(size_t k, int64_t e, bool imaginary, const Tensors& up, const Tensors& down, const Tensors& out) {
    size_t row = k;
    for (size_t o = 0; o < up.size(); ++o) {
      if (!is_differentiable(up[o].dtype())) continue;
      for (int64_t at = 0; at < up[o].numel(); ++at)
        for (int part_of_output = 0; part_of_output <= int(is_complex(up[o].dtype())); ++part_of_output) {
          const double numeric = (part(up[o], at, part_of_output) - part(down[o], at, part_of_output)) / (2 * options_.eps);
          const double analytic = rows_[row].defined() ? part(rows_[row], e, imaginary) : 0;
          row += wanted_.size();
          ++report_.compared;
          if (std::abs(analytic - numeric) <= options_.atol + options_.rtol * std::abs(numeric)) continue;
          if (std::isnan(analytic) && std::isnan(numeric)) continue;
          report_.ok = false;
          report_.input = int(wanted_[k]), report_.input_element = e, report_.imaginary_input = imaginary;
          report_.output = int(o), report_.output_element = at, report_.imaginary_output = part_of_output;
          report_.analytic = analytic, report_.numeric = numeric;
          report_.text = concat("gradcheck: derivative of output ", o, " at ", place(out[o], at, part_of_output), " by input ",
                                wanted_[k], " at ", place(inputs_[wanted_[k]], e, imaginary), ": analytic ", analytic, ", numeric ",
                                numeric);
          return;
        }
    }
  }

  const TensorFn& f_;
  const Tensors& inputs_;
  const GradcheckOptions& options_;
  std::vector<size_t> wanted_;  // inputs that require grad
  Tensors rows_;                // gradients: outer index over parts of output elements, inner over wanted_
  GradcheckReport report_;
};

}  // namespace

GradcheckReport gradcheck(const TensorFn& f, const Tensors& inputs, const GradcheckOptions& options) {
  const EnableGrad on;
  return Check(f, inputs, options).run();
}

GradcheckReport gradgradcheck(const TensorFn& f, const Tensors& inputs, const Tensors& grad_outputs,
                              const GradcheckOptions& options) {
  const EnableGrad on;
  Tensors all = inputs;
  Generator numbers(20);
  size_t given = 0;
  std::vector<size_t> used;  // outputs that have a gradient
  const Tensors outputs = f(inputs);
  for (size_t o = 0; o < outputs.size(); ++o) {
    if (!is_differentiable(outputs[o].dtype()) || !outputs[o].requires_grad()) continue;
    used.push_back(o);
    const Tensor g = given < grad_outputs.size() ? grad_outputs[given] : randn(outputs[o].shape(), outputs[o].dtype(), &numbers);
    ++given;
    all.push_back(g.requires_grad() ? g : g.detach().requires_grad_());
  }
  const size_t n = inputs.size();
  const TensorFn derivative = [&](const Tensors& x) {
    const Tensors in(x.begin(), x.begin() + int64_t(n)), seeds(x.begin() + int64_t(n), x.end());
    Tensors wanted, out;
    for (const Tensor& t : in)
      if (t.requires_grad()) wanted.push_back(t);
    const Tensors y = f(in);
    for (const size_t o : used) out.push_back(y[o]);
    return grad(out, wanted, {.grad_outputs = seeds, .create_graph = true, .allow_unused = true, .materialize_grads = true});
  };
  return gradcheck(derivative, all, options);
}

}  // namespace graft
