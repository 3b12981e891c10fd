// The names of the implementations on GPUs; lists.cc puts them in order.
#pragma once

#include "kernels/ops/attention.h"
#include "kernels/ops/kernel_args.h"

namespace longspan::cuda {

extern const Kernel<Matmul> kMatmulTiled;
extern const Kernel<EmbeddingForward> kEmbeddingForward;
extern const Kernel<EmbeddingBackward> kEmbeddingBackward;
extern const Kernel<RmsNormForward> kRmsNormForward;
extern const Kernel<RmsNormBackward> kRmsNormBackward;
extern const Kernel<RotaryTable> kRotaryTable;
extern const Kernel<Rotary> kRotary;
extern const Kernel<SwigluForward> kSwigluForward;
extern const Kernel<SwigluBackward> kSwigluBackward;
extern const Kernel<Add> kAdd;
extern const Kernel<Cast> kCast;
extern const Kernel<AddRowSum> kAddRowSum;
extern const Kernel<FillZero> kFillZero;
extern const Kernel<HeadLoss> kHeadLoss;
extern const Kernel<SumOfSquares> kSumOfSquares;
extern const Kernel<AdamW> kAdamw;
extern const Kernel<ClearCarry> kClearCarry;
extern const Kernel<MergeCarry> kMergeCarry;
extern const Kernel<FinishForward> kFinishForward;
extern const Kernel<BeginBackward> kBeginBackward;
extern const Kernel<EncodeRows> kEncodeRows;
extern const Kernel<DecodeRows> kDecodeRows;

// Core attention: warpgroup products of compute capability 9.0, warp products of 8.0, by the definition.
const AttentionOp& sm90_attention();
const AttentionOp& sm80_attention();
const AttentionOp& attention_by_rows();

// Of libraries, which come before our own; an emulated GPU has none.
KernelList<Matmul> library_matmuls();

}  // namespace longspan::cuda
