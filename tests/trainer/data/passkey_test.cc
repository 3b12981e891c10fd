// synthetic:passkey: the key is where it is said to be, asked once, and the only thing with labels.
#include "trainer/data/passkey.h"

#include <set>

#include "tests/trainer/data/scratch.h"

namespace longspan {
namespace {

std::string text_of(const PackedSequence& sequence) {
  return make_tokenizer("bytes")->decode(sequence.tokens);
}

TEST(Passkey, HidesAKeyAndAsksForIt) {
  for (const std::int64_t length : {shortest_passkey_sequence(), shortest_passkey_sequence() + 1, std::int64_t{257},
                                    std::int64_t{1024}, std::int64_t{8191}}) {
    for (std::int64_t index = 0; index < 20; ++index) {
      const PasskeySequence made = make_passkey_sequence(length, 3, index);
      const PackedSequence& s = made.sequence;
      ASSERT_EQ(static_cast<std::int64_t>(s.tokens.size()), length);
      ASSERT_EQ(s.labels.size(), s.tokens.size());
      EXPECT_EQ(s.cu_seqlens, (std::vector<std::int64_t>{0, length}));
      EXPECT_EQ(s.tokens.front(), 256);
      EXPECT_EQ(s.tokens.back(), 257);
      EXPECT_EQ(made.key.size(), 5u);
      EXPECT_EQ(made.key.find_first_not_of("0123456789"), std::string::npos);
      for (std::int64_t i = 0; i < 5; ++i) {
        EXPECT_EQ(s.tokens[static_cast<std::size_t>(made.key_position + i)], made.key[static_cast<std::size_t>(i)]);
        EXPECT_EQ(s.tokens[static_cast<std::size_t>(made.answer_position + i)], made.key[static_cast<std::size_t>(i)]);
      }
      EXPECT_LT(made.key_position + 5, made.answer_position);
      const std::string text = text_of(s);
      const std::size_t stated = text.find(made.key);
      EXPECT_EQ(text.find(made.key, stated + 1), text.rfind(made.key));
    }
  }
}

TEST(Passkey, OnlyTheAnswerHasLabels) {
  const PasskeySequence made = make_passkey_sequence(600, 1, 5);
  for (std::int64_t t = 0; t < 600; ++t) {
    const bool asked = t + 1 >= made.answer_position && t + 1 < made.answer_position + 5;
    const std::int32_t label = made.sequence.labels[static_cast<std::size_t>(t)];
    EXPECT_EQ(label, asked ? made.sequence.tokens[static_cast<std::size_t>(t + 1)] : -1) << t;
  }
}

TEST(Passkey, DependsOnSeedAndIndexOnly) {
  EXPECT_EQ(make_passkey_sequence(500, 1, 7).sequence.tokens, make_passkey_sequence(500, 1, 7).sequence.tokens);
  EXPECT_NE(make_passkey_sequence(500, 1, 7).sequence.tokens, make_passkey_sequence(500, 1, 8).sequence.tokens);
  EXPECT_NE(make_passkey_sequence(500, 1, 7).sequence.tokens, make_passkey_sequence(500, 2, 7).sequence.tokens);
}

TEST(Passkey, PlacesAndKeysSpreadOut) {
  std::set<std::string> keys;
  std::vector<int> quarter(4, 0), digits(10, 0);
  for (std::int64_t index = 0; index < 800; ++index) {
    const PasskeySequence made = make_passkey_sequence(1 << 10, 9, index);
    keys.insert(made.key);
    ++quarter[static_cast<std::size_t>(std::min<std::int64_t>(3, made.key_position * 4 / 1000))];
    for (const char digit : made.key) ++digits[static_cast<std::size_t>(digit - '0')];
  }
  EXPECT_GT(keys.size(), 780u);
  for (const int count : quarter) EXPECT_GT(count, 130);
  for (const int count : digits) EXPECT_NEAR(count, 400, 100);
}

TEST(Passkey, TooShortASequenceIsRefused) {
  const std::int64_t shortest = shortest_passkey_sequence();
  EXPECT_EQ(fault_of(ErrorKind::kUsage, [&] { make_passkey_sequence(shortest - 1, 1, 0); }),
            "data.sequence_length: " + std::to_string(shortest - 1) +
                " is too short for synthetic:passkey, which needs " + std::to_string(shortest));
}

}  // namespace
}  // namespace longspan
