#include "kernels/core/arena.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace longspan {
namespace {

using testing::expect_error;

constexpr auto kActivations = MemoryCategory::kActivations;
constexpr auto kWorkspace = MemoryCategory::kWorkspace;

TEST(Arena, AlignsAndCountsWholeCacheLines) {
  Arena arena("test", 4096);
  const Tensor a = arena.allocate("a", kActivations, DType::kF32, {3});
  const Tensor b = arena.allocate("b", kActivations, DType::kBF16, {65});
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.data) % 64, 0u);
  EXPECT_EQ(static_cast<char*>(b.data) - static_cast<char*>(a.data), 64);
  EXPECT_EQ(arena.used_bytes(), 64 + 192);
}

TEST(Arena, ScopesNestAndReleaseInOrder) {
  Arena arena("test", 4096);
  arena.allocate("kept", kActivations, DType::kF32, {16});
  void* first = nullptr;
  {
    Arena::Scope outer(arena);
    first = arena.allocate("outer", kWorkspace, DType::kF32, {16}).data;
    {
      Arena::Scope inner(arena);
      arena.allocate("inner", kWorkspace, DType::kF32, {32});
      EXPECT_EQ(arena.used_bytes(), 64 + 64 + 128);
    }
    EXPECT_EQ(arena.used_bytes(), 64 + 64);
  }
  EXPECT_EQ(arena.used_bytes(), 64);
  EXPECT_EQ(arena.peak_bytes(), 64 + 64 + 128);
  EXPECT_EQ(arena.allocate("again", kWorkspace, DType::kF32, {16}).data, first);
}

TEST(Arena, KeepsCategoriesAsTheyStoodAtThePeak) {
  Arena arena("test", 4096);
  arena.allocate("activations", kActivations, DType::kF32, {32});
  {
    Arena::Scope scope(arena);
    arena.allocate("scratch", kWorkspace, DType::kF32, {64});
  }
  arena.allocate("more", kActivations, DType::kF32, {16});
  EXPECT_EQ(arena.category_bytes_at_peak(kActivations), 128);
  EXPECT_EQ(arena.category_bytes_at_peak(kWorkspace), 256);
  EXPECT_EQ(arena.category_bytes_at_peak(MemoryCategory::kWeights), 0);
}

TEST(Arena, ZeroedMemoryIsZeroEvenWhereItWasUsedBefore) {
  Arena arena("test", 4096);
  {
    Arena::Scope scope(arena);
    const Tensor dirty = arena.allocate("dirty", kWorkspace, DType::kF32, {64});
    std::fill_n(dirty.get<float>(), 64, 7.0f);
  }
  const Tensor clean = arena.allocate_zeroed("clean", kWorkspace, DType::kF32, {64});
  for (int i = 0; i < 64; ++i) EXPECT_EQ(clean.get<float>()[i], 0.0f);
}

TEST(Arena, TellsTheBudgetWhenItIsFull) {
  Arena arena("step 7", 3 << 20);
  arena.allocate("layer 0 gate", kActivations, DType::kF32, {1 << 18});
  expect_error(ErrorKind::kMemory,
               {"arena step 7 is full", "layer 0 up", "fp32[1048576]", "4.0 MiB", "2.0 of 3.0 MiB", "layer 0 gate",
                "all activations", "use a shorter sequence"},
               [&] { arena.allocate("layer 0 up", kActivations, DType::kF32, {1 << 20}); });
  EXPECT_EQ(arena.used_bytes(), 1 << 20);  // the failure took nothing
  arena.allocate("fits exactly", kWorkspace, DType::kF32, {1 << 19});
  EXPECT_EQ(arena.used_bytes(), arena.capacity_bytes());
}

TEST(Arena, ReportsTheLargestFirst) {
  Arena arena("test", 1 << 20);
  arena.allocate("small", kActivations, DType::kF32, {16});
  arena.allocate("large", kWorkspace, DType::kF32, {1024});
  const std::string report = arena.report();
  EXPECT_LT(report.find("large"), report.find("small"));
  EXPECT_NE(report.find("all workspace"), std::string::npos);
}

TEST(Arena, EmptyArenasAndTensorsAreFine) {
  Arena none("none", 0);
  EXPECT_EQ(none.allocate("empty", kWorkspace, DType::kF32, {0, 5}).numel(), 0);
  EXPECT_EQ(none.allocate_zeroed("empty", kWorkspace, DType::kF32, {0}).numel(), 0);
  expect_error(ErrorKind::kMemory, {"none is full"}, [&] { none.allocate("one", kWorkspace, DType::kF32, {1}); });
  expect_error(ErrorKind::kInternal, {"-1 bytes"}, [] { Arena("negative", -1); });
}

}  // namespace
}  // namespace longspan
