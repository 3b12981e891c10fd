#include "trainer/loop/chip.h"

#include <array>

namespace longspan {
namespace {

struct Chip {
  std::string_view begin;  // of its name
  std::string_view part;   // that sets it apart from slower boards of the family; empty: they are all alike
  double bf16_flops;
};

constexpr std::array<Chip, 3> kChips = {{
    {"NVIDIA A100", "", 312e12},
    {"NVIDIA H100", "HBM3", 989e12},  // the PCIe boards are named H100 PCIe and H100 NVL
    {"NVIDIA H200", "", 989e12},
}};

}  // namespace

std::optional<double> peak_flops_of(std::string_view chip, DType precision) {
  if (precision != DType::kBF16 || chip.ends_with("NVL")) return std::nullopt;
  for (const Chip& known : kChips)
    if (chip.starts_with(known.begin) && chip.find(known.part) != chip.npos) return known.bf16_flops;
  return std::nullopt;
}

}  // namespace longspan
