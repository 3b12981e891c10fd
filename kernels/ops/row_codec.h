// Row codec: rows of numbers as bytes with one scale a row, for transfers that are worth a smaller message.
#pragma once

#include "kernels/core/exec.h"

namespace longspan {

// For each row of values [n, h, d] (fp32 or bf16):  scale = max |x| / 127,  codes = round(x / scale)  (an fp32
// quotient, to even) in -127 … 127, so that |codes * scale - x| <= scale / 2 but for rounding. A row of zeros has scale
// 0; one that holds a NaN or an infinity has scale NaN, and so has all it decodes to: a fault stays a fault. codes [n,
// h, d] int8, scale [n, h] fp32, written. Rows contiguous, outer strides free. Does not depend on threads.
void encode_rows(const Exec& exec, const Tensor& values, const Tensor& codes, const Tensor& scale);
// values = codes * scale.
void decode_rows(const Exec& exec, const Tensor& codes, const Tensor& scale, const Tensor& values);

}  // namespace longspan
