// RunFolder: RUN on the disk, held by one run at a time.
#pragma once

#include <string>

namespace longspan {

// Makes the folder and takes its lock until destroyed; the system gives it back if the process dies.
// Throws Error(kEnvironment), also when another run holds it.
class RunFolder {
 public:
  explicit RunFolder(std::string path);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  // Replaces RUN/name as a whole.
  void write(const std::string& name, const std::string& contents) const;

 private:
  std::string path_;
  int lock_ = -1;
};

}  // namespace longspan
