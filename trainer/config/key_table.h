// The key table: every key of an experiment once, with all that parser, writer and schema need to know of it.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "trainer/config/config.h"

namespace longspan {

// Where a key's value stands in a Config.
template <class T>
using Place = std::function<T&(Config&)>;

// A value out of KeyTraits::choices that is an enumeration in Config.
struct ChosenPlace {
  std::function<std::size_t(const Config&)> get;
  std::function<void(Config&, std::size_t)> set;
};

using AnyPlace = std::variant<Place<bool>, Place<std::int64_t>, Place<std::uint64_t>, Place<double>,
                              Place<std::optional<double>>, Place<std::optional<float>>, Place<std::string>,
                              Place<std::vector<std::string>>, Place<std::vector<double>>,
                              Place<std::vector<std::int64_t>>, Place<std::vector<AttentionKind>>, ChosenPlace>;

// What an integer 0 is written as.
enum class Zero : std::uint8_t { kPlain, kAuto };

inline constexpr double kNoLimit = std::numeric_limits<double>::infinity();

struct KeyTraits {
  std::string unit = {};
  double at_least = -kNoLimit, above = -kNoLimit, at_most = kNoLimit, below = kNoLimit;
  std::vector<std::string> choices = {};  // of a text; empty: any
  Zero zero = Zero::kPlain;
};

struct Key {
  std::string path;  // "optimizer.lr"
  AnyPlace place;
  std::string meaning;
  KeyTraits traits = {};
};

// Keys in the order in which they are printed; a section's keys stand together.
std::span<const Key> key_table();
// Paths of the sections ("model", "model.rope", …) in the order of the table.
std::span<const std::string> key_sections();
const Key* find_key(const std::string& path);
bool is_section(const std::string& path);

// The values before anything is read: what follows from other keys (model.kv_heads, …) is 0, "auto".
Config unresolved_config();

}  // namespace longspan
