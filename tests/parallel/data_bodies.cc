#include "tests/parallel/data_bodies.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "kernels/core/error.h"
#include "parallel/data/gradient_reducer.h"
#include "parallel/data/weight_gather.h"

namespace longspan::testing {
namespace {

using Floats = std::vector<float>;

struct Case {
  std::vector<FlatRange> units;
  BucketLayout layout;
};

std::vector<Case> cases(int num_replicas) {
  std::vector<Case> all;
  const std::vector<std::vector<std::int64_t>> shapes = {
      {}, {0, 0}, {1}, {0, 31, 0}, {64, 1, 33}, {509, 7, 0, 1003, 1}, {2000, 160, 160, 160, 96}};
  for (const auto& sizes : shapes) {
    std::vector<FlatRange> units;
    for (const std::int64_t size : sizes) {
      const std::int64_t begin = units.empty() ? 0 : units.back().end;
      units.push_back({begin, begin + size});
    }
    for (const std::int64_t bucket_bytes : {1, 1000, 1 << 20}) {
      if (bucket_bytes == 1 && sizes.size() > 3) continue;
      all.push_back({units, plan_buckets(units, bucket_bytes, num_replicas)});
    }
  }
  return all;
}

// Of any size and sign, so that another order of sums gives other bits.
Floats noise(int rank, int number, std::int64_t count) {
  std::mt19937 bits(77 + static_cast<unsigned>(rank * 1000 + number));
  Floats values(static_cast<std::size_t>(count));
  for (float& value : values)
    value = std::ldexp(static_cast<float>(bits() >> 8) - 8388608.0f, static_cast<int>(bits() & 31) - 40);
  return values;
}

Tensor tensor_of(Floats& values) {
  return Tensor(values.data(), DType::kF32, {static_cast<std::int64_t>(values.size())});
}

void put(const Exec& exec, const void* values, const Tensor& tensor) {
  exec.runtime->copy(exec.stream, tensor.data, values, tensor.num_bytes());
  exec.runtime->synchronize(exec.stream);
}

std::vector<std::byte> bytes_of(const Exec& exec, const Tensor& tensor) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.num_bytes()));
  exec.runtime->copy(exec.stream, bytes.data(), tensor.data, tensor.num_bytes());
  exec.runtime->synchronize(exec.stream);
  return bytes;
}

Floats floats_of(const Exec& exec, const Tensor& tensor) {
  const std::vector<std::byte> bytes = bytes_of(exec, tensor);
  Floats values(bytes.size() / sizeof(float));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

void expect(bool condition, const std::string& what) {
  LS_REQUIRE(kInternal, condition, "expected {}", what);
}

void expect_same(const Floats& got, const Floats& want, const FlatRange& range, const std::string& what) {
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    const auto at = static_cast<std::size_t>(i);
    expect(std::memcmp(&got[at], &want[at], sizeof(float)) == 0,
           fmt::format("{}: element {} to be {}, got {}", what, i, want[at], got[at]));
  }
}

// From the last to the first; with a seed in another order.
std::vector<std::int64_t> order_of_units(const Case& test, unsigned seed) {
  std::vector<std::int64_t> units(test.units.size());
  std::iota(units.rbegin(), units.rend(), 0);
  if (seed > 0) std::shuffle(units.begin(), units.end(), std::mt19937(seed));
  return units;
}

// A rank that others must wait for.
void dawdle(std::int64_t number) {
  if (number % 5 == 3) std::this_thread::sleep_for(std::chrono::microseconds(300));
}

// Several steps with one reducer. In the first, ranks have their units done in the layout's order, then each in its
// own.
void reduce_steps(const DataRank& rank, const Case& test, ReductionResult result) {
  const BucketLayout& layout = test.layout;
  const int me = rank.comm.rank();
  const std::int64_t n = layout.num_elements;
  Arena memory("memory", n * 4 + 64, *rank.exec.runtime);
  Arena buffers("buffers", GradientReducer::buffer_bytes(layout, me), *rank.exec.runtime);
  const Tensor gradients = memory.allocate("gradients", MemoryCategory::kGradients, DType::kF32, {n});
  GradientReducer reducer(rank.exec, rank.comm, layout, gradients, buffers, result);
  expect(buffers.used_bytes() == buffers.capacity_bytes(), "buffers of the size that was foretold");

  for (int step = 0; step < 3; ++step) {
    const Floats own = noise(me, step, n);
    Floats sums = own;
    rank.comm.all_reduce(tensor_of(sums), ReduceOp::kSum);
    put(rank.exec, noise(me, 99, n).data(), gradients);  // what a unit holds before it is done is nobody's business
    reducer.begin_step();
    for (const std::int64_t unit : order_of_units(test, static_cast<unsigned>(step * (1 + me)))) {
      const FlatRange& range = test.units[static_cast<std::size_t>(unit)];
      put(rank.exec, own.data() + range.begin, gradients.narrow(0, range.begin, range.end));
      reducer.unit_done(unit);
      dawdle(unit + me + step);
      reducer.progress();
    }
    reducer.finish();
    const Floats got = floats_of(rank.exec, gradients);
    if (result == ReductionResult::kWhole) {
      expect_same(got, sums, {0, n}, "sums");
    } else {
      std::int64_t end = 0;
      for (const FlatRange& owned : layout.owned_by(me)) {
        expect_same(got, own, {end, owned.begin}, "its own part of others' sums");
        expect_same(got, sums, owned, "sums of its shards");
        end = owned.end;
      }
      expect_same(got, own, {end, n}, "its own part of others' sums");
    }
    expect(reducer.seconds().exposed >= 0 && reducer.seconds().under_way >= 0, "times that do not run backwards");
  }
}

