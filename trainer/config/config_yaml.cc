// to_yaml: the resolved config, as it is printed first and saved with runs and checkpoints.
#include <fmt/format.h>

#include "trainer/config/config.h"
#include "trainer/config/key_table.h"
#include "trainer/config/value_text.h"

namespace longspan {
namespace {

std::string indent(const std::string& path) {
  return std::string(2 * static_cast<std::size_t>(std::count(path.begin(), path.end(), '.')), ' ');
}

std::string section_of(const std::string& path) {
  const std::size_t dot = path.find_last_of('.');
  return dot == std::string::npos ? "" : path.substr(0, dot);
}

// Headings of the sections that begin with this key.
void open_sections(const std::string& section, const std::string& previous, std::string& out) {
  if (section.empty() || (previous + ".").rfind(section + ".", 0) == 0) return;
  open_sections(section_of(section), previous, out);
  out += indent(section) + leaf_name(section) + ":\n";
}

}  // namespace

std::string to_yaml(const Config& config) {
  const bool alike = config.model.pattern.size() == 1;
  std::string out, section;
  for (const Key& key : key_table()) {
    const bool is_pattern = key.path == "model.pattern";
    if (alike ? is_pattern : section_of(key.path) == "model.attention") continue;
    open_sections(section_of(key.path), section, out);
    section = section_of(key.path);
    if (is_pattern) {
      out += indent(key.path) + "pattern:\n";
      for (const AttentionKind& attention : config.model.pattern) {
        out += indent(key.path) + "  - " + attention_text(attention) + "\n";
      }
    } else {
      out += fmt::format("{}{}: {}\n", indent(key.path), leaf_name(key.path), value_text(key, config));
    }
  }
  return out;
}

}  // namespace longspan
