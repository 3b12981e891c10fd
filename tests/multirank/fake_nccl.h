// FakeNccl: NCCL's promises kept by threads on lazy devices. Calls only begin something. The first of its kind between
// the same ranks connects them, and is queued on the stream once all of them have begun it; later ones are queued at
// once. The device does it when somebody waits, and waits itself for ranks that have not begun it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "parallel/comm/nccl/nccl_api.h"
#include "tests/parallel/lazy_device.h"

namespace longspan::testing {

class FakeNccl final : public NcclApi {
 public:
  struct Op {
    struct End {
      const void* in = nullptr;
      void* out = nullptr;
      LazyPlace before = {};  // the stream up to the call
      std::shared_ptr<const std::atomic<bool>> is_aborted = {};
    };
    using Work = std::function<void(const std::vector<End>&)>;
    Op(std::size_t num_ends, bool connects, Work work) : ends(num_ends), connects(connects), work(std::move(work)) {}

    std::vector<End> ends;                   // not to be read before all have begun
    std::atomic<std::size_t> num_begun = 0;  // the devices look at it without the board's lock
    std::size_t num_registered = 0;          // of those begun
    const bool connects;
    const Work work;
    bool is_done = false;  // under the devices' lock

    bool all_have_begun() const { return num_begun == ends.size(); }
    // Of one end's stream. A rank that has aborted may have left, and its memory with it.
    bool advance(const std::atomic<bool>& is_aborted) {
      if (is_done || is_aborted) return true;
      if (!all_have_begun()) return false;
      for (const End& end : ends)
        if (*end.is_aborted || !end.before.reach()) return false;
      work(ends);
      return is_done = true;
    }
  };
  struct Split {
    std::map<std::pair<int, int>, int> members;  // (key, rank) of the parent, by colour filtered when read
    std::map<int, int> colors;
  };
  // What all ranks share.
  struct Board {
    std::mutex mutex;
    std::map<std::vector<std::int64_t>, std::shared_ptr<Op>> ops;
    std::map<std::vector<std::int64_t>, Split> splits;
    std::atomic<bool> fail = false;
    std::atomic<int> num_aborted = 0, num_left = 0;
    // Of all ranks. Late: registrations that their communicator did not outlive. Mixed: operations with registered
    // memory on some of their ranks alone.
    std::atomic<int> num_registrations = 0, num_registered = 0, num_late = 0, num_mixed = 0;
    // To be refused from now on, by the rank in its communicator.
    std::function<bool(int rank, const void* data)> refuses = [](int, const void*) { return false; };
  };
  FakeNccl(Board& board, LazyDevice& device) : board_(board), device_(device) {}

  NcclId make_id() override { return {'i', 'd'}; }
  NcclHandle join(const NcclId& id, int rank, int size) override {
    LS_REQUIRE(kInternal, id[0] == 'i' && id[1] == 'd', "the id was not handed round");
    return &comms_.emplace_back(Comm{1, rank, size});
  }
  NcclHandle split(NcclHandle parent_handle, int color, int key) override {
    Comm& parent = *static_cast<Comm*>(parent_handle);
    const std::lock_guard lock(board_.mutex);
    const std::int64_t number = parent.num_splits++;
    Split& split = board_.splits[{parent.id, number}];
    split.members[{key, parent.rank}] = parent.rank;
    split.colors[parent.rank] = color;
    Comm part{(parent.id * 31 + number) * 31 + color + 2, -1, 0};
    part.parent_size = parent.size;
    part.parent_rank = parent.rank;
    part.color = color;
    part.split_of = {parent.id, number};
    return &comms_.emplace_back(part);
  }
  NcclState state(NcclHandle handle, std::string& why) override {
    Comm& comm = *static_cast<Comm*>(handle);
    const std::lock_guard lock(board_.mutex);
    if (board_.fail) {
      why = "a cable is out";
      return NcclState::kFailed;
    }
    if (comm.rank < 0 && !place(comm)) return NcclState::kInProgress;
    for (const Begun& begun : comm.begun)
      if (begun.op->connects && !begun.op->all_have_begun()) return NcclState::kInProgress;
    for (const Begun& begun : comm.begun)
      device_.enqueue(begun.stream, [op = begun.op, ours = comm.is_aborted] { return op->advance(*ours); });
    comm.begun.clear();
    return NcclState::kReady;
  }
  void leave(NcclHandle handle) noexcept override {
    board_.num_late += end(*static_cast<Comm*>(handle));
    ++board_.num_left;
  }
  void abort(NcclHandle handle) noexcept override {
    Comm& comm = *static_cast<Comm*>(handle);
    *comm.is_aborted = true;
    board_.num_registered -= end(comm);
    ++board_.num_aborted;
  }
  void* register_memory(void* data, std::int64_t num_bytes, NcclHandle handle, std::string& why) override {
    Comm& comm = *static_cast<Comm*>(handle);
    if (board_.refuses(comm.rank, data)) {
      why = "no room in the card's tables";
      return nullptr;
    }
    ++board_.num_registrations;
    ++board_.num_registered;
    auto* begin = static_cast<const std::byte*>(data);
    return &comm.registered.emplace_back(Range{begin, begin + num_bytes});
  }
  void deregister_memory(void* registration, NcclHandle handle) noexcept override {
    Comm& comm = *static_cast<Comm*>(handle);
    board_.num_late += comm.ended ? 1 : 0;
    --board_.num_registered;
    comm.registered.remove_if([&](const Range& range) { return &range == registration; });
  }
  void begin_group() override {}
  void end_group() override {}

