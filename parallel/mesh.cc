#include "parallel/mesh.h"

#include "kernels/core/error.h"

namespace longspan {

std::string describe(const MeshShape& shape) {
  return fmt::format("parallel.pipeline {} x parallel.data {} x parallel.context {}", shape.pipeline, shape.data,
                     shape.context == 0 ? "auto" : std::to_string(shape.context));
}

MeshShape resolve_mesh(int world, const MeshShape& wanted) {
  LS_REQUIRE(kUsage, wanted.pipeline >= 1, "parallel.pipeline {}: give at least 1", wanted.pipeline);
  LS_REQUIRE(kUsage, wanted.data >= 1, "parallel.data {}: give at least 1", wanted.data);
  LS_REQUIRE(kUsage, wanted.context >= 0, "parallel.context {}: give auto, or at least 1", wanted.context);
  const std::int64_t given = static_cast<std::int64_t>(wanted.pipeline) * wanted.data;
  const bool divides = world % given == 0;
  if (wanted.context == 0) {
    LS_REQUIRE(kUsage, divides,
               "parallel.pipeline {} x parallel.data {} = {} does not divide the {} ranks that were started, so "
               "parallel.context: auto has no value; use --ranks {} or factors whose product divides {}",
               wanted.pipeline, wanted.data, given, world, (world / given + 1) * given, world);
    return {.pipeline = wanted.pipeline, .data = wanted.data, .context = static_cast<int>(world / given)};
  }
  const std::int64_t ranks = given * wanted.context;
  LS_REQUIRE(kUsage, ranks == world, "{} = {} ranks, but {} were started; use --ranks {} or {}", describe(wanted),
             ranks, world, ranks,
             divides ? "set parallel.context: auto"
                     : fmt::format("factors whose product is {}, parallel.context: auto among them", world));
  return wanted;
}

Mesh::Mesh(Communicator& world, MeshShape shape) : shape_(shape), world_(&world) {
  LS_CHECK(shape.world() == world.size(), "a mesh of {} on {} ranks", describe(shape), world.size());
  const MeshPlace here = place();
  context_ = world.split(here.pipeline * shape.data + here.data, here.context);
  replicas_ = world.split(here.pipeline, world.rank());
  pipeline_ = world.split(here.data * shape.context + here.context, here.pipeline);
}

}  // namespace longspan
