#include "kernels/cuda/emulated/memory.h"

#include <iterator>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/core/error.h"

namespace longspan::cuda::emulated {
namespace {

constexpr std::uintptr_t kAlignment = 256;

struct Range {
  char* pages = nullptr;  // open or closed as a whole; one more, always closed, lies behind
  std::size_t num_bytes = 0;
  char* end = nullptr;  // of what the caller has; not beyond the pages
};

struct Ranges {
  std::mutex mutex;
  std::map<const char*, Range> by_begin;
  int open = 0;
};
Ranges& ranges() {
  static Ranges instance;
  return instance;
}

std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE));
  return bytes;
}

void protect_all(const Ranges& all, int protection) {
  for (const auto& [begin, range] : all.by_begin) mprotect(range.pages, range.num_bytes, protection);
}

}  // namespace

void* allocate_device(std::int64_t num_bytes) {
  const auto wanted = (static_cast<std::size_t>(num_bytes) + kAlignment - 1) / kAlignment * kAlignment;
  const std::size_t page = page_bytes(), pages = (wanted + page - 1) / page * page;
  void* memory = mmap(nullptr, pages + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  // What the caller has ends where the pages end, so that whoever runs over its end meets the forbidden page.
  Range range{static_cast<char*>(memory), pages, static_cast<char*>(memory) + pages};
  char* begin = range.end - wanted;
  Ranges& all = ranges();
  const std::lock_guard lock(all.mutex);
  all.by_begin.emplace(begin, range);
  if (all.open > 0) mprotect(range.pages, range.num_bytes, PROT_READ | PROT_WRITE);
  return begin;
}

void release_device(void* memory) noexcept {
  if (!memory) return;
  Ranges& all = ranges();
  const std::lock_guard lock(all.mutex);
  const auto found = all.by_begin.find(static_cast<const char*>(memory));
  if (found == all.by_begin.end()) return;
  munmap(found->second.pages, found->second.num_bytes + page_bytes());
  all.by_begin.erase(found);
}

bool is_device_memory(const void* begin, std::int64_t num_bytes) {
  const char* first = static_cast<const char*>(begin);
  Ranges& all = ranges();
  const std::lock_guard lock(all.mutex);
  const auto after = all.by_begin.upper_bound(first);
  return after != all.by_begin.begin() && first + num_bytes <= std::prev(after)->second.end;
}

OpenMemory::OpenMemory() {
  Ranges& all = ranges();
  const std::lock_guard lock(all.mutex);
  if (all.open++ == 0) protect_all(all, PROT_READ | PROT_WRITE);
}

OpenMemory::~OpenMemory() {
  Ranges& all = ranges();
  const std::lock_guard lock(all.mutex);
  if (--all.open == 0) protect_all(all, PROT_NONE);
}

}  // namespace longspan::cuda::emulated
