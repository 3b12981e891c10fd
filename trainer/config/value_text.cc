#include "trainer/config/value_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "trainer/config/visitor.h"

namespace longspan {
namespace {

constexpr std::string_view kAttention = "model.attention.";

std::string limits_text(const KeyTraits& t) {
  const bool lower = std::isfinite(t.at_least) || std::isfinite(t.above);
  std::string text;
  if (std::isfinite(t.at_least)) text = fmt::format(", at least {}", t.at_least);
  if (std::isfinite(t.above)) text = fmt::format(", above {}", t.above);
  if (std::isfinite(t.at_most)) text += fmt::format("{} at most {:.0f}", lower ? " and" : ",", t.at_most);
  if (std::isfinite(t.below)) text += fmt::format("{} below {}", lower ? " and" : ",", t.below);
  if (t.at_most == 1) text = fmt::format(", from {} to 1", t.at_least);
  return text;
}

bool is_plain(const std::string& text) {
  constexpr std::array<std::string_view, 9> kReserved = {"null", "Null",  "NULL",  "true", "True",
                                                         "TRUE", "false", "False", "FALSE"};
  if (text.empty() || std::find(kReserved.begin(), kReserved.end(), text) != kReserved.end()) return false;
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto inner = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '/' || c == '-'; };
  if (!letter(text.front()) && text.front() != '/' && text.compare(0, 2, "./") != 0 && text.compare(0, 3, "../") != 0) {
    return false;
  }
  for (std::size_t i = 1; i < text.size(); ++i) {
    const bool inner_colon = text[i] == ':' && i + 1 < text.size() && inner(text[i + 1]);
    if (!inner(text[i]) && !inner_colon) return false;
  }
  return true;
}

std::string quoted(const std::string& text) {
  if (is_plain(text)) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

template <class T>
std::string list_text(const std::vector<T>& values, std::string (*text)(const T&)) {
  std::vector<std::string> parts;
  for (const T& value : values) parts.push_back(text(value));
  return fmt::format("[{}]", fmt::join(parts, ", "));
}

template <class T>
std::string number_text(const T& value) {
  return fmt::format("{}", value);
}

}  // namespace

std::string leaf_name(const std::string& path) {
  return path.substr(path.find_last_of('.') + 1);
}

std::string expected_value(const Key& key) {
  const KeyTraits& t = key.traits;
  const std::string limits = limits_text(t);
  if (!t.choices.empty()) {
    return t.choices.size() == 1 ? t.choices[0] : fmt::format("one of {}", fmt::join(t.choices, ", "));
  }
  const std::string or_auto = t.zero == Zero::kAuto ? ", or auto" : "";
  return std::visit(
      Visitor{
          [&](const Place<bool>&) -> std::string { return "true or false"; },
          [&](const Place<std::int64_t>&) { return "an integer" + limits + or_auto; },
          [&](const Place<std::uint64_t>&) -> std::string { return "an integer from 0 to 18446744073709551615"; },
          [&](const Place<double>&) { return "a number" + limits + or_auto; },
          [&](const Place<std::optional<double>>&) { return "a number" + limits + ", or null"; },
          [&](const Place<std::optional<float>>&) { return "a number" + limits + ", or null"; },
          [&](const Place<std::string>&) -> std::string { return "text"; },
          [&](const Place<std::vector<std::string>>&) -> std::string { return "a text or a list of texts"; },
          [&](const Place<std::vector<double>>&) { return "a list of numbers" + limits; },
          [&](const Place<std::vector<std::int64_t>>&) { return "a list of integers" + limits; },
          [&](const Place<std::vector<AttentionKind>>&) -> std::string { return "a list of maps"; },
          [&](const ChosenPlace&) -> std::string { return "one of the choices"; },
      },
      key.place);
}

std::string attention_text(const AttentionKind& attention) {
  Config config;
  config.model.pattern = {attention};
  std::vector<std::string> entries;
  for (const Key& key : key_table()) {
    if (key.path.compare(0, kAttention.size(), kAttention) == 0) {
      entries.push_back(leaf_name(key.path) + ": " + value_text(key, config));
    }
  }
  return fmt::format("{{{}}}", fmt::join(entries, ", "));
}

std::string value_text(const Key& key, const Config& config) {
  Config copy = config;  // places hand out references to change
  const bool zero_is_auto = key.traits.zero == Zero::kAuto;
  return std::visit(
      Visitor{
          [&](const Place<bool>& place) -> std::string { return place(copy) ? "true" : "false"; },
          [&](const Place<std::int64_t>& place) {
            return zero_is_auto && place(copy) == 0 ? "auto" : std::to_string(place(copy));
          },
          [&](const Place<std::uint64_t>& place) { return std::to_string(place(copy)); },
          [&](const Place<double>& place) { return number_text(place(copy)); },
          [&](const Place<std::optional<double>>& place) {
            return place(copy) ? fmt::format("{}", *place(copy)) : "null";
          },
          [&](const Place<std::optional<float>>& place) {
            return place(copy) ? fmt::format("{}", *place(copy)) : "null";
          },
          [&](const Place<std::string>& place) { return quoted(place(copy)); },
          [&](const Place<std::vector<std::string>>& place) { return list_text(place(copy), quoted); },
          [&](const Place<std::vector<double>>& place) { return list_text(place(copy), number_text<double>); },
          [&](const Place<std::vector<std::int64_t>>& place) {
            return list_text(place(copy), number_text<std::int64_t>);
          },
          [&](const Place<std::vector<AttentionKind>>& place) { return list_text(place(copy), attention_text); },
          [&](const ChosenPlace& place) { return key.traits.choices[place.get(copy)]; },
      },
      key.place);
}

}  // namespace longspan
