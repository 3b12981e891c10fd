#include "parallel/comm/registered_arenas.h"

#include <array>

namespace longspan {

RegisteredArenas::RegisteredArenas(Communicator& comm, const std::vector<const Arena*>& arenas) : comm_(comm) {
  replace(arenas);
}

// The answers are the same on all ranks, and so is what follows from them.
void RegisteredArenas::replace(const std::vector<const Arena*>& arenas) {
  for (const Arena* arena : arenas) {
    if (!in_use_) break;
    registered_.push_back(comm_.register_memory(arena->base(), arena->capacity_bytes()));
    in_use_ = registered_.back() != nullptr;
  }
  if (!in_use_) drop();
}

RegisteredArenas::Room RegisteredArenas::of_any_rank(Room own) {
  if (!in_use_) return own;
  std::array<double, 1> lacking = {own == Room::kLacking ? 1.0 : 0.0};
  comm_.all_reduce(lacking, ReduceOp::kMax);
  return lacking[0] > 0 ? Room::kLacking : Room::kEnough;
}

}  // namespace longspan
