#include "kernels/reference/attention_reference.h"

#include "kernels/ops/attention_list.h"
#include "kernels/reference/elements.h"

namespace longspan::reference {
namespace {

class ReferenceAttention final : public AttentionOp {
 public:
  std::string_view name() const override { return "reference"; }

  Refusal why_unsupported(const AttentionDesc& desc) const override {
    if (desc.device != Device::kCpu) return fmt::format("runs on cpu, not on {}", name_of(desc.device));
    return std::nullopt;
  }

  void forward(const Exec&, const AttentionForward& args) const override {
    const std::vector<double> q = load_all(args.q), k = load_all(args.k), v = load_all(args.v);
    std::vector<double> out = load_all(args.out), lse = load_all(args.lse);
    attention_forward<double>({args.desc, args.q.shape[0], args.k.shape[0], q, k, v, args.tasks}, out, lse);
    store_all(args.out, out);
    store_all(args.lse, lse);
  }

  void backward(const Exec&, const AttentionBackward& args) const override {
    const std::vector<double> q = load_all(args.q), k = load_all(args.k), v = load_all(args.v);
    const std::vector<double> dout = load_all(args.dout), lse = load_all(args.lse), delta = load_all(args.delta);
    std::vector<double> dq(q.size()), dk(k.size()), dv(v.size());
    attention_backward({args.desc, args.q.shape[0], args.k.shape[0], q, k, v, args.tasks}, dout, lse, delta,
                       {dq, dk, dv});
    add_all(args.dq, dq);
    add_all(args.dk, dk);
    add_all(args.dv, dv);
  }
};

}  // namespace

void attention_backward(const AttentionRows<double>& rows, std::span<const double> dout, std::span<const double> lse,
                        std::span<const double> delta, const AttentionGradients& gradients) {
  const AttentionDesc& desc = rows.desc;
  for (std::int64_t i = 0; i < rows.num_queries; ++i)
    for (std::int64_t h = 0; h < desc.heads; ++h) {
      const std::int64_t row = i * desc.heads + h;
      const double* dout_row = &dout[row * desc.value_dim];
      double* dq = &gradients.dq[row * desc.head_dim];
      for (const std::int64_t j : rows.keys_of(i, h)) {
        const std::int64_t key_row = j * desc.kv_heads + rows.kv_head(h);
        double* dk = &gradients.dk[key_row * desc.head_dim];
        double* dv = &gradients.dv[key_row * desc.value_dim];
        const double p = std::exp(rows.score(i, j, h) - lse[row]);
        double dp = 0;
        for (std::int64_t e = 0; e < desc.value_dim; ++e) {
          dp += dout_row[e] * rows.value(j, h)[e];
          dv[e] += p * dout_row[e];
        }
        const double ds = p * (dp - delta[row]) * static_cast<double>(desc.scale);
        for (std::int64_t e = 0; e < desc.head_dim; ++e) {
          dq[e] += ds * rows.key(j, h)[e];
          dk[e] += ds * rows.query(i, h)[e];
        }
      }
    }
}

const AttentionOp& attention() {
  static const ReferenceAttention op;
  return op;
}

}  // namespace longspan::reference
