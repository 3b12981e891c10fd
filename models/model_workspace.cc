// Scratch of the operators that a model calls, from their documented needs.
#include <algorithm>

#include "models/model.h"
#include "models/size_counter.h"

namespace longspan {
namespace {

// Column sums (gradients of norms and biases) add up to this many partial rows.
constexpr std::int64_t kPartialRows = 64;
// On a GPU gradients of norms add up to more of them, one a block.
constexpr std::int64_t kDevicePartialRows = 256;
// There, the products' library asks for this much, aligned.
constexpr std::int64_t kDeviceProductBytes = (std::int64_t{32} << 20) + 256;
// The gradient of the embedding there: places of tokens in order, and two parts of rows for each so many of them.
constexpr std::int64_t kSortedPiece = 64;
// A bf16 product without bf16 instructions converts blocks of this edge to fp32.
constexpr std::int64_t kConvertedEdge = 1024;
// With such instructions the library blocks by cache sizes and thread; this is room for it.
constexpr std::int64_t kBlockedProductBytesPerThread = std::int64_t{4} << 20;

std::int64_t bytes_of(DType dtype, std::int64_t rows, std::int64_t columns) {
  SizeCounter counter;
  counter.allocate("", MemoryCategory::kWorkspace, dtype, {rows, columns});
  return counter.used_bytes();
}

// Any product with these sizes, whichever of its three matrices is the result.
std::int64_t product_bytes(DType precision, int num_threads, std::int64_t m, std::int64_t n, std::int64_t k) {
  if (precision == DType::kF32) return 0;
  for (std::int64_t* size : {&m, &n, &k}) *size = std::min(*size, kConvertedEdge);
  const std::int64_t converted =
      bytes_of(DType::kF32, m, n) + bytes_of(DType::kF32, n, k) + bytes_of(DType::kF32, m, k);
  return std::max(converted, num_threads * kBlockedProductBytesPerThread);
}

// What of a model's ends a rank has.
struct Ends {
  bool embeds = false, has_head = false;
};

Ends ends_of(std::span<const StageSpan> stages) {
  Ends ends;
  for (const StageSpan& stage : stages) {
    ends.embeds = ends.embeds || stage.embeds;
    ends.has_head = ends.has_head || stage.has_head;
  }
  return ends;
}

std::int64_t device_workspace_bytes(const ModelConfig& config, const Ends& ends, std::int64_t tokens) {
  constexpr std::int64_t kChunk = 8;  // rows of logits begin at a vector
  const std::int64_t chunk = std::min(tokens, HeadLoss{}.chunk_tokens);
  const std::int64_t head = bytes_of(DType::kF32, chunk, (config.vocab + kChunk - 1) / kChunk * kChunk) +
                            bytes_of(DType::kF64, chunk, 1) + kDeviceProductBytes;
  const std::int64_t embedding = bytes_of(DType::kI32, tokens, 1) + bytes_of(DType::kI32, 1, 1) +
                                 bytes_of(DType::kF32, (tokens + kSortedPiece - 1) / kSortedPiece * 2, config.hidden);
  const std::int64_t norms = bytes_of(DType::kF32, kDevicePartialRows, std::max(config.hidden, config.head_dim));
  const std::int64_t biases = bytes_of(DType::kF32, kPartialRows, config.heads * config.head_dim);
  const std::int64_t layers = std::max({kDeviceProductBytes, norms, biases});
  return std::max({layers, ends.has_head ? head : 0, ends.embeds ? embedding : 0});
}

}  // namespace

std::int64_t model_workspace_bytes(const ModelConfig& config, Device device, DType precision, std::int64_t tokens,
                                   int num_threads) {
  const StageSpan whole = whole_model(config);
  return model_workspace_bytes(config, {&whole, 1}, device, precision, tokens, num_threads);
}

std::int64_t model_workspace_bytes(const ModelConfig& config, std::span<const StageSpan> stages, Device device,
                                   DType precision, std::int64_t tokens, int num_threads) {
  if (tokens == 0) return 0;
  const Ends ends = ends_of(stages);
  if (device == Device::kCuda) return device_workspace_bytes(config, ends, tokens);
  const auto product = [&](std::int64_t rows, std::int64_t width) {
    return product_bytes(precision, num_threads, rows, width, config.hidden);
  };
  const std::int64_t q_width = config.heads * config.head_dim;  // at least as wide as k and v
  const std::int64_t chunk = std::min(tokens, HeadLoss{}.chunk_tokens);
  std::int64_t head = bytes_of(DType::kF32, chunk, config.vocab);
  if (precision != DType::kF32) head += bytes_of(precision, chunk, config.vocab);
  return std::max({
      ends.has_head ? head + product(chunk, config.vocab) : 0,
      product(tokens, q_width),
      product(tokens, config.ffn),
      bytes_of(DType::kF32, kPartialRows, std::max(config.hidden, q_width)),
  });
}

}  // namespace longspan
