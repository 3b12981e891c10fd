#include "trainer/data/entropy.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace longspan {
namespace {

constexpr std::int64_t kPieceTokens = 1 << 20;

struct Counts {
  std::int64_t targets = 0;
  std::vector<std::int64_t> first, second;                // of each token as the one before, and as the target
  std::unordered_map<std::uint64_t, std::int64_t> pairs;  // before * 2^32 + target
};

// The file in pieces that overlap by one token; a pair across two documents does not count.
Counts count_pairs(const TokenFile& file) {
  Counts counts;
  counts.first.resize(static_cast<std::size_t>(file.vocab()));
  counts.second.resize(counts.first.size());
  std::vector<std::int32_t> tokens;
  std::int64_t document = 0;
  for (std::int64_t begin = 0; begin + 1 < file.num_tokens(); begin += kPieceTokens) {
    tokens.resize(static_cast<std::size_t>(std::min(kPieceTokens + 1, file.num_tokens() - begin)));
    file.read(begin, std::span(tokens));
    for (std::size_t i = 1; i < tokens.size(); ++i) {
      const std::int64_t at = begin + static_cast<std::int64_t>(i);
      while (file.document_begin(document) < at) ++document;
      if (file.document_begin(document) == at) continue;
      const auto before = static_cast<std::size_t>(tokens[i - 1]), target = static_cast<std::size_t>(tokens[i]);
      ++counts.first[before];
      ++counts.second[target];
      ++counts.pairs[(std::uint64_t{before} << 32) | target];
      ++counts.targets;
    }
  }
  return counts;
}

double entropy(const std::vector<std::int64_t>& counts, std::int64_t total) {
  double sum = 0;
  for (const std::int64_t count : counts) {
    if (count > 0)
      sum -= static_cast<double>(count) * std::log(static_cast<double>(count) / static_cast<double>(total));
  }
  return sum / static_cast<double>(total);
}

}  // namespace

CorpusEntropy corpus_entropy(const TokenFile& file) {
  const Counts counts = count_pairs(file);
  if (counts.targets == 0) return {};
  std::vector<std::int64_t> pairs;
  pairs.reserve(counts.pairs.size());
  for (const auto& [pair, count] : counts.pairs) pairs.push_back(count);
  std::sort(pairs.begin(), pairs.end());  // sums in one order, whatever the map's
  // H(target | before) = H(before, target) - H(before)
  return {.targets = counts.targets,
          .unigram = entropy(counts.second, counts.targets),
          .bigram = entropy(pairs, counts.targets) - entropy(counts.first, counts.targets)};
}

}  // namespace longspan
