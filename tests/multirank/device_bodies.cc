// Transfers and collectives of device memory. All work is queued: nobody waits for a device but to look at results.
#include <cmath>
#include <functional>
#include <random>

#include "tests/multirank/rank_bodies.h"

namespace longspan::testing {
namespace {

// Device memory that holds values, and the pinned memory they come from and go back to.
template <class T>
class OnDevice {
 public:
  OnDevice(const DeviceRank& rank, const std::vector<T>& values)
      : rank_(rank), count_(static_cast<std::int64_t>(values.size())) {
    memory_ = static_cast<T*>(rank.runtime.allocate(room()));
    pinned_ = static_cast<T*>(rank.runtime.allocate_pinned(room()));
    std::copy(values.begin(), values.end(), pinned_);
    rank.runtime.copy(rank.compute, memory_, pinned_, num_bytes());
  }
  ~OnDevice() {
    rank_.runtime.release(memory_, room());
    rank_.runtime.release_pinned(pinned_, room());
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  std::int64_t num_bytes() const { return count_ * static_cast<std::int64_t>(sizeof(T)); }
  T* data() const { return memory_; }
  Tensor tensor() const { return Tensor(memory_, dtype_of<T>(), {count_}, Device::kCuda); }
  Send send(int peer) const { return {peer, memory_, num_bytes(), Device::kCuda}; }
  Receive receive(int peer) const { return {peer, memory_, num_bytes(), Device::kCuda}; }
  // Queued.
  void zero() const { rank_.runtime.zero(rank_.compute, memory_, num_bytes()); }
  void take(const OnDevice& from) const { rank_.runtime.copy(rank_.compute, memory_, from.memory_, num_bytes()); }
  // Waits.
  std::vector<T> values() const {
    rank_.runtime.copy(rank_.compute, pinned_, memory_, num_bytes());
    rank_.runtime.synchronize(rank_.compute);
    return {pinned_, pinned_ + count_};
  }

 private:
  std::int64_t room() const { return std::max<std::int64_t>(num_bytes(), 1); }

  const DeviceRank& rank_;
  const std::int64_t count_;
  T* memory_;
  T* pinned_;
};

std::vector<std::int32_t> numbers(int rank, int number, std::int64_t count) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i)
    values[static_cast<std::size_t>(i)] = rank * 1'000'000 + number * 1000 + static_cast<int>(i % 997);
  return values;
}

int next_of(const Communicator& comm) {
  return (comm.rank() + 1) % comm.size();
}
int before(const Communicator& comm) {
  return (comm.rank() + comm.size() - 1) % comm.size();
}

// A buffer goes once round; every hop is queued before the first is done.
void once_round_the_ring(const DeviceRank& rank) {
  Communicator& comm = rank.comm;
  const OnDevice<std::int32_t> held(rank, numbers(comm.rank(), 1, 5003));
  const OnDevice<std::int32_t> arriving(rank, numbers(comm.rank(), 2, 5003));
  for (int hop = 0; hop < comm.size(); ++hop) {
    const Send send = held.send(next_of(comm));
    const Receive receive = arriving.receive(before(comm));
    comm.start({&send, 1}, {&receive, 1}, "hop")->wait();
    held.take(arriving);
  }
  expect_same(held.values(), numbers(comm.rank(), 1, 5003), "a buffer that has gone round");
}

// Under way while the compute stream has other work, as in a step of attention.
void hops_under_other_work(const DeviceRank& rank) {
  Communicator& comm = rank.comm;
  const OnDevice<std::int32_t> first(rank, numbers(comm.rank(), 1, 2001));
  const OnDevice<std::int32_t> second(rank, numbers(comm.rank(), 2, 2001));
  const OnDevice<std::int32_t> copy(rank, numbers(comm.rank(), 3, 2001));
  const OnDevice<std::int32_t>* slots[] = {&first, &second};
  for (int hop = 0; hop < comm.size(); ++hop) {
    const OnDevice<std::int32_t>& held = *slots[hop % 2];
    const Send send = held.send(next_of(comm));
    const Receive receive = slots[(hop + 1) % 2]->receive(before(comm));
    const auto pending = comm.start({&send, 1}, {&receive, 1}, "hop");
    copy.take(held);
    pending->wait();
    held.zero();
  }
  const int source = next_of(comm);  // size() - 1 hops back
  expect_same(copy.values(), numbers(source, 1, 2001), "the last buffer that was held");
}

void ends_are_held_back(const DeviceRank& rank) {
  Communicator& comm = rank.comm;
  const OnDevice<std::int32_t> sent(rank, numbers(comm.rank(), 1, 999));
  const OnDevice<std::int32_t> target(rank, numbers(comm.rank(), 2, 999));
  const OnDevice<std::int32_t> old(rank, numbers(comm.rank(), 3, 999));
  old.take(target);  // queued before the transfer writes there
  const Send send = sent.send(next_of(comm));
  const Receive receive = target.receive(before(comm));
  comm.start({&send, 1}, {&receive, 1}, "once")->wait();
  sent.zero();  // queued after the transfer has read it
  expect_same(target.values(), numbers(before(comm), 1, 999), "what was sent");
  expect_same(old.values(), numbers(comm.rank(), 2, 999), "what stood there before");
  expect_same(sent.values(), std::vector<std::int32_t>(999), "zeros");
}

void one_to_each(const DeviceRank& rank) {
  Communicator& comm = rank.comm;
  const int me = comm.rank();
  for (const int scale : {0, 1, 50'000}) {
    std::vector<std::unique_ptr<OnDevice<std::int32_t>>> out, in;
    std::vector<Send> sends;
    std::vector<Receive> receives;
    for (int peer = 0; peer < comm.size(); ++peer) {
      out.push_back(std::make_unique<OnDevice<std::int32_t>>(rank, numbers(me, peer, scale * (me + peer))));
      in.push_back(std::make_unique<OnDevice<std::int32_t>>(rank, numbers(99, 99, scale * (me + peer))));
      sends.push_back(out.back()->send(peer));
      receives.push_back(in.back()->receive(peer));
    }
    comm.start(sends, receives, "one to each")->wait();
    for (int peer = 0; peer < comm.size(); ++peer)
      expect_same(in[peer]->values(), numbers(peer, me, scale * (me + peer)), "message");
  }
}

// A group that holds messages of both kinds; the host's are there when wait() returns.
void host_and_device_together(const DeviceRank& rank) {
  Communicator& comm = rank.comm;
  const OnDevice<std::int32_t> out(rank, numbers(comm.rank(), 1, 500)), in(rank, numbers(comm.rank(), 2, 500));
  const std::vector<std::int32_t> host_out = numbers(comm.rank(), 3, 70);
  std::vector<std::int32_t> host_in(70);
  const Send sends[] = {out.send(next_of(comm)), {next_of(comm), host_out.data(), 280}};
  const Receive receives[] = {in.receive(before(comm)), {before(comm), host_in.data(), 280}};
  comm.start(sends, receives, "both")->wait();
  expect_same(host_in, numbers(before(comm), 3, 70), "the host's message");
  expect_same(in.values(), numbers(before(comm), 1, 500), "the device's message");
}

void test_sees_the_end(const DeviceRank& rank) {
  Communicator& comm = rank.comm;
  const OnDevice<std::int32_t> out(rank, numbers(comm.rank(), 1, 500)), in(rank, numbers(comm.rank(), 2, 500));
  const Send send = out.send(next_of(comm));
  const Receive receive = in.receive(before(comm));
  const auto pending = comm.start({&send, 1}, {&receive, 1}, "polled");
  while (!pending->test()) {
  }
  expect(pending->test(), "a finished transfer to stay finished");
  expect_same(in.values(), numbers(before(comm), 1, 500), "polled message");
}

// The same sums on the host, which have tests of their own.
std::vector<float> noise(int rank, std::int64_t count) {
  std::mt19937 bits(77 + static_cast<unsigned>(rank));
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values)
    value = std::ldexp(static_cast<float>(bits() >> 8) - 8388608.0f, static_cast<int>(bits() & 31) - 40);
  return values;
}

std::vector<std::int64_t> counts_of(int num_ranks, std::int64_t scale) {
  std::vector<std::int64_t> counts;
  for (int r = 0; r < num_ranks; ++r) counts.push_back(r % 3 * scale + r % 2);
  return counts;
}

void all_reduce_as_on_the_host(const DeviceRank& rank) {
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin})
    for (const std::int64_t count : {1, 7, 4099, 300'007}) {
      std::vector<float> want = noise(rank.comm.rank(), count);
      const OnDevice<float> values(rank, want);
      rank.comm.all_reduce(values.tensor(), op);
      rank.comm.all_reduce(tensor_of(want), op);
      expect_same(values.values(), want, "all_reduce");
    }
}

