// longspan generate: text from a checkpoint, token by token.
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <thread>

#include "models/generator.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/cli/checkpoint_argument.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/console.h"
#include "trainer/config/config.h"
#include "trainer/data/tokenizer.h"
#include "trainer/launch/launch.h"
#include "trainer/launch/rank_device.h"
#include "trainer/loop/precision.h"
#include "trainer/loop/run_state.h"

namespace longspan {
namespace {

struct GenerateOptions {
  std::string checkpoint, prompt, device = "auto";
  std::int64_t max_new = 200;
  Sampling sampling;
};

// Prints text as its tokens come. A token may end inside a character, so what is new is told from the whole.
class TextPrinter {
 public:
  explicit TextPrinter(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  void add(std::int32_t token) {
    if (token == tokenizer_.end_id()) return;
    tokens_.push_back(token);
    const std::string text = tokenizer_.decode(tokens_);
    if (text.size() <= printed_) return;
    std::fwrite(text.data() + printed_, 1, text.size() - printed_, stdout);
    std::fflush(stdout);
    printed_ = text.size();
  }

 private:
  const Tokenizer& tokenizer_;
  std::vector<std::int32_t> tokens_;
  std::size_t printed_ = 0;
};

// As training saw documents: the text's tokens, nothing before them.
std::vector<std::int32_t> prompt_tokens(const Tokenizer& tokenizer, const std::string& prompt) {
  std::vector<std::int32_t> ids;
  tokenizer.encode(prompt, ids);
  LS_REQUIRE(kUsage, !ids.empty(), "--prompt is empty; give at least one character to go on from");
  return ids;
}

int run_generate(const GenerateOptions& options) {
  Console console;
  const std::string path = find_checkpoint(options.checkpoint, [&](const std::string& text) { console.warn(text); });
  const CheckpointState state = read_checkpoint_header(path);
  const Config config = parse_config(state.config_yaml, path + "/config.yaml", {});
  const auto tokenizer = make_tokenizer(config.data.tokenizer);
  LS_REQUIRE(kData, tokenizer->vocab_size() <= config.model.vocab, "{}: its tokenizer {} has {} tokens, its model {}",
             path, tokenizer->name(), tokenizer->vocab_size(), config.model.vocab);
  const std::vector<std::int32_t> prompt = prompt_tokens(*tokenizer, options.prompt);

  const DType precision = precision_of(config.run);
  const std::int64_t max_tokens = static_cast<std::int64_t>(prompt.size()) + options.max_new;
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int threads = config.run.threads > 0 ? static_cast<int>(config.run.threads) : cores;
  const RankDevice device(choose_device(options.device), {});
  Arena weights("weights", weight_bytes(config.model, precision, Gradients::kNone), device.runtime());
  Arena cache("cache", Generator::bytes(config.model, precision, max_tokens), device.runtime());
  constexpr std::int64_t kAttentionScratch = std::int64_t{64} << 20;  // of one part of the prompt
  Arena workspace(
      "workspace",
      model_workspace_bytes(config.model, device.device(), precision, max_tokens, threads) + kAttentionScratch,
      device.runtime());
  const Exec exec = device.exec(threads, &workspace);
  Model model(config.model, precision, Gradients::kNone, weights);
  read_checkpoint_tensors(path, weight_tensors(model.parameters()), exec);
  model.refresh_compute(exec);

  Generator generator(model, exec, cache, max_tokens);
  TextPrinter printer(*tokenizer);
  fmt::print("{}", options.prompt);
  generator.generate(prompt, options.max_new, tokenizer->end_id(), options.sampling,
                     [&](std::int32_t token) { printer.add(token); });
  fmt::print("\n");
  return kExitOk;
}

}  // namespace

void add_generate_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = app.add_subcommand("generate", "Write on from a prompt with a trained model");
  command->add_option("--checkpoint", options->checkpoint, "A checkpoint, or a run's folder (its newest whole one)")
      ->required();
  command->add_option("--prompt", options->prompt, "Text to go on from")->required();
  command->add_option("--max-new", options->max_new, "Most tokens to write")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--temperature", options->sampling.temperature, "0: always the likeliest token")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--top-k", options->sampling.top_k, "Only the k likeliest tokens; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--top-p", options->sampling.top_p, "Only the likeliest tokens that make up this probability")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--device", options->device, "auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  command->add_option("--seed", options->sampling.seed, "Same seed, same text")->capture_default_str();
  command->callback([options, &action] { action = [options] { return run_generate(*options); }; });
}

}  // namespace longspan
