#include "tests/conformance/attention_case.h"

#include <cmath>
#include <random>

#include "kernels/reference/attention_reference.h"
#include "kernels/reference/elements.h"
#include "tests/conformance/target.h"

namespace longspan::testing {
namespace {

double rounded(double value, DType dtype) {
  const auto single = static_cast<float>(value);
  return dtype == DType::kBF16 ? static_cast<float>(bf16(single)) : single;
}

std::vector<double> random_values(std::mt19937_64& random, std::int64_t count, double spread, DType dtype) {
  std::normal_distribution<double> normal(0, spread);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) value = rounded(normal(random), dtype);
  return values;
}

// Memory of a [T, H, D] tensor whose rows stand `gap` elements apart; the gaps hold NaN, which must not be read.
class Storage {
 public:
  Storage(DType dtype, std::int64_t rows, std::int64_t heads, std::int64_t width, std::int64_t gap = 0)
      : bytes_(static_cast<std::size_t>(rows * (heads * width + gap) * size_of(dtype) + 64), std::byte{0xff}) {
    tensor_ = Tensor(bytes_.data(), dtype, {rows, heads, width});
    tensor_.stride[0] = heads * width + gap;
  }
  Storage(DType dtype, std::int64_t rows, std::int64_t heads, std::int64_t width, std::int64_t gap,
          const std::vector<double>& values)
      : Storage(dtype, rows, heads, width, gap) {
    reference::store_all(tensor_, values);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  const Tensor& tensor() const { return tensor_; }
  void add_to(TargetMemory& memory) { memory.add(bytes_.data(), static_cast<std::int64_t>(bytes_.size())); }
  std::vector<double> values() const { return reference::load_all(tensor_); }

 private:
  std::vector<std::byte> bytes_;
  Tensor tensor_;
};

Tensor row_tensor(std::vector<float>& values, std::int64_t rows, std::int64_t heads) {
  return Tensor(values.data(), DType::kF32, {rows, heads});
}

std::vector<double> doubles(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

}  // namespace

AttentionDesc AttentionCase::desc() const {
  AttentionDesc desc;
  desc.device = target_device();
  desc.dtype = dtype;
  desc.heads = heads;
  desc.kv_heads = kv_heads;
  desc.head_dim = head_dim;
  desc.value_dim = value_dim;
  desc.scale = scale != 0 ? scale : 1.0f / std::sqrt(static_cast<float>(head_dim));
  desc.origin = origin;
  return desc;
}

AttentionOperands::AttentionOperands(const AttentionCase& test) {
  std::mt19937_64 random(20260401);
  q = random_values(random, test.queries * test.heads * test.head_dim, test.spread, test.dtype);
  k = random_values(random, test.keys * test.kv_heads * test.head_dim, 1, test.dtype);
  v = random_values(random, test.keys * test.kv_heads * test.value_dim, 1, test.dtype);
  dout = random_values(random, test.queries * test.heads * test.value_dim, 1, test.dtype);
  if (test.sink) sink = random_values(random, test.heads, 1, DType::kF32);
}

AttentionOutcome run_attention(const AttentionOp& op, const AttentionCase& test, const AttentionOperands& operands,
                               std::int64_t calls) {
  const AttentionDesc desc = test.desc();
  const std::int64_t rows = test.queries, heads = test.heads;
  const Exec cpu{.num_threads = test.threads};
  TargetExec target(test.threads);
  Exec exec = target;
  // Scratch is taken from the heap on the CPU, where there is no workspace; a device has no heap.
  if (target_device() == Device::kCpu) exec.workspace = nullptr;
  Storage q(test.dtype, rows, heads, test.head_dim, test.row_gap, operands.q);
  Storage k(test.dtype, test.keys, test.kv_heads, test.head_dim, test.row_gap, operands.k);
  Storage v(test.dtype, test.keys, test.kv_heads, test.value_dim, test.row_gap, operands.v);
  Storage dout(test.dtype, rows, heads, test.value_dim, test.row_gap, operands.dout);
  Storage out(DType::kF32, rows, heads, test.value_dim);
  const Storage result(test.dtype, rows, heads, test.value_dim);
  std::vector<float> lse(rows * heads), total_lse(rows * heads), delta(rows * heads), dsink(heads);
  std::vector<float> sink_values(operands.sink.begin(), operands.sink.end());
  const Tensor lse_view = row_tensor(lse, rows, heads), delta_view = row_tensor(delta, rows, heads);
  const Tensor total_view = row_tensor(total_lse, rows, heads);
  const Tensor sink = test.sink ? Tensor(sink_values.data(), DType::kF32, {heads}) : Tensor();
  const Tensor dsink_view = test.sink ? Tensor(dsink.data(), DType::kF32, {heads}) : Tensor();
  const auto zeros = [](std::int64_t count) { return std::vector<double>(static_cast<std::size_t>(count), 0.0); };
  Storage dq(DType::kF32, rows, heads, test.head_dim, 0, zeros(rows * heads * test.head_dim));
  Storage dk(DType::kF32, test.keys, test.kv_heads, test.head_dim, 0, zeros(operands.k.size()));
  Storage dv(DType::kF32, test.keys, test.kv_heads, test.value_dim, 0, zeros(operands.v.size()));

  const std::span<const AttentionTask> tasks(test.tasks);
  const auto tasks_of_call = [&](std::int64_t call) {
    const std::size_t begin = tasks.size() * call / calls, end = tasks.size() * (call + 1) / calls;
    return tasks.subspan(begin, end - begin);
  };
  // The operator alone runs on the target: its companions have tests of their own.
  clear_carry(cpu, out.tensor(), lse_view);
  {
    TargetMemory memory(exec);
    for (Storage* each : {&q, &k, &v, &out}) each->add_to(memory);
    memory.add(lse.data(), lse_view.num_bytes());
    for (std::int64_t call = 0; call < calls; ++call)
      op.forward(exec, {desc, memory(q.tensor()), memory(k.tensor()), memory(v.tensor()), memory(out.tensor()),
                        memory(lse_view), tasks_of_call(call)});
    memory.bring_back();
  }
  finish_forward(cpu, out.tensor(), lse_view, sink, result.tensor(), total_view);
  begin_backward(cpu, result.tensor(), dout.tensor(), total_view, sink, delta_view, dsink_view);
  {
    TargetMemory memory(exec);
    for (Storage* each : {&q, &k, &v, &dout, &dq, &dk, &dv}) each->add_to(memory);
    for (std::vector<float>* each : {&total_lse, &delta})
      memory.add(each->data(), static_cast<std::int64_t>(each->size() * sizeof(float)));
    for (std::int64_t call = 0; call < calls; ++call)
      op.backward(exec, {desc, memory(q.tensor()), memory(k.tensor()), memory(v.tensor()), memory(dout.tensor()),
                         memory(total_view), memory(delta_view), memory(dq.tensor()), memory(dk.tensor()),
                         memory(dv.tensor()), tasks_of_call(call)});
    memory.bring_back();
  }
  return {result.values(), doubles(lse), dq.values(), dk.values(), dv.values(), doubles(dsink)};
}

AttentionOutcome exact_attention(const AttentionCase& test, const AttentionOperands& operands) {
  const reference::AttentionRows<double> rows{test.desc(), test.queries, test.keys, operands.q,
                                              operands.k,  operands.v,   test.tasks};
  AttentionOutcome x;
  x.out.assign(operands.dout.size(), 0);
  x.lse.assign(static_cast<std::size_t>(test.queries * test.heads), -std::numeric_limits<double>::infinity());
  reference::attention_forward<double>(rows, x.out, x.lse);
  std::vector<double> total = x.lse, delta(total.size(), 0);
  reference::attention_finish<double>(rows.desc, operands.sink, x.out, total);
  x.dq.assign(operands.q.size(), 0);
  x.dk.assign(operands.k.size(), 0);
  x.dv.assign(operands.v.size(), 0);
  x.dsink.assign(static_cast<std::size_t>(test.heads), 0);
  for (std::size_t row = 0; row < total.size(); ++row) {
    for (std::int64_t e = 0; e < test.value_dim; ++e)
      delta[row] += x.out[row * test.value_dim + e] * operands.dout[row * test.value_dim + e];
    const std::size_t head = row % static_cast<std::size_t>(test.heads);
    if (test.sink) x.dsink[head] -= std::exp(operands.sink[head] - total[row]) * delta[row];
  }
  reference::attention_backward(rows, operands.dout, total, delta, {x.dq, x.dk, x.dv});
  return x;
}

AttentionOutcome plain_bf16_attention(const AttentionCase& test, const AttentionOperands& operands) {
  const auto bf = [](double value) { return rounded(value, DType::kBF16); };
  const reference::AttentionRows<double> rows{test.desc(), test.queries, test.keys, operands.q,
                                              operands.k,  operands.v,   test.tasks};
  const std::int64_t head_dim = test.head_dim, value_dim = test.value_dim;
  AttentionOutcome x;
  x.out.assign(operands.dout.size(), 0);
  x.dq.assign(operands.q.size(), 0);
  x.dk.assign(operands.k.size(), 0);
  x.dv.assign(operands.v.size(), 0);
  for (std::int64_t i = 0; i < test.queries; ++i)
    for (std::int64_t h = 0; h < test.heads; ++h) {
      const std::vector<std::int64_t> keys = rows.keys_of(i, h);
      const std::int64_t row = i * test.heads + h;
      std::vector<double> p;
      double top = -std::numeric_limits<double>::infinity(), sum = 0, delta = 0;
      for (const std::int64_t j : keys) top = std::max(top, p.emplace_back(bf(rows.score(i, j, h))));
      for (double& value : p) sum += value = std::exp(value - top);
      for (double& value : p) value = bf(value / sum);
      double* out = &x.out[row * value_dim];
      const double* dout = &operands.dout[row * value_dim];
      for (std::size_t n = 0; n < keys.size(); ++n)
        for (std::int64_t e = 0; e < value_dim; ++e) out[e] += p[n] * rows.value(keys[n], h)[e];
      for (std::int64_t e = 0; e < value_dim; ++e) delta += dout[e] * (out[e] = bf(out[e]));
      for (std::size_t n = 0; n < keys.size(); ++n) {
        const std::int64_t key_row = keys[n] * test.kv_heads + rows.kv_head(h);
        double dp = 0;
        for (std::int64_t e = 0; e < value_dim; ++e) {
          dp += dout[e] * rows.value(keys[n], h)[e];
          x.dv[key_row * value_dim + e] += p[n] * dout[e];
        }
        const double ds = bf(p[n] * (bf(dp) - delta)) * static_cast<double>(rows.desc.scale);
        for (std::int64_t e = 0; e < head_dim; ++e) {
          x.dq[row * head_dim + e] += ds * rows.key(keys[n], h)[e];
          x.dk[key_row * head_dim + e] += ds * rows.query(i, h)[e];
        }
      }
    }
  for (std::vector<double>* gradient : {&x.dq, &x.dk, &x.dv})
    for (double& value : *gradient) value = bf(value);
  return x;
}

double relative_error(const std::vector<double>& x, const std::vector<double>& expected) {
  double difference = 0, norm = 0;
  for (std::size_t n = 0; n < expected.size(); ++n) {
    if (!std::isfinite(expected[n]) || !std::isfinite(x[n])) {
      const bool same = x[n] == expected[n] || (std::isnan(x[n]) && std::isnan(expected[n]));
      if (!same) return std::numeric_limits<double>::infinity();
      continue;
    }
    difference += (x[n] - expected[n]) * (x[n] - expected[n]);
    norm += expected[n] * expected[n];
  }
  return norm == 0 ? std::sqrt(difference) : std::sqrt(difference / norm);
}

}  // namespace longspan::testing
