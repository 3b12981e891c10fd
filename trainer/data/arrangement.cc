#include "trainer/data/arrangement.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>

#include "kernels/core/error.h"
#include "trainer/data/arrangement_state.h"

namespace longspan {
namespace {

void check(std::span<const DocumentLoad> documents, const ArrangementShape& shape) {
  LS_CHECK(shape.data_ranks > 0 && shape.micro_batches > 0 && shape.stages > 0, "{} data ranks x {} micro-batches",
           shape.data_ranks, shape.micro_batches);
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(shape.total()));
  for (const DocumentLoad& document : documents) {
    LS_CHECK(document.packed_in >= 0 && document.packed_in < shape.total(), "micro-batch {} of {}", document.packed_in,
             shape.total());
    LS_CHECK(document.tokens >= 0 && document.work >= 0 && std::isfinite(document.work), "a document of {} tokens",
             document.tokens);
    tokens[static_cast<std::size_t>(document.packed_in)] += document.tokens;
  }
  LS_CHECK(*std::max_element(tokens.begin(), tokens.end()) <= shape.most_tokens,
           "{} tokens are packed into a micro-batch for {}", *std::max_element(tokens.begin(), tokens.end()),
           shape.most_tokens);
}

// Documents with tokens, most work first.
std::vector<std::size_t> by_work(std::span<const DocumentLoad> documents) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < documents.size(); ++i)
    if (documents[i].tokens > 0) order.push_back(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return documents[a].work > documents[b].work; });
  return order;
}

// Puts every document that has tokens, most work first, to the least busy rank with room for it. Those left when there
// are only as many as empty micro-batches fill these. The document that found no room, if there is one.
std::optional<std::size_t> spread(ArrangementState& state, const std::vector<std::size_t>& order) {
  std::set<std::pair<double, std::int64_t>> ranks;  // by work
  for (std::int64_t rank = 0; rank < state.shape().data_ranks; ++rank) ranks.insert({0.0, rank});
  std::size_t left = order.size();
  for (const std::size_t document : order) {
    const Which which = left-- <= static_cast<std::size_t>(state.num_empty()) ? Which::kEmpty : Which::kAny;
    const auto found = std::find_if(ranks.begin(), ranks.end(), [&](const auto& rank) {
      return state.place_for(document, rank.second, which).has_value();
    });
    if (found == ranks.end()) return document;
    const std::int64_t rank = found->second;
    state.put(document, *state.place_for(document, rank, which));
    ranks.erase(found);
    ranks.insert({state.rank_work(rank), rank});
  }
  return std::nullopt;
}

// Less than a thousandth above the mean is even enough.
constexpr double kEven = 1e-3;

// Exchanges documents between the busiest of these groups and the least busy one that it helps with, until none helps,
// all are even, or `tries` are used up.
void even_out(ArrangementState& state, const std::vector<MicroBatchGroup>& groups, std::int64_t& tries) {
  std::vector<double> work;
  for (const MicroBatchGroup& group : groups) work.push_back(state.work_of(group));
  const double mean = std::accumulate(work.begin(), work.end(), 0.0) / static_cast<double>(work.size());
  std::vector<std::size_t> order(groups.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (bool helped = true; helped && tries > 0;) {
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return work[a] < work[b]; });
    const std::size_t busiest = order.back();
    if (work[busiest] <= mean * (1 + kEven)) return;
    helped = false;
    for (auto least = order.begin(); *least != busiest && !helped && tries > 0; ++least) {
      helped = state.exchange(groups[busiest], groups[*least], tries);
      if (!helped) continue;
      work[busiest] = state.work_of(groups[busiest]);
      work[*least] = state.work_of(groups[*least]);
    }
  }
}

// First ranks, then the micro-batches of each.
void refine(ArrangementState& state) {
  std::int64_t tries = std::int64_t{1} << 23;  // some tenths of a second
  const ArrangementShape& shape = state.shape();
  std::vector<MicroBatchGroup> ranks;
  for (std::int64_t rank = 0; rank < shape.data_ranks; ++rank)
    ranks.push_back({rank * shape.micro_batches, (rank + 1) * shape.micro_batches});
  even_out(state, ranks, tries);
  for (const MicroBatchGroup& rank : ranks) {
    std::vector<MicroBatchGroup> each;
    for (std::int64_t m = rank.begin; m < rank.end; ++m) each.push_back({m, m + 1});
    even_out(state, each, tries);
  }
}

