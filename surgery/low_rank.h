// Matrices as products of thin ones, for Factorize: small dense linear algebra in f64 on the host. A few hundred
// columns take a second; for thousands, pass a rank to a library made for that.
#pragma once
#include "graft/core/tensor.h"

namespace graft::inline v1::surgery {

// a [m, n] = u diag(s) v^T with u [m, k], s [k] descending, v [n, k], k = min(m, n). One-sided Jacobi: Hestenes,
// "Inversion of Matrices by Biorthogonalization" (1958), which gives small singular values their full precision.
struct Svd {
  Tensor u, s, v;
};
Svd svd(const Tensor& a);

// x of the smallest norm that minimises |a x - b|. Singular values below 1e-12 of the largest count as zero.
Tensor least_squares(const Tensor& a, const Tensor& b);

struct Factors {
  Tensor a, b;
};                                                   // w ~ a b
Factors truncate(const Svd&, int64_t rank);          // the nearest of that rank: sqrt(s) on both sides
int64_t rank_for_energy(const Svd&, double energy);  // the smallest that keeps this share of the sum of s^2
int64_t rank_for_error(const Svd&, double error);    // the smallest with |w - a b| <= error |w|, Frobenius

// x wa wb + bias ~ y, with factors fitted to the data by turns, as composer's factorize_matrix.
struct MatrixFactors {
  Tensor wa, wb;  // wb is undefined where one factor does as well
  Tensor bias;
  int64_t rank;  // -1: one factor
  double nmse;   // mean squared error of x wa wb + bias over the variance of y
};
struct FactorizeMatrixOptions {
  Tensor wb = {}, bias = {};
  double rank = 0.25;  // below 1: this fraction of the columns of x
  int n_iters = 3;
};
MatrixFactors factorize_matrix(const Tensor& x, const Tensor& y, const Tensor& wa, const FactorizeMatrixOptions& = {});

}  // namespace graft::inline v1::surgery
