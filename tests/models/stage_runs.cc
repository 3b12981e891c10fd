#include "tests/models/stage_runs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <optional>
#include <set>

namespace longspan::test {
namespace {

constexpr std::int64_t kArenaBytes = std::int64_t{1} << 28;  // address space only

std::vector<float> values_of(const Tensor& tensor) {
  const float* values = tensor.get<float>();
  return {values, values + tensor.numel()};
}

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  const auto* bytes = static_cast<const std::byte*>(tensor.data);
  return {bytes, bytes + tensor.num_bytes()};
}

// One rank of a pipeline: the model of its stages. Puts a unit's weights where they belong when a pass asks for them.
class Rank {
 public:
  Rank(const ModelConfig& config, DType precision, const std::vector<StageSpan>& stages, const Weights<float>& weights)
      : arena_("weights", kArenaBytes), model(config, precision, Gradients::kKeep, arena_, stages), weights_(weights) {
    EXPECT_EQ(arena_.used_bytes(), weight_bytes(config, stages, precision, Gradients::kKeep));
    take_weights_away();
  }

  void take_weights_away() {
    for (const Parameter& parameter : model.parameters())
      std::fill_n(parameter.master.get<float>(), parameter.master.numel(), std::numeric_limits<float>::quiet_NaN());
    model.refresh_compute(Exec{});
  }

  void bring(std::int64_t unit) {
    const WeightUnit& place = model.units()[static_cast<std::size_t>(unit)];
    for (const Parameter& parameter : model.parameters()) {
      const std::int64_t begin = offset_of(parameter);
      if (begin < place.begin || begin >= place.end) continue;
      EXPECT_LE(begin + parameter.master.numel(), place.end) << parameter.name;
      const std::vector<float>& values = weights_.at(parameter.name);
      std::copy(values.begin(), values.end(), parameter.master.get<float>());
    }
    model.refresh_compute(Exec{});
  }

  std::vector<float> gradients_of(std::int64_t unit) const {
    const WeightUnit& place = model.units()[static_cast<std::size_t>(unit)];
    return values_of(model.all_gradients().narrow(0, place.begin, place.end));
  }

 private:
  std::int64_t offset_of(const Parameter& parameter) const {
    return parameter.gradient.get<float>() - model.all_gradients().get<float>();
  }

  Arena arena_;

 public:
  Model model;

 private:
  const Weights<float>& weights_;
};

// Units of a stage, by name, and those it shares with another of the rank.
struct UnitsOfStage {
  std::set<std::int64_t> own, used;
  std::int64_t layers = 0;

  UnitsOfStage(const Model& model, int index) {
    const StageSpan& span = model.stages()[static_cast<std::size_t>(index)];
    layers = span.layers();
    std::int64_t embedding = -1;
    for (std::size_t u = 0; u < model.units().size(); ++u) {
      const std::string& name = model.units()[u].name;
      const auto unit = static_cast<std::int64_t>(u);
      if (name == "embedding") embedding = unit;
      bool mine = (name == "embedding" && span.embeds) || (name == "head" && span.has_head);
      for (std::int64_t l = span.begin; l < span.end; ++l) mine |= name == "layer " + std::to_string(l);
      if (mine) own.insert(unit);
    }
    used = own;
    if (span.has_head && model.config().tie_embeddings && embedding >= 0) used.insert(embedding);
  }
};

// Weights come when they are asked for; what is done with does not change until the pass ends.
class StrictWatch final : public WeightWatch {
 public:
  StrictWatch(Rank& rank, int stage) : rank_(rank), units_(rank.model, stage) {}

  void before_use(std::int64_t unit) override {
    EXPECT_TRUE(used_.insert(unit).second) << "unit " << unit << " is asked for twice";
    EXPECT_TRUE(units_.used.count(unit)) << "unit " << unit << " is not of this stage";
    rank_.bring(unit);
  }
  void gradients_done(std::int64_t unit) override {
    EXPECT_TRUE(used_.count(unit)) << "unit " << unit << " is done with before it is used";
    EXPECT_TRUE(done_.emplace(unit, rank_.gradients_of(unit)).second) << "unit " << unit << " is done with twice";
  }
  void progress() override { ++progress_; }

