// The gradients of keys and values on Hopper. Keys stay, 128 of one key/value head a block; queries of every head of
// the group move past. All is formed transposed, rows are keys, so that p and ds leave one product in the very
// registers from which the next one reads them:
//   p^T = exp(scale k q^T - lse),  ds^T = p^T (v dout^T - delta),  dv += p^T dout,  dk += scale ds^T q.
// Products with p and ds of one tile run on into the scores of the next.
#include "kernels/cuda/attention/sm90_backward.cuh"

namespace longspan::cuda::sm90 {
namespace {

struct Handovers {
  Handover item;              // k and v
  Handover queries[kStages];  // q, dout, lse and delta
};

// The steps of an item: each segment's heads one by one, past each of them the segment's queries. Ends are looked up
// again where they are needed: the warps that bring tiles have few registers.
template <int kStep>
class HeadWalk {
 public:
  __device__ HeadWalk(const TileSegment* segments, const TileItem& item, int heads_per_kv_head)
      : at_(segments + item.segment_begin),
        end_(segments + item.segment_end),
        first_head_(item.head * heads_per_kv_head),
        heads_(heads_per_kv_head),
        head_(at_->head_begin > first_head_ ? at_->head_begin : first_head_),
        begin_(at_->begin - kStep) {}
  __device__ __forceinline__ bool next() {
    begin_ += kStep;
    if (begin_ < at_->end) return true;
    if (++head_ >= at_->head_end || head_ >= first_head_ + heads_) {
      if (++at_ == end_) return false;
      head_ = at_->head_begin > first_head_ ? at_->head_begin : first_head_;
    }
    begin_ = at_->begin;
    return true;
  }
  __device__ const TileSegment& segment() const { return *at_; }
  __device__ int head() const { return head_; }
  __device__ int begin() const { return begin_; }
  __device__ int rows() const { return at_->end - begin_ < kStep ? at_->end - begin_ : kStep; }
  __device__ bool is_whole() const { return cuda::is_whole(*at_, begin_, begin_ + kStep); }

