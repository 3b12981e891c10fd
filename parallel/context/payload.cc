#include "parallel/context/payload.h"

namespace longspan {
namespace {

constexpr PayloadPlane kStatistic{DType::kF32, 0};

std::int64_t elements_of(const PayloadPlane& plane) {
  return plane.size == 0 ? 1 : plane.size;
}

}  // namespace

PayloadPlanes planes_of(TransferKind kind, const AttentionDesc& desc) {
  PayloadPlanes planes;
  switch (kind) {
    case TransferKind::kQuery: planes.add({desc.dtype, desc.head_dim}); break;
    case TransferKind::kKeyValue:
      planes.add({desc.dtype, desc.head_dim});
      planes.add({desc.dtype, desc.value_dim});
      break;
    case TransferKind::kOutput:
      planes.add({DType::kF32, desc.value_dim});
      planes.add(kStatistic);
      break;
    case TransferKind::kOutputGradient:
      planes.add({desc.dtype, desc.value_dim});
      planes.add(kStatistic);
      planes.add(kStatistic);
      break;
    case TransferKind::kQueryGradient: planes.add({DType::kF32, desc.head_dim}); break;
    case TransferKind::kKeyValueGradient:
      planes.add({DType::kF32, desc.head_dim});
      planes.add({DType::kF32, desc.value_dim});
      break;
  }
  return planes;
}

PayloadPlanes wire_planes_of(TransferKind kind, const WireDesc& desc) {
  const PayloadPlanes plain = planes_of(kind, desc.attention);
  const HopFormat format = desc.format_of(kind);
  if (format == HopFormat::kPlain) return plain;
  PayloadPlanes planes;
  for (const PayloadPlane& plane : plain) {
    planes.add({format == HopFormat::kBf16 ? DType::kBF16 : DType::kI8, plane.size});
    if (format == HopFormat::kInt8) planes.add(kStatistic);
  }
  return planes;
}

std::int64_t bytes_of_element(TransferKind kind, const WireDesc& desc) {
  std::int64_t num_bytes = 0;
  for (const PayloadPlane& plane : wire_planes_of(kind, desc)) num_bytes += elements_of(plane) * size_of(plane.dtype);
  return num_bytes;
}

std::int64_t payload_bytes(const PayloadPlanes& planes, std::int64_t tokens, std::int64_t heads) {
  std::int64_t num_bytes = 0;
  for (const PayloadPlane& plane : planes)
    num_bytes += booked_bytes(tokens * heads * elements_of(plane) * size_of(plane.dtype));
  return num_bytes;
}

Payload::Payload(std::initializer_list<Tensor> planes) {
  for (const Tensor& plane : planes) planes_[static_cast<std::size_t>(count_++)] = plane;
}

Payload::Payload(const Tensor& memory, const PayloadPlanes& planes, std::int64_t tokens, std::int64_t heads) {
  auto* next = static_cast<std::byte*>(memory.data);
  for (const PayloadPlane& plane : planes) {
    planes_[static_cast<std::size_t>(count_++)] =
        plane.size == 0 ? Tensor(next, plane.dtype, {tokens, heads}, memory.device)
                        : Tensor(next, plane.dtype, {tokens, heads, plane.size}, memory.device);
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
