// Conformance of every attention implementation in the list with the double-precision reference.
#include <gtest/gtest.h>
#include <hwy/highway.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/conformance/attention_case.h"
#include "tests/conformance/target.h"

namespace longspan::testing {
namespace {

constexpr double kForwardBound = 1e-5, kGradientBound = 3e-5;

AttentionTask rectangle(std::int64_t queries, std::int64_t keys, std::int64_t heads, Band band = {}) {
  return {0, queries, 0, keys, 0, heads, band};
}

Band causal() {
  return {Band::kUnboundedLow, 0};
}

AttentionCase square(const std::string& name, std::int64_t size, Band band, std::int64_t heads = 2,
                     std::int64_t kv_heads = 1) {
  AttentionCase test{.name = name, .queries = size, .keys = size, .heads = heads, .kv_heads = kv_heads};
  test.tasks = {rectangle(size, size, heads, band)};
  return test;
}

// Sizes around vectors, panels, tiles and blocks, and primes.
void add_sizes(std::vector<AttentionCase>& cases) {
  for (const std::int64_t size : {1, 2, 15, 16, 17, 31, 47, 48, 49, 95, 96, 97, 127, 128, 129, 257})
    cases.push_back(square(fmt::format("causal_{}", size), size, causal(), 2, 2));
  for (const auto& [queries, keys] : std::vector<std::pair<int, int>>{{1, 300}, {300, 1}, {5, 211}, {131, 67}}) {
    AttentionCase test{.name = fmt::format("full_{}_by_{}", queries, keys), .queries = queries, .keys = keys};
    test.tasks = {rectangle(queries, keys, 1)};
    cases.push_back(test);
  }
}

void add_bands(std::vector<AttentionCase>& cases) {
  const auto add = [&](std::string name, Band band) { cases.push_back(square("band_" + name, 150, band)); };
  add("strict_causal", {Band::kUnboundedLow, -1});
  add("diagonal", {0, 0});
  add("window_5", {-4, 0});
  add("window_100", {-99, 0});
  add("anticausal", {0, Band::kUnboundedHigh});
  add("far_past", {Band::kUnboundedLow, -100});
  add("far_future", {100, Band::kUnboundedHigh});
  add("around", {-20, 33});
  add("invisible_past", {Band::kUnboundedLow, -150});
  add("invisible_future", {150, 200});
  add("inverted", {3, -3});
  add("unbounded", {});
}

void add_heads_and_widths(std::vector<AttentionCase>& cases) {
  const auto add = [&](std::int64_t heads, std::int64_t kv_heads, std::int64_t size) {
    cases.push_back(square(fmt::format("heads_{}_over_{}", heads, kv_heads), size, causal(), heads, kv_heads));
  };
  add(4, 4, 60);
  add(4, 1, 90);
  add(8, 1, 70);
  add(8, 2, 70);
  add(6, 2, 75);  // three heads a group: a block ends inside a panel
  add(15, 3, 40);
  add(70, 1, 9);  // more heads than a block takes
  add(130, 1, 5);
  for (const auto& [head_dim, value_dim] : std::vector<std::pair<int, int>>{{1, 1},
                                                                            {3, 5},
                                                                            {7, 64},
                                                                            {17, 8},
                                                                            {40, 24},
                                                                            {64, 64},
                                                                            {65, 31},
                                                                            {128, 128},
                                                                            {160, 96},
                                                                            {255, 1},
                                                                            {256, 256}}) {
    AttentionCase test = square(fmt::format("widths_{}_{}", head_dim, value_dim), 70, causal(), 2, 1);
    test.head_dim = head_dim;
    test.value_dim = value_dim;
    cases.push_back(test);
  }
}

void add_task_lists(std::vector<AttentionCase>& cases) {
  AttentionCase packed{.name = "documents", .queries = 300, .keys = 300, .heads = 4, .kv_heads = 2};
  std::int64_t at = 0;
  for (const std::int64_t length : {97, 0, 1, 130, 40, 29}) {  // the last rows belong to none
    packed.tasks.push_back({at, at + length, at, at + length, 0, 4, causal()});
    at += length;
  }
  cases.push_back(packed);

  AttentionCase overlap{.name = "several_tasks_a_row", .queries = 140, .keys = 400, .heads = 3, .kv_heads = 3};
  overlap.tasks = {{0, 140, 0, 140, 0, 3, causal()},  {10, 120, 140, 141, 0, 3, {}},
                   {50, 51, 200, 390, 1, 2, {}},      {0, 140, 141, 200, 0, 2, {-10, 10}},
                   {0, 140, 300, 400, 2, 3, {5, 60}}, {20, 20, 0, 400, 0, 3, {}},
                   {0, 140, 7, 7, 0, 3, {}},          {139, 140, 399, 400, 0, 3, {}}};
  cases.push_back(overlap);

  AttentionCase routed{.name = "routed_rows", .queries = 200, .keys = 256, .heads = 8, .kv_heads = 2};
  std::mt19937_64 random(7);
  for (std::int64_t i = 0; i < routed.queries; ++i)
    for (std::int64_t group = 0; group < 2; ++group) {
      const std::int64_t key = static_cast<std::int64_t>(random() % 8) * 32;
      routed.tasks.push_back({i, i + 1, key, key + 32, group * 4, group * 4 + 4, {}});
    }
  cases.push_back(routed);

  AttentionCase per_head{.name = "heads_apart", .queries = 90, .keys = 90, .heads = 8, .kv_heads = 2};
  for (std::int64_t h = 0; h < 8; h += 3)
    per_head.tasks.push_back({0, 90, 0, 90, h, std::min<std::int64_t>(h + 3, 8), {-h * 10 - 1, h}});
  cases.push_back(per_head);

  AttentionCase none{.name = "no_keys", .queries = 20, .keys = 0, .heads = 2, .kv_heads = 1};
  none.tasks = {rectangle(20, 0, 2)};
  cases.push_back(none);
}

void add_values(std::vector<AttentionCase>& cases) {
  AttentionCase large = square("large_logits", 120, causal());
  large.spread = 20;
  cases.push_back(large);
  AttentionCase negative = square("negative_scale", 120, causal());
  negative.scale = -0.4f;
  cases.push_back(negative);
  AttentionCase sink = square("sink", 140, {-30, -1}, 4, 2);
  sink.sink = true;
  cases.push_back(sink);
  AttentionCase strided = square("strided", 130, causal(), 4, 2);
  strided.row_gap = 13;
  cases.push_back(strided);
  for (const int threads : {1, 3, 5}) {
    AttentionCase threaded = square(fmt::format("threads_{}", threads), 150, causal(), 6, 3);
    threaded.threads = threads;
    cases.push_back(threaded);
  }
}

// Sizes around the tiles of tensor cores, which are larger.
void add_tile_sizes(std::vector<AttentionCase>& cases) {
  for (const std::int64_t size : {63, 64, 65, 193, 255, 256}) {
    cases.push_back(square(fmt::format("causal_{}", size), size, causal(), 2, 1));
    cases.push_back(square(fmt::format("window_{}", size), size, {-70, 3}));
  }
  for (const auto& [queries, keys] : std::vector<std::pair<int, int>>{{64, 384}, {256, 256}, {130, 257}}) {
    AttentionCase test{.name = fmt::format("full_{}_by_{}", queries, keys), .queries = queries, .keys = keys};
    test.tasks = {rectangle(queries, keys, 1)};
    cases.push_back(test);
  }
  AttentionCase below = square("measured_below_one", 140, causal(), 2, 1);
  below.origin = SoftmaxOrigin::kBelowOne;
  cases.push_back(below);
  AttentionCase strided = square("strided_by_16_bytes", 130, causal(), 4, 2);
  strided.row_gap = 24;
  cases.push_back(strided);
}

struct Group {
  std::string name;
  std::vector<AttentionCase> cases;
};

// bf16 with heads that tensor cores like: tile sizes, and of the other groups one case in three, without the
// hundreds of tasks of one row that take an emulated GPU minutes.
Group for_tensor_cores(const std::vector<Group>& groups, std::int64_t head_dim) {
  Group group{fmt::format("heads_of_{}", head_dim), {}};
  add_tile_sizes(group.cases);
  std::size_t n = static_cast<std::size_t>(head_dim / 64);
  for (const Group& other : groups)
    for (const AttentionCase& test : other.cases)
      if (n++ % 3 == 0 && test.name != "routed_rows") group.cases.push_back(test);
  for (AttentionCase& test : group.cases) {
    test.head_dim = test.value_dim = head_dim;
    test.dtype = DType::kBF16;
  }
  return group;
}

// Cases by what they try; then in bf16 every third of them, and some with heads of 64 and 128.
std::vector<Group> all_groups() {
  std::vector<Group> groups = {{"sizes", {}}, {"bands", {}}, {"widths", {}}, {"tasks", {}}, {"values", {}}};
  add_sizes(groups[0].cases);
  add_bands(groups[1].cases);
  add_heads_and_widths(groups[2].cases);
  add_task_lists(groups[3].cases);
  add_values(groups[4].cases);
  Group narrow{"bf16", {}};
  std::size_t n = 0;
  for (const Group& group : groups)
    for (const AttentionCase& test : group.cases)
      if (n++ % 3 == 0) narrow.cases.emplace_back(test).dtype = DType::kBF16;
  const std::vector<Group> first = groups;
  groups.push_back(narrow);
  groups.push_back(for_tensor_cores(first, 64));
  groups.push_back(for_tensor_cores(first, 128));
  return groups;
}

struct Subject {
  const AttentionOp* op;
  Group group;
};

// Those that run on the target.
std::vector<const AttentionOp*> all_ops() {
  std::vector<const AttentionOp*> ops;
  for (const AttentionOp* op : attention_ops())
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      AttentionCase test = square("plain", 64, causal());
      test.head_dim = test.value_dim = 64;
      test.dtype = dtype;
      if (op->why_unsupported(test.desc())) continue;
      ops.push_back(op);
      break;
    }
  return ops;
}

std::vector<Subject> all_subjects() {
  std::vector<Subject> subjects;
  for (const AttentionOp* op : all_ops())
    for (const Group& group : all_groups()) subjects.push_back({op, group});
  return subjects;
}

void PrintTo(const Subject& subject, std::ostream* out) {
  *out << subject.op->name() << " on " << subject.group.name;
}

std::string identifier(std::string name) {
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

class AttentionConformance : public ::testing::TestWithParam<Subject> {
 protected:
  // body(case, operands) for every case that the implementation takes.
  template <class Body>
  void for_each_case(Body body) const {
    for (const AttentionCase& test : GetParam().group.cases) {
      SCOPED_TRACE(test.name);
      if (!GetParam().op->why_unsupported(test.desc())) body(test, AttentionOperands(test));
    }
  }
  const AttentionOp& op() const { return *GetParam().op; }
};

void expect_agreement(const AttentionCase& test, const AttentionOutcome& got, const AttentionOutcome& exact,
                      const AttentionOutcome& plain) {
  const auto bound = [&](std::vector<double> AttentionOutcome::*field, double fp32_bound) {
    if (test.dtype == DType::kF32) return fp32_bound;
    return std::clamp(2 * relative_error(plain.*field, exact.*field), fp32_bound, 2e-2);
  };
  EXPECT_LE(relative_error(got.out, exact.out), bound(&AttentionOutcome::out, kForwardBound));
  EXPECT_LE(relative_error(got.lse, exact.lse), kForwardBound);
  EXPECT_LE(relative_error(got.dq, exact.dq), bound(&AttentionOutcome::dq, kGradientBound));
  EXPECT_LE(relative_error(got.dk, exact.dk), bound(&AttentionOutcome::dk, kGradientBound));
  EXPECT_LE(relative_error(got.dv, exact.dv), bound(&AttentionOutcome::dv, kGradientBound));
  EXPECT_LE(relative_error(got.dsink, exact.dsink), test.dtype == DType::kF32 ? kGradientBound : 2e-2);
}

bool row_is_zero(const std::vector<double>& x, std::size_t row, std::int64_t width) {
  return std::all_of(x.begin() + row * width, x.begin() + (row + 1) * width, [](double value) { return value == 0; });
}

// Queries that see no key and keys that no query sees: exactly 0, not merely small.
void expect_untouched_rows(const AttentionCase& test, const AttentionOutcome& got, const AttentionOutcome& exact) {
  for (std::size_t row = 0; row < exact.lse.size(); ++row) {
    ASSERT_EQ(std::isinf(got.lse[row]), std::isinf(exact.lse[row])) << "row " << row;
    if (!std::isinf(exact.lse[row])) continue;
    EXPECT_TRUE(row_is_zero(got.out, row, test.value_dim)) << "row " << row;
    EXPECT_TRUE(row_is_zero(got.dq, row, test.head_dim)) << "row " << row;
  }
  for (std::size_t key = 0; key < exact.dv.size() / test.value_dim; ++key) {
    if (!row_is_zero(exact.dv, key, test.value_dim)) continue;
    EXPECT_TRUE(row_is_zero(got.dk, key, test.head_dim)) << "key " << key;
    EXPECT_TRUE(row_is_zero(got.dv, key, test.value_dim)) << "key " << key;
  }
}

TEST_P(AttentionConformance, AgreesWithTheReference) {
  for_each_case([&](const AttentionCase& test, const AttentionOperands& operands) {
    const AttentionOutcome exact = exact_attention(test, operands), got = run_attention(op(), test, operands);
    const bool narrow = test.dtype == DType::kBF16;
    expect_agreement(test, got, exact, narrow ? plain_bf16_attention(test, operands) : AttentionOutcome());
    expect_untouched_rows(test, got, exact);
  });
}

TEST_P(AttentionConformance, RepeatsBitForBit) {
  for_each_case([&](const AttentionCase& test, const AttentionOperands& operands) {
    const AttentionOutcome first = run_attention(op(), test, operands);
    for (int schedule = 0; schedule < num_schedules(); ++schedule) {
      SCOPED_TRACE(name_of_schedule(schedule));
      select_schedule(schedule);
      const AttentionOutcome again = run_attention(op(), test, operands);
      select_schedule(0);
      EXPECT_EQ(first.out, again.out);
      EXPECT_EQ(first.lse, again.lse);
      EXPECT_EQ(first.dq, again.dq);
      EXPECT_EQ(first.dk, again.dk);
      EXPECT_EQ(first.dv, again.dv);
      EXPECT_EQ(first.dsink, again.dsink);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Ops, AttentionConformance, ::testing::ValuesIn(all_subjects()), [](const auto& info) {
  return identifier(fmt::format("{}_{}", info.param.op->name(), info.param.group.name));
});

class AttentionOps : public ::testing::TestWithParam<const AttentionOp*> {
 protected:
  static bool takes(const AttentionCase& test) { return !GetParam()->why_unsupported(test.desc()); }
  // The case with operands that the implementation takes: as they are, or in bf16 with heads of 64, which those on
  // tensor cores do.
  static AttentionCase suited(AttentionCase test) {
    if (takes(test)) return test;
    test.dtype = DType::kBF16;
    test.head_dim = test.value_dim = 64;
    EXPECT_TRUE(takes(test)) << GetParam()->name() << " takes neither";
    return test;
  }
};

TEST_P(AttentionOps, CarriesFromCallToCall) {
  std::vector<AttentionCase> cases;
  add_task_lists(cases);
  for (const AttentionCase& any : cases) {
    const AttentionCase test = suited(any);
    const AttentionOperands operands(test);
    const AttentionOutcome often = run_attention(*GetParam(), test, operands, 3);
    if (test.dtype == DType::kBF16) {  // probabilities are rounded, of each call by its own maximum
      expect_agreement(test, often, exact_attention(test, operands), plain_bf16_attention(test, operands));
      continue;
    }
    const AttentionOutcome once = run_attention(*GetParam(), test, operands);
    EXPECT_LE(relative_error(often.out, once.out), 1e-6) << test.name;
    EXPECT_LE(relative_error(often.lse, once.lse), 1e-6) << test.name;
    EXPECT_LE(relative_error(often.dq, once.dq), 2e-6) << test.name;
    EXPECT_LE(relative_error(often.dk, once.dk), 2e-6) << test.name;
    EXPECT_LE(relative_error(often.dv, once.dv), 2e-6) << test.name;
  }
}

// Dispatch by instruction set, made to choose what older processors than this one would.
TEST_P(AttentionOps, AgreesOnEveryInstructionSet) {
  std::vector<AttentionCase> cases = {square("odd", 101, causal(), 6, 2), square("window", 70, {-20, 0})};
  cases[0].head_dim = 37;
  cases[1].value_dim = 50;
  add_task_lists(cases);
  if (target_device() != Device::kCpu) GTEST_SKIP() << "a GPU has one";
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    for (const AttentionCase& test : cases) {
      SCOPED_TRACE(test.name);
      const AttentionOperands operands(test);
      expect_agreement(test, run_attention(*GetParam(), test, operands), exact_attention(test, operands), {});
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

// Scores of +-1e4 and more, where all but one probability underflow; equal keys share evenly.
TEST_P(AttentionOps, TakesHugeLogits) {
  AttentionCase test = square("huge", 40, {}, 1, 1);
  test.scale = 1;
  test = suited(test);
  const bool narrow = test.dtype == DType::kBF16;
  AttentionOperands operands(test);
  for (std::size_t n = 0; n < operands.q.size(); ++n) operands.q[n] = n % 2 == 0 ? 64 : -64;
  for (std::int64_t j = 0; j < test.keys; ++j)
    for (std::int64_t e = 0; e < test.head_dim; ++e)
      operands.k[j * test.head_dim + e] = (j % 20 + 1) * (e % 2 == 0 ? 0.5 : -0.5);
  const AttentionOutcome got = run_attention(*GetParam(), test, operands);
  for (std::int64_t i = 0; i < test.queries; ++i) {
    const double lse = 64.0 * 10 * static_cast<double>(test.head_dim) + std::log(2.0);
    EXPECT_NEAR(got.lse[i], lse, 4e-7 * lse);
    for (std::int64_t e = 0; e < test.value_dim; ++e) {
      const double mean = (operands.v[19 * test.value_dim + e] + operands.v[39 * test.value_dim + e]) / 2;
      EXPECT_NEAR(got.out[i * test.value_dim + e], mean, 1e-6 + (narrow ? 0x1p-8 * std::abs(mean) : 0));
    }
  }
}

// What no task names may be memory that nobody has written yet: a transfer's, say. It has no influence, be it NaN.
TEST_P(AttentionOps, TakesNothingFromRowsOutsideItsTasks) {
  AttentionCase test{.name = "islands", .queries = 300, .keys = 290, .heads = 2, .kv_heads = 1};
  test.head_dim = test.value_dim = 64;
  test.dtype = DType::kBF16;
  ASSERT_TRUE(takes(test));
  test.tasks = {{3, 40, 5, 60, 0, 2, causal()}, {70, 201, 100, 230, 0, 2, {-50, 20}}, {200, 290, 100, 130, 0, 1, {}}};
  AttentionOperands operands(test);
  const AttentionOutcome exact = exact_attention(test, operands), plain = plain_bf16_attention(test, operands);
  const auto spoil = [&](std::vector<double>& rows, std::int64_t count, auto is_in_a_task) {
    const std::int64_t width = static_cast<std::int64_t>(rows.size()) / count;
    for (std::int64_t i = 0; i < count; ++i)
      if (!is_in_a_task(i)) std::fill_n(rows.begin() + i * width, width, std::nan(""));
  };
  const auto is_query = [](std::int64_t i) { return (i >= 3 && i < 40) || (i >= 70 && i < 290); };
  const auto is_key = [](std::int64_t j) { return (j >= 5 && j < 60) || (j >= 100 && j < 230); };
  spoil(operands.q, test.queries, is_query);
  spoil(operands.dout, test.queries, is_query);
  spoil(operands.k, test.keys, is_key);
  spoil(operands.v, test.keys, is_key);
  for (int schedule = 0; schedule < num_schedules(); ++schedule) {
    SCOPED_TRACE(name_of_schedule(schedule));
    select_schedule(schedule);
    AttentionOutcome got = run_attention(*GetParam(), test, operands);
    select_schedule(0);
    got.dsink = exact.dsink;
    expect_agreement(test, got, exact, plain);
    expect_untouched_rows(test, got, exact);
  }
}

TEST_P(AttentionOps, HandsOnNaN) {
  const AttentionCase test = suited(square("nan", 40, causal(), 1, 1));
  AttentionOperands operands(test);
  operands.q[11 * test.head_dim + 3] = std::nan("");
  const AttentionOutcome got = run_attention(*GetParam(), test, operands);
  for (std::int64_t i = 0; i < test.queries; ++i) {
    EXPECT_EQ(std::isnan(got.lse[i]), i == 11) << i;
    EXPECT_EQ(std::isnan(got.out[i * test.value_dim]), i == 11) << i;
    EXPECT_EQ(std::isnan(got.dq[i * test.head_dim]), i == 11) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, AttentionOps, ::testing::ValuesIn(all_ops()),
                         [](const auto& info) { return identifier(std::string(info.param->name())); });

TEST(AttentionList, EndsWithAReferenceThatTakesAnything) {
  AttentionDesc desc{.heads = 2, .kv_heads = 1, .head_dim = 300, .value_dim = 1000, .scale = 1};
  ASSERT_GE(attention_ops().size(), 2u);
  EXPECT_FALSE(attention_ops().back()->why_unsupported(desc));
  for (const AttentionOp* op : attention_ops().first(attention_ops().size() - 1)) {
    const Refusal reason = op->why_unsupported(desc);
    ASSERT_TRUE(reason);
    const bool on_gpus = reason->find("cuda") != std::string::npos;
    EXPECT_TRUE(on_gpus || reason->find("256") != std::string::npos) << *reason;
  }
}

}  // namespace
}  // namespace longspan::testing
