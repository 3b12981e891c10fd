// Which shape a world takes, and what is said when the factors do not fit. Groups: tests/multirank.
#include "parallel/mesh.h"

#include <gtest/gtest.h>

#include "kernels/core/error.h"

namespace longspan {
namespace {

std::string refusal(int world, const MeshShape& wanted) {
  try {
    resolve_mesh(world, wanted);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "accepted";
}

TEST(Mesh, TakesTheShapeThatFits) {
  const auto expect_shape = [](int world, const MeshShape& wanted, const MeshShape& got) {
    EXPECT_EQ(resolve_mesh(world, wanted), got);
    EXPECT_EQ(got.world(), world);
  };
  expect_shape(1, {1, 1, 0}, {1, 1, 1});
  expect_shape(1, {1, 1, 1}, {1, 1, 1});
  expect_shape(6, {1, 2, 3}, {1, 2, 3});
  expect_shape(6, {1, 2, 0}, {1, 2, 3});
  expect_shape(8, {1, 8, 0}, {1, 8, 1});
  expect_shape(8, {4, 1, 0}, {4, 1, 2});
  expect_shape(12, {3, 2, 2}, {3, 2, 2});
  expect_shape(12, {3, 2, 0}, {3, 2, 2});
}

TEST(Mesh, NamesEveryFactorThatDoesNotFit) {
  EXPECT_EQ(
      refusal(4, {1, 2, 3}),
      "parallel.pipeline 1 x parallel.data 2 x parallel.context 3 = 6 ranks, but 4 were started; use --ranks 6 or "
      "set parallel.context: auto");
  EXPECT_EQ(
      refusal(4, {1, 3, 2}),
      "parallel.pipeline 1 x parallel.data 3 x parallel.context 2 = 6 ranks, but 4 were started; use --ranks 6 or "
      "factors whose product is 4, parallel.context: auto among them");
  EXPECT_EQ(refusal(4, {3, 1, 0}),
            "parallel.pipeline 3 x parallel.data 1 = 3 does not divide the 4 ranks that were started, so "
            "parallel.context: auto has no value; use --ranks 6 or factors whose product divides 4");
  EXPECT_EQ(
      refusal(4, {65536, 65536, 1}),
      "parallel.pipeline 65536 x parallel.data 65536 x parallel.context 1 = 4294967296 ranks, but 4 were started; "
      "use --ranks 4294967296 or factors whose product is 4, parallel.context: auto among them");
  EXPECT_EQ(refusal(4, {1, 0, 2}), "parallel.data 0: give at least 1");
  EXPECT_EQ(refusal(4, {0, 1, 2}), "parallel.pipeline 0: give at least 1");
  EXPECT_EQ(refusal(4, {1, 1, -1}), "parallel.context -1: give auto, or at least 1");
}

TEST(Mesh, KnowsItsPlace) {
  run_local_ranks(12, {}, [](Communicator& world) {
    Mesh mesh(world, {.pipeline = 2, .data = 2, .context = 3});
    const MeshPlace place = mesh.place();
    EXPECT_EQ(place.pipeline, world.rank() / 6);
    EXPECT_EQ(place.data, world.rank() / 3 % 2);
    EXPECT_EQ(place.context, world.rank() % 3);
    EXPECT_EQ(mesh.shape().rank_of(place), world.rank());
    EXPECT_EQ(mesh.context().rank(), place.context);
    EXPECT_EQ(mesh.context().size(), 3);
    EXPECT_EQ(mesh.replicas().rank(), world.rank() % 6);
    EXPECT_EQ(mesh.replicas().size(), 6);
    EXPECT_EQ(mesh.pipeline().rank(), place.pipeline);
    EXPECT_EQ(mesh.pipeline().size(), 2);
    EXPECT_EQ(&mesh.world(), &world);
  });
}

TEST(Mesh, RefusesAnotherWorld) {
  EXPECT_THROW(run_local_ranks(2, {}, [](Communicator& world) { Mesh(world, {.context = 3}); }), Error);
}

}  // namespace
}  // namespace longspan
