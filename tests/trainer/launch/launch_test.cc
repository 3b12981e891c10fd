// Exit codes, the one error line, who may start ranks, and how cores are shared out.
#include "trainer/launch/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <optional>
#include <sched.h>
#include <string>

#include "trainer/launch/rank_place.h"
#include "trainer/launch/variables.h"

namespace longspan {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Sets an environment variable, or removes it, for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    put(value);
  }
  ~Variable() { put(old_ ? old_->c_str() : nullptr); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void put(const char* value) const { value != nullptr ? setenv(name_, value, 1) : unsetenv(name_); }

  const char* name_;
  std::optional<std::string> old_;
};

struct Result {
  int code;
  std::string stderr_text;
};

Result run(int ranks, const std::function<void(Communicator&)>& body) {
  ::testing::internal::CaptureStderr();
  const int code = run_ranks(ranks, {.timeout_ms = 60'000}, body);
  return {code, ::testing::internal::GetCapturedStderr()};
}

TEST(Launch, RunsAsManyThreadsAsAsked) {
  for (const auto& [asked, want] : {std::pair{0, 1}, {1, 1}, {3, 3}}) {
    std::atomic<int> num_ranks = 0;
    const Result result = run(asked, [&](Communicator& world) {
      EXPECT_EQ(world.size(), want);
      EXPECT_EQ(world.backend(), "local");
      ++num_ranks;
    });
    EXPECT_EQ(result.code, kExitOk);
    EXPECT_EQ(num_ranks, want);
    EXPECT_EQ(result.stderr_text, "");
  }
}

TEST(Launch, TellsAnErrorOnceWithItsRank) {
  const Result several = run(3, [](Communicator& world) {
    if (world.rank() == 2) fail(ErrorKind::kData, "tokens.h5: torn");
    world.barrier();
  });
  EXPECT_EQ(several.code, kExitData);
  EXPECT_EQ(several.stderr_text, "longspan: error: rank 2: tokens.h5: torn\n");
  const Result alone = run(1, [](Communicator&) { fail(ErrorKind::kData, "tokens.h5: torn"); });
  EXPECT_EQ(alone.stderr_text, "longspan: error: tokens.h5: torn\n");
}

TEST(Launch, EveryKindHasItsExitCode) {
  for (const auto& [kind, code] : {std::pair{ErrorKind::kUsage, 2},
                                   {ErrorKind::kUnsupported, 3},
                                   {ErrorKind::kData, 4},
                                   {ErrorKind::kMemory, 5},
                                   {ErrorKind::kAborted, 6},
                                   {ErrorKind::kEnvironment, 7},
                                   {ErrorKind::kInternal, 70}}) {
    EXPECT_EQ(run(1, [kind = kind](Communicator&) { throw Error(kind, "x"); }).code, code);
  }
  EXPECT_EQ(run(1, [](Communicator&) { throw std::bad_alloc(); }).code, kExitMemory);
  EXPECT_EQ(run(2, [](Communicator&) { throw std::bad_alloc(); }).code, kExitMemory);
  EXPECT_EQ(run(1, [](Communicator&) { throw std::out_of_range("x"); }).code, kExitInternal);
  for (const int num_ranks : {1, 2}) {
    const Result unknown = run(num_ranks, [](Communicator&) { throw 7; });
    EXPECT_EQ(unknown.code, kExitInternal);
    EXPECT_THAT(unknown.stderr_text, HasSubstr("exception of unknown type"));
  }
}

TEST(Launch, RefusesANegativeNumberOfRanks) {
  const Result result = run(-2, [](Communicator&) { ADD_FAILURE() << "ran"; });
  EXPECT_EQ(result.code, kExitUsage);
  EXPECT_THAT(result.stderr_text, StartsWith("longspan: error: --ranks -2"));
}

TEST(Launch, ReadsTorchrunsVariables) {
  const Variable no_open_mpi("OMPI_COMM_WORLD_SIZE", nullptr);
  const Variable rank("RANK", "0");
  {
    const Variable alone("WORLD_SIZE", "1");
    EXPECT_EQ(run(0, [](Communicator& world) { EXPECT_EQ(world.backend(), "local"); }).code, kExitOk);
  }
  const Variable world_size("WORLD_SIZE", "4");
  const Variable no_address("MASTER_ADDR", nullptr);
  const Result result = run(0, [](Communicator&) { ADD_FAILURE() << "ran"; });
  EXPECT_EQ(result.code, kExitUsage);
  EXPECT_THAT(result.stderr_text, HasSubstr("MASTER_ADDR"));
  const Variable address("MASTER_ADDR", "localhost");
  const Variable port("MASTER_PORT", "29500");
  const Result other_count = run(3, [](Communicator&) { ADD_FAILURE() << "ran"; });
  EXPECT_EQ(other_count.code, kExitUsage);
  EXPECT_THAT(other_count.stderr_text, AllOf(HasSubstr("--ranks 3"), HasSubstr("4 ranks")));
}

TEST(Launch, KnowsLaunchersByTheirVariables) {
  const Variable no_open_mpi("OMPI_COMM_WORLD_SIZE", nullptr);
  const Variable no_pmi_size("PMI_SIZE", nullptr);
  const Variable no_pmi_rank("PMI_RANK", nullptr);
  const Variable no_pmix("PMIX_RANK", nullptr);
  EXPECT_FALSE(launched_by_mpi());
  const Variable pmix("PMIX_RANK", "0");
  EXPECT_EQ(launched_by_mpi(), LONGSPAN_HAS_MPI == 1);
}

TEST(Launch, ThreadsTakeTheGpusInTurn) {
  const Variable told("LOCAL_RANK", "7");  // of this process, not of its threads
  run_local_ranks(3, {}, [&](Communicator& world) {
    const RankPlace place = place_of(world);
    EXPECT_EQ(place.local_rank, world.rank());
    EXPECT_EQ(place.local_size, 3);
    EXPECT_EQ(place.gpu_ordinal(2), world.rank() % 2);
    EXPECT_EQ(place.gpu_ordinal(0), 0);
  });
}

TEST(Launch, NumbersInVariablesAreChecked) {
  {
    const Variable odd("LOCAL_RANK", "first");
    EXPECT_THROW(number_in_variable("LOCAL_RANK"), Error);
  }
  const Variable number("LOCAL_RANK", "3");
  EXPECT_EQ(number_in_variable("LOCAL_RANK"), 3);
  const Variable absent("LOCAL_RANK", nullptr);
  EXPECT_EQ(number_in_variable("LOCAL_RANK"), std::nullopt);
}

TEST(Launch, SharesOutTheCoresOfAHost) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  ASSERT_EQ(sched_getaffinity(0, sizeof cores, &cores), 0);
  const int num_cores = CPU_COUNT(&cores);
  for (const int num_ranks : {1, 2, 3, 8}) {
    run_local_ranks(num_ranks, {}, [&](Communicator& world) {
      EXPECT_EQ(threads_per_rank(0, world), std::max(1, num_cores / num_ranks));
      EXPECT_EQ(threads_per_rank(5, world), 5);
    });
  }
}

// As a launcher would bind them: each rank has one core, and no more than that however many the host's ranks have.
TEST(Launch, RespectsTheCoresARankIsBoundTo) {
  run_local_ranks(2, {}, [](Communicator& world) {
    cpu_set_t one;
    CPU_ZERO(&one);
    ASSERT_EQ(sched_getaffinity(0, sizeof one, &one), 0);
    int first = 0;
    while (!CPU_ISSET(first, &one)) ++first;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    if (world.rank() == 1) {
      ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    }
    const int threads = threads_per_rank(0, world);
    EXPECT_TRUE(world.rank() == 0 || threads == 1) << threads;
  });
}

}  // namespace
}  // namespace longspan
