// The emulated GPU runs threads in the order it is told: a barrier that is missing shows as other bits.
#include <array>

#include "kernels/cuda/emulated/order.h"
#include "tests/conformance/target.h"

namespace longspan::testing {
namespace {

using cuda::emulated::OrderKind;

struct Schedule {
  const char* name;
  cuda::emulated::ThreadOrder order;
};
constexpr std::array<Schedule, 3> kSchedules = {
    Schedule{"threads forward", {OrderKind::kForward, 0}},
    Schedule{"threads reversed", {OrderKind::kReversed, 0}},
    Schedule{"threads shuffled", {OrderKind::kShuffled, 1}},
};

}  // namespace

int num_schedules() {
  return static_cast<int>(kSchedules.size());
}
void select_schedule(int schedule) {
  cuda::emulated::set_thread_order(kSchedules.at(static_cast<std::size_t>(schedule)).order);
}
std::string name_of_schedule(int schedule) {
  return kSchedules.at(static_cast<std::size_t>(schedule)).name;
}

}  // namespace longspan::testing
