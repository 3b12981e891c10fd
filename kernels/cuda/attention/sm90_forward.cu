// Forward attention on Hopper. A block takes items (128 queries of one head) one after the other. Its first warpgroup
// brings tiles of keys and values two deep; two warpgroups of 64 queries each compute, and start the next tile's scores
// before they form this tile's exponentials, so that the tensor cores work meanwhile (the overlap within a warpgroup of
// Shah et al. 2024, "FlashAttention-3", section 3.2). Exponentials are powers of 2 of differences that are never
// positive. An item ends with one merge into the carry (attention.h), which only this block touches.
#include "kernels/cuda/attention/sm90_block.cuh"
#include "kernels/cuda/attention/sm90_carry.cuh"
#include "kernels/cuda/attention/sm90_kernels.cuh"
#include "kernels/cuda/attention/softmax_origin.h"

namespace longspan::cuda::sm90 {
namespace {

struct Handovers {
  Handover q, k[kStages], v[kStages];
};

template <int kHeadDim>
__device__ __forceinline__ void bring(const ForwardArgs& args, unsigned char* shared, Handovers& handovers) {
  using Shape = Forward<kHeadDim>;
  constexpr int kQBytes = tile_bytes(kTileRows, kHeadDim), kKeyBytes = tile_bytes(Shape::kKeys, kHeadDim);
  prefetch(args.q);
  prefetch(args.k);
  prefetch(args.v);
  Ring ring;
  int parity = 0;
  for (int round = 0; round * num_blocks() < args.tiles.num_items; ++round) {
    const int at = item_of_round(round, block_number(), num_blocks());
    if (at >= args.tiles.num_items) continue;
    const TileItem item = args.tiles.items[at];
    handovers.q.empty.wait(parity ^ 1);
    handovers.q.full.arrive_and_expect(kQBytes);
    load_tile<kTileRows, kHeadDim>(shared + Shape::kQ, args.q, handovers.q.full, item.head, item.row_begin);
    parity ^= 1;
    const int kv_head = item.head / args.heads_per_kv_head;
    for (Walk<Shape::kKeys> walk(args.tiles.segments, item); walk.next(); ring.advance()) {
      Handover &k = handovers.k[ring.stage], &v = handovers.v[ring.stage];
      k.empty.wait(ring.parity ^ 1);
      k.full.arrive_and_expect(kKeyBytes);
      load_tile<Shape::kKeys, kHeadDim>(shared + Shape::kK + ring.stage * kKeyBytes, args.k, k.full, kv_head,
                                        walk.begin());
      v.empty.wait(ring.parity ^ 1);
      v.full.arrive_and_expect(kKeyBytes);
      load_tile<Shape::kKeys, kHeadDim>(shared + Shape::kV + ring.stage * kKeyBytes, args.v, v.full, kv_head,
                                        walk.begin());
    }
  }
}

// Running maximum, what is measured from, and sum of a thread's two rows; each of the row's four lanes sums its own
// part.
struct Softmax {
  float max[2] = {-INFINITY, -INFINITY}, base[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
};

// Scores become exp2(score * scale - base). `shrink` is what earlier results are to be multiplied by. A row that has
// seen no key keeps its base of -inf, and 0 takes its place in the differences.
template <int kCount>
__device__ __forceinline__ void exponentials(float (&s)[kCount], float scale_log2, SoftmaxOrigin origin,
                                             Softmax& softmax, float (&shrink)[2]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float max = softmax.max[r];
#pragma unroll
    for (int i = 2 * r; i < kCount; i += 4) max = fmaxf(max, fmaxf(s[i], s[i + 1]));
    max = row_max(max);
    const bool seen = max != -INFINITY;
    const float base = seen ? origin_of(max * scale_log2, origin) : 0.0f;
    shrink[r] = exp2(softmax.base[r] - base);
    softmax.max[r] = max;
    softmax.base[r] = seen ? base : -INFINITY;
    float sum = 0;
#pragma unroll
    for (int i = 2 * r; i < kCount; i += 4) {
      s[i] = exp2(fma(s[i], scale_log2, -base));
      s[i + 1] = exp2(fma(s[i + 1], scale_log2, -base));
      sum += s[i] + s[i + 1];
    }
    softmax.sum[r] = softmax.sum[r] * shrink[r] + sum;
  }
}

template <int kHeadDim>
__device__ __forceinline__ void compute(const ForwardArgs& args, unsigned char* shared, Handovers& handovers) {
  using Shape = Forward<kHeadDim>;
  constexpr int kKeyBytes = tile_bytes(Shape::kKeys, kHeadDim);
  const int computing_thread = thread_of_block() - kWarpgroup, thread = computing_thread % kWarpgroup;
  const int group_row = computing_thread / kWarpgroup * kProductRows;
  const float scale_log2 = args.scale * kLog2E;
  Ring scores_ring, values_ring;  // that of values lags one tile behind
  int parity = 0;
  for (int round = 0; round * num_blocks() < args.tiles.num_items; ++round) {
    const int at = item_of_round(round, block_number(), num_blocks());
    if (at >= args.tiles.num_items) continue;
    const TileItem item = args.tiles.items[at];
    const int first = item.row_begin + group_row;
    Softmax softmax;
    float o[kHeadDim / 2], s[Shape::kKeys / 2], shrink[2];
    std::uint32_t p[Shape::kKeys / kProductDepth][4];
    Walk<Shape::kKeys> walk(args.tiles.segments, item);

    const auto start_scores = [&] {
      handovers.k[scores_ring.stage].full.wait(scores_ring.parity);
      fence_products();
      multiply_tiles<kTileRows, kHeadDim>(s, shared + Shape::kQ, group_row,
                                          shared + Shape::kK + scores_ring.stage * kKeyBytes);
      commit_products();
    };
    const auto mask_scores = [&] {
      if (!walk.is_whole()) set_unseen(s, -INFINITY, walk.segment(), walk.begin(), item.head, first, thread);
    };
    const auto start_values = [&](int rows, Sum sum) {
      unsigned char* v = shared + Shape::kV + values_ring.stage * kKeyBytes;
      handovers.v[values_ring.stage].full.wait(values_ring.parity);
      if (rows < Shape::kKeys) {
        clear_rows<Shape::kKeys, kHeadDim>(v, rows, computing_thread);
        sync_named(kComputingBarrier, kComputing);
      }
      fence_products();
      multiply_registers(o, p, v, sum);
      commit_products();
    };
    const auto end_values = [&] {
      wait_products<0>();
      pin(o);
      handovers.v[values_ring.stage].give_back();
      values_ring.advance();
    };

    handovers.q.full.wait(parity);
    parity ^= 1;
    walk.next();  // an item has something to see
    start_scores();
    wait_products<0>();
    pin(s);
    handovers.k[scores_ring.stage].give_back();
    scores_ring.advance();
    mask_scores();
    exponentials(s, scale_log2, args.origin, softmax, shrink);
    pack_fragment(p, s);
    int rows = walk.rows();
    Sum sum = Sum::kFresh;
    while (walk.next()) {
      start_scores();
      start_values(rows, sum);
      wait_products<1>();
      pin(s);
      handovers.k[scores_ring.stage].give_back();
      scores_ring.advance();
      mask_scores();
      exponentials(s, scale_log2, args.origin, softmax, shrink);
      pin(s);
      handovers.v[values_ring.stage].hold_order(values_ring.parity);
      end_values();
#pragma unroll
      for (int i = 0; i < kHeadDim / 2; ++i) o[i] *= shrink[i / 2 % 2];
      pack_fragment(p, s);
      rows = walk.rows();
      sum = Sum::kAdd;
    }
    handovers.q.give_back();
    start_values(rows, sum);
    end_values();
    float before[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = first + fragment_row(thread, 2 * r);
      before[r] = row < args.num_queries ? *args.lse.at(row, item.head) : 0.0f;
    }
    sync_warp();  // all have read what some of them write
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float total = row_sum(softmax.sum[r]);
      const int row = first + fragment_row(thread, 2 * r);
      if (total == 0 || row >= args.num_queries) continue;  // no key was seen: the carry stays
      const float lse = (softmax.base[r] + log2(total)) * kLn2;
      merge_row(o, r, reciprocal(total), lse, before[r], args.out.at(row, item.head), args.lse.at(row, item.head),
                thread);
    }
  }
}

template <int kHeadDim>
__global__ void __launch_bounds__(kThreads, 1) attention_forward_sm90(const __grid_constant__ ForwardArgs args) {
  unsigned char* const shared = dynamic_shared();
  Handovers& handovers = *reinterpret_cast<Handovers*>(shared + Forward<kHeadDim>::kBarriers);
  static_assert(sizeof(Handovers) <= Forward<kHeadDim>::kBytes - Forward<kHeadDim>::kBarriers);
  if (thread_of_block() == 0) {
    handovers.q.init(1);
    for (int stage = 0; stage < kStages; ++stage) {
      handovers.k[stage].init(1);
      handovers.v[stage].init(1);
    }
    fence_barrier_init();
  }
  sync_block();
  if (warp_of_block() < kWarpgroup / kWarp) {
    set_registers_down<kBringingRegisters>();
    if (thread_of_block() == 0) bring<kHeadDim>(args, shared, handovers);
  } else {
    set_registers_up<kComputingRegisters>();
    compute<kHeadDim>(args, shared, handovers);
  }
}

template <int kHeadDim>
void launch_for(const Exec& exec, int num_blocks, const ForwardArgs& args) {
  launch(exec, "attention_forward_sm90",
         {dim3(static_cast<unsigned>(num_blocks)), dim3(kThreads), Forward<kHeadDim>::kBytes},
         attention_forward_sm90<kHeadDim>, args);
}

}  // namespace

void launch_forward(const Exec& exec, int head_dim, int num_blocks, const ForwardArgs& args) {
  head_dim == 64 ? launch_for<64>(exec, num_blocks, args) : launch_for<128>(exec, num_blocks, args);
}

}  // namespace longspan::cuda::sm90
