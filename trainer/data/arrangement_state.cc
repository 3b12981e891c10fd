#include "trainer/data/arrangement_state.h"

#include <algorithm>
#include <cmath>

namespace longspan {

ArrangementState::ArrangementState(std::span<const DocumentLoad> documents, const ArrangementShape& shape)
    : documents_(documents),
      shape_(shape),
      micro_batches_(static_cast<std::size_t>(shape.total())),
      rank_work_(static_cast<std::size_t>(shape.data_ranks)),
      rank_room_(static_cast<std::size_t>(shape.data_ranks), shape.most_tokens),
      num_empty_(shape.total()) {
  for (const DocumentLoad& document : documents) micro_batch_of_.push_back(document.packed_in);
}

double ArrangementState::work_of(const MicroBatchGroup& group) const {
  double work = 0;
  for (std::int64_t m = group.begin; m < group.end; ++m) work += at(m).work;
  return work;
}

bool ArrangementState::has_room(std::int64_t micro_batch, std::int64_t more_tokens) const {
  return at(micro_batch).tokens + more_tokens <= shape_.most_tokens;
}

std::optional<std::int64_t> ArrangementState::least_busy(const MicroBatchGroup& group, std::int64_t tokens,
                                                         Which which) const {
  std::optional<std::int64_t> least;
  for (std::int64_t m = group.begin; m < group.end; ++m) {
    if (!has_room(m, tokens) || (which == Which::kEmpty && !at(m).documents.empty())) continue;
    if (!least || at(m).work < at(*least).work) least = m;
  }
  return least;
}

std::optional<std::int64_t> ArrangementState::place_for(std::size_t document, std::int64_t rank, Which which) const {
  if (documents_[document].tokens > rank_room_[static_cast<std::size_t>(rank)]) return std::nullopt;
  const MicroBatchGroup group{rank * shape_.micro_batches, (rank + 1) * shape_.micro_batches};
  return least_busy(group, documents_[document].tokens, which);
}

void ArrangementState::change(std::int64_t micro_batch, std::int64_t tokens, double work) {
  at(micro_batch).tokens += tokens;
  at(micro_batch).work += work;
  const std::int64_t rank = micro_batch / shape_.micro_batches;
  rank_work_[static_cast<std::size_t>(rank)] += work;
  std::int64_t& room = rank_room_[static_cast<std::size_t>(rank)];
  room = 0;
  for (std::int64_t m = rank * shape_.micro_batches; m < (rank + 1) * shape_.micro_batches; ++m)
    room = std::max(room, shape_.most_tokens - at(m).tokens);
}

void ArrangementState::put(std::size_t document, std::int64_t micro_batch) {
  std::vector<std::size_t>& there = at(micro_batch).documents;
  if (there.empty()) --num_empty_;
  there.push_back(document);
  change(micro_batch, documents_[document].tokens, documents_[document].work);
  micro_batch_of_[document] = micro_batch;
}

void ArrangementState::take(std::size_t document) {
  std::vector<std::size_t>& there = at(micro_batch_of_[document]).documents;
  there.erase(std::find(there.begin(), there.end(), document));
  if (there.empty()) ++num_empty_;
  change(micro_batch_of_[document], -documents_[document].tokens, -documents_[document].work);
}

std::vector<std::size_t> ArrangementState::documents_of(const MicroBatchGroup& group) const {
  std::vector<std::size_t> documents;
  for (std::int64_t m = group.begin; m < group.end; ++m)
    documents.insert(documents.end(), at(m).documents.begin(), at(m).documents.end());
  std::sort(documents.begin(), documents.end(), [this](std::size_t a, std::size_t b) {
    return std::pair(documents_[a].work, a) < std::pair(documents_[b].work, b);
  });
  return documents;
}

// The best exchange seen so far: the nearer to half of the difference, the lower the busier of both.
struct ArrangementState::Exchange {
  double difference;
  double off = difference / 2;  // how far from half; one that moves nothing or everything is off by that much
  std::optional<std::size_t> leaves = {}, comes = {};
  std::int64_t to = 0;

  void offer(double work, std::size_t leaving, std::optional<std::size_t> coming, std::int64_t place) {
    // Rounding must not let two groups pass a document to and fro.
    if (std::abs(work - difference / 2) >= off - 1e-12 * difference) return;
    off = std::abs(work - difference / 2);
    leaves = leaving;
    comes = coming;
    to = place;
  }
};

bool ArrangementState::exchange(const MicroBatchGroup& busy, const MicroBatchGroup& idle, std::int64_t& tries) {
  constexpr std::ptrdiff_t kNear = 8;  // candidates looked at on either side of the work that would be best
  const std::vector<std::size_t> ours = documents_of(busy), theirs = documents_of(idle);
  Exchange best{.difference = work_of(busy) - work_of(idle)};
  for (const std::size_t leaving : ours) {
    const DocumentLoad& document = documents_[leaving];
    const std::int64_t from = micro_batch_of_[leaving];
    const auto place = least_busy(idle, document.tokens, Which::kAny);
    if (place && at(from).documents.size() > 1) best.offer(document.work, leaving, std::nullopt, *place);
    const auto wanted =
        std::lower_bound(theirs.begin(), theirs.end(), document.work - best.difference / 2,
                         [this](std::size_t candidate, double work) { return documents_[candidate].work < work; });
    const auto first = wanted - std::min(kNear, wanted - theirs.begin());
    const auto last = wanted + std::min(kNear, theirs.end() - wanted);
    for (auto coming = first; coming != last; ++coming) {
      const std::int64_t grows = document.tokens - documents_[*coming].tokens, to = micro_batch_of_[*coming];
      if (has_room(to, grows) && has_room(from, -grows))
        best.offer(document.work - documents_[*coming].work, leaving, *coming, to);
    }
  }
  tries -= static_cast<std::int64_t>(ours.size() + theirs.size()) * 2 * kNear;
  if (!best.leaves) return false;
  const std::int64_t from = micro_batch_of_[*best.leaves];
  take(*best.leaves);
  if (best.comes) {
    take(*best.comes);
    put(*best.comes, from);
  }
  put(*best.leaves, best.to);
  return true;
}

}  // namespace longspan
