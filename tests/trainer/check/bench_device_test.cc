// bench attention and bench kernels: what they count, which implementation they run, and what they say of nonsense.
// Nothing asserts a time.
#include "trainer/check/bench_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "tests/support/expect_error.h"
#include "trainer/check/bench_attention.h"
#include "trainer/check/bench_kernels.h"

namespace longspan {
namespace {

using testing::expect_error;

TEST(DocumentLengths, MakeUpTheTokens) {
  for (const DocumentSpread spread : {DocumentSpread::kEqual, DocumentSpread::kMixed})
    for (const auto& [tokens, documents] :
         {std::pair(1, 1), std::pair(7, 7), std::pair(1000, 3), std::pair(65536, 200)}) {
      const std::vector<std::int64_t> lengths = document_lengths(tokens, documents, spread);
      EXPECT_EQ(lengths.size(), static_cast<std::size_t>(documents));
      EXPECT_EQ(std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0}), tokens);
      EXPECT_GE(*std::min_element(lengths.begin(), lengths.end()), 1);
    }
}

TEST(DocumentLengths, DifferAsAskedFor) {
  const auto extremes = [](DocumentSpread spread) {
    const std::vector<std::int64_t> lengths = document_lengths(65536, 200, spread);
    return std::pair(*std::min_element(lengths.begin(), lengths.end()),
                     *std::max_element(lengths.begin(), lengths.end()));
  };
  const auto equal = extremes(DocumentSpread::kEqual), mixed = extremes(DocumentSpread::kMixed);
  EXPECT_LE(equal.second - equal.first, 1);
  EXPECT_GT(mixed.second, 50 * mixed.first);
}

TEST(DocumentLengths, RefuseMoreDocumentsThanTokens) {
  expect_error(ErrorKind::kUsage, {"5 documents", "4 tokens"}, [] { document_lengths(4, 5, DocumentSpread::kEqual); });
}

TEST(BenchDevice, FillsAlikeForASeed) {
  BenchDevice device(host_runtime(), 1, 1 << 20);
  const Tensor first = device.random("first", DType::kF32, {50, 7}, 3);
  const Tensor again = device.random("again", DType::kF32, {50, 7}, 3);
  const Tensor other = device.random("other", DType::kF32, {50, 7}, 4);
  const auto* a = first.get<float>();
  EXPECT_TRUE(std::equal(a, a + 350, again.get<float>()));
  EXPECT_FALSE(std::equal(a, a + 350, other.get<float>()));
}

TEST(BenchDevice, SpreadsIndicesOverTheRange) {
  BenchDevice device(host_runtime(), 1, 1 << 20);
  for (const std::int64_t below : {1, 2, 10, 1000}) {
    const auto* indices = device.indices("indices", 2000, below).get<std::int32_t>();
    EXPECT_EQ(*std::min_element(indices, indices + 2000), 0);
    EXPECT_EQ(*std::max_element(indices, indices + 2000), below - 1);
  }
}

AttentionBenchOptions small_attention() {
  AttentionBenchOptions options;
  options.heads = 4;
  options.kv_heads = 2;
  options.head_dim = options.value_dim = 16;
  options.tokens = {60};
  options.repetitions = 2;
  options.matrix_size = 32;
  return options;
}

TEST(BenchAttention, CountsPairsOfEveryDocument) {
  AttentionBenchOptions options = small_attention();
  options.documents = 3;
  std::vector<AttentionBenchRow> rows;
  bench_attention(options, [&](const AttentionBenchRow& row) { rows.push_back(row); });
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].pairs, 3 * 20 * 21 / 2);
  EXPECT_NEAR(rows[0].forward_gflops * rows[0].forward_ms * 1e6, 630.0 * 4 * 2 * 32, 1);
  EXPECT_LE(rows[0].op_forward_ms, rows[0].forward_ms + 1e-9);
}

TEST(BenchAttention, RunsTheImplementationThatIsNamed) {
  AttentionBenchOptions options = small_attention();
  options.op = "reference";
  std::string op;
  bench_attention(options, [&](const AttentionBenchRow& row) { op = row.op; });
  EXPECT_EQ(op, "reference");
  options.op = "referense";
  expect_error(ErrorKind::kUsage, {"referense", "reference"},
               [&] { bench_attention(options, [](const AttentionBenchRow&) {}); });
}

TEST(BenchKernels, HasARowForEachOperator) {
  KernelBenchOptions options;
  options.tokens = 24;
  options.hidden = options.ffn = 32;
  options.heads = 4;
  options.vocab = 50;
  options.matrix_size = 16;
  options.repetitions = 2;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    options.dtype = dtype;
    std::map<std::string, KernelBenchRow> rows;
    bench_kernels(
        options, [&](const KernelBenchRow& row) { rows.emplace(row.op, row); },
        [](const std::string& op, const std::string& why) { ADD_FAILURE() << op << ": " << why; });
    EXPECT_EQ(rows.size(), 16u);
    const double size = static_cast<double>(size_of(dtype));
    EXPECT_EQ(rows.at("copy").work.bytes, 2 * 24 * 32 * size);
    EXPECT_NEAR(rows.at("copy").of_floor, 1, 1e-9);
    EXPECT_EQ(rows.at("matmul").work.flops, 2 * 16 * 16 * 16);
    EXPECT_EQ(rows.at("swiglu backward").work.bytes, 5 * 24 * 32 * size);
    EXPECT_EQ(rows.at("adamw").work.bytes, (7 * 4 + size) * 50 * 32);
    EXPECT_EQ(rows.at("head_loss").work.flops, 6 * 24 * 32 * 50);
  }
}

TEST(BenchKernels, RefusesWidthsThatHeadsDoNotDivide) {
  KernelBenchOptions options;
  options.heads = 7;
  expect_error(ErrorKind::kUsage, {"hidden 1024", "14"}, [&] {
    bench_kernels(
        options, [](const KernelBenchRow&) {}, [](const auto&, const auto&) {});
  });
}

}  // namespace
}  // namespace longspan
