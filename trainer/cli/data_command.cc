// longspan data: text to token files, figures of token files, and tokenizers out of text.
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "kernels/core/error.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/console.h"
#include "trainer/data/entropy.h"
#include "trainer/data/sentencepiece_tokenizer.h"
#include "trainer/data/text_reader.h"
#include "trainer/data/token_file.h"
#include "trainer/data/tokenizer.h"
#include "trainer/launch/launch.h"

namespace longspan {
namespace {

constexpr std::int64_t kMebibyte = 1 << 20;

struct TextArguments {
  std::vector<std::string> inputs;
  std::string separator;
  bool blank_lines = false;
  TextOptions options() const {
    if (blank_lines) return {.separator = ""};
    return separator.empty() ? TextOptions{} : TextOptions{.separator = separator};
  }
};

struct TokenizeArguments {
  TextArguments text;
  std::string out, tokenizer = "bytes", validation_out;
  double validation_fraction = 0;
};

struct TrainArguments {
  TextArguments text;
  SentencePieceTraining training;
};

void add_text_options(CLI::App* command, TextArguments& text) {
  command->add_option("INPUT", text.inputs, "Text files, JSON lines (*.jsonl, under \"text\"), or folders of them")
      ->required();
  CLI::Option* line = command->add_option("--document-separator", text.separator,
                                          "Line that parts the documents of a text file; without it a file is one");
  command->add_flag("--blank-lines", text.blank_lines, "Blank lines part the documents of a text file")->excludes(line);
}

// One call a document; the bar moves by the mebibyte.
class ReadingProgress {
 public:
  void update(const TextReader& reader) {
    const std::int64_t done = reader.bytes_read() / kMebibyte;
    const std::int64_t total = std::max<std::int64_t>(1, reader.bytes_total() / kMebibyte);
    if (done == shown_ || done >= total) return;
    shown_ = done;
    console_.progress(done, total);
  }
  Console& console() { return console_; }

