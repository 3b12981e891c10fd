// Attention on Hopper as an implementation in the list: what it refuses, its plans, its launches.
#include <algorithm>
#include <cmath>

#include "kernels/cuda/attention/sm90_kernels.cuh"
#include "kernels/cuda/attention/sm90_shapes.h"
#include "kernels/cuda/cuda_kernels.h"

namespace longspan::cuda {
namespace sm90 {
namespace {

constexpr int kCapability = 90;

Refusal why_unsupported(const AttentionDesc& desc) {
  if (desc.device != Device::kCuda) return fmt::format("runs on cuda, not on {}", name_of(desc.device));
  if (desc.dtype != DType::kBF16) return fmt::format("takes bf16, not {}", name_of(desc.dtype));
  if (desc.head_dim != desc.value_dim || (desc.head_dim != 64 && desc.head_dim != 128))
    return fmt::format("takes heads of size 64/64 and 128/128, not {}/{}", desc.head_dim, desc.value_dim);
  if (!(desc.scale > 0)) return fmt::format("takes a positive scale, not {}", desc.scale);
  const int found = current_capability();
  if (found == 0) return "needs a GPU of compute capability 9.0, and there is none";
  if (found != kCapability)
    return fmt::format("needs a GPU of compute capability 9.0, not {}.{}", found / 10, found % 10);
  return std::nullopt;
}

// The copy engine counts in units of 16 bytes.
bool suits_copy_engine(const Tensor& t) {
  const auto suits = [](std::int64_t elements) { return elements > 0 && elements * 2 % 16 == 0; };
  return reinterpret_cast<std::uintptr_t>(t.data) % 16 == 0 && suits(t.stride[0]) && suits(t.stride[1]);
}
// Results are read and written two floats at a time.
bool suits_pairs(const Tensor& t) {
  return reinterpret_cast<std::uintptr_t>(t.data) % 8 == 0 && t.stride[0] % 2 == 0 && t.stride[1] % 2 == 0;
}

Rows rows_of(const Tensor& t) {
  return {t.get<float>(), t.stride[0], t.stride[1]};
}

int blocks_for(const Exec& exec, const DeviceTiles& tiles) {
  return persistent_blocks(exec, properties_of(exec).multiprocessors, 1, tiles.num_items);
}

class Sm90Attention final : public AttentionOp {
 public:
  std::string_view name() const override { return "sm90"; }

  Refusal why_unsupported(const AttentionDesc& desc) const override { return sm90::why_unsupported(desc); }

  void forward(const Exec& exec, const AttentionForward& args) const override {
    if (!suits_copy_engine(args.q) || !suits_copy_engine(args.k) || !suits_copy_engine(args.v) ||
        !suits_pairs(args.out))
      return next(args.desc).forward(exec, args);
    const AttentionDesc& desc = args.desc;
    const auto run = [&](auto shape) {
      const AttentionTiles tiles = query_tiles(desc, args.tasks, args.q.shape[0],
                                               {.tile_lanes = kTileRows, .step_rows = decltype(shape)::kKeys});
      if (tiles.items.empty()) return;
      const UploadedTiles uploaded(exec, tiles);
      launch_forward(exec, static_cast<int>(desc.head_dim), blocks_for(exec, uploaded.get()),
                     {.q = make_tensor_map(args.q, kTileRows),
                      .k = make_tensor_map(args.k, decltype(shape)::kKeys),
                      .v = make_tensor_map(args.v, decltype(shape)::kKeys),
                      .tiles = uploaded.get(),
                      .out = rows_of(args.out),
                      .lse = rows_of(args.lse),
                      .num_queries = static_cast<int>(args.q.shape[0]),
                      .heads_per_kv_head = static_cast<int>(desc.heads / desc.kv_heads),
                      .scale = desc.scale,
                      .origin = desc.origin});
    };
    desc.head_dim == 64 ? run(Forward<64>()) : run(Forward<128>());
  }

  void backward(const Exec& exec, const AttentionBackward& args) const override {
    const bool suits = suits_copy_engine(args.q) && suits_copy_engine(args.k) && suits_copy_engine(args.v) &&
                       suits_copy_engine(args.dout) && suits_pairs(args.dq) && suits_pairs(args.dk) &&
                       suits_pairs(args.dv);
    if (!suits) return next(args.desc).backward(exec, args);
    args.desc.head_dim == 64 ? backward_for<64>(exec, args) : backward_for<128>(exec, args);
  }

 private:
  // Whoever takes what the copy engine cannot reach.
  const AttentionOp& next(const AttentionDesc& desc) const {
    const std::span<const AttentionOp* const> all = longspan::attention_ops();
    const auto self = std::find(all.begin(), all.end(), this);
    return choose("attention of rows at odd addresses", all.subspan(static_cast<std::size_t>(self - all.begin()) + 1),
                  desc);
  }

  template <int kHeadDim>
  static void backward_for(const Exec& exec, const AttentionBackward& args) {
    using Queries = BackwardQueries<kHeadDim>;
    using Keys = BackwardKeys<kHeadDim>;
    const AttentionDesc& desc = args.desc;
    const std::int64_t num_queries = args.q.shape[0], num_keys = args.k.shape[0];
    BackwardArgs common;
    common.lse = rows_of(args.lse);
    common.delta = rows_of(args.delta);
    common.dq = rows_of(args.dq);
    common.dk = rows_of(args.dk);
    common.dv = rows_of(args.dv);
    common.num_queries = static_cast<int>(num_queries);
    common.num_keys = static_cast<int>(num_keys);
    common.heads_per_kv_head = static_cast<int>(desc.heads / desc.kv_heads);
    common.scale = desc.scale;
    const auto map_tensors = [&](int query_rows, int key_rows) {
      common.q = make_tensor_map(args.q, query_rows);
      common.dout = make_tensor_map(args.dout, query_rows);
      common.k = make_tensor_map(args.k, key_rows);
      common.v = make_tensor_map(args.v, key_rows);
    };
    {
      const AttentionTiles tiles =
          query_tiles(desc, args.tasks, num_queries, {.tile_lanes = kTileRows, .step_rows = Queries::kKeys});
      if (tiles.items.empty()) return;
      const UploadedTiles uploaded(exec, tiles);
      map_tensors(kTileRows, Queries::kKeys);
      common.tiles = uploaded.get();
      launch_backward_queries(exec, kHeadDim, blocks_for(exec, common.tiles), common);
    }
    const UploadedTiles uploaded(
        exec, key_tiles(desc, args.tasks, num_keys, {.tile_lanes = kTileRows, .step_rows = Keys::kQueries}));
    map_tensors(Keys::kQueries, kTileRows);
    common.tiles = uploaded.get();
    launch_backward_keys(exec, kHeadDim, blocks_for(exec, common.tiles), common);
  }
};

}  // namespace
}  // namespace sm90

const AttentionOp& sm90_attention() {
  static const sm90::Sm90Attention op;
  return op;
}

}  // namespace longspan::cuda
