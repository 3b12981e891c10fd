#include "tests/conformance/target.h"

namespace longspan::testing {
namespace {

constexpr std::int64_t kWorkspaceBytes = std::int64_t{1} << 28;
constexpr std::int64_t kUnsetBytes = std::int64_t{1} << 20;

}  // namespace

TargetExec::TargetExec(int num_threads)
    : arena_("test workspace", kWorkspaceBytes, target_runtime()),
      exec_{target_device(), num_threads, &arena_, &target_runtime()} {
  const Arena::Scope scope(arena_);
  const Tensor first = arena_.allocate("unset", MemoryCategory::kWorkspace, DType::kI8, {kUnsetBytes});
  const std::vector<std::int8_t> unset(static_cast<std::size_t>(kUnsetBytes), -1);  // NaN in every float dtype
  target_runtime().copy({}, first.data, unset.data(), kUnsetBytes);
  target_runtime().synchronize({});
}

TargetMemory::~TargetMemory() {
  for (const Range& range : ranges_)
    if (range.there != range.host) target_runtime().release(range.there, range.num_bytes);
}

void TargetMemory::add(void* host, std::int64_t num_bytes) {
  auto* begin = static_cast<char*>(host);
  if (target_device() == Device::kCpu || num_bytes == 0) {
    ranges_.push_back({begin, begin, num_bytes});
    return;
  }
  auto* there = static_cast<char*>(target_runtime().allocate(num_bytes));
  LS_REQUIRE(kMemory, there, "{} refuses {} bytes", target_runtime().name(), num_bytes);
  ranges_.push_back({begin, there, num_bytes});
  target_runtime().copy(exec_.stream, there, host, num_bytes);
}

Tensor TargetMemory::operator()(const Tensor& host) const {
  if (!host) return host;
  Tensor there = host;
  there.device = target_device();
  const auto* data = static_cast<const char*>(host.data);
  for (const Range& range : ranges_)
    if (range.host <= data && data <= range.host + range.num_bytes) {
      there.data = range.there + (data - range.host);
      return there;
    }
  LS_CHECK(false, "{} lies in no memory of the test", host.describe());
}

void TargetMemory::bring_back() {
  for (const Range& range : ranges_)
    if (range.there != range.host) target_runtime().copy(exec_.stream, range.host, range.there, range.num_bytes);
  target_runtime().synchronize(exec_.stream);
}

}  // namespace longspan::testing
