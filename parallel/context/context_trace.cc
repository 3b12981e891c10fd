#include "parallel/context/context_trace.h"

#include <array>
#include <cstddef>

namespace longspan {

std::string_view name_of(TraceTrack track) {
  static constexpr std::array<std::string_view, kNumTraceTracks> kNames = {"compute", "waiting", "packing and merging",
                                                                           "operands under way", "results under way"};
  return kNames[static_cast<std::size_t>(track)];
}

}  // namespace longspan
