#include "kernels/ops/kernel_list.h"
#include "kernels/reference/elements.h"

namespace longspan::reference {
namespace {

void run_forward(const Exec&, const EmbeddingForward& args) {
  const auto* token = args.tokens.get<std::int32_t>();
  const std::int64_t width = args.table.size(1);
  for (std::int64_t i = 0; i < args.out.numel(); ++i)
    store(args.out, i, load(args.table, token[i / width] * width + i % width));
}

void run_backward(const Exec&, const EmbeddingBackward& args) {
  const auto* token = args.tokens.get<std::int32_t>();
  const std::int64_t width = args.dtable.size(1);
  std::vector<double> sum(static_cast<std::size_t>(args.dtable.numel()));
  for (std::int64_t i = 0; i < args.dout.numel(); ++i) sum[token[i / width] * width + i % width] += load(args.dout, i);
  add_all(args.dtable, sum);
}

}  // namespace

const Kernel<EmbeddingForward> kEmbeddingForward{"reference", needs_cpu, run_forward};
const Kernel<EmbeddingBackward> kEmbeddingBackward{"reference", needs_cpu, run_backward};

}  // namespace longspan::reference
