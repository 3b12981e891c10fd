#include "trainer/checkpoint/folders.h"

#include <algorithm>
#include <filesystem>

#include "kernels/core/error.h"

namespace longspan {

namespace fs = std::filesystem;

std::string step_folder_name(std::int64_t step) {
  return fmt::format("step-{:08d}", step);
}

std::int64_t step_of_folder(const std::string& path) {
  fs::path folder(path);
  if (!folder.has_filename()) folder = folder.parent_path();  // "step-00000200/"
  const std::string name = folder.filename();
  const std::string digits = name.starts_with("step-") ? name.substr(5) : "";
  if (digits.size() < 8 || digits.size() > 18 || !std::all_of(digits.begin(), digits.end(), ::isdigit)) return -1;
  return std::stoll(digits);
}

std::vector<StepFolder> step_folders(const std::string& folder) {
  std::vector<StepFolder> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::int64_t step = step_of_folder(entry->path());
    if (step >= 0) found.push_back({entry->path(), step});
  }
  LS_REQUIRE(kData, !error || error == std::errc::no_such_file_or_directory, "{}: cannot list it: {}", folder,
             error.message());
  std::sort(found.begin(), found.end(), [](const StepFolder& a, const StepFolder& b) { return a.step > b.step; });
  return found;
}

}  // namespace longspan
