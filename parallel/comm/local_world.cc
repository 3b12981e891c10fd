#include "parallel/comm/local_world.h"

#include "kernels/core/error.h"
#include "parallel/comm/local_transfers.h"

namespace longspan {

LocalWorld::LocalWorld(int num_ranks, const CommOptions& options) : options_(options), finished_(num_ranks, 0) {}

void LocalWorld::abort(int world_rank, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  abort_locked(world_rank, reason);
}

void LocalWorld::abort_locked(int world_rank, const std::string& reason) {
  if (abort_rank_ >= 0) return;
  abort_rank_ = world_rank;
  abort_reason_ = reason;
  for (LocalTransfers* transfers : waits_) transfers->wake();
}

void LocalWorld::finish(int world_rank) {
  const std::lock_guard lock(mutex_);
  finished_[world_rank] = 1;
}

std::string LocalWorld::describe_ranks() const {
  std::string text;
  for (int r = 0; r < size(); ++r) {
    bool waits = false;
    for (const LocalTransfers* transfers : waits_) {
      if (transfers->world_rank() != r) continue;
      text += fmt::format("\n  rank {} {}", r, transfers->describe_with_time());
      waits = true;
    }
    if (!waits) text += fmt::format("\n  rank {} {}", r, finished_[r] != 0 ? "has finished" : "waits for no rank");
  }
  return text;
}

std::shared_ptr<LocalGroup> LocalWorld::group_of_split(const SplitKey& key, const std::vector<int>& world_ranks) {
  const std::lock_guard lock(mutex_);
  Meeting& meeting = meetings_[key];
  if (meeting.group == nullptr) meeting.group = std::make_shared<LocalGroup>(*this, next_group_id_++, world_ranks);
  const std::shared_ptr<LocalGroup> group = meeting.group;
  if (++meeting.num_arrived == world_ranks.size()) meetings_.erase(key);
  return group;
}

}  // namespace longspan
