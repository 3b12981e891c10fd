// Arrangement: which micro-batch each document of a step goes to, so that no data rank and no pipeline waits long for
// the one with the most work.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace longspan {

struct DocumentLoad {
  std::int64_t tokens = 0;
  double work = 0;             // what training on it takes, in any unit; finite, at least 0
  std::int64_t packed_in = 0;  // the micro-batch that it was packed in
};

// The micro-batches of a step, counted data rank by data rank: the m-th of rank d is number d * micro_batches + m.
struct ArrangementShape {
  std::int64_t data_ranks = 1;
  std::int64_t micro_batches = 1;  // of each data rank
  std::int64_t stages = 1;         // of the pipeline that each micro-batch passes
  std::int64_t most_tokens = 0;    // of one micro-batch; those that were packed hold no more
  std::int64_t total() const { return data_ranks * micro_batches; }
};

struct Arrangement {
  std::vector<std::int64_t> micro_batch_of;  // of each document
  std::string why_kept;  // why most documents stay where they were packed; empty where they were spread anew
};

// Each document to one micro-batch, within most_tokens. Never worse than packed: neither in step_work nor, where that
// is the same, in the work of the busiest micro-batch. A micro-batch that had tokens keeps some. A pure function of its
// arguments, the same on every rank: longest processing time first (Graham 1969), the least busy rank and its least
// busy micro-batch with room taking the next document, then exchanges of one document for another as long as they help.
Arrangement arrange_documents(std::span<const DocumentLoad> documents, const ArrangementShape& shape);

// Work of each micro-batch.
std::vector<double> work_of(std::span<const DocumentLoad> documents, std::span<const std::int64_t> micro_batch_of,
                            const ArrangementShape& shape);
// Of each data rank, from that of the micro-batches.
std::vector<double> rank_work(std::span<const double> micro_batches, const ArrangementShape& shape);
// What the step lasts, in units of work: of the rank that is done last all its micro-batches, and the busiest of them
// once for each further stage, while its pipeline fills and drains.
double step_work(std::span<const double> micro_batches, const ArrangementShape& shape);

// However documents of these works are spread over so many groups, the busiest has at least this much.
double least_busiest(std::vector<double> works, std::int64_t groups);

}  // namespace longspan
