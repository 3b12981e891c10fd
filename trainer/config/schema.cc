// The schema: every key with default, unit, what it takes and what it means.
#include <fmt/format.h>

#include "trainer/config/config.h"
#include "trainer/config/key_table.h"
#include "trainer/config/value_text.h"

namespace longspan {
namespace {

std::string top_section(const std::string& path) {
  return path.substr(0, path.find('.'));
}

std::string default_text(const Key& key) {
  const Config config = unresolved_config();
  const std::string text = value_text(key, config);
  return key.path == "model.pattern" ? "one map, model.attention" : text;
}

// "|" would end a cell.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

}  // namespace

std::string config_schema_text() {
  std::string out, section;
  for (const Key& key : key_table()) {
    if (top_section(key.path) != section) {
      section = top_section(key.path);
      out += fmt::format("{}{}\n", out.empty() ? "" : "\n", section);
    }
    const std::string unit = key.traits.unit.empty() ? "" : " " + key.traits.unit;
    out += fmt::format("  {} = {}{}\n      {}. Takes {}.\n", key.path, default_text(key), unit, key.meaning,
                       expected_value(key));
  }
  return out;
}

std::string config_schema_markdown() {
  std::string out =
      "# Keys of an experiment\n\n"
      "Written by `longspan config --schema=markdown` from the table that the parser uses.\n\n"
      "An experiment is one YAML file. Parts of a key stand indented below each other:\n\n"
      "```yaml\n"
      "model:\n"
      "  layers: 6\n"
      "  rope:\n"
      "    theta: 10000\n"
      "```\n\n"
      "Every key has a default. Any key, or a whole section, can be overridden on the command line:\n"
      "`--model.layers=8`, `--data.train='[a.h5, b.h5]'`, `--model.rope='{theta: 500000}'`; of two overrides of one "
      "key "
      "the\nlater holds. A key that is unknown, given twice, of the wrong type or out of range is an error, and all "
      "errors "
      "are\nshown at once with file, line and what was expected. `longspan config FILE` prints what a file resolves "
      "to.\n"
      "Paths are relative to the folder in which the program is started.\n";
  std::string section;
  for (const Key& key : key_table()) {
    if (top_section(key.path) != section) {
      section = top_section(key.path);
      out += fmt::format("\n## {}\n\n| key | default | unit | takes | meaning |\n|---|---|---|---|---|\n", section);
    }
    out += fmt::format("| `{}` | `{}` | {} | {} | {} |\n", key.path, cell(default_text(key)), key.traits.unit,
                       cell(expected_value(key)), cell(key.meaning));
  }
  return out;
}

}  // namespace longspan
