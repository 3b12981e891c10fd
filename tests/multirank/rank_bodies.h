// Bodies that every back-end must pass on any number of ranks: run as threads, and again under mpirun.
#pragma once

#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/core/error.h"
#include "parallel/comm/communicator.h"

namespace longspan::testing {

// Throws on the rank that finds something wrong, which ends them all.
struct RankBody {
  const char* name;
  void (*run)(Communicator&);
};
std::span<const RankBody> collective_bodies();
std::span<const RankBody> transfer_bodies();

// The same for ranks with a device each; comm has been told of it and of the compute stream.
struct DeviceRank {
  Communicator& comm;
  DeviceRuntime& runtime;
  Stream compute;
};
struct DeviceBody {
  const char* name;
  void (*run)(const DeviceRank&);
};
std::span<const DeviceBody> device_bodies();
// Runs a body on this rank of a fresh communicator.
void run_on_device(Communicator& world, DeviceRuntime& runtime, const DeviceBody& body);

inline void expect(bool condition, std::string_view what) {
  LS_REQUIRE(kInternal, condition, "expected {}", what);
}

// Bit for bit.
template <class T>
void expect_same(const std::vector<T>& got, const std::vector<T>& want, std::string_view what) {
  LS_REQUIRE(kInternal, got.size() == want.size(), "{}: {} elements, expected {}", what, got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    LS_REQUIRE(kInternal, std::memcmp(&got[i], &want[i], sizeof(T)) == 0, "{}: element {} is {}, expected {}", what, i,
               got[i], want[i]);
  }
}

template <class T>
Tensor tensor_of(std::vector<T>& values) {
  return Tensor(values.data(), dtype_of<T>(), {static_cast<std::int64_t>(values.size())});
}

// A small integer: sums of a few are exact in every type.
template <class T>
T small_value(int rank, std::int64_t i) {
  return static_cast<T>((i * 7 + rank * 13) % 101 - 50);
}

}  // namespace longspan::testing
