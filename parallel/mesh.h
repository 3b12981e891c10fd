// Mesh: which rank is which. rank = data * context_size + context (context innermost: neighbours on one node).
#pragma once

#include <memory>

#include "parallel/comm/communicator.h"

namespace longspan {

struct MeshShape {
  int data = 1;
  int context = 1;
  int world() const { return data * context; }
};

// The shape for a world: context 0 means world / data. Throws Error(kUsage) naming every factor if they do not fit.
MeshShape resolve_mesh(int world, int data, int context);

// This rank's place and its groups; owns the groups' communicators. Collective to make.
class Mesh {
 public:
  Mesh(Communicator& world, MeshShape shape);
  const MeshShape& shape() const { return shape_; }
  int data_rank() const { return world_->rank() / shape_.context; }
  int context_rank() const { return world_->rank() % shape_.context; }
  Communicator& world() { return *world_; }
  Communicator& context() { return *context_; }  // ranks that share one sequence
  Communicator& data() { return *data_; }        // ranks with the same context place

 private:
  MeshShape shape_;
  Communicator* world_;
  std::unique_ptr<Communicator> context_, data_;
};

}  // namespace longspan
