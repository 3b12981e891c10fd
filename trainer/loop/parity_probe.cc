#include "trainer/loop/parity_probe.h"

#include <algorithm>
#include <cmath>

#include "parallel/context/layout.h"
#include "trainer/loop/attention_set.h"
#include "trainer/loop/parity_rows.h"
#include "trainer/loop/precision.h"

namespace longspan {
namespace {

constexpr double kForwardBound = 1e-5;
constexpr double kGradientBound = 3e-5;
constexpr double kBf16Bound = 2e-2;
constexpr double kTokenBound = 10;  // times the bound of the tensor
// The gradients of a query that sees one key vanish, and the lse of a lone token may be anything near 0: rounding is
// all that is left of them. What an error is relative to is at least this much of what they are elsewhere.
constexpr double kSmallest = 0.03;

// A tensor to compare. Errors are relative to its size, or to `smallest` where it is smaller.
struct Item {
  const char* name;
  Tensor AttentionRows::*tensor;
  double bound;
  double smallest = 0;  // root mean square
};

std::vector<Item> items_of(const ParityCase& c) {
  const bool rounded = c.desc.dtype == DType::kBF16;
  const double forward = rounded ? kBf16Bound : kForwardBound, gradient = rounded ? kBf16Bound : kGradientBound;
  std::vector<Item> items = {{"out", &AttentionRows::out, forward},
                             {"lse", &AttentionRows::lse, kForwardBound, kSmallest},
                             {"dq", &AttentionRows::dq, gradient, kSmallest / query_stddev(c.desc)},
                             {"dk", &AttentionRows::dk, gradient, kSmallest},
                             {"dv", &AttentionRows::dv, gradient}};
  if (c.kind.sink) items.push_back({"dsink", &AttentionRows::dsink, gradient});
  return items;
}

double value_at(const Tensor& tensor, std::int64_t index) {
  return static_cast<double>(tensor.dtype == DType::kBF16 ? static_cast<float>(tensor.get<bf16>()[index])
                                                          : tensor.get<float>()[index]);
}

// Squares of one row each: a token's, or dsink as a whole.
struct RowErrors {
  std::vector<double> difference, size;
  std::int64_t width = 1;

  void add(std::int64_t row, const Tensor& x, std::int64_t x_row, const Tensor& expected) {
    double d = 0, s = 0;
    for (std::int64_t i = 0; i < width; ++i) {
      const double e = value_at(expected, row * width + i), error = value_at(x, x_row * width + i) - e;
      d += error * error;
      s += e * e;
    }
    difference[static_cast<std::size_t>(row)] = std::isfinite(d) ? d : HUGE_VAL;
    size[static_cast<std::size_t>(row)] = std::isfinite(d) ? s : 0;
  }
};

struct Outcome {
  double relative = 0;
  std::int64_t worst_row = 0;
  double worst_relative = 0;
};

Outcome outcome_of(const RowErrors& errors, double smallest) {
  Outcome outcome;
  if (errors.size.empty()) return outcome;
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < errors.size.size(); ++i) {
    difference += errors.difference[i];
    size += errors.size[i];
  }
  const double width = static_cast<double>(errors.width), rows = static_cast<double>(errors.size.size());
  const double mean = std::max({size / rows, smallest * smallest * width, 1e-300});
  outcome.relative = std::sqrt(difference / rows / mean);
  for (std::size_t i = 0; i < errors.size.size(); ++i) {
    const double relative = std::sqrt(errors.difference[i] / std::max(errors.size[i], mean));
    if (relative <= outcome.worst_relative) continue;
    outcome.worst_relative = relative;
    outcome.worst_row = static_cast<std::int64_t>(i);
  }
  return outcome;
}

// Rows of every rank come to rank 0 one rank after another, and are compared as they come.
class Comparison {
 public:
  Comparison(const ParityCase& c, Communicator& group, const AttentionRows& mine)
      : case_(c), group_(group), mine_(mine) {}

