#include "kernels/reference/swiglu.h"

#include "kernels/ops/kernel_list.h"
#include "kernels/reference/elements.h"

namespace longspan::reference {
namespace {

void run_forward(const Exec&, const SwigluForward& args) {
  for (std::int64_t i = 0; i < args.out.numel(); ++i) store(args.out, i, swiglu(load(args.gate, i), load(args.up, i)));
}

void run_backward(const Exec&, const SwigluBackward& args) {
  for (std::int64_t i = 0; i < args.dout.numel(); ++i) {
    double dgate = 0, dup = 0;
    swiglu_gradient(load(args.gate, i), load(args.up, i), load(args.dout, i), &dgate, &dup);
    store(args.dgate, i, dgate);
    store(args.dup, i, dup);
  }
}

}  // namespace

const Kernel<SwigluForward> kSwigluForward{"reference", needs_cpu, run_forward};
const Kernel<SwigluBackward> kSwigluBackward{"reference", needs_cpu, run_backward};

}  // namespace longspan::reference
