// ArrangementState: micro-batches being filled with a step's documents, and one document exchanged for another.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "trainer/data/arrangement.h"

namespace longspan {

// Micro-batches begin … end-1: one, or those of a data rank.
struct MicroBatchGroup {
  std::int64_t begin = 0, end = 0;
};

enum class Which : std::uint8_t { kAny, kEmpty };

// Documents without tokens stay where they were packed: they fill nothing and have no part in this.
class ArrangementState {
 public:
  // Keeps a view of the documents. None is anywhere yet.
  ArrangementState(std::span<const DocumentLoad> documents, const ArrangementShape& shape);

  const ArrangementShape& shape() const { return shape_; }
  std::int64_t num_empty() const { return num_empty_; }
  double rank_work(std::int64_t rank) const { return rank_work_[static_cast<std::size_t>(rank)]; }
  double work_of(const MicroBatchGroup& group) const;
  std::vector<std::int64_t> micro_batch_of() const { return micro_batch_of_; }

  // The least busy micro-batch of a rank that has room for the document.
  std::optional<std::int64_t> place_for(std::size_t document, std::int64_t rank, Which which) const;
  void put(std::size_t document, std::int64_t micro_batch);

  // Moves a document of the busy group to the idle one, or exchanges it for one of less work, so that the busier of
  // both has as little work as one exchange can reach. False where none helps. Takes what it looked at from `tries`.
  bool exchange(const MicroBatchGroup& busy, const MicroBatchGroup& idle, std::int64_t& tries);

 private:
  struct MicroBatch {
    std::vector<std::size_t> documents;
    std::int64_t tokens = 0;
    double work = 0;
  };
  struct Exchange;
  void take(std::size_t document);
  void change(std::int64_t micro_batch, std::int64_t tokens, double work);
  std::optional<std::int64_t> least_busy(const MicroBatchGroup& group, std::int64_t tokens, Which which) const;
  std::vector<std::size_t> documents_of(const MicroBatchGroup& group) const;
  bool has_room(std::int64_t micro_batch, std::int64_t more_tokens) const;
  MicroBatch& at(std::int64_t micro_batch) { return micro_batches_[static_cast<std::size_t>(micro_batch)]; }
  const MicroBatch& at(std::int64_t micro_batch) const { return micro_batches_[static_cast<std::size_t>(micro_batch)]; }

  std::span<const DocumentLoad> documents_;
  ArrangementShape shape_;
  std::vector<MicroBatch> micro_batches_;
  std::vector<double> rank_work_;
  std::vector<std::int64_t> rank_room_;  // of the micro-batch with the most
  std::vector<std::int64_t> micro_batch_of_;
  std::int64_t num_empty_;
};

}  // namespace longspan
