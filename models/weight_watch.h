// WeightWatch: told by a pass through a stage when it is about to use weights, and when it has done with gradients.
#pragma once

#include <cstdint>

namespace longspan {

// Units are those of Model::units(). This one does nothing.
class WeightWatch {
 public:
  virtual ~WeightWatch() = default;
  // The pass is about to read this unit's weights, for the first time: it does so from now until its backward is done.
  virtual void before_use(std::int64_t /*unit*/) {}
  // The pass has added its last share to this unit's gradients. A unit that two stages of the rank share (tied
  // embeddings) is done with by the one that embeds, which comes last in backward.
  virtual void gradients_done(std::int64_t /*unit*/) {}
  // Comes between the operators of a pass, at least once a phase of each layer, so that transfers may be pushed on.
  virtual void progress() {}
};

}  // namespace longspan
