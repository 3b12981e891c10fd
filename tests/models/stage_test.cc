// The stages of a rank: which there may be, which weights they have and how those lie.
#include <gtest/gtest.h>

#include <map>

#include "tests/models/stage_runs.h"

namespace longspan::test {
namespace {

constexpr std::int64_t kArenaBytes = std::int64_t{1} << 28;

ModelConfig config_of(std::int64_t layers) {
  ModelConfig config = tiny_config();
  config.layers = layers;
  config.pattern.resize(2);
  config.pattern[1].sink = true;
  return config;
}

TEST(CheckStages, RefusesWhatCannotBeComputedOrIsTwice) {
  const ModelConfig config = config_of(4);
  const auto complaint = [&](const std::vector<StageSpan>& stages) -> std::string {
    try {
      check_stages(config, stages);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(complaint({whole_model(config)}), "");
  EXPECT_EQ(complaint({{0, 0, true, false}, {0, 4}, {4, 4, false, true}}), "");
  EXPECT_EQ(complaint({{2, 4, false, true}, {0, 1, true}}), "") << "in any order";
  const std::vector<std::pair<std::vector<StageSpan>, std::string>> wrong = {
      {{}, "a model of no stage"},
      {{{2, 1}}, "stage of layers 2 to 1: the model has 4"},
      {{{-1, 2}}, "stage of layers -1 to 2: the model has 4"},
      {{{3, 5}}, "stage of layers 3 to 5: the model has 4"},
      {{{2, 2}}, "stage of layers 2 to 2: nothing to compute"},
      {{{1, 2, true}}, "stage of layers 1 to 2: the embedding comes before the first layer"},
      {{{0, 3, true, true}}, "stage of layers 0 to 3: the head comes behind the last of 4"},
      {{{0, 2}, {1, 3}}, "stage of layers 1 to 3: overlaps that of 0 to 2"},
      {{{0, 0, true}, {0, 2, true}}, "stage of layers 0 to 2: overlaps that of 0 to 0"},
      {{{4, 4, false, true}, {2, 4, false, true}}, "stage of layers 2 to 4: overlaps that of 4 to 4"},
  };
  for (const auto& [stages, text] : wrong) EXPECT_EQ(complaint(stages).find(text), 0u) << complaint(stages);
}

// What one rank has: the name of each unit, and the names of its weights.
std::vector<std::pair<std::string, std::vector<std::string>>> units_of(Model& model) {
  std::vector<std::pair<std::string, std::vector<std::string>>> units;
  std::int64_t end = 0;
  for (const WeightUnit& unit : model.units()) {
    EXPECT_EQ(unit.begin, end) << unit.name;
    EXPECT_EQ(unit.end % 32, 0) << "a cache line of bf16";
    end = unit.end;
    auto& names = units.emplace_back(unit.name, std::vector<std::string>()).second;
    for (const Parameter& parameter : model.parameters()) {
      const std::int64_t begin = parameter.gradient.get<float>() - model.all_gradients().get<float>();
      if (unit.begin <= begin && begin < unit.end) names.push_back(parameter.name);
      EXPECT_FALSE(begin < unit.end && begin + parameter.gradient.numel() > unit.end) << parameter.name;
    }
  }
  EXPECT_EQ(end, model.all_gradients().numel());
  return units;
}

TEST(WeightUnits, LieOneBehindAnotherAndHoldEachWeightOnce) {
  std::mt19937 random(2);
  for (int trial = 0; trial < 100; ++trial) {
    ModelConfig config = config_of(1 + static_cast<std::int64_t>(random() % 6));
    config.tie_embeddings = trial % 2 == 0;
    const Cut cut = random_cut(config, Alone::kPerhaps, random);
    SCOPED_TRACE(describe(cut));
    std::map<std::string, int> found;
    std::int64_t parameters = 0;
    for (const auto& stages : cut.ranks) {
      Arena arena("weights", kArenaBytes);
      Model model(config, DType::kBF16, Gradients::kKeep, arena, stages);
      EXPECT_EQ(arena.used_bytes(), weight_bytes(config, stages, DType::kBF16, Gradients::kKeep));
      std::int64_t count = 0, in_units = 0;
      for (const Parameter& parameter : model.parameters()) {
        ++found[parameter.name];
        count += parameter.master.numel();
      }
      EXPECT_EQ(count, count_parameters(config, stages));
      parameters += count;
      for (const auto& [name, weights] : units_of(model)) {
        in_units += static_cast<std::int64_t>(weights.size());
        const std::string number = name.starts_with("layer ") ? name.substr(6) : "none";
        for (const std::string& weight : weights)
          EXPECT_EQ(weight.starts_with("model.layers." + number + "."), weight.starts_with("model.layers.")) << weight;
      }
      EXPECT_EQ(in_units, static_cast<std::int64_t>(model.parameters().size()));
    }
    const bool copied = config.tie_embeddings && found["model.embed_tokens.weight"] == 2;
    EXPECT_EQ(parameters, count_parameters(config) + (copied ? config.vocab * config.hidden : 0));
    for (const auto& [name, count] : found)
      EXPECT_EQ(count, copied && name == "model.embed_tokens.weight" ? 2 : 1) << name;
  }
}

TEST(WeightUnits, OfTheHeadHoldItsWeightWhereverThatIsTheRanksOwn) {
  using Names = std::vector<std::string>;
  const StageSpan front{0, 1, true, false}, back{2, 2, false, true};
  ModelConfig config = config_of(2);
  const auto head_of = [&](const std::vector<StageSpan>& stages) -> Names {
    Arena arena("weights", kArenaBytes);
    Model model(config, DType::kF32, Gradients::kKeep, arena, stages);
    const auto units = units_of(model);
    EXPECT_EQ(units.back().first, "head");
    return units.back().second;
  };
  EXPECT_EQ(head_of({front, back}), (Names{"model.norm.weight", "lm_head.weight"}));
  config.tie_embeddings = true;
  EXPECT_EQ(head_of({front, back}), (Names{"model.norm.weight"}));
  EXPECT_EQ(head_of({back}), (Names{"model.norm.weight", "model.embed_tokens.weight"}));
}

TEST(Stages, BeginWithTheWeightsOfTheWhole) {
  ModelConfig config = config_of(4);
  config.tie_embeddings = true;
  Arena arena("weights", kArenaBytes);
  Model whole(config, DType::kF32, Gradients::kNone, arena);
  whole.initialize(Exec{}, 3);
  const auto values = [](const Parameter& parameter) {
    const float* first = parameter.master.get<float>();
    return std::vector<float>(first, first + parameter.master.numel());
  };
  std::map<std::string, std::vector<float>> expected;
  for (const Parameter& parameter : whole.parameters()) expected[parameter.name] = values(parameter);
  for (const std::vector<StageSpan>& stages :
       {std::vector<StageSpan>{{0, 1, true}, {2, 3}}, {{1, 2}, {3, 4, false, true}}}) {
    Model part(config, DType::kF32, Gradients::kNone, arena, stages);
    part.initialize(Exec{}, 3);
    for (const Parameter& parameter : part.parameters())
      EXPECT_EQ(values(parameter), expected.at(parameter.name)) << parameter.name;
  }
}

// A pass through the last layers of a model, from the second on.
class LastLayers : public testing::Test {
 protected:
  LastLayers() : weights_("weights", kArenaBytes), kept_("kept", kArenaBytes), transient_("transient", kArenaBytes) {}

  void with_pass(BackwardKind kind, const std::function<void(StagePass&, const Tensor& input)>& body,
                 Gradients gradients = Gradients::kKeep, WeightWatch* watch = nullptr) {
    const PackedTokens batch = packed_tokens({0, 9}, config_.vocab);
    run_local_ranks(1, {.timeout_ms = 60'000}, [&](Communicator& comm) {
      Arena scratch("scratch", kArenaBytes);
      const Exec exec{.workspace = &scratch};
      Model model(config_, DType::kF32, gradients, weights_, {{1, config_.layers, false, true}});
      model.initialize(exec, 1);
      const ContextPlans plans = plans_of(config_, batch, "ring", 1);
      const Attentions attentions(config_, plans, DType::kF32, comm);
      LocalTokens local(batch, plans[0]->home[0]);
      StagePass pass(model, 0, {exec, local.batch(), attentions.by_pattern(), watch}, {kept_, transient_}, kind);
      const Tensor input =
          weights_.allocate_zeroed("input", MemoryCategory::kActivations, DType::kF32, {9, config_.hidden});
      body(pass, input);
    });
  }

  ModelConfig config_ = config_of(2);
  Arena weights_, kept_, transient_;
};

// What a pass has kept when each unit comes to its turn.
class KeptSoFar final : public WeightWatch {
 public:
  explicit KeptSoFar(const Arena& arena) : arena_(arena) {}
  void before_use(std::int64_t) override { bytes.push_back(arena_.used_bytes()); }
  std::vector<std::int64_t> bytes;

 private:
  const Arena& arena_;
};

TEST_F(LastLayers, OfThemTheFirstRecompute) {
  config_.layers = 5;
  config_.recompute = Recompute::kSelective;
  config_.recompute_layers = 3;
  KeptSoFar kept(kept_);
  with_pass(
      BackwardKind::kWhole, [](StagePass& pass, const Tensor& x) { pass.forward(x, {}); }, Gradients::kKeep, &kept);
  ASSERT_EQ(kept.bytes.size(), 4u);
  EXPECT_EQ(kept.bytes[0], kept.bytes[1]);
  EXPECT_EQ(kept.bytes[1], kept.bytes[2]);
  EXPECT_EQ(kept.bytes[2], kept.bytes[3]) << "the third of them has kept something";
  EXPECT_GT(kept_.peak_bytes(), kept.bytes[3]) << "the fourth has kept nothing";
}

TEST_F(LastLayers, RefuseMisuse) {
  const auto gradient = [](const Tensor& dinput) { return StagePass::Gradient{{}, dinput, 1, {}}; };
  with_pass(BackwardKind::kWhole, [&](StagePass& pass, const Tensor& x) {
    EXPECT_THROW(pass.backward(gradient(x)), Error) << "before forward";
  });
  with_pass(BackwardKind::kWhole,
            [&](StagePass& pass, const Tensor&) { EXPECT_THROW(pass.forward({}, {}), Error) << "no input"; });
  with_pass(BackwardKind::kWhole, [&](StagePass& pass, const Tensor& x) {
    EXPECT_THROW(pass.forward(x, x), Error) << "an output where the head is";
  });
  with_pass(BackwardKind::kWhole, [&](StagePass& pass, const Tensor& x) {
    pass.forward(x, {});
    EXPECT_THROW(pass.input_gradient(gradient(x)), Error) << "half of a whole";
    EXPECT_THROW(pass.weight_gradient(), Error);
    EXPECT_THROW(pass.backward(gradient({})), Error) << "nowhere to write";
  });
  with_pass(BackwardKind::kHalves, [&](StagePass& pass, const Tensor& x) {
    pass.forward(x, {});
    EXPECT_THROW(pass.backward(gradient(x)), Error) << "a whole of halves";
    EXPECT_THROW(pass.weight_gradient(), Error) << "before the inputs' half";
  });
  const auto nothing = [](StagePass&, const Tensor&) { FAIL() << "made all the same"; };
  EXPECT_THROW(with_pass(BackwardKind::kWhole, nothing, Gradients::kNone), Error);
  config_.recompute = Recompute::kSelective;
  config_.offload = Offload::kActivations;
  EXPECT_THROW(with_pass(BackwardKind::kWhole, nothing), Error) << "no offload given";
}

TEST(Model, OfSomeStagesIsNotTakenForAWhole) {
  const ModelConfig config = config_of(2);
  Arena arena("weights", kArenaBytes);
  Model model(config, DType::kF32, Gradients::kKeep, arena, {{0, 1, true}, {1, 2, false, true}});
  std::vector<ContextAttention*> none(2);
  EXPECT_THROW(model.evaluate(Exec{}, {}, none, {}, arena), Error);
  EXPECT_THROW(model.forward_backward(Exec{}, {}, none, 1, {}, arena), Error);
}

}  // namespace
}  // namespace longspan::test
