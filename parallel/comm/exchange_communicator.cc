#include "parallel/comm/exchange_communicator.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <type_traits>

#include "kernels/core/error.h"
#include "parallel/comm/staged_transfers.h"

namespace longspan {
namespace {

// The pieces that a rank holds at once while it reduces: bounds the scratch whatever the tensor's size.
constexpr std::int64_t kRoundBytes = 4 << 20;
// Summed at a time, so that a result may overwrite this rank's own operand.
constexpr std::int64_t kBlockBytes = 8 << 10;

template <class T, ReduceOp kOp>
void combine(std::byte* acc_bytes, const std::byte* x_bytes, std::int64_t n) {
  auto* acc = reinterpret_cast<T*>(acc_bytes);
  const auto* x = reinterpret_cast<const T*>(x_bytes);
  for (std::int64_t i = 0; i < n; ++i) {
    if constexpr (kOp == ReduceOp::kSum) {
      if constexpr (std::is_integral_v<T>) {
        using U = std::make_unsigned_t<T>;  // wraps rather than being undefined
        acc[i] = static_cast<T>(static_cast<U>(acc[i]) + static_cast<U>(x[i]));
      } else {
        acc[i] += x[i];
      }
    } else {
      const bool better = kOp == ReduceOp::kMax ? x[i] > acc[i] : x[i] < acc[i];
      const bool nan = x[i] != x[i];
      acc[i] = better || nan ? x[i] : acc[i];
    }
  }
}

void check_buffer(const Tensor& tensor, std::int64_t numel, std::string_view what) {
  LS_CHECK(tensor.is_contiguous(), "{} of {} whose elements do not lie together", what, tensor.describe());
  LS_CHECK(tensor.numel() == numel, "{} of {}: expected {} elements", what, tensor.describe(), numel);
}

std::int64_t checked_sum(std::span<const std::int64_t> counts, int size, std::string_view what) {
  LS_CHECK(static_cast<int>(counts.size()) == size, "{}: {} counts for {} ranks", what, counts.size(), size);
  for (const std::int64_t count : counts) LS_CHECK(count >= 0, "{}: a count of {}", what, count);
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

// Where each rank's part begins when parts lie one after another.
std::vector<std::int64_t> offsets_of(std::span<const std::int64_t> counts) {
  std::vector<std::int64_t> offsets(counts.size());
  std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), std::int64_t{0});
  return offsets;
}

}  // namespace

void ExchangeCommunicator::use_device(DeviceRuntime& runtime, Stream compute) {
  device_ = runtime.device() == Device::kCpu ? nullptr : std::make_shared<CommDevice>(runtime, compute);
}

std::unique_ptr<Communicator> ExchangeCommunicator::split(int color, int key) {
  std::unique_ptr<ExchangeCommunicator> part = divide(color, key);
  part->device_ = device_;
  return part;
}

template <class T>
ExchangeCommunicator::Reduction ExchangeCommunicator::reduction_of(ReduceOp op, std::string_view what) {
  switch (op) {
    case ReduceOp::kSum: return {sizeof(T), combine<T, ReduceOp::kSum>, what};
    case ReduceOp::kMax: return {sizeof(T), combine<T, ReduceOp::kMax>, what};
    case ReduceOp::kMin: return {sizeof(T), combine<T, ReduceOp::kMin>, what};
  }
  fail(ErrorKind::kInternal, "{}: unknown reduction {}", what, static_cast<int>(op));
}

ExchangeCommunicator::Reduction ExchangeCommunicator::reduction_of(DType dtype, ReduceOp op, std::string_view what) {
  switch (dtype) {
    case DType::kF32: return reduction_of<float>(op, what);
    case DType::kI32: return reduction_of<std::int32_t>(op, what);
    case DType::kI64: return reduction_of<std::int64_t>(op, what);
    case DType::kF64: return reduction_of<double>(op, what);
    case DType::kI8:
    case DType::kBF16: break;
  }
  fail(ErrorKind::kInternal, "{} of {}: sums are carried in fp32; cast first", what, name_of(dtype));
}

