// Which shape a world takes, and what is said when the factors do not fit. Groups: tests/multirank.
#include "parallel/mesh.h"

#include <gtest/gtest.h>

#include "kernels/core/error.h"

namespace longspan {
namespace {

std::string refusal(int world, int data, int context) {
  try {
    resolve_mesh(world, data, context);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "accepted";
}

TEST(Mesh, TakesTheShapeThatFits) {
  const auto expect_shape = [](int world, int data, int context, MeshShape want) {
    const MeshShape shape = resolve_mesh(world, data, context);
    EXPECT_EQ(shape.data, want.data);
    EXPECT_EQ(shape.context, want.context);
    EXPECT_EQ(shape.world(), world);
  };
  expect_shape(1, 1, 0, {1, 1});
  expect_shape(1, 1, 1, {1, 1});
  expect_shape(6, 2, 3, {2, 3});
  expect_shape(6, 2, 0, {2, 3});
  expect_shape(8, 8, 0, {8, 1});
  expect_shape(8, 1, 0, {1, 8});
}

TEST(Mesh, NamesEveryFactorThatDoesNotFit) {
  EXPECT_EQ(refusal(4, 2, 3),
            "parallel.data 2 x parallel.context 3 = 6 ranks, but 4 were started; use --ranks 6 or set "
            "parallel.context: auto");
  EXPECT_EQ(
      refusal(4, 3, 2),
      "parallel.data 3 x parallel.context 2 = 6 ranks, but 4 were started; use --ranks 6 or set parallel.data to a "
      "divisor of 4 and parallel.context: auto");
  EXPECT_EQ(
      refusal(4, 3, 0),
      "parallel.data 3 does not divide the 4 ranks that were started, so parallel.context: auto has no value; use "
      "--ranks 6 or set parallel.data to a divisor of 4");
  EXPECT_EQ(refusal(4, 65536, 65536),
            "parallel.data 65536 x parallel.context 65536 = 4294967296 ranks, but 4 were started; use --ranks "
            "4294967296 or set parallel.data to a divisor of 4 and parallel.context: auto");
  EXPECT_EQ(refusal(4, 0, 2), "parallel.data 0: give at least 1");
  EXPECT_EQ(refusal(4, 1, -1), "parallel.context -1: give auto, or at least 1");
}

TEST(Mesh, KnowsItsPlace) {
  run_local_ranks(6, {}, [](Communicator& world) {
    Mesh mesh(world, {.data = 2, .context = 3});
    EXPECT_EQ(mesh.data_rank(), world.rank() / 3);
    EXPECT_EQ(mesh.context_rank(), world.rank() % 3);
    EXPECT_EQ(mesh.context().rank(), mesh.context_rank());
    EXPECT_EQ(mesh.context().size(), 3);
    EXPECT_EQ(mesh.data().rank(), mesh.data_rank());
    EXPECT_EQ(mesh.data().size(), 2);
    EXPECT_EQ(&mesh.world(), &world);
  });
}

TEST(Mesh, RefusesAnotherWorld) {
  EXPECT_THROW(run_local_ranks(2, {}, [](Communicator& world) { Mesh(world, {.data = 1, .context = 3}); }), Error);
}

}  // namespace
}  // namespace longspan
