// What is wrong with a drawing as XML: a small reader of what drawings are made of.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace longspan::testing {

// What is wrong with these characters between tags or in quotes; nullopt: nothing.
inline std::optional<std::string> text_fault(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '<') return "a < that opens no tag";
    if (static_cast<unsigned char>(text[i]) < 0x20 && text[i] != '\n') return "a control character";
    if (text[i] != '&') continue;
    const std::string_view name = text.substr(i, text.find(';', i) - i);
    if (name != "&lt" && name != "&gt" && name != "&amp" && name != "&quot") return "an & that begins no entity";
  }
  return std::nullopt;
}

// A small reader of what drawings are made of: tags with attributes in double quotes, and text.
inline std::optional<std::string> xml_fault(std::string_view text) {
  std::vector<std::string> open;
  bool begun = false;
  while (!text.empty()) {
    const std::size_t at = std::min(text.find('<'), text.size());
    if (const auto fault = text_fault(text.substr(0, at))) return fault;
    if (open.empty() && text.substr(0, at).find_first_not_of('\n') != std::string_view::npos)
      return "text outside of the root";
    text.remove_prefix(at);
    if (text.empty()) break;
    std::size_t end = 1;
    for (bool quoted = false; end < text.size() && (quoted || text[end] != '>'); ++end) quoted ^= text[end] == '"';
    if (end >= text.size()) return "a tag that does not end";
    std::string_view tag = text.substr(1, end - 1);
    text.remove_prefix(end + 1);
    if (tag.starts_with("/")) {
      if (open.empty() || open.back() != tag.substr(1)) return fmt::format("</{}> closes nothing", tag.substr(1));
      open.pop_back();
      continue;
    }
    const bool alone = tag.ends_with("/");
    if (alone) tag.remove_suffix(1);
    const std::string name(tag.substr(0, tag.find(' ')));
    if (open.empty() && begun) return "two roots";
    begun = true;
    if (!alone) open.push_back(name);
    tag.remove_prefix(name.size());
    std::set<std::string_view> attributes;
    while (!tag.empty()) {
      const std::size_t equals = tag.find("=\""), quote = tag.find('"', equals + 2);
      if (tag[0] != ' ' || equals == std::string_view::npos || quote == std::string_view::npos)
        return fmt::format("attributes of <{}> are torn: {}", name, tag);
      if (!attributes.insert(tag.substr(1, equals - 1)).second) return fmt::format("an attribute of <{}> twice", name);
      if (const auto fault = text_fault(tag.substr(equals + 2, quote - equals - 2))) return fault;
      tag.remove_prefix(quote + 1);
    }
  }
  if (!open.empty()) return fmt::format("<{}> is not closed", open.back());
  return begun ? std::nullopt : std::optional<std::string>("no root");
}

}  // namespace longspan::testing
