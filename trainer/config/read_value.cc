#include "trainer/config/read_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "trainer/config/value_text.h"
#include "trainer/config/visitor.h"
#include "trainer/io/utf8.h"

namespace longspan {
namespace {

bool is_quoted(const YAML::Node& node) {
  return node.Tag() == "!";
}
bool is_text(const YAML::Node& node) {
  return node.IsScalar() && !first_invalid_utf8(node.Scalar());
}
bool is_null(const YAML::Node& node) {
  return node.IsNull();
}

// The whole scalar as a T; a quoted one is a text, never a number.
template <class T>
std::optional<T> number(const YAML::Node& node) {
  if (!node.IsScalar() || is_quoted(node)) return std::nullopt;
  std::string_view text = node.Scalar();
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  T value{};
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if constexpr (std::is_floating_point_v<T>) {
    if (!std::isfinite(value)) return std::nullopt;
  }
  return value;
}

template <class T>
bool within(const KeyTraits& t, T value) {
  const auto number = static_cast<double>(value);
  return number >= t.at_least && number > t.above && number <= t.at_most && number < t.below;
}

template <class T>
std::optional<T> number_within(const KeyTraits& traits, const YAML::Node& node) {
  const std::optional<T> value = number<T>(node);
  return value && within(traits, *value) ? value : std::nullopt;
}

// Each overload: true if the node had a value for the place.
struct Reader {
  const Key& key;
  const YAML::Node& node;
  Config& config;

  bool operator()(const Place<bool>& place) const {
    if (!node.IsScalar() || is_quoted(node) || (node.Scalar() != "true" && node.Scalar() != "false")) return false;
    place(config) = node.Scalar() == "true";
    return true;
  }
  template <class T>
  requires std::is_arithmetic_v<T>
  bool operator()(const Place<T>& place) const {
    const bool is_auto = key.traits.zero == Zero::kAuto && node.IsScalar() && node.Scalar() == "auto";
    const std::optional<T> value = is_auto ? T{0} : number_within<T>(key.traits, node);
    if (value) place(config) = *value;
    return value.has_value();
  }
  template <class T>
  bool operator()(const Place<std::optional<T>>& place) const {
    const std::optional<T> value = number_within<T>(key.traits, node);
    if (!value && !is_null(node)) return false;
    place(config) = value;
    return true;
  }
  bool operator()(const Place<std::string>& place) const {
    const auto& choices = key.traits.choices;
    if (!is_text(node)) return false;
    if (!choices.empty() && std::find(choices.begin(), choices.end(), node.Scalar()) == choices.end()) return false;
    place(config) = node.Scalar();
    return true;
  }
  bool operator()(const Place<std::vector<std::string>>& place) const {
    std::vector<std::string> texts;
    if (node.IsScalar()) {
      if (!is_text(node)) return false;
      texts.push_back(node.Scalar());
    } else {
      if (!node.IsSequence()) return false;
      for (const auto& item : node) {
        if (!is_text(item)) return false;
        texts.push_back(item.Scalar());
      }
    }
    place(config) = texts;
    return true;
  }
  template <class T>
  requires std::is_arithmetic_v<T>
  bool operator()(const Place<std::vector<T>>& place) const {
    if (!node.IsSequence()) return false;
    std::vector<T> numbers;
    for (const auto& item : node) {
      const std::optional<T> value = number_within<T>(key.traits, item);
      if (!value) return false;
      numbers.push_back(*value);
    }
    place(config) = numbers;
    return true;
  }
  bool operator()(const Place<std::vector<AttentionKind>>&) const { return false; }
  bool operator()(const ChosenPlace& place) const {
    const auto& choices = key.traits.choices;
    const auto found = node.IsScalar() ? std::find(choices.begin(), choices.end(), node.Scalar()) : choices.end();
    if (found == choices.end()) return false;
    place.set(config, static_cast<std::size_t>(found - choices.begin()));
    return true;
  }
};

}  // namespace

std::string describe_node(const YAML::Node& node) {
  if (node.IsScalar()) {
    if (first_invalid_utf8(node.Scalar())) return "bytes that are not UTF-8";
    return is_quoted(node) ? "the text \"" + node.Scalar() + "\"" : "'" + node.Scalar() + "'";
  }
  if (node.IsSequence()) {
    std::string text = "[";
    for (const auto& item : node) {
      text += (text.size() > 1 ? ", " : "") + (item.IsScalar() ? item.Scalar() : std::string("…"));
      if (text.size() > 60) break;
    }
    return "the list " + text + (text.size() > 60 ? ", …]" : "]");
  }
  return node.IsMap() ? "a map" : "nothing";
}

std::optional<std::string> read_value(const Key& key, const YAML::Node& node, Config& config) {
  if (std::visit(Reader{key, node, config}, key.place)) return std::nullopt;
  return "expected " + expected_value(key) + ", not " + describe_node(node);
}

}  // namespace longspan
