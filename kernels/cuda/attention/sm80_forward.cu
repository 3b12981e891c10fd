// Forward attention on tensor cores that warps feed: online softmax over the steps of an item, merged into the carry.
#include "device/launch.cuh"
#include "kernels/cuda/attention/sm80_block.cuh"
#include "kernels/cuda/attention/softmax_origin.h"

namespace longspan::cuda::sm80 {
namespace {

// Running statistics of a thread's rows, [row tile][half]: rows g and g + 8 of each, shared by the four lanes of a row.
template <int kRowTiles>
struct RowStatistics {
  float top[kRowTiles][2];   // the largest score yet, without the scale
  float base[kRowTiles][2];  // what exponents of two are measured from
  float sum[kRowTiles][2];   // this lane's part of the sum of exponentials
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int t = 0; t < kRowTiles; ++t)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        top[t][half] = -infinity();
        base[t][half] = sum[t][half] = 0.0f;
      }
  }
};

// Over the four lanes that share a row.
__device__ __forceinline__ float row_max(float x) {
  for (int mask = 1; mask < 4; mask *= 2) {
    const float other = shuffle_xor(x, mask);
    x = x < other ? other : x;
  }
  return x;
}
__device__ __forceinline__ float row_sum(float x) {
  x += shuffle_xor(x, 1);
  return x + shuffle_xor(x, 2);
}

// Scores become exponentials; sums and out follow a rise of the maximum. `factor` is of scores, in powers of two.
template <int kStep, int kWidth>
__device__ __forceinline__ void softmax_step(Sums<kStep>& scores, float (&top)[2], float (&base)[2], float (&sum)[2],
                                             Sums<kWidth>& out, float factor, SoftmaxOrigin origin) {
  float shrink[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float most = top[half];
#pragma unroll
    for (int n = 0; n < Sums<kStep>::kTiles; ++n)
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) most = most < scores.at[n][e] ? scores.at[n][e] : most;
    most = row_max(most);
    // A row that has seen no key measures from 0, so that no difference of infinities arises.
    const float next = most == -infinity() ? 0.0f : origin_of(most * factor, origin);
    shrink[half] = top[half] == -infinity() ? 0.0f : exp2(base[half] - next);
    top[half] = most;
    base[half] = next;
  }
  if (any(shrink[0] != 1.0f || shrink[1] != 1.0f)) {
#pragma unroll
    for (int n = 0; n < Sums<kWidth>::kTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) out.at[n][e] *= shrink[e / 2];
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float part = 0.0f;
#pragma unroll
    for (int n = 0; n < Sums<kStep>::kTiles; ++n)
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        const float p = exp2(fma(scores.at[n][e], factor, -base[half]));
        scores.at[n][e] = p;
        part += p;
      }
    sum[half] = sum[half] * shrink[half] + part;
  }
}

// Merges one row into the carry: with x = here - lse the two parts weigh sigmoid(x) and sigmoid(-x), each formed from
// an exponent that is not positive. All four lanes of the row come, with what they have of `sum`.
template <int kHalf, int kWidth>
__device__ __forceinline__ void merge_row(const ForwardArgs& args, std::int64_t row, int head, const Sums<kWidth>& out,
                                          float base, float part) {
  const float sum = row_sum(part);
  const bool is_seen = row < args.sizes.num_queries && sum != 0.0f;
  float* lse = is_seen ? args.lse.at(row, head) : nullptr;
  const float carried = is_seen ? *lse : 0.0f;
  sync_warp();  // all four have read before one writes
  if (!is_seen) return;
  const float here = (base + log2(sum)) * kLn2;
  const float gap = exp2(-fabsf(here - carried) * kLog2E);
  const bool is_first = carried == -infinity();
  const float major = is_first ? 1.0f : 1.0f / (1.0f + gap), minor = is_first ? 0.0f : gap * major;
  const bool leads = is_first || here >= carried;
  const float weight = (leads ? major : minor) / sum, keep = leads ? minor : major;
  if ((lane() & 3) == 0) *lse = is_first ? here : (leads ? here : carried) + log1pf(gap);
  const int width = args.sizes.value_dim;
  float* to = args.out.at(row, head);
#pragma unroll
  for (int n = 0; n < Sums<kWidth>::kTiles; ++n) {
    const int column = n * 8 + (lane() & 3) * 2;
    if (column < width) {
      float2 pair = make_float2(out.at[n][2 * kHalf] * weight, out.at[n][2 * kHalf + 1] * weight);
      if (!is_first) {
        const float2 before = load_pair(to + column, width - column, args.sizes.results);
        pair.x += before.x * keep;
        pair.y += before.y * keep;
      }
      store_pair(to + column, pair, width - column, args.sizes.results);
    }
  }
}

