#include "parallel/context/proof.h"

namespace longspan {
namespace {

constexpr int kMaxSteps = 1 << 24;

class FieldBounds {
 public:
  explicit FieldBounds(const DirectionProof& proof) : proof_(proof) {
    for (int rank = 0; rank < proof.plan.ranks; ++rank) tokens_.push_back(proof.plan.tokens_of(rank));
  }

  std::optional<std::string> find_fault(const PlanTask& task) const {
    if (!is_rank(task.rank)) return about(task, fmt::format("rank {} is none of {}", task.rank, proof_.plan.ranks));
    if (!is_step(task.step)) return about(task, fmt::format("step {} is not in 0 … {}", task.step, kMaxSteps - 1));
    for (const TokenRange& range : {task.q, task.kv})
      if (auto fault = find_fault(range)) return about(task, *fault);
    if (auto fault = find_head_fault(task.head_begin, task.head_end, proof_.plan.problem.heads, "heads"))
      return about(task, *fault);
    const Band band = shortest(task.band, task.q.count(), task.kv.count());
    if (band.lo > band.hi || band.lo >= task.kv.count() || band.hi <= -task.q.count())
      return about(task, fmt::format("its band {} … {} holds no pair", task.band.lo, task.band.hi));
    return std::nullopt;
  }

  std::optional<std::string> find_fault(const PlanTransfer& transfer) const {
    for (const int rank : {transfer.from, transfer.to})
      if (!is_rank(rank)) return about(transfer, fmt::format("rank {} is none of {}", rank, proof_.plan.ranks));
    if (transfer.from == transfer.to) return about(transfer, "a rank sends nothing to itself");
    if (!is_step(transfer.step))
      return about(transfer, fmt::format("step {} is not in 0 … {}", transfer.step, kMaxSteps - 1));
    if (!belongs(transfer.kind)) return about(transfer, "this kind does not travel in this direction");
    if (auto fault = find_fault(transfer.range)) return about(transfer, *fault);
    const ContextProblem& problem = proof_.plan.problem;
    if (auto fault = has_kv_heads(transfer.kind)
                         ? find_head_fault(transfer.head_begin, transfer.head_end, problem.kv_heads, "kv heads")
                         : find_head_fault(transfer.head_begin, transfer.head_end, problem.heads, "heads"))
      return about(transfer, *fault);
    return std::nullopt;
  }

 private:
  bool is_rank(int rank) const { return 0 <= rank && rank < proof_.plan.ranks; }
  static bool is_step(int step) { return 0 <= step && step < kMaxSteps; }

  bool belongs(TransferKind kind) const {
    switch (kind) {
      case TransferKind::kQuery:
      case TransferKind::kKeyValue: return true;
      case TransferKind::kOutput: return &proof_.direction == &proof_.plan.forward;
      case TransferKind::kOutputGradient:
      case TransferKind::kQueryGradient:
      case TransferKind::kKeyValueGradient: return &proof_.direction == &proof_.plan.backward;
    }
    return false;
  }

  std::optional<std::string> find_fault(const TokenRange& range) const {
    if (!is_rank(range.owner)) return fmt::format("owner {} is none of {} ranks", range.owner, proof_.plan.ranks);
    if (range.begin < 0 || range.end > tokens_[range.owner])
      return fmt::format("places [{}, {}) leave the {} tokens of rank {}", range.begin, range.end, tokens_[range.owner],
                         range.owner);
    if (range.begin >= range.end) return fmt::format("places [{}, {}) hold no token", range.begin, range.end);
    return std::nullopt;
  }

  static std::optional<std::string> find_head_fault(std::int64_t begin, std::int64_t end, std::int64_t heads,
                                                    std::string_view what) {
    if (0 <= begin && begin < end && end <= heads) return std::nullopt;
    return fmt::format("heads [{}, {}) are not among {} {}", begin, end, heads, what);
  }

  // Names a thing by its number alone: its fields may be nonsense.
  std::string about(const PlanTask& task, const std::string& fault) const {
    return fmt::format("{} task {} of rank {}: {}", proof_.name, &task - proof_.direction.tasks.data(), task.rank,
                       fault);
  }
  std::string about(const PlanTransfer& transfer, const std::string& fault) const {
    return fmt::format("{} transfer {} from rank {} to rank {}: {}", proof_.name,
                       &transfer - proof_.direction.transfers.data(), transfer.from, transfer.to, fault);
  }

  const DirectionProof& proof_;
  std::vector<std::int64_t> tokens_;
};

}  // namespace

std::optional<std::string> find_field_fault(const DirectionProof& proof) {
  const FieldBounds bounds(proof);
  for (const PlanTask& task : proof.direction.tasks)
    if (auto fault = bounds.find_fault(task)) return fault;
  for (const PlanTransfer& transfer : proof.direction.transfers)
    if (auto fault = bounds.find_fault(transfer)) return fault;
  return std::nullopt;
}

}  // namespace longspan
