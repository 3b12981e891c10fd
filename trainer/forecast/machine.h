// Machine: how fast one rank computes and what its links carry, as measured or by a chip's datasheet.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/dtype.h"

namespace longspan {

// Operations a second in the three products of a projection from so many columns to as many.
struct ProductRate {
  double width = 0;
  double forward = 0, input_gradient = 0, weight_gradient = 0;
  bool operator==(const ProductRate&) const = default;
};

// Operations a second of causal attention over visible pairs, counted as in plan_cost.h.
struct AttentionRate {
  double head_dim = 0;
  double forward = 0, backward = 0;
  bool operator==(const AttentionRate&) const = default;
};

// Between two ranks, one way, while all of them talk.
struct Link {
  double bytes_per_second = 0;
  double seconds_per_message = 0;
  // Bytes that a rank sends over the time that a sum over ranks, and the way back, takes.
  double reduced_bytes_per_second = 0;
  double seconds_of(double num_bytes) const { return seconds_per_message + num_bytes / bytes_per_second; }
  bool operator==(const Link&) const = default;
};

// How much of a transfer goes on while its rank computes: all, where links move bytes by themselves; nothing, where a
// copy takes the time of the core that computes.
enum class TransferOverlap : std::uint8_t { kHidden, kOnCore };

struct Machine {
  std::string name;      // "NVIDIA H100 80GB HBM3", "12 cores of AMD EPYC 9V74"
  std::string source{};  // where the rates are from, in words
  DType precision = DType::kF32;
  int ranks = 1;      // of a node that computed at once when the rates were taken
  int threads = 1;    // of each
  double cores = 0;   // of the node, which all its ranks share; 0: each rank has its own, as it has a GPU
  double memory = 0;  // bytes of a rank's device; 0: not known
  double peak = 0;    // operations a second at best, the denominator of MFU; 0: not known

  std::vector<ProductRate> products{};     // by width, ascending
  std::vector<AttentionRate> attention{};  // by head size, ascending
  double head_rate = 0;                    // operations a second of the output head with its loss and both gradients
  double bytes_per_second = 0;             // of operators that memory bounds: norms, rotary positions, SwiGLU
  double update_bytes_per_second = 0;      // of the optimizer
  double seconds_per_operator = 0;         // of any, whatever its size
  Link node{}, network{};                  // between ranks of a node; between nodes
  TransferOverlap overlap = TransferOverlap::kHidden;

  // Between the sizes that are known, by the logarithm; beyond them like the nearest.
  ProductRate product_rate(double width) const;
  AttentionRate attention_rate(double head_dim) const;
  // How much longer everything takes where so many ranks of a node compute at once than where each thread has a core.
  double slowdown(int num_ranks, int num_threads) const;
  bool operator==(const Machine&) const = default;
};

// Throws Error(kUsage) that names what is missing, not positive or out of order.
void check_machine(const Machine& machine);

// Shares of a datasheet's figures that are taken as achieved. They are assumptions, until measured.
struct ChipEfficiency {
  double products = 0.6;           // of the dense operations a second, in large products
  double attention_forward = 0.5;  // the same, in attention
  double attention_backward = 0.4;
  double memory = 0.8;  // of the memory's bytes a second
  double links = 0.75;
};
// "A100", "H100" or "H200": one of these GPUs a rank, its links within a node and to the network as in NVIDIA's own
// eight-GPU servers. Throws Error(kUsage) with the names there are.
Machine machine_of_chip(std::string_view chip, const ChipEfficiency& efficiency = {});
std::string chip_names();

}  // namespace longspan
