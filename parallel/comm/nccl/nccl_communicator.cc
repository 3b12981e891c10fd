#include "parallel/comm/nccl/nccl_communicator.h"

#include <algorithm>
#include <exception>
#include <numeric>

#include "kernels/core/error.h"
#include "parallel/comm/staged_transfers.h"
#include "parallel/comm/wait_text.h"

namespace longspan {
namespace {

std::byte* bytes_of(const Tensor& tensor) {
  return static_cast<std::byte*>(tensor.data);
}

std::vector<std::int64_t> offsets_of(std::span<const std::int64_t> counts) {
  std::vector<std::int64_t> offsets(counts.size());
  std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), std::int64_t{0});
  return offsets;
}

bool all_equal(std::span<const std::int64_t> counts) {
  return std::adjacent_find(counts.begin(), counts.end(), std::not_equal_to<>()) == counts.end();
}

std::int64_t sum_of(std::span<const std::int64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

void check_summable(DType dtype, std::string_view what) {
  LS_CHECK(dtype != DType::kBF16 && dtype != DType::kI8, "{} of {}: sums are carried in fp32; cast first", what,
           name_of(dtype));
}

// Device transfers of a group, and the host's beside them where there are any.
class NcclTransfers final : public PendingTransfers {
 public:
  NcclTransfers(std::shared_ptr<NcclWorld> world, std::string what, std::shared_ptr<DeviceEvent> done,
                std::unique_ptr<PendingTransfers> on_host)
      : world_(std::move(world)), what_(std::move(what)), done_(std::move(done)), on_host_(std::move(on_host)) {}

  ~NcclTransfers() override {
    if (settled_) return;
    if (std::uncaught_exceptions() > 0)
      world_->end(fmt::format("gave up {}", what_));
    else
      world_->abort(fmt::format("gave up {}", what_));
  }

  bool test() override {
    check();
    if (on_host_ && !on_host_->test()) return false;
    settled_ = settled_ || done_->is_reached();
    return settled_;
  }

  void wait() override {
    check();
    if (on_host_) on_host_->wait();
    done_->hold_back(world_->device().compute());
    settled_ = true;
  }

 private:
  void check() {
    try {
      world_->throw_if_aborted(what_);
    } catch (...) {
      settled_ = true;
      throw;
    }
  }

  const std::shared_ptr<NcclWorld> world_;
  const std::string what_;
  const std::shared_ptr<DeviceEvent> done_;
  const std::unique_ptr<PendingTransfers> on_host_;
  bool settled_ = false;
};

class NcclMemory final : public RegisteredMemory {
 public:
  NcclMemory(std::shared_ptr<NcclWorld> world, NcclHandle comm, void* registration)
      : world_(std::move(world)), comm_(comm), registration_(registration) {}
  // Transfers may still run where the rank has failed: they end first.
  ~NcclMemory() override {
    if (std::uncaught_exceptions() > 0) world_->end("memory went while its rank failed");
    world_->deregister_memory(registration_, comm_);
  }

 private:
  const std::shared_ptr<NcclWorld> world_;
  const NcclHandle comm_;
  void* const registration_;
};

template <class Transfer>
std::vector<Transfer> those_on(std::span<const Transfer> all, bool device) {
  std::vector<Transfer> some;
  std::copy_if(all.begin(), all.end(), std::back_inserter(some),
               [&](const Transfer& t) { return (t.device != Device::kCpu) == device; });
  return some;
}

}  // namespace

NcclCommunicator::NcclCommunicator(std::shared_ptr<NcclWorld> world, Communicator& host, NcclHandle comm)
    : world_(std::move(world)), host_(host), comm_(comm), queue_(world_->device().transfers()) {}

NcclCommunicator::NcclCommunicator(std::shared_ptr<NcclWorld> world, std::unique_ptr<Communicator> host,
                                   NcclHandle comm)
    : NcclCommunicator(world, std::move(host), comm, world->device().transfers()) {}

