// What memory one rank needs for keys and values on the move, and when: from the plan alone. The executor books it
// ahead, and peak_buffers() reports it.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/context/context_plan.h"

namespace longspan {

enum class BufferUse : std::uint8_t {
  kPacked,    // keys and values of this rank's own tokens, packed to be sent
  kKeyValue,  // keys and values of another rank's tokens, arriving, used and perhaps sent on
  kShare,     // gradients of another rank's keys and values: this rank's share and what was added to it
  kArriving,  // gradients that arrive in order to be added to a share, or to this rank's own
};
inline bool holds_gradients(BufferUse use) {
  return use == BufferUse::kShare || use == BufferUse::kArriving;
}

// The range of one transfer: the one by which it arrives or, for kPacked and kShare, leaves. It occupies its memory in
// the steps first_step … last_step; what is posted in a step is waited for in the next, operands before its tasks and
// results after them.
struct TransferBuffer {
  BufferUse use = BufferUse::kKeyValue;
  std::int32_t transfer = 0;  // its place in the direction's list
  int first_step = 0, last_step = 0;
  int slot = 0;  // buffers of one slot never live in the same step; see assign_slots
};

// The buffers of one rank, in the order of their transfers.
std::vector<TransferBuffer> buffers_of(const PlanDirection& direction, int rank);

// Slots of one pool (operands or gradients): the tokens each must hold.
using Slots = std::vector<std::int64_t>;
// Gives every buffer of the pool the first slot that is free in its steps; returns the slots.
enum class BufferPool : std::uint8_t { kOperands, kGradients };
Slots assign_slots(const PlanDirection& direction, BufferPool pool, std::vector<TransferBuffer>& buffers);

}  // namespace longspan
