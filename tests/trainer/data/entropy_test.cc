// Entropy of a corpus against counting by hand.
#include "trainer/data/entropy.h"

#include <cmath>
#include <map>

#include "tests/trainer/data/scratch.h"

namespace longspan {
namespace {

using EntropyTest = ScratchTest;

TEST_F(EntropyTest, KnownByHand) {
  // Targets: b a b | b: p(a) = 1/4, p(b) = 3/4; after a always b, after b always a.
  const CorpusEntropy entropy =
      corpus_entropy(TokenFile(write_tokens("a.h5", {{'a', 'b', 'a', 'b'}, {'a', 'b'}, {'z'}})));
  EXPECT_EQ(entropy.targets, 4);
  EXPECT_NEAR(entropy.unigram, -0.25 * std::log(0.25) - 0.75 * std::log(0.75), 1e-12);
  EXPECT_NEAR(entropy.bigram, 0, 1e-12);
}

TEST_F(EntropyTest, DocumentsOfOneTokenHaveNoTargets) {
  const CorpusEntropy entropy = corpus_entropy(TokenFile(write_tokens("a.h5", {{1}, {2}, {3}})));
  EXPECT_EQ(entropy.targets, 0);
  EXPECT_EQ(entropy.unigram, 0);
  EXPECT_EQ(entropy.bigram, 0);
}

TEST_F(EntropyTest, AgreesWithPlainCountingOverManyDocuments) {
  Documents documents = made_documents(3000, 1000, 4);  // longer than one piece of the counter
  for (auto& document : documents) {
    for (auto& token : document) token = token < 200 ? token % 7 : token;
  }
  std::map<std::int32_t, double> first, second;
  std::map<std::pair<std::int32_t, std::int32_t>, double> pairs;
  double total = 0;
  for (const auto& document : documents) {
    for (std::size_t i = 1; i < document.size(); ++i) {
      first[document[i - 1]] += 1;
      second[document[i]] += 1;
      pairs[{document[i - 1], document[i]}] += 1;
      total += 1;
    }
  }
  double unigram = 0, bigram = 0;
  for (const auto& [token, count] : second) unigram -= count / total * std::log(count / total);
  for (const auto& [pair, count] : pairs) bigram -= count / total * std::log(count / first[pair.first]);
  const TokenFile file(write_tokens("a.h5", documents));
  ASSERT_GT(file.num_tokens(), 1 << 20);
  const CorpusEntropy entropy = corpus_entropy(file);
  EXPECT_EQ(static_cast<double>(entropy.targets), total);
  EXPECT_NEAR(entropy.unigram, unigram, 1e-9);
  EXPECT_NEAR(entropy.bigram, bigram, 1e-9);
}

}  // namespace
}  // namespace longspan
