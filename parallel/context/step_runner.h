// StepRunner: runs a RankProgram once. It moves keys, values and gradients; what a task computes is its caller's.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/core/exec.h"
#include "parallel/comm/communicator.h"
#include "parallel/context/executor.h"
#include "parallel/context/rank_program.h"

namespace longspan {

// What an arena takes for an allocation of so many bytes.
constexpr std::int64_t booked_bytes(std::int64_t num_bytes) {
  return (num_bytes + 63) / 64 * 64;
}

// Keys and values, or their gradients, of some tokens: views of [n, Hkv, D] and [n, Hkv, Dv] with strided tokens.
struct KeyValue {
  Tensor k, v;
};

// Keys and values of a token lie side by side (all heads of k, then all of v), so that any range of tokens is one
// message. The same for gradients, in fp32.
class KeyValueLayout {
 public:
  explicit KeyValueLayout(const AttentionDesc& desc) : desc_(desc) {}
  std::int64_t width() const { return desc_.kv_heads * (desc_.head_dim + desc_.value_dim); }
  // Of `rows` [n, width()].
  KeyValue view(const Tensor& rows) const;

 private:
  AttentionDesc desc_;
};

class StepRunner {
 public:
  struct Operands {
    KeyValue own;          // this rank's keys and values
    Tensor own_gradients;  // [c, width] fp32, added to; absent in forward
  };
  // Books the slots in exec.workspace; they live as long as the caller's scope. Keeps references.
  StepRunner(const Exec& exec, Communicator& comm, const AttentionDesc& desc, const RankProgram& program,
             const Operands& operands);

  // compute(tasks, keys, gradients) runs tasks whose rows are those of the views.
  using Compute = std::function<void(std::span<const AttentionTask>, const KeyValue& keys, const KeyValue& gradients)>;
  ContextStats run(const Compute& compute);

  // What the constructor takes from the workspace.
  static std::int64_t workspace_bytes(const AttentionDesc& desc, const RankProgram& program);

 private:
  struct Posted {
    std::unique_ptr<PendingTransfers> transfers;  // null: none under way
  };
  enum class Pool : std::uint8_t { kOperands, kGradients };

  Tensor rows_of(Pool pool, const RankProgram::Place& place) const;
  KeyValue keys_at(const RankProgram::Place& place) const;
  Posted post(Pool pool, std::span<const RankProgram::Message> sends, std::span<const RankProgram::Message> receives,
              int step);
  void wait(Posted& posted);
  static void test(Posted& posted);
  void run_tasks(const RankProgram::TaskGroup& group, const Compute& compute);

  const Exec exec_;
  Communicator& comm_;
  const KeyValueLayout layout_;
  const RankProgram& program_;
  const Operands operands_;
  std::vector<Tensor> slots_[2];  // by pool
  Posted operands_posted_, results_posted_;
  ContextStats stats_;
};

}  // namespace longspan
