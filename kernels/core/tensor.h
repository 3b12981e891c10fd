// Tensor: a trivially copyable view of memory somebody else owns.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "kernels/core/dtype.h"
#include "kernels/core/error.h"

namespace longspan {

enum class Device : std::uint8_t { kCpu, kCuda };
std::string_view name_of(Device device);

// A view: pointer, element type, shape and strides in elements, row-major unless narrowed. Owns nothing; valid as
// long as the memory it was made from. A default-made Tensor is "absent" (for optional operands).
struct Tensor {
  static constexpr int kMaxDims = 4;

  void* data = nullptr;
  DType dtype = DType::kF32;
  Device device = Device::kCpu;
  int dims = 0;
  std::array<std::int64_t, kMaxDims> shape{};
  std::array<std::int64_t, kMaxDims> stride{};

  Tensor() = default;
  // A contiguous row-major view.
  Tensor(void* memory, DType type, std::initializer_list<std::int64_t> sizes, Device where = Device::kCpu);

  explicit operator bool() const { return dims > 0; }
  std::int64_t size(int dim) const;
  std::int64_t numel() const;
  std::int64_t num_bytes() const { return numel() * size_of(dtype); }
  bool is_contiguous() const;
  bool same_shape(const Tensor& other) const;

  // The elements begin … end-1 of one dimension; shares memory.
  Tensor narrow(int dim, std::int64_t begin, std::int64_t end) const;
  // Another shape over the same elements; needs a contiguous tensor of as many elements.
  Tensor view(std::initializer_list<std::int64_t> sizes) const;

  // Typed pointer to the first element; throws if the dtype is not T's.
  template <class T>
  T* get() const {
    LS_CHECK(dtype == dtype_of<T>(), "tensor {} read as {}", describe(), name_of(dtype_of<T>()));
    return static_cast<T*>(data);
  }

  // "fp32[4096, 8, 64]", with strides where not contiguous.
  std::string describe() const;
};

}  // namespace longspan