void sums_are_whole(const DataRank& rank) {
  for (const Case& test : cases(rank.comm.size())) reduce_steps(rank, test, ReductionResult::kWhole);
}

void sums_of_own_shards(const DataRank& rank) {
  for (const Case& test : cases(rank.comm.size())) reduce_steps(rank, test, ReductionResult::kOwnShard);
}

std::vector<std::uint8_t> marked(int writer, int number, std::int64_t num_bytes) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(num_bytes));
  for (std::int64_t i = 0; i < num_bytes; ++i)
    bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(writer * 31 + number * 7 + i % 251);
  return bytes;
}

// Bytes of the elements that each replica owns, marked by it.
std::vector<std::uint8_t> whole_weights(const BucketLayout& layout, int number, std::int64_t width) {
  std::vector<std::uint8_t> whole(static_cast<std::size_t>(layout.num_elements * width));
  for (int r = 0; r < layout.num_replicas; ++r) {
    const std::vector<std::uint8_t> theirs = marked(r, number, layout.num_elements * width);
    for (const FlatRange& owned : layout.owned_by(r))
      std::copy(theirs.begin() + owned.begin * width, theirs.begin() + owned.end * width,
                whole.begin() + owned.begin * width);
  }
  return whole;
}

void expect_gathered(const Exec& exec, const Tensor& weights, const std::vector<std::uint8_t>& whole,
                     const FlatRange& range) {
  const std::vector<std::byte> got = bytes_of(exec, weights.narrow(0, range.begin, range.end));
  const auto* want = whole.data() + range.begin * size_of(weights.dtype);
  for (std::size_t i = 0; i < got.size(); ++i)
    expect(std::to_integer<std::uint8_t>(got[i]) == want[i],
           fmt::format("byte {} of elements {} to {} to be {}, got {}", i, range.begin, range.end, want[i],
                       std::to_integer<int>(got[i])));
}

void gather_steps(const DataRank& rank, const Case& test, DType dtype) {
  const BucketLayout& layout = test.layout;
  const std::int64_t n = layout.num_elements, width = size_of(dtype);
  Arena memory("memory", n * width + 64, *rank.exec.runtime);
  const Tensor weights = memory.allocate("weights", MemoryCategory::kWeights, dtype, {n});
  WeightGather gather(rank.exec, rank.comm, layout, weights);
  for (std::int64_t unit = 0; unit < layout.num_units; ++unit) gather.wait_for(unit);  // nothing is under way

  for (int step = 0; step < 3; ++step) {
    // Others' elements are wrong before.
    put(rank.exec, marked(rank.comm.rank(), step, n * width).data(), weights);
    const std::vector<std::uint8_t> whole = whole_weights(layout, step, width);
    dawdle(rank.comm.rank() + step);
    gather.start();
    if (step < 2)
      for (std::int64_t unit = 0; unit < layout.num_units; ++unit) {
        gather.wait_for(unit);
        expect_gathered(rank.exec, weights, whole, test.units[static_cast<std::size_t>(unit)]);
        gather.progress();
      }
    if (step > 0) gather.finish();
    expect_gathered(rank.exec, weights, whole, {0, n});
  }
}

void weights_are_gathered(const DataRank& rank) {
  for (const Case& test : cases(rank.comm.size()))
    for (const DType dtype : {DType::kF32, DType::kBF16}) gather_steps(rank, test, dtype);
}

// Two gathers of one group are under way while it exchanges other messages and sums: none takes another's.
void gathers_beside_other_messages(const DataRank& rank) {
  const int me = rank.comm.rank(), size = rank.comm.size();
  const Case test = cases(size).back();
  const BucketLayout layout = plan_buckets(test.units, 700, size);
  const std::int64_t n = layout.num_elements;
  Arena memory("memory", 2 * (n * 4 + 64), *rank.exec.runtime);
  const Tensor first = memory.allocate("first", MemoryCategory::kWeights, DType::kF32, {n});
  const Tensor second = memory.allocate("second", MemoryCategory::kWeights, DType::kF32, {n});
  WeightGather first_gather(rank.exec, rank.comm, layout, first), second_gather(rank.exec, rank.comm, layout, second);
  put(rank.exec, marked(me, 1, n * 4).data(), first);
  put(rank.exec, marked(me, 2, n * 4).data(), second);
  first_gather.start();
  const std::int32_t sent = me;
  std::int32_t received = -1;
  const Send send{(me + 1) % size, &sent, 4};
  const Receive receive{(me + size - 1) % size, &received, 4};
  const auto pending = rank.comm.start({&send, 1}, {&receive, 1}, "other message");
  second_gather.start();
  Floats sum = {1};
  rank.comm.all_reduce(tensor_of(sum), ReduceOp::kSum);
  second_gather.wait_for(0);
  pending->wait();
  first_gather.finish();
  second_gather.finish();
  expect(sum[0] == static_cast<float>(size) && received == (me + size - 1) % size, "the other messages");
  expect_gathered(rank.exec, first, whole_weights(layout, 1, 4), {0, n});
  expect_gathered(rank.exec, second, whole_weights(layout, 2, 4), {0, n});
}

constexpr DataBody kReductions[] = {
    {"sums_are_whole", sums_are_whole},
    {"sums_of_own_shards", sums_of_own_shards},
};
constexpr DataBody kGathers[] = {
    {"weights_are_gathered", weights_are_gathered},
    {"gathers_beside_other_messages", gathers_beside_other_messages},
};

}  // namespace

std::span<const DataBody> reduction_bodies() {
  return kReductions;
}

std::span<const DataBody> gather_bodies() {
  return kGathers;
}

}  // namespace longspan::testing