  // Between calls of the pass others may use weights and add to the same gradients.
  void begin_call() {
    rank_.take_weights_away();
    for (const std::int64_t unit : used_) rank_.bring(unit);
  }
  void end_call() {
    for (const auto& [unit, gradients] : done_)
      if (fresh_.insert(unit).second) {
        EXPECT_EQ(gradients, rank_.gradients_of(unit)) << "unit " << unit << " was done";
      }
    EXPECT_GE(progress_, units_.layers);
    progress_ = 0;
  }
  void end_evaluation() const {
    EXPECT_EQ(used_, units_.used);
    EXPECT_TRUE(done_.empty());
  }
  void end_pass() const {
    EXPECT_EQ(used_, units_.used);
    std::set<std::int64_t> done;
    for (const auto& [unit, gradients] : done_) done.insert(unit);
    EXPECT_EQ(done, units_.own);
  }

 private:
  Rank& rank_;
  const UnitsOfStage units_;
  std::set<std::int64_t> used_, fresh_;
  std::map<std::int64_t, std::vector<float>> done_;
  int progress_ = 0;
};

// Streams of one micro-batch between stages, and their gradients: n - 1 of each.
struct Boundaries {
  std::vector<Tensor> streams, gradients;

  Boundaries(Arena& arena, const ModelConfig& config, DType precision, std::size_t stages, std::int64_t tokens) {
    const auto stream = [&] {
      return arena.allocate("boundary", MemoryCategory::kTransfers, precision, {tokens, config.hidden});
    };
    for (std::size_t s = 0; s + 1 < stages; ++s) {
      streams.push_back(stream());
      gradients.push_back(stream());
    }
  }
  // Absent at the model's ends.
  Tensor before(const std::vector<Tensor>& of, std::size_t stage) const {
    return stage == 0 ? Tensor() : of[stage - 1];
  }
  Tensor behind(const std::vector<Tensor>& of, std::size_t stage) const {
    return stage < of.size() ? of[stage] : Tensor();
  }
};

// One micro-batch through all stages, in the steps that a schedule has.
class Journey {
 public:
  Journey(std::vector<std::unique_ptr<Rank>>& ranks, const StageSetup& setup, const Exec& exec,
          const PackedTokens& batch, const ModelConfig& config, Communicator& comm)
      : setup_(setup),
        ranks_(ranks),
        exec_(exec),
        plans_(plans_of(config, batch, setup.scheme, setup.ranks)),
        attentions_(config, plans_, setup.precision, comm),
        local_(batch, plans_[0]->home[static_cast<std::size_t>(comm.rank())]),
        boundary_arena_("boundaries", kArenaBytes),
        transient_("transient", kArenaBytes),
        boundaries_(boundary_arena_, config, setup.precision, setup.cut.places.size(), num_tokens()) {
    for (const Cut::Place& place : setup.cut.places) {
      Trip& trip = *trips_.emplace_back(std::make_unique<Trip>(rank(place), place.stage));
      if (config.offload == Offload::kActivations) trip.offload.emplace(host_runtime());
      const StageCall call{exec_, local_.batch(), attentions_.by_pattern(), &trip.watch,
                           trip.offload ? &*trip.offload : nullptr};
      trip.pass = std::make_unique<StagePass>(rank(place).model, place.stage, call, PassMemory{trip.kept, transient_},
                                              setup.backward);
    }
  }

  std::int64_t num_tokens() const { return static_cast<std::int64_t>(local_.tokens.size()); }

  void forward() {
    for (std::size_t s = 0; s < trips_.size(); ++s) {
      Trip& trip = *trips_[s];
      trip.watch.begin_call();
      trip.pass->forward(input(s), output(s));
      EXPECT_EQ(transient_.used_bytes(), 0);
      trip.watch.end_call();
      if (input(s)) trip.input = bytes_of(input(s));
    }
  }

