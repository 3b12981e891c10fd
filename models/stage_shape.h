// StageShape: the sizes that the memory of a pass through a stage follows from, and the tensors that it is made of.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/core/arena.h"
#include "models/stage.h"

namespace longspan {

struct RotaryTables {
  Tensor cos, sin;  // [c, D/2] fp32
};

struct AttentionGradients {
  Tensor dq, dk, dv;  // [c,H,D], [c,Hkv,D], [c,Hkv,D]
};

// Allocator: an Arena, which gives memory, or a SizeCounter, which says how much it would be.
struct StageShape {
  const ModelConfig& config;
  StageSpan span;
  DType precision = DType::kF32;
  std::int64_t tokens = 0;  // c

  template <class Allocator>
  RotaryTables new_rotary_tables(Allocator& arena) const {
    const Tensor cos = take(arena, "cos", DType::kF32, {tokens, config.head_dim / 2});
    return {cos, take(arena, "sin", DType::kF32, {tokens, config.head_dim / 2})};
  }
  // [c,E], as between layers.
  template <class Allocator>
  Tensor new_stream(Allocator& arena, std::string_view name) const {
    return take(arena, name, precision, {tokens, config.hidden});
  }
  template <class Allocator>
  Tensor new_attention_out(Allocator& arena) const {
    return take(arena, "attention out", precision, {tokens, config.heads, config.head_dim});
  }
  template <class Allocator>
  Tensor new_lse(Allocator& arena) const {
    return take(arena, "lse", DType::kF32, {tokens, config.heads});
  }
  // dq, dk, dv: what a layer's backward takes beside its phases.
  template <class Allocator>
  AttentionGradients new_attention_gradients(Allocator& arena) const {
    const Tensor dq = take(arena, "dq", precision, {tokens, config.heads, config.head_dim});
    const Tensor dk = take(arena, "dk", precision, {tokens, config.kv_heads, config.head_dim});
    return {dq, dk, take(arena, "dv", precision, {tokens, config.kv_heads, config.head_dim})};
  }
  template <class Allocator>
  Tensor new_final_rstd(Allocator& arena) const {
    return take(arena, "final rstd", DType::kF32, {tokens});
  }

 private:
  template <class Allocator>
  static Tensor take(Allocator& arena, std::string_view name, DType dtype, std::initializer_list<std::int64_t> sizes) {
    return arena.allocate(name, MemoryCategory::kActivations, dtype, sizes);
  }
};

}  // namespace longspan
