// PassArenas: the memory in which a rank computes: an arena for each pass that may be alive, those they share, and the
// buffers in which neighbouring stages hand each other activations.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/core/arena.h"
#include "models/activation_offload.h"
#include "parallel/comm/registered_arenas.h"
#include "trainer/loop/pass_bytes.h"

namespace longspan {

class PassArenas {
 public:
  // On the host arenas reserve address space only, and more than this; on a GPU they are this large, to the byte. The
  // attention's messages go from and to them over `context`. Keeps references.
  PassArenas(const PassBytes& bytes, DeviceRuntime& runtime, Communicator& context);

  // Memory for a pass, its own until it is given back; `offload` is made when first asked for.
  struct Slot {
    int pool = 0, number = 0;
  };
  Slot take(int chunk);
  void give_back(const Slot& slot);
  Arena& kept(const Slot& slot);
  ActivationOffload& offload(const Slot& slot);

  Arena& transient() { return *transient_; }
  // For what needs one arena while no pass of the chunk is alive: the larger of its passes' and the transient one.
  Arena& roomiest(int chunk);
  Arena& workspace() { return *workspace_; }
  std::span<const Tensor> hand_overs() const { return hand_overs_; }
  std::int64_t peak_bytes() const;

  // Room for this much, where some batch needs more than was foreseen; no pass is alive. Costs time only then.
  // Collective over the context group; counts are those of before.
  void make_room(const PassBytes& bytes, Stream stream);

 private:
  struct Pass {
    std::optional<Arena> kept;
    std::unique_ptr<ActivationOffload> offload;
    bool is_taken = false;
  };
  Pass& at(const Slot& slot);
  std::vector<const Arena*> used_by_attention() const;
  void book_hand_overs(const PassBytes& bytes);
  std::int64_t capacity_for(std::int64_t num_bytes) const;
  static std::int64_t hand_over_bytes(const PassBytes& bytes);

  DeviceRuntime& runtime_;
  const std::vector<int> pool_of_;         // [chunk]
  std::vector<std::vector<Pass>> passes_;  // [pool][number]
  std::optional<Arena> transient_, workspace_, hand_over_arena_;
  std::vector<Tensor> hand_overs_;
  RegisteredArenas registered_;  // after the arenas, which it goes before
};

}  // namespace longspan
