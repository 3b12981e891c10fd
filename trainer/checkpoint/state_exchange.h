// StateExchange: tensors whose elements lie on several ranks, brought together on rank 0, and from there to all.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/core/exec.h"
#include "parallel/comm/communicator.h"
#include "parallel/data/flat_range.h"
#include "trainer/checkpoint/checkpoint.h"

namespace longspan {

// Of each element one rank's memory goes into a checkpoint; whoever has it gets it from one.
enum class StateRole : std::uint8_t { kBrings, kTakes };

// Elements of a tensor that this rank has.
struct StatePiece {
  std::string tensor;  // its logical name
  FlatRange range;     // of the whole tensor's elements
  Tensor memory;       // fp32, flat, where exec says
  StateRole role = StateRole::kBrings;
};

class StateExchange {
 public:
  // tensors: names and shapes, in the order of the file, the same on all ranks. Keeps references to world, whose rank 0
  // reads and writes, and to what exec names; the pieces' memory outlives this. Collective. Throws Error(kInternal), on
  // rank 0, naming tensor and elements that no rank brings or that two do.
  StateExchange(Communicator& world, std::vector<NamedTensor> tensors, const std::vector<StatePiece>& pieces,
                const Exec& exec);

  // Without memory.
  const std::vector<NamedTensor>& tensors() const { return tensors_; }
  // Whether rank 0 brings each tensor as one piece: then what it would gather is there. Without collecting anything,
  // tensors_here() are these.
  bool all_is_here() const;
  std::vector<NamedTensor> tensors_here() const;

  // On rank 0, fp32 and flat in the host's memory.
  using RoomFor = std::function<Tensor(std::size_t tensor)>;
  // Fills room_for(each tensor), which is asked for on rank 0 alone. Collective. The other ranks keep a copy of a
  // tensor's pieces meanwhile if these are a device's.
  void gather(const RoomFor& room_for) const;

  using Read = std::function<void(std::size_t tensor, const Tensor& into)>;
  // Calls read for each tensor on rank 0, and fills all pieces of all ranks. Collective. Takes host memory for the
  // largest tensor on rank 0, and for a part of 64 MiB on the others, unless the pieces are whole and the host's.
  void scatter(const Read& read) const;

 private:
  struct Piece {
    FlatRange range;
    Tensor memory;
    StateRole role;
  };
  struct Source {
    int rank;
    FlatRange range;
  };
  void check_sources(std::size_t tensor) const;
  void collect(std::size_t tensor, const Tensor& whole) const;
  void bring(std::size_t tensor) const;
  // The piece that is a whole tensor in the host's memory; null: there is none.
  const Piece* whole_on_host(std::size_t tensor) const;

  Communicator& world_;
  const Exec exec_;
  std::vector<NamedTensor> tensors_;
  std::vector<std::vector<Piece>> pieces_;    // [tensor] by their begin
  std::vector<std::vector<Source>> sources_;  // [tensor] likewise; on rank 0
};

}  // namespace longspan
