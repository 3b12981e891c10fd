// The folders step-NNNNNNNN of a checkpoint folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace longspan {

struct StepFolder {
  std::string path;
  std::int64_t step = 0;
};

std::string step_folder_name(std::int64_t step);
// Newest first; empty where there is no such folder. Other names are passed over.
std::vector<StepFolder> step_folders(const std::string& folder);
// The step a folder's name says; -1: it is not a checkpoint's name.
std::int64_t step_of_folder(const std::string& path);

}  // namespace longspan
