// Which lists of tasks a library of attention is given, and what is said of the others.
#include "kernels/cuda/attention/document_batch.h"

#include <gtest/gtest.h>

#include "kernels/ops/whole_attention.h"

namespace longspan::cuda {
namespace {

constexpr Band kCausal = {Band::kUnboundedLow, 0};

AttentionTask square(std::int64_t begin, std::int64_t end, Band band = kCausal) {
  return {begin, end, begin, end, 0, 4, band};
}
std::variant<DocumentBatch, std::string> read(const std::vector<AttentionTask>& tasks, std::int64_t rows) {
  return read_document_batch(tasks, rows, rows, 4);
}
void expect_batch(const std::vector<AttentionTask>& tasks, std::int64_t rows, const DocumentBatch& expected) {
  const auto batch = read(tasks, rows);
  ASSERT_TRUE(std::holds_alternative<DocumentBatch>(batch)) << std::get<std::string>(batch);
  EXPECT_EQ(std::get<DocumentBatch>(batch), expected);
}
void expect_refusal(const std::vector<AttentionTask>& tasks, std::int64_t rows, std::string_view part) {
  const auto batch = read(tasks, rows);
  ASSERT_TRUE(std::holds_alternative<std::string>(batch));
  EXPECT_NE(std::get<std::string>(batch).find(part), std::string::npos) << std::get<std::string>(batch);
}

TEST(DocumentBatch, IsOneDocumentOrSeveralOfOneLengthInAnyOrder) {
  expect_batch({square(0, 10)}, 10, {1, 10, DocumentBatch::Mask::kCausal});
  expect_batch({square(10, 15), square(0, 5), square(5, 10)}, 15, {3, 5, DocumentBatch::Mask::kCausal});
  expect_batch({square(0, 5), square(5, 5), square(5, 10)}, 10, {2, 5, DocumentBatch::Mask::kCausal});
}

TEST(DocumentBatch, KnowsACausalBandFromAFullOne) {
  expect_batch({square(0, 8, {})}, 8, {1, 8, DocumentBatch::Mask::kFull});
  expect_batch({square(0, 8, {-7, 7})}, 8, {1, 8, DocumentBatch::Mask::kFull});
  expect_batch({square(0, 8, {-7, 0})}, 8, {1, 8, DocumentBatch::Mask::kCausal});
  expect_refusal({square(0, 8, {-6, 0})}, 8, "neither causal nor full");                    // a window
  expect_refusal({square(0, 8, {Band::kUnboundedLow, -1})}, 8, "neither causal nor full");  // strict
  expect_refusal({square(0, 8), square(8, 16, {})}, 16, "some documents are causal");
}

TEST(DocumentBatch, RefusesWhatIsNoBatch) {
  expect_refusal({square(0, 4), square(4, 9)}, 9, "documents of 4 and 5");
  expect_refusal({square(0, 4)}, 8, "row 4 is in no task");
  expect_refusal({square(4, 8)}, 8, "row 0 is in no task");
  expect_refusal({square(0, 4), square(0, 4)}, 8, "in several");
  expect_refusal({{0, 8, 0, 4, 0, 4, kCausal}}, 8, "no square");
  expect_refusal({{0, 8, 0, 8, 0, 2, kCausal}}, 8, "heads 0..2 of 4");
  expect_refusal({}, 0, "no rows");
  EXPECT_TRUE(std::holds_alternative<std::string>(read_document_batch(std::vector{square(0, 4)}, 4, 8, 4)));
}

TEST(WholeAttention, SaysWhereNothingTakesIt) {
  if (!whole_attention_ops().empty()) GTEST_SKIP() << "this build has a library of attention";
  EXPECT_FALSE(whole_attention_forward({}, {}));
}

}  // namespace
}  // namespace longspan::cuda
