// Changes of layout on GPU 0, shared by threads as ranks: rows go there and back to the bit, and nobody waits in
// between.
#include <gtest/gtest.h>

#include "kernels/cuda/device.h"
#include "parallel/context/layout_change.h"
#include "tests/parallel/layout_cases.h"

namespace longspan {
namespace {

constexpr std::int64_t kWidth = 6;

std::vector<float> rows_of(const std::vector<std::int64_t>& tokens) {
  std::vector<float> rows;
  for (const std::int64_t token : tokens)
    for (std::int64_t e = 0; e < kWidth; ++e) rows.push_back(static_cast<float>(token * 100 + e));
  return rows;
}

void there_and_back(Communicator& world, const LayoutChange& change) {
  const std::unique_ptr<DeviceRuntime> gpu = make_device_runtime(0);
  const Stream compute = gpu->make_stream(StreamUse::kCompute);
  const auto comm = world.split(0, world.rank());
  comm->use_device(*gpu, compute);
  Arena arena("rows", 1 << 20, *gpu), workspace("workspace", 1 << 20, *gpu);
  const Exec exec{.device = Device::kCuda, .workspace = &workspace, .runtime = gpu.get(), .stream = compute};
  const auto me = static_cast<std::size_t>(world.rank());
  std::vector<float> before = rows_of(layout_cases::tokens_of(change.from)[me]);
  const std::vector<float> after = rows_of(layout_cases::tokens_of(change.to)[me]);
  const auto book = [&](const std::vector<float>& like) {
    return arena.allocate_zeroed("rows", MemoryCategory::kActivations, DType::kF32,
                                 {static_cast<std::int64_t>(like.size()) / kWidth, kWidth});
  };
  const Tensor in = book(before), out = book(after), back = book(before);
  gpu->copy(compute, in.data, before.data(), in.num_bytes());
  change_layout(exec, *comm, change, in, out);
  gpu->zero(compute, in.data, in.num_bytes());
  change_layout(exec, *comm, inverse_of(change), out, back);
  std::vector<float> got_after(after.size()), got_back(before.size());
  gpu->copy(compute, got_after.data(), out.data, out.num_bytes());
  gpu->copy(compute, got_back.data(), back.data, back.num_bytes());
  EXPECT_EQ(got_after, after);
  EXPECT_EQ(got_back, before);
  EXPECT_EQ(workspace.used_bytes(), 0);
}

TEST(LayoutChangeOnGpu, TakesRowsToTheirPlaceAndBack) {
  const std::vector<std::int64_t> cu_seqlens = {0, 13, 13, 140};
  for (const int ranks : {1, 2, 3}) {
    const auto homes = layout_cases::homes_of(cu_seqlens, ranks);
    for (const auto& from : homes)
      for (const auto& to : homes) {
        SCOPED_TRACE(fmt::format("{} to {} over {} ranks", from.name, to.name, ranks));
        const LayoutChange change = plan_layout_change(from.home, to.home);
        run_local_ranks(ranks, {.timeout_ms = 60'000}, [&](Communicator& world) { there_and_back(world, change); });
      }
  }
}

}  // namespace
}  // namespace longspan
