// RankProgram: what one rank does in one direction of a plan, step by step, worked out before anything runs.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/context/buffers.h"
#include "parallel/context/context_plan.h"

namespace longspan {

// A buffer number that means: this rank's own tokens, all heads.
inline constexpr int kOwnTokens = -1;

struct RankProgram {
  // Tokens begin … end-1 and heads head_begin … head_end-1 of what lies in a buffer (its first of each counts 0), or of
  // this rank's own.
  struct Place {
    int buffer = kOwnTokens;
    std::int64_t begin = 0, end = 0;
    std::int64_t head_begin = 0, head_end = 0;
    std::int64_t count() const { return end - begin; }
    bool operator==(const Place&) const = default;
  };
  struct Message {
    TransferKind kind = TransferKind::kKeyValue;
    int peer = 0;
    Place place;
  };
  struct Copy {
    TransferKind kind = TransferKind::kKeyValue;
    Place from, to;  // of equal count and heads
  };
  // Tasks over the same memory, one call a chunk: rows, keys and heads of the tasks count from the beginning of these
  // places. Transfers under way are tested between chunks.
  struct TaskGroup {
    Place query, query_result;  // q; out forward, dq backward
    Place output_gradient;      // backward only
    Place key, key_result;      // kv; dkv, backward only
    std::vector<std::vector<AttentionTask>> chunks;
  };
  // In this order: wait for the operands posted in the step before, pack and post, clear, run the tasks, wait for the
  // results posted in the step before, merge them, post results.
  struct Step {
    std::vector<Copy> packs;
    std::vector<Message> operand_sends, operand_receives;
    std::vector<int> clears;  // buffers of results that begin here
    std::vector<TaskGroup> groups;
    std::vector<Copy> merges;
    std::vector<Message> result_sends, result_receives;
  };

  // One more than the plan has: the last receives the results of the last step.
  std::vector<Step> steps;
  std::vector<TransferBuffer> buffers;
  Slots operand_slots, result_slots;  // bytes each holds
};

// Chunks hold about max_chunk_pairs pairs x heads where there is something to test for, and all of a group elsewhere.
// Throws Error(kUnsupported) where the plan splits the tokens of a task over several messages, or sends on a part of
// the heads that arrived together.
RankProgram compile_rank_program(const ContextPlan& plan, const PlanDirection& direction, int rank,
                                 const WireDesc& desc, std::int64_t max_chunk_pairs);

}  // namespace longspan
