#include "trainer/config/config.h"

#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "kernels/core/error.h"
#include "trainer/config/faults.h"
#include "trainer/config/key_table.h"
#include "trainer/config/nearest_name.h"
#include "trainer/config/read_value.h"
#include "trainer/config/relations.h"

namespace longspan {
namespace {

// Known to the design, so that asking for one is not mistaken for a slip of the pen.
constexpr std::array kAttentionKindNames = {"softmax", "moba", "nsa", "linear"};
const std::string kAttention = "model.attention";
const std::string kPattern = "model.pattern";
constexpr int kAfterTheFile = 1 << 30;
// yaml-cpp closes a quote that is open at the end of the text without a word; before this mark it complains.
const std::string kEndOfDocument = "\n...\n";

// A key as the reader meets it: how messages call it, and its name in the table. They differ in model.pattern, whose
// maps have the keys of model.attention.
struct KeyName {
  std::string shown, path;
  KeyName child(const std::string& name) const {
    return path.empty() ? KeyName{name, name} : KeyName{shown + "." + name, path + "." + name};
  }
};

class Reader {
 public:
  explicit Reader(const std::string& file) { given_.file = file; }

  void read_file(const std::string& yaml) {
    if (const auto nul = yaml.find('\0'); nul != std::string::npos) {
      return faults_.add({given_.file, 0}, fmt::format("not a text file: byte {} is zero", nul));
    }
    try {
      const std::vector<YAML::Node> documents = YAML::LoadAll(yaml + kEndOfDocument);
      if (documents.size() > 1) {
        return faults_.add({fmt::format("{}:{}", given_.file, documents[1].Mark().line + 1), 0},
                           "a second YAML document begins; an experiment is one");
      }
      if (!documents.empty()) read_map(documents[0], documents[0].Mark(), {}, config_);
      read_ = true;
    } catch (const YAML::Exception& error) {
      faults_.add({fmt::format("{}:{}", given_.file, error.mark.line + 1), error.mark.line + 1}, syntax_fault(error));
    }
  }

  void read_override(const Override& override) {
    const auto& [path, text] = override;
    override_ = Origin{"--" + path, kAfterTheFile + static_cast<int>(++overrides_)};
    const Key* key = find_key(path);
    const bool list_of_texts = key != nullptr && std::holds_alternative<Place<std::vector<std::string>>>(key->place);
    const bool is_text = key != nullptr && std::holds_alternative<Place<std::string>>(key->place);
    try {
      const bool literal = is_text || (list_of_texts && text.rfind('[', 0) != 0);
      read_entry(literal ? YAML::Node(text) : YAML::Load(text + kEndOfDocument), {}, {path, path}, config_);
    } catch (const YAML::Exception& error) {
      faults_.add(*override_, syntax_fault(error));
    }
    override_.reset();
  }

  Config finish() {
    if (read_) {
      check_pattern_alone();
      resolve_relations(config_, given_, faults_);
    }
    if (!faults_.empty()) throw Error(ErrorKind::kUsage, faults_.text());
    return config_;
  }

 private:
  Origin origin(const YAML::Mark& mark, const KeyName& name) const {
    if (override_) return {override_->text + name.shown.substr(override_->text.size() - 2), override_->order};
    const std::string key = name.shown.empty() ? "" : ": " + name.shown;
    return {fmt::format("{}:{}{}", given_.file, mark.line + 1, key), mark.line + 1};
  }
  void fault(const YAML::Mark& mark, const KeyName& name, const std::string& what) {
    faults_.add(origin(mark, name), what);
    given_.wrong.insert(name.path);
  }
  static std::string syntax_fault(const YAML::Exception& error) {
    return fmt::format("not YAML: {} (column {}); indent with spaces, and put text with special characters in quotes",
                       error.msg, error.mark.column + 1);
  }

  // The keys one level below a section, for messages.
  static std::vector<std::string> keys_below(const std::string& section) {
    const std::string prefix = section.empty() ? "" : section + ".";
    std::vector<std::string> names;
    for (const Key& key : key_table()) {
      if (key.path.rfind(prefix, 0) != 0) continue;
      const std::string name = key.path.substr(prefix.size(), key.path.find('.', prefix.size()) - prefix.size());
      if (names.empty() || names.back() != name) names.push_back(name);
    }
    return names;
  }

  void read_map(const YAML::Node& node, const YAML::Mark& mark, const KeyName& section, Config& into) {
    if (node.IsNull()) return;
    const std::string what = section.path.empty() ? "sections" : "keys";
    if (!node.IsMap()) {
      return fault(mark, section,
                   fmt::format("expected a map of {} ({}), not {}", what, fmt::join(keys_below(section.path), ", "),
                               describe_node(node)));
    }
    if (section.path == kAttention && names_unbuilt_kind(node, section)) return;
    std::map<std::string, int> lines;
    for (const auto& entry : node) {
      const YAML::Mark at = entry.first.Mark();
      if (!entry.first.IsScalar()) {
        fault(at, section, "expected a key's name, not " + describe_node(entry.first));
        continue;
      }
      const KeyName name = section.child(entry.first.Scalar());
      if (entry.first.Scalar().find('.') != std::string::npos) {
        fault(at, name, "unknown key; in a file, keys stand indented below their section");
        continue;
      }
      const auto [known, fresh] = lines.try_emplace(entry.first.Scalar(), at.line + 1);
      if (fresh) {
        read_entry(entry.second, at, name, into);
      } else {
        fault(at, name, override_ ? "given twice" : fmt::format("given twice; first in line {}", known->second));
      }
    }
  }

