// Epochs: in which order each comes, and what was made for those at hand.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace longspan {

struct SourceOptions {
  std::int64_t sequence_length = 1024;
  std::optional<std::uint64_t> shuffle_seed;  // nullopt: in the order of the file
};

// 0 … count-1 in the order of this epoch.
std::vector<std::int64_t> epoch_order(std::int64_t count, const SourceOptions& options, std::int64_t epoch);

// What an epoch needs, made when it is first met. Two are kept: a sequence may lie across the end of one.
template <class Epoch>
class EpochCache {
 public:
  // Several threads may call it.
  template <class Make>
  std::shared_ptr<const Epoch> get(std::int64_t epoch, const Make& make) const {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<const Epoch>& entry = epochs_[epoch];
    if (!entry) entry = std::make_shared<const Epoch>(make(epoch));
    const std::shared_ptr<const Epoch> found = entry;
    while (epochs_.size() > 2) {
      const auto oldest = epochs_.begin();
      epochs_.erase(oldest->first == epoch ? std::next(oldest) : oldest);
    }
    return found;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::map<std::int64_t, std::shared_ptr<const Epoch>> epochs_;
};

}  // namespace longspan
