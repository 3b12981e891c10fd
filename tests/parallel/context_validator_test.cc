// The validator: right plans pass, and each way to break one is refused with its own sentence; two programs agree, as
// the independent checker of plan files reads the same plans.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <random>
#include <set>

#include "parallel/context/plan_json.h"
#include "parallel/context/validator.h"
#include "tests/parallel/context_cases.h"

namespace longspan {
namespace {

using context_cases::small_problems;

// Reads a list of plans and says about each, on a line of its own, whether the checker takes it.
constexpr const char* kDriver = R"(import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("check_plan", sys.argv[1])
checker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(checker)
for plan in json.load(open(sys.argv[2])):
    try:
        checker.check(plan)
        print("right")
    except Exception as reason:
        print("WRONG", type(reason).__name__, str(reason).replace("\n", " "))
)";

class IndependentChecker : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(LONGSPAN_PLAN_CHECKER))
      GTEST_SKIP() << "no plan checker at " << LONGSPAN_PLAN_CHECKER << "; set the CMake variable of that name";
    for (const std::string python : {"python3", "/usr/bin/python3"})
      if (std::system((python + " -c 'import numpy' 2>/dev/null").c_str()) == 0) python_ = python;
    if (python_.empty()) GTEST_SKIP() << "the plan checker needs python3 with numpy";
    folder_ = std::filesystem::temp_directory_path() / fmt::format("longspan-plans-{}", ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  std::vector<std::string> verdicts_on(const std::vector<ContextPlan>& plans) {
    const std::string script = folder_ / "driver.py", list = folder_ / "plans.json", said = folder_ / "verdicts";
    std::ofstream(script) << kDriver;
    {
      std::ofstream file(list);
      for (std::size_t i = 0; i < plans.size(); ++i) file << (i > 0 ? "," : "[") << to_json(plans[i]);
      file << "]";
    }
    const std::string command =
        fmt::format("{} '{}' '{}' '{}' > '{}'", python_, script, LONGSPAN_PLAN_CHECKER, list, said);
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    std::vector<std::string> verdicts;
    std::ifstream file(said);
    for (std::string line; std::getline(file, line);) verdicts.push_back(line);
    EXPECT_EQ(verdicts.size(), plans.size());
    verdicts.resize(plans.size());
    return verdicts;
  }

  std::string python_;
  std::filesystem::path folder_;
};

TEST_F(IndependentChecker, TakesEveryPlan) {
  std::vector<ContextPlan> plans;
  const std::vector<ContextProblem> problems = small_problems();
  for (const ContextPlanner* planner : context_planners())
    for (std::size_t i = 0; i < problems.size(); ++i)
      for (const int ranks : {1, 2, 3, 4, 5, 8})
        if ((i + ranks) % 4 == 0 && !context_cases::refuses(*planner, problems[i], ranks))
          plans.push_back(planner->plan(problems[i], ranks));
  const std::vector<std::string> verdicts = verdicts_on(plans);
  for (std::size_t i = 0; i < plans.size(); ++i) ASSERT_EQ(verdicts[i], "right") << to_json(plans[i]);
}

TEST_F(IndependentChecker, TakesPlanFilesAsAUserHasThem) {
  std::string files;
  for (const ContextPlanner* planner : context_planners()) {
    const std::filesystem::path path = folder_ / fmt::format("{}.json", planner->name());
    std::ofstream(path) << to_json(make_context_plan(planner->name(), {{0, 31, 31, 32, 90}, 4, 2, true, 0}, 4));
    files += fmt::format(" '{}'", path.string());
  }
  EXPECT_EQ(std::system(fmt::format("{} '{}'{} >/dev/null", python_, LONGSPAN_PLAN_CHECKER, files).c_str()), 0);
}

// Ways to break a plan.

enum class SeenByChecker { kYes, kNo };  // it has no order of messages, and counts no message twice

struct Mutation {
  std::string name;
  std::function<void(ContextPlan&)> apply;
  std::string words;  // in the validator's sentence
  SeenByChecker seen = SeenByChecker::kYes;
};

// 40 tokens over 4 ranks, ten each: two documents and an empty one between.
ContextPlan right_plan() {
  return make_context_plan("striped", {{0, 13, 13, 40}, 4, 2, true, 0}, 4);
}

