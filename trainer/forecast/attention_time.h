// Attention time: what the core attention of a micro-batch takes by a context plan, with its transfers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "parallel/context/context_site.h"
#include "parallel/context/plan_cost.h"
#include "trainer/config/config.h"
#include "trainer/forecast/machine.h"
#include "trainer/loop/memory_budget.h"

namespace longspan {

// Of the core attention of one layer over all ranks of a context group, at the rates of the machine.
struct AttentionTime {
  PlanCost forward, backward;
};

// How a context group takes its micro-batches.
struct ContextPlace {
  int ranks = 1;
  int ranks_per_node = 0;  // 0: all on one
  std::string scheme{};    // a planner's name, or auto
  auto operator<=>(const ContextPlace&) const = default;
};

// So many sequences of these documents each.
struct SequenceBatch {
  std::vector<std::int64_t> documents;  // lengths
  std::int64_t sequences = 1;
  std::vector<std::int64_t> offsets() const;  // of all documents one after another
  auto operator<=>(const SequenceBatch&) const = default;
};

// Of one micro-batch.
struct ContextTime {
  std::vector<AttentionTime> layers;  // one an entry of model.pattern
  std::int64_t tokens = 0;            // of the rank that has most
  // Of the whole pattern once, forward and backward.
  double seconds() const;
};

// Prices plans, each once. Of hundreds of ranks and many sequences one sequence is planned, and the batch taken to be
// as many times that: right but for what messages take whatever their size.
class AttentionTimes {
 public:
  // Of config.model, whose layers may differ in their attention, on a device; keeps copies. Of config.parallel counts
  // how what travels is compressed.
  AttentionTimes(const Config& config, const Machine& machine, Device device);

  // Throws Error(kUnsupported) where the scheme refuses.
  const ContextTime& of(const ContextPlace& place, const SequenceBatch& batch);
  // What no plan is better than: equal shares of all visible pairs, and nothing sent.
  ContextTime ideal(int ranks, const SequenceBatch& batch) const;
  // What the core attention needs on the neediest rank: of many ranks, of the first, middle and last. Throws as above.
  AttentionNeed need(const ContextPlace& place, const SequenceBatch& batch);

 private:
  using Key = std::pair<ContextPlace, SequenceBatch>;
  // One a kind of problem, and which of them is each entry of the pattern's.
  struct PatternPlans {
    std::vector<ContextPlan> plans;
    std::vector<std::size_t> plan_of;
  };
  PatternPlans plan(const ContextPlace& place, const SequenceBatch& batch) const;
  AttentionTime price_plan(const ContextPlan& plan, const ContextPlace& place) const;

  Config config_;
  Machine machine_;
  Device device_;
  std::map<Key, ContextTime> times_;
  std::map<Key, AttentionNeed> needs_;
};

}  // namespace longspan