  // The whole backward, or its first half.
  void backward(float grad_scale, const Tensor& totals) {
    for (std::size_t s = trips_.size(); s-- > 0;) {
      Trip& trip = *trips_[s];
      trip.watch.begin_call();
      // What has been sent is nobody's any more.
      if (output(s)) std::fill_n(static_cast<unsigned char*>(output(s).data), output(s).num_bytes(), 0x7f);
      const StagePass::Gradient gradient{boundaries_.behind(boundaries_.gradients, s),
                                         boundaries_.before(boundaries_.gradients, s), grad_scale,
                                         s + 1 == trips_.size() ? totals : Tensor()};
      if (gradient.doutput) trip.doutput = bytes_of(gradient.doutput);
      if (setup_.backward == BackwardKind::kWhole)
        trip.pass->backward(gradient);
      else
        trip.pass->input_gradient(gradient);
      EXPECT_EQ(transient_.used_bytes(), 0);
      if (input(s)) {
        EXPECT_EQ(trip.input, bytes_of(input(s))) << "a stage's input changed";
      }
      if (gradient.doutput && setup_.backward == BackwardKind::kHalves) {
        EXPECT_EQ(trip.doutput, bytes_of(gradient.doutput)) << "the gradient of a stage's output changed";
      }
      trip.watch.end_call();
    }
  }

  void weights() {
    for (std::size_t s = trips_.size(); s-- > 0;) {
      Trip& trip = *trips_[s];
      trip.watch.begin_call();
      // Of the stage's ends nothing is needed but the gradient of the output.
      if (input(s)) std::fill_n(static_cast<unsigned char*>(input(s).data), input(s).num_bytes(), 0x7f);
      const std::int64_t kept = trip.kept.peak_bytes(), transient = transient_.peak_bytes();
      trip.pass->weight_gradient();
      EXPECT_EQ(trip.kept.peak_bytes(), kept) << "weight gradients take memory";
      EXPECT_EQ(transient_.peak_bytes(), transient) << "weight gradients take memory";
      trip.watch.end_call();
    }
  }

  void end() {
    for (const auto& trip : trips_) {
      trip->watch.end_pass();
      trip->pass.reset();
      EXPECT_EQ(trip->kept.used_bytes(), 0);
    }
  }

  void evaluate(const Tensor& totals) {
    for (std::size_t s = 0; s < trips_.size(); ++s) {
      const Cut::Place& place = setup_.cut.places[s];
      StrictWatch watch(rank(place), place.stage);
      watch.begin_call();
      Arena arena("evaluation", kArenaBytes);
      const StageCall call{exec_, local_.batch(), attentions_.by_pattern(), &watch};
      const std::vector<std::byte> before = input(s) ? bytes_of(input(s)) : std::vector<std::byte>();
      rank(place).model.evaluate_stage(call, place.stage, input(s), output(s),
                                       s + 1 == trips_.size() ? totals : Tensor(), arena);
      if (input(s)) {
        EXPECT_EQ(before, bytes_of(input(s))) << "a stage's input changed";
      }
      EXPECT_EQ(arena.used_bytes(), 0);
      watch.end_evaluation();
      evaluated_.push_back(arena.peak_bytes());
    }
  }

  void report(StageResult& result) const {
    const Model& any = ranks_.front()->model;
    std::int64_t transient = 0;
    for (std::size_t s = 0; s < trips_.size(); ++s) {
      const Model& model = rank(setup_.cut.places[s]).model;
      const StageSpan& span = model.stages()[static_cast<std::size_t>(setup_.cut.places[s].stage)];
      result.taken.insert(result.taken.end(), {trips_[s]->kept.peak_bytes(), evaluated_[s]});
      result.predicted.insert(result.predicted.end(),
                              {kept_bytes(any.config(), span, setup_.precision, num_tokens(), setup_.backward),
                               evaluation_bytes(any.config(), span, setup_.precision, num_tokens())});
      transient =
          std::max(transient, transient_bytes(any.config(), span, setup_.precision, num_tokens(), setup_.backward));
    }
    result.taken.push_back(transient_.peak_bytes());
    result.predicted.push_back(transient);
  }

