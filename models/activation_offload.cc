#include "models/activation_offload.h"

#include "kernels/core/log.h"

namespace longspan {

ActivationOffload::ActivationOffload(DeviceRuntime& runtime)
    : runtime_(runtime),
      transfers_(runtime.make_stream(StreamUse::kTransfers)),
      computed_(runtime.make_event(EventTiming::kOff)) {}

ActivationOffload::~ActivationOffload() {
  try {
    runtime_.synchronize(transfers_);  // copies touch memory that goes now
  } catch (const std::exception& error) {
    log(LogLevel::kWarning, "at the end of offloading: {}", error.what());
  }
  runtime_.destroy(transfers_);
}

void ActivationOffload::begin(std::int64_t layers, std::int64_t bytes_each) {
  if (layers * bytes_each > memory_.num_bytes()) runtime_.synchronize(transfers_);
  memory_.make_room(runtime_, layers * bytes_each);
  bytes_each_ = bytes_each;
  while (static_cast<std::int64_t>(layers_.size()) < layers)
    layers_.push_back({runtime_.make_event(EventTiming::kOff), runtime_.make_event(EventTiming::kOff)});
}

std::byte* ActivationOffload::memory_of(std::int64_t layer) const {
  LS_CHECK(layer >= 0 && (layer + 1) * bytes_each_ <= memory_.num_bytes(), "layer {} of what is offloaded", layer);
  return memory_.data() + layer * bytes_each_;
}

void ActivationOffload::save(const Exec& exec, std::int64_t layer, std::span<const Tensor> tensors) {
  computed_->record(exec.stream);
  computed_->hold_back(transfers_);
  std::byte* to = memory_of(layer);
  for (const Tensor& tensor : tensors) {
    runtime_.copy(transfers_, to, tensor.data, tensor.num_bytes());
    to += tensor.num_bytes();
  }
  layers_[static_cast<std::size_t>(layer)].saved->record(transfers_);
}

void ActivationOffload::after_save(const Exec& exec, std::int64_t layer) {
  layers_[static_cast<std::size_t>(layer)].saved->hold_back(exec.stream);
}

void ActivationOffload::fetch(const Exec& exec, std::int64_t layer, std::span<const Tensor> tensors) {
  computed_->record(exec.stream);
  computed_->hold_back(transfers_);
  const std::byte* from = memory_of(layer);
  for (const Tensor& tensor : tensors) {
    runtime_.copy(transfers_, tensor.data, from, tensor.num_bytes());
    from += tensor.num_bytes();
  }
  layers_[static_cast<std::size_t>(layer)].fetched->record(transfers_);
}

void ActivationOffload::after_fetch(const Exec& exec, std::int64_t layer) {
  layers_[static_cast<std::size_t>(layer)].fetched->hold_back(exec.stream);
}

}  // namespace longspan