  void send_all() const {
    for (const Item& item : items_of(case_)) {
      if (item.tensor == &AttentionRows::dsink) continue;  // summed by all
      const Tensor& rows = mine_.*item.tensor;
      const Send send{0, rows.data, rows.num_bytes()};
      group_.start({&send, 1}, {}, "rows for the parity probe")->wait();
    }
  }

  ParityReport compare_with(const AttentionRows& expected) {
    ParityReport report;
    for (const Item& item : items_of(case_)) {
      const RowErrors errors =
          item.tensor == &AttentionRows::dsink ? sink_errors(expected) : row_errors(item, expected);
      const Outcome outcome = outcome_of(errors, item.smallest);
      report.figures +=
          fmt::format("{}{} {:.1e}", report.figures.empty() ? subject() + ": " : ", ", item.name, outcome.relative);
      const bool passes = outcome.relative <= item.bound && outcome.worst_relative <= kTokenBound * item.bound;
      if (!passes && report.fault.empty()) report.fault = describe_fault(item, outcome);
    }
    return report;
  }

 private:
  RowErrors sink_errors(const AttentionRows& expected) const {
    RowErrors errors{{0}, {0}, case_.desc.heads};
    errors.add(0, mine_.dsink, 0, expected.dsink);
    return errors;
  }

  RowErrors row_errors(const Item& item, const AttentionRows& expected) {
    const Tensor& whole = expected.*item.tensor;
    const auto tokens = static_cast<std::size_t>(whole.shape[0]);
    RowErrors errors{std::vector<double>(tokens), std::vector<double>(tokens), width_of(whole)};
    for (int rank = 0; rank < group_.size(); ++rank) {
      const Tensor rows = rank == 0 ? mine_.*item.tensor : receive(rank, whole);
      std::int64_t row = 0;
      for (const TokenRun& run : case_.plan->home[static_cast<std::size_t>(rank)])
        for (std::int64_t i = 0; i < run.count; ++i) errors.add(run.first + i * run.stride, rows, row++, whole);
    }
    return errors;
  }

  // Rows like those of `like`. Valid until the next.
  Tensor receive(int rank, const Tensor& like) {
    Tensor rows(nullptr, like.dtype, {case_.plan->tokens_of(rank), width_of(like)});
    received_.resize(static_cast<std::size_t>(rows.num_bytes()));
    rows.data = received_.data();
    const Receive receive{rank, rows.data, rows.num_bytes()};
    group_.start({}, {&receive, 1}, "rows for the parity probe")->wait();
    return rows;
  }

  // "softmax causal window 256".
  std::string subject() const {
    const AttentionKind& kind = case_.kind;
    return fmt::format("{} {}{}{}", kind.kind, kind.causal ? "causal" : "full",
                       kind.window > 0 ? fmt::format(" window {}", kind.window) : "", kind.sink ? " with sink" : "");
  }

  std::string describe_fault(const Item& item, const Outcome& outcome) const {
    const std::string difference = fmt::format(
        "{} over {} ranks ({}) is not what it is on one: {} differs by {:.1e} of its size, where rounding makes {:.0e} "
        "at most",
        subject(), group_.size(), case_.plan->scheme, item.name, outcome.relative, item.bound);
    if (item.tensor == &AttentionRows::dsink) return difference;
    return fmt::format("{}; worst is {}, by {:.1e} where it makes {:.0e} at most", difference,
                       describe_token(outcome.worst_row), outcome.worst_relative, kTokenBound * item.bound);
  }

  // "token 17 of document 3 (token 5211 of the batch), on rank 2".
  std::string describe_token(std::int64_t token) const {
    const std::vector<std::int64_t>& bounds = case_.plan->problem.cu_seqlens;
    const auto end = std::upper_bound(bounds.begin(), bounds.end(), token);
    const TokenPlace place =
        places_of(case_.plan->home, case_.plan->problem.num_tokens())[static_cast<std::size_t>(token)];
    return fmt::format("token {} of document {} (token {} of the batch), on rank {}", token - *(end - 1),
                       end - bounds.begin() - 1, token, place.rank);
  }

