// RegisteredArenas: the arenas that a communicator's messages go from and to, known to it all together or not at all.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/core/arena.h"
#include "parallel/comm/communicator.h"

namespace longspan {

// A message may go from one arena to another of a peer's, and both its ends are to be registered, or neither. All calls
// are collective over the communicator, which outlives this; the arenas do too, unless drop() was called.
class RegisteredArenas {
 public:
  // None where the communicator has no use for it, or refuses one of them.
  RegisteredArenas(Communicator& comm, const std::vector<const Arena*>& arenas);

  // Whether an arena is to be made anew on this rank, as `own` says, or, where they are registered, on any: then all
  // ranks drop() and replace() together.
  enum class Room : std::uint8_t { kEnough, kLacking };
  Room of_any_rank(Room own);
  // Before an arena goes; not collective, and once all that used it is done.
  void drop() { registered_.clear(); }
  // After drop(): registers these where there were any before.
  void replace(const std::vector<const Arena*>& arenas);
  bool are_registered() const { return in_use_; }

 private:
  Communicator& comm_;
  std::vector<std::unique_ptr<RegisteredMemory>> registered_;
  bool in_use_ = true;
};

}  // namespace longspan