  void send(const void* data, std::int64_t num_bytes, int peer, NcclHandle handle, Stream stream) override {
    Comm& comm = *static_cast<Comm*>(handle);
    message(comm, comm.rank, peer, comm.num_sent[peer]++, 0, {.in = data}, num_bytes, stream);
  }
  void receive(void* data, std::int64_t num_bytes, int peer, NcclHandle handle, Stream stream) override {
    Comm& comm = *static_cast<Comm*>(handle);
    message(comm, peer, comm.rank, comm.num_received[peer]++, 1, {.out = data}, num_bytes, stream);
  }
  void all_reduce(const Buffers& b, ReduceOp op, NcclHandle comm, Stream stream) override {
    collective(comm, b, stream, [b, op](const std::vector<Op::End>& ends) {
      const std::vector<float> result = reduced(ends, b.count, op);
      for (const Op::End& end : ends) std::copy(result.begin(), result.end(), static_cast<float*>(end.out));
    });
  }
  void reduce(const Buffers& b, int root, NcclHandle comm, Stream stream) override {
    collective(comm, b, stream, [b, root](const std::vector<Op::End>& ends) {
      const std::vector<float> result = reduced(ends, b.count, ReduceOp::kSum);
      std::copy(result.begin(), result.end(), static_cast<float*>(ends[static_cast<std::size_t>(root)].out));
    });
  }
  void reduce_scatter(const Buffers& b, NcclHandle comm, Stream stream) override {
    collective(comm, b, stream, [b](const std::vector<Op::End>& ends) {
      const auto size = static_cast<std::int64_t>(ends.size());
      const std::vector<float> result = reduced(ends, b.count * size, ReduceOp::kSum);
      for (std::int64_t r = 0; r < size; ++r)
        std::copy_n(result.begin() + r * b.count, b.count, static_cast<float*>(ends[static_cast<std::size_t>(r)].out));
    });
  }
  void all_gather(const Buffers& b, NcclHandle comm, Stream stream) override {
    collective(comm, b, stream, [num_bytes = b.count * size_of(b.dtype)](const std::vector<Op::End>& ends) {
      for (const Op::End& to : ends)
        for (std::size_t r = 0; r < ends.size(); ++r)
          move(static_cast<char*>(to.out) + static_cast<std::int64_t>(r) * num_bytes, ends[r].in, num_bytes);
    });
  }
  void broadcast(const Buffers& b, int root, NcclHandle comm, Stream stream) override {
    collective(comm, b, stream, [num_bytes = b.count * size_of(b.dtype), root](const std::vector<Op::End>& ends) {
      for (const Op::End& to : ends) move(to.out, ends[static_cast<std::size_t>(root)].in, num_bytes);
    });
  }

