#include "parallel/context/rank_program.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "parallel/context/proof.h"
#include "parallel/context/task_chunks.h"

namespace longspan {
namespace {

using Place = RankProgram::Place;
using Part = TransferBuffer::Part;

struct HeadRange {
  std::int64_t begin = 0, end = 0;
};

// Cuts query heads so that each piece is either whole groups of one key/value head each, or lies within one group: then
// the piece's heads and their key/value heads are attention of their own.
std::vector<HeadRange> cut_by_groups(std::int64_t begin, std::int64_t end, std::int64_t group) {
  std::vector<HeadRange> pieces;
  const std::int64_t first_whole = (begin + group - 1) / group * group, last_whole = end / group * group;
  if (first_whole >= last_whole) {
    for (std::int64_t at = begin; at < end;) {
      const std::int64_t stop = std::min(end, (at / group + 1) * group);
      pieces.push_back({at, stop});
      at = stop;
    }
    return pieces;
  }
  if (begin < first_whole) pieces.push_back({begin, first_whole});
  pieces.push_back({first_whole, last_whole});
  if (last_whole < end) pieces.push_back({last_whole, end});
  return pieces;
}

class Compiler {
 public:
  Compiler(const ContextPlan& plan, const PlanDirection& direction, int rank, const WireDesc& desc)
      : plan_(plan), direction_(direction), rank_(rank), backward_(&direction == &plan.backward) {
    held_ = buffers_of(direction, rank);
    program_.operand_slots = assign_slots(BufferPool::kOperands, desc, held_.buffers);
    program_.result_slots = assign_slots(BufferPool::kResults, desc, held_.buffers);
    program_.steps.resize(static_cast<std::size_t>(direction.num_steps()) + 1);
    for (std::size_t b = 0; b < held_.buffers.size(); ++b)
      for (std::size_t p = 0; p < held_.buffers[b].parts.size(); ++p)
        parts_[{held_.buffers[b].kind, held_.buffers[b].use, held_.buffers[b].parts[p].range.owner}].push_back(
            {static_cast<int>(b), static_cast<int>(p)});
  }

  RankProgram compile(std::int64_t max_chunk_pairs) {
    for (std::size_t b = 0; b < held_.buffers.size(); ++b) {
      const TransferBuffer& buffer = held_.buffers[b];
      if (buffer.use == BufferUse::kShare) program_.steps[buffer.first_step].clears.push_back(static_cast<int>(b));
      if (buffer.use == BufferUse::kPacked) add_packs(static_cast<int>(b));
    }
    for (std::size_t i = 0; i < direction_.transfers.size(); ++i) {
      const PlanTransfer& t = direction_.transfers[i];
      if (t.from == rank_ || t.to == rank_) add_transfer(static_cast<std::int32_t>(i), t);
    }
    for (const PlanTask& task : direction_.tasks)
      if (task.rank == rank_) add_task(task);
    for (std::size_t s = 0; s < program_.steps.size(); ++s)
      if (has_transfers_under_tasks(s))
        for (RankProgram::TaskGroup& group : program_.steps[s].groups)
          group.chunks = chunk_tasks(group.chunks.front(), max_chunk_pairs);
    program_.buffers = std::move(held_.buffers);
    return std::move(program_);
  }

 private:
  struct Holder {
    int buffer = 0, part = 0;
  };

  // Tokens of one owner and heads of one kind that a task or transfer names.
  struct Wanted {
    TransferKind kind;
    TokenRange range;
    HeadRange heads;
  };

  const TransferBuffer& buffer_at(const Holder& holder) const { return held_.buffers[holder.buffer]; }
  const Part& part_at(const Holder& holder) const { return buffer_at(holder).parts[holder.part]; }

  // The part that holds all of something in a step: operands that have arrived, or the share that is gathered.
  Holder holder_of(BufferUse use, const Wanted& wanted, int step) const {
    const auto parts = parts_.find({wanted.kind, use, wanted.range.owner});
    if (parts != parts_.end())
      for (const Holder& holder : parts->second) {
        const TransferBuffer& buffer = buffer_at(holder);
        const TokenRange& held = part_at(holder).range;
        // An operand has arrived a step after it was posted; a share takes no more once it has been.
        const int first = use == BufferUse::kOperand ? buffer.first_step + 1 : buffer.first_step;
        const int last = use == BufferUse::kOperand ? buffer.last_step : buffer.last_step - 1;
        if (first <= step && step <= last && held.begin <= wanted.range.begin && wanted.range.end <= held.end &&
            buffer.head_begin <= wanted.heads.begin && wanted.heads.end <= buffer.head_end)
          return holder;
      }
    fail(ErrorKind::kUnsupported,
         "context scheme {}: {} of tokens {} … {} of rank {}, heads {} … {}, do not lie in one message on rank {} in "
         "step {}; the executor runs plans in which they do",
         plan_.scheme, name_of(wanted.kind), wanted.range.begin, wanted.range.end - 1, wanted.range.owner,
         wanted.heads.begin, wanted.heads.end - 1, rank_, step);
  }

