// Loader: every token once an epoch, boundaries and labels as a naive packer has them, any order of calls alike.
#include "trainer/data/loader.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "tests/trainer/data/scratch.h"
#include "trainer/data/passkey.h"

namespace longspan {
namespace {

struct Piece {
  std::vector<std::int32_t> tokens, labels;
  bool operator==(const Piece&) const = default;
};

std::vector<Piece> pieces_of(const PackedSequence& s) {
  std::vector<Piece> pieces;
  for (std::size_t i = 1; i < s.cu_seqlens.size(); ++i) {
    const auto from = s.cu_seqlens[i - 1], to = s.cu_seqlens[i];
    pieces.push_back(
        {{s.tokens.begin() + from, s.tokens.begin() + to}, {s.labels.begin() + from, s.labels.begin() + to}});
  }
  return pieces;
}

// Documents with a number of their own at the front, so that pieces can be told apart: n, then n's own tokens.
Documents numbered_documents(std::int64_t count, std::int64_t longest, std::uint64_t seed) {
  Documents documents = made_documents(count, longest, seed);
  for (std::size_t d = 0; d < documents.size(); ++d) {
    documents[d].insert(documents[d].begin(), {static_cast<std::int32_t>(d / 256), static_cast<std::int32_t>(d % 256)});
  }
  return documents;
}

std::int64_t total_tokens(const Documents& documents) {
  return std::accumulate(documents.begin(), documents.end(), std::int64_t{0},
                         [](std::int64_t sum, const auto& d) { return sum + static_cast<std::int64_t>(d.size()); });
}

bool same(const PackedSequence& a, const PackedSequence& b) {
  return a.tokens == b.tokens && a.labels == b.labels && a.cu_seqlens == b.cu_seqlens;
}

class LoaderTest : public ScratchTest {
 protected:
  DataConfig data(const std::vector<std::string>& train, std::int64_t length, const std::string& packing) const {
    DataConfig config;
    config.train = train;
    config.validation = train;
    config.sequence_length = length;
    config.packing = packing;
    return config;
  }
};

// Unshuffled concat packing against the plainest possible packer.
TEST_F(LoaderTest, ConcatAgreesWithANaivePacker) {
  const Documents documents = made_documents(57, 40, 1);
  const std::string file = write_tokens("a.h5", documents);
  std::vector<std::int32_t> tokens, labels;
  std::vector<bool> begins;
  for (int epoch = 0; epoch < 3; ++epoch) {
    for (const auto& document : documents) {
      for (std::size_t i = 0; i < document.size(); ++i) {
        tokens.push_back(document[i]);
        labels.push_back(i + 1 < document.size() ? document[i + 1] : -1);
        begins.push_back(i == 0);
      }
    }
  }
  for (const std::int64_t length : {1, 2, 31, 64, 1000, 5000}) {
    const auto loader = make_validation_loader(data({file}, length, "concat"), 259);
    for (std::int64_t index = 0; (index + 1) * length <= static_cast<std::int64_t>(tokens.size()); ++index) {
      const PackedSequence s = loader->at(index);
      const auto from = index * length, to = from + length;
      ASSERT_EQ(s.tokens, std::vector<std::int32_t>(tokens.begin() + from, tokens.begin() + to));
      ASSERT_EQ(s.labels, std::vector<std::int32_t>(labels.begin() + from, labels.begin() + to));
      std::vector<std::int64_t> boundaries = {0};
      for (std::int64_t t = 1; t < length; ++t) {
        if (begins[static_cast<std::size_t>(from + t)]) boundaries.push_back(t);
      }
      boundaries.push_back(length);
      ASSERT_EQ(s.cu_seqlens, boundaries) << length << " " << index;
    }
  }
}

// Shuffled: documents put together again from their pieces are each met once an epoch, whole.
TEST_F(LoaderTest, ConcatMeetsEveryTokenOnceAnEpoch) {
  const Documents documents = numbered_documents(300, 90, 2);
  const std::string file = write_tokens("a.h5", documents);
  const std::int64_t length = 64, total = total_tokens(documents), epochs = 3;
  const auto loader = make_training_loader(data({file}, length, "concat"), 259, 11);
  EXPECT_EQ(loader->sequences_per_epoch(), (total + length - 1) / length);
  std::vector<std::int32_t> stream, labels;
  std::vector<bool> begins;
  for (std::int64_t index = 0; index * length < epochs * total; ++index) {
    const PackedSequence s = loader->at(index);
    ASSERT_EQ(static_cast<std::int64_t>(s.tokens.size()), length);
    stream.insert(stream.end(), s.tokens.begin(), s.tokens.end());
    labels.insert(labels.end(), s.labels.begin(), s.labels.end());
  }
  Documents previous;
  for (std::int64_t epoch = 0, at = 0; epoch < epochs; ++epoch) {
    Documents met;
    for (const std::int64_t end = (epoch + 1) * total; at < end;) {
      std::vector<std::int32_t> document;
      bool last = false;
      while (!last) {
        const auto place = static_cast<std::size_t>(at++);
        document.push_back(stream[place]);
        last = labels[place] == -1;
        ASSERT_TRUE(last || labels[place] == stream[place + 1]);
      }
      met.push_back(document);
    }
    EXPECT_NE(met, documents) << "not shuffled";
    EXPECT_NE(met, previous) << "two epochs alike";
    previous = met;
    Documents sorted = met, expected = documents;
    std::sort(sorted.begin(), sorted.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(sorted, expected) << epoch;
  }
}

TEST_F(LoaderTest, DocumentsPackingKeepsDocumentsWhole) {
  for (const std::int64_t length : {1, 7, 64, 91, 92, 500}) {
    const Documents documents = numbered_documents(length == 1 ? 30 : 300, 90, 3);
    const std::string file = write_tokens("a.h5", documents);
    const auto loader = make_training_loader(data({file}, length, "documents"), 259, 5);
    const std::int64_t count = loader->sequences_per_epoch();
    for (const std::int64_t epoch : {0, 1}) {
      std::vector<Piece> met, expected;
      for (std::int64_t index = epoch * count; index < (epoch + 1) * count; ++index) {
        const PackedSequence s = loader->at(index);
        ASSERT_LE(static_cast<std::int64_t>(s.tokens.size()), length);
        ASSERT_EQ(s.cu_seqlens.back(), static_cast<std::int64_t>(s.tokens.size()));
        for (Piece& piece : pieces_of(s)) met.push_back(std::move(piece));
      }
      for (const auto& document : documents) {
        std::vector<std::int32_t> labels(document.begin() + 1, document.end());
        labels.push_back(-1);
        for (std::size_t begin = 0; begin < document.size(); begin += static_cast<std::size_t>(length)) {
          const auto from = static_cast<std::ptrdiff_t>(begin);
          const auto to = std::min(from + length, static_cast<std::int64_t>(document.size()));
          expected.push_back(
              {{document.begin() + from, document.begin() + to}, {labels.begin() + from, labels.begin() + to}});
        }
      }
      const auto by_tokens = [](const Piece& a, const Piece& b) {
        return std::tie(a.tokens, a.labels) < std::tie(b.tokens, b.labels);
      };
      std::sort(met.begin(), met.end(), by_tokens);
      std::sort(expected.begin(), expected.end(), by_tokens);
      ASSERT_EQ(met == expected, true) << length << " " << epoch;
    }
  }
}

TEST_F(LoaderTest, DocumentsPackingFillsSequences) {
  const Documents documents = made_documents(2000, 600, 8);
  const auto loader = make_training_loader(data({write_tokens("a.h5", documents)}, 1024, "documents"), 259, 1);
  const double places = static_cast<double>(loader->sequences_per_epoch()) * 1024;
  EXPECT_GT(static_cast<double>(total_tokens(documents)) / places, 0.98);
  EXPECT_TRUE(contains(loader->describe(), "% of the sequences' places filled")) << loader->describe();
}

TEST_F(LoaderTest, AnyOrderOfCallsGivesTheSame) {
  const std::string a = write_tokens("a.h5", made_documents(100, 50, 1)),
                    b = write_tokens("b.h5", made_documents(40, 200, 2));
  for (const std::string packing : {"concat", "documents"}) {
    DataConfig config = data({a, b, kPasskeySource}, 160, packing);
    config.weights = {0.5, 0.3, 0.2};
    const auto loader = make_training_loader(config, 259, 3);
    std::vector<PackedSequence> forward;
    for (std::int64_t i = 0; i < 120; ++i) forward.push_back(loader->at(i));
    for (std::int64_t i = 119; i >= 0; --i) ASSERT_TRUE(same(loader->at(i), forward[static_cast<std::size_t>(i)])) << i;
    // A run that resumes at sequence 77 opens the files anew.
    const auto resumed = make_training_loader(config, 259, 3);
    EXPECT_EQ(resumed->fingerprint(), loader->fingerprint());
    for (std::int64_t i = 77; i < 120; ++i)
      ASSERT_TRUE(same(resumed->at(i), forward[static_cast<std::size_t>(i)])) << i;
    EXPECT_TRUE(same(loader->at(1000000007), resumed->at(1000000007)));
  }
}

// Lengths without tokens, and any choice of documents, are those of the whole sequence.
TEST_F(LoaderTest, DocumentsOfASequenceCanBeReadApart) {
  const std::string file = write_tokens("a.h5", numbered_documents(300, 90, 2));
  SplitMix64 random(9);
  for (const std::string packing : {"concat", "documents"}) {
    DataConfig config = data({file, kPasskeySource}, 160, packing);
    config.weights = {0.9, 0.1};
    const auto loader = make_training_loader(config, 259, 3);
    for (std::int64_t index = 0; index < 150; ++index) {
      const PackedSequence whole = loader->at(index);
      const std::vector<Piece> pieces = pieces_of(whole);
      const std::vector<std::int64_t> lengths = loader->lengths_of(index);
      ASSERT_EQ(lengths.size(), pieces.size());
      for (std::size_t i = 0; i < lengths.size(); ++i)
        ASSERT_EQ(lengths[i], static_cast<std::int64_t>(pieces[i].tokens.size())) << index;
      std::vector<std::int64_t> places;
      std::vector<Piece> expected;
      for (std::size_t i = 0; i < lengths.size(); ++i) {
        if (random.below(2) == 0) continue;
        places.push_back(static_cast<std::int64_t>(i));
        expected.push_back(pieces[i]);
      }
      const PackedSequence some = loader->documents_of(index, places);
      ASSERT_EQ(some.cu_seqlens.front(), 0);
      ASSERT_EQ(some.cu_seqlens.back(), static_cast<std::int64_t>(some.tokens.size()));
      ASSERT_EQ(pieces_of(some) == expected, true) << index;
    }
    const std::int64_t beyond = static_cast<std::int64_t>(loader->lengths_of(0).size());
    EXPECT_THROW(loader->documents_of(0, std::vector{beyond}), Error);
  }
}

TEST_F(LoaderTest, ThreadsMayShareALoader) {
  const std::string file = write_tokens("a.h5", made_documents(200, 60, 1));
  const auto loader = make_training_loader(data({file}, 64, "concat"), 259, 3);
  const std::int64_t count = 3 * loader->sequences_per_epoch();
  std::vector<PackedSequence> expected;
  for (std::int64_t i = 0; i < count; ++i) expected.push_back(loader->at(i));
  std::vector<std::thread> threads;
  std::vector<std::int64_t> wrong(4, 0);
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t index = (i * 7 + static_cast<std::int64_t>(t) * 31) % count;
        wrong[t] += !same(loader->at(index), expected[static_cast<std::size_t>(index)]);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<std::int64_t>(4, 0));
}

TEST_F(LoaderTest, SeedsDiffer) {
  const std::string file = write_tokens("a.h5", made_documents(100, 50, 1));
  for (const std::string packing : {"concat", "documents"}) {
    const auto one = make_training_loader(data({file}, 64, packing), 259, 1);
    const auto two = make_training_loader(data({file}, 64, packing), 259, 2);
    EXPECT_NE(one->fingerprint(), two->fingerprint());
    int alike = 0;
    for (std::int64_t i = 0; i < 20; ++i) alike += same(one->at(i), two->at(i));
    EXPECT_LT(alike, 5);
  }
}

TEST_F(LoaderTest, SourcesComeByWeightOrBySize) {
  const std::string a = write_tokens("a.h5", {std::vector<std::int32_t>(900, 'a')});
  const std::string b = write_tokens("b.h5", {std::vector<std::int32_t>(300, 'b')});
  const auto share_of_a = [&](const std::vector<double>& weights) {
    DataConfig config = data({a, b}, 30, "concat");
    config.weights = weights;
    const auto loader = make_training_loader(config, 259, 1);
    double seen = 0;
    for (std::int64_t i = 0; i < 1000; ++i) seen += loader->at(i).tokens[0] == 'a';
    return seen / 1000;
  };
  EXPECT_NEAR(share_of_a({}), 0.75, 0.005);
  EXPECT_NEAR(share_of_a({1, 9}), 0.1, 0.005);
  EXPECT_NEAR(share_of_a({2, 2}), 0.5, 0.005);
}

TEST_F(LoaderTest, FingerprintTellsDataAndOrderNotNames) {
  const Documents documents = made_documents(20, 50, 1);
  const std::string a = write_tokens("a.h5", documents), b = write_tokens("b.h5", documents);
  const std::string c = write_tokens("c.h5", made_documents(20, 50, 2));
  const auto fingerprint = [](const DataConfig& config, std::uint64_t seed) {
    return make_training_loader(config, 259, seed)->fingerprint();
  };
  const std::uint64_t base = fingerprint(data({a, c}, 64, "concat"), 1);
  EXPECT_EQ(base, fingerprint(data({b, c}, 64, "concat"), 1));
  DataConfig weighted = data({a, c}, 64, "concat");
  weighted.weights = {1, 2};
  const std::set<std::uint64_t> others = {
      base,
      fingerprint(data({c, a}, 64, "concat"), 1),
      fingerprint(data({a}, 64, "concat"), 1),
      fingerprint(data({a, c}, 65, "concat"), 1),
      fingerprint(data({a, c}, 64, "documents"), 1),
      fingerprint(data({a, c}, 64, "concat"), 2),
      fingerprint(weighted, 1),
  };
  EXPECT_EQ(others.size(), 7u);
}

TEST_F(LoaderTest, PasskeyIsASource) {
  const auto loader = make_training_loader(data({kPasskeySource}, 300, "concat"), 259, 4);
  const auto validation = make_validation_loader(data({kPasskeySource}, 300, "concat"), 259);
  std::set<std::vector<std::int32_t>> met;
  for (std::int64_t i = 0; i < 50; ++i) {
    met.insert(loader->at(i).tokens);
    met.insert(validation->at(i).tokens);
  }
  EXPECT_EQ(met.size(), 100u);
}

TEST_F(LoaderTest, RefusesWhatDoesNotFit) {
  const std::string file = write_tokens("a.h5", {{1, 2, 3}});
  const auto fault = [&](ErrorKind kind, const DataConfig& config, std::int64_t vocab) {
    return fault_of(kind, [&] { make_training_loader(config, vocab, 1); });
  };
  EXPECT_EQ(fault(ErrorKind::kUsage, data({}, 8, "concat"), 259),
            "data.train: no source; name a token file (see `longspan data tokenize`) or synthetic:passkey");
  EXPECT_EQ(fault(ErrorKind::kData, data({file}, 8, "concat"), 258),
            file + ": has a vocabulary of 259, but model.vocab is 258");
  EXPECT_EQ(fault(ErrorKind::kData, data({path("absent.h5")}, 8, "concat"), 259),
            path("absent.h5") + ": cannot open the file as HDF5: No such file or directory");
  EXPECT_EQ(fault(ErrorKind::kUsage, data({file, kPasskeySource}, 300, "concat"), 259),
            "data.weights: needed where synthetic:passkey is one of several sources, for it has no size");
  EXPECT_TRUE(contains(fault(ErrorKind::kUsage, data({kPasskeySource}, 20, "concat"), 259),
                       "data.sequence_length: 20 is too short"));
  DataConfig weighted = data({file}, 8, "concat");
  weighted.weights = {1, 2};
  EXPECT_EQ(fault(ErrorKind::kUsage, weighted, 259), "data.weights: 2 weights for 1 sources");
}

TEST_F(LoaderTest, RefusesTokensOfAnotherTokenizer) {
  Hdf5File odd = Hdf5File::create(path("odd.h5"));
  odd.set_attribute("format", "longspan-tokens");
  odd.set_attribute("version", std::int64_t{1});
  odd.set_attribute("tokenizer", "models/other.model");
  odd.set_attribute("tokenizer_hash", std::int64_t{42});
  odd.set_attribute("content_hash", std::int64_t{0});
  odd.set_attribute("vocab", std::int64_t{100});
  odd.create_dataset("tokens", {Hdf5Type::kInt32, {1}});
  odd.write<std::int32_t>("tokens", std::vector<std::int32_t>{5});
  odd.create_dataset("documents", {Hdf5Type::kInt64, {2}});
  odd.write<std::int64_t>("documents", std::vector<std::int64_t>{0, 1});
  odd.close();
  EXPECT_EQ(fault_of(ErrorKind::kData, [&] { make_training_loader(data({path("odd.h5")}, 8, "concat"), 259, 1); }),
            path("odd.h5") +
                ": was tokenized with models/other.model, which is not data.tokenizer, bytes; change one or "
                "tokenize again");
}

}  // namespace
}  // namespace longspan