bool is_better(std::span<const DocumentLoad> documents, const ArrangementShape& shape,
               const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b) {
  constexpr double kRounding = 1e-9;
  const std::vector<double> work_a = work_of(documents, a, shape), work_b = work_of(documents, b, shape);
  const double step_a = step_work(work_a, shape), step_b = step_work(work_b, shape);
  if (std::abs(step_a - step_b) > kRounding * step_b) return step_a < step_b;
  const double busiest_a = *std::max_element(work_a.begin(), work_a.end());
  return busiest_a < (1 - kRounding) * *std::max_element(work_b.begin(), work_b.end());
}

}  // namespace

Arrangement arrange_documents(std::span<const DocumentLoad> documents, const ArrangementShape& shape) {
  check(documents, shape);
  Arrangement packed;
  for (const DocumentLoad& document : documents) packed.micro_batch_of.push_back(document.packed_in);
  if (shape.total() == 1) return packed;

  const std::vector<std::size_t> order = by_work(documents);
  if (static_cast<std::int64_t>(order.size()) < shape.total()) {
    packed.why_kept = fmt::format("{} documents cannot fill {} micro-batches", order.size(), shape.total());
    return packed;
  }
  ArrangementState state(documents, shape);
  const std::optional<std::size_t> left_over = spread(state, order);
  if (!left_over) {
    refine(state);
    Arrangement spread_anew{state.micro_batch_of(), ""};
    return is_better(documents, shape, spread_anew.micro_batch_of, packed.micro_batch_of) ? spread_anew : packed;
  }
  packed.why_kept = fmt::format("a document of {} tokens would find no micro-batch of at most {} with room for it",
                                documents[*left_over].tokens, shape.most_tokens);
  ArrangementState exchanged(documents, shape);
  for (const std::size_t document : order) exchanged.put(document, documents[document].packed_in);
  refine(exchanged);
  const std::vector<std::int64_t> better = exchanged.micro_batch_of();
  if (is_better(documents, shape, better, packed.micro_batch_of)) packed.micro_batch_of = better;
  return packed;
}

std::vector<double> work_of(std::span<const DocumentLoad> documents, std::span<const std::int64_t> micro_batch_of,
                            const ArrangementShape& shape) {
  LS_CHECK(documents.size() == micro_batch_of.size(), "{} documents, {} of them arranged", documents.size(),
           micro_batch_of.size());
  std::vector<double> work(static_cast<std::size_t>(shape.total()));
  for (std::size_t i = 0; i < documents.size(); ++i)
    work[static_cast<std::size_t>(micro_batch_of[i])] += documents[i].work;
  return work;
}

std::vector<double> rank_work(std::span<const double> micro_batches, const ArrangementShape& shape) {
  std::vector<double> work(static_cast<std::size_t>(shape.data_ranks));
  for (std::size_t i = 0; i < micro_batches.size(); ++i)
    work[i / static_cast<std::size_t>(shape.micro_batches)] += micro_batches[i];
  return work;
}

double step_work(std::span<const double> micro_batches, const ArrangementShape& shape) {
  const std::vector<double> ranks = rank_work(micro_batches, shape);
  const auto each = static_cast<std::size_t>(shape.micro_batches);
  double most = 0;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const auto its = micro_batches.subspan(rank * each, each);
    most =
        std::max(most, ranks[rank] + static_cast<double>(shape.stages - 1) * *std::max_element(its.begin(), its.end()));
  }
  return most;
}

// Of the k * groups + 1 with the most work, some group has k + 1.
double least_busiest(std::vector<double> works, std::int64_t groups) {
  std::stable_sort(works.begin(), works.end(), std::greater<>());
  double bound = std::accumulate(works.begin(), works.end(), 0.0) / static_cast<double>(groups);
  const auto step = static_cast<std::size_t>(groups);
  for (std::size_t last = 0, k = 0; last < works.size(); last += step, ++k) {
    double sum = 0;
    for (std::size_t i = 0; i <= k; ++i) sum += works[last - i];
    bound = std::max(bound, sum);
  }
  return bound;
}

}  // namespace longspan
