// synthetic:passkey: a number hidden in filler text and asked for at the end, to train and test long memory.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/data/loader.h"

namespace longspan {

inline constexpr const char* kPasskeySource = "synthetic:passkey";

// A sequence is one document of exactly `length` byte tokens: begin, filler with "The pass key is NNNNN." at a place
// drawn evenly, a question, the answer, end. Only the tokens of the answer have labels, so the loss is that of recall
// and nothing else: ln 10 nats a digit where the model guesses. A pure function of (seed, index).
struct PasskeySequence {
  PackedSequence sequence;
  std::string key;                   // five digits
  std::int64_t key_position = 0;     // of its first digit where it is stated
  std::int64_t answer_position = 0;  // of its first digit in the answer
};
PasskeySequence make_passkey_sequence(std::int64_t length, std::uint64_t seed, std::int64_t index);

// The shortest sequence that has room for statement, question and answer.
std::int64_t shortest_passkey_sequence();

}  // namespace longspan
