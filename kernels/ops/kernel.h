// Kernel: one implementation of an operator, named by the arguments it takes.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "kernels/core/exec.h"
#include "kernels/ops/op_list.h"

namespace longspan {

// What an implementation looks at before it takes a call: few values, so that each choice is logged once, not per
// shape.
struct KernelDesc {
  Device device = Device::kCpu;
  DType dtype = DType::kF32;   // of the operands that are read
  DType result = DType::kF32;  // of those that are written, where it may differ
  std::string describe() const;
};

template <class Args>
class Kernel {
 public:
  using Refuse = Refusal (*)(const KernelDesc&);
  using Run = void (*)(const Exec&, const Args&);

  constexpr Kernel(std::string_view name, Refuse why_unsupported, Run run)
      : name_(name), why_unsupported_(why_unsupported), run_(run) {}

  std::string_view name() const { return name_; }
  Refusal why_unsupported(const KernelDesc& desc) const { return why_unsupported_(desc); }
  // The operands have been checked by the public function, which is the only caller outside tests.
  void run(const Exec& exec, const Args& args) const { run_(exec, args); }

 private:
  std::string_view name_;
  Refuse why_unsupported_;
  Run run_;
};

// Best first, reference last.
template <class Args>
using KernelList = std::span<const Kernel<Args>* const>;

// The commonest answers: anything on the CPU, anything on a GPU.
Refusal needs_cpu(const KernelDesc& desc);
Refusal needs_cuda(const KernelDesc& desc);

}  // namespace longspan
