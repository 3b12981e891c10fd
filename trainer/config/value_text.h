// Values of keys as text: what is expected, and what a config holds.
#pragma once

#include <string>

#include "trainer/config/key_table.h"

namespace longspan {

// "an integer, at least 1": what a value of the key must be, for messages and the schema.
std::string expected_value(const Key& key);
// The key's value as YAML on one line; reads back to the same value.
std::string value_text(const Key& key, const Config& config);
// One map of model.pattern, as "{kind: softmax, …}".
std::string attention_text(const AttentionKind& attention);
// The last part of a path: "lr" of "optimizer.lr".
std::string leaf_name(const std::string& path);

}  // namespace longspan
