// The implementations of attention, named for attention_list.cc; each lives in the room of its namespace.
#pragma once

#include "kernels/ops/attention.h"

namespace longspan::cpu {

const AttentionOp& blocked_attention();

}  // namespace longspan::cpu

namespace longspan::reference {

const AttentionOp& attention();

}  // namespace longspan::reference
