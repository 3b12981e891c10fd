#include "kernels/core/staged_copies.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "kernels/core/error.h"

namespace longspan {
namespace {

// A device whose copies land when its mark is waited for, at the earliest.
class SlowRuntime final : public DeviceRuntime {
 public:
  struct Copy {
    void* to;
    const void* from;
    std::int64_t num_bytes;
  };
  class Event final : public DeviceEvent {
   public:
    explicit Event(SlowRuntime& runtime) : runtime_(runtime) {}
    void record(Stream) override { mark_ = runtime_.queued; }
    void hold_back(Stream) override {}
    bool is_reached() override { return runtime_.landed >= mark_; }
    void wait() override { runtime_.land(mark_); }
    double milliseconds_since(const DeviceEvent&) const override { return 0; }

   private:
    SlowRuntime& runtime_;
    std::size_t mark_ = 0;
  };

  Device device() const override { return Device::kCuda; }
  std::string name() const override { return "slow"; }
  void make_current() override {}
  std::int64_t memory_bytes() const override { return 0; }
  void* allocate(std::int64_t) override { return nullptr; }
  void release(void*, std::int64_t) noexcept override {}
  void* allocate_pinned(std::int64_t num_bytes) override {
    if (refuses) return nullptr;
    void* memory = ::operator new(static_cast<std::size_t>(num_bytes));
    pinned[memory] = num_bytes;
    return memory;
  }
  void release_pinned(void* memory, std::int64_t num_bytes) noexcept override {
    EXPECT_EQ(pinned[memory], num_bytes);
    pinned.erase(memory);
    ::operator delete(memory);
  }
  Stream make_stream(StreamUse) override { return {}; }
  void destroy(Stream) noexcept override {}
  std::unique_ptr<DeviceEvent> make_event(EventTiming) override { return std::make_unique<Event>(*this); }
  void copy(Stream, void* to, const void* from, std::int64_t num_bytes) override {
    copies.push_back({to, from, num_bytes});
    ++queued;
  }
  void zero(Stream, void*, std::int64_t) override {}
  void synchronize(Stream) override { land(queued); }

  void land(std::size_t mark) {
    for (; landed < mark; ++landed)
      std::memcpy(copies[landed].to, copies[landed].from, static_cast<std::size_t>(copies[landed].num_bytes));
  }

  std::vector<Copy> copies;
  std::size_t queued = 0, landed = 0;
  std::map<void*, std::int64_t> pinned;
  bool refuses = false;
};

TEST(StagedCopies, KeepsWhatIsOnItsWay) {
  SlowRuntime runtime;
  {
    StagedCopies staged(runtime);
    std::vector<int> to(50, -1);
    for (int n = 0; n < 50; ++n) {
      const int value = n;  // gone before the copy lands
      staged.copy({}, &to[n], &value, sizeof(value));
    }
    EXPECT_GE(runtime.landed, 42u) << "more than eight cannot be under way";
    EXPECT_LT(runtime.landed, 50u) << "the last were not waited for";
    runtime.synchronize({});
    for (int n = 0; n < 50; ++n) EXPECT_EQ(to[n], n);
    EXPECT_EQ(runtime.pinned.size(), 8u);
  }
  EXPECT_TRUE(runtime.pinned.empty());
}

TEST(StagedCopies, UsesAPieceAgainAndLetsItGrow) {
  SlowRuntime runtime;
  StagedCopies staged(runtime);
  std::vector<char> from(200000, 'x'), to(200000);
  for (const std::int64_t size : {10, 200000, 0, 5}) {
    staged.copy({}, to.data(), from.data(), size);
    runtime.synchronize({});
  }
  EXPECT_EQ(to, from);
  ASSERT_EQ(runtime.pinned.size(), 1u);
  EXPECT_EQ(runtime.pinned.begin()->second, 262144);
}

TEST(StagedCopies, SaysThatThereIsNoMemory) {
  SlowRuntime runtime;
  StagedCopies staged(runtime);
  runtime.refuses = true;
  int value = 1;
  EXPECT_THROW(staged.copy({}, &value, &value, 4), Error);
  runtime.refuses = false;
  staged.copy({}, &value, &value, 4);
  EXPECT_EQ(runtime.queued, 1u);
}

}  // namespace
}  // namespace longspan
