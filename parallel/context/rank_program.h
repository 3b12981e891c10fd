// RankProgram: what one rank does in one direction of a plan, step by step, worked out before anything runs.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/context/buffers.h"
#include "parallel/context/context_plan.h"

namespace longspan {

// A slot number that means: this rank's own tokens.
inline constexpr int kOwnTokens = -1;

struct RankProgram {
  // Tokens begin … end-1 of what lies in a slot (its first token counts 0), or of this rank's own.
  struct Place {
    int slot = kOwnTokens;
    std::int64_t begin = 0, end = 0;
    std::int64_t count() const { return end - begin; }
    bool operator==(const Place&) const = default;
  };
  struct Message {
    int peer = 0;
    Place place;
  };
  struct Copy {
    Place from, to;  // of equal count
  };
  // Tasks over the same keys; their kv ranges count from the beginning of `keys` and of `gradients`. Transfers under
  // way are tested between chunks.
  struct TaskGroup {
    Place keys;
    Place gradients;  // of the same tokens; backward only
    std::vector<std::vector<AttentionTask>> chunks;
  };
  // In this order: wait for the operands posted in the step before, pack and post, clear, run the tasks, wait for the
  // results posted in the step before, add them, post results.
  struct Step {
    std::vector<Copy> packs;
    std::vector<Message> operand_sends, operand_receives;
    std::vector<Place> clears;
    std::vector<TaskGroup> groups;
    std::vector<Copy> adds;
    std::vector<Message> result_sends, result_receives;
  };

  // One more than the plan has: the last receives the results of the last step.
  std::vector<Step> steps;
  Slots operand_slots, gradient_slots;  // tokens each holds, all kv heads
};

// Chunks hold about max_chunk_pairs pairs x heads where there is something to test for, and all of a group elsewhere.
// Throws Error(kUnsupported), naming the kind of transfer, where the plan moves anything but keys, values and their
// gradients with all heads at once, or splits a task's keys over several messages.
RankProgram compile_rank_program(const ContextPlan& plan, const PlanDirection& direction, int rank,
                                 std::int64_t max_chunk_pairs);

}  // namespace longspan
