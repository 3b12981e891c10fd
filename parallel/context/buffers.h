// What memory one rank needs for tokens of others and for what is on its way, and when: from the plan alone. The
// executor books it ahead, and peak_buffer_bytes() reports it.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/context/context_plan.h"
#include "parallel/context/wire_desc.h"

namespace longspan {

enum class BufferUse : std::uint8_t {
  kPacked,   // operands of this rank's own tokens, packed to be sent
  kOperand,  // operands of other ranks' tokens: arriving, used, perhaps sent on
  kShare,    // results for other ranks' tokens: this rank's share and what was added to it, until it has left
  kArriving  // results that arrive in order to be merged into a share, or into this rank's own
};
inline bool holds_results(BufferUse use) {
  return use == BufferUse::kShare || use == BufferUse::kArriving;
}

// Memory for tokens of one kind and heads that live equally long; ranges of several owners lie one after another, so
// that tasks over all of them are one call. Occupied in the steps first_step … last_step: what is posted in a step is
// waited for in the next, operands before its tasks and results after them.
struct TransferBuffer {
  struct Part {
    TokenRange range;
    std::int64_t first = 0;  // where it begins in the buffer
    bool operator==(const Part&) const = default;
  };
  BufferUse use = BufferUse::kOperand;
  TransferKind kind = TransferKind::kKeyValue;
  std::int64_t head_begin = 0, head_end = 0;
  int first_step = 0, last_step = 0;
  std::vector<Part> parts;
  int slot = 0;  // buffers of one slot never live in the same step; see assign_slots

  std::int64_t tokens() const { return parts.empty() ? 0 : parts.back().first + parts.back().range.count(); }
  // As computed with (but for kPacked), then as it travels where that differs.
  std::int64_t num_bytes(const WireDesc& desc) const;
};

// The buffers of one rank, and for each of its transfers (by place in the direction's list) where it arrives or leaves.
struct RankBuffers {
  struct Seat {
    std::int32_t transfer = 0;
    std::int32_t buffer = 0, part = 0;
  };
  std::vector<TransferBuffer> buffers;
  std::vector<Seat> seats;  // by transfer
  const Seat& seat_of(std::int32_t transfer) const;
};
RankBuffers buffers_of(const PlanDirection& direction, int rank);

// Slots of one pool: the bytes each must hold. Gives every buffer of the pool a slot that is free in its steps.
using Slots = std::vector<std::int64_t>;
enum class BufferPool : std::uint8_t { kOperands, kResults };
Slots assign_slots(BufferPool pool, const WireDesc& desc, std::vector<TransferBuffer>& buffers);

// Bytes that a rank needs at once in its worst step for what is not its own: operands here, results on their way.
struct PeakBuffers {
  std::int64_t operand_bytes = 0, result_bytes = 0;
};
// By rank.
std::vector<PeakBuffers> peak_buffers(const PlanDirection& direction, int ranks, const WireDesc& desc);

}  // namespace longspan