std::unique_ptr<PendingTransfers> ExchangeCommunicator::start(std::span<const Send> sends,
                                                              std::span<const Receive> receives,
                                                              std::string_view what) {
  const auto check = [&](int peer, std::int64_t num_bytes) {
    LS_CHECK(peer >= 0 && peer < size(), "'{}': peer {} in a group of {}", what, peer, size());
    LS_CHECK(num_bytes >= 0, "'{}': {} bytes with rank {}", what, num_bytes, peer);
  };
  std::int64_t leaving = 0;
  for (const Send& send : sends) {
    check(send.peer, send.num_bytes);
    if (send.peer != rank()) leaving += send.num_bytes;
  }
  for (const Receive& receive : receives) check(receive.peer, receive.num_bytes);
  auto transfers = post_any(Channel::kPointToPoint, sends, receives, what);
  bytes_sent_ += leaving;
  return transfers;
}

void ExchangeCommunicator::check_device(Device device, std::string_view what) const {
  LS_CHECK(device == Device::kCpu || (device_ && device_->runtime().device() == device),
           "'{}' on {}, but rank {} has not been told of its device: call use_device() first", what, name_of(device),
           rank());
}

std::unique_ptr<PendingTransfers> ExchangeCommunicator::post_any(Channel channel, std::span<const Send> sends,
                                                                 std::span<const Receive> receives,
                                                                 std::string_view what) {
  for (const Send& send : sends) check_device(send.device, what);
  for (const Receive& receive : receives) check_device(receive.device, what);
  if (moves_device_memory() || !any_on_device(sends, receives)) return post(channel, sends, receives, what);
  return std::make_unique<StagedTransfers>(device_, sends, receives,
                                           [&](std::span<const Send> outgoing, std::span<const Receive> incoming) {
                                             return post(channel, outgoing, incoming, what);
                                           });
}

void ExchangeCommunicator::exchange(std::span<const Send> sends, std::span<const Receive> receives,
                                    std::string_view what) {
  post_any(Channel::kCollective, sends, receives, what)->wait();
}

ExchangeCommunicator::Place ExchangeCommunicator::place_of(const Tensor& tensor) const {
  check_device(tensor.device, tensor.describe());
  return {static_cast<std::byte*>(tensor.data), tensor.device};
}

// On the host it is done when it returns, and so where one end is the host's.
void ExchangeCommunicator::copy_own(const Place& to, const Place& from, std::int64_t num_bytes) {
  if (to.data == from.data || num_bytes == 0) return;
  if (to.device == Device::kCpu && from.device == Device::kCpu) {
    std::memmove(to.data, from.data, static_cast<std::size_t>(num_bytes));
    return;
  }
  device_->runtime().copy(device_->compute(), to.data, from.data, num_bytes);
  if (to.device != from.device) device_->runtime().synchronize(device_->compute());
}