// The first task of a step that has a band, or the first transfer of a kind in a step.
PlanTask& banded_task(PlanDirection& direction, int step) {
  return *std::find_if(direction.tasks.begin(), direction.tasks.end(),
                       [&](const PlanTask& task) { return task.step == step && task.band.hi != Band::kUnboundedHigh; });
}
std::vector<PlanTransfer>::iterator transfer_of(PlanDirection& direction, TransferKind kind, int step) {
  return std::find_if(direction.transfers.begin(), direction.transfers.end(),
                      [&](const PlanTransfer& t) { return t.kind == kind && t.step == step; });
}
// The next transfer between the same ranks.
PlanTransfer& next_of_pair(PlanDirection& direction, std::vector<PlanTransfer>::iterator first) {
  return *std::find_if(first + 1, direction.transfers.end(),
                       [&](const PlanTransfer& t) { return t.from == first->from && t.to == first->to; });
}

constexpr TransferKind kKv = TransferKind::kKeyValue, kDkv = TransferKind::kKeyValueGradient;

std::vector<Mutation> coverage_mutations() {
  return {
      {"drop a task", [](auto& p) { p.forward.tasks.erase(p.forward.tasks.begin() + 5); }, "but the tasks compute 0"},
      {"drop a task of backward", [](auto& p) { p.backward.tasks.pop_back(); }, "backward: query token"},
      {"double a task", [](auto& p) { p.forward.tasks.push_back(p.forward.tasks[3]); }, "computes pairs that task 3"},
      {"double part of a task",
       [](auto& p) {
         PlanTask part = banded_task(p.forward, 0);
         part.head_begin = 1;
         part.q.begin = part.q.end - 1;
         part.kv.end = part.kv.begin + 1;
         part.band = {};
         p.forward.tasks.push_back(part);
       },
       "computes pairs that task"},
      {"band too wide", [](auto& p) { banded_task(p.forward, 1).band.hi += 1; }, "must not see key token"},
      {"band too narrow", [](auto& p) { banded_task(p.forward, 1).band.hi -= 1; }, "of them; "},
      {"band cut from below", [](auto& p) { banded_task(p.backward, 0).band.lo = -1; }, "backward: query token"},
      {"band empty",
       [](auto& p) {
         banded_task(p.forward, 0).band = {3, 2};
       },
       "holds no pair"},
      {"other keys", [](auto& p) { banded_task(p.forward, 1).kv.owner ^= 2; }, "forward task"},
      {"keys of another document",
       [](auto& p) {
         p.forward.tasks.push_back({0, 0, {0, 3, 4}, {0, 4, 5}, 0, 4, {}});
       },
       "query token 12 of document 0 would see key token 16 of document 2"},
      {"a head too few", [](auto& p) { p.forward.tasks[2].head_end -= 1; }, "head 3, sees"},
      {"a head too many", [](auto& p) { p.forward.tasks[2].head_end += 1; }, "are not among 4 heads"},
      {"a query too few", [](auto& p) { p.forward.tasks[0].q.end -= 1; }, "pairs of these two ranks are missing"},
  };
}

