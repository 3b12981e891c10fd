// The scratch that is reckoned for a model on a GPU against what its operators take there.
#include <gtest/gtest.h>

#include "kernels/cuda/embedding_plan.h"
#include "kernels/ops/layer_ops.h"
#include "models/model.h"
#include "tests/kernels/cuda/device_memory.h"

namespace longspan::testing {
namespace {

// Zeroed tensors on the device.
class Tensors {
 public:
  explicit Tensors(DeviceRuntime& runtime) : arena_("operands", std::int64_t{1} << 24, runtime) {}
  Tensor operator()(DType dtype, std::initializer_list<std::int64_t> shape) {
    return arena_.allocate_zeroed("operand", MemoryCategory::kActivations, dtype, shape);
  }

 private:
  Arena arena_;
};

ModelConfig config_of(std::int64_t hidden, std::int64_t vocab) {
  ModelConfig config;
  config.hidden = hidden;
  config.vocab = vocab;
  return config;
}

// What the library of products may take, used or not.
constexpr std::int64_t kProductRoom = (std::int64_t{32} << 20) + 256;

TEST(DeviceWorkspace, HoldsTheHead) {
  for (const DType precision : {DType::kF32, DType::kBF16})
    for (const std::int64_t tokens : {1, 70}) {
      DeviceExec device(std::int64_t{1} << 26);
      Tensors make(device.runtime());
      const ModelConfig config = config_of(8, 1001);
      head_loss(device, {.hidden = make(precision, {tokens, 8}),
                         .weight = make(precision, {1001, 8}),
                         .labels = make(DType::kI32, {tokens}),
                         .grad_scale = 1,
                         .dhidden = make(precision, {tokens, 8}),
                         .dweight = make(DType::kF32, {1001, 8}),
                         .totals = make(DType::kF64, {2})});
      device.runtime().synchronize(device.exec().stream);
      const std::int64_t reckoned = model_workspace_bytes(config, Device::kCuda, precision, tokens, 1);
      EXPECT_LE(device.arena().peak_bytes(), reckoned);
      EXPECT_GE(device.arena().peak_bytes(), reckoned - kProductRoom);
    }
}

TEST(DeviceWorkspace, HoldsGradientsOfNorms) {
  constexpr std::int64_t kTokens = 3000, kHidden = 64;
  DeviceExec device;
  Tensors make(device.runtime());
  const Tensor x = make(DType::kF32, {kTokens, kHidden});
  rms_norm_backward(device, {.x = x,
                             .weight = make(DType::kF32, {kHidden}),
                             .rstd = make(DType::kF32, {kTokens}),
                             .dy = x,
                             .dx = x,
                             .dweight = make(DType::kF32, {kHidden})});
  device.runtime().synchronize(device.exec().stream);
  EXPECT_EQ(device.arena().peak_bytes(), 256 * kHidden * 4) << "see layer_ops.h";
}

// Long sequences: what the embedding's gradient takes outgrows the rest.
TEST(DeviceWorkspace, HoldsTheEmbeddingsGradient) {
  const std::int64_t reckoned =
      model_workspace_bytes(config_of(4096, 1000), Device::kCuda, DType::kBF16, std::int64_t{1} << 20, 1);
  EXPECT_NEAR(static_cast<double>(reckoned),
              static_cast<double>(cuda::embedding_scratch_bytes(std::int64_t{1} << 20, 4096)), 3 * 64);
}

}  // namespace
}  // namespace longspan::testing