// In rounds: each rank receives one chunk of its own part from everybody and sums it in rank order.
void ExchangeCommunicator::reduce_scatter(const Reduction& reduction, const Place& in, const Place& out,
                                          std::span<const std::int64_t> counts) {
  const int me = rank();
  const int num_ranks = size();
  const std::int64_t width = reduction.element_bytes;
  const std::int64_t chunk = std::max<std::int64_t>(1, kRoundBytes / (num_ranks * width));
  const std::int64_t longest = *std::max_element(counts.begin(), counts.end());
  const std::vector<std::int64_t> offsets = offsets_of(counts);
  const std::int64_t slot_bytes = std::min(chunk, counts[me]) * width;
  if (static_cast<std::int64_t>(scratch_.size()) < slot_bytes * num_ranks) scratch_.resize(slot_bytes * num_ranks);

  std::vector<Send> sends;
  std::vector<Receive> receives;
  alignas(64) std::byte acc[kBlockBytes];
  for (std::int64_t begin = 0; begin < longest; begin += chunk) {
    const auto length = [&](int r) { return std::clamp<std::int64_t>(counts[r] - begin, 0, chunk); };
    const std::int64_t mine = length(me);
    sends.clear();
    receives.clear();
    for (int step = 1; step < num_ranks; ++step) {  // each starts with its neighbour: no rank is everybody's first
      const int peer = (me + step) % num_ranks;
      if (length(peer) > 0) {
        sends.push_back({peer, in.data + (offsets[peer] + begin) * width, length(peer) * width, in.device});
      }
      if (mine > 0) receives.push_back({peer, scratch_.data() + peer * slot_bytes, mine * width});
    }
    exchange(sends, receives, reduction.what);

    const Place own = in + (offsets[me] + begin) * width;
    const bool on_host = in.device == Device::kCpu;
    std::byte* const own_slot = scratch_.data() + me * slot_bytes;
    if (!on_host) copy_own({own_slot, Device::kCpu}, own, mine * width);
    const std::byte* own_bytes = on_host ? own.data : own_slot;
    std::byte* const sum = on_host ? out.data + begin * width : own_slot;
    for (std::int64_t at = 0; at < mine * width; at += kBlockBytes) {
      const std::int64_t num_bytes = std::min(kBlockBytes, mine * width - at);
      const auto part = [&](int r) { return (r == me ? own_bytes : scratch_.data() + r * slot_bytes) + at; };
      std::memcpy(acc, part(0), static_cast<std::size_t>(num_bytes));
      for (int r = 1; r < num_ranks; ++r) reduction.combine(acc, part(r), num_bytes / width);
      std::memcpy(sum + at, acc, static_cast<std::size_t>(num_bytes));
    }
    if (!on_host) copy_own(out + begin * width, {own_slot, Device::kCpu}, mine * width);
  }
}

void ExchangeCommunicator::all_gather(const Place& in, const Place& out, std::span<const std::int64_t> counts,
                                      std::int64_t element_bytes, std::string_view what) {
  const int me = rank();
  const std::vector<std::int64_t> offsets = offsets_of(counts);
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (int step = 1; step < size(); ++step) {
    const int peer = (me + step) % size();
    if (counts[me] > 0) sends.push_back({peer, in.data, counts[me] * element_bytes, in.device});
    if (counts[peer] > 0) {
      receives.push_back({peer, out.data + offsets[peer] * element_bytes, counts[peer] * element_bytes, out.device});
    }
  }
  copy_own(out + offsets[me] * element_bytes, in, counts[me] * element_bytes);
  exchange(sends, receives, what);
}

void ExchangeCommunicator::all_reduce(const Reduction& reduction, const Place& values, std::int64_t num_elements) {
  std::vector<std::int64_t> counts(size());
  for (int r = 0; r < size(); ++r) counts[r] = num_elements / size() + (r < num_elements % size() ? 1 : 0);
  const Place own = values + offsets_of(counts)[rank()] * reduction.element_bytes;
  reduce_scatter(reduction, values, own, counts);
  all_gather(own, values, counts, reduction.element_bytes, reduction.what);
}

void ExchangeCommunicator::all_reduce(const Tensor& tensor, ReduceOp op) {
  check_buffer(tensor, tensor.numel(), "all_reduce");
  const std::string what = fmt::format("all_reduce of {}", tensor.describe());
  all_reduce(reduction_of(tensor.dtype, op, what), place_of(tensor), tensor.numel());
}

void ExchangeCommunicator::all_reduce(std::span<double> values, ReduceOp op) {
  const std::string what = fmt::format("all_reduce of fp64[{}]", values.size());
  all_reduce(reduction_of<double>(op, what), Place{reinterpret_cast<std::byte*>(values.data()), Device::kCpu},
             static_cast<std::int64_t>(values.size()));
}

void ExchangeCommunicator::all_gather_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) {
  const std::int64_t total = checked_sum(counts, size(), "all_gather");
  check_buffer(in, counts[rank()], "all_gather");
  check_buffer(out, total, "all_gather");
  LS_CHECK(in.dtype == out.dtype && in.device == out.device, "all_gather of {} into {}", in.describe(), out.describe());
  all_gather(place_of(in), place_of(out), counts, size_of(out.dtype),
             fmt::format("all_gather into {}", out.describe()));
}

