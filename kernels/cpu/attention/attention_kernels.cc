#include "kernels/cpu/attention/attention_kernels.h"

// One build of the kernels for each worthwhile x86 level; the rest of the machines take Highway's baseline.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention/attention_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/attention/attention_backward-inl.h"
#include "kernels/cpu/attention/attention_forward-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {
namespace {

void forward_any(const AttentionForward& args, const BlockShape& shape, const Block& block,
                 std::span<const std::int32_t> tasks, float* scratch) {
  if (args.desc.dtype == DType::kBF16)
    forward_block<bf16>(args, shape, block, tasks, scratch);
  else
    forward_block<float>(args, shape, block, tasks, scratch);
}

void backward_any(const AttentionBackward& args, const BlockShape& shape, const Block& block,
                  std::span<const std::int32_t> tasks, KeyRange keys, BlockGradients wanted, float* scratch) {
  if (args.desc.dtype == DType::kBF16)
    backward_block<bf16>(args, shape, block, tasks, keys, wanted, scratch);
  else
    backward_block<float>(args, shape, block, tasks, keys, wanted, scratch);
}

std::int64_t forward_floats(const BlockShape& shape, const AttentionDesc& desc) {
  return ForwardScratch(shape, desc, nullptr).num_floats;
}

std::int64_t backward_floats(const BlockShape& shape, const AttentionDesc& desc) {
  return BackwardScratch(shape, desc, nullptr).num_floats;
}

}  // namespace
}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longspan::cpu {

HWY_EXPORT(forward_any);
HWY_EXPORT(backward_any);
HWY_EXPORT(forward_floats);
HWY_EXPORT(backward_floats);

std::int64_t forward_scratch_floats(const BlockShape& shape, const AttentionDesc& desc) {
  return HWY_DYNAMIC_DISPATCH(forward_floats)(shape, desc);
}

std::int64_t backward_scratch_floats(const BlockShape& shape, const AttentionDesc& desc) {
  return HWY_DYNAMIC_DISPATCH(backward_floats)(shape, desc);
}

void forward_block(const AttentionForward& args, const BlockShape& shape, const Block& block,
                   std::span<const std::int32_t> tasks, float* scratch) {
  HWY_DYNAMIC_DISPATCH(forward_any)(args, shape, block, tasks, scratch);
}

void backward_block(const AttentionBackward& args, const BlockShape& shape, const Block& block,
                    std::span<const std::int32_t> tasks, KeyRange keys, BlockGradients wanted, float* scratch) {
  HWY_DYNAMIC_DISPATCH(backward_any)(args, shape, block, tasks, keys, wanted, scratch);
}

}  // namespace longspan::cpu
#endif
