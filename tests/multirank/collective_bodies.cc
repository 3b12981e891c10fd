#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <thread>

#include "tests/multirank/rank_bodies.h"

namespace longspan::testing {
namespace {

// More than one round of a reduction, on any number of ranks.
constexpr std::int64_t kSeveralRounds = 1'100'003;

template <class T>
std::vector<T> values_of(int rank, std::int64_t n) {
  std::vector<T> values(n);
  for (std::int64_t i = 0; i < n; ++i) values[i] = small_value<T>(rank, i);
  return values;
}

template <class T>
std::vector<T> reduced(int num_ranks, std::int64_t n, ReduceOp op) {
  std::vector<T> result = values_of<T>(0, n);
  for (int r = 1; r < num_ranks; ++r) {
    for (std::int64_t i = 0; i < n; ++i) {
      const T x = small_value<T>(r, i);
      if (op == ReduceOp::kSum) result[i] += x;
      if (op == ReduceOp::kMax) result[i] = std::max(result[i], x);
      if (op == ReduceOp::kMin) result[i] = std::min(result[i], x);
    }
  }
  return result;
}

template <class T>
void check_all_reduce(Communicator& comm, std::int64_t n) {
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
    std::vector<T> values = values_of<T>(comm.rank(), n);
    if constexpr (std::is_same_v<T, double>) {
      comm.all_reduce(std::span<double>(values), op);
    } else {
      comm.all_reduce(tensor_of(values), op);
    }
    expect_same(values, reduced<T>(comm.size(), n, op), "all_reduce");
  }
}

void all_reduce_small(Communicator& comm) {
  for (const std::int64_t n : {0, 1, 2, 3, 7, 64, 1009}) {
    check_all_reduce<float>(comm, n);
    check_all_reduce<double>(comm, n);
    check_all_reduce<std::int32_t>(comm, n);
    check_all_reduce<std::int64_t>(comm, n);
  }
}

void all_reduce_in_rounds(Communicator& comm) {
  std::vector<float> values = values_of<float>(comm.rank(), kSeveralRounds);
  comm.all_reduce(tensor_of(values), ReduceOp::kSum);
  expect_same(values, reduced<float>(comm.size(), kSeveralRounds, ReduceOp::kSum), "all_reduce");
}

std::vector<float> noise_of(int rank, std::int64_t n) {
  std::mt19937 bits(1234 + rank);
  std::vector<float> values(n);
  for (float& value : values) {
    const auto u = bits();
    value = std::ldexp(static_cast<float>(u >> 8) - 8388608.0f, static_cast<int>(u & 31) - 40);
  }
  return values;
}

// Sums whose order shows: the expected bits are those of one loop over ranks, so back-ends agree with each other too.
void all_reduce_in_rank_order(Communicator& comm) {
  for (const std::int64_t n : {1, 5, 4099, 70001}) {
    std::vector<float> want = noise_of(0, n);
    for (int r = 1; r < comm.size(); ++r) {
      const std::vector<float> other = noise_of(r, n);
      for (std::int64_t i = 0; i < n; ++i) want[i] += other[i];
    }
    std::vector<float> values = noise_of(comm.rank(), n);
    comm.all_reduce(tensor_of(values), ReduceOp::kSum);
    expect_same(values, want, "sum in rank order");
  }
}

void all_reduce_passes_nan_on(Communicator& comm) {
  for (int culprit = 0; culprit < comm.size(); ++culprit) {
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
      std::vector<float> values(17, static_cast<float>(comm.rank()));
      if (comm.rank() == culprit) values[11] = std::numeric_limits<float>::quiet_NaN();
      comm.all_reduce(tensor_of(values), op);
      for (int i = 0; i < 17; ++i) expect(std::isnan(values[i]) == (i == 11), "one NaN, passed on to all ranks");
    }
  }
}

void all_reduce_wraps_integers(Communicator& comm) {
  std::vector<std::int32_t> values = {std::numeric_limits<std::int32_t>::max()};
  comm.all_reduce(tensor_of(values), ReduceOp::kSum);
  const auto want = static_cast<std::int32_t>(0x7fffffffu * static_cast<std::uint32_t>(comm.size()));
  expect_same(values, {want}, "wrapped sum");
}

