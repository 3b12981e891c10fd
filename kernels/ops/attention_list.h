// The implementations of attention, named for attention_list.cc; each lives in the room of its namespace.
#pragma once

#include "kernels/ops/attention.h"

namespace longspan::cpu {

const AttentionOp& blocked_attention();

// The row-wise companions of attention.h; operands have been checked.
void clear_carry(const Exec& exec, const Tensor& out, const Tensor& lse);
void merge_carry(const Exec& exec, const Tensor& out, const Tensor& lse, const Tensor& more_out,
                 const Tensor& more_lse);
void finish_forward(const Exec& exec, const Tensor& out, const Tensor& lse, const Tensor& sink, const Tensor& result,
                    const Tensor& total_lse);
void begin_backward(const Exec& exec, const Tensor& out, const Tensor& dout, const Tensor& total_lse,
                    const Tensor& sink, const Tensor& delta, const Tensor& dsink);

// Of row_codec.h.
void encode_rows(const Exec& exec, const Tensor& values, const Tensor& codes, const Tensor& scale);
void decode_rows(const Exec& exec, const Tensor& codes, const Tensor& scale, const Tensor& values);

}  // namespace longspan::cpu

namespace longspan::reference {

const AttentionOp& attention();

}  // namespace longspan::reference
