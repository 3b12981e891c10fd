#include "trainer/loop/metrics.h"

#include <nlohmann/json.hpp>

#include <filesystem>

#include "kernels/core/error.h"
#include "trainer/loop/memory_budget.h"

namespace longspan {
namespace {

constexpr double kMilli = 1e3;

double mib(std::int64_t num_bytes) {
  return static_cast<double>(num_bytes) / (1 << 20);
}
double tokens_per_second(const StepMetrics& m) {
  return static_cast<double>(m.tokens) / m.seconds;
}
double tera_flops(const StepMetrics& m) {
  return tokens_per_second(m) * m.flops_per_token * 1e-12;
}

std::string model_flops_utilisation(const StepMetrics& m) {
  if (m.peak_flops <= 0) return "n/a";
  return fmt::format("{:.1f}%", 100 * tokens_per_second(m) * m.flops_per_token / m.peak_flops);
}

// The complete lines of steps up to last_step.
std::string lines_until(const std::string& path, std::int64_t last_step) {
  std::ifstream file(path);
  std::string kept;
  for (std::string line; std::getline(file, line) && !file.eof();) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object() && json.contains("step") && json["step"].is_number_integer() && json["step"] <= last_step)
      kept += line + "\n";
  }
  return kept;
}

}  // namespace

std::string describe(const StepMetrics& m, std::int64_t total_steps) {
  return fmt::format(
      "step {}/{} | loss {:.6f} | norm {:.4f} | lr {:.3e} | {:.1f} ms | {:.0f} tokens/s | {:.4f} TFLOP/s | MFU {} | "
      "peak {:.1f} MiB ({:.1f} process) | exposed context {:.1f} ms pipeline {:.1f} ms data {:.1f} ms",
      m.step, total_steps, m.loss, m.grad_norm, m.lr, m.seconds * kMilli, tokens_per_second(m), tera_flops(m),
      model_flops_utilisation(m), mib(m.peak_bytes), mib(process_peak_bytes()), m.exposed.context * kMilli,
      m.exposed.pipeline * kMilli, m.exposed.data * kMilli);
}

MetricsFile::MetricsFile(std::string path, std::int64_t last_step) : path_(std::move(path)) {
  const std::string beside = path_ + ".partial";
  std::ofstream rewritten(beside, std::ios::trunc);
  rewritten << lines_until(path_, last_step) << std::flush;
  std::error_code error;
  if (rewritten) std::filesystem::rename(beside, path_, error);
  if (rewritten && !error) file_.open(path_, std::ios::app);
  LS_REQUIRE(kEnvironment, file_.is_open(), "{}: cannot write it; is the disk full, or the folder not yours?", path_);
}

void MetricsFile::add(const StepMetrics& m) {
  write(
      fmt::format("{{\"step\": {}, \"loss\": {:.17g}, \"grad_norm\": {:.17g}, \"lr\": {:.17g}, \"ms\": {:.3f}, "
                  "\"tokens\": {}, \"tokens_per_s\": {:.1f}, \"tflops\": {:.6g}, \"peak_mib\": {:.2f}, "
                  "\"process_peak_mib\": {:.2f}, \"exposed_context_ms\": {:.3f}, "
                  "\"exposed_pipeline_ms\": {:.3f}, \"exposed_data_ms\": {:.3f}}}",
                  m.step, m.loss, m.grad_norm, m.lr, m.seconds * kMilli, m.tokens, tokens_per_second(m), tera_flops(m),
                  mib(m.peak_bytes), mib(process_peak_bytes()), m.exposed.context * kMilli, m.exposed.pipeline * kMilli,
                  m.exposed.data * kMilli));
}

void MetricsFile::add_validation(std::int64_t step, double loss) {
  write(fmt::format("{{\"step\": {}, \"validation_loss\": {:.17g}}}", step, loss));
}

void MetricsFile::write(const std::string& line) {
  file_ << line << '\n' << std::flush;
  LS_REQUIRE(kEnvironment, file_, "{}: cannot write it; is the disk full?", path_);
}

}  // namespace longspan
