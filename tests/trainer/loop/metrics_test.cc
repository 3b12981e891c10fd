// Metrics: a file that continues where a run resumes, values that read back exactly, a line made to be read.
#include "trainer/loop/metrics.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "kernels/core/error.h"
#include "trainer/loop/chip.h"

namespace longspan {
namespace {

namespace fs = std::filesystem;

class MetricsTest : public testing::Test {
 protected:
  MetricsTest() {
    std::string pattern = fs::temp_directory_path() / "longspan-metrics-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/metrics.jsonl";
  }
  ~MetricsTest() override { fs::remove_all(folder_); }

  std::vector<nlohmann::json> lines() const {
    std::ifstream file(path_);
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }
  static StepMetrics step_of(std::int64_t step) {
    return {.step = step, .loss = 1.0 / 3 + static_cast<double>(step), .lr = 3e-4, .seconds = 0.5, .tokens = 100};
  }
  std::string folder_, path_;
};

TEST_F(MetricsTest, ValuesReadBackExactly) {
  MetricsFile file(path_, 0);
  file.add(step_of(1));
  file.add_validation(1, 0.1);
  ASSERT_EQ(lines().size(), 2u);  // there before the file is closed
  EXPECT_EQ(lines()[0]["loss"].get<double>(), 1.0 / 3 + 1);
  EXPECT_EQ(lines()[0]["tokens_per_s"].get<double>(), 200);
  EXPECT_EQ(lines()[1]["validation_loss"].get<double>(), 0.1);
}

TEST_F(MetricsTest, ContinuesAfterTheStepThatWasSaved) {
  {
    MetricsFile file(path_, 0);
    for (std::int64_t step = 1; step <= 5; ++step) file.add(step_of(step));
    file.add_validation(3, 9);
  }
  std::ofstream(path_, std::ios::app) << "{\"step\": 2, \"lo";  // killed while writing
  MetricsFile file(path_, 3);
  file.add(step_of(4));
  ASSERT_EQ(lines().size(), 5u);
  EXPECT_EQ(lines()[3].at("validation_loss"), 9);
  EXPECT_EQ(lines()[4].at("step"), 4);
}

TEST_F(MetricsTest, AFreshRunStartsAFreshFile) {
  { MetricsFile(path_, 0).add(step_of(1)); }
  MetricsFile file(path_, 0);
  EXPECT_TRUE(lines().empty());
}

TEST_F(MetricsTest, SaysWhereItCannotWrite) {
  try {
    MetricsFile file(folder_ + "/none/metrics.jsonl", 0);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kEnvironment);
    EXPECT_NE(std::string(error.what()).find("none/metrics.jsonl"), std::string::npos);
  }
}

TEST(MetricsLine, HasWhatARunIsReadBy) {
  const StepMetrics metrics{.step = 12,
                            .loss = 5.25,
                            .grad_norm = 1.5,
                            .lr = 3e-4,
                            .seconds = 0.25,
                            .tokens = 1000,
                            .exposed = {.context = 0.002, .pipeline = 0.003, .data = 0.001},
                            .flops_per_token = 1e6};
  const std::string line = describe(metrics, 400);
  for (const char* part : {"step 12/400", "loss 5.250000", "norm 1.5000", "lr 3.000e-04", "250.0 ms", "4000 tokens/s",
                           "0.0040 TFLOP/s", "MFU n/a", "peak", "context 2.0 ms", "pipeline 3.0 ms", "data 1.0 ms"})
    EXPECT_NE(line.find(part), std::string::npos) << part << " in " << line;
}

TEST(MetricsLine, TellsTheShareOfWhatTheChipsCouldDo) {
  StepMetrics metrics{.step = 1, .seconds = 0.5, .tokens = 1000, .flops_per_token = 1e10};
  EXPECT_NE(describe(metrics, 1).find("MFU n/a"), std::string::npos);
  metrics.peak_flops = 5e13;
  EXPECT_NE(describe(metrics, 1).find("MFU 40.0%"), std::string::npos) << describe(metrics, 1);
}

TEST(Chip, HasAPeakOnlyWhereADatasheetGivesIt) {
  for (const char* name : {"NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB PCIe"})
    EXPECT_EQ(peak_flops_of(name, DType::kBF16), 312e12) << name;
  for (const char* name : {"NVIDIA H100 80GB HBM3", "NVIDIA H200"})
    EXPECT_EQ(peak_flops_of(name, DType::kBF16), 989e12) << name;
  for (const char* name : {"NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA H200 NVL", "NVIDIA B200", "cpu", "",
                           "emulated GPU (CUDA kernels on the host)"})
    EXPECT_EQ(peak_flops_of(name, DType::kBF16), std::nullopt) << name;
  EXPECT_EQ(peak_flops_of("NVIDIA H200", DType::kF32), std::nullopt);
}

}  // namespace
}  // namespace longspan
