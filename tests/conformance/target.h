// Where a conformance program runs implementations: each program is linked with one target_*.cc.
#pragma once

#include <string>
#include <vector>

#include "kernels/core/exec.h"

namespace longspan::testing {

Device target_device();
// Its runtime; the same each time.
DeviceRuntime& target_runtime();

// Orders in which the target may run a kernel's threads. Results must have the same bits under each.
int num_schedules();
void select_schedule(int schedule);  // 0 is the one the device starts with
std::string name_of_schedule(int schedule);

// An Exec on the target with a workspace of its own, whose first bytes are no zeros.
class TargetExec {
 public:
  explicit TargetExec(int num_threads);

  const Exec& exec() const { return exec_; }
  operator const Exec&() const { return exec_; }  // NOLINT: used as one
  Arena& arena() { return arena_; }

 private:
  Arena arena_;
  Exec exec_;
};

// Host memory that an implementation is to work on, as it finds it on the target: copied there when first asked for,
// and back when told. On the CPU it stays where it is.
class TargetMemory {
 public:
  explicit TargetMemory(const Exec& exec) : exec_(exec) {}
  ~TargetMemory();
  TargetMemory(const TargetMemory&) = delete;
  TargetMemory& operator=(const TargetMemory&) = delete;

  // Memory that tensors may lie in, guards and gaps included.
  void add(void* host, std::int64_t num_bytes);
  // The same tensor on the target. Absent tensors stay absent; one in memory that was not added is an error.
  Tensor operator()(const Tensor& host) const;
  void bring_back();

 private:
  struct Range {
    char* host;
    char* there;
    std::int64_t num_bytes;
  };
  const Exec& exec_;
  std::vector<Range> ranges_;
};

}  // namespace longspan::testing