void all_reduce_refuses_bf16(Communicator& comm) {
  std::vector<bf16> values(3);
  bool refused = false;
  try {
    comm.all_reduce(tensor_of(values), ReduceOp::kSum);
  } catch (const Error& error) {
    refused = std::string_view(error.what()).find("bf16") != std::string_view::npos;
  }
  expect(refused, "a refusal that names bf16");
}

// Uneven, and 0 for some ranks, the first among them.
std::vector<std::int64_t> uneven_counts(int num_ranks, std::int64_t scale) {
  std::vector<std::int64_t> counts(num_ranks);
  for (int r = 0; r < num_ranks; ++r) counts[r] = (r % 3) * scale + (r % 3 == 2 ? 5 : 0);
  return counts;
}

template <class T>
void check_all_gather(Communicator& comm, const std::vector<std::int64_t>& counts) {
  const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  std::vector<T> want;
  for (int r = 0; r < comm.size(); ++r) {
    for (std::int64_t i = 0; i < counts[r]; ++i) want.push_back(small_value<T>(r, i));
  }
  std::vector<T> in = values_of<T>(comm.rank(), counts[comm.rank()]);
  std::vector<T> out(total);
  comm.all_gather_v(tensor_of(in), tensor_of(out), counts);
  expect_same(out, want, "all_gather");

  std::fill(out.begin(), out.end(), T{});
  const std::int64_t begin = std::accumulate(counts.begin(), counts.begin() + comm.rank(), std::int64_t{0});
  std::copy(in.begin(), in.end(), out.begin() + begin);
  comm.all_gather_v(tensor_of(out).narrow(0, begin, begin + counts[comm.rank()]), tensor_of(out), counts);
  expect_same(out, want, "all_gather in place");
}

void all_gather_uneven(Communicator& comm) {
  for (const std::int64_t scale : {0, 1, 3, 1013}) {
    check_all_gather<float>(comm, uneven_counts(comm.size(), scale));
    check_all_gather<std::int64_t>(comm, uneven_counts(comm.size(), scale));
  }
  check_all_gather<std::int32_t>(comm, std::vector<std::int64_t>(comm.size(), 257));
}

void check_reduce_scatter(Communicator& comm, const std::vector<std::int64_t>& counts) {
  const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  const std::int64_t begin = std::accumulate(counts.begin(), counts.begin() + comm.rank(), std::int64_t{0});
  const std::int64_t mine = counts[comm.rank()];
  const std::vector<float> sum = reduced<float>(comm.size(), total, ReduceOp::kSum);
  const std::vector<float> want(sum.begin() + begin, sum.begin() + begin + mine);
  std::vector<float> in = values_of<float>(comm.rank(), total);
  std::vector<float> out(mine);
  comm.reduce_scatter_v(tensor_of(in), tensor_of(out), counts);
  expect_same(out, want, "reduce_scatter");
  expect_same(in, values_of<float>(comm.rank(), total), "input of reduce_scatter");

  comm.reduce_scatter_v(tensor_of(in), tensor_of(in).narrow(0, begin, begin + mine), counts);
  expect_same(std::vector<float>(in.begin() + begin, in.begin() + begin + mine), want, "reduce_scatter in place");
}

void reduce_scatter_uneven(Communicator& comm) {
  for (const std::int64_t scale : {0, 1, 3, 4099}) check_reduce_scatter(comm, uneven_counts(comm.size(), scale));
}

void reduce_scatter_in_rounds(Communicator& comm) {
  std::vector<std::int64_t> counts(comm.size(), 3);
  counts.back() = kSeveralRounds / 2;  // all the others wait for one
  check_reduce_scatter(comm, counts);
}

void all_to_all_uneven(Communicator& comm) {
  const int me = comm.rank();
  const auto count = [](int from, int to) -> std::int64_t { return (from * 5 + to * 3) % 7 == 0 ? 0 : from * 11 + to; };
  std::vector<std::int64_t> send_counts;
  std::vector<std::int64_t> receive_counts;
  std::vector<std::int32_t> in;
  std::vector<std::int32_t> want;
  for (int peer = 0; peer < comm.size(); ++peer) {
    send_counts.push_back(count(me, peer));
    receive_counts.push_back(count(peer, me));
    for (std::int64_t i = 0; i < count(me, peer); ++i) in.push_back(me * 10000 + peer * 1000 + static_cast<int>(i));
    for (std::int64_t i = 0; i < count(peer, me); ++i) want.push_back(peer * 10000 + me * 1000 + static_cast<int>(i));
  }
  std::vector<std::int32_t> out(want.size());
  comm.all_to_all_v(tensor_of(in), send_counts, tensor_of(out), receive_counts);
  expect_same(out, want, "all_to_all");
}

