// Conformance of what runs on the CPU.
#include "tests/conformance/target.h"

namespace longspan::testing {

Device target_device() {
  return Device::kCpu;
}
DeviceRuntime& target_runtime() {
  return host_runtime();
}
int num_schedules() {
  return 1;
}
void select_schedule(int) {}
std::string name_of_schedule(int) {
  return "as it comes";
}

}  // namespace longspan::testing
