#include "parallel/comm/wait_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace longspan {

std::string describe_wait(std::string_view what, std::span<const OpenTransfer> open) {
  constexpr std::size_t kMaxShown = 4;
  std::string text = fmt::format("'{}'", what);
  for (std::size_t i = 0; i < std::min(open.size(), kMaxShown); ++i) {
    const bool send = open[i].direction == Direction::kSend;
    text += fmt::format("{} {} {} bytes {} rank {}", i == 0 ? ":" : ",", send ? "send" : "receive", open[i].num_bytes,
                        send ? "to" : "from", open[i].world_rank);
  }
  if (open.size() > kMaxShown) text += fmt::format(" and {} more transfers", open.size() - kMaxShown);
  return text;
}

}  // namespace longspan