  static Place own_place(const TokenRange& range, const HeadRange& heads) {
    return {kOwnTokens, range.begin, range.end, heads.begin, heads.end};
  }
  // A range of the holder's owner, where the holder has it.
  Place place_in(const Holder& holder, const TokenRange& range, const HeadRange& heads) const {
    const TransferBuffer& buffer = buffer_at(holder);
    const std::int64_t shift = part_at(holder).first - part_at(holder).range.begin;
    return {holder.buffer, range.begin + shift, range.end + shift, heads.begin - buffer.head_begin,
            heads.end - buffer.head_begin};
  }

  // Where something lies in a step: at home, or inside a buffer of this use.
  Place place_of(BufferUse use, const Wanted& wanted, int step) const {
    if (wanted.range.owner == rank_) return own_place(wanted.range, wanted.heads);
    return place_in(holder_of(use, wanted, step), wanted.range, wanted.heads);
  }

  bool has_transfers_under_tasks(std::size_t s) const {
    const RankProgram::Step& step = program_.steps[s];
    if (!step.operand_sends.empty() || !step.operand_receives.empty()) return true;
    return s > 0 && (!program_.steps[s - 1].result_sends.empty() || !program_.steps[s - 1].result_receives.empty());
  }

  void add_packs(int b) {
    const TransferBuffer& buffer = held_.buffers[b];
    const HeadRange heads{buffer.head_begin, buffer.head_end};
    for (std::size_t p = 0; p < buffer.parts.size(); ++p) {
      const TokenRange& range = buffer.parts[p].range;
      program_.steps[buffer.first_step].packs.push_back(
          {buffer.kind, own_place(range, heads), place_in({b, static_cast<int>(p)}, range, heads)});
    }
  }

  void add_transfer(std::int32_t index, const PlanTransfer& t) {
    const HeadRange heads{t.head_begin, t.head_end};
    RankProgram::Step& step = program_.steps[t.step];
    const bool passes_on = is_operand(t.kind) && t.from == rank_ && t.range.owner != rank_;
    const Place place = passes_on ? whole_heads(place_of(BufferUse::kOperand, {t.kind, t.range, heads}, t.step), t)
                                  : place_in(seat_of(index), t.range, heads);
    if (is_operand(t.kind)) {
      if (t.from == rank_)
        step.operand_sends.push_back({t.kind, t.to, place});
      else
        step.operand_receives.push_back({t.kind, t.from, place});
    } else if (t.from == rank_) {
      step.result_sends.push_back({t.kind, t.to, place});
    } else {
      step.result_receives.push_back({t.kind, t.from, place});
      program_.steps[t.step + 1].merges.push_back(
          {t.kind, place, place_of(BufferUse::kShare, {t.kind, t.range, heads}, t.step + 1)});
    }
  }

  Holder seat_of(std::int32_t transfer) const {
    const RankBuffers::Seat& seat = held_.seat_of(transfer);
    return {seat.buffer, seat.part};
  }

  // A message is one stretch of memory: all heads of what lies there.
  const Place& whole_heads(const Place& place, const PlanTransfer& t) const {
    const TransferBuffer& buffer = held_.buffers[place.buffer];
    LS_REQUIRE(
        kUnsupported, place.head_begin == 0 && place.head_end == buffer.head_end - buffer.head_begin,
        "context scheme {}: rank {} sends on heads {} … {} of {} that arrived with others; the executor sends on "
        "all heads that arrived together",
        plan_.scheme, rank_, t.head_begin, t.head_end - 1, name_of(t.kind));
    return place;
  }

  // The places of what a task needs on one side, in one frame: rows of all of them count from the same token.
  struct Side {
    std::vector<Wanted> wanted;
    std::vector<BufferUse> uses;
    std::vector<Place> places;
    std::int64_t first = 0;  // of the task's range, in the frame
  };

