// The references' backward formulas against complex-step differentiation of their forward formulas:
// f'(x) = Im f(x + ih) / h, which has no cancellation and so is exact to rounding (Squire & Trapp 1998).
#include <gtest/gtest.h>

#include <complex>
#include <functional>

#include "kernels/reference/adamw.h"
#include "kernels/reference/cross_entropy.h"
#include "kernels/reference/rms_norm.h"
#include "kernels/reference/rotary.h"
#include "kernels/reference/swiglu.h"
#include "tests/support/test_tensor.h"

namespace longspan::testing {
namespace {

using Complex = std::complex<double>;
using Vector = std::vector<double>;
using ComplexVector = std::vector<Complex>;

constexpr double kStep = 1e-30;
constexpr double kBound = 1e-13;

// The gradient of a scalar function of a vector.
Vector gradient(const std::function<Complex(const ComplexVector&)>& f, const Vector& x) {
  ComplexVector at(x.begin(), x.end());
  Vector result;
  for (Complex& xi : at) {
    xi += Complex(0, kStep);
    result.push_back(f(at).imag() / kStep);
    xi = xi.real();
  }
  return result;
}

Complex dot(const ComplexVector& a, const Vector& b) {
  Complex sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

ComplexVector complex(const Vector& x) {
  return {x.begin(), x.end()};
}

TEST(Reference, RmsNormBackwardIsTheDerivative) {
  constexpr double kEps = 1e-3;
  for (const std::int64_t width : {1, 2, 7, 33}) {
    const Vector x = random_normal(width, 1), weight = random_normal(width, 2), dy = random_normal(width, 3);
    const auto forward = [&](const ComplexVector& x_at, const ComplexVector& weight_at) {
      ComplexVector y(x_at.size());
      reference::rms_norm_row(x_at.data(), weight_at.data(), y.data(), width, kEps);
      return dot(y, dy);
    };
    Vector dx(x.size()), dweight(x.size());
    const double rstd = reference::rms_norm_rstd(x.data(), width, kEps);
    reference::rms_norm_row_backward(x.data(), weight.data(), rstd, dy.data(), dx.data(), dweight.data(), width);
    EXPECT_LT(relative_error(dx, gradient([&](const auto& at) { return forward(at, complex(weight)); }, x)), kBound);
    EXPECT_LT(relative_error(dweight, gradient([&](const auto& at) { return forward(complex(x), at); }, weight)),
              kBound);
  }
}

TEST(Reference, RotaryBackwardIsTheDerivative) {
  constexpr std::int64_t kHalf = 5;
  const Vector x = random_normal(2 * kHalf, 4), angle = random_normal(kHalf, 5, 3), dy = random_normal(2 * kHalf, 6);
  Vector cos(kHalf), sin(kHalf);
  for (std::int64_t i = 0; i < kHalf; ++i) {
    cos[i] = std::cos(angle[i]);
    sin[i] = std::sin(angle[i]);
  }
  const auto forward = [&](ComplexVector at) {
    const ComplexVector c = complex(cos), s = complex(sin);
    reference::rotary_row(at.data(), c.data(), s.data(), kHalf, 1);
    return dot(at, dy);
  };
  Vector dx = dy;
  reference::rotary_row(dx.data(), cos.data(), sin.data(), kHalf, -1);
  EXPECT_LT(relative_error(dx, gradient(forward, x)), kBound);
}

TEST(Reference, SwigluGradientIsTheDerivative) {
  for (const double gate : {-30.0, -3.0, -1e-3, 0.0, 0.5, 4.0, 40.0}) {
    constexpr double kUp = 1.7, kDout = -0.6;
    const Vector expected =
        gradient([&](const ComplexVector& at) { return reference::swiglu(at[0], at[1]) * kDout; }, {gate, kUp});
    double dgate = 0, dup = 0;
    reference::swiglu_gradient(gate, kUp, kDout, &dgate, &dup);
    EXPECT_NEAR(dgate, expected[0], kBound * std::abs(expected[0])) << gate;
    EXPECT_NEAR(dup, expected[1], kBound * std::abs(expected[1])) << gate;
  }
}

TEST(Reference, CrossEntropyGradientIsTheDerivative) {
  for (const double scale : {1.0, 300.0}) {
    const Vector logits = random_normal(23, 7, scale);
    for (const std::int64_t label : {0, 11, 22}) {
      const auto loss = [&](const ComplexVector& at) {
        return reference::cross_entropy(at.data(), static_cast<std::int64_t>(at.size()), label);
      };
      Vector dlogits(logits.size());
      reference::cross_entropy_gradient(logits.data(), static_cast<std::int64_t>(logits.size()), label, dlogits.data());
      EXPECT_LT(relative_error(dlogits, gradient(loss, logits)), kBound) << scale << " " << label;
    }
  }
}

// Not a gradient but a limit: with eps and decay 0 the first step moves every weight by lr against its gradient's sign.
TEST(Reference, AdamWFirstStepIsTheSignOfTheGradient) {
  for (const double grad : {1e-8, -0.3, 12.0}) {
    const reference::AdamWStep step{.lr = 0.01,
                                    .beta1 = 0.9,
                                    .beta2 = 0.95,
                                    .eps = 0,
                                    .weight_decay = 0,
                                    .correction1 = 1 - 0.9,
                                    .correction2 = 1 - 0.95};
    double weight = 2, m = 0, v = 0;
    reference::adamw_element(step, grad, &weight, &m, &v);
    EXPECT_NEAR(weight, grad > 0 ? 1.99 : 2.01, 1e-14);
  }
}

}  // namespace
}  // namespace longspan::testing
