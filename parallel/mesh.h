// Mesh: which rank is which. rank = (pipeline * data_size + data) * context_size + context: context innermost,
// neighbours on one node; pipeline outermost, for its messages are fewest.
#pragma once

#include <memory>
#include <string>

#include "parallel/comm/communicator.h"

namespace longspan {

struct MeshPlace {
  int pipeline = 0, data = 0, context = 0;
};

struct MeshShape {
  int pipeline = 1;
  int data = 1;
  int context = 1;                                 // in a wish: 0 for what the world leaves
  int replicas() const { return data * context; }  // ranks that hold the same weights
  int world() const { return pipeline * replicas(); }
  MeshPlace place_of(int rank) const {
    return {.pipeline = rank / replicas(), .data = rank / context % data, .context = rank % context};
  }
  int rank_of(const MeshPlace& place) const { return (place.pipeline * data + place.data) * context + place.context; }
  bool operator==(const MeshShape&) const = default;
};

// "parallel.pipeline 2 x parallel.data 2 x parallel.context 1".
std::string describe(const MeshShape& shape);

// The shape for a world: context 0 means world / (pipeline * data). Throws Error(kUsage) naming every factor if they do
// not fit.
MeshShape resolve_mesh(int world, const MeshShape& wanted);

// This rank's place and its groups; owns the groups' communicators. Collective to make.
class Mesh {
 public:
  Mesh(Communicator& world, MeshShape shape);
  const MeshShape& shape() const { return shape_; }
  MeshPlace place() const { return shape_.place_of(world_->rank()); }
  Communicator& world() { return *world_; }
  Communicator& context() { return *context_; }    // ranks that share one sequence
  Communicator& replicas() { return *replicas_; }  // ranks with the same stages, whose gradients are summed
  Communicator& pipeline() { return *pipeline_; }  // ranks that a micro-batch's tokens of one place pass through

 private:
  MeshShape shape_;
  Communicator* world_;
  std::unique_ptr<Communicator> context_, replicas_, pipeline_;
};

}  // namespace longspan
