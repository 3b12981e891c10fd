#include "parallel/pipeline/pipeline_executor.h"

#include "kernels/core/error.h"
#include "kernels/core/range.h"

namespace longspan {

PipelineExecutor::PipelineExecutor(const PipelineSchedule& schedule, const StageTraffic& traffic, PipelineLinks& links,
                                   std::span<const Tensor> buffers)
    : schedule_(schedule),
      steps_(traffic.steps[static_cast<std::size_t>(links.rank())]),
      links_(links),
      buffers_(buffers) {
  const int needed = traffic.buffers[static_cast<std::size_t>(links.rank())];
  LS_CHECK(static_cast<int>(buffers.size()) >= needed, "{} buffers where {} are needed", buffers.size(), needed);
}

Tensor PipelineExecutor::tensor_of(int buffer, int micro_batch, StageWork& work) const {
  return buffer == kNoBuffer ? Tensor() : work.in_buffer(buffers_[static_cast<std::size_t>(buffer)], micro_batch);
}

void PipelineExecutor::post(const StageStep& step, StageWork& work) {
  for (const StageReceive& receive : step.receives)
    receives_.push_back(
        links_.receive(receive.peer, tensor_of(receive.buffer, receive.micro_batch, work),
                       fmt::format("micro-batch {} from pipeline rank {}", receive.micro_batch, receive.peer)));
}

void PipelineExecutor::await(std::vector<std::unique_ptr<PendingTransfers>>& transfers, int message, WaitClock& clock) {
  if (message == kNoMessage) return;
  std::unique_ptr<PendingTransfers>& pending = transfers[static_cast<std::size_t>(message)];
  if (!pending) return;
  clock.begin();
  pending->wait();
  clock.end();
  pending.reset();
}

void PipelineExecutor::progress() {
  for (auto* transfers : {&receives_, &sends_})
    for (std::unique_ptr<PendingTransfers>& pending : *transfers)
      if (pending) pending->test();
}

void PipelineExecutor::run(const Exec& exec, StageWork& work, WaitClock& clock) {
  receives_.clear();
  sends_.clear();
  for (const StageStep& step : steps_) {
    const PipelineOp& op = step.op;
    const std::string name = describe(op, schedule_.chunks);
    const Range range(*exec.runtime, name.c_str());
    post(step, work);
    await(receives_, step.awaited_receive, clock);
    await(sends_, step.awaited_send, clock);
    const Tensor input = tensor_of(step.input, op.micro_batch, work);
    const Tensor output = tensor_of(step.output, op.micro_batch, work);
    switch (op.kind) {
      case PipelineOpKind::kForward: work.forward(op, input, output); break;
      case PipelineOpKind::kBackward:
      case PipelineOpKind::kInputGradient: work.backward(op, input, output); break;
      case PipelineOpKind::kWeightGradient: work.weight_gradient(op); break;
    }
    if (step.send_to != kNoRank)
      sends_.push_back(links_.send(step.send_to, output,
                                   fmt::format("micro-batch {} to pipeline rank {}", op.micro_batch, step.send_to)));
    progress();
  }
  for (std::size_t i = 0; i < sends_.size(); ++i) await(sends_, static_cast<int>(i), clock);
}

}  // namespace longspan