std::vector<Mutation> transfer_mutations() {
  return {
      {"swap two receives",
       [](auto& p) {
         const auto first = transfer_of(p.forward, kKv, 0);
         std::swap(*first, next_of_pair(p.forward, first));
       },
       "sends and receives would not meet", SeenByChecker::kNo},
      {"result before operand in a step",
       [](auto& p) {
         const auto first = transfer_of(p.backward, kKv, 1);
         std::swap(*first, next_of_pair(p.backward, first));
       },
       "operands are posted first", SeenByChecker::kNo},
      {"swap what two receives bring",
       [](auto& p) {
         const auto first = transfer_of(p.forward, kKv, 0);
         std::swap(first->range, next_of_pair(p.forward, first).range);
       },
       "is sent before it is at hand"},
      {"drop the last hop of keys", [](auto& p) { p.forward.transfers.pop_back(); }, "needs kv"},
      {"drop the first hop of keys", [](auto& p) { p.backward.transfers.erase(transfer_of(p.backward, kKv, 0)); },
       "is sent before it is at hand"},
      {"drop gradients on the way", [](auto& p) { p.backward.transfers.erase(transfer_of(p.backward, kDkv, 1)); },
       "never reaches its owner"},
      {"drop gradients going home", [](auto& p) { p.backward.transfers.erase(transfer_of(p.backward, kDkv, 3)); },
       "never reaches its owner"},
      {"gradients to the wrong rank", [](auto& p) { transfer_of(p.backward, kDkv, 3)->to ^= 2; },
       "never reaches its owner"},
      {"gradients too early",
       [](auto& p) {
         auto& transfers = p.backward.transfers;
         const auto last = transfer_of(p.backward, kDkv, 3);
         PlanTransfer early = *last;
         transfers.erase(last);
         early.step = 1;
         transfers.insert(transfer_of(p.backward, kKv, 2), early);
       },
       "leaves before the share of step 3"},
      {"gradients twice", [](auto& p) { p.backward.transfers.push_back(p.backward.transfers.back()); },
       "holds no share", SeenByChecker::kNo},
      {"keys too late", [](auto& p) { p.forward.transfers.back().step += 1; }, "it comes in step 4"},
      {"keys of too few heads", [](auto& p) { p.forward.transfers.back().head_end -= 1; },
       "heads 1 … 1, which never comes"},
      {"a token of keys too few", [](auto& p) { p.forward.transfers.back().range.begin += 1; }, "tokens 0 … 0"},
      {"keys to their owner", [](auto& p) { p.forward.transfers.back().to = p.forward.transfers.back().range.owner; },
       "what is its own", SeenByChecker::kNo},
      {"to itself", [](auto& p) { p.forward.transfers[0].to = p.forward.transfers[0].from; }, "nothing to itself"},
      {"gradients in forward", [](auto& p) { p.forward.transfers.back().kind = kDkv; },
       "does not travel in this direction"},
      {"a rank that works elsewhere", [](auto& p) { p.forward.tasks[0].rank ^= 1; }, "needs kv"},
  };
}

std::vector<Mutation> field_mutations() {
  return {
      {"a token owned twice", [](auto& p) { p.home[1] = p.home[0]; }, "token 0 is owned twice, by ranks 0 and 1"},
      {"a token owned by nobody", [](auto& p) { p.home[3][0].count -= 1; }, "token 39 is owned by no rank"},
      {"a token outside", [](auto& p) { p.home[3][0].count += 1; }, "leave the batch of 40 tokens"},
      {"a stride of nothing", [](auto& p) { p.home[2][0].stride = 0; }, "a run of 10 tokens at stride 0"},
      {"a rank without home", [](auto& p) { p.home.pop_back(); }, "home lists 3 ranks of 4"},
      {"queries outside", [](auto& p) { p.forward.tasks[0].q.end = 11; }, "leave the 10 tokens of rank 0"},
      {"no queries", [](auto& p) { p.forward.tasks[0].q.begin = p.forward.tasks[0].q.end; }, "hold no token"},
      {"a task on no rank", [](auto& p) { p.forward.tasks[1].rank = 4; }, "rank 4 is none of 4", SeenByChecker::kNo},
      {"an owner that is none", [](auto& p) { p.forward.tasks[1].kv.owner = 7; }, "owner 7 is none of 4 ranks"},
      {"a step before the first", [](auto& p) { p.backward.tasks[1].step = -1; }, "step -1 is not in"},
      {"documents that fall", [](auto& p) { std::swap(p.problem.cu_seqlens[1], p.problem.cu_seqlens[3]); },
       "cu_seqlens falls from 40 to 13"},
  };
}

std::vector<Mutation> mutations() {
  std::vector<Mutation> all;
  for (const auto& some : {coverage_mutations(), transfer_mutations(), field_mutations()})
    all.insert(all.end(), some.begin(), some.end());
  return all;
}

TEST(ContextValidator, RefusesEveryBrokenPlanWithItsOwnSentence) {
  std::set<std::string> sentences;
  for (const Mutation& mutation : mutations()) {
    SCOPED_TRACE(mutation.name);
    ContextPlan plan = right_plan();
    mutation.apply(plan);
    const auto fault = find_fault(plan);
    ASSERT_TRUE(fault);
    EXPECT_NE(fault->find(mutation.words), std::string::npos) << *fault;
    EXPECT_TRUE(sentences.insert(*fault).second) << *fault;
  }
}

