// Optimizer: many updates against AdamW written out in double, decay where it belongs, copies refreshed.
#include "trainer/loop/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace longspan {
namespace {

class OptimizerTest : public testing::Test {
 protected:
  OptimizerTest() : memory_("test", 1 << 20), scratch_("scratch", 1 << 20) {
    exec_ = {.device = Device::kCpu, .num_threads = 1, .workspace = &scratch_};
    config_.beta1 = 0.8;
    config_.beta2 = 0.9;
    config_.eps = 1e-6;
    config_.weight_decay = 0.3;
    add("matrix", 37, true);
    add("norm", 5, false);
    add("one", 1, true);
  }

  void add(const std::string& name, std::int64_t count, bool decays) {
    Parameter p{.name = name, .shape = {count}, .master = {}, .compute = {}, .gradient = {}, .decays = decays};
    p.master = memory_.allocate(name, MemoryCategory::kWeights, DType::kF32, {count});
    p.compute = memory_.allocate(name, MemoryCategory::kWeights, DType::kBF16, {count});
    p.gradient = memory_.allocate(name, MemoryCategory::kGradients, DType::kF32, {count});
    for (std::int64_t i = 0; i < count; ++i) p.master.get<float>()[i] = normal_(random_);
    parameters_.push_back(p);
  }

  Arena memory_, scratch_;
  Exec exec_;
  OptimizerConfig config_;
  std::vector<Parameter> parameters_;
  std::mt19937 random_{7};
  std::normal_distribution<float> normal_;
};

TEST_F(OptimizerTest, FollowsAdamWWrittenOutInDouble) {
  Optimizer optimizer(config_, parameters_, memory_);
  struct Scalar {
    double w, m = 0, v = 0;
  };
  std::vector<std::vector<Scalar>> expected;
  for (const Parameter& p : parameters_) {
    expected.emplace_back();
    for (std::int64_t i = 0; i < p.master.numel(); ++i) expected.back().push_back({p.master.get<float>()[i]});
  }
  for (std::int64_t step = 1; step <= 25; ++step) {
    const double lr = 0.01 * static_cast<double>(step), scale = step % 3 == 0 ? 0.25 : 1;
    for (std::size_t k = 0; k < parameters_.size(); ++k)
      for (std::size_t i = 0; i < expected[k].size(); ++i) {
        Scalar& s = expected[k][i];
        const float gradient = normal_(random_);
        parameters_[k].gradient.get<float>()[i] = gradient;
        const double g = gradient * scale;
        s.m = config_.beta1 * s.m + (1 - config_.beta1) * g;
        s.v = config_.beta2 * s.v + (1 - config_.beta2) * g * g;
        const double m = s.m / (1 - std::pow(config_.beta1, step)), v = s.v / (1 - std::pow(config_.beta2, step));
        const double decay = parameters_[k].decays ? config_.weight_decay : 0;
        s.w -= lr * (m / (std::sqrt(v) + config_.eps) + decay * s.w);
      }
    optimizer.update(exec_, step, lr, scale);
  }
  for (std::size_t k = 0; k < parameters_.size(); ++k)
    for (std::size_t i = 0; i < expected[k].size(); ++i) {
      const float weight = parameters_[k].master.get<float>()[i];
      EXPECT_NEAR(weight, expected[k][i].w, 1e-5) << parameters_[k].name << " " << i;
      EXPECT_EQ(parameters_[k].compute.get<bf16>()[i].bits, bf16(weight).bits);
      EXPECT_NEAR(optimizer.moments()[k].m.get<float>()[i], expected[k][i].m, 1e-6);
      EXPECT_NEAR(optimizer.moments()[k].v.get<float>()[i], expected[k][i].v, 1e-6);
    }
}

TEST_F(OptimizerTest, WithoutDecayAndGradientAWeightStays) {
  Optimizer optimizer(config_, parameters_, memory_);
  for (const Parameter& p : parameters_) std::fill_n(p.gradient.get<float>(), p.gradient.numel(), 0.0f);
  const float norm = parameters_[1].master.get<float>()[0], matrix = parameters_[0].master.get<float>()[0];
  optimizer.update(exec_, 1, 0.5, 1);
  EXPECT_EQ(parameters_[1].master.get<float>()[0], norm);
  EXPECT_NEAR(parameters_[0].master.get<float>()[0], matrix * (1 - 0.5 * 0.3), 1e-6);
}

}  // namespace
}  // namespace longspan
