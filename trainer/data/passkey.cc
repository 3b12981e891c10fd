#include "trainer/data/passkey.h"

#include <array>

#include "kernels/core/error.h"
#include "trainer/data/random.h"

namespace longspan {
namespace {

constexpr std::int32_t kBegin = 256, kEnd = 257;
constexpr std::int64_t kDigits = 5;
constexpr std::string_view kStated = "\nThe pass key is ", kStatedEnd = ". Keep it in mind.\n";
constexpr std::string_view kAsked = "\nWhat is the pass key? The pass key is ", kAskedEnd = ".";
constexpr std::uint64_t kStream = 0x7061737365730001ULL;  // apart from other draws with the same seed

constexpr std::array<std::string_view, 12> kFiller = {
    "The river is wide here and the water is slow. ",
    "Two boats went out before the rain. ",
    "Somebody left a lamp burning in the hall. ",
    "The road climbs past the mill and turns north. ",
    "Bread was baked in the morning. ",
    "A letter lay unopened on the table. ",
    "Snow fell all night on the quiet roofs. ",
    "The clock in the tower is a little late. ",
    "They counted the sheep and closed the gate. ",
    "Wind moved the tall grass by the wall. ",
    "The market was busy until noon. ",
    "An old map hung above the fire. ",
};

std::string filler(std::int64_t length, SplitMix64& random) {
  std::string text;
  while (static_cast<std::int64_t>(text.size()) < length) {
    text += kFiller[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(kFiller.size())))];
  }
  text.resize(static_cast<std::size_t>(length));
  return text;
}

}  // namespace

std::int64_t shortest_passkey_sequence() {
  const auto fixed = kStated.size() + kStatedEnd.size() + kAsked.size() + kAskedEnd.size();
  return static_cast<std::int64_t>(fixed) + 2 * kDigits + 2;
}

PasskeySequence make_passkey_sequence(std::int64_t length, std::uint64_t seed, std::int64_t index) {
  const std::int64_t room = length - shortest_passkey_sequence();
  LS_REQUIRE(kUsage, room >= 0, "data.sequence_length: {} is too short for {}, which needs {}", length, kPasskeySource,
             shortest_passkey_sequence());
  SplitMix64 random(mix_seeds(seed, kStream, static_cast<std::uint64_t>(index)));
  PasskeySequence made;
  for (std::int64_t i = 0; i < kDigits; ++i) made.key += static_cast<char>('0' + random.below(10));
  const std::int64_t before = random.below(room + 1);
  std::string text = filler(before, random);
  text += kStated;
  made.key_position = static_cast<std::int64_t>(text.size()) + 1;  // after the begin token
  text += made.key;
  text += kStatedEnd;
  text += filler(room - before, random);
  text += kAsked;
  made.answer_position = static_cast<std::int64_t>(text.size()) + 1;
  text += made.key;
  text += kAskedEnd;

  PackedSequence& sequence = made.sequence;
  sequence.tokens.push_back(kBegin);
  for (const char c : text) sequence.tokens.push_back(static_cast<unsigned char>(c));
  sequence.tokens.push_back(kEnd);
  sequence.labels.assign(sequence.tokens.size(), -1);
  for (std::int64_t at = made.answer_position; at < made.answer_position + kDigits; ++at) {
    sequence.labels[static_cast<std::size_t>(at - 1)] = sequence.tokens[static_cast<std::size_t>(at)];
  }
  sequence.cu_seqlens = {0, length};
  return made;
}

}  // namespace longspan
