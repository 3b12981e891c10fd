#include "trainer/loop/run_folder.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/file.h>
#include <unistd.h>

#include "kernels/core/error.h"

namespace longspan {

RunFolder::RunFolder(std::string path) : path_(std::move(path)) {
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  LS_REQUIRE(kEnvironment, !error, "{}: cannot make the run's folder: {}; choose another with run.dir", path_,
             error.message());
  lock_ = open((path_ + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  LS_REQUIRE(kEnvironment, lock_ >= 0, "{}/lock: {}; choose another folder with run.dir", path_, std::strerror(errno));
  if (flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
  close(lock_);
  fail(ErrorKind::kEnvironment, "{}: another run is writing there; wait for it, or choose another run.name", path_);
}

RunFolder::~RunFolder() {
  close(lock_);
}

void RunFolder::write(const std::string& name, const std::string& contents) const {
  const std::string target = path_ + "/" + name;
  const std::string beside = target + ".partial";
  std::ofstream file(beside, std::ios::trunc);
  file << contents << std::flush;
  std::error_code error;
  if (file) std::filesystem::rename(beside, target, error);
  LS_REQUIRE(kEnvironment, file && !error, "{}: cannot write it; is the disk full?", target);
}

}  // namespace longspan