  void find_places(Side& side, int step) const {
    const TokenRange& range = side.wanted.front().range;
    if (range.owner == rank_) {
      for (const Wanted& wanted : side.wanted)
        side.places.push_back(own_place({rank_, 0, plan_.tokens_of(rank_)}, wanted.heads));
      side.first = range.begin;
      return;
    }
    std::vector<Holder> holders;
    for (std::size_t i = 0; i < side.wanted.size(); ++i)
      holders.push_back(holder_of(side.uses[i], side.wanted[i], step));
    const bool alike = std::all_of(holders.begin(), holders.end(), [&](const Holder& holder) {
      return holder.part == holders.front().part && buffer_at(holder).parts == buffer_at(holders.front()).parts;
    });
    // Buffers laid out alike are one frame, owners and all; otherwise what their parts have in common.
    TokenRange common = part_at(holders.front()).range;
    for (const Holder& holder : holders) {
      common.begin = std::max(common.begin, part_at(holder).range.begin);
      common.end = std::min(common.end, part_at(holder).range.end);
    }
    for (std::size_t i = 0; i < holders.size(); ++i) {
      Place place = place_in(holders[i], common, side.wanted[i].heads);
      if (alike) place.begin = 0, place.end = buffer_at(holders[i]).tokens();
      side.places.push_back(place);
    }
    side.first = range.begin - common.begin + (alike ? part_at(holders.front()).first : 0);
  }

  void add_task(const PlanTask& task) {
    const std::int64_t group = plan_.problem.heads / plan_.problem.kv_heads;
    for (const HeadRange& heads : cut_by_groups(task.head_begin, task.head_end, group)) {
      const HeadRange kv_heads{heads.begin / group, (heads.end - 1) / group + 1};
      add_piece(task, heads, kv_heads);
    }
  }

  void add_piece(const PlanTask& task, const HeadRange& heads, const HeadRange& kv_heads) {
    const TransferKind query_result = backward_ ? TransferKind::kQueryGradient : TransferKind::kOutput;
    Side query{{{TransferKind::kQuery, task.q, heads}, {query_result, task.q, heads}},
               {BufferUse::kOperand, BufferUse::kShare},
               {}};
    Side key{{{TransferKind::kKeyValue, task.kv, kv_heads}}, {BufferUse::kOperand}, {}};
    if (backward_) {
      query.wanted.push_back({TransferKind::kOutputGradient, task.q, heads});
      query.uses.push_back(BufferUse::kOperand);
      key.wanted.push_back({TransferKind::kKeyValueGradient, task.kv, kv_heads});
      key.uses.push_back(BufferUse::kShare);
    }
    find_places(query, task.step);
    find_places(key, task.step);
    RankProgram::TaskGroup& found = group_of(task.step, query, key);
    found.chunks.front().push_back({query.first, query.first + task.q.count(), key.first, key.first + task.kv.count(),
                                    0, heads.end - heads.begin, task.band});
  }

  // The group of a step over these places, made where there is none yet.
  RankProgram::TaskGroup& group_of(int step, const Side& query, const Side& key) {
    RankProgram::TaskGroup fresh;
    fresh.query = query.places[0], fresh.query_result = query.places[1], fresh.key = key.places[0];
    if (backward_) fresh.output_gradient = query.places[2], fresh.key_result = key.places[1];
    std::vector<RankProgram::TaskGroup>& groups = program_.steps[step].groups;
    const auto like_fresh = [&](const RankProgram::TaskGroup& other) {
      return other.query == fresh.query && other.query_result == fresh.query_result && other.key == fresh.key &&
             other.output_gradient == fresh.output_gradient && other.key_result == fresh.key_result;
    };
    // Tasks of one group mostly stand together.
    const auto found = std::find_if(groups.rbegin(), groups.rend(), like_fresh);
    if (found != groups.rend()) return *found;
    groups.push_back(std::move(fresh));
    groups.back().chunks.emplace_back();
    return groups.back();
  }

  const ContextPlan& plan_;
  const PlanDirection& direction_;
  const int rank_;
  const bool backward_;
  RankBuffers held_;
  std::map<std::tuple<TransferKind, BufferUse, int>, std::vector<Holder>> parts_;  // by kind, use and owner
  RankProgram program_;
};

}  // namespace

RankProgram compile_rank_program(const ContextPlan& plan, const PlanDirection& direction, int rank,
                                 const WireDesc& desc, std::int64_t max_chunk_pairs) {
  return Compiler(plan, direction, rank, desc).compile(max_chunk_pairs);
}

}  // namespace longspan
