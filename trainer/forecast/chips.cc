// Machines by their chips' datasheets.
#include <fmt/ranges.h>

#include <array>

#include "kernels/core/error.h"
#include "trainer/forecast/machine.h"

namespace longspan {
namespace {

// By NVIDIA's datasheets of the SXM boards ("NVIDIA A100 Tensor Core GPU", 2021; "NVIDIA H100 Tensor Core GPU", 2023;
// "NVIDIA H200 Tensor Core GPU", 2024): dense bf16 products with fp32 sums (half of what they give with sparsity),
// bytes and bytes a second of memory, and half of NVLink's total, which is both ways. Network: that of DGX A100 and DGX
// H100 and H200, one card of 200 and 400 Gbit/s for each GPU.
struct Chip {
  std::string_view name;
  double bf16_flops, memory_bytes_per_second, memory_bytes, link_bytes_per_second, network_bytes_per_second;
};
constexpr std::array<Chip, 3> kChips = {{
    {"A100", 312e12, 2.039e12, 80e9, 300e9, 25e9},
    {"H100", 989e12, 3.35e12, 80e9, 450e9, 50e9},
    {"H200", 989e12, 4.8e12, 141e9, 450e9, 50e9},
}};
// Round figures: of a kernel's start, and of a message between GPUs and between nodes.
constexpr double kSecondsPerKernel = 5e-6, kSecondsPerMessage = 1e-5, kSecondsPerNetworkMessage = 2e-5;

}  // namespace

std::string chip_names() {
  std::vector<std::string_view> names;
  for (const Chip& chip : kChips) names.push_back(chip.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

Machine machine_of_chip(std::string_view name, const ChipEfficiency& efficiency) {
  for (const Chip& chip : kChips) {
    if (chip.name != name) continue;
    const double products = chip.bf16_flops * efficiency.products;
    const double link = chip.link_bytes_per_second * efficiency.links;
    const double network = chip.network_bytes_per_second * efficiency.links;
    Machine machine{
        .name = fmt::format("{} SXM", name),
        .source = fmt::format("its datasheet; taken as achieved, not measured: {:.0f} % of it in products, {:.0f} and "
                              "{:.0f} in attention forward and backward, {:.0f} of memory, {:.0f} of links",
                              100 * efficiency.products, 100 * efficiency.attention_forward,
                              100 * efficiency.attention_backward, 100 * efficiency.memory, 100 * efficiency.links),
        .precision = DType::kBF16,
        .memory = chip.memory_bytes,
        .peak = chip.bf16_flops,
        .products = {{1024, products, products, products}},
        .attention = {{128, chip.bf16_flops * efficiency.attention_forward,
                       chip.bf16_flops * efficiency.attention_backward}},
        .head_rate = products,
        .bytes_per_second = chip.memory_bytes_per_second * efficiency.memory,
        .update_bytes_per_second = chip.memory_bytes_per_second * efficiency.memory,
        .seconds_per_operator = kSecondsPerKernel,
        .node = {link, kSecondsPerMessage, link},
        .network = {network, kSecondsPerNetworkMessage, network}};
    check_machine(machine);
    return machine;
  }
  fail(ErrorKind::kUsage,
       "there is no datasheet of a chip '{}' here; there are {}, or measure a machine: longspan "
       "bench machine --out FILE",
       name, chip_names());
}

}  // namespace longspan