TEST_F(IndependentChecker, RefusesTheSamePlans) {
  std::vector<ContextPlan> plans;
  std::vector<std::string> names;
  for (const Mutation& mutation : mutations()) {
    if (mutation.seen == SeenByChecker::kNo) continue;
    plans.push_back(right_plan());
    names.push_back(mutation.name);
    mutation.apply(plans.back());
  }
  const std::vector<std::string> verdicts = verdicts_on(plans);
  for (std::size_t i = 0; i < plans.size(); ++i) EXPECT_EQ(verdicts[i].substr(0, 5), "WRONG") << names[i];
}

// Random damage: a field of a random entry is moved by a little, or set to something wild.
class Damage {
 public:
  explicit Damage(unsigned seed) : random_(seed) {}
  int draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  void little(ContextPlan& plan) {
    *pick(plan) += draw(0, 1) == 0 ? -draw(1, 2) : draw(1, 2);
    put_back();
  }
  void wild(ContextPlan& plan) {
    constexpr std::array<std::int64_t, 6> kWild = {std::numeric_limits<std::int64_t>::min(),
                                                   std::numeric_limits<std::int64_t>::max(),
                                                   -1,
                                                   0,
                                                   1LL << 31,
                                                   1LL << 45};
    *pick(plan) = kWild[static_cast<std::size_t>(draw(0, 5))];
    put_back();
  }

 private:
  // A number of the plan. Ints are lent as int64 and put back afterwards.
  std::int64_t* pick(ContextPlan& plan) {
    PlanDirection& direction = draw(0, 1) == 0 ? plan.forward : plan.backward;
    PlanTask& task = direction.tasks[draw(0, static_cast<int>(direction.tasks.size()) - 1)];
    PlanTransfer& transfer = direction.transfers[draw(0, static_cast<int>(direction.transfers.size()) - 1)];
    TokenRun& run = plan.home[draw(0, plan.ranks - 1)].front();
    switch (draw(0, 24)) {
      case 0: return lend(task.rank);
      case 1: return lend(task.step);
      case 2: return lend(task.q.owner);
      case 3: return &task.q.begin;
      case 4: return &task.q.end;
      case 5: return lend(task.kv.owner);
      case 6: return &task.kv.begin;
      case 7: return &task.kv.end;
      case 8: return &task.head_begin;
      case 9: return &task.head_end;
      case 10: return &task.band.lo;
      case 11: return &task.band.hi;
      case 12: return lend(transfer.from);
      case 13: return lend(transfer.to);
      case 14: return lend(transfer.step);
      case 15: return lend(transfer.range.owner);
      case 16: return &transfer.range.begin;
      case 17: return &transfer.range.end;
      case 18: return &transfer.head_begin;
      case 19: return &transfer.head_end;
      case 20: return &run.first;
      case 21: return &run.stride;
      case 22: return &run.count;
      case 23: return &plan.problem.window;
      default: return &plan.problem.cu_seqlens[draw(0, static_cast<int>(plan.problem.cu_seqlens.size()) - 1)];
    }
  }
  std::int64_t* lend(int& value) {
    lent_ = &value;
    copy_ = value;
    return &copy_;
  }
  void put_back() {
    if (lent_) *lent_ = static_cast<int>(copy_);
    lent_ = nullptr;
  }

  std::mt19937 random_;
  int* lent_ = nullptr;
  std::int64_t copy_ = 0;
};

// Of any scheme; with heads of their own for keys and values, or so few that queries travel backward.
ContextPlan plan_to_damage(Damage& damage) {
  const auto planners = context_planners();
  const ContextPlanner& planner = *planners[damage.draw(0, static_cast<int>(planners.size()) - 1)];
  const int ranks = planner.name() == "two_d" ? 4 : damage.draw(2, 4);
  return make_context_plan(planner.name(), {{0, 9, 9, 24}, 2, damage.draw(1, 2), true, damage.draw(0, 1) * 4}, ranks);
}

