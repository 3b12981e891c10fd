// LayoutChange: how the rows of a tensor go from one layout of a batch to another between two layers. A plain value,
// planned and proved like a ContextPlan, so that a layer may have the layout it works best in: attention balanced
// shards, a short convolution or a linear state whole stretches of a document.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/core/exec.h"
#include "parallel/comm/communicator.h"
#include "parallel/context/layout.h"

namespace longspan {

// Places first + i * stride in a rank's local order, i = 0 … count-1 of the move it belongs to.
struct PlaceRun {
  std::int64_t first = 0, stride = 1;
  bool operator==(const PlaceRun&) const = default;
};

// Row source.first + i * source.stride of rank `from` becomes row target.first + i * target.stride of rank `to`, which
// may be the same rank.
struct LayoutMove {
  int from = 0, to = 0;
  std::int64_t count = 0;
  PlaceRun source = {}, target = {};
  bool operator==(const LayoutMove&) const = default;
};

// The moves from one rank to another are packed one after another into one message, in the order in which they stand
// here: by receiver, then by source.first.
struct LayoutChange {
  Home from, to;
  std::vector<std::vector<LayoutMove>> moves;  // [sender]
  bool operator==(const LayoutChange&) const = default;
};

// Depends on which token stands where alone, not on how the homes write it down as runs: equal layouts have equal
// moves. Throws Error(kInternal), naming the token or rank, unless both homes own each of the same tokens 0 … T-1 once
// over as many ranks.
LayoutChange plan_layout_change(const Home& from, const Home& to);

// The way back. A change moves each row once, so its inverse is also its backward: it carries the gradient of the new
// layout to the old one.
LayoutChange inverse_of(const LayoutChange& change);

// nullopt: every token is moved exactly once, to its place, and all ranks see the same messages. Otherwise one sentence
// about the first fault. Trusts nothing of the change.
std::optional<std::string> find_fault(const LayoutChange& change);

// Bytes each rank sends to others, for rows of so many bytes.
std::vector<std::int64_t> bytes_sent_by_ranks(const LayoutChange& change, std::int64_t row_bytes);

// What change_layout takes from exec.workspace on this rank: buffers of the messages whose rows do not lie together.
std::int64_t layout_change_workspace_bytes(const LayoutChange& change, int rank, std::int64_t row_bytes);

// Moves the rows of `in` [tokens of this rank in change.from, E] to `out` [tokens in change.to, E]; both contiguous, of
// one dtype, apart from each other. Bits are kept. The change has been validated and is the same on all ranks of comm.
// All transfers are under way at once, under the copy of what stays. Returns the bytes sent, as planned. Collective.
std::int64_t change_layout(const Exec& exec, Communicator& comm, const LayoutChange& change, const Tensor& in,
                           const Tensor& out);

}  // namespace longspan
