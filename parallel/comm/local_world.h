// LocalWorld: what the ranks of one process share: one lock, the abort, who waits for what, and the groups of splits.
#pragma once

#include <compare>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "parallel/comm/communicator.h"

namespace longspan {

class LocalGroup;
class LocalTransfers;

// Every transfer of the world is matched under one mutex; copies run outside it. Members marked (locked) need it held.
class LocalWorld {
 public:
  LocalWorld(int num_ranks, const CommOptions& options);

  std::mutex& mutex() { return mutex_; }
  int size() const { return static_cast<int>(finished_.size()); }
  std::int64_t timeout_ms() const { return options_.timeout_ms; }

  // The first call counts: keeps rank and reason and wakes every wait.
  void abort(int world_rank, const std::string& reason);
  void abort_locked(int world_rank, const std::string& reason);
  int abort_rank() const { return abort_rank_; }                     // -1: none; (locked) or after the ranks ended
  const std::string& abort_reason() const { return abort_reason_; }  // likewise

  // While it lives, a wait is known to describe_ranks() and woken by an abort (locked, made and destroyed).
  class Waiting {
   public:
    Waiting(LocalWorld& world, LocalTransfers& transfers)
        : world_(world), place_(world.waits_.insert(world.waits_.end(), &transfers)) {}
    ~Waiting() { world_.waits_.erase(place_); }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    LocalWorld& world_;
    std::list<LocalTransfers*>::iterator place_;
  };
  // One line a rank: what it waits for, or that it computes or has finished (locked).
  std::string describe_ranks() const;
  void finish(int world_rank);

  // The group of one colour of a split of a group: the first member to come makes it, the last one's call forgets it.
  struct SplitKey {
    std::int64_t parent;  // a group's id
    std::int64_t count;   // splits of the parent before this one
    int color;
    auto operator<=>(const SplitKey&) const = default;
  };
  std::shared_ptr<LocalGroup> group_of_split(const SplitKey& key, const std::vector<int>& world_ranks);

 private:
  struct Meeting {
    std::shared_ptr<LocalGroup> group;  // shared: one communicator of each member refers to it
    std::size_t num_arrived = 0;
  };

  const CommOptions options_;
  std::mutex mutex_;
  int abort_rank_ = -1;
  std::string abort_reason_;
  std::list<LocalTransfers*> waits_;
  std::vector<char> finished_;
  std::map<SplitKey, Meeting> meetings_;
  std::int64_t next_group_id_ = 1;  // 0 is the world's
};

}  // namespace longspan
