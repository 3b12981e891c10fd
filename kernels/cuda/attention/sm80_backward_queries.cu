// dq on tensor cores that warps feed: queries and their gradients stay, keys and values move past.
//   p = exp2(scale log2(e) s - lse log2(e)),  ds = p (dp - delta),  dq += scale ds k.
#include "device/launch.cuh"
#include "kernels/cuda/attention/sm80_backward.cuh"

namespace longspan::cuda::sm80 {
namespace {

template <int kWidth>
__global__ void __launch_bounds__(BackwardQueries<kWidth>::kWarps* kWarp, 1)
    backward_queries_kernel(const __grid_constant__ BackwardArgs args) {
  using Shape = BackwardQueries<kWidth>;
  constexpr int kThreads = Shape::kWarps * kWarp, kStep = Shape::kStep, kStepElements = kStep * kWidth;
  __shared__ int drawn;
  bf16* const q = reinterpret_cast<bf16*>(dynamic_shared());
  bf16* const dout = q + Shape::kLanes * kWidth;
  bf16* const stages = dout + Shape::kLanes * kWidth;  // [2][keys, values]
  const Sizes& sizes = args.sizes;
  const int first_lane = warp_of_block() * kMatrixRows;
  const float factor = sizes.scale * kLog2E;

  for (;;) {
    const int drawn_item = draw_item(args.tiles, &drawn);
    if (drawn_item >= args.tiles.num_items) return;
    const TileItem item = args.tiles.items[drawn_item];
    const int kv_head = item.head / sizes.heads_per_kv;
    const auto row_of = [&](int lane) { return item.row_begin + lane / sizes.heads_per_tile; };
    const auto head_of = [&](int lane) { return item.head + lane % sizes.heads_per_tile; };
    const auto load_staying = [&](bf16* tile, const Rows<const bf16>& from, int width) {
      load_tile<kWidth, Shape::kLanes, kThreads>(tile, width, sizes.inputs, from.data, [&](int lane) {
        return row_of(lane) < sizes.num_queries ? from.at(row_of(lane), head_of(lane)) : nullptr;
      });
    };
    const auto load_moving = [&](bf16* tile, const Rows<const bf16>& from, int width, const Cursor& at) {
      const bf16* rows = from.at(at.begin, kv_head);
      load_tile<kWidth, kStep, kThreads>(tile, width, sizes.inputs, from.data, [&](int r) {
        return at.begin + r < at.end ? rows + r * from.row_stride : nullptr;
      });
    };
    const auto load_stage = [&](int stage, const Cursor& at) {
      load_moving(stages + stage * 2 * kStepElements, args.k, sizes.head_dim, at);
      load_moving(stages + (stage * 2 + 1) * kStepElements, args.v, sizes.value_dim, at);
    };

    Cursor now(args.tiles, item);
    load_staying(q, args.q, sizes.head_dim);
    load_staying(dout, args.dout, sizes.value_dim);
    load_stage(0, now);
    commit_copies();
    RowTerms terms[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int lane_of_row = first_lane + half * 8 + lane() / 4;
      terms[half] = row_terms(args, row_of(lane_of_row), head_of(lane_of_row));
    }

    Sums<kWidth> dq[1];
    dq[0].clear();
    for (int stage = 0; !now.is_done(); stage ^= 1) {
      Cursor next = now;
      next.advance(kStep);
      wait_copies<0>();
      sync_block();  // this step has come; everyone is done with the one before
      if (!next.is_done()) load_stage(stage ^ 1, next);
      commit_copies();
      const bf16* const k = stages + stage * 2 * kStepElements;
      const bf16* const v = k + kStepElements;
      const auto hide_unseen = [&](Sums<kStep>& x, float value) {
        if (now.is_whole(kStep)) return;
        const TileSegment segment = args.tiles.segments[now.segment];
        RowRange seen[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int lane_of_row = first_lane + half * 8 + lane() / 4;
          seen[half] = rows_seen_by(segment, row_of(lane_of_row), head_of(lane_of_row));
        }
        set_unseen(x, value, seen, now.begin);
      };

      Sums<kStep> scores[1], dscores[1];
      scores[0].clear();
      dscores[0].clear();
      add_scores<kWidth, kStep, 1>(scores, q, first_lane, k);
      add_scores<kWidth, kStep, 1>(dscores, dout, first_lane, v);
#pragma unroll
      for (int n = 0; n < Sums<kStep>::kTiles; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) scores[0].at[n][e] = fma(scores[0].at[n][e], factor, -terms[e / 2].lse);
      hide_unseen(scores[0], -infinity());
#pragma unroll
      for (int n = 0; n < Sums<kStep>::kTiles; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          dscores[0].at[n][e] = exp2(scores[0].at[n][e]) * (dscores[0].at[n][e] - terms[e / 2].delta);
      hide_unseen(dscores[0], 0.0f);  // dout and delta of rows outside the task may be NaN
      add_weighted_rows<kWidth, kStep, 1>(dq, dscores, k);
      now = next;
    }
    for_each_constant<2>([&](auto half) {
      const int lane_of_row = first_lane + half * 8 + lane() / 4;
      if (row_of(lane_of_row) < sizes.num_queries)
        add_to_row<half>(args.dq.at(row_of(lane_of_row), head_of(lane_of_row)), dq[0], sizes.scale, sizes.head_dim,
                         sizes.results);
    });
  }
}

}  // namespace

void launch_backward_queries(const Exec& exec, const AttentionBackward& args, BackwardArgs backward) {
  with_width(args.desc, [&](auto width) {
    using Shape = BackwardQueries<width>;
    const std::int64_t heads = heads_per_tile_for(args.desc, args.tasks, Shape::kLanes);
    const AttentionTiles tiles =
        query_tiles(args.desc, args.tasks, args.q.shape[0],
                    {.tile_lanes = Shape::kLanes, .heads_per_tile = heads, .step_rows = Shape::kStep});
    if (tiles.items.empty()) return;
    backward.sizes.heads_per_tile = static_cast<int>(heads);
    const UploadedTiles uploaded(exec, tiles);
    backward.tiles = uploaded.get();
    const int blocks = persistent_blocks(exec, properties_of(exec).multiprocessors, 1, backward.tiles.num_items);
    launch(exec, "sm80 attention dq",
           {.grid = static_cast<unsigned>(blocks), .block = Shape::kWarps * kWarp, .shared_bytes = Shape::kBytes},
           backward_queries_kernel<width>, backward);
  });
}

}  // namespace longspan::cuda::sm80
