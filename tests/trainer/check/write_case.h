// Writes golden case files for tests: whole ones, and ones spoiled in a known place.
#pragma once

#include <string>

#include "trainer/check/case_file.h"
#include "trainer/io/hdf5_file.h"

namespace longspan {

// A small causal case whose expected values are those of single-key rows: window 1, so out = v, dq = dk = 0, dv = dout.
AttentionCase diagonal_case(std::int64_t tokens);

struct CaseFileText {
  std::string format = "longspan-attention-case";
  std::int64_t version = 1;
  std::string op = "softmax";
  std::string config = "{kind: softmax, causal: true, window: 1, scale: null, sink: false}";
};
// Writes the case to path under these attributes. Nothing is checked: each tensor has the rows it has values for.
void write_case(const std::string& path, const AttentionCase& c, const CaseFileText& text);

}  // namespace longspan
