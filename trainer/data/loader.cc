#include "trainer/data/loader.h"

#include <algorithm>
#include <bit>

#include "kernels/core/error.h"
#include "trainer/data/mixture.h"
#include "trainer/data/passkey.h"
#include "trainer/data/random.h"
#include "trainer/data/token_source.h"
#include "trainer/data/tokenizer.h"

namespace longspan {
namespace {

// Validation asks for keys that no training run with a usual seed has met.
constexpr std::uint64_t kValidationSeed = 0x76616C6964617465ULL;

std::shared_ptr<const TokenFile> open_tokens(const std::string& path, const DataConfig& data, std::int64_t vocab,
                                             const Tokenizer& tokenizer) {
  auto file = std::make_shared<const TokenFile>(path);
  LS_REQUIRE(kData, file->tokenizer_hash() == tokenizer.hash(),
             "{}: was tokenized with {}, which is not data.tokenizer, {}; change one or tokenize again", path,
             file->tokenizer_name(), data.tokenizer);
  LS_REQUIRE(kData, file->vocab() <= vocab, "{}: has a vocabulary of {}, but model.vocab is {}", path, file->vocab(),
             vocab);
  return file;
}

std::vector<double> weights_of(const std::vector<std::unique_ptr<SequenceSource>>& sources,
                               const std::vector<double>& given) {
  if (!given.empty()) {
    LS_REQUIRE(kUsage, given.size() == sources.size(), "data.weights: {} weights for {} sources", given.size(),
               sources.size());
    return given;
  }
  std::vector<double> weights;
  for (const auto& source : sources) {
    LS_REQUIRE(kUsage, sources.size() == 1 || source->num_tokens() > 0,
               "data.weights: needed where {} is one of several sources, for it has no size", kPasskeySource);
    weights.push_back(std::max(1.0, static_cast<double>(source->num_tokens())));
  }
  return weights;
}

class MixtureLoader : public Loader {
 public:
  MixtureLoader(std::vector<std::unique_ptr<SequenceSource>> sources, std::vector<double> weights, std::uint64_t seed)
      : sources_(std::move(sources)), weights_(std::move(weights)), mixture_(weights_, seed), seed_(seed) {}

  PackedSequence at(std::int64_t index) const override {
    const Mixture::Draw draw = draw_at(index);
    return sources_[draw.source]->at(draw.index);
  }
  std::vector<std::int64_t> lengths_of(std::int64_t index) const override {
    const Mixture::Draw draw = draw_at(index);
    return sources_[draw.source]->lengths_of(draw.index);
  }
  PackedSequence documents_of(std::int64_t index, std::span<const std::int64_t> places) const override {
    const Mixture::Draw draw = draw_at(index);
    return sources_[draw.source]->documents_of(draw.index, places);
  }
  std::int64_t sequences_per_epoch() const override {
    std::int64_t sum = 0;
    for (const auto& source : sources_) sum += source->sequences_per_epoch();
    return sum;
  }
  std::string describe() const override {
    double total = 0;
    for (const double weight : weights_) total += weight;
    std::string text;
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      const std::string share = sources_.size() == 1 ? "" : fmt::format(", {:.1f} % drawn", 100 * weights_[i] / total);
      text += fmt::format("{}{}, {} sequences an epoch{}", i == 0 ? "" : "\n", sources_[i]->describe(),
                          sources_[i]->sequences_per_epoch(), share);
    }
    return text;
  }
  std::uint64_t fingerprint() const override {
    std::uint64_t hash = mix_seeds(seed_, sources_.size(), 1);
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      hash = mix_seeds(hash, sources_[i]->fingerprint(), std::bit_cast<std::uint64_t>(weights_[i]));
    }
    return hash;
  }

 private:
  Mixture::Draw draw_at(std::int64_t index) const {
    LS_CHECK(index >= 0, "sequence {}", index);
    return mixture_.at(index);
  }
  std::vector<std::unique_ptr<SequenceSource>> sources_;
  std::vector<double> weights_;
  Mixture mixture_;
  std::uint64_t seed_;
};

struct LoaderRequest {
  const std::vector<std::string>* paths;
  std::string key;
  std::vector<double> weights;
  std::optional<std::uint64_t> shuffle_seed;
};

std::unique_ptr<Loader> make_loader(const DataConfig& data, std::int64_t vocab, const LoaderRequest& request) {
  LS_REQUIRE(kUsage, !request.paths->empty(), "{}: no source; name a token file (see `longspan data tokenize`) or {}",
             request.key, kPasskeySource);
  const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(data.tokenizer);
  const std::uint64_t seed = request.shuffle_seed.value_or(kValidationSeed);
  std::vector<std::unique_ptr<SequenceSource>> sources;
  for (const std::string& path : *request.paths) {
    const std::uint64_t source_seed = mix_seeds(seed, sources.size(), 1);
    if (path == kPasskeySource) {
      LS_REQUIRE(kUsage, data.tokenizer == "bytes", "{}: {} needs data.tokenizer: bytes", request.key, path);
      LS_REQUIRE(kUsage, tokenizer->vocab_size() <= vocab, "model.vocab: {} is too small for {}, which needs {}", vocab,
                 path, tokenizer->vocab_size());
      sources.push_back(make_passkey_source(data.sequence_length, source_seed));
      continue;
    }
    SourceOptions options{.sequence_length = data.sequence_length, .shuffle_seed = std::nullopt};
    if (request.shuffle_seed) options.shuffle_seed = source_seed;
    auto file = open_tokens(path, data, vocab, *tokenizer);
    sources.push_back(data.packing == "concat" ? make_concat_source(std::move(file), options)
                                               : make_documents_source(std::move(file), options));
  }
  std::vector<double> weights = weights_of(sources, request.weights);
  return std::make_unique<MixtureLoader>(std::move(sources), std::move(weights), seed);
}

}  // namespace

std::unique_ptr<Loader> make_training_loader(const DataConfig& data, std::int64_t vocab, std::uint64_t seed) {
  return make_loader(data, vocab, {&data.train, "data.train", data.weights, seed});
}

std::unique_ptr<Loader> make_validation_loader(const DataConfig& data, std::int64_t vocab) {
  return make_loader(data, vocab, {&data.validation, "data.validation", {}, std::nullopt});
}

}  // namespace longspan
