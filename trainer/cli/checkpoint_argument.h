// The folder a user names where a checkpoint is wanted: the checkpoint itself, or a run, or a folder of checkpoints.
#pragma once

#include <functional>
#include <string>

namespace longspan {

// The checkpoint that `path` means: itself if it is one, else the newest whole one in PATH/checkpoints or PATH.
// Refused ones are told through `warn`. Throws Error(kData) if it is not whole or there is none.
std::string find_checkpoint(const std::string& path, const std::function<void(const std::string&)>& warn);

// PATH/checkpoints where there is such a folder, else PATH.
std::string checkpoint_folder_in(const std::string& path);

}  // namespace longspan
