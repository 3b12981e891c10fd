// Steps placed by work: the documents of a step are those of the packed one, each once, whole, in order, on any layout.
#include "trainer/loop/step_plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "models/model.h"
#include "tests/trainer/data/scratch.h"
#include "trainer/loop/learner.h"
#include "trainer/loop/run_plan.h"

namespace longspan {
namespace {

constexpr std::int64_t kLength = 256;

class StepPlanTest : public ScratchTest {
 protected:
  // Many short documents, some that fill a sequence, some that are cut.
  Config config(const std::string& packing) const {
    SplitMix64 random(3);
    Documents documents = made_documents(400, 90, 1);
    for (auto& document : made_documents(40, 600, 2)) documents.push_back(document);
    for (std::size_t d = 0; d < documents.size(); ++d) {  // told apart by their first tokens
      documents[d].insert(documents[d].begin(),
                          {static_cast<std::int32_t>(d / 256), static_cast<std::int32_t>(d % 256)});
    }
    Config config;
    config.model.layers = 3;
    config.model.hidden = 16;
    config.model.heads = 2;
    config.model.kv_heads = 1;
    config.model.head_dim = 8;
    config.model.ffn = 16;
    config.model.pattern.resize(2);
    config.model.pattern[1].window = 50;
    config.data.train = {write_tokens("a.h5", documents)};
    config.data.sequence_length = kLength;
    config.data.packing = packing;
    return config;
  }
};

using DocumentSet = std::multiset<std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>>>;  // tokens, labels

DocumentSet documents_in(const PackedSequence& s) {
  DocumentSet documents;
  for (std::size_t d = 1; d < s.cu_seqlens.size(); ++d) {
    const auto from = s.cu_seqlens[d - 1], to = s.cu_seqlens[d];
    documents.insert(
        {{s.tokens.begin() + from, s.tokens.begin() + to}, {s.labels.begin() + from, s.labels.begin() + to}});
  }
  return documents;
}

std::unique_ptr<Loader> loader_of(const Config& config) {
  return make_training_loader(config.data, config.model.vocab, config.run.seed);
}

StepSequences by_work(std::int64_t data_ranks, std::int64_t micro_batches, std::int64_t each) {
  return {.data_ranks = data_ranks,
          .micro_batches = micro_batches,
          .sequences_each = each,
          .placement = DocumentPlacement::kByWork,
          .most_tokens = kLength * each * 5 / 4};
}

TEST_F(StepPlanTest, AStepHasTheSameDocumentsHoweverTheyArePlaced) {
  const auto packed = loader_of(config("documents")), balanced = loader_of(config("balanced"));
  EXPECT_EQ(packed->fingerprint(), balanced->fingerprint()) << "a run may go on with the other";
  const DocumentWork work(config("balanced").model);
  for (const auto& [data, parts, each] :
       {std::array<std::int64_t, 3>{1, 1, 4}, {1, 4, 1}, {2, 1, 3}, {2, 2, 2}, {3, 2, 1}, {5, 3, 2}}) {
    const std::int64_t count = data * parts * each;
    for (StepSequences sequences = by_work(data, parts, each); sequences.first < 4 * count; sequences.first += count) {
      DocumentSet expected, met;
      for (std::int64_t s = 0; s < count; ++s) expected.merge(documents_in(packed->at(sequences.first + s)));
      const StepDocuments step = documents_of_step(*balanced, work, sequences);
      for (std::int64_t m = 0; m < data * parts; ++m) {
        const PackedSequence sequence = read_micro_batch(*balanced, step, m);
        EXPECT_LE(static_cast<std::int64_t>(sequence.tokens.size()), sequences.most_tokens);
        EXPECT_GT(sequence.tokens.size(), 0u);
        met.merge(documents_in(sequence));
      }
      ASSERT_EQ(met == expected, true) << data << " x " << parts << " at " << sequences.first;
    }
  }
}

// In a micro-batch documents come as the loader brings them.
TEST_F(StepPlanTest, OrderInAMicroBatchIsTheLoaders) {
  const auto loader = loader_of(config("balanced"));
  const StepDocuments step = documents_of_step(*loader, DocumentWork(config("balanced").model), by_work(3, 2, 2));
  for (std::int64_t m = 0; m < 6; ++m) {
    std::vector<std::int32_t> tokens;
    for (const auto& document : step.documents) {
      if (document.micro_batch != m) continue;
      const PackedSequence alone = loader->documents_of(document.sequence, std::vector{document.place});
      ASSERT_EQ(static_cast<std::int64_t>(alone.tokens.size()), document.length);
      tokens.insert(tokens.end(), alone.tokens.begin(), alone.tokens.end());
    }
    EXPECT_EQ(read_micro_batch(*loader, step, m).tokens, tokens);
  }
}

TEST_F(StepPlanTest, WorkIsMoreEven) {
  const auto loader = loader_of(config("balanced"));
  const DocumentWork work(config("balanced").model);
  StepSequences sequences = by_work(4, 1, 4);
  const auto busiest = [&](const StepDocuments& step) {
    std::array<double, 4> sums{};
    for (const auto& document : step.documents)
      sums.at(static_cast<std::size_t>(document.micro_batch)) += work.total(document.length);
    return *std::max_element(sums.begin(), sums.end()) * 4 / (sums[0] + sums[1] + sums[2] + sums[3]);
  };
  double before = 0;
  for (int i = 0; i < 5; ++i, sequences.first += 16) {
    sequences.placement = DocumentPlacement::kByWork;
    EXPECT_LE(busiest(documents_of_step(*loader, work, sequences)), 1.01);
    sequences.placement = DocumentPlacement::kAsPacked;
    before = std::max(before, busiest(documents_of_step(*loader, work, sequences)));
  }
  EXPECT_GT(before, 1.02) << "there was nothing to even out";
}

// Every rank plans alone. They agree on documents everywhere, on transfers within a context group, and among them have
// every token and label of the step once.
TEST_F(StepPlanTest, RanksAgree) {
  for (const char* packing : {"documents", "balanced"}) {
    Config c = config(packing);
    c.data.global_batch = 8;
    c.parallel.data = 2;
    c.parallel.context = 3;
    c.parallel.micro_batches = 2;
    const auto loader = loader_of(c);
    std::map<int, StepPlan> plans;
    std::int64_t labels = 0, expected_labels = 0, tokens = 0, expected_tokens = 0;
    for (int rank = 0; rank < 6; ++rank) {
      const RunPlan run = make_run_plan(c, 6, rank, 1);
      StepPlanner planner(*loader, c.model, run.place(c));
      planner.prepare(run.sequences_at(8));
      plans.emplace(rank, planner.take(run.sequences_at(8)));
      labels += plans.at(rank).num_labels;
      tokens += run.mesh_place().context == 0 ? plans.at(rank).num_tokens : 0;
      EXPECT_EQ(plans.at(rank).micro_batches.size(), 2u);
      EXPECT_EQ(planner.take(run.sequences_at(16)).hash,
                plan_step(*loader, c.model, run.place(c), run.sequences_at(16)).hash);
    }
    for (std::int64_t s = 8; s < 16; ++s) {
      const PackedSequence sequence = loader->at(s);
      expected_tokens += static_cast<std::int64_t>(sequence.tokens.size());
      for (const std::int32_t label : sequence.labels) expected_labels += label >= 0 ? 1 : 0;
    }
    EXPECT_EQ(labels, expected_labels);
    EXPECT_EQ(tokens, expected_tokens);
    for (int rank = 1; rank < 6; ++rank) {
      EXPECT_EQ(plans.at(rank).documents_hash, plans.at(0).documents_hash);
      EXPECT_EQ(plans.at(rank).hash == plans.at(0).hash, rank < 3);
    }
  }
}

TEST_F(StepPlanTest, AnotherPlacementHasAnotherHash) {
  const auto loader = loader_of(config("balanced"));
  const DocumentWork work(config("balanced").model);
  std::set<std::uint64_t> hashes;
  StepSequences sequences = by_work(2, 2, 2);
  hashes.insert(documents_of_step(*loader, work, sequences).hash);
  sequences.placement = DocumentPlacement::kAsPacked;
  hashes.insert(documents_of_step(*loader, work, sequences).hash);
  sequences.first = 8;
  hashes.insert(documents_of_step(*loader, work, sequences).hash);
  EXPECT_EQ(hashes.size(), 3u);
}

TEST_F(StepPlanTest, RanksThatDisagreeAreStopped) {
  Config c = config("balanced");
  c.data.global_batch = 4;
  c.parallel.data = 2;
  const auto loader = loader_of(c);
  const auto disagree = [&](Communicator& world) {
    const RunPlan plan = make_run_plan(c, world.size(), world.rank(), 1);
    Mesh mesh(world, plan.layout.mesh);
    const RankDevice device;
    Learner learner(c, plan, mesh, device);
    StepPlan step = plan_step(*loader, c.model, plan.place(c), plan.sequences_at(0));
    if (world.rank() == 1) step.documents_hash ^= 1;
    learner.train(step, 7, 1e-3);
  };
  const std::string fault = fault_of(ErrorKind::kEnvironment, [&] { run_local_ranks(2, {}, disagree); });
  EXPECT_TRUE(contains(fault, "step 7: the ranks placed its documents differently")) << fault;
}

TEST_F(StepPlanTest, OneMicroBatchIsAsPacked) {
  Config c = config("balanced");
  c.data.global_batch = 4;
  c.parallel.micro_batches = 1;
  const RunPlan run = make_run_plan(c, 1, 0, 1);
  EXPECT_EQ(run.sequences_at(0).placement, DocumentPlacement::kAsPacked);
  EXPECT_EQ(run.sequences_at(0).most_tokens, 4 * kLength);
  c.parallel.micro_batches = 2;
  EXPECT_EQ(make_run_plan(c, 1, 0, 1).sequences_at(0).placement, DocumentPlacement::kByWork);
  EXPECT_EQ(make_run_plan(c, 1, 0, 1).sequences_at(0).most_tokens, 2 * kLength * 5 / 4);
  c.data.balance_tokens = 1.001;
  EXPECT_EQ(make_run_plan(c, 1, 0, 1).sequences_at(0).most_tokens, 2 * kLength) << "whole tokens";
  c.data.packing = "documents";
  EXPECT_EQ(make_run_plan(c, 1, 0, 1).sequences_at(0).most_tokens, 2 * kLength);
}

// Pairs of a document counted one by one, layer by layer.
TEST_F(StepPlanTest, WorkCountsWhatIsVisible) {
  const ModelConfig model = config("balanced").model;  // full, window 50, full
  const DocumentWork work(model);
  for (const std::int64_t length : {1, 49, 50, 51, 256}) {
    double pairs = 0;
    for (std::int64_t q = 0; q < length; ++q)
      for (std::int64_t k = 0; k <= q; ++k) pairs += 2 + (q - k < 50 ? 1 : 0);
    EXPECT_DOUBLE_EQ(work.attention(length), 3 * 4 * 2 * 8 * pairs) << length;
    EXPECT_NEAR(work.total(length), training_flops_per_token(model, length) * static_cast<double>(length),
                1e-9 * work.total(length));
  }
}

// More tokens than the packed sequences have, and still within the memory that was foreseen.
TEST_F(StepPlanTest, TheMemoryForeseenHolds) {
  for (const auto& [ranks, pipeline] : {std::pair(2, 1), {4, 1}, {4, 2}}) {
    Config c = config("balanced");
    c.parallel.pipeline = pipeline;
    c.data.global_batch = 8;
    c.parallel.data = 2;
    c.parallel.micro_batches = 2;
    std::vector<std::int64_t> peaks(static_cast<std::size_t>(ranks)), most_tokens(static_cast<std::size_t>(ranks));
    run_local_ranks(ranks, {}, [&](Communicator& world) {
      const RunPlan plan = make_run_plan(c, world.size(), world.rank(), 1);
      Mesh mesh(world, plan.layout.mesh);
      const auto loader = loader_of(c);
      const RankDevice device;
      Learner learner(c, plan, mesh, device);
      for (std::int64_t i = 0; i < 6; ++i) {
        StepPlan step = plan_step(*loader, c.model, plan.place(c), plan.sequences_at(8 * i));
        for (const PlannedMicroBatch& micro_batch : step.micro_batches) {
          auto& most = most_tokens[static_cast<std::size_t>(world.rank())];
          most = std::max(most, micro_batch.plans.front()->problem.num_tokens());
        }
        learner.train(step, i + 1, 1e-3);
      }
      peaks[static_cast<std::size_t>(world.rank())] = learner.peak_bytes();
    });
    EXPECT_GT(*std::max_element(most_tokens.begin(), most_tokens.end()), 2 * kLength);
    for (int rank = 0; rank < ranks; ++rank) {
      const MemoryBudget budget = make_run_plan(c, ranks, rank, 1).budget;
      EXPECT_LE(peaks[static_cast<std::size_t>(rank)], budget.total() - budget.snapshot + 4096) << describe(budget);
    }
  }
}

}  // namespace
}  // namespace longspan
