// Verdicts: how far computed values lie from expected ones, and whether that is near enough.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace longspan {

struct Deviation {
  // ||x - expected|| / ||expected|| over the finite places; the norm of the difference where expected is all zero.
  double relative = 0;
  // Where x is NaN or infinite and expected is not the same there, or the other way round; empty: nowhere.
  std::string misplaced;
};

// Both of the same size.
Deviation deviation_of(std::span<const float> x, std::span<const double> expected);

struct TensorVerdict {
  std::string name;
  Deviation deviation;
  double bound = 0;
  // A relative error that is NaN does not pass.
  bool passes() const { return deviation.misplaced.empty() && deviation.relative <= bound; }
};

bool all_pass(std::span<const TensorVerdict> verdicts);
// A table: tensor, relative error, bound, verdict; one line each.
std::string table_of(std::span<const TensorVerdict> verdicts);

}  // namespace longspan
