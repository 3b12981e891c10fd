// WireDesc: attention, and how its keys, values and their gradients are written for a journey between ranks.
#pragma once

#include "kernels/ops/attention.h"
#include "parallel/context/context_plan.h"

namespace longspan {

// kPlain: as they are computed with. kBf16: rounded to bf16. kInt8: a byte a number and one fp32 scale a token and
// head. Each reader decodes what it is sent; keys and values that are sent on are not rounded again, gradients once a
// hop.
enum class HopFormat : std::uint8_t { kPlain, kBf16, kInt8 };

struct HopFormats {
  HopFormat keys = HopFormat::kPlain;           // keys and values
  HopFormat key_gradients = HopFormat::kPlain;  // their gradients
  bool operator==(const HopFormats&) const = default;
};

struct WireDesc {
  AttentionDesc attention;
  HopFormats formats;
  // Plain, where nothing else is said.
  WireDesc(const AttentionDesc& desc, const HopFormats& hop_formats = {}) : attention(desc), formats(hop_formats) {}

  // kPlain also where a kind is of that type already.
  HopFormat format_of(TransferKind kind) const {
    if (kind == TransferKind::kKeyValueGradient) return formats.key_gradients;
    if (kind != TransferKind::kKeyValue) return HopFormat::kPlain;
    return formats.keys == HopFormat::kBf16 && attention.dtype == DType::kBF16 ? HopFormat::kPlain : formats.keys;
  }
};

}  // namespace longspan
