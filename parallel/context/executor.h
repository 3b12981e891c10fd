// ContextAttention: one rank's part in running a plan, transfers of each step under its tasks, both directions.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/core/exec.h"
#include "kernels/ops/attention.h"
#include "parallel/comm/communicator.h"
#include "parallel/context/context_plan.h"
#include "parallel/context/context_trace.h"
#include "parallel/context/wire_desc.h"

namespace longspan {

// What the last forward or backward did, on this rank.
struct ContextStats {
  std::int64_t bytes_sent = 0;
  std::int64_t pairs = 0;  // visible pairs times heads computed
  double compute_seconds = 0;
  // Of them, those in which the calling thread had a core: what they would be if ranks did not share cores. Threads
  // that the operator starts beside it are not counted.
  double compute_cpu_seconds = 0;  // on a device: 0
  double exposed_seconds = 0;      // spent waiting for transfers; on a device: in which its compute stream waited
};

// kUnderTasks: a step's transfers go on while its tasks run. kNone: they are waited for where they are posted, to see
// what overlap is worth. Results are the same, bit for bit.
enum class Overlap : std::uint8_t { kUnderTasks, kNone };

struct ContextOptions {
  Overlap overlap = Overlap::kUnderTasks;
  HopFormats formats{};  // of keys, values and their gradients on the way; the same on all ranks
  ContextTrace* trace =
      nullptr;                   // added to by each call, on a device by stats() or totals(); null: nothing is recorded
  Device device = Device::kCpu;  // where calls will run: on a device tasks are not cut to look at transfers in between
};

// Not thread-safe; one a rank, plan and kind of layer. c is the number of tokens of this rank.
class ContextAttention {
 public:
  // The plan has been validated and is the same on all ranks of comm (plan->ranks of them), as are the overlap and the
  // formats. Keeps
  // references to comm and to the trace.
  ContextAttention(std::shared_ptr<const ContextPlan> plan, Communicator& comm, const AttentionDesc& desc,
                   const ContextOptions& options = {});
  ~ContextAttention();

  struct Forward {
    Tensor q, k, v;  // [c,H,D], [c,Hkv,D], [c,Hkv,Dv] of desc.dtype
    Tensor sink;     // [H] fp32; absent: none
    Tensor out;      // [c,H,Dv] of desc.dtype, written
    Tensor lse;      // [c,H] fp32, written: total, sink included; kept for backward
  };
  struct Backward {
    Tensor q, k, v, sink, out, lse;  // as in and from forward
    Tensor dout;                     // [c,H,Dv] desc.dtype
    Tensor dq, dk, dv;               // like q, k, v in shape; desc.dtype or fp32, written (cast once)
    Tensor dsink;                    // [H] fp32 +=; absent exactly when sink is
  };
  // Collective over comm, which has been told of the device where there is one; there all work is queued on
  // exec.stream, the stream that comm was told of, the same for all calls. Scratch comes from exec.workspace and is
  // released; see workspace_bytes().
  void forward(const Exec& exec, const Forward& args);
  void backward(const Exec& exec, const Backward& args);

  // Scratch a call takes at most, known from the plan.
  std::int64_t forward_workspace_bytes() const;
  std::int64_t backward_workspace_bytes() const;

  const ContextPlan& plan() const;
  // Of the last call, and of all calls since it was made. On a device they wait for what was queued: once a step is
  // often enough.
  const ContextStats& stats() const;
  const ContextStats& totals() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longspan
