#include "kernels/core/error.h"

#include <gtest/gtest.h>

#include "kernels/core/log.h"
#include "kernels/ops/op_list.h"
#include "tests/support/expect_error.h"

namespace longspan {
namespace {

using testing::expect_error;

TEST(Error, ChecksNamePlaceConditionAndValues) {
  const auto broken = [] { LS_CHECK(1 + 1 == 3, "one and one make {}", 2); };
  expect_error(ErrorKind::kInternal, {"error_test.cc:", "expected 1 + 1 == 3", "one and one make 2"}, broken);
  EXPECT_NO_THROW([] { LS_CHECK(true, "never"); }());
}

TEST(Error, RequirementsCarryTheirKind) {
  expect_error(ErrorKind::kData, {"file x is torn; fetch it again"},
               [] { LS_REQUIRE(kData, false, "file {} is torn; fetch it again", "x"); });
}

struct FakeDesc {
  int size = 0;
  std::string describe() const { return fmt::format("size {}", size); }
};
struct FakeOp {
  std::string_view label;
  int limit = 0;
  std::string_view name() const { return label; }
  Refusal why_unsupported(const FakeDesc& desc) const {
    if (desc.size <= limit) return std::nullopt;
    return fmt::format("takes at most {}", limit);
  }
};

const FakeOp kSmall{"small", 4}, kLarge{"large", 100};
const FakeOp* const kFakes[] = {&kSmall, &kLarge};

TEST(OpList, TakesTheFirstThatDoesNotRefuseAndLogsItOnce) {
  std::vector<std::string> lines;
  set_log_sink([&](LogLevel level, const std::string& line) {
    EXPECT_EQ(level, LogLevel::kOps);
    lines.push_back(line);
  });
  const std::span<const FakeOp* const> list = kFakes;
  EXPECT_EQ(choose("fake", list, FakeDesc{3}).name(), "small");
  EXPECT_EQ(choose("fake", list, FakeDesc{50}).name(), "large");
  EXPECT_EQ(choose("fake", list, FakeDesc{50}).name(), "large");
  set_log_sink(nullptr);
  EXPECT_EQ(lines, (std::vector<std::string>{"fake size 3: small", "fake size 50: large; small: takes at most 4"}));
}

TEST(OpList, TellsEveryReasonWhenAllRefuse) {
  const std::span<const FakeOp* const> list = kFakes;
  expect_error(ErrorKind::kUnsupported, {"fake size 101", "small: takes at most 4", "large: takes at most 100"},
               [&] { choose("fake", list, FakeDesc{101}); });
}

}  // namespace
}  // namespace longspan