 private:
  struct Trip {
    Trip(Rank& rank, int stage) : kept("kept", kArenaBytes), watch(rank, stage) {}
    Arena kept;
    StrictWatch watch;
    std::optional<ActivationOffload> offload;
    std::unique_ptr<StagePass> pass;
    std::vector<std::byte> input, doutput;
  };

  Rank& rank(const Cut::Place& place) const { return *ranks_[static_cast<std::size_t>(place.rank)]; }
  Tensor input(std::size_t stage) const { return boundaries_.before(boundaries_.streams, stage); }
  Tensor output(std::size_t stage) const { return boundaries_.behind(boundaries_.streams, stage); }

  const StageSetup& setup_;
  std::vector<std::unique_ptr<Rank>>& ranks_;
  const Exec& exec_;
  const ContextPlans plans_;
  const Attentions attentions_;
  LocalTokens local_;
  Arena boundary_arena_, transient_;
  const Boundaries boundaries_;
  std::vector<std::unique_ptr<Trip>> trips_;
  std::vector<std::int64_t> evaluated_;
};

void run_in_order(std::vector<std::unique_ptr<Journey>>& journeys, const StageSetup& setup, float grad_scale,
                  const Tensor& totals) {
  const bool halves = setup.backward == BackwardKind::kHalves;
  const auto backward = [&](auto& journey) { journey->backward(grad_scale, totals); };
  switch (setup.order) {
    case Order::kOneByOne:
      for (auto& journey : journeys) {
        journey->forward();
        backward(journey);
        if (halves) journey->weights();
      }
      return;
    case Order::kForwardFirst:
      for (auto& journey : journeys) journey->forward();
      for (auto& journey : journeys) {
        backward(journey);
        if (halves) journey->weights();
      }
      return;
    case Order::kWeightsLast:
      for (auto& journey : journeys) journey->forward();
      for (auto& journey : journeys) backward(journey);
      for (auto& journey : journeys) journey->weights();
      return;
    case Order::kWeightsDelayed:
      for (std::size_t m = 0; m < journeys.size(); ++m) {
        journeys[m]->forward();
        backward(journeys[m]);
        if (m > 0) journeys[m - 1]->weights();
      }
      journeys.back()->weights();
      return;
  }
}

float grad_scale_of(const std::vector<PackedTokens>& micro_batches) {
  std::int64_t labels = 0;
  for (const PackedTokens& batch : micro_batches) labels += count_labels(batch);
  return labels > 0 ? 1 / static_cast<float>(labels) : 0;
}

Weights<float> gradients_of(Model& model) {
  Weights<float> gradients;
  for (const Parameter& parameter : model.parameters()) gradients[parameter.name] = values_of(parameter.gradient);
  return gradients;
}

}  // namespace

Cut random_cut(const ModelConfig& config, Alone alone, std::mt19937& random) {
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  std::vector<std::int64_t> bounds = {0, config.layers};
  for (std::int64_t l = 1; l < config.layers; ++l)
    if (below(2) == 0) bounds.push_back(l);
  if (alone == Alone::kPerhaps && below(2) == 0) bounds.push_back(0);
  if (alone == Alone::kPerhaps && below(2) == 0) bounds.push_back(config.layers);
  std::sort(bounds.begin(), bounds.end());

  Cut cut;
  cut.ranks.resize(static_cast<std::size_t>(1 + below(3)));
  const std::size_t stages = bounds.size() - 1;
  for (std::size_t s = 0; s < stages; ++s) {
    auto rank = static_cast<std::size_t>(below(static_cast<std::int64_t>(cut.ranks.size())));
    if (s < cut.ranks.size()) rank = s;  // none without a stage
    cut.places.push_back({static_cast<int>(rank), static_cast<int>(cut.ranks[rank].size())});
    cut.ranks[rank].push_back({bounds[s], bounds[s + 1], s == 0, s + 1 == stages});
  }
  cut.ranks.resize(std::min(cut.ranks.size(), stages));
  return cut;
}