NcclCommunicator::NcclCommunicator(std::shared_ptr<NcclWorld> world, std::unique_ptr<Communicator> host,
                                   NcclHandle comm, Stream queue)
    : world_(std::move(world)), own_host_(std::move(host)), host_(*own_host_), comm_(comm), queue_(queue) {}

NcclCommunicator::~NcclCommunicator() {
  if (std::uncaught_exceptions() > 0) world_->end(fmt::format("rank {} failed", rank()));
  world_->close(comm_);
  if (queue_ != world_->device().transfers()) world_->close_queue(queue_);
}

// On all ranks or none: what NCCL does where some of them pass registered memory, and others do not, is not defined.
std::unique_ptr<RegisteredMemory> NcclCommunicator::register_memory(void* data, std::int64_t num_bytes) {
  if (size() == 1) return nullptr;
  std::string why;
  void* registration = world_->register_memory(data, num_bytes, comm_, why);
  std::unique_ptr<RegisteredMemory> memory;
  if (registration != nullptr) memory = std::make_unique<NcclMemory>(world_, comm_, registration);
  const std::vector<std::string> refusals = gather_strings(host_, registration == nullptr ? "refused: " + why : "");
  const auto refusal = std::find_if(refusals.begin(), refusals.end(), [](const auto& text) { return !text.empty(); });
  if (refusal == refusals.end()) return memory;
  if (rank() == 0) world_->tell_of_refusal(fmt::format("rank {} {}", refusal - refusals.begin(), *refusal));
  return nullptr;
}

std::unique_ptr<PendingTransfers> NcclCommunicator::start(std::span<const Send> sends,
                                                          std::span<const Receive> receives, std::string_view what) {
  if (!any_on_device(sends, receives)) return host_.start(sends, receives, what);
  const std::vector<Send> outgoing = those_on(sends, true);
  const std::vector<Receive> incoming = those_on(receives, true);
  std::vector<OpenTransfer> open;
  std::int64_t to_itself = 0, from_itself = 0;
  for (const Receive& receive : incoming) {
    LS_CHECK(receive.peer >= 0 && receive.peer < size(), "'{}': peer {} in a group of {}", what, receive.peer, size());
    open.push_back({Direction::kReceive, receive.peer, receive.num_bytes});
    from_itself += receive.peer == rank() ? 1 : 0;
  }
  for (const Send& send : outgoing) {
    LS_CHECK(send.peer >= 0 && send.peer < size(), "'{}': peer {} in a group of {}", what, send.peer, size());
    open.push_back({Direction::kSend, send.peer, send.num_bytes});
    to_itself += send.peer == rank() ? 1 : 0;
    bytes_sent_ += send.peer == rank() ? 0 : send.num_bytes;
  }
  LS_CHECK(to_itself == from_itself, "'{}' over NCCL: {} messages to itself, {} from itself in one group", what,
           to_itself, from_itself);
  const std::string described = describe_wait(what, open);
  std::unique_ptr<PendingTransfers> on_host;
  if (outgoing.size() < sends.size() || incoming.size() < receives.size())
    on_host = host_.start(those_on(sends, false), those_on(receives, false), what);
  auto done = world_->queue(comm_, queue_, described, [&](Stream stream) {
    for (const Receive& r : incoming) world_->api().receive(r.data, r.num_bytes, r.peer, comm_, stream);
    for (const Send& s : outgoing) world_->api().send(s.data, s.num_bytes, s.peer, comm_, stream);
  });
  return std::make_unique<NcclTransfers>(world_, described, std::move(done), std::move(on_host));
}

void NcclCommunicator::run(const std::string& what, const NcclWorld::Calls& calls) {
  world_->queue(comm_, queue_, fmt::format("'{}'", what), calls)->hold_back(world_->device().compute());
}

