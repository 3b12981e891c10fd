#include "trainer/loop/balance_report.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "trainer/data/arrangement.h"

namespace longspan {
namespace {

using Document = StepDocuments::Document;

// Work of one kind, by document.
struct Works {
  std::vector<double> attention, total;
};

Works works_of(const DocumentWork& work, const std::vector<Document>& documents) {
  Works works;
  for (const Document& document : documents) {
    works.attention.push_back(work.attention(document.length));
    works.total.push_back(work.total(document.length));
  }
  return works;
}

std::vector<double> by_micro_batch(const std::vector<double>& works, const std::vector<Document>& documents,
                                   const ArrangementShape& shape) {
  std::vector<double> sums(static_cast<std::size_t>(shape.total()));
  for (std::size_t i = 0; i < documents.size(); ++i)
    sums[static_cast<std::size_t>(documents[i].micro_batch)] += works[i];
  return sums;
}

std::int64_t longest(const std::vector<Document>& documents, const ArrangementShape& shape) {
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(shape.total()));
  for (const Document& document : documents) tokens[static_cast<std::size_t>(document.micro_batch)] += document.length;
  return *std::max_element(tokens.begin(), tokens.end());
}

void add(BusiestOverMean& figure, double busiest, double mean) {
  const double ratio = mean > 0 ? busiest / mean : 1;
  figure.mean += ratio;
  figure.worst = std::max(figure.worst, ratio);
}

void add(BusiestOverMean& figure, const std::vector<double>& groups) {
  add(figure, *std::max_element(groups.begin(), groups.end()),
      std::accumulate(groups.begin(), groups.end(), 0.0) / static_cast<double>(groups.size()));
}

void add_least(BusiestOverMean& figure, const std::vector<double>& works, std::int64_t groups) {
  add(figure, least_busiest(works, groups),
      std::accumulate(works.begin(), works.end(), 0.0) / static_cast<double>(groups));
}

void divide(PlacementBalance& balance, double steps) {
  for (WorkBalance* row : {&balance.packed, &balance.placed, &balance.least}) {
    row->attention.mean /= steps;
    row->total.mean /= steps;
  }
}

std::string describe(const char* name, const WorkBalance& row) {
  return fmt::format("  {:<18}{:>8.3f} {:>8.3f}   {:>8.3f} {:>8.3f}\n", name, row.attention.mean, row.attention.worst,
                     row.total.mean, row.total.worst);
}

std::string describe(const char* what, const PlacementBalance& balance) {
  return fmt::format("{}\n{}{}{}", what, describe("documents", balance.packed), describe("balanced", balance.placed),
                     describe("least possible", balance.least));
}

}  // namespace

BalanceReport report_balance(const SequenceLengths& lengths, const Config& config, const ParallelLayout& layout,
                             std::int64_t steps) {
  DataConfig data = config.data;
  data.packing = "balanced";
  StepSequences sequences = sequences_of(data, layout);
  const ArrangementShape shape = shape_of(sequences);
  const DocumentWork work(config.model);
  BalanceReport report;
  report.steps = steps;
  report.most_tokens = sequences.most_tokens;
  double attention = 0, total = 0, packed_work = 0, placed_work = 0;
  for (std::int64_t step = 0; step < steps; ++step, sequences.first += config.data.global_batch) {
    StepSequences as_packed = sequences;
    as_packed.placement = DocumentPlacement::kAsPacked;
    const auto start = std::chrono::steady_clock::now();
    const StepDocuments placed = documents_of_step(lengths, work, sequences);
    report.placing_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const StepDocuments packed = documents_of_step(lengths, work, as_packed);
    report.kept += placed.why_kept.empty() ? 0 : 1;

    const Works works = works_of(work, packed.documents);
    attention += std::accumulate(works.attention.begin(), works.attention.end(), 0.0);
    total += std::accumulate(works.total.begin(), works.total.end(), 0.0);
    const auto add_placement = [&](WorkBalance PlacementBalance::*row, const StepDocuments& documents) {
      for (const auto& [kind, figure] :
           {std::pair(&works.attention, &WorkBalance::attention), std::pair(&works.total, &WorkBalance::total)}) {
        const std::vector<double> micro_batches = by_micro_batch(*kind, documents.documents, shape);
        add(report.micro_batches.*row.*figure, micro_batches);
        add(report.data_ranks.*row.*figure, rank_work(micro_batches, shape));
      }
      return step_work(by_micro_batch(works.total, documents.documents, shape), shape);
    };
    packed_work += add_placement(&PlacementBalance::packed, packed);
    placed_work += add_placement(&PlacementBalance::placed, placed);
    add_least(report.data_ranks.least.attention, works.attention, shape.data_ranks);
    add_least(report.data_ranks.least.total, works.total, shape.data_ranks);
    add_least(report.micro_batches.least.attention, works.attention, shape.total());
    add_least(report.micro_batches.least.total, works.total, shape.total());
    report.packed_tokens = std::max(report.packed_tokens, longest(packed.documents, shape));
    report.placed_tokens = std::max(report.placed_tokens, longest(placed.documents, shape));
  }
  divide(report.data_ranks, static_cast<double>(steps));
  divide(report.micro_batches, static_cast<double>(steps));
  report.placing_seconds /= static_cast<double>(steps);
  report.attention_share = attention / total;
  report.step_work = placed_work / packed_work;
  return report;
}

std::string describe(const BalanceReport& report) {
  std::string text = fmt::format(
      "work of the busiest over the mean, {} steps; attention is {:.1f} % of all work\n\n"
      "                        attention             all work\n"
      "                        mean    worst       mean    worst\n",
      report.steps, 100 * report.attention_share);
  text += describe("data ranks", report.data_ranks);
  text += describe("micro-batches", report.micro_batches);
  text += fmt::format(
      "\nlongest micro-batch  {} tokens as documents, {} as balanced (at most {})\n"
      "time of the steps    {:.3f} of that as documents, where time goes as work\n"
      "placing              {:.2f} ms a step\n",
      report.packed_tokens, report.placed_tokens, report.most_tokens, report.step_work, 1e3 * report.placing_seconds);
  if (report.kept > 0)
    text += fmt::format(
        "{} step(s) had no room to place documents anew and only exchange some; a greater data.balance_tokens gives "
        "it\n",
        report.kept);
  return text;
}

}  // namespace longspan
