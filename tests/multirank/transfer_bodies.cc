#include <chrono>
#include <deque>
#include <memory>
#include <thread>

#include "parallel/mesh.h"
#include "tests/multirank/rank_bodies.h"

namespace longspan::testing {
namespace {

using Bytes = std::vector<unsigned char>;

Bytes message(int from, int to, int number, std::int64_t num_bytes) {
  Bytes bytes(num_bytes);
  for (std::int64_t i = 0; i < num_bytes; ++i) {
    bytes[i] = static_cast<unsigned char>(from * 31 + to * 17 + number * 7 + i % 251);
  }
  return bytes;
}

// One message to and from every rank, this one included, of the sizes that num_bytes(from, to) gives.
template <class NumBytes>
void exchange_with_all(Communicator& comm, const NumBytes& num_bytes) {
  const int me = comm.rank();
  std::deque<Bytes> out;
  std::deque<Bytes> in;
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (int peer = 0; peer < comm.size(); ++peer) {
    out.push_back(message(me, peer, 0, num_bytes(me, peer)));
    in.emplace_back(num_bytes(peer, me), 0);
    sends.push_back({peer, out.back().data(), static_cast<std::int64_t>(out.back().size())});
    receives.push_back({peer, in.back().data(), static_cast<std::int64_t>(in.back().size())});
  }
  comm.start(sends, receives, "one to each")->wait();
  for (int peer = 0; peer < comm.size(); ++peer) {
    expect_same(in[peer], message(peer, me, 0, num_bytes(peer, me)), "message");
  }
}

void one_to_each(Communicator& comm) {
  exchange_with_all(comm, [](int from, int to) { return from * 100 + to; });
  exchange_with_all(comm, [](int, int) { return 0; });
}

void large_to_each(Communicator& comm) {
  exchange_with_all(comm, [](int from, int to) { return 100'003 + from * 1000 + to; });
}

// Exactly at, one below and one above the limit that the tests set on a message.
void around_the_message_limit(Communicator& comm) {
  for (const std::int64_t n : {999, 1000, 1001, 1999, 2000, 2001}) {
    exchange_with_all(comm, [n](int, int) { return n; });
  }
}

// The n-th send meets the n-th receive, however the two sides group them and whoever comes first.
void many_keep_their_order(Communicator& comm) {
  constexpr int kMessages = 60;
  const auto num_bytes = [](int number) { return number * 37 % 101; };
  const int me = comm.rank();
  const int next = (me + 1) % comm.size();
  const int before = (me + comm.size() - 1) % comm.size();
  std::vector<Bytes> out;
  std::vector<Bytes> in;
  for (int i = 0; i < kMessages; ++i) {
    out.push_back(message(me, next, i, num_bytes(i)));
    in.emplace_back(num_bytes(i), 0);
  }
  const auto send = [&](int i) { return Send{next, out[i].data(), num_bytes(i)}; };
  const auto receive = [&](int i) { return Receive{before, in[i].data(), num_bytes(i)}; };
  std::vector<std::unique_ptr<PendingTransfers>> pending;
  if (me % 2 == 0) {  // all sends one by one, then all receives at once
    for (int i = 0; i < kMessages; ++i) {
      const Send one = send(i);
      pending.push_back(comm.start({&one, 1}, {}, "send"));
    }
    std::vector<Receive> all;
    for (int i = 0; i < kMessages; ++i) all.push_back(receive(i));
    pending.push_back(comm.start({}, all, "receive"));
  } else {  // receives first, by threes, waited for from the last to the first
    for (int i = 0; i < kMessages; i += 3) {
      const Receive three[] = {receive(i), receive(i + 1), receive(i + 2)};
      const Send sends[] = {send(i), send(i + 1), send(i + 2)};
      pending.push_back(comm.start(sends, three, "three"));
    }
  }
  for (; !pending.empty(); pending.pop_back()) pending.back()->wait();
  for (int i = 0; i < kMessages; ++i) expect_same(in[i], message(before, me, i, num_bytes(i)), "message in order");
}

void to_itself(Communicator& comm) {
  const int me = comm.rank();
  const Bytes out = message(me, me, 3, 5000);
  Bytes in(5000);
  const Send send{me, out.data(), 5000};
  const Receive receive{me, in.data(), 5000};
  const auto sent = comm.start({&send, 1}, {}, "to itself");
  comm.start({}, {&receive, 1}, "from itself")->wait();
  sent->wait();
  expect_same(in, out, "message to itself");
  expect(comm.bytes_sent() == 0, "nothing counted as sent to others");
}

void test_makes_progress(Communicator& comm) {
  const int me = comm.rank();
  const int next = (me + 1) % comm.size();
  const int before = (me + comm.size() - 1) % comm.size();
  const Bytes out = message(me, next, 0, 70'000);
  Bytes in(70'000);
  const Send send{next, out.data(), 70'000};
  const Receive receive{before, in.data(), 70'000};
  const auto pending = comm.start({&send, 1}, {&receive, 1}, "polled");
  while (!pending->test()) std::this_thread::yield();
  expect(pending->test(), "a finished transfer to stay finished");
  pending->wait();
  expect_same(in, message(before, me, 0, 70'000), "polled message");
}

void collectives_pass_transfers(Communicator& comm) {
  const int me = comm.rank();
  const int next = (me + 1) % comm.size();
  const int before = (me + comm.size() - 1) % comm.size();
  const Bytes out = message(me, next, 0, 4000);
  Bytes in(4000);
  const Send send{next, out.data(), 4000};
  const Receive receive{before, in.data(), 4000};
  const auto first = comm.start({&send, 1}, {}, "before the sum");
  std::vector<std::int32_t> sum = {1};
  comm.all_reduce(tensor_of(sum), ReduceOp::kSum);
  const auto second = comm.start({}, {&receive, 1}, "after the sum");
  comm.barrier();
  first->wait();
  second->wait();
  expect(sum[0] == comm.size(), "a sum over all ranks");
  expect_same(in, message(before, me, 0, 4000), "message around collectives");
}

void counts_bytes_sent(Communicator& comm) {
  exchange_with_all(comm, [](int from, int to) { return from * 100 + to; });
  std::int64_t want = 0;
  for (int peer = 0; peer < comm.size(); ++peer) want += peer == comm.rank() ? 0 : comm.rank() * 100 + peer;
  expect(comm.bytes_sent() == want, fmt::format("{} bytes sent, got {}", want, comm.bytes_sent()));
  std::vector<float> values(100);
  comm.all_reduce(tensor_of(values), ReduceOp::kSum);
  expect(comm.bytes_sent() == want, "collectives not counted");
}

void check_members(Communicator& comm, std::int32_t world_rank, const std::vector<std::int32_t>& want) {
  expect(comm.size() == static_cast<int>(want.size()), fmt::format("a group of {}", want.size()));
  std::vector<std::int32_t> mine = {world_rank};
  std::vector<std::int32_t> all(comm.size());
  comm.all_gather_v(tensor_of(mine), tensor_of(all), std::vector<std::int64_t>(comm.size(), 1));
  expect_same(all, want, "members in order");
  expect(want[comm.rank()] == world_rank, "its own place");
}

void split_orders_by_key(Communicator& comm) {
  const int me = comm.rank();
  const auto group = comm.split(me % 2, -me);  // the highest rank first
  std::vector<std::int32_t> want;
  for (int r = comm.size() - 1; r >= 0; --r) {
    if (r % 2 == me % 2) want.push_back(r);
  }
  check_members(*group, me, want);
  exchange_with_all(*group, [](int from, int to) { return from * 10 + to; });
  comm.barrier();

  const auto equal_keys = comm.split(0, 7);
  want.clear();
  for (int r = 0; r < comm.size(); ++r) want.push_back(r);
  check_members(*equal_keys, me, want);
}

void split_again(Communicator& comm) {
  const int me = comm.rank();
  const auto half = comm.split(me < comm.size() / 2 ? 4 : 9, me);
  const auto pair = half->split(half->rank() / 2, half->rank());
  const auto alone = pair->split(pair->rank(), 0);
  const int first = me - pair->rank();
  std::vector<std::int32_t> want;
  for (int i = 0; i < pair->size(); ++i) want.push_back(first + i);
  check_members(*pair, me, want);
  check_members(*alone, me, {me});
  // The groups' messages do not mix, whatever the order they are waited for in.
  const std::int32_t numbers[] = {me, me + 100};
  std::int32_t from_world = -1;
  std::int32_t from_pair = -1;
  const int world_next = (me + 1) % comm.size();
  const int world_before = (me + comm.size() - 1) % comm.size();
  const int pair_peer = pair->size() - 1 - pair->rank();
  const Send to_world{world_next, &numbers[0], 4};
  const Send to_pair{pair_peer, &numbers[1], 4};
  const Receive in_world{world_before, &from_world, 4};
  const Receive in_pair{pair_peer, &from_pair, 4};
  const auto world_transfers = comm.start({&to_world, 1}, {&in_world, 1}, "world");
  pair->start({&to_pair, 1}, {&in_pair, 1}, "pair")->wait();
  world_transfers->wait();
  expect(from_world == world_before, "the world's message");
  expect(from_pair == want[pair_peer] + 100, "the pair's message");
}

void mesh_groups(Communicator& comm) {
  for (int pipeline = 1; pipeline <= comm.size(); ++pipeline)
    for (int data = 1; pipeline * data <= comm.size(); ++data) {
      if (comm.size() % (pipeline * data) != 0) continue;
      Mesh mesh(comm, resolve_mesh(comm.size(), {.pipeline = pipeline, .data = data, .context = 0}));
      const MeshShape& shape = mesh.shape();
      const MeshPlace here = mesh.place();
      std::vector<std::int32_t> same_sequence, same_weights, same_tokens;
      for (int rank = 0; rank < comm.size(); ++rank) {
        const MeshPlace there = shape.place_of(rank);
        if (there.pipeline == here.pipeline) same_weights.push_back(rank);
        if (there.pipeline == here.pipeline && there.data == here.data) same_sequence.push_back(rank);
        if (there.data == here.data && there.context == here.context) same_tokens.push_back(rank);
      }
      check_members(mesh.context(), comm.rank(), same_sequence);
      check_members(mesh.replicas(), comm.rank(), same_weights);
      check_members(mesh.pipeline(), comm.rank(), same_tokens);
    }
}

constexpr RankBody kBodies[] = {
    {"one_to_each", one_to_each},
    {"large_to_each", large_to_each},
    {"around_the_message_limit", around_the_message_limit},
    {"many_keep_their_order", many_keep_their_order},
    {"to_itself", to_itself},
    {"test_makes_progress", test_makes_progress},
    {"collectives_pass_transfers", collectives_pass_transfers},
    {"counts_bytes_sent", counts_bytes_sent},
    {"split_orders_by_key", split_orders_by_key},
    {"split_again", split_again},
    {"mesh_groups", mesh_groups},
};

}  // namespace

std::span<const RankBody> transfer_bodies() {
  return kBodies;
}

}  // namespace longspan::testing