std::string describe(const Cut& cut) {
  std::string text;
  for (const auto& stages : cut.ranks) {
    text += "[";
    for (const StageSpan& span : stages)
      text += fmt::format("{}{}-{}{} ", span.embeds ? "e" : "", span.begin, span.end, span.has_head ? "h" : "");
    text += "]";
  }
  return text;
}

StageResult run_stages(const ModelConfig& config, const Weights<float>& weights,
                       const std::vector<PackedTokens>& micro_batches, const StageSetup& setup) {
  StageResult result;
  result.gradients.resize(setup.cut.ranks.size());
  std::mutex mutex;
  run_local_ranks(setup.ranks, {.timeout_ms = 60'000}, [&](Communicator& comm) {
    Arena scratch("scratch", kArenaBytes);
    const Exec exec{.workspace = &scratch};
    std::vector<std::unique_ptr<Rank>> ranks;
    for (const auto& stages : setup.cut.ranks)
      ranks.push_back(std::make_unique<Rank>(config, setup.precision, stages, weights));
    std::vector<std::unique_ptr<Journey>> journeys;
    for (const PackedTokens& batch : micro_batches)
      journeys.push_back(std::make_unique<Journey>(ranks, setup, exec, batch, config, comm));

    std::vector<double> sums(4);
    const Tensor trained(sums.data(), DType::kF64, {2}), evaluated(sums.data() + 2, DType::kF64, {2});
    run_in_order(journeys, setup, grad_scale_of(micro_batches), trained);
    for (auto& journey : journeys) journey->end();
    for (auto& journey : journeys) journey->evaluate(evaluated);
    EXPECT_EQ(scratch.used_bytes(), 0);

    comm.all_reduce(std::span<double>(sums), ReduceOp::kSum);
    for (const auto& rank : ranks) comm.all_reduce(rank->model.all_gradients(), ReduceOp::kSum);
    if (comm.rank() != 0) return;
    const std::lock_guard lock(mutex);
    result.loss = sums[0];
    result.num_tokens = static_cast<std::int64_t>(sums[1]);
    result.evaluated_loss = sums[2];
    for (std::size_t r = 0; r < ranks.size(); ++r) result.gradients[r] = gradients_of(ranks[r]->model);
    journeys.front()->report(result);
  });
  return result;
}

StageResult run_whole(const ModelConfig& config, const Weights<float>& weights,
                      const std::vector<PackedTokens>& micro_batches, const StageSetup& setup) {
  StageResult result;
  std::mutex mutex;
  run_local_ranks(setup.ranks, {.timeout_ms = 60'000}, [&](Communicator& comm) {
    Arena scratch("scratch", kArenaBytes), weight_arena("weights", kArenaBytes), activations("all", kArenaBytes);
    const Exec exec{.workspace = &scratch};
    Model model(config, setup.precision, Gradients::kKeep, weight_arena);
    set_weights(model, exec, weights);
    std::vector<double> sums(4);
    const Tensor trained(sums.data(), DType::kF64, {2}), evaluated(sums.data() + 2, DType::kF64, {2});
    for (const PackedTokens& batch : micro_batches) {
      const ContextPlans plans = plans_of(config, batch, setup.scheme, setup.ranks);
      const Attentions attentions(config, plans, setup.precision, comm);
      LocalTokens local(batch, plans[0]->home[static_cast<std::size_t>(comm.rank())]);
      model.forward_backward(exec, local.batch(), attentions.by_pattern(), grad_scale_of(micro_batches), trained,
                             activations);
      model.evaluate(exec, local.batch(), attentions.by_pattern(), evaluated, activations);
    }
    comm.all_reduce(std::span<double>(sums), ReduceOp::kSum);
    comm.all_reduce(model.all_gradients(), ReduceOp::kSum);
    if (comm.rank() != 0) return;
    const std::lock_guard lock(mutex);
    result.loss = sums[0];
    result.num_tokens = static_cast<std::int64_t>(sums[1]);
    result.evaluated_loss = sums[2];
    result.gradients = {gradients_of(model)};
  });
  return result;
}

}  // namespace longspan::test