TEST(ContextValidator, TakesNoDamagedPlanThatComputesSomethingElse) {
  Damage damage(11);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    ContextPlan plan = plan_to_damage(damage);
    damage.little(plan);
    const auto fault = find_fault(plan);
    refused += fault.has_value();
    if (fault) continue;
    for (const PlanDirection* direction : {&plan.forward, &plan.backward})
      for (const int error : context_cases::coverage_errors(plan, *direction)) ASSERT_EQ(error, 0) << to_json(plan);
  }
  EXPECT_GT(refused, 2000);
}

TEST(ContextValidator, NeverThrowsOnNonsense) {
  Damage damage(12);
  for (int round = 0; round < 3000; ++round) {
    ContextPlan plan = plan_to_damage(damage);
    for (int times = damage.draw(1, 3); times > 0; --times) damage.wild(plan);
    ASSERT_NO_THROW(static_cast<void>(find_fault(plan)));
  }
  ContextPlan empty;
  EXPECT_TRUE(find_fault(empty));
  empty.ranks = -1;
  EXPECT_TRUE(find_fault(empty));
}

TEST_F(IndependentChecker, FindsNoFaultTheValidatorMisses) {
  Damage damage(13);
  std::vector<ContextPlan> plans;
  while (plans.size() < 80) {
    ContextPlan plan = plan_to_damage(damage);
    damage.little(plan);
    if (!find_fault(plan)) plans.push_back(std::move(plan));
  }
  const std::vector<std::string> verdicts = verdicts_on(plans);
  for (std::size_t i = 0; i < plans.size(); ++i) EXPECT_EQ(verdicts[i], "right") << to_json(plans[i]);
}

// What a random batch may be: documents of any length, any mask, any heads, any number of ranks.
ContextProblem random_problem(Damage& random) {
  ContextProblem problem{{0}, 1, 1, random.draw(0, 3) > 0, 0};
  for (int documents = random.draw(1, 5); documents > 0; --documents)
    problem.cu_seqlens.push_back(problem.cu_seqlens.back() +
                                 (random.draw(0, 3) == 0 ? random.draw(0, 2) : random.draw(2, 25)));
  problem.kv_heads = random.draw(1, 3);
  problem.heads = problem.kv_heads * random.draw(1, 3);
  problem.window = problem.causal ? std::max(0, random.draw(-15, 25)) : 0;
  return problem;
}

// A structural fault in a plan that has transfers in both directions.
void break_plan(ContextPlan& plan, Damage& random) {
  PlanDirection& direction = random.draw(0, 1) == 0 ? plan.forward : plan.backward;
  const auto task = direction.tasks.begin() + random.draw(0, static_cast<int>(direction.tasks.size()) - 1);
  const auto transfer = direction.transfers.begin() + random.draw(0, static_cast<int>(direction.transfers.size()) - 1);
  switch (random.draw(0, 3)) {
    case 0: direction.tasks.erase(task); break;
    case 1: direction.tasks.push_back(*task); break;
    case 2: direction.transfers.erase(transfer); break;
    default: --transfer->head_end; break;
  }
}

TEST_F(IndependentChecker, AgreesOnRandomBatchesOfEverySchemeAndOnBrokenPlans) {
  Damage random(14);
  std::vector<ContextPlan> right, broken;
  for (int round = 0; round < 40; ++round)
    for (const ContextPlanner* planner : context_planners()) {
      const ContextProblem problem = random_problem(random);
      const int ranks = random.draw(1, 9);
      if (context_cases::refuses(*planner, problem, ranks)) continue;
      right.push_back(make_context_plan(planner->name(), problem, ranks));
      ContextPlan plan = right.back();
      if (plan.forward.transfers.empty() || plan.backward.transfers.empty()) continue;
      break_plan(plan, random);
      ASSERT_TRUE(find_fault(plan)) << to_json(plan);
      broken.push_back(std::move(plan));
    }
  EXPECT_GT(broken.size(), 80u);
  const std::vector<std::string> verdicts = verdicts_on(right);
  for (std::size_t i = 0; i < right.size(); ++i) ASSERT_EQ(verdicts[i], "right") << to_json(right[i]);
  const std::vector<std::string> refusals = verdicts_on(broken);
  for (std::size_t i = 0; i < broken.size(); ++i) EXPECT_EQ(refusals[i].substr(0, 5), "WRONG") << to_json(broken[i]);
}

}  // namespace
}  // namespace longspan
