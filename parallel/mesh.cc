#include "parallel/mesh.h"

#include "kernels/core/error.h"

namespace longspan {

MeshShape resolve_mesh(int world, int data, int context) {
  LS_REQUIRE(kUsage, data >= 1, "parallel.data {}: give at least 1", data);
  LS_REQUIRE(kUsage, context >= 0, "parallel.context {}: give auto, or at least 1", context);
  if (context == 0) {
    LS_REQUIRE(
        kUsage, world % data == 0,
        "parallel.data {} does not divide the {} ranks that were started, so parallel.context: auto has no value; "
        "use --ranks {} or set parallel.data to a divisor of {}",
        data, world, (world / data + 1) * data, world);
    return {.data = data, .context = world / data};
  }
  const std::int64_t wanted = static_cast<std::int64_t>(data) * context;
  LS_REQUIRE(kUsage, wanted == world,
             "parallel.data {} x parallel.context {} = {} ranks, but {} were started; use --ranks {} or set {}", data,
             context, wanted, world, wanted,
             world % data == 0 ? "parallel.context: auto"
                               : fmt::format("parallel.data to a divisor of {} and parallel.context: auto", world));
  return {.data = data, .context = context};
}

Mesh::Mesh(Communicator& world, MeshShape shape) : shape_(shape), world_(&world) {
  LS_CHECK(shape.world() == world.size(), "a mesh of {} x {} on {} ranks", shape.data, shape.context, world.size());
  context_ = world.split(data_rank(), context_rank());
  data_ = world.split(context_rank(), data_rank());
}

}  // namespace longspan