template <int kWidth>
__global__ void __launch_bounds__(Forward<kWidth>::kWarps* kWarp, Forward<kWidth>::kBlocksPerMultiprocessor)
    forward_kernel(const __grid_constant__ ForwardArgs args) {
  using Shape = Forward<kWidth>;
  constexpr int kThreads = Shape::kWarps * kWarp, kStep = Shape::kStep, kRowTiles = Shape::kRowTiles;
  __shared__ int drawn;
  bf16* const q = reinterpret_cast<bf16*>(dynamic_shared());
  bf16* const k = q + Shape::kLanes * kWidth;
  bf16* const v = k + kStep * kWidth;
  const Sizes& sizes = args.sizes;
  const int first_lane = warp_of_block() * kRowTiles * kMatrixRows;
  // A negative scale turns the scores about, so that the largest is always the one of largest weight.
  const float sign = sizes.scale > 0 ? 1.0f : sizes.scale < 0 ? -1.0f : 0.0f;
  const float factor = sizes.scale == 0 ? 1.0f : fabsf(sizes.scale) * kLog2E;

  for (;;) {
    const int drawn_item = draw_item(args.tiles, &drawn);
    if (drawn_item >= args.tiles.num_items) return;
    const TileItem item = args.tiles.items[drawn_item];
    const int kv_head = item.head / sizes.heads_per_kv;
    const auto row_of = [&](int lane) { return item.row_begin + lane / sizes.heads_per_tile; };
    const auto head_of = [&](int lane) { return item.head + lane % sizes.heads_per_tile; };
    const auto load_moving = [&](bf16* tile, const Rows<const bf16>& from, int width, const Cursor& at) {
      const bf16* rows = from.at(at.begin, kv_head);
      load_tile<kWidth, kStep, kThreads>(tile, width, sizes.inputs, from.data, [&](int r) {
        return at.begin + r < at.end ? rows + r * from.row_stride : nullptr;
      });
    };

    Cursor now(args.tiles, item);
    load_tile<kWidth, Shape::kLanes, kThreads>(q, sizes.head_dim, sizes.inputs, args.q.data, [&](int lane) {
      return row_of(lane) < sizes.num_queries ? args.q.at(row_of(lane), head_of(lane)) : nullptr;
    });
    load_moving(k, args.k, sizes.head_dim, now);
    commit_copies();

    Sums<kWidth> out[kRowTiles];
    RowStatistics<kRowTiles> rows;
#pragma unroll
    for (int t = 0; t < kRowTiles; ++t) out[t].clear();
    rows.clear();
    while (!now.is_done()) {
      wait_copies<0>();
      sync_block();  // keys have come; everyone is done with the last values
      load_moving(v, args.v, sizes.value_dim, now);
      commit_copies();

      Sums<kStep> scores[kRowTiles];
#pragma unroll
      for (int t = 0; t < kRowTiles; ++t) scores[t].clear();
      add_scores<kWidth, kStep, kRowTiles>(scores, q, first_lane, k);
      if (sign != 1.0f) {
#pragma unroll
        for (int t = 0; t < kRowTiles; ++t) scores[t].multiply_by(sign);
      }
      if (!now.is_whole(kStep)) {
        const TileSegment segment = args.tiles.segments[now.segment];
#pragma unroll
        for (int t = 0; t < kRowTiles; ++t) {
          RowRange seen[2];
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int lane_of_row = first_lane + t * kMatrixRows + half * 8 + lane() / 4;
            seen[half] = rows_seen_by(segment, row_of(lane_of_row), head_of(lane_of_row));
          }
          set_unseen(scores[t], -infinity(), seen, now.begin);
        }
      }
#pragma unroll
      for (int t = 0; t < kRowTiles; ++t)
        softmax_step(scores[t], rows.top[t], rows.base[t], rows.sum[t], out[t], factor, sizes.origin);
      now.advance(kStep);
      wait_copies<0>();
      sync_block();  // values have come; everyone is done with the keys
      if (!now.is_done()) load_moving(k, args.k, sizes.head_dim, now);
      commit_copies();
      add_weighted_rows<kWidth, kStep, kRowTiles>(out, scores, v);
    }
    for_each_constant<2 * kRowTiles>([&](auto row_of_thread) {
      constexpr int t = row_of_thread / 2, half = row_of_thread % 2;
      const int lane_of_row = first_lane + t * kMatrixRows + half * 8 + lane() / 4;
      merge_row<half>(args, row_of(lane_of_row), head_of(lane_of_row), out[t], rows.base[t][half], rows.sum[t][half]);
    });
  }
}

}  // namespace

void launch_forward(const Exec& exec, const AttentionForward& args, ForwardArgs forward) {
  with_width(args.desc, [&](auto width) {
    using Shape = Forward<width>;
    const std::int64_t heads = heads_per_tile_for(args.desc, args.tasks, Shape::kLanes);
    const AttentionTiles tiles =
        query_tiles(args.desc, args.tasks, args.q.shape[0],
                    {.tile_lanes = Shape::kLanes, .heads_per_tile = heads, .step_rows = Shape::kStep});
    if (tiles.items.empty()) return;
    const UploadedTiles uploaded(exec, tiles);
    forward.tiles = uploaded.get();
    forward.sizes.heads_per_tile = static_cast<int>(heads);
    const int blocks = persistent_blocks(exec, properties_of(exec).multiprocessors, Shape::kBlocksPerMultiprocessor,
                                         forward.tiles.num_items);
    launch(exec, "sm80 attention forward",
           {.grid = static_cast<unsigned>(blocks), .block = Shape::kWarps * kWarp, .shared_bytes = Shape::kBytes},
           forward_kernel<width>, forward);
  });
}

}  // namespace longspan::cuda::sm80