void broadcast_from_each(Communicator& comm) {
  for (int root = 0; root < comm.size(); ++root) {
    for (const std::int64_t n : {0, 1, 5003}) {
      std::vector<std::int64_t> values(n, -1);
      if (comm.rank() == root) values = values_of<std::int64_t>(root, n);
      comm.broadcast(tensor_of(values), root);
      expect_same(values, values_of<std::int64_t>(root, n), "broadcast");
    }
  }
}

// The machine's monotonic clock is one for all its processes: nobody leaves before the last has come.
void barrier_holds_all(Communicator& comm) {
  const auto now = [] {
    return static_cast<std::int64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  };
  for (int late = 0; late < comm.size(); ++late) {
    if (comm.rank() == late) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::vector<std::int64_t> latest_entry = {now()};
    comm.barrier();
    std::vector<std::int64_t> first_leave = {now()};
    comm.all_reduce(tensor_of(latest_entry), ReduceOp::kMax);
    comm.all_reduce(tensor_of(first_leave), ReduceOp::kMin);
    expect(latest_entry[0] <= first_leave[0], "no rank to leave a barrier before the last one came");
  }
}

void strings(Communicator& comm) {
  std::string text = comm.rank() == comm.size() - 1 ? "nine bytes" : "to be overwritten by a shorter text";
  broadcast_string(comm, text, comm.size() - 1);
  expect(text == "nine bytes", "the broadcast text");
  std::string empty = comm.rank() == 0 ? "" : "x";
  broadcast_string(comm, empty, 0);
  expect(empty.empty(), "an empty text");

  const auto text_of = [](int rank) { return std::string(rank * 3 % 5, static_cast<char>('a' + rank)); };
  const std::vector<std::string> all = gather_strings(comm, text_of(comm.rank()));
  for (int r = 0; r < comm.size(); ++r) expect(all[r] == text_of(r), "each rank's text");
}

void require_same_names_the_rank(Communicator& comm) {
  require_same(comm, "a: 1\nb: 2\n", "the config");
  if (comm.size() == 1) return;
  const int odd_one = comm.size() - 1;
  std::string message;
  try {
    require_same(comm, comm.rank() == odd_one ? "a: 1\nb: 3\n" : "a: 1\nb: 2\n", "the config");
  } catch (const Error& error) {
    expect(error.kind() == ErrorKind::kUsage, "a usage error");
    message = error.what();
  }
  expect(message.find(fmt::format("rank {} differs", odd_one)) != std::string::npos, "the rank in: " + message);
  expect(message.find("line 2") != std::string::npos && message.find("b: 3") != std::string::npos,
         "the line in: " + message);
}

constexpr RankBody kBodies[] = {
    {"all_reduce_small", all_reduce_small},
    {"all_reduce_in_rounds", all_reduce_in_rounds},
    {"all_reduce_in_rank_order", all_reduce_in_rank_order},
    {"all_reduce_passes_nan_on", all_reduce_passes_nan_on},
    {"all_reduce_wraps_integers", all_reduce_wraps_integers},
    {"all_reduce_refuses_bf16", all_reduce_refuses_bf16},
    {"all_gather_uneven", all_gather_uneven},
    {"reduce_scatter_uneven", reduce_scatter_uneven},
    {"reduce_scatter_in_rounds", reduce_scatter_in_rounds},
    {"all_to_all_uneven", all_to_all_uneven},
    {"broadcast_from_each", broadcast_from_each},
    {"barrier_holds_all", barrier_holds_all},
    {"strings", strings},
    {"require_same_names_the_rank", require_same_names_the_rank},
};

}  // namespace

std::span<const RankBody> collective_bodies() {
  return kBodies;
}

}  // namespace longspan::testing