  void read_entry(const YAML::Node& node, const YAML::Mark& mark, const KeyName& name, Config& into) {
    if (is_section(name.path)) return read_map(node, mark, name, into);
    const Key* key = find_key(name.path);
    if (key == nullptr) return fault(mark, name, unknown_key(name));
    if (&into == &config_) given_.origins[name.path] = origin(mark, name);
    if (name.path == kPattern) return read_pattern(node, mark, name, into);
    if (const auto what = read_value(*key, node, into)) fault(mark, name, *what);
  }

  std::string unknown_key(const KeyName& name) const {
    std::vector<std::string> candidates(key_sections().begin(), key_sections().end());
    for (const Key& key : key_table()) candidates.push_back(key.path);
    const std::string nearest = nearest_name(name.path, candidates);
    if (nearest.empty()) {
      const std::size_t dot = name.path.find_last_of('.');
      std::string section = dot == std::string::npos ? "" : name.path.substr(0, dot);
      if (!is_section(section)) section.clear();
      return fmt::format("unknown key; {} {}", section.empty() ? "the sections are" : section + " has",
                         fmt::join(keys_below(section), ", "));
    }
    const bool in_pattern = name.shown != name.path && nearest.rfind(kAttention, 0) == 0;
    const std::string meant = in_pattern ? nearest.substr(kAttention.size() + 1) : (override_ ? "--" : "") + nearest;
    return fmt::format("unknown key; did you mean {}?", meant);
  }

  // A kind of attention that the design names and this program does not have: its keys would only confuse.
  bool names_unbuilt_kind(const YAML::Node& node, const KeyName& section) {
    const YAML::Node kind = node["kind"];
    if (!kind || !kind.IsScalar()) return false;
    const auto& built = find_key("model.attention.kind")->traits.choices;
    const std::string name = kind.Scalar();
    const bool known =
        std::find(kAttentionKindNames.begin(), kAttentionKindNames.end(), name) != kAttentionKindNames.end();
    if (!known || std::find(built.begin(), built.end(), name) != built.end()) return false;
    fault(kind.Mark(), section.child("kind"),
          fmt::format("{} is not built in this version; there is {}", name, fmt::join(built, ", ")));
    return true;
  }

  void read_pattern(const YAML::Node& node, const YAML::Mark& mark, const KeyName& name, Config& into) {
    if (!node.IsSequence() || node.size() == 0) {
      const std::string what = node.IsSequence() ? "an empty list" : describe_node(node);
      return fault(mark, name, "expected a list of maps, one a layer, such as [{window: 512}, {}], not " + what);
    }
    std::vector<AttentionKind> pattern;
    for (std::size_t i = 0; i < node.size(); ++i) {
      Config scratch;
      read_map(node[i], node[i].Mark(), {fmt::format("{}[{}]", name.shown, i), kAttention}, scratch);
      pattern.push_back(scratch.model.pattern.front());
    }
    into.model.pattern = pattern;
  }

  void check_pattern_alone() {
    const auto pattern = given_.origins.find(kPattern);
    if (pattern == given_.origins.end()) return;
    for (const auto& [path, where] : given_.origins) {
      if (path.rfind(kAttention + ".", 0) != 0) continue;
      return faults_.add(std::max(pattern->second, where, [](auto& a, auto& b) { return a.order < b.order; }),
                         "model.attention and model.pattern are given; give one of them");
    }
  }

  bool read_ = false;  // else what the file says is unknown, and relations would be with defaults
  Config config_ = unresolved_config();
  GivenKeys given_;
  Faults faults_;
  std::optional<Origin> override_;  // while one is read
  int overrides_ = 0;
};

}  // namespace

Config parse_config(const std::string& yaml, const std::string& file_name, const std::vector<Override>& overrides) {
  Reader reader(file_name);
  reader.read_file(yaml);
  for (const Override& override : overrides) reader.read_override(override);
  return reader.finish();
}

Config load_config(const std::string& path, const std::vector<Override>& overrides) {
  LS_REQUIRE(kUsage, !std::filesystem::is_directory(path), "{}: is a folder; name an experiment's file in it", path);
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file && file.peek() != std::ifstream::traits_type::eof()) text << file.rdbuf();
  LS_REQUIRE(kUsage, !file.bad() && file.is_open(), "{}: cannot read the experiment: {}", path, std::strerror(errno));
  return parse_config(text.str(), path, overrides);
}

}  // namespace longspan
