#include "kernels/cuda/emulated/fibers.h"

#include <boost/context/protected_fixedsize_stack.hpp>

#include <utility>

namespace longspan::cuda::emulated {
namespace {

constexpr std::size_t kStackBytes = 64 * 1024;

std::vector<std::unique_ptr<Fiber>>& idle_fibers() {
  static thread_local std::vector<std::unique_ptr<Fiber>> fibers;
  return fibers;
}

}  // namespace

Fiber::Fiber()
    : own_(std::allocator_arg, boost::context::protected_fixedsize_stack(kStackBytes),
           [this](boost::context::fiber&& resumer) {
             resumer_ = std::move(resumer);
             for (;;) {
               (*job_)();
               job_ = nullptr;
               give_way();
             }
             return std::move(resumer_);
           }) {}

// The library unwinds the stack by an exception of its own, which passes through the job.
Fiber::~Fiber() = default;

bool Fiber::resume() {
  own_ = std::move(own_).resume();
  return job_ == nullptr;
}

void Fiber::give_way() {
  resumer_ = std::move(resumer_).resume();
}

std::unique_ptr<Fiber> take_fiber() {
  auto& idle = idle_fibers();
  if (idle.empty()) return std::make_unique<Fiber>();
  std::unique_ptr<Fiber> fiber = std::move(idle.back());
  idle.pop_back();
  return fiber;
}

void put_back(std::unique_ptr<Fiber> fiber) {
  idle_fibers().push_back(std::move(fiber));
}

}  // namespace longspan::cuda::emulated
