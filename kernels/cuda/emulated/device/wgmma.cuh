// Products of a warpgroup (four warps; "wgmma"): D[64, N] = or += A[64, 16] B[16, N] in bf16 with fp32 sums. Here they
// run as late as they may: when a warp waits for them. Shared memory is read then, through the descriptors; where
// elements stand is written in hopper_layout.h.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include "device/barrier.cuh"
#include "device/lanes.cuh"
#include "kernels/core/dtype.h"
#include "kernels/cuda/hopper_layout.h"

namespace longspan::cuda {

// What a product does with what D holds.
enum class Sum { kFresh, kAdd };

namespace emulated {

// One lane's part of one product.
struct Product {
  float* d = nullptr;
  int n = 0;
  bool a_in_registers = false;
  std::uint32_t a[4] = {};
  std::uint64_t a_descriptor = 0, b_descriptor = 0;
  Depth depth_of_b = Depth::kAlongColumns;
  Sum sum = Sum::kFresh;
};
struct ProductsOfThread {
  std::deque<std::vector<Product>> groups{1};  // the last is not committed yet
  bool fenced = false;
};

// The element of an operand at (`outer` of M or N, `depth`).
inline float operand_element(std::uint64_t descriptor, Depth along, int outer, int depth) {
  const auto field = [&](int bit) { return static_cast<std::uint32_t>(descriptor >> bit & 0x3fffu) << 4; };
  const std::uint32_t start = field(0), leading = field(16), stride = field(32);
  std::uint32_t address = start;
  if (along == Depth::kAlongColumns)
    address += static_cast<std::uint32_t>(outer / 8) * stride + static_cast<std::uint32_t>(outer % 8 * 128 + depth * 2);
  else
    address += static_cast<std::uint32_t>(outer / 64) * leading + static_cast<std::uint32_t>(depth / 8) * stride +
               static_cast<std::uint32_t>(outer % 64 * 2 + depth % 8 * 128);
  const Block& block = Block::current();
  address = swizzled(address);
  LS_CHECK(address + 2 <= block.shared_bytes(), "{}: a product reads byte {} of {} of shared memory", block.describe(),
           address, block.shared_bytes());
  bf16 value;
  std::memcpy(&value, block.dynamic_shared() + address, sizeof(value));
  return static_cast<float>(value);
}

// A of a warp, 16 rows: row r, depth k.
inline float a_element(const std::vector<const Product*>& lanes, int warp_in_group, int r, int k) {
  const Product& any = *lanes.front();
  if (!any.a_in_registers) return operand_element(any.a_descriptor, Depth::kAlongColumns, warp_in_group * 16 + r, k);
  const Product& owner = *lanes[static_cast<std::size_t>(r % 8 * 4 + k % 8 / 2)];
  const std::uint32_t pair = owner.a[r / 8 + k / 8 * 2];
  bf16 value;
  value.bits = static_cast<std::uint16_t>(k % 2 ? pair >> 16 : pair & 0xffffu);
  return static_cast<float>(value);
}

// The rows of one warp.
inline void compute(const std::vector<const Product*>& lanes, int warp_in_group) {
  const Product& any = *lanes.front();
  float a[16][kProductDepth];
  for (int r = 0; r < 16; ++r)
    for (int k = 0; k < kProductDepth; ++k) a[r][k] = a_element(lanes, warp_in_group, r, k);
  std::vector<float> b(static_cast<std::size_t>(any.n * kProductDepth)), sums(static_cast<std::size_t>(any.n));
  for (int k = 0; k < kProductDepth; ++k)
    for (int n = 0; n < any.n; ++n)
      b[static_cast<std::size_t>(k * any.n + n)] = operand_element(any.b_descriptor, any.depth_of_b, n, k);
  for (int r = 0; r < 16; ++r) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (int k = 0; k < kProductDepth; ++k) {
      const float factor = a[r][k];
      const float* row = &b[static_cast<std::size_t>(k * any.n)];
      for (int n = 0; n < any.n; ++n) sums[static_cast<std::size_t>(n)] += factor * row[n];
    }
    for (int l = r % 8 * 4; l < r % 8 * 4 + 4; ++l) {
      const Product& lane = *lanes[static_cast<std::size_t>(l)];
      for (int index = r / 8 * 2; index < lane.n / 2; index += 4)
        for (int i = index; i < index + 2; ++i) {
          const float sum = sums[static_cast<std::size_t>(fragment_column(l, i))];
          lane.d[i] = lane.sum == Sum::kAdd ? lane.d[i] + sum : sum;
        }
    }
  }
}

inline void wait_products(int pending) {
  Block& block = Block::current();
  ProductsOfThread& own = block.thread_state<ProductsOfThread>();
  own.fenced = false;
  ProductsOfThread* address = &own;
  const Block::Slots& slots = block.exchange("wait_products", &address, sizeof(address));
  if (block.lane() == 0) {
    std::vector<ProductsOfThread*> all;
    for (int l = 0; l < Block::kLanes; ++l) all.push_back(read_slot<ProductsOfThread*>(slots, l));
    const int groups = static_cast<int>(own.groups.size()) - 1;
    for (int g = 0; g < groups - pending; ++g)
      for (std::size_t p = 0; p < own.groups[static_cast<std::size_t>(g)].size(); ++p) {
        std::vector<const Product*> lanes;
        for (const ProductsOfThread* thread : all) {
          LS_CHECK(thread->groups.size() == own.groups.size() && thread->groups[static_cast<std::size_t>(g)].size() > p,
                   "{}: lanes of a warp asked for different products", block.describe());
          lanes.push_back(&thread->groups[static_cast<std::size_t>(g)][p]);
        }
        compute(lanes, block.warp() % 4);
      }
  }
  block.exchange("wait_products", nullptr, 0);
  while (static_cast<int>(own.groups.size()) - 1 > pending) own.groups.pop_front();
}

inline void add_product(const Product& product) {
  Block& block = Block::current();
  ProductsOfThread& own = block.thread_state<ProductsOfThread>();
  LS_CHECK(own.fenced, "{}: a product without fence_products since the last wait", block.describe());
  own.groups.back().push_back(product);
}

}  // namespace emulated