void gathers_and_scatters(const DeviceRank& rank) {
  Communicator& comm = rank.comm;
  for (const std::int64_t scale : {0, 1, 4099}) {
    const std::vector<std::int64_t> counts = counts_of(comm.size(), scale);
    std::int64_t total = 0;
    for (const std::int64_t count : counts) total += count;
    const std::int64_t mine = counts[static_cast<std::size_t>(comm.rank())];
    std::vector<float> part = noise(comm.rank(), mine), whole = noise(comm.rank() + 50, total);
    const OnDevice<float> device_part(rank, part), device_whole(rank, whole);
    comm.reduce_scatter_v(device_whole.tensor(), device_part.tensor(), counts);
    comm.reduce_scatter_v(tensor_of(whole), tensor_of(part), counts);
    comm.all_gather_v(device_part.tensor(), device_whole.tensor(), counts);
    comm.all_gather_v(tensor_of(part), tensor_of(whole), counts);
    expect_same(device_part.values(), part, "reduce_scatter");
    expect_same(device_whole.values(), whole, "all_gather");
  }
}

void all_to_all_and_broadcast(const DeviceRank& rank) {
  Communicator& comm = rank.comm;
  const std::vector<std::int64_t> counts(static_cast<std::size_t>(comm.size()), 301);
  std::vector<std::int32_t> in = numbers(comm.rank(), 1, 301 * comm.size()), out(in.size());
  const OnDevice<std::int32_t> device_in(rank, in), device_out(rank, out);
  comm.all_to_all_v(device_in.tensor(), counts, device_out.tensor(), counts);
  comm.all_to_all_v(tensor_of(in), counts, tensor_of(out), counts);
  expect_same(device_out.values(), out, "all_to_all");
  for (int root = 0; root < comm.size(); ++root) {
    const OnDevice<std::int32_t> values(rank, numbers(comm.rank(), root, 1234));
    comm.broadcast(values.tensor(), root);
    expect_same(values.values(), numbers(root, root, 1234), "broadcast");
  }
}