void NcclCommunicator::check(const Tensor& tensor, std::int64_t numel, std::string_view what) const {
  LS_CHECK(tensor.is_contiguous() && tensor.device == world_->device().runtime().device(), "{} of {} on {}", what,
           tensor.describe(), name_of(tensor.device));
  LS_CHECK(tensor.numel() == numel, "{} of {}: expected {} elements", what, tensor.describe(), numel);
}

void NcclCommunicator::all_reduce(const Tensor& tensor, ReduceOp op) {
  if (tensor.device == Device::kCpu) return host_.all_reduce(tensor, op);
  check(tensor, tensor.numel(), "all_reduce");
  check_summable(tensor.dtype, "all_reduce");
  run(fmt::format("all_reduce of {}", tensor.describe()), [&](Stream stream) {
    world_->api().all_reduce({tensor.data, tensor.data, tensor.numel(), tensor.dtype}, op, comm_, stream);
  });
}

// Parts of one length have a call of their own; others go as a broadcast from each rank.
void NcclCommunicator::all_gather_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) {
  if (out.device == Device::kCpu) return host_.all_gather_v(in, out, counts);
  check(in, counts[static_cast<std::size_t>(rank())], "all_gather");
  check(out, sum_of(counts), "all_gather");
  LS_CHECK(in.dtype == out.dtype, "all_gather of {} into {}", in.describe(), out.describe());
  const std::vector<std::int64_t> offsets = offsets_of(counts);
  run(fmt::format("all_gather into {}", out.describe()), [&](Stream stream) {
    if (all_equal(counts)) {
      world_->api().all_gather({in.data, out.data, counts[0], out.dtype}, comm_, stream);
      return;
    }
    for (int r = 0; r < size(); ++r) {
      const auto i = static_cast<std::size_t>(r);
      if (counts[i] == 0) continue;
      std::byte* part = bytes_of(out) + offsets[i] * size_of(out.dtype);
      world_->api().broadcast({r == rank() ? in.data : part, part, counts[i], out.dtype}, r, comm_, stream);
    }
  });
}

// Likewise, and others as a sum on each rank.
void NcclCommunicator::reduce_scatter_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) {
  if (in.device == Device::kCpu) return host_.reduce_scatter_v(in, out, counts);
  check(in, sum_of(counts), "reduce_scatter");
  check(out, counts[static_cast<std::size_t>(rank())], "reduce_scatter");
  check_summable(in.dtype, "reduce_scatter");
  LS_CHECK(in.dtype == out.dtype, "reduce_scatter of {} into {}", in.describe(), out.describe());
  const std::vector<std::int64_t> offsets = offsets_of(counts);
  run(fmt::format("reduce_scatter of {}", in.describe()), [&](Stream stream) {
    if (all_equal(counts)) {
      world_->api().reduce_scatter({in.data, out.data, counts[0], in.dtype}, comm_, stream);
      return;
    }
    for (int r = 0; r < size(); ++r) {
      const auto i = static_cast<std::size_t>(r);
      if (counts[i] == 0) continue;
      const std::byte* part = bytes_of(in) + offsets[i] * size_of(in.dtype);
      world_->api().reduce({part, r == rank() ? out.data : nullptr, counts[i], in.dtype}, r, comm_, stream);
    }
  });
}

void NcclCommunicator::all_to_all_v(const Tensor& in, std::span<const std::int64_t> send_counts, const Tensor& out,
                                    std::span<const std::int64_t> receive_counts) {
  if (in.device == Device::kCpu) return host_.all_to_all_v(in, send_counts, out, receive_counts);
  check(in, sum_of(send_counts), "all_to_all");
  check(out, sum_of(receive_counts), "all_to_all");
  LS_CHECK(in.dtype == out.dtype, "all_to_all of {} into {}", in.describe(), out.describe());
  const std::int64_t width = size_of(in.dtype);
  const std::vector<std::int64_t> from = offsets_of(send_counts), to = offsets_of(receive_counts);
  run(fmt::format("all_to_all of {}", in.describe()), [&](Stream stream) {
    for (int r = 0; r < size(); ++r) {
      const auto i = static_cast<std::size_t>(r);
      if (receive_counts[i] > 0)
        world_->api().receive(bytes_of(out) + to[i] * width, receive_counts[i] * width, r, comm_, stream);
      if (send_counts[i] > 0)
        world_->api().send(bytes_of(in) + from[i] * width, send_counts[i] * width, r, comm_, stream);
    }
  });
}

