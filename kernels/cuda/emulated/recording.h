// Recording: work given to streams of the emulated GPU, kept to be given again.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/cuda/emulated/queues.h"

namespace longspan::cuda::emulated {

// Whoever uses it holds the one lock of all emulated streams.
class Recording {
 public:
  // Recorded from now on: `first` itself, then others that wait for a mark in one that is.
  static std::shared_ptr<Recording> begin(Queue& first);
  // Joins the queue, if it is no part yet.
  static void join(const std::shared_ptr<Recording>& recording, Queue& queue);
  // Nothing is recorded any more. Throws Error(kEnvironment) if work in a queue that joined is waited for by none.
  void end();
  // The same without a word, for a recording that failed.
  void abandon();

  bool is_open() const { return !queues_.empty(); }
  void add(std::function<void()> work) { works_.push_back(std::move(work)); }
  // A copy of host memory that lives as long as the recording.
  const void* keep(const void* from, std::int64_t num_bytes);
  // In the order in which it was given, which respects every mark.
  void give_again() const;

 private:
  std::vector<std::shared_ptr<Queue>> queues_;
  std::vector<std::function<void()>> works_;
  std::vector<std::vector<std::byte>> kept_;
};

}  // namespace longspan::cuda::emulated
