// How a wait is put into words: what a rank was waiting for when a deadline passed or a peer failed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace longspan {

enum class Direction : std::uint8_t { kSend, kReceive };

// A transfer that is not done. Ranks are the world's, whatever group it belongs to.
struct OpenTransfer {
  Direction direction;
  int world_rank;
  std::int64_t num_bytes;
};

// "'kv of step 3': receive 4096 bytes from rank 2, send 10 bytes to rank 1 and 3 more transfers"
std::string describe_wait(std::string_view what, std::span<const OpenTransfer> open);

}  // namespace longspan
