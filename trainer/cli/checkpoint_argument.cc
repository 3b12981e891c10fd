#include "trainer/cli/checkpoint_argument.h"

#include <filesystem>

#include "trainer/checkpoint/checkpoint.h"

namespace longspan {

std::string checkpoint_folder_in(const std::string& path) {
  const std::string inside = path + "/checkpoints";
  return std::filesystem::is_directory(inside) ? inside : path;
}

std::string find_checkpoint(const std::string& path, const std::function<void(const std::string&)>& warn) {
  LS_REQUIRE(kData, std::filesystem::is_directory(path), "{}: there is no such folder", path);
  const CheckpointInfo info = verify_checkpoint(path);
  if (info.whole) return path;
  LS_REQUIRE(kData, info.step < 0, "{}: refused: {}", path, info.fault);
  const std::string folder = checkpoint_folder_in(path);
  const auto newest = newest_checkpoint(folder, [&](const CheckpointInfo& refused) {
    warn(fmt::format("{}: refused: {}", refused.path, refused.fault));
  });
  LS_REQUIRE(kData, newest, "{}: holds no whole checkpoint", folder);
  return *newest;
}

}  // namespace longspan