// Before the first product, and again after registers of D or A have been written.
inline void fence_products() {
  emulated::Block& block = emulated::Block::current();
  block.exchange("fence_products", nullptr, 0);
  block.thread_state<emulated::ProductsOfThread>().fenced = true;
}

// Ends a group of products.
inline void commit_products() {
  emulated::Block& block = emulated::Block::current();
  block.exchange("commit_products", nullptr, 0);
  block.thread_state<emulated::ProductsOfThread>().groups.emplace_back();
}

// Until at most the kPending youngest groups still run.
template <int kPending>
void wait_products() {
  emulated::wait_products(kPending);
}

// The compiler may not move its accesses to D across this place: it does not see those of the tensor cores.
template <int kCount>
void pin(float (&)[kCount]) {}

// What a product reads from a tile of `rows_of_tile` rows, from a place that step_offset gives.
inline std::uint64_t operand(const void* shared, int rows_of_tile) {
  return operand_descriptor(emulated::shared_offset(shared), rows_of_tile);
}

// One step, 16 deep. A [64, 16] with its depth along columns (see operand(), step_offset) or in registers; N is twice
// the registers of D.
template <Depth kDepthOfB, int kCount>
void multiply(float (&d)[kCount], std::uint64_t a, std::uint64_t b, Sum sum) {
  static_assert(kCount == 32 || kCount == 64);
  emulated::add_product({d, kCount * 2, false, {}, a, b, kDepthOfB, sum});
}
template <Depth kDepthOfB, int kCount>
void multiply(float (&d)[kCount], const std::uint32_t (&a)[4], std::uint64_t b, Sum sum) {
  static_assert(kCount == 32 || kCount == 64);
  emulated::add_product({d, kCount * 2, true, {a[0], a[1], a[2], a[3]}, 0, b, kDepthOfB, sum});
}

}  // namespace longspan::cuda