void NcclCommunicator::broadcast(const Tensor& tensor, int root) {
  if (tensor.device == Device::kCpu) return host_.broadcast(tensor, root);
  check(tensor, tensor.numel(), "broadcast");
  run(fmt::format("broadcast of {} from rank {}", tensor.describe(), root), [&](Stream stream) {
    world_->api().broadcast({tensor.data, tensor.data, tensor.numel(), tensor.dtype}, root, comm_, stream);
  });
}

std::unique_ptr<Communicator> NcclCommunicator::split(int color, int key) {
  std::unique_ptr<Communicator> host = host_.split(color, key);
  const NcclHandle comm = split_handle(color, key);
  return std::make_unique<NcclCommunicator>(world_, std::move(host), comm);
}

std::unique_ptr<Communicator> NcclCommunicator::split_apart(int color, int key) {
  std::unique_ptr<Communicator> host = host_.split(color, key);
  const NcclHandle comm = split_handle(color, key);
  auto apart = std::make_unique<NcclCommunicator>(world_, std::move(host), comm, world_->open_queue());
  apart->connect();
  return apart;
}

// NCCL connects two ranks for messages in a direction when both have begun the first of them; until then it queues
// nothing, and start() waits. A receive that is posted long before its message is sent would so hold up the host, and
// with it what the sender waits for. Once they are connected, what a rank begins is queued at once. Groups that are
// not apart do without: both ends of their messages stand at the same place of the program.
void NcclCommunicator::connect() {
  if (size() == 1) return;
  DeviceRuntime& runtime = world_->device().runtime();
  const auto release = [&](void* memory) { runtime.release(memory, 2 * size()); };
  const std::unique_ptr<void, decltype(release)> memory(runtime.allocate(2 * size()), release);
  LS_REQUIRE(kMemory, memory != nullptr, "{} refuses {} bytes of memory for ranks to meet", runtime.name(), 2 * size());
  auto* bytes = static_cast<std::byte*>(memory.get());
  const std::string what = fmt::format("'{} ranks connecting over NCCL'", size());
  const auto done = world_->queue(comm_, queue_, what, [&](Stream stream) {
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank()) continue;
      world_->api().receive(bytes + peer, 1, peer, comm_, stream);
      world_->api().send(bytes + size() + peer, 1, peer, comm_, stream);
    }
  });
  done->wait();
  world_->throw_if_aborted(what);
}

NcclHandle NcclCommunicator::split_handle(int color, int key) {
  return world_->open(fmt::format("'split of {} ranks over NCCL'", size()),
                      [&] { return world_->api().split(comm_, color, key); });
}

std::unique_ptr<Communicator> make_nccl_communicator(NcclApi& api, Communicator& world, DeviceRuntime& runtime,
                                                     Stream compute, const CommOptions& options) {
  auto shared = std::make_shared<NcclWorld>(api, world, runtime, compute, options);
  NcclId id{};
  if (world.rank() == 0) id = api.make_id();
  world.broadcast(Tensor(id.data(), DType::kI8, {static_cast<std::int64_t>(id.size())}), 0);
  const NcclHandle comm = shared->open(fmt::format("'{} ranks meeting over NCCL'", world.size()),
                                       [&] { return api.join(id, world.rank(), world.size()); });
  return std::make_unique<NcclCommunicator>(std::move(shared), world, comm);
}

}  // namespace longspan
