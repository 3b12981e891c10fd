#include "parallel/context/payload.h"

namespace longspan {
namespace {

constexpr PayloadPlane kStatistic{DType::kF32, 0};

std::int64_t elements_of(const PayloadPlane& plane) {
  return plane.size == 0 ? 1 : plane.size;
}

}  // namespace

std::span<const PayloadPlane> planes_of(TransferKind kind, const AttentionDesc& desc,
                                        std::array<PayloadPlane, kMaxPlanes>& memory) {
  std::size_t count = 0;
  const auto put = [&](PayloadPlane plane) { memory[count++] = plane; };
  switch (kind) {
    case TransferKind::kQuery: put({desc.dtype, desc.head_dim}); break;
    case TransferKind::kKeyValue: put({desc.dtype, desc.head_dim}), put({desc.dtype, desc.value_dim}); break;
    case TransferKind::kOutput: put({DType::kF32, desc.value_dim}), put(kStatistic); break;
    case TransferKind::kOutputGradient: put({desc.dtype, desc.value_dim}), put(kStatistic), put(kStatistic); break;
    case TransferKind::kQueryGradient: put({DType::kF32, desc.head_dim}); break;
    case TransferKind::kKeyValueGradient: put({DType::kF32, desc.head_dim}), put({DType::kF32, desc.value_dim}); break;
  }
  return {memory.data(), count};
}

std::int64_t bytes_of_element(TransferKind kind, const AttentionDesc& desc) {
  std::array<PayloadPlane, kMaxPlanes> memory;
  std::int64_t num_bytes = 0;
  for (const PayloadPlane& plane : planes_of(kind, desc, memory))
    num_bytes += elements_of(plane) * size_of(plane.dtype);
  return num_bytes;
}

std::int64_t payload_bytes(TransferKind kind, const AttentionDesc& desc, std::int64_t tokens, std::int64_t heads) {
  std::array<PayloadPlane, kMaxPlanes> memory;
  std::int64_t num_bytes = 0;
  for (const PayloadPlane& plane : planes_of(kind, desc, memory))
    num_bytes += booked_bytes(tokens * heads * elements_of(plane) * size_of(plane.dtype));
  return num_bytes;
}

Payload::Payload(std::initializer_list<Tensor> planes) {
  for (const Tensor& plane : planes) planes_[static_cast<std::size_t>(count_++)] = plane;
}

Payload::Payload(void* memory, TransferKind kind, const AttentionDesc& desc, std::int64_t tokens, std::int64_t heads) {
  std::array<PayloadPlane, kMaxPlanes> plane_memory;
  auto* next = static_cast<std::byte*>(memory);
  for (const PayloadPlane& plane : planes_of(kind, desc, plane_memory)) {
    planes_[static_cast<std::size_t>(count_++)] = plane.size == 0
                                                      ? Tensor(next, plane.dtype, {tokens, heads})
                                                      : Tensor(next, plane.dtype, {tokens, heads, plane.size});
    next += booked_bytes(tokens * heads * elements_of(plane) * size_of(plane.dtype));
  }
}

Payload Payload::part(std::int64_t begin, std::int64_t end, std::int64_t head_begin, std::int64_t head_end) const {
  Payload part = *this;
  for (int i = 0; i < count_; ++i) {
    Tensor& plane = part.planes_[static_cast<std::size_t>(i)];
    plane = plane.narrow(0, begin, end).narrow(1, head_begin, head_end);
  }
  return part;
}

}  // namespace longspan