void ExchangeCommunicator::reduce_scatter_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) {
  const std::int64_t total = checked_sum(counts, size(), "reduce_scatter");
  check_buffer(in, total, "reduce_scatter");
  check_buffer(out, counts[rank()], "reduce_scatter");
  LS_CHECK(in.dtype == out.dtype && in.device == out.device, "reduce_scatter of {} into {}", in.describe(),
           out.describe());
  const std::string what = fmt::format("reduce_scatter of {}", in.describe());
  reduce_scatter(reduction_of(in.dtype, ReduceOp::kSum, what), place_of(in), place_of(out), counts);
}

void ExchangeCommunicator::all_to_all_v(const Tensor& in, std::span<const std::int64_t> send_counts, const Tensor& out,
                                        std::span<const std::int64_t> receive_counts) {
  check_buffer(in, checked_sum(send_counts, size(), "all_to_all"), "all_to_all");
  check_buffer(out, checked_sum(receive_counts, size(), "all_to_all"), "all_to_all");
  LS_CHECK(in.dtype == out.dtype && in.device == out.device, "all_to_all of {} into {}", in.describe(), out.describe());
  const int me = rank();
  LS_CHECK(send_counts[me] == receive_counts[me], "all_to_all: {} elements to itself, {} from itself", send_counts[me],
           receive_counts[me]);
  const std::int64_t width = size_of(in.dtype);
  const std::vector<std::int64_t> from = offsets_of(send_counts);
  const std::vector<std::int64_t> to = offsets_of(receive_counts);
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (int step = 1; step < size(); ++step) {
    const int peer = (me + step) % size();
    if (send_counts[peer] > 0) {
      sends.push_back({peer, place_of(in).data + from[peer] * width, send_counts[peer] * width, in.device});
    }
    if (receive_counts[peer] > 0) {
      receives.push_back({peer, place_of(out).data + to[peer] * width, receive_counts[peer] * width, out.device});
    }
  }
  copy_own(place_of(out) + to[me] * width, place_of(in) + from[me] * width, send_counts[me] * width);
  exchange(sends, receives, fmt::format("all_to_all of {}", in.describe()));
}

// A binomial tree over ranks counted from the root: who has the data passes it to twice as many each round.
void ExchangeCommunicator::broadcast(const Tensor& tensor, int root) {
  check_buffer(tensor, tensor.numel(), "broadcast");
  LS_CHECK(root >= 0 && root < size(), "broadcast from rank {} of {}", root, size());
  const std::string what = fmt::format("broadcast of {} from rank {}", tensor.describe(), root);
  const int place = (rank() - root + size()) % size();
  const auto rank_at = [&](int p) { return (p + root) % size(); };
  int reach = 1;  // places below it have the data
  while (reach <= place) reach *= 2;
  if (place > 0) {
    const Receive receive{rank_at(place - reach / 2), tensor.data, tensor.num_bytes(), tensor.device};
    exchange({}, {&receive, 1}, what);
  }
  std::vector<Send> sends;
  for (; place + reach < size(); reach *= 2) {
    sends.push_back({rank_at(place + reach), tensor.data, tensor.num_bytes(), tensor.device});
  }
  exchange(sends, {}, what);
}

// Dissemination: in round i each rank hears from the one 2^i before it, so that after log2(P) rounds it has heard,
// directly or not, from all.
void ExchangeCommunicator::barrier() {
  for (int distance = 1; distance < size(); distance *= 2) {
    const Send send{(rank() + distance) % size(), nullptr, 0};
    const Receive receive{(rank() - distance + size()) % size(), nullptr, 0};
    exchange({&send, 1}, {&receive, 1}, "barrier");
  }
}

std::vector<int> members_of_split(Communicator& group, int color, int key) {
  const int num_ranks = group.size();
  std::int32_t mine[2] = {color, key};
  std::vector<std::int32_t> all(2 * num_ranks);
  group.all_gather_v(Tensor(mine, DType::kI32, {2}), Tensor(all.data(), DType::kI32, {2 * num_ranks}),
                     std::vector<std::int64_t>(num_ranks, 2));

  std::vector<int> members;
  for (int r = 0; r < num_ranks; ++r) {
    if (all[2 * r] == color) members.push_back(r);
  }
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) { return all[2 * a + 1] < all[2 * b + 1]; });
  return members;
}

}  // namespace longspan
