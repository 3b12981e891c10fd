// The gradient of queries on Hopper. Queries stay as in the forward kernel; scores and the products of dout with values
// are formed anew for each tile of keys, so that dq needs no sum over blocks and repeats bit for bit:
//   p = exp(scale q.k - lse),  ds = p (dout.v - delta),  dq += scale ds k.
// The product with keys of one tile runs on into the scores of the next.
#include "kernels/cuda/attention/sm90_backward.cuh"

namespace longspan::cuda::sm90 {
namespace {

struct Handovers {
  Handover item;  // q and dout
  Handover k[kStages], v[kStages];
};

template <int kHeadDim>
__device__ __forceinline__ void bring(const BackwardArgs& args, unsigned char* shared, Handovers& handovers) {
  using Shape = BackwardQueries<kHeadDim>;
  constexpr int kItemBytes = tile_bytes(kTileRows, kHeadDim), kKeyBytes = tile_bytes(Shape::kKeys, kHeadDim);
  Ring ring;
  int parity = 0;
  for (int round = 0; round * num_blocks() < args.tiles.num_items; ++round) {
    const int at = item_of_round(round, block_number(), num_blocks());
    if (at >= args.tiles.num_items) continue;
    const TileItem item = args.tiles.items[at];
    handovers.item.empty.wait(parity ^ 1);
    handovers.item.full.arrive_and_expect(2 * kItemBytes);
    load_tile<kTileRows, kHeadDim>(shared + Shape::kQ, args.q, handovers.item.full, item.head, item.row_begin);
    load_tile<kTileRows, kHeadDim>(shared + Shape::kDout, args.dout, handovers.item.full, item.head, item.row_begin);
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

template <int kHeadDim>
__device__ __forceinline__ void compute(const BackwardArgs& args, unsigned char* shared, Handovers& handovers) {
  using Shape = BackwardQueries<kHeadDim>;
  constexpr int kKeyBytes = tile_bytes(Shape::kKeys, kHeadDim);
  const int computing_thread = thread_of_block() - kWarpgroup, thread = computing_thread % kWarpgroup;
  const int group_row = computing_thread / kWarpgroup * kProductRows;
  const float scale_log2 = args.scale * kLog2E;
  Ring ring;
  int parity = 0;
  for (int round = 0; round * num_blocks() < args.tiles.num_items; ++round) {
    const int at = item_of_round(round, block_number(), num_blocks());
    if (at >= args.tiles.num_items) continue;
    const TileItem item = args.tiles.items[at];
    const int first = item.row_begin + group_row;
    float lse_log2[2], delta[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = first + fragment_row(thread, 2 * r);
      lse_log2[r] = lse_log2_of(args, row, item.head);
      delta[r] = delta_of(args, row, item.head);
    }
    float dq[kHeadDim / 2], s[Shape::kKeys / 2], dp[Shape::kKeys / 2];
    std::uint32_t ds[Shape::kKeys / kProductDepth][4];
    Sum sum = Sum::kFresh;
    int held = -1;  // the stage whose keys the last product still reads

    handovers.item.full.wait(parity);
    parity ^= 1;
    for (Walk<Shape::kKeys> walk(args.tiles.segments, item); walk.next(); ring.advance()) {
      Handover &k_handover = handovers.k[ring.stage], &v_handover = handovers.v[ring.stage];
      unsigned char* const k = shared + Shape::kK + ring.stage * kKeyBytes;
      k_handover.full.wait(ring.parity);
      if (walk.rows() < Shape::kKeys) {
        clear_rows<Shape::kKeys, kHeadDim>(k, walk.rows(), computing_thread);
        sync_named(kComputingBarrier, kComputing);
      }
      const auto hide_unseen = [&] {
        if (!walk.is_whole()) set_unseen(s, 0.0f, walk.segment(), walk.begin(), item.head, first, thread);
      };
      fence_products();
      multiply_tiles<kTileRows, kHeadDim>(s, shared + Shape::kQ, group_row, k);
      commit_products();
      v_handover.full.wait(ring.parity);
      fence_products();
      multiply_tiles<kTileRows, kHeadDim>(dp, shared + Shape::kDout, group_row,
                                          shared + Shape::kV + ring.stage * kKeyBytes);
      commit_products();
      wait_products<1>();
      pin(dq);
      pin(s);
      if (held >= 0) handovers.k[held].give_back();
#pragma unroll
      for (int i = 0; i < Shape::kKeys / 2; ++i) s[i] = exp2(fma(s[i], scale_log2, -lse_log2[i / 2 % 2]));
      hide_unseen();
      pin(s);
      wait_products<0>();
      pin(dp);
      v_handover.give_back();
#pragma unroll
      for (int i = 0; i < Shape::kKeys / 2; ++i) s[i] *= dp[i] - delta[i / 2 % 2];
      hide_unseen();  // dp may be NaN there
      pack_fragment(ds, s);
      fence_products();
      multiply_registers(dq, ds, k, sum);
      commit_products();
      sum = Sum::kAdd;
      held = ring.stage;
    }
    wait_products<0>();
    pin(dq);
    handovers.k[held].give_back();
    handovers.item.give_back();
    add_fragment(dq, args.scale, args.dq, first, args.num_queries, item.head, thread);
  }
}

template <int kHeadDim>
__global__ void __launch_bounds__(kThreads, 1)
    attention_backward_queries_sm90(const __grid_constant__ BackwardArgs args) {
  using Shape = BackwardQueries<kHeadDim>;
  unsigned char* const shared = dynamic_shared();
  Handovers& handovers = *reinterpret_cast<Handovers*>(shared + Shape::kBarriers);
  static_assert(sizeof(Handovers) <= Shape::kBytes - Shape::kBarriers);
  if (thread_of_block() == 0) {
    handovers.item.init(1);
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
void launch_for(const Exec& exec, int num_blocks, const BackwardArgs& args) {
  launch(exec, "attention_backward_queries_sm90",
         {dim3(static_cast<unsigned>(num_blocks)), dim3(kThreads), BackwardQueries<kHeadDim>::kBytes},
         attention_backward_queries_sm90<kHeadDim>, args);
}

}  // namespace

void launch_backward_queries(const Exec& exec, int head_dim, int num_blocks, const BackwardArgs& args) {
  head_dim == 64 ? launch_for<64>(exec, num_blocks, args) : launch_for<128>(exec, num_blocks, args);
}

}  // namespace longspan::cuda::sm90