 private:
  const TileSegment *at_, *end_;
  int first_head_, heads_, head_, begin_;
};

// One thread.
template <int kHeadDim>
__device__ __forceinline__ void bring_tiles(const BackwardArgs& args, unsigned char* shared, Handovers& handovers) {
  using Shape = BackwardKeys<kHeadDim>;
  constexpr int kItemBytes = tile_bytes(kTileRows, kHeadDim), kQueryBytes = tile_bytes(Shape::kQueries, kHeadDim);
  Ring ring;
  int parity = 0;
  for (int round = 0; round * num_blocks() < args.tiles.num_items; ++round) {
    const int at = item_of_round(round, block_number(), num_blocks());
    if (at >= args.tiles.num_items) continue;
    const TileItem item = args.tiles.items[at];
    handovers.item.empty.wait(parity ^ 1);
    handovers.item.full.arrive_and_expect(2 * kItemBytes);
    load_tile<kTileRows, kHeadDim>(shared + Shape::kK, args.k, handovers.item.full, item.head, item.row_begin);
    load_tile<kTileRows, kHeadDim>(shared + Shape::kV, args.v, handovers.item.full, item.head, item.row_begin);
    parity ^= 1;
    for (HeadWalk<Shape::kQueries> walk(args.tiles.segments, item, args.heads_per_kv_head); walk.next();
         ring.advance()) {
      Handover& queries = handovers.queries[ring.stage];
      queries.empty.wait(ring.parity ^ 1);
      queries.full.arrive_and_expect(2 * kQueryBytes);
      load_tile<Shape::kQueries, kHeadDim>(shared + Shape::kQ + ring.stage * kQueryBytes, args.q, queries.full,
                                           walk.head(), walk.begin());
      load_tile<Shape::kQueries, kHeadDim>(shared + Shape::kDout + ring.stage * kQueryBytes, args.dout, queries.full,
                                           walk.head(), walk.begin());
    }
  }
}

// One warp, beside bring_tiles: the queries' lse and delta.
template <int kHeadDim>
__device__ __forceinline__ void bring_rows(const BackwardArgs& args, unsigned char* shared, Handovers& handovers) {
  using Shape = BackwardKeys<kHeadDim>;
  Ring ring;
  for (int round = 0; round * num_blocks() < args.tiles.num_items; ++round) {
    const int at = item_of_round(round, block_number(), num_blocks());
    if (at >= args.tiles.num_items) continue;
    for (HeadWalk<Shape::kQueries> walk(args.tiles.segments, args.tiles.items[at], args.heads_per_kv_head); walk.next();
         ring.advance()) {
      Handover& queries = handovers.queries[ring.stage];
      queries.empty.wait(ring.parity ^ 1);
      float* const lse_log2 = reinterpret_cast<float*>(shared + Shape::kRows) + ring.stage * 2 * Shape::kQueries;
#pragma unroll 1
      for (int i = lane(); i < 2 * Shape::kQueries; i += kWarp) {
        const int row = walk.begin() + i % Shape::kQueries;
        lse_log2[i] = i < Shape::kQueries ? lse_log2_of(args, row, walk.head()) : delta_of(args, row, walk.head());
      }
      queries.full.arrive();
    }
  }
}

// Of the columns of a fragment, queries: what stands at `rows` for each of them.
template <int kCount, class Body>
__device__ __forceinline__ void with_columns(const float* rows, int thread, Body body) {
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    const auto pair = *reinterpret_cast<const Vector<float, 2>*>(rows + fragment_column(thread, i));
#pragma unroll
    for (int e = 0; e < 4; ++e) body(i + e, pair[e % 2]);
  }
}

template <int kHeadDim>
__device__ __forceinline__ void compute(const BackwardArgs& args, unsigned char* shared, Handovers& handovers) {
  using Shape = BackwardKeys<kHeadDim>;
  constexpr int kQueryBytes = tile_bytes(Shape::kQueries, kHeadDim);
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
    float dk[kHeadDim / 2], dv[kHeadDim / 2], s[Shape::kQueries / 2], dp[Shape::kQueries / 2];
    std::uint32_t p[Shape::kQueries / kProductDepth][4], ds[Shape::kQueries / kProductDepth][4];
    Sum sum = Sum::kFresh;
    int held = -1;  // the stage whose queries the last products still read

    handovers.item.full.wait(parity);
    parity ^= 1;
    for (HeadWalk<Shape::kQueries> walk(args.tiles.segments, item, args.heads_per_kv_head); walk.next();
         ring.advance()) {
      unsigned char* const q = shared + Shape::kQ + ring.stage * kQueryBytes;
      unsigned char* const dout = shared + Shape::kDout + ring.stage * kQueryBytes;
      handovers.queries[ring.stage].full.wait(ring.parity);
      if (walk.rows() < Shape::kQueries) {
        clear_rows<Shape::kQueries, kHeadDim>(q, walk.rows(), computing_thread);
        clear_rows<Shape::kQueries, kHeadDim>(dout, walk.rows(), computing_thread);
        sync_named(kComputingBarrier, kComputing);
      }
      const float* const lse_log2 = reinterpret_cast<float*>(shared + Shape::kRows) + ring.stage * 2 * Shape::kQueries;
      const auto hide_unseen = [&](auto& x) {
        if (!walk.is_whole()) set_unseen(x, 0.0f, walk.segment(), walk.begin(), walk.head(), first, thread);
      };
      fence_products();
      multiply_tiles<kTileRows, kHeadDim>(s, shared + Shape::kK, group_row, q);
      commit_products();
      wait_products<1>();  // the last tile's products, whose p and ds need their registers no more
      pin(dk);
      pin(dv);
      if (held >= 0) handovers.queries[held].give_back();
      fence_products();
      multiply_tiles<kTileRows, kHeadDim>(dp, shared + Shape::kV, group_row, dout);
      commit_products();
      wait_products<1>();
      pin(s);
      with_columns<Shape::kQueries / 2>(lse_log2, thread,
                                        [&](int i, float lse) { s[i] = exp2(fma(s[i], scale_log2, -lse)); });
      hide_unseen(s);
      pin(s);
      wait_products<0>();
      pin(dp);
      with_columns<Shape::kQueries / 2>(lse_log2 + Shape::kQueries, thread,
                                        [&](int i, float delta) { dp[i] = s[i] * (dp[i] - delta); });
      hide_unseen(dp);
      pack_fragment(p, s);
      pack_fragment(ds, dp);
      fence_products();
      multiply_registers(dv, p, dout, sum);
      multiply_registers(dk, ds, q, sum);
      commit_products();
      sum = Sum::kAdd;
      held = ring.stage;
    }
    wait_products<0>();
    pin(dk);
    pin(dv);
    handovers.queries[held].give_back();
    handovers.item.give_back();
    add_fragment(dk, args.scale, args.dk, first, args.num_keys, item.head, thread);
    add_fragment(dv, 1.0f, args.dv, first, args.num_keys, item.head, thread);
  }
}

template <int kHeadDim>
__global__ void __launch_bounds__(kThreads, 1) attention_backward_keys_sm90(const __grid_constant__ BackwardArgs args) {
  using Shape = BackwardKeys<kHeadDim>;
  unsigned char* const shared = dynamic_shared();
  Handovers& handovers = *reinterpret_cast<Handovers*>(shared + Shape::kBarriers);
  static_assert(sizeof(Handovers) <= Shape::kBytes - Shape::kBarriers);
  if (thread_of_block() == 0) {
    handovers.item.init(1);
    for (int stage = 0; stage < kStages; ++stage) handovers.queries[stage].init(1 + kWarp);
    fence_barrier_init();
  }
  sync_block();
  if (warp_of_block() < kWarpgroup / kWarp) {
    set_registers_down<kBringingRegisters>();
    if (thread_of_block() == 0)
      bring_tiles<kHeadDim>(args, shared, handovers);
    else if (warp_of_block() == 1)
      bring_rows<kHeadDim>(args, shared, handovers);
  } else {
    set_registers_up<kComputingRegisters>();
    compute<kHeadDim>(args, shared, handovers);
  }
}

template <int kHeadDim>
void launch_for(const Exec& exec, int num_blocks, const BackwardArgs& args) {
  launch(exec, "attention_backward_keys_sm90",
         {dim3(static_cast<unsigned>(num_blocks)), dim3(kThreads), BackwardKeys<kHeadDim>::kBytes},
         attention_backward_keys_sm90<kHeadDim>, args);
}

}  // namespace

void launch_backward_keys(const Exec& exec, int head_dim, int num_blocks, const BackwardArgs& args) {
  head_dim == 64 ? launch_for<64>(exec, num_blocks, args) : launch_for<128>(exec, num_blocks, args);
}

}  // namespace longspan::cuda::sm90
