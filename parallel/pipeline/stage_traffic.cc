#include "parallel/pipeline/stage_traffic.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "kernels/core/error.h"

namespace longspan {
namespace {

constexpr int kOperationsAhead = 2;  // that a receive is posted before it is needed

bool is_forward(const PipelineOp& op) {
  return op.kind == PipelineOpKind::kForward;
}
bool hands_on(const PipelineOp& op) {
  return op.kind != PipelineOpKind::kWeightGradient;
}
bool ends_pass(const PipelineOp& op) {
  return op.kind == PipelineOpKind::kBackward || op.kind == PipelineOpKind::kWeightGradient;
}

// Activations into a stage, or the gradient of its output.
struct HandOver {
  bool is_gradient;
  int stage, micro_batch;
  auto operator<=>(const HandOver&) const = default;
};

class Sides {
 public:
  explicit Sides(const PipelineSchedule& schedule) : s_(schedule), places_(places_of_stages(schedule)) {}

  int stage_of(int rank, const PipelineOp& op) const {
    return s_.stage_of[static_cast<std::size_t>(rank)][static_cast<std::size_t>(op.chunk)];
  }
  int rank_of(int stage) const { return places_[static_cast<std::size_t>(stage)].rank; }
  std::optional<HandOver> read_by(int rank, const PipelineOp& op) const {
    const int stage = stage_of(rank, op);
    if (!hands_on(op) || stage == (is_forward(op) ? 0 : s_.num_stages() - 1)) return std::nullopt;
    return HandOver{!is_forward(op), stage, op.micro_batch};
  }
  std::optional<HandOver> written_by(int rank, const PipelineOp& op) const {
    const int stage = stage_of(rank, op);
    if (!hands_on(op) || stage == (is_forward(op) ? s_.num_stages() - 1 : 0)) return std::nullopt;
    return HandOver{!is_forward(op), is_forward(op) ? stage + 1 : stage - 1, op.micro_batch};
  }

 private:
  const PipelineSchedule& s_;
  const std::vector<StagePlace> places_;
};

// Lowest free number first.
class Numbers {
 public:
  int take() {
    if (free_.empty()) return count_++;
    const int number = *free_.begin();
    free_.erase(free_.begin());
    return number;
  }
  void give_back(int number) { free_.insert(number); }
  int count() const { return count_; }

 private:
  std::set<int> free_;
  int count_ = 0;
};

// What arrives at a rank from each other rank, in order.
std::map<int, std::vector<HandOver>> arrivals_at(const PipelineSchedule& s, const Sides& sides, int rank) {
  std::map<int, std::vector<HandOver>> arrivals;
  for (int from = 0; from < s.ranks; ++from) {
    if (from == rank) continue;
    for (const PipelineOp& op : s.ops[static_cast<std::size_t>(from)])
      if (const auto out = sides.written_by(from, op); out && sides.rank_of(out->stage) == rank)
        arrivals[from].push_back(*out);
  }
  return arrivals;
}

class RankTraffic {
 public:
  RankTraffic(const PipelineSchedule& schedule, const Sides& sides, int rank, int sends_in_flight)
      : s_(schedule),
        sides_(sides),
        rank_(rank),
        sends_in_flight_(sends_in_flight),
        has_backward_(std::any_of(ops().begin(), ops().end(), [](const PipelineOp& op) { return !is_forward(op); })),
        arrivals_(arrivals_at(schedule, sides, rank)) {}

  std::vector<StageStep> plan() {
    std::vector<StageStep> steps;
    for (std::size_t i = 0; i < ops().size(); ++i) {
      StageStep step{.op = ops()[i], .receives = {}};
      const std::size_t ahead = std::min(i + kOperationsAhead + 1, ops().size());
      for (std::size_t j = i; j < ahead; ++j) post_for(ops()[j], step.receives);
      read(step);
      write(step);
      release(step);
      steps.push_back(std::move(step));
    }
    return steps;
  }
  int buffers() const { return numbers_.count(); }

 private:
  struct Resident {
    int buffer = kNoBuffer;
    int receive = kNoMessage;
  };
  const std::vector<PipelineOp>& ops() const { return s_.ops[static_cast<std::size_t>(rank_)]; }

  // What the operation reads, and what comes before it from the same rank.
  void post_for(const PipelineOp& op, std::vector<StageReceive>& receives) {
    const auto in = sides_.read_by(rank_, op);
    if (!in) return;
    const int from = sides_.rank_of(in->is_gradient ? in->stage + 1 : in->stage - 1);
    if (from == rank_) return;
    const std::vector<HandOver>& order = arrivals_[from];
    for (std::size_t& next = posted_[from]; !resident_.contains(*in) && !read_.contains(*in); ++next) {
      LS_CHECK(next < order.size(), "rank {} reads what rank {} does not send", rank_, from);
      const int buffer = numbers_.take();
      resident_[order[next]] = {buffer, num_receives_++};
      receives.push_back({from, buffer, order[next].micro_batch});
    }
  }

  void read(StageStep& step) {
    const auto in = sides_.read_by(rank_, step.op);
    if (!in) return;
    const Resident& resident = resident_.at(*in);
    step.input = resident.buffer;
    step.awaited_receive = resident.receive;
    held_[{step.op.chunk, step.op.micro_batch}].push_back(resident.buffer);
    resident_.erase(*in);
    read_.insert(*in);
  }