  const ParityCase& case_;
  Communicator& group_;
  const AttentionRows& mine_;
  std::vector<std::byte> received_;
};

// Each entry of the pattern once.
std::vector<std::size_t> distinct_kinds(const std::vector<AttentionKind>& pattern) {
  std::vector<std::size_t> distinct;
  for (std::size_t i = 0; i < pattern.size(); ++i)
    if (std::find(pattern.begin(), pattern.end(), pattern[i]) == pattern.begin() + static_cast<std::ptrdiff_t>(i))
      distinct.push_back(i);
  return distinct;
}

std::vector<std::int64_t> first_micro_batch(const ModelConfig& model, const RunPlan& plan, const Loader& loader) {
  const StepSequences sequences = plan.sequences_at(0);
  std::vector<std::int64_t> cu_seqlens{0};
  for (const auto& document : documents_of_step(loader, DocumentWork(model), sequences).documents)
    if (document.micro_batch == sequences.data_rank * sequences.micro_batches)
      cu_seqlens.push_back(cu_seqlens.back() + document.length);
  return cu_seqlens;
}

}  // namespace

ParityReport probe_parity(const ParityCase& c, Communicator& group, const RankDevice& device) {
  const std::unique_ptr<Communicator> alone = group.split(group.rank(), 0);
  ParityRows spread(c, c.plan, group, device);
  Comparison comparison(c, group, spread.run());
  ParityReport report;
  if (group.rank() == 0) {
    const auto plan = std::make_shared<const ContextPlan>(make_context_plan("ring", c.plan->problem, 1));
    ParityRows whole(c, plan, *alone, device);
    report = comparison.compare_with(whole.run());
  } else {
    comparison.send_all();
  }
  broadcast_string(group, report.figures, 0);
  broadcast_string(group, report.fault, 0);
  return report;
}

std::vector<std::int64_t> first_documents(const std::vector<std::int64_t>& cu_seqlens, std::int64_t num_tokens) {
  std::vector<std::int64_t> cut;
  for (const std::int64_t bound : cu_seqlens) {
    cut.push_back(std::min(bound, num_tokens));
    if (bound >= num_tokens) break;
  }
  return cut;
}

std::string require_parity(const Config& config, const RunPlan& plan, const Loader& loader, Mesh& mesh,
                           const RankDevice& device) {
  const ModelConfig& model = config.model;
  const std::vector<std::int64_t> documents = first_micro_batch(model, plan, loader);
  const std::vector<std::int64_t> probed = first_documents(documents, kMaxProbeTokens);
  const auto plans = plan_pattern(model, plan.place(config), probed);
  std::string text = fmt::format(
      "parity probe      {} of the first micro-batch's {} tokens in {} document(s); relative errors of {} rank(s) "
      "against one",
      probed.back(), documents.back(), probed.size() - 1, mesh.shape().context);
  std::string faults;
  for (const std::size_t i : distinct_kinds(model.pattern)) {
    const AttentionDesc desc = attention_desc(model, model.pattern[i], precision_of(config.run), plan.device);
    const ParityReport report =
        probe_parity({model.pattern[i], desc, plans[i], config.run.seed, plan.num_threads}, mesh.context(), device);
    text += fmt::format("\n                  {}: the same", report.figures);
    if (!report.fault.empty()) faults += fmt::format("\n  {}; {}", report.fault, report.figures);
  }
  // Groups have documents of their own, and all ranks end with the first one's fault.
  const std::vector<std::string> all = gather_strings(mesh.world(), faults);
  const auto faulty = std::find_if(all.begin(), all.end(), [](const std::string& some) { return !some.empty(); });
  LS_REQUIRE(
      kInternal, faulty == all.end(),
      "parity probe, context group {}:{}\nNothing was trained. Try another parallel.context_scheme or one rank a "
      "sequence (parallel.context: 1), and report this with the config",
      (faulty - all.begin()) / mesh.shape().context, *faulty);
  return text;
}

}  // namespace longspan
