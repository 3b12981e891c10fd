// Running a change of layout, and what that costs.
#include <algorithm>

#include "kernels/ops/layer_ops.h"
#include "parallel/context/layout_change.h"
#include "parallel/context/payload.h"

namespace longspan {
namespace {

// The moves between two ranks: one message.
struct Message {
  int from = 0, to = 0;
  std::vector<LayoutMove> moves;

  std::int64_t rows() const {
    std::int64_t count = 0;
    for (const LayoutMove& move : moves) count += move.count;
    return count;
  }
};

// Rows that lie one after another need no buffer.
bool lie_together(const std::vector<LayoutMove>& moves, PlaceRun LayoutMove::*end) {
  return moves.size() == 1 && ((moves.front().*end).stride == 1 || moves.front().count == 1);
}

// Whatever this rank sends and receives, what stays included. Moves stand by receiver.
struct Traffic {
  std::vector<Message> sends, receives;
  Message own;
};

Message message_between(const LayoutChange& change, int from, int to) {
  const std::vector<LayoutMove>& all = change.moves[static_cast<std::size_t>(from)];
  const auto [begin, end] = std::equal_range(all.begin(), all.end(), LayoutMove{.to = to},
                                             [](const LayoutMove& a, const LayoutMove& b) { return a.to < b.to; });
  return {from, to, {begin, end}};
}

Traffic traffic_of(const LayoutChange& change, int rank) {
  Traffic traffic;
  traffic.own = message_between(change, rank, rank);
  for (int peer = 0; peer < static_cast<int>(change.moves.size()); ++peer) {
    if (peer == rank) continue;
    Message send = message_between(change, rank, peer), receive = message_between(change, peer, rank);
    if (!send.moves.empty()) traffic.sends.push_back(std::move(send));
    if (!receive.moves.empty()) traffic.receives.push_back(std::move(receive));
  }
  return traffic;
}

// A view of the rows of a tensor [c,E] at these places.
Tensor rows_at(const Tensor& rows, const PlaceRun& places, std::int64_t count) {
  Tensor part = rows;
  part.data = static_cast<std::byte*>(rows.data) + places.first * rows.stride[0] * size_of(rows.dtype);
  part.shape[0] = count;
  part.stride[0] *= count == 1 ? 1 : places.stride;
  return part;
}

class Change {
 public:
  Change(const Exec& exec, Communicator& comm, const Tensor& in, const Tensor& out)
      : exec_(exec), comm_(comm), in_(in), out_(out) {}

  std::int64_t run(const Traffic& traffic) {
    Arena::Scope scope(*exec_.workspace);
    std::vector<Send> sends;
    std::vector<Receive> receives;
    std::vector<std::pair<const Message*, Tensor>> to_unpack;
    std::int64_t num_bytes = 0;
    for (const Message& message : traffic.sends) {
      const Tensor rows = packed(message);
      sends.push_back({message.to, rows.data, rows.num_bytes(), rows.device});
      num_bytes += rows.num_bytes();
    }
    for (const Message& message : traffic.receives) {
      const bool direct = lie_together(message.moves, &LayoutMove::target);
      const Tensor rows =
          direct ? rows_at(out_, message.moves.front().target, message.rows()) : buffer_for(message, "received");
      receives.push_back({message.from, rows.data, rows.num_bytes(), rows.device});
      if (!direct) to_unpack.emplace_back(&message, rows);
    }
    const auto transfers = comm_.start(sends, receives, "rows of a change of layout");
    for (const LayoutMove& move : traffic.own.moves)
      cast(exec_, rows_at(in_, move.source, move.count), rows_at(out_, move.target, move.count));
    transfers->wait();
    for (const auto& [message, rows] : to_unpack) unpack(*message, rows);
    return num_bytes;
  }

 private:
  Tensor buffer_for(const Message& message, std::string_view name) {
    return exec_.workspace->allocate(name, MemoryCategory::kTransfers, in_.dtype, {message.rows(), in_.shape[1]});
  }

  Tensor packed(const Message& message) {
    if (lie_together(message.moves, &LayoutMove::source))
      return rows_at(in_, message.moves.front().source, message.rows());
    const Tensor rows = buffer_for(message, "sent");
    std::int64_t done = 0;
    for (const LayoutMove& move : message.moves) {
      cast(exec_, rows_at(in_, move.source, move.count), rows.narrow(0, done, done + move.count));
      done += move.count;
    }
    return rows;
  }

  void unpack(const Message& message, const Tensor& rows) {
    std::int64_t done = 0;
    for (const LayoutMove& move : message.moves) {
      cast(exec_, rows.narrow(0, done, done + move.count), rows_at(out_, move.target, move.count));
      done += move.count;
    }
  }

  const Exec& exec_;
  Communicator& comm_;
  const Tensor &in_, &out_;
};

bool apart(const Tensor& a, const Tensor& b) {
  const auto* first = static_cast<const std::byte*>(a.data);
  const auto* second = static_cast<const std::byte*>(b.data);
  return a.num_bytes() == 0 || b.num_bytes() == 0 || first + a.num_bytes() <= second || second + b.num_bytes() <= first;
}

void check_rows(const char* name, const Tensor& rows, const std::vector<TokenRun>& home, int rank) {
  LS_CHECK(rows.dims == 2 && rows.shape[0] == count_tokens(home) && rows.is_contiguous() &&
               (rows.dtype == DType::kF32 || rows.dtype == DType::kBF16),
           "change of layout on rank {}: {} is {}, expected {} contiguous rows of fp32 or bf16", rank, name,
           rows.describe(), count_tokens(home));
}

}  // namespace

std::vector<std::int64_t> bytes_sent_by_ranks(const LayoutChange& change, std::int64_t row_bytes) {
  std::vector<std::int64_t> num_bytes(change.moves.size());
  for (std::size_t rank = 0; rank < change.moves.size(); ++rank)
    for (const LayoutMove& move : change.moves[rank])
      if (move.to != move.from) num_bytes[rank] += move.count * row_bytes;
  return num_bytes;
}

std::int64_t layout_change_workspace_bytes(const LayoutChange& change, int rank, std::int64_t row_bytes) {
  const Traffic traffic = traffic_of(change, rank);
  std::int64_t num_bytes = 0;
  for (const Message& message : traffic.sends)
    if (!lie_together(message.moves, &LayoutMove::source)) num_bytes += booked_bytes(message.rows() * row_bytes);
  for (const Message& message : traffic.receives)
    if (!lie_together(message.moves, &LayoutMove::target)) num_bytes += booked_bytes(message.rows() * row_bytes);
  return num_bytes;
}

std::int64_t change_layout(const Exec& exec, Communicator& comm, const LayoutChange& change, const Tensor& in,
                           const Tensor& out) {
  const int rank = comm.rank();
  LS_CHECK(static_cast<int>(change.from.size()) == comm.size(), "a change of layout over {} ranks in a group of {}",
           change.from.size(), comm.size());
  check_rows("in", in, change.from[static_cast<std::size_t>(rank)], rank);
  check_rows("out", out, change.to[static_cast<std::size_t>(rank)], rank);
  LS_CHECK(in.dtype == out.dtype && in.shape[1] == out.shape[1], "change of layout from {} to {}", in.describe(),
           out.describe());
  LS_CHECK(apart(in, out), "change of layout on rank {}: in and out share memory", rank);
  return Change(exec, comm, in, out).run(traffic_of(change, rank));
}

}  // namespace longspan
