// From a YAML node to a key's value.
#pragma once

#include <yaml-cpp/yaml.h>

#include <optional>
#include <string>

#include "trainer/config/key_table.h"

namespace longspan {

// Puts the node's value where the key has its place; what is wrong with it otherwise ("expected …, not …"), and the
// config stays as it is. Not for model.pattern, whose maps have keys of their own.
std::optional<std::string> read_value(const Key& key, const YAML::Node& node, Config& config);

// "'abc'", "a list", "nothing": a node as messages call it.
std::string describe_node(const YAML::Node& node);

}  // namespace longspan