 private:
  Console console_;
  std::int64_t shown_ = -1;
};

void report_written(Console& console, const std::string& path, const TokenFileWriter& writer,
                    const std::string& tokenizer) {
  console.print(
      fmt::format("{}: {} documents, {} tokens of {}", path, writer.num_documents(), writer.num_tokens(), tokenizer));
}

// Every 1/fraction-th document, spread evenly: document i where the count of validation documents rises.
bool is_for_validation(std::int64_t document, double fraction) {
  const auto upto = [fraction](std::int64_t n) { return static_cast<std::int64_t>(static_cast<double>(n) * fraction); };
  return upto(document + 1) > upto(document);
}

int tokenize(const TokenizeArguments& arguments) {
  const bool splits = arguments.validation_fraction > 0;
  LS_REQUIRE(kUsage, splits == !arguments.validation_out.empty(),
             "--validation-fraction and --validation-out are given together or not at all");
  LS_REQUIRE(kUsage, arguments.out != arguments.validation_out, "--out and --validation-out name the same file");
  const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(arguments.tokenizer);
  TextReader reader(arguments.text.inputs, arguments.text.options());
  TokenFileWriter training(arguments.out, *tokenizer);
  std::optional<TokenFileWriter> validation;
  if (splits) validation.emplace(arguments.validation_out, *tokenizer);
  ReadingProgress progress;
  std::vector<std::int32_t> ids;
  std::int64_t document = 0;
  for (std::string text; reader.next(text); ++document) {
    ids.clear();
    try {
      tokenizer->encode(text, ids);
    } catch (const Error& error) {
      fail(error.kind(), "{}: {}", reader.origin(), error.what());
    }
    if (tokenizer->end_id() >= 0) ids.push_back(tokenizer->end_id());
    const bool held_out = splits && is_for_validation(document, arguments.validation_fraction);
    (held_out ? *validation : training).add_document(ids);
    progress.update(reader);
  }
  LS_REQUIRE(kData, !splits || validation->num_documents() > 0,
             "none of the {} documents falls to validation; raise --validation-fraction, or part the text into more "
             "documents (--blank-lines, --document-separator)",
             document);
  training.finish();
  report_written(progress.console(), arguments.out, training, tokenizer->name());
  if (!splits) return kExitOk;
  validation->finish();
  report_written(progress.console(), arguments.validation_out, *validation, tokenizer->name());
  return kExitOk;
}

int show_statistics(const std::string& path) {
  const TokenFile file(path);
  file.verify();
  std::vector<std::int64_t> lengths;
  for (std::int64_t d = 0; d < file.num_documents(); ++d) lengths.push_back(file.document_length(d));
  std::sort(lengths.begin(), lengths.end());
  const CorpusEntropy entropy = corpus_entropy(file);
  fmt::print("file             {}\n", path);
  fmt::print("tokenizer        {}, {} tokens\n", file.tokenizer_name(), file.vocab());
  fmt::print("documents        {}\n", file.num_documents());
  fmt::print("tokens           {}\n", file.num_tokens());
  fmt::print("document length  {} to {}, half up to {}\n", lengths.front(), lengths.back(),
             lengths[lengths.size() / 2]);
  fmt::print("unigram entropy  {:.4f} nats a token\n", entropy.unigram);
  fmt::print("bigram entropy   {:.4f} nats a token, given the token before\n", entropy.bigram);
  return kExitOk;
}

int train_tokenizer(const TrainArguments& arguments) {
  TextReader reader(arguments.text.inputs, arguments.text.options());
  ReadingProgress progress;
  std::string document;
  std::size_t at = 0;
  // SentencePiece learns from lines.
  train_sentencepiece(arguments.training, [&](std::string& line) {
    if (at >= document.size()) {
      at = 0;
      if (!reader.next(document)) return false;
      progress.update(reader);
    }
    const std::size_t end = std::min(document.find('\n', at), document.size());
    line.assign(document, at, end - at);
    at = end + 1;
    return true;
  });
  progress.console().print(fmt::format("{}: {} pieces", arguments.training.model_path,
                                       make_tokenizer(arguments.training.model_path)->vocab_size()));
  return kExitOk;
}

void add_tokenize(CLI::App* data, Action& action) {
  auto arguments = std::make_shared<TokenizeArguments>();
  CLI::App* command =
      data->add_subcommand("tokenize", "Turn text into a token file; each document ends with the end token");
  add_text_options(command, arguments->text);
  command->add_option("--out", arguments->out, "Token file to write (HDF5)")->required();
  command->add_option("--tokenizer", arguments->tokenizer, "bytes, or the path of a SentencePiece model")
      ->capture_default_str();
  command->add_option("--validation-fraction", arguments->validation_fraction, "Share of the documents held out")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--validation-out", arguments->validation_out, "Token file of the documents held out");
  command->callback([arguments, &action] { action = [arguments] { return tokenize(*arguments); }; });
}

void add_stats(CLI::App* data, Action& action) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = data->add_subcommand("stats", "Verify a token file; count documents and tokens, measure entropy");
  command->add_option("FILE", *path, "Token file")->required();
  command->callback([path, &action] { action = [path] { return show_statistics(*path); }; });
}

void add_train_tokenizer(CLI::App* data, Action& action) {
  auto arguments = std::make_shared<TrainArguments>();
  SentencePieceTraining& training = arguments->training;
  CLI::App* command = data->add_subcommand("train-tokenizer", "Train a SentencePiece model on text");
  add_text_options(command, arguments->text);
  command->add_option("--out", training.model_path, "Model to write")->required();
  command->add_option("--vocab", training.vocab, "Pieces, the 256 of single bytes included")
      ->capture_default_str()
      ->check(CLI::Range(260, 1 << 20));
  command->add_option("--algorithm", training.algorithm, "bpe or unigram")
      ->capture_default_str()
      ->check(CLI::IsMember({"bpe", "unigram"}));
  command->add_option("--lines", training.sampled_lines, "Lines sampled from the text")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->callback([arguments, &action] { action = [arguments] { return train_tokenizer(*arguments); }; });
}

}  // namespace

void add_data_command(CLI::App& app, Action& action) {
  CLI::App* data = app.add_subcommand("data", "Token files and tokenizers");
  data->require_subcommand(1);
  add_tokenize(data, action);
  add_stats(data, action);
  add_train_tokenizer(data, action);
  add_data_balance_command(*data, action);
}

}  // namespace longspan
