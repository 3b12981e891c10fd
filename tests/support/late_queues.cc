// Linked into a test program, the emulated GPU's queues do their work as late as promises allow, so that a wait that is
// missing shows.
#include <gtest/gtest.h>

#include "kernels/cuda/emulated/queues.h"

namespace longspan::cuda::emulated {
namespace {

class LateQueues : public ::testing::Environment {
 public:
  void SetUp() override { set_queue_timing(QueueTiming::kAtWaits); }
  void TearDown() override { set_queue_timing(QueueTiming::kAtOnce); }
};

const ::testing::Environment* const kLateQueues = ::testing::AddGlobalTestEnvironment(new LateQueues);

}  // namespace
}  // namespace longspan::cuda::emulated
