// Machines: rates between sizes, files that come back as they were, and those that are refused.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <unistd.h>

#include "tests/support/expect_error.h"
#include "tests/trainer/forecast/forecast_cases.h"
#include "trainer/forecast/machine_file.h"

namespace longspan::testing {
namespace {

TEST(Machine, RatesLieBetweenThoseOfTheNearestSizes) {
  const Machine machine = real_machine();
  EXPECT_EQ(machine.product_rate(16).forward, 1e11);
  EXPECT_EQ(machine.product_rate(128).weight_gradient, 0.9e11);
  EXPECT_EQ(machine.product_rate(4096).input_gradient, 2.2e11);
  // Half way by the logarithm: 128 x sqrt(8).
  EXPECT_NEAR(machine.product_rate(128 * std::sqrt(8)).forward, std::sqrt(2) * 1e11, 1);
  EXPECT_EQ(machine.attention_rate(128).backward, 0.8e11);
}

TEST(Machine, RanksThatShareCoresAreSlower) {
  Machine machine = ideal_machine();
  EXPECT_EQ(machine.slowdown(64, 4), 1);  // a GPU each
  machine.cores = 8;
  EXPECT_EQ(machine.slowdown(4, 2), 1);
  EXPECT_EQ(machine.slowdown(2, 1), 1);
  EXPECT_EQ(machine.slowdown(8, 2), 2);
}

TEST(Machine, ChipsAreTheirDatasheetsTimesWhatIsAssumed) {
  const Machine usual = machine_of_chip("H100");
  EXPECT_EQ(usual.precision, DType::kBF16);
  EXPECT_EQ(usual.peak, 989e12);
  EXPECT_DOUBLE_EQ(usual.product_rate(4096).forward, 0.6 * 989e12);
  EXPECT_NE(usual.source.find("not measured"), std::string::npos);
  const Machine half = machine_of_chip("A100", {.products = 0.5, .memory = 1});
  EXPECT_DOUBLE_EQ(half.head_rate, 156e12);
  EXPECT_DOUBLE_EQ(half.bytes_per_second, 2.039e12);
  expect_error(ErrorKind::kUsage, {"'H800'", "A100, H100, H200", "bench machine"}, [] { machine_of_chip("H800"); });
}

TEST(MachineFile, ComesBackAsItWas) {
  for (const Machine& machine : {ideal_machine(), real_machine(), machine_of_chip("H200")}) {
    Machine odd = machine;
    odd.cores = 2;
    odd.ranks = 4;
    odd.name = "a \"quoted\" name, \\ and ü";
    odd.node.bytes_per_second = 1.0 / 3;
    odd.overlap = TransferOverlap::kOnCore;
    EXPECT_EQ(machine_from_json(to_json(odd), "file"), odd);
  }
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("longspan-machine-{}.json", getpid());
  write_machine_file(real_machine(), path);
  EXPECT_EQ(read_machine_file(path), real_machine());
  std::filesystem::remove(path);
}

// The file of real_machine() with one piece of text for another.
std::string altered(std::string_view from, std::string_view to) {
  std::string text = to_json(real_machine());
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(MachineFile, RefusesWhatIsNone) {
  const auto expect_refusal = [](const std::string& text, std::initializer_list<std::string_view> parts) {
    expect_error(ErrorKind::kData, parts, [&] { machine_from_json(text, "here.json"); });
  };
  expect_refusal("", {"here.json", "not JSON", "bench machine"});
  expect_refusal("{\"a\": 1", {"not JSON"});
  expect_refusal("[1, 2]", {"no machine file"});
  expect_refusal("{}", {"no machine file"});
  expect_refusal("{\"format\": \"longspan-context-plan\", \"version\": 1}", {"no machine file"});
  expect_refusal(altered("\"version\": 1", "\"version\": 2"), {"another version"});
  expect_refusal(altered("\"head_rate\"", "\"headrate\""), {"head_rate", "missing"});
  expect_refusal(altered("\"cores\"", "\"colour\": 3, \"cores\""), {"colour is no field"});
  expect_refusal(altered("\"overlap\": \"hidden\"", "\"overlap\": \"some\""), {"overlap", "on_core"});
  expect_refusal(altered("\"ranks\": 1", "\"ranks\": 1.5"), {"ranks", "whole number"});
  expect_refusal(altered("\"ranks\": 1", "\"ranks\": \"one\""), {"ranks", "whole number"});
  expect_refusal(altered("\"ranks\": 1", "\"ranks\": 0"), {"at least 1"});
  expect_refusal(altered("\"width\": 1024.0", "\"width\": 64.0"), {"ascend"});
  expect_refusal(altered("\"width\": 128.0", "\"width\": -128.0"), {"positive"});
  expect_refusal(altered("\"weight_gradient\"", "\"weightgradient\""), {"products[0].weight_gradient", "missing"});
  expect_refusal(altered("\"bytes_per_second\": 20000000000.0", "\"bytes_per_second\": 0"), {"bytes_per_second is 0"});
  expect_refusal(altered("\"precision\": \"fp32\"", "\"precision\": \"fp64\""), {"precision", "bf16"});
  expect_error(ErrorKind::kData, {"nowhere.json", "bench machine"}, [] { read_machine_file("nowhere.json"); });
  expect_error(ErrorKind::kEnvironment, {"no/such/folder"},
               [] { write_machine_file(real_machine(), "no/such/folder/machine.json"); });
}

}  // namespace
}  // namespace longspan::testing
