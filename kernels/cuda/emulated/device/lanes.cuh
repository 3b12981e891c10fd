// What threads of a warp and of a block do together: barriers, exchange of values, votes; atomics.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <type_traits>

#include "device/platform.cuh"
#include "kernels/core/error.h"
#include "kernels/cuda/emulated/block.h"

namespace longspan::cuda {

inline constexpr int kWarp = 32;

// Blocks of more than one dimension count x first.
__device__ inline int thread_of_block() {
  return emulated::Block::current().thread();
}
__device__ inline int lane() {
  return emulated::Block::current().lane();
}
__device__ inline int warp_of_block() {
  return emulated::Block::current().warp();
}

// All threads of the block; none may have returned.
__device__ inline void sync_block() {
  emulated::Block& block = emulated::Block::current();
  block.arrive_and_wait(0, block.num_threads(), "sync_block");
}
__device__ inline void sync_warp() {
  emulated::Block::current().exchange("sync_warp", nullptr, 0);
}
// Barrier `id` (1 to 15) opens once num_threads threads, whole warps, have come; arrive_named counts and goes on.
__device__ inline void sync_named(int id, int num_threads) {
  LS_CHECK(id > 0, "barrier {}: 0 is sync_block's", id);
  emulated::Block::current().arrive_and_wait(id, num_threads, "sync_named");
}
__device__ inline void arrive_named(int id, int num_threads) {
  LS_CHECK(id > 0, "barrier {}: 0 is sync_block's", id);
  emulated::Block::current().arrive(id, num_threads, "sync_named");
}

namespace emulated {

template <class T>
T read_slot(const Block::Slots& slots, int lane) {
  T value;
  std::memcpy(&value, slots[static_cast<std::size_t>(lane)].data(), sizeof(T));
  return value;
}

// Every lane's value of x seen by `pick`, a function of the lane that asks: the lane whose value it gets.
template <class T>
T shuffle_as(const char* what, T x, int from) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "32 or 64 bits");
  return read_slot<T>(Block::current().exchange(what, &x, sizeof(T)), from);
}

}  // namespace emulated

// All lanes take part; T has 32 or 64 bits. Where there is no such lane, down and up give the own value.
template <class T>
__device__ T shuffle(T x, int from) {
  return emulated::shuffle_as("shuffle", x, from & (kWarp - 1));
}
template <class T>
__device__ T shuffle_xor(T x, int mask) {
  return emulated::shuffle_as("shuffle_xor", x, (lane() ^ mask) & (kWarp - 1));
}
template <class T>
__device__ T shuffle_down(T x, int n) {
  return emulated::shuffle_as("shuffle_down", x, lane() + n < kWarp ? lane() + n : lane());
}
template <class T>
__device__ T shuffle_up(T x, int n) {
  return emulated::shuffle_as("shuffle_up", x, lane() - n >= 0 ? lane() - n : lane());
}

// Bit i: lane i's answer.
__device__ inline unsigned ballot(bool predicate) {
  const emulated::Block::Slots& slots = emulated::Block::current().exchange("ballot", &predicate, sizeof(predicate));
  unsigned votes = 0;
  for (int l = 0; l < kWarp; ++l) votes |= static_cast<unsigned>(emulated::read_slot<bool>(slots, l)) << l;
  return votes;
}
__device__ inline bool any(bool predicate) {
  return ballot(predicate) != 0;
}
__device__ inline bool all(bool predicate) {
  return ballot(predicate) == 0xffffffffu;
}

// The value before. The order in which threads come is not fixed: sums of floats differ from run to run.
__device__ inline float atomic_add(float* to, float x) {
  return std::atomic_ref<float>(*to).fetch_add(x);
}
__device__ inline int atomic_add(int* to, int x) {
  return std::atomic_ref<int>(*to).fetch_add(x);
}
// What was written before a release is seen after the acquire that reads it, across the device. A block may wait
// only for blocks of lower number.
__device__ inline int atomic_load_acquire(const int* from) {
  emulated::Block::current().poll({"atomic_load_acquire"});
  return std::atomic_ref<int>(*const_cast<int*>(from)).load(std::memory_order_acquire);
}
__device__ inline void atomic_store_release(int* to, int x) {
  std::atomic_ref<int>(*to).store(x, std::memory_order_release);
}

// Ends the kernel as a failure.
[[noreturn]] __device__ inline void trap() {
  fail(ErrorKind::kInternal, "{}: trap in thread {}", emulated::Block::current().describe(),
       emulated::Block::current().thread());
}

}  // namespace longspan::cuda
