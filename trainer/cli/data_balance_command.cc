// longspan data balance: how even the work of a config's steps is over data ranks and micro-batches; trains nothing.
#include <fmt/core.h>

#include <charconv>
#include <memory>
#include <string_view>

#include "kernels/core/error.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/overrides.h"
#include "trainer/data/document_packing.h"
#include "trainer/io/text_file.h"
#include "trainer/launch/launch.h"
#include "trainer/loop/balance_report.h"

namespace longspan {
namespace {

struct BalanceOptions {
  std::string config, lengths;
  std::int64_t steps = 20, data_ranks = 0;
};

// One number a line; empty lines and those that begin with # are left out.
std::vector<std::int64_t> read_lengths(const std::string& path) {
  const std::string text = read_text_file(path);
  std::vector<std::int64_t> lengths;
  std::int64_t tokens = 0;
  for (std::size_t begin = 0, line = 1; begin < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view word(text.data() + begin, end - begin);
    begin = end + 1;
    if (word.ends_with('\r')) word.remove_suffix(1);
    if (word.empty() || word.front() == '#') continue;
    std::int64_t length = 0;
    const auto [stop, fault] = std::from_chars(word.data(), word.data() + word.size(), length);
    LS_REQUIRE(kData, fault == std::errc() && stop == word.data() + word.size() && length >= 0 && length <= INT32_MAX,
               "{}:{}: '{}' is not the length of a document", path, line, word);
    lengths.push_back(length);
    tokens += length;
  }
  LS_REQUIRE(kData, tokens > 0, "{}: no document with a token; give one length a line", path);
  return lengths;
}

// Where sequences come from, and what to say of it.
struct Origin {
  SequenceLengths lengths;
  std::string description;
};

Origin origin_of(const Config& config, const std::string& path) {
  if (path.empty()) {
    DataConfig data = config.data;
    data.packing = "balanced";
    const std::shared_ptr<const Loader> loader = make_training_loader(data, config.model.vocab, config.run.seed);
    return {[loader](std::int64_t index) { return loader->lengths_of(index); }, loader->describe()};
  }
  const std::vector<std::int64_t> lengths = read_lengths(path);
  const auto packing = std::make_shared<const DocumentPacking>(
      lengths, SourceOptions{.sequence_length = config.data.sequence_length, .shuffle_seed = config.run.seed});
  return {[packing](std::int64_t index) {
            std::vector<std::int64_t> pieces;
            for (const DocumentPiece& piece : packing->pieces_of(index)) pieces.push_back(piece.length);
            return pieces;
          },
          fmt::format("{}: {} documents, {} sequences an epoch", path, lengths.size(), packing->sequences_per_epoch())};
}

int run_balance(const BalanceOptions& options, std::vector<Override> overrides) {
  if (options.data_ranks > 0) overrides.emplace_back("parallel.data", std::to_string(options.data_ranks));
  Config config = load_config(options.config, overrides);
  config.parallel.context = 1;  // ranks that share a sequence have no part in this
  const ParallelLayout layout =
      resolve_layout(config, static_cast<int>(config.parallel.data * config.parallel.pipeline));
  const Origin origin = origin_of(config, options.lengths);
  fmt::print("{}\n{} data rank(s) x {} micro-batch(es) of {} sequence(s) of {} tokens, pipeline of {}\n\n{}",
             origin.description, layout.mesh.data, layout.micro_batches, layout.sequences_each,
             config.data.sequence_length, layout.mesh.pipeline,
             describe(report_balance(origin.lengths, config, layout, options.steps)));
  return kExitOk;
}

}  // namespace

void add_data_balance_command(CLI::App& data, Action& action) {
  auto options = std::make_shared<BalanceOptions>();
  CLI::App* command = data.add_subcommand(
      "balance", "Show how even work is over data ranks and micro-batches, with data.packing documents and balanced");
  command->add_option("CONFIG", options->config, "YAML file of the experiment")->required();
  command->add_option("--steps", options->steps, "Steps to look at, from the first on")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command->add_option("--data-ranks", options->data_ranks, "Data ranks, instead of parallel.data")
      ->check(CLI::Range(1, 65536));
  command->add_option("--lengths", options->lengths,
                      "File with the length of one document a line, instead of data.train");
  command->allow_extras();
  command->callback([command, options, &action] {
    action = [options, words = command->remaining()] { return run_balance(*options, parse_overrides(words)); };
  });
}

}  // namespace longspan
