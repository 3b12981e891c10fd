#include <array>
#include <bit>
#include <memory>
#include <xxhash.h>

#include "parallel/context/context_plan.h"

namespace longspan {
namespace {

// Feeds a plan to the hash as little-endian 64-bit words, every list after its length: the same on every machine.
class PlanHasher {
 public:
  PlanHasher() : state_(XXH3_createState(), &XXH3_freeState) {
    LS_CHECK(state_ && XXH3_64bits_reset(state_.get()) == XXH_OK, "no state for a hash");
  }

  void add(std::int64_t value) {
    words_[filled_++] = little_endian(static_cast<std::uint64_t>(value));
    if (filled_ == words_.size()) flush();
  }
  void add(std::string_view text) {
    add(static_cast<std::int64_t>(text.size()));
    for (const char c : text) add(static_cast<std::int64_t>(static_cast<unsigned char>(c)));
  }
  void add(const TokenRange& range) {
    add(range.owner);
    add(range.begin);
    add(range.end);
  }
  void add(const PlanTransfer& transfer) {
    add(static_cast<std::int64_t>(transfer.kind));
    add(transfer.from);
    add(transfer.to);
    add(transfer.step);
    add(transfer.range);
    add(transfer.head_begin);
    add(transfer.head_end);
  }
  void add(const PlanTask& task) {
    add(task.rank);
    add(task.step);
    add(task.q);
    add(task.kv);
    add(task.head_begin);
    add(task.head_end);
    add(task.band.lo);
    add(task.band.hi);
  }
  void add(const TokenRun& run) {
    add(run.first);
    add(run.stride);
    add(run.count);
  }
  template <class T>
  void add(const std::vector<T>& list) {
    add(static_cast<std::int64_t>(list.size()));
    for (const T& item : list) add(item);
  }

  std::uint64_t finish() {
    flush();
    return XXH3_64bits_digest(state_.get());
  }

 private:
  static std::uint64_t little_endian(std::uint64_t word) {
    if constexpr (std::endian::native == std::endian::little) return word;
    std::uint64_t swapped = 0;
    for (int byte = 0; byte < 8; ++byte) swapped = swapped << 8 | (word >> (8 * byte) & 0xff);
    return swapped;
  }

  void flush() {
    LS_CHECK(XXH3_64bits_update(state_.get(), words_.data(), filled_ * sizeof(words_[0])) == XXH_OK, "hash of a plan");
    filled_ = 0;
  }

  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
  std::array<std::uint64_t, 512> words_;
  std::size_t filled_ = 0;
};

}  // namespace

std::uint64_t hash_of(const ContextPlan& plan) {
  PlanHasher hasher;
  hasher.add(plan.scheme);
  hasher.add(plan.ranks);
  hasher.add(plan.problem.cu_seqlens);
  hasher.add(plan.problem.heads);
  hasher.add(plan.problem.kv_heads);
  hasher.add(plan.problem.causal ? 1 : 0);
  hasher.add(plan.problem.window);
  hasher.add(plan.home);
  for (const PlanDirection* direction : {&plan.forward, &plan.backward}) {
    hasher.add(direction->transfers);
    hasher.add(direction->tasks);
  }
  return hasher.finish();
}

}  // namespace longspan
