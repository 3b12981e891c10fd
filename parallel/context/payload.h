// Payload: what one kind of transfer carries for each token and head, tensor by tensor, and how that lies in memory and
// travels.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "parallel/context/context_plan.h"
#include "parallel/context/wire_desc.h"

namespace longspan {

// Planes of a payload stand one after another, each contiguous: any range of tokens with all its heads is one message a
// plane.
inline constexpr int kMaxPlanes = 4;
struct PayloadPlane {
  DType dtype = DType::kF32;
  std::int64_t size = 0;  // elements a token and head; 0: a statistic, one number
  bool operator==(const PayloadPlane&) const = default;
};
class PayloadPlanes {
 public:
  void add(const PayloadPlane& plane) { planes_[static_cast<std::size_t>(count_++)] = plane; }
  const PayloadPlane* begin() const { return planes_.data(); }
  const PayloadPlane* end() const { return planes_.data() + count_; }
  bool operator==(const PayloadPlanes&) const = default;

 private:
  std::array<PayloadPlane, kMaxPlanes> planes_;
  int count_ = 0;
};
// As they are computed with. q: q. kv: k, v. out: out, lse. dout: dout, lse, delta. dq: dq. dkv: dk, dv. Operands are
// of desc.dtype, statistics, partials and gradients fp32.
PayloadPlanes planes_of(TransferKind kind, const AttentionDesc& desc);
// As they travel. kBf16: the same, rounded to bf16; kInt8: each of k, v (dk, dv) as bytes, then one scale a token and
// head, as in row_codec.h.
PayloadPlanes wire_planes_of(TransferKind kind, const WireDesc& desc);

// Bytes on the wire of one token and head.
std::int64_t bytes_of_element(TransferKind kind, const WireDesc& desc);
// Bytes in memory of so many tokens and heads, planes aligned as an arena aligns.
std::int64_t payload_bytes(const PayloadPlanes& planes, std::int64_t tokens, std::int64_t heads);
// What an arena takes for an allocation of so many bytes.
constexpr std::int64_t booked_bytes(std::int64_t num_bytes) {
  return (num_bytes + 63) / 64 * 64;
}

// The tensors of a payload: [tokens, heads, size], statistics [tokens, heads]. Views.
class Payload {
 public:
  Payload() = default;
  // Of tensors that lie anywhere, in the order of planes_of.
  Payload(std::initializer_list<Tensor> planes);
  // From the beginning of `memory`, which holds payload_bytes(), on its device.
  Payload(const Tensor& memory, const PayloadPlanes& planes, std::int64_t tokens, std::int64_t heads);

  explicit operator bool() const { return count_ > 0; }
  // Of a payload that has a name: the planes live in it.
  std::span<const Tensor> planes() const& { return {planes_.data(), static_cast<std::size_t>(count_)}; }
  std::span<const Tensor> planes() && = delete;
  const Tensor& operator[](int plane) const { return planes_[static_cast<std::size_t>(plane)]; }
  Payload part(std::int64_t begin, std::int64_t end, std::int64_t head_begin, std::int64_t head_end) const;

 private:
  std::array<Tensor, kMaxPlanes> planes_;
  int count_ = 0;
};

}  // namespace longspan
