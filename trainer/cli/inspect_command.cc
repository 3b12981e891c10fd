// longspan inspect: says what a path is - checkpoint, run or token file - and whether it is whole.
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>

#include "trainer/checkpoint/checkpoint.h"
#include "trainer/cli/checkpoint_argument.h"
#include "trainer/cli/commands.h"
#include "trainer/data/token_file.h"
#include "trainer/launch/launch.h"

namespace longspan {
namespace {

namespace fs = std::filesystem;

std::string verdict_of(const CheckpointInfo& info) {
  return info.whole ? "whole" : "refused: " + info.fault;
}

int inspect_checkpoint(const CheckpointInfo& info) {
  fmt::print("{}: checkpoint of step {}, {}\n", info.path, info.step, verdict_of(info));
  if (!info.whole) return kExitData;
  const CheckpointState state = read_checkpoint_header(info.path);
  std::int64_t elements = 0;
  for (const NamedTensor& t : state.tensors) elements += t.numel();
  fmt::print("sequences consumed  {}\ndata fingerprint    {:016x}\ntensors             {}, {} elements\n",
             state.sequences_consumed, state.data_fingerprint, state.tensors.size(), elements);
  for (const NamedTensor& t : state.tensors) fmt::print("  {} [{}]\n", t.name, fmt::join(t.shape, ", "));
  return kExitOk;
}

// The last complete line that tells of a training step; null: none.
nlohmann::json last_step(const std::string& metrics) {
  std::ifstream file(metrics);
  nlohmann::json last;
  for (std::string line; std::getline(file, line) && !file.eof();) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object() && json.contains("step") && json.contains("loss")) last = json;
  }
  return last;
}

int inspect_run(const std::string& path) {
  const nlohmann::json last = last_step(path + "/metrics.jsonl");
  if (last.is_null())
    fmt::print("{}: run without a step\n", path);
  else
    fmt::print("{}: run of {} steps, loss {}\n", path, last["step"].dump(), last["loss"].dump());
  for (const CheckpointInfo& info : list_checkpoints(checkpoint_folder_in(path)))
    fmt::print("  {} {}\n", fs::path(info.path).filename().string(), verdict_of(info));
  return kExitOk;
}

int inspect_tokens(const std::string& path) {
  const TokenFile file(path);
  fmt::print("{}: token file of {} documents, {} tokens\ntokenizer   {} ({} tokens, hash {:016x})\n", path,
             file.num_documents(), file.num_tokens(), file.tokenizer_name(), file.vocab(), file.tokenizer_hash());
  std::int64_t longest = 0;
  for (std::int64_t d = 0; d < file.num_documents(); ++d) longest = std::max(longest, file.document_length(d));
  fmt::print("longest     {} tokens\n", longest);
  file.verify();
  fmt::print("contents    whole (hash {:016x})\n", file.content_hash());
  return kExitOk;
}

int inspect(const std::string& path) {
  LS_REQUIRE(kData, fs::exists(path), "{}: there is no such file or folder", path);
  if (!fs::is_directory(path)) return inspect_tokens(path);
  const CheckpointInfo info = verify_checkpoint(path);
  if (info.step >= 0) return inspect_checkpoint(info);
  LS_REQUIRE(kData, fs::exists(path + "/metrics.jsonl") || !list_checkpoints(checkpoint_folder_in(path)).empty(),
             "{}: neither a checkpoint (step-NNNNNNNN) nor a run (metrics.jsonl, checkpoints)", path);
  return inspect_run(path);
}

}  // namespace

void add_inspect_command(CLI::App& app, Action& action) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("inspect", "Say what a file or folder is, and whether it is whole");
  command->add_option("PATH", *path, "A checkpoint, a run's folder or a token file")->required();
  command->callback([path, &action] { action = [path] { return inspect(*path); }; });
}

}  // namespace longspan
