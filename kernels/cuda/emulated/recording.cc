#include "kernels/cuda/emulated/recording.h"

#include <algorithm>
#include <utility>

#include "kernels/core/error.h"

namespace longspan::cuda::emulated {

std::shared_ptr<Recording> Recording::begin(Queue& first) {
  auto recording = std::make_shared<Recording>();
  join(recording, first);
  return recording;
}

void Recording::join(const std::shared_ptr<Recording>& recording, Queue& queue) {
  LS_REQUIRE(kEnvironment, !queue.recording || queue.recording == recording,
             "a stream of one recording waits for a mark of another");
  if (!queue.recording) {
    queue.recording = recording;
    recording->queues_.push_back(queue.shared_from_this());
  }
  queue.awaited = false;
}

void Recording::end() {
  const bool all_awaited = std::all_of(queues_.begin() + 1, queues_.end(), [](const auto& q) { return q->awaited; });
  abandon();
  LS_REQUIRE(kEnvironment, all_awaited,
             "a stream was recorded beside another, which does not wait for it in the end; make it wait for a mark");
}

void Recording::abandon() {
  for (const std::shared_ptr<Queue>& queue : std::exchange(queues_, {})) queue->recording.reset();
}

const void* Recording::keep(const void* from, std::int64_t num_bytes) {
  const auto* bytes = static_cast<const std::byte*>(from);
  return kept_.emplace_back(bytes, bytes + num_bytes).data();
}

void Recording::give_again() const {
  for (const std::function<void()>& work : works_) work();
}

}  // namespace longspan::cuda::emulated