  void write(StageStep& step) {
    const auto out = sides_.written_by(rank_, step.op);
    if (!out) return;
    const int to = sides_.rank_of(out->stage);
    if (to == rank_) {
      step.output = numbers_.take();
      resident_[*out] = {step.output, kNoMessage};
      return;
    }
    // Buffers of their own, which take turns.
    Sender& sender = senders_[to];
    if (static_cast<int>(sender.buffers.size()) < sends_in_flight_) sender.buffers.push_back(numbers_.take());
    const std::size_t turn = sender.sends.size() % static_cast<std::size_t>(sends_in_flight_);
    step.output = sender.buffers[turn];
    step.send_to = to;
    if (static_cast<int>(sender.sends.size()) >= sends_in_flight_)
      step.awaited_send = sender.sends[sender.sends.size() - static_cast<std::size_t>(sends_in_flight_)];
    sender.sends.push_back(num_sends_++);
  }

  void release(const StageStep& step) {
    if (!ends_pass(step.op) && has_backward_) return;
    const auto held = held_.find({step.op.chunk, step.op.micro_batch});
    if (held == held_.end()) return;
    for (const int buffer : held->second) numbers_.give_back(buffer);
    held_.erase(held);
  }

  struct Sender {
    std::vector<int> buffers, sends;
  };
  const PipelineSchedule& s_;
  const Sides& sides_;
  const int rank_, sends_in_flight_;
  const bool has_backward_;
  std::map<int, std::vector<HandOver>> arrivals_;
  std::map<int, std::size_t> posted_;  // by the rank it comes from
  std::map<HandOver, Resident> resident_;
  std::set<HandOver> read_;
  std::map<std::pair<int, int>, std::vector<int>> held_;  // by chunk and micro-batch
  std::map<int, Sender> senders_;
  Numbers numbers_;
  int num_receives_ = 0, num_sends_ = 0;
};

// Whether all ranks come to their ends if a send is done only once its receive has been posted: what one rank does
// changes nothing for another but when, so one order of events stands for all.
class Rehearsal {
 public:
  explicit Rehearsal(const StageTraffic& traffic) : traffic_(traffic), ranks_(traffic.steps.size()) {}

  bool ends() {
    for (std::size_t r = 0; r < ranks_.size(); ++r) post(r);
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t r = 0; r < ranks_.size(); ++r)
        while (ranks_[r].next < traffic_.steps[r].size() && advance(r)) moved = true;
    }
    for (std::size_t r = 0; r < ranks_.size(); ++r)
      if (ranks_[r].next < traffic_.steps[r].size()) return false;
    return true;
  }

 private:
  struct Message {
    int peer, place;  // the place-th between the two
  };
  struct Rank {
    std::size_t next = 0;
    std::vector<Message> receives, sends;
    std::map<int, int> posted_from, sent_to;
  };

  void post(std::size_t r) {
    Rank& rank = ranks_[r];
    if (rank.next >= traffic_.steps[r].size()) return;
    for (const StageReceive& receive : traffic_.steps[r][rank.next].receives)
      rank.receives.push_back({receive.peer, rank.posted_from[receive.peer]++});
  }

  bool advance(std::size_t r) {
    Rank& rank = ranks_[r];
    const StageStep& step = traffic_.steps[r][rank.next];
    const int me = static_cast<int>(r);
    if (step.awaited_receive != kNoMessage) {
      const Message& message = rank.receives[static_cast<std::size_t>(step.awaited_receive)];
      if (ranks_[static_cast<std::size_t>(message.peer)].sent_to[me] <= message.place) return false;
    }
    if (step.awaited_send != kNoMessage) {
      const Message& message = rank.sends[static_cast<std::size_t>(step.awaited_send)];
      if (ranks_[static_cast<std::size_t>(message.peer)].posted_from[me] <= message.place) return false;
    }
    if (step.send_to != kNoRank) rank.sends.push_back({step.send_to, rank.sent_to[step.send_to]++});
    ++rank.next;
    post(r);
    return true;
  }

  const StageTraffic& traffic_;
  std::vector<Rank> ranks_;
};

}  // namespace

StageTraffic plan_traffic(const PipelineSchedule& schedule) {
  const Sides sides(schedule);
  const int most = 2 * schedule.micro_batches * schedule.chunks;  // all that one rank ever sends
  for (int sends_in_flight = 2;; ++sends_in_flight) {
    StageTraffic traffic{.steps = {}, .buffers = {}, .sends_in_flight = sends_in_flight};
    for (int rank = 0; rank < schedule.ranks; ++rank) {
      RankTraffic own(schedule, sides, rank, sends_in_flight);
      traffic.steps.push_back(own.plan());
      traffic.buffers.push_back(own.buffers());
    }
    if (Rehearsal(traffic).ends()) return traffic;
    LS_CHECK(sends_in_flight <= most, "schedule {} gets stuck however many messages are in flight", schedule.name);
  }
}

std::vector<RankPair> neighbours_of(const PipelineSchedule& schedule) {
  const std::vector<StagePlace> places = places_of_stages(schedule);
  std::set<RankPair> pairs;
  for (std::size_t s = 0; s + 1 < places.size(); ++s) {
    const int a = places[s].rank, b = places[s + 1].rank;
    if (a == b) continue;
    pairs.insert({a, b});
    pairs.insert({b, a});
  }
  return {pairs.begin(), pairs.end()};
}

}  // namespace longspan
