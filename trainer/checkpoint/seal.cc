#include "trainer/checkpoint/seal.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>
#include <xxhash.h>

#include "trainer/io/text_file.h"

namespace longspan {
namespace {

constexpr std::array kSealedFiles = {kConfigFile, kStateFile, kTensorsFile};

[[noreturn]] void fail_at(const std::string& path, std::string_view what) {
  fail(ErrorKind::kEnvironment, "{}: cannot {}: {}", path, what, std::strerror(errno));
}

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string to_hex(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

struct FileSum {
  std::int64_t num_bytes = 0;
  std::string checksum;
};

// nullopt: the file cannot be read, errno says why.
std::optional<FileSum> sum_file(const std::string& path) {
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) return std::nullopt;
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  XXH3_128bits_reset(state.get());
  std::vector<char> buffer(std::size_t{1} << 20);
  FileSum sum;
  for (;;) {
    const ssize_t count = read(file.get(), buffer.data(), buffer.size());
    if (count < 0) return std::nullopt;
    if (count == 0) break;
    XXH3_128bits_update(state.get(), buffer.data(), static_cast<std::size_t>(count));
    sum.num_bytes += count;
  }
  sum.checksum = to_hex(XXH3_128bits_digest(state.get()));
  return sum;
}

std::string seal_text(std::int64_t step, const std::vector<FileSum>& sums) {
  std::string text = fmt::format("longspan checkpoint 1\nstep {}\n", step);
  for (std::size_t i = 0; i < kSealedFiles.size(); ++i)
    text += fmt::format("{} {} {}\n", kSealedFiles[i], sums[i].num_bytes, sums[i].checksum);
  return text + fmt::format("this {}\n", checksum(text.data(), static_cast<std::int64_t>(text.size())));
}

// The sums a seal's text lists; nullopt if anything in it is not as seal_text writes it.
std::optional<std::vector<FileSum>> parse_seal(const std::string& text, std::int64_t& step) {
  std::istringstream words(text);
  std::string longspan, checkpoint, version, word, name;
  if (!(words >> longspan >> checkpoint >> version >> word >> step)) return std::nullopt;
  std::vector<FileSum> sums(kSealedFiles.size());
  for (FileSum& sum : sums)
    if (!(words >> name >> sum.num_bytes >> sum.checksum)) return std::nullopt;
  if (seal_text(step, sums) != text) return std::nullopt;
  return sums;
}

}  // namespace

void write_file(const std::string& folder, std::string_view name, std::string_view contents) {
  const std::string path = fmt::format("{}/{}", folder, name);
  const Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (file.get() < 0) fail_at(path, "create it");
  while (!contents.empty()) {
    const ssize_t count = write(file.get(), contents.data(), contents.size());
    if (count < 0) fail_at(path, "write");
    contents.remove_prefix(static_cast<std::size_t>(count));
  }
  if (fsync(file.get()) != 0) fail_at(path, "sync");
}

void sync_path(const std::string& path) {
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) fail_at(path, "open it");
  if (fsync(file.get()) != 0) fail_at(path, "sync");
}

std::string checksum(const void* data, std::int64_t num_bytes) {
  return to_hex(XXH3_128bits(data, static_cast<std::size_t>(num_bytes)));
}

void write_seal(const std::string& folder, std::int64_t step) {
  std::vector<FileSum> sums;
  for (const std::string_view name : kSealedFiles) {
    const std::string path = fmt::format("{}/{}", folder, name);
    sync_path(path);
    const auto sum = sum_file(path);
    if (!sum) fail_at(path, "read it back");
    sums.push_back(*sum);
  }
  sync_path(folder);
  write_file(folder, kSealFile, seal_text(step, sums));
  sync_path(folder);
}

std::optional<std::string> find_seal_fault(const std::string& folder, std::int64_t step, Scrutiny scrutiny) {
  const std::string seal_path = fmt::format("{}/{}", folder, kSealFile);
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(seal_path, ignored))
    return fmt::format("{} is missing: the writing was interrupted", kSealFile);
  std::int64_t sealed_step = 0;
  std::string text;
  try {
    text = read_text_file(seal_path);
  } catch (const Error& error) {
    return error.what();
  }
  const auto sums = parse_seal(text, sealed_step);
  if (!sums) return fmt::format("{} is torn or altered", kSealFile);
  if (sealed_step != step) return fmt::format("the folder was renamed: {} says step {}", kSealFile, sealed_step);
  for (std::size_t i = 0; i < kSealedFiles.size(); ++i) {
    const std::string path = fmt::format("{}/{}", folder, kSealedFiles[i]);
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) return fmt::format("{}: {}", kSealedFiles[i], std::strerror(errno));
    const FileSum& expected = (*sums)[i];
    if (status.st_size != expected.num_bytes)
      return fmt::format("{} has {} bytes instead of {}", kSealedFiles[i], status.st_size, expected.num_bytes);
    if (scrutiny == Scrutiny::kSizes) continue;
    const auto sum = sum_file(path);
    if (!sum) return fmt::format("{}: cannot read: {}", kSealedFiles[i], std::strerror(errno));
    if (sum->checksum != expected.checksum)
      return fmt::format("{} is altered: its checksum is not the one it was written with", kSealedFiles[i]);
  }
  return std::nullopt;
}

}  // namespace longspan
