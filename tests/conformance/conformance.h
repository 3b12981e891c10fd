// The one test that every implementation of every operator passes: it walks the operator's list, and runs what takes
// operands on the program's target; the reference runs on the CPU.
#pragma once

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <string>

#include "kernels/ops/kernel_list.h"
#include "tests/conformance/operand_set.h"
#include "tests/conformance/operands_of.h"
#include "tests/conformance/target.h"

namespace longspan::testing {

template <class Args>
struct Case {
  std::string name;
  std::function<Args(OperandSet&)> build;
};

enum class ThreadPromise { kSameBits, kSameBitsForSameThreads };

template <class Args>
struct Conformance {
  double fp32_bound = 0;  // relative error against the double-precision reference
  ThreadPromise threads = ThreadPromise::kSameBits;
  // A plain evaluation in low precision; absent: the reference with results rounded to the dtype.
  std::function<void(const Args&)> plain{};
  std::vector<DType> dtypes = {DType::kF32, DType::kBF16};
};

using Results = std::vector<std::vector<double>>;

// Runs one kernel on fresh operands, on the CPU.
template <class Args>
Results run_on_cpu(const Kernel<Args>& kernel, const Case<Args>& test, DType precision, DType storage) {
  OperandSet operands(precision, storage);
  const Args args = test.build(operands);
  TestExec exec(1);
  kernel.run(exec, args);
  EXPECT_TRUE(operands.guards_intact()) << "wrote outside its results";
  EXPECT_EQ(exec.arena().used_bytes(), 0) << "left scratch allocated";
  return operands.results();
}

// The same on the target.
template <class Args>
Results run_kernel(const Kernel<Args>& kernel, const Case<Args>& test, DType dtype, int threads) {
  OperandSet operands(dtype, dtype);
  Args args = test.build(operands);
  TargetExec exec(threads);
  TargetMemory memory(exec);
  for (TestTensor& tensor : operands.tensors()) memory.add(tensor.bytes().data(), tensor.num_bytes());
  for (Tensor* operand : operands_of(args)) *operand = memory(*operand);
  kernel.run(exec, args);
  memory.bring_back();
  EXPECT_TRUE(operands.guards_intact()) << "wrote outside its results";
  EXPECT_EQ(exec.arena().used_bytes(), 0) << "left scratch allocated";
  return operands.results();
}

inline std::vector<double> errors(const Results& actual, const Results& expected) {
  std::vector<double> all;
  for (std::size_t i = 0; i < expected.size(); ++i) all.push_back(relative_error(actual[i], expected[i]));
  return all;
}

// NaN is equal to itself here: results must be the same bits.
inline bool same_bits(const Results& a, const Results& b) {
  const auto same = [](double x, double y) {
    return std::bit_cast<std::uint64_t>(x) == std::bit_cast<std::uint64_t>(y);
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const auto& x, const auto& y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(), same);
  });
}

// fp32: within the bound. bf16: no more than twice the error of the plain evaluation, or within the fp32 bound.
inline void expect_close(const Results& actual, const Results& expected, double fp32_bound,
                         const std::vector<double>& plain) {
  const std::vector<double> error = errors(actual, expected);
  for (std::size_t i = 0; i < error.size(); ++i)
    EXPECT_LE(error[i], std::max(fp32_bound, 2 * plain[i]))
        << "result " << i << " of " << error.size() << "; plain evaluation " << plain[i];
}

template <class Args>
void check_kernel(const Kernel<Args>& kernel, const Case<Args>& test, const Conformance<Args>& rule, DType dtype,
                  const Results& expected, const std::vector<double>& plain) {
  SCOPED_TRACE(fmt::format("{}, {}, {}", kernel.name(), test.name, name_of(dtype)));
  const Results actual = run_kernel(kernel, test, dtype, 2);
  expect_close(actual, expected, rule.fp32_bound, plain);
  EXPECT_TRUE(same_bits(actual, run_kernel(kernel, test, dtype, 2))) << "differs when repeated";
  if (rule.threads == ThreadPromise::kSameBits) {
    EXPECT_TRUE(same_bits(actual, run_kernel(kernel, test, dtype, 1))) << "differs between 1 and 2 threads";
  }
  for (int schedule = 1; schedule < num_schedules(); ++schedule) {
    select_schedule(schedule);
    EXPECT_TRUE(same_bits(actual, run_kernel(kernel, test, dtype, 2))) << "differs: " << name_of_schedule(schedule);
  }
  select_schedule(0);
  if (kernel.name() != "highway") return;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {  // older CPUs than this one, too
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    expect_close(run_kernel(kernel, test, dtype, 1), expected, rule.fp32_bound, plain);
  }
  hwy::SetSupportedTargetsForTest(0);
}

template <class Args>
std::vector<double> plain_errors(const Case<Args>& test, const Conformance<Args>& rule, DType dtype,
                                 const Results& expected) {
  if (dtype == DType::kF32) return std::vector<double>(expected.size(), 0.0);
  if (!rule.plain) return errors(run_on_cpu(*kernels_of<Args>().back(), test, dtype, dtype), expected);
  OperandSet operands(dtype, dtype);
  rule.plain(test.build(operands));
  std::vector<double> all(expected.size(), 0.0);
  const Results results = operands.results();
  for (std::size_t i = 0; i < results.size(); ++i) all[i] = relative_error(results[i], expected[i]);
  return all;
}

template <class Args>
void check_operator(const std::vector<Case<Args>>& cases, const Conformance<Args>& rule) {
  const KernelList<Args> list = kernels_of<Args>();
  ASSERT_GE(list.size(), 2u);
  EXPECT_EQ(list.back()->name(), "reference");
  for (const Kernel<Args>* kernel : list) {
    const auto takes = [&](Device device) {
      return std::any_of(rule.dtypes.begin(), rule.dtypes.end(), [&](DType dtype) {
        return !kernel->why_unsupported({device, dtype, dtype});
      });
    };
    EXPECT_NE(takes(Device::kCpu), takes(Device::kCuda)) << kernel->name() << " serves one device";
  }
  int runs = 0;
  for (const Case<Args>& test : cases)
    for (const DType dtype : rule.dtypes) {
      const Results expected = run_on_cpu(*list.back(), test, dtype, DType::kF32);
      const std::vector<double> plain = plain_errors(test, rule, dtype, expected);
      for (const Kernel<Args>* kernel : list) {
        const Refusal refusal = kernel->why_unsupported({target_device(), dtype, dtype});
        if (refusal) {
          EXPECT_FALSE(refusal->empty()) << kernel->name();
        } else {
          check_kernel(*kernel, test, rule, dtype, expected, plain);
          ++runs;
        }
      }
    }
  EXPECT_GT(runs, 0) << "there is no kernel on " << name_of(target_device());
}

}  // namespace longspan::testing
