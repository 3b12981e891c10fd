#include "trainer/loop/run_state.h"

#include <array>

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

std::vector<NamedTensor> training_tensors(std::span<Parameter> parameters, const Optimizer& optimizer) {
  std::vector<NamedTensor> tensors = weight_tensors(parameters);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    tensors.push_back({"adam_m/" + parameters[i].name, parameters[i].shape, optimizer.moments()[i].m});
    tensors.push_back({"adam_v/" + parameters[i].name, parameters[i].shape, optimizer.moments()[i].v});
  }
  return tensors;
}

std::optional<CheckpointState> resume_run(const Config& config, std::uint64_t data_fingerprint, Communicator& world,
                                          const std::vector<NamedTensor>& tensors, const Exec& exec,
                                          const std::function<void(const std::string&)>& report) {
  CheckpointState state;
  std::array<std::int64_t, 3> numbers = {0, 0, 0};  // found, step, sequences consumed
  if (world.rank() == 0)
    if (const auto path = checkpoint_to_resume(config, report)) {
      state = read_checkpoint_header(*path);
      require_same_data(state, *path, data_fingerprint);
      read_checkpoint_tensors(*path, tensors, exec);
      report(fmt::format("resuming from {}", *path));
      numbers = {1, state.step, state.sequences_consumed};
    }
  world.broadcast(Tensor(numbers.data(), DType::kI64, {3}), 0);
  if (numbers[0] == 0) return std::nullopt;
  for (const NamedTensor& t : tensors) world.broadcast(t.tensor, 0);
  state.step = numbers[1];
  state.sequences_consumed = numbers[2];
  state.tensors.clear();
  return state;
}

}  // namespace longspan