void parts_know_the_device(const DeviceRank& rank) {
  const auto part = rank.comm.split(rank.comm.rank() % 2, 0);
  const DeviceRank in_part{*part, rank.runtime, rank.compute};
  once_round_the_ring(in_part);
  all_reduce_as_on_the_host(in_part);
}

// As between the stages of a pipeline: a receive waits for what its sender makes only after both have exchanged other
// messages, which must not come to wait behind it.
void a_receive_apart_holds_nobody_up(const DeviceRank& rank) {
  Communicator& comm = rank.comm;
  for (const int sender : {0, comm.size() - 1}) {
    const auto apart = comm.split_apart(0, comm.rank());
    const bool sends = comm.rank() == sender;
    const OnDevice<std::int32_t> early(rank, numbers(comm.rank(), 1, 3001));
    std::unique_ptr<PendingTransfers> pending;
    const Receive receive = early.receive(sender);
    if (!sends) pending = apart->start({}, {&receive, 1}, "what comes late");
    once_round_the_ring(rank);  // waits on the host for its end
    std::vector<Send> outgoing;
    for (int peer = 0; peer < comm.size() && sends; ++peer)
      if (peer != sender) outgoing.push_back(early.send(peer));
    if (sends) pending = apart->start(outgoing, {}, "what comes late");
    pending->wait();
    expect_same(early.values(), numbers(sender, 1, 3001), "what came late");
  }
}

constexpr DeviceBody kBodies[] = {
    {"once_round_the_ring", once_round_the_ring},
    {"hops_under_other_work", hops_under_other_work},
    {"ends_are_held_back", ends_are_held_back},
    {"one_to_each_on_devices", one_to_each},
    {"host_and_device_together", host_and_device_together},
    {"test_sees_the_end", test_sees_the_end},
    {"all_reduce_as_on_the_host", all_reduce_as_on_the_host},
    {"gathers_and_scatters", gathers_and_scatters},
    {"all_to_all_and_broadcast", all_to_all_and_broadcast},
    {"parts_know_the_device", parts_know_the_device},
    {"a_receive_apart_holds_nobody_up", a_receive_apart_holds_nobody_up},
};

}  // namespace

std::span<const DeviceBody> device_bodies() {
  return kBodies;
}

void run_on_device(Communicator& world, DeviceRuntime& runtime, const DeviceBody& body) {
  runtime.make_current();
  const auto comm = world.split(0, world.rank());
  const Stream compute = runtime.make_stream(StreamUse::kCompute);
  comm->use_device(runtime, compute);
  body.run({*comm, runtime, compute});
}

}  // namespace longspan::testing