 private:
  struct Begun {
    std::shared_ptr<Op> op;
    Stream stream;
  };
  struct Range {
    const std::byte *begin, *end;
  };
  struct Comm {
    std::int64_t id;
    int rank, size;  // rank -1: a split that not all have begun
    std::int64_t num_splits = 0, num_collectives = 0;
    std::map<int, std::int64_t> num_sent = {}, num_received = {};
    std::vector<Begun> begun = {};
    std::vector<std::int64_t> split_of = {};
    int parent_size = 0, parent_rank = 0, color = 0;
    std::list<Range> registered = {};
    bool ended = false;
    std::shared_ptr<std::atomic<bool>> is_aborted = std::make_shared<std::atomic<bool>>(false);
  };

  // How many registrations went with it.
  static int end(Comm& comm) noexcept {
    const auto num_registered = static_cast<int>(comm.registered.size());
    comm.registered.clear();
    comm.ended = true;
    return num_registered;
  }

  bool place(Comm& comm) {
    const Split& split = board_.splits[comm.split_of];
    if (static_cast<int>(split.members.size()) < comm.parent_size) return false;
    for (const auto& [key, rank] : split.members) {
      if (split.colors.at(rank) != comm.color) continue;
      if (rank == comm.parent_rank) comm.rank = comm.size;
      ++comm.size;
    }
    return true;
  }

  // The last of the key is its number among its kind.
  void begin(Comm& comm, const std::vector<std::int64_t>& key, std::size_t num_ends, std::size_t end, Op::End mine,
             Stream stream, Op::Work work) {
    const std::lock_guard lock(board_.mutex);
    std::shared_ptr<Op>& op = board_.ops[key];
    if (!op) op = std::make_shared<Op>(num_ends, key.back() == 0, std::move(work));
    mine.before = device_.end_of(stream);
    mine.is_aborted = comm.is_aborted;
    op->ends[end] = mine;
    const auto* memory = static_cast<const std::byte*>(mine.in ? mine.in : mine.out);
    for (const Range& range : comm.registered) op->num_registered += memory >= range.begin && memory < range.end;
    ++op->num_begun;
    if (op->all_have_begun() && op->num_registered % num_ends != 0) ++board_.num_mixed;
    comm.begun.push_back({op, stream});
  }
  void message(Comm& comm, int from, int to, std::int64_t number, std::size_t end, const Op::End& mine,
               std::int64_t num_bytes, Stream stream) {
    begin(comm, {0, comm.id, from, to, number}, 2, end, mine, stream,
          [num_bytes](const std::vector<Op::End>& ends) { move(ends[1].out, ends[0].in, num_bytes); });
  }
  void collective(NcclHandle handle, const Buffers& b, Stream stream, Op::Work work) {
    Comm& comm = *static_cast<Comm*>(handle);
    begin(comm, {1, comm.id, comm.num_collectives++}, static_cast<std::size_t>(comm.size),
          static_cast<std::size_t>(comm.rank), {.in = b.in, .out = b.out}, stream, std::move(work));
  }
  static void move(void* to, const void* from, std::int64_t num_bytes) {
    if (num_bytes > 0 && to != from) std::memmove(to, from, static_cast<std::size_t>(num_bytes));
  }
  // In rank order, so that results can be compared with the host's.
  static std::vector<float> reduced(const std::vector<Op::End>& ends, std::int64_t count, ReduceOp op) {
    const auto* first = static_cast<const float*>(ends[0].in);
    std::vector<float> result(first, first + count);
    for (std::size_t r = 1; r < ends.size(); ++r)
      for (std::int64_t i = 0; i < count; ++i) {
        float& sum = result[static_cast<std::size_t>(i)];
        const float x = static_cast<const float*>(ends[r].in)[i];
        sum = op == ReduceOp::kSum ? sum + x : op == ReduceOp::kMax ? std::max(sum, x) : std::min(sum, x);
      }
    return result;
  }

  Board& board_;
  LazyDevice& device_;
  std::list<Comm> comms_;
};

}  // namespace longspan::testing
