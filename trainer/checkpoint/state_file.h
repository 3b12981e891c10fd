// state.json of a checkpoint: step, data cursor and the list of tensors.
#pragma once

#include <string>
#include <vector>

#include "trainer/checkpoint/checkpoint.h"

namespace longspan {

// The state without its config, and a checksum of each tensor's elements in the order of state.tensors.
struct StateFile {
  CheckpointState state;
  std::vector<std::string> checksums;
};

std::string to_json(const StateFile& file);
// `path` names the file in errors. Throws Error(kData).
StateFile state_file_from_json(const std::string& text, const std::string& path);

}  // namespace longspan
