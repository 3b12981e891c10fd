// Attention time: what the core attention of a micro-batch takes by a context plan, with its transfers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "models/model_config.h"
#include "parallel/context/context_site.h"
#include "parallel/context/plan_cost.h"
#include "trainer/forecast/machine.h"

namespace longspan {

// Of the core attention of one layer over all ranks of a context group, at the rates of the machine.
struct AttentionTime {
  PlanCost forward, backward;
  std::int64_t most_tokens = 0;  // of the rank that has most
};

// How a context group takes its micro-batches.
struct ContextPlace {
  int ranks = 1;
  int ranks_per_node = 0;  // 0: all on one
  std::string scheme;      // a planner's name, or auto
  auto operator<=>(const ContextPlace&) const = default;
};

// Prices plans, each once.
class AttentionTimes {
 public:
  // Of `model`, whose layers may differ in their attention; keeps copies.
  AttentionTimes(const ModelConfig& model, const Machine& machine);

  // Of each entry of model.pattern. Throws Error(kUnsupported) where the scheme refuses.
  const std::vector<AttentionTime>& of(const ContextPlace& place, const std::vector<std::int64_t>& cu_seqlens);

 private:
  std::vector<AttentionTime> price_all(const ContextPlace& place, const std::vector<std::int64_t>& cu_seqlens) const;
  AttentionTime price_plan(const ContextPlan& plan, const ContextPlace& place) const;

  ModelConfig model_;
  Machine machine_;
  std::map<std::pair<ContextPlace, std::vector<std::int64_t>>, std::vector<AttentionTime>> known_;
};

}  // namespace longspan
