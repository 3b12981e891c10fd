#include "trainer/loop/run_state.h"

#include <array>

#include "models/parameters.h"

namespace longspan {
namespace {

std::optional<std::string> checkpoint_to_resume(const Config& config,
                                                const std::function<void(const std::string&)>& report) {
  const auto newest = newest_checkpoint(config.checkpoint_folder(), [&](const CheckpointInfo& info) {
    report(fmt::format("checkpoint {} is refused: {}", info.path, info.fault));
  });
  LS_REQUIRE(kUsage, config.checkpoint.resume || !newest,
             "checkpoint.resume is false, but {} is there from an earlier run; choose another run.name, or remove it",
             newest.value_or(""));
  return newest;
}

void require_same_data(const CheckpointState& state, const std::string& path, std::uint64_t fingerprint) {
  LS_REQUIRE(kData, state.data_fingerprint == fingerprint,
             "{}: was trained on other data, or on the same in another order (fingerprint {:016x}, now {:016x}); bring "
             "back its data section and run.seed, or choose another run.name",
             path, state.data_fingerprint, fingerprint);
}

}  // namespace

std::vector<NamedTensor> weight_tensors(std::span<Parameter> parameters) {
  std::vector<NamedTensor> tensors;
  for (const Parameter& p : parameters) tensors.push_back({"weights/" + p.name, p.shape, p.master});
  return tensors;
}

std::vector<NamedTensor> training_state(const ModelConfig& config) {
  std::vector<NamedTensor> tensors;
  const std::vector<ParameterSpec> specs = parameter_specs(config);
  for (const ParameterSpec& spec : specs) tensors.push_back({"weights/" + spec.name, spec.shape, {}});
  for (const ParameterSpec& spec : specs)
    for (const char* kind : {"adam_m/", "adam_v/"}) tensors.push_back({kind + spec.name, spec.shape, {}});
  return tensors;
}

std::vector<StatePiece> training_pieces(Model& model, const Optimizer& optimizer, int replica) {
  std::vector<StatePiece> pieces;
  for (std::size_t i = 0; i < optimizer.pieces().size(); ++i) {
    const WeightPiece& piece = optimizer.pieces()[i];
    const Parameter& parameter = model.parameters()[static_cast<std::size_t>(piece.parameter)];
    const bool brings = !parameter.tied_copy && (model.is_sharded() || replica == 0);
    const StateRole role = brings ? StateRole::kBrings : StateRole::kTakes;
    pieces.push_back({"weights/" + parameter.name, piece.range, piece.master, role});
    pieces.push_back({"adam_m/" + parameter.name, piece.range, optimizer.moments()[i].m, role});
    pieces.push_back({"adam_v/" + parameter.name, piece.range, optimizer.moments()[i].v, role});
  }
  return pieces;
}

RunState::RunState(Communicator& world, Model& model, const Optimizer& optimizer, int replica, const Exec& exec)
    : world_(world),
      exec_(exec),
      exchange_(world, training_state(model.config()), training_pieces(model, optimizer, replica), exec) {}

void RunState::save(CheckpointWriter* writer, CheckpointState state) const {
  LS_CHECK((writer != nullptr) == (world_.rank() == 0), "rank 0 writes checkpoints, and no other");
  // All ranks alike: those with nothing to bring are not waited for, and wait for nobody.
  if (writer == nullptr) return exchange_.gather({});
  if (exchange_.all_is_here()) {
    state.tensors = exchange_.tensors_here();
    return writer->save(state, exec_);
  }
  state.tensors = exchange_.tensors();
  writer->save(state, *exec_.runtime, [&](std::span<const NamedTensor> room) {
    exchange_.gather([&](std::size_t tensor) { return room[tensor].tensor; });
  });
}

std::optional<CheckpointState> RunState::resume(const Config& config, std::uint64_t data_fingerprint,
                                                const std::function<void(const std::string&)>& report) const {
  CheckpointState state;
  std::optional<CheckpointReader> reader;
  std::array<std::int64_t, 3> numbers = {0, 0, 0};  // found, step, sequences consumed
  if (world_.rank() == 0)
    if (const auto path = checkpoint_to_resume(config, report)) {
      state = read_checkpoint_header(*path);
      require_same_data(state, *path, data_fingerprint);
      reader.emplace(*path);
      report(fmt::format("resuming from {}", *path));
      numbers = {1, state.step, state.sequences_consumed};
    }
  world_.broadcast(Tensor(numbers.data(), DType::kI64, {3}), 0);
  if (numbers[0] == 0) return std::nullopt;
  exchange_.scatter([&](std::size_t tensor, const Tensor& into) {
    NamedTensor wanted = exchange_.tensors()[tensor];
    wanted.tensor = into;
    reader->read(wanted);
  });
  state.step = numbers[1];
  state.sequences_consumed = numbers[2];
  state.tensors.clear();
  return state;
}

}  // namespace longspan
