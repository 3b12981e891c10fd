// What operators on a GPU do with values that the host would have refused, and what they leave in their scratch.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cuda/embedding_plan.h"
#include "kernels/ops/layer_ops.h"
#include "kernels/ops/training_ops.h"
#include "tests/kernels/cuda/device_memory.h"

namespace longspan::testing {
namespace {

constexpr std::int64_t kWidth = 3;

TEST(EmbeddingOnDevice, TokensOutsideTheTableAreNone) {
  const DeviceExec device;
  const std::vector<float> rows = {1, 2, 3, 4, 5, 6};
  const DeviceArray<std::int32_t> tokens(device, {1, -1, 2, 0, 1 << 30, 1});
  const DeviceArray<float> table(device, rows), out(device, std::vector<float>(6 * kWidth, 9)),
      dtable(device, std::vector<float>(2 * kWidth, 0));
  const auto on_device = [](void* data, DType dtype, std::initializer_list<std::int64_t> shape) {
    return Tensor(data, dtype, shape, Device::kCuda);
  };
  const Tensor token_tensor = on_device(tokens.data(), DType::kI32, {6});
  const Tensor out_tensor = on_device(out.data(), DType::kF32, {6, kWidth});
  embedding_forward(device, token_tensor, on_device(table.data(), DType::kF32, {2, kWidth}), out_tensor);
  EXPECT_EQ(out.values(), (std::vector<float>{4, 5, 6, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 4, 5, 6}));
  embedding_backward(device, token_tensor, out_tensor, on_device(dtable.data(), DType::kF32, {2, kWidth}));
  EXPECT_EQ(dtable.values(), (std::vector<float>{1, 2, 3, 8, 10, 12}));
}

TEST(HeadLossOnDevice, LabelsOutsideTheVocabularyAreNone) {
  const DeviceExec device;
  const DeviceArray<std::int32_t> labels(device, {0, 2, -2, 1 << 30});
  const DeviceArray<float> hidden(device, std::vector<float>(4, 0)), weight(device, {1, 2}),
      dhidden(device, std::vector<float>(4, 9)), dweight(device, {0, 0});
  const DeviceArray<double> totals(device, {0, 0});
  head_loss(device, {.hidden = Tensor(hidden.data(), DType::kF32, {4, 1}, Device::kCuda),
                     .weight = Tensor(weight.data(), DType::kF32, {2, 1}, Device::kCuda),
                     .labels = Tensor(labels.data(), DType::kI32, {4}, Device::kCuda),
                     .grad_scale = 1,
                     .dhidden = Tensor(dhidden.data(), DType::kF32, {4, 1}, Device::kCuda),
                     .dweight = Tensor(dweight.data(), DType::kF32, {2, 1}, Device::kCuda),
                     .totals = Tensor(totals.data(), DType::kF64, {2}, Device::kCuda)});
  EXPECT_EQ(totals.values()[1], 1);
  EXPECT_NEAR(totals.values()[0], std::log(2.0), 1e-6);
  const std::vector<float> gradient = dhidden.values();
  EXPECT_NEAR(gradient[0], 0.5, 1e-6);  // p = (1/2, 1/2): -1/2 * 1 + 1/2 * 2
  for (int t = 1; t < 4; ++t) EXPECT_EQ(gradient[static_cast<std::size_t>(t)], 0) << t;
}

TEST(HeadLossOnDevice, NaNAndInfinityShowInTheLoss) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    const DeviceExec device;
    const DeviceArray<std::int32_t> labels(device, {0});
    const DeviceArray<float> hidden(device, {bad}), weight(device, {1, 2, 3});
    const DeviceArray<double> totals(device, {0, 0});
    head_loss(device, {.hidden = Tensor(hidden.data(), DType::kF32, {1, 1}, Device::kCuda),
                       .weight = Tensor(weight.data(), DType::kF32, {3, 1}, Device::kCuda),
                       .labels = Tensor(labels.data(), DType::kI32, {1}, Device::kCuda),
                       .dhidden = {},
                       .dweight = {},
                       .totals = Tensor(totals.data(), DType::kF64, {2}, Device::kCuda)});
    EXPECT_TRUE(std::isnan(totals.values()[0])) << bad;
  }
}

TEST(EmbeddingOnDevice, TakesTheScratchThatIsReckoned) {
  DeviceExec device;
  for (const std::int64_t count : {1, 64, 65, 1000}) {
    const DeviceArray<std::int32_t> tokens(device, std::vector<std::int32_t>(static_cast<std::size_t>(count), 4));
    const DeviceArray<float> dout(device, std::vector<float>(static_cast<std::size_t>(count * 40), 1)),
        dtable(device, std::vector<float>(7 * 40, 0));
    const std::int64_t before = device.arena().peak_bytes();
    embedding_backward(device, Tensor(tokens.data(), DType::kI32, {count}, Device::kCuda),
                       Tensor(dout.data(), DType::kF32, {count, 40}, Device::kCuda),
                       Tensor(dtable.data(), DType::kF32, {7, 40}, Device::kCuda));
    constexpr std::int64_t kAlignment = 3 * 64;  // of three allocations
    EXPECT_GT(device.arena().peak_bytes(), before);
    EXPECT_NEAR(static_cast<double>(device.arena().peak_bytes()),
                static_cast<double>(cuda::embedding_scratch_bytes(count, 40)), kAlignment);
    EXPECT_EQ(dtable.values()[4 * 40 + 39], static_cast<float>(count));
  }
}

}  // namespace
}  // namespace longspan::testing
