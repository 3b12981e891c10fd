// dk and dv on tensor cores that warps feed: keys and values stay, queries and their gradients move past, each head of
// the group in turn. Scores are computed transposed, [key][query], so that probabilities and their gradients are left
// factors as they are and never leave registers:
//   dv += p^T dout,  dk += scale ds^T q.
#include "device/launch.cuh"
#include "kernels/cuda/attention/sm80_backward.cuh"

namespace longspan::cuda::sm80 {
namespace {

// Steps through the heads and rows of an item's segments.
struct HeadCursor {
  Cursor rows;
  int group_begin, group_end;  // query heads of the key/value head
  int head = 0, last_head = 0;

  __device__ HeadCursor(const DeviceTiles& tiles, const TileItem& item, int heads_per_kv)
      : rows(tiles, item), group_begin(item.head * heads_per_kv), group_end(group_begin + heads_per_kv) {
    enter_heads();
  }
  __device__ bool is_done() const { return rows.is_done(); }
  __device__ void advance(int step) {
    if (rows.begin + step < rows.end) {
      rows.begin += step;
    } else if (++head < last_head) {
      rows.enter();
    } else {
      ++rows.segment;
      rows.enter();
      enter_heads();
    }
  }

 private:
  __device__ void enter_heads() {
    if (rows.is_done()) return;
    const TileSegment& s = rows.segments[rows.segment];
    head = s.head_begin > group_begin ? s.head_begin : group_begin;
    last_head = s.head_end < group_end ? s.head_end : group_end;
  }
};

template <int kWidth, KeyGradients kWanted>
__global__ void __launch_bounds__(BackwardKeys<kWidth>::kWarps* kWarp, 1)
    backward_keys_kernel(const __grid_constant__ BackwardArgs args) {
  using Shape = BackwardKeys<kWidth>;
  constexpr int kThreads = Shape::kWarps * kWarp, kStep = Shape::kStep, kStepElements = kStep * kWidth;
  constexpr bool kWithKeys = kWanted != KeyGradients::kOfValues, kWithValues = kWanted != KeyGradients::kOfKeys;
  __shared__ int drawn;
  bf16* const k = reinterpret_cast<bf16*>(dynamic_shared());
  bf16* const v = k + Shape::kLanes * kWidth;
  bf16* const stages = v + Shape::kLanes * kWidth;                              // [2][queries, dout]
  auto* const terms = reinterpret_cast<RowTerms*>(stages + 4 * kStepElements);  // [2][kStep]
  const Sizes& sizes = args.sizes;
  const int first_lane = warp_of_block() * kMatrixRows;
  const float factor = sizes.scale * kLog2E;

  for (;;) {
    const int drawn_item = draw_item(args.tiles, &drawn);
    if (drawn_item >= args.tiles.num_items) return;
    const TileItem item = args.tiles.items[drawn_item];
    const auto load_staying = [&](bf16* tile, const Rows<const bf16>& from, int width) {
      load_tile<kWidth, Shape::kLanes, kThreads>(tile, width, sizes.inputs, from.data, [&](int lane) {
        return item.row_begin + lane < sizes.num_keys ? from.at(item.row_begin + lane, item.head) : nullptr;
      });
    };
    const auto load_moving = [&](bf16* tile, const Rows<const bf16>& from, int width, const HeadCursor& at) {
      const bf16* rows = from.at(at.rows.begin, at.head);
      load_tile<kWidth, kStep, kThreads>(tile, width, sizes.inputs, from.data, [&](int r) {
        return at.rows.begin + r < at.rows.end ? rows + r * from.row_stride : nullptr;
      });
    };
    const auto load_stage = [&](int stage, const HeadCursor& at) {
      load_moving(stages + stage * 2 * kStepElements, args.q, sizes.head_dim, at);
      load_moving(stages + (stage * 2 + 1) * kStepElements, args.dout, sizes.value_dim, at);
      const auto row = static_cast<int>(threadIdx.x);
      if (row < kStep)
        terms[stage * kStep + row] = at.rows.begin + row < at.rows.end ? row_terms(args, at.rows.begin + row, at.head)
                                                                       : RowTerms{infinity(), 0.0f};
    };

    HeadCursor now(args.tiles, item, sizes.heads_per_kv);
    load_staying(k, args.k, sizes.head_dim);
    load_staying(v, args.v, sizes.value_dim);
    load_stage(0, now);
    commit_copies();
    Sums<kWithKeys ? kWidth : 8> dk[1];
    Sums<kWithValues ? kWidth : 8> dv[1];
    dk[0].clear();
    dv[0].clear();
    for (int stage = 0; !now.is_done(); stage ^= 1) {
      HeadCursor next = now;
      next.advance(kStep);
      wait_copies<0>();
      sync_block();  // this step has come; everyone is done with the one before
      if (!next.is_done()) load_stage(stage ^ 1, next);
      commit_copies();
      const bf16* const q = stages + stage * 2 * kStepElements;
      const bf16* const dout = q + kStepElements;
      const RowTerms* const row_term = terms + stage * kStep + (lane() & 3) * 2;
      const auto hide_unseen = [&](Sums<kStep>& x, float value) {
        if (now.rows.is_whole(kStep)) return;
        const TileSegment segment = args.tiles.segments[now.rows.segment];
        RowRange seen[2];
#pragma unroll
        for (int half = 0; half < 2; ++half)
          seen[half] = rows_seen_by(segment, item.row_begin + first_lane + half * 8 + lane() / 4, now.head);
        set_unseen(x, value, seen, now.rows.begin);
      };

      Sums<kStep> scores[1];
      scores[0].clear();
      add_scores<kWidth, kStep, 1>(scores, k, first_lane, q);
#pragma unroll
      for (int n = 0; n < Sums<kStep>::kTiles; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) scores[0].at[n][e] = fma(scores[0].at[n][e], factor, -row_term[n * 8 + e % 2].lse);
      hide_unseen(scores[0], -infinity());
#pragma unroll
      for (int n = 0; n < Sums<kStep>::kTiles; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) scores[0].at[n][e] = exp2(scores[0].at[n][e]);
      if constexpr (kWithValues) add_weighted_rows<kWidth, kStep, 1>(dv, scores, dout);
      if constexpr (kWithKeys) {
        Sums<kStep> dscores[1];
        dscores[0].clear();
        add_scores<kWidth, kStep, 1>(dscores, v, first_lane, dout);
#pragma unroll
        for (int n = 0; n < Sums<kStep>::kTiles; ++n)
#pragma unroll
          for (int e = 0; e < 4; ++e) scores[0].at[n][e] *= dscores[0].at[n][e] - row_term[n * 8 + e % 2].delta;
        hide_unseen(scores[0], 0.0f);  // values of rows outside the task may be NaN
        add_weighted_rows<kWidth, kStep, 1>(dk, scores, q);
      }
      now = next;
    }
    for_each_constant<2>([&](auto half) {
      const std::int64_t row = item.row_begin + first_lane + half * 8 + lane() / 4;
      if (row >= sizes.num_keys) return;
      if constexpr (kWithKeys)
        add_to_row<half>(args.dk.at(row, item.head), dk[0], sizes.scale, sizes.head_dim, sizes.results);
      if constexpr (kWithValues)
        add_to_row<half>(args.dv.at(row, item.head), dv[0], 1.0f, sizes.value_dim, sizes.results);
    });
  }
}

template <int kWidth, KeyGradients kWanted>
void launch_for(const Exec& exec, const AttentionTiles& tiles, BackwardArgs backward) {
  using Shape = BackwardKeys<kWidth>;
  const UploadedTiles uploaded(exec, tiles);
  backward.tiles = uploaded.get();
  const int blocks = persistent_blocks(exec, properties_of(exec).multiprocessors, 1, backward.tiles.num_items);
  launch(exec, "sm80 attention dk dv",
         {.grid = static_cast<unsigned>(blocks), .block = Shape::kWarps * kWarp, .shared_bytes = Shape::kBytes},
         backward_keys_kernel<kWidth, kWanted>, backward);
}

}  // namespace

void launch_backward_keys(const Exec& exec, const AttentionBackward& args, const BackwardArgs& backward) {
  with_width(args.desc, [&](auto width) {
    using Shape = BackwardKeys<width>;
    const AttentionTiles tiles =
        key_tiles(args.desc, args.tasks, args.k.shape[0], {.tile_lanes = Shape::kLanes, .step_rows = Shape::kStep});
    if (tiles.items.empty()) return;
    // Sums of wide heads fill the registers twice.
    if constexpr (width <= 128) {
      launch_for<width, KeyGradients::kBoth>(exec, tiles, backward);
    } else {
      launch_for<width, KeyGradients::kOfKeys>(exec, tiles, backward);
      launch_for<width, KeyGradients::kOfValues>(exec, tiles, backward);
    }
  });
}

}  // namespace longspan::cuda::sm80
