// PipelineExecutor: walks one rank's list of a schedule; what neighbouring stages hand each other travels beside what
// they compute.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/core/exec.h"
#include "parallel/comm/wait_clock.h"
#include "parallel/pipeline/pipeline_links.h"
#include "parallel/pipeline/stage_traffic.h"

namespace longspan {

// What the operations of a schedule are on one rank. Tensors are one micro-batch's between two stages, absent at the
// model's ends; they belong to the executor.
class StageWork {
 public:
  virtual ~StageWork() = default;
  // How a micro-batch's activations look, in memory that begins at `buffer`.
  virtual Tensor in_buffer(const Tensor& buffer, int micro_batch) = 0;
  // input stays there, unchanged, until the backward (its weights' half, where they stand apart) is done.
  virtual void forward(const PipelineOp& op, const Tensor& input, const Tensor& output) = 0;
  // kBackward and kInputGradient. doutput lives until the backward, or its weights' half, is done.
  virtual void backward(const PipelineOp& op, const Tensor& doutput, const Tensor& dinput) = 0;
  virtual void weight_gradient(const PipelineOp& op) = 0;
};

class PipelineExecutor {
 public:
  // Rank links.rank() of the schedule, which is right. Buffers are at least as many as the traffic says, each for the
  // largest micro-batch. Keeps references.
  PipelineExecutor(const PipelineSchedule& schedule, const StageTraffic& traffic, PipelineLinks& links,
                   std::span<const Tensor> buffers);

  // All operations of this rank; all its transfers are done afterwards. Collective over the pipeline. Work is queued on
  // exec.stream. Waiting is timed by `clock`.
  void run(const Exec& exec, StageWork& work, WaitClock& clock);
  // For `work` to call between its operators: transfers under way get on.
  void progress();

 private:
  void post(const StageStep& step, StageWork& work);
  void await(std::vector<std::unique_ptr<PendingTransfers>>& transfers, int message, WaitClock& clock);
  Tensor tensor_of(int buffer, int micro_batch, StageWork& work) const;
  std::string name_of(int micro_batch, int peer) const;

  const PipelineSchedule& schedule_;
  const std::vector<StageStep>& steps_;
  PipelineLinks& links_;
  const std::span<const Tensor> buffers_;
  std::vector<std::unique_ptr<PendingTransfers>> receives_, sends_;  // null once done
};

}  // namespace longspan
