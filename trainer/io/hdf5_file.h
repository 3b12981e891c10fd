// Hdf5File: one HDF5 file, opened or created, behind plain values: names, shapes, typed spans.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace longspan {

enum class Hdf5Type : std::uint8_t { kUint8, kUint16, kInt32, kInt64, kFloat32, kFloat64 };

struct Hdf5Dataset {
  Hdf5Type type = Hdf5Type::kInt64;
  std::vector<std::int64_t> shape;  // empty: a scalar
  std::int64_t num_elements() const;
};

// A box of a dataset: count[d] elements from first[d] along each dimension.
struct Hdf5Slab {
  std::vector<std::int64_t> first, count;
};

// Every failure is an Error(kData) that names the file, the object and HDF5's innermost reason; nothing is printed.
// HDF5 itself is not thread-safe, so all calls of a process go through one mutex: any thread may use its own Hdf5File.
// Const members of one Hdf5File may be called from several threads.
class Hdf5File {
 public:
  static Hdf5File open(const std::string& path);    // to read
  static Hdf5File create(const std::string& path);  // to write; replaces what is there
  Hdf5File(Hdf5File&&) noexcept;
  Hdf5File& operator=(Hdf5File&&) noexcept;
  ~Hdf5File();  // closes, silently: whoever wrote calls close() first to learn of a full disk

  // Writes out everything buffered and closes. No other call may follow.
  void close();
  const std::string& path() const;

  bool has_attribute(const std::string& name, const std::string& object = "/") const;
  std::string string_attribute(const std::string& name, const std::string& object = "/") const;
  std::int64_t int64_attribute(const std::string& name, const std::string& object = "/") const;
  void set_attribute(const std::string& name, const std::string& value, const std::string& object = "/");
  void set_attribute(const std::string& name, std::int64_t value, const std::string& object = "/");

  bool has_dataset(const std::string& name) const;
  std::vector<std::string> dataset_names() const;  // of all groups, as "group/name", sorted
  Hdf5Dataset dataset(const std::string& name) const;

  // Contiguous, of fixed shape; groups on the way ("a/b/c") are made as needed.
  void create_dataset(const std::string& name, const Hdf5Dataset& what);
  // One dimension, empty at first, to grow by append(); stored in chunks of chunk_elements.
  void create_growing_dataset(const std::string& name, Hdf5Type type, std::int64_t chunk_elements);

  // T: uint8_t, uint16_t, int32_t, int64_t, float, double; numbers are converted to and from the file's type.
  // values.size() must be what the slab (or the dataset) holds.
  template <class T>
  void read(const std::string& name, std::span<T> values) const;
  template <class T>
  void read(const std::string& name, const Hdf5Slab& slab, std::span<T> values) const;
  template <class T>
  void write(const std::string& name, std::span<const T> values);
  template <class T>
  void write(const std::string& name, const Hdf5Slab& slab, std::span<const T> values);
  template <class T>
  void append(const std::string& name, std::span<const T> values);

 private:
  struct Impl;
  explicit Hdf5File(std::unique_ptr<Impl> impl);
  void read_raw(const std::string& name, const Hdf5Slab* slab, Hdf5Type type, void* values, std::size_t count) const;
  void write_raw(const std::string& name, const Hdf5Slab* slab, Hdf5Type type, const void* values, std::size_t count);
  void append_raw(const std::string& name, Hdf5Type type, const void* values, std::size_t count);
  std::unique_ptr<Impl> impl_;
};

namespace detail {
template <class T>
struct Hdf5TypeOf;  // only the types below
template <>
struct Hdf5TypeOf<std::uint8_t> {
  static constexpr Hdf5Type kValue = Hdf5Type::kUint8;
};
template <>
struct Hdf5TypeOf<std::uint16_t> {
  static constexpr Hdf5Type kValue = Hdf5Type::kUint16;
};
template <>
struct Hdf5TypeOf<std::int32_t> {
  static constexpr Hdf5Type kValue = Hdf5Type::kInt32;
};
template <>
struct Hdf5TypeOf<std::int64_t> {
  static constexpr Hdf5Type kValue = Hdf5Type::kInt64;
};
template <>
struct Hdf5TypeOf<float> {
  static constexpr Hdf5Type kValue = Hdf5Type::kFloat32;
};
template <>
struct Hdf5TypeOf<double> {
  static constexpr Hdf5Type kValue = Hdf5Type::kFloat64;
};
}  // namespace detail

template <class T>
void Hdf5File::read(const std::string& name, std::span<T> values) const {
  read_raw(name, nullptr, detail::Hdf5TypeOf<T>::kValue, values.data(), values.size());
}
template <class T>
void Hdf5File::read(const std::string& name, const Hdf5Slab& slab, std::span<T> values) const {
  read_raw(name, &slab, detail::Hdf5TypeOf<T>::kValue, values.data(), values.size());
}
template <class T>
void Hdf5File::write(const std::string& name, std::span<const T> values) {
  write_raw(name, nullptr, detail::Hdf5TypeOf<T>::kValue, values.data(), values.size());
}
template <class T>
void Hdf5File::write(const std::string& name, const Hdf5Slab& slab, std::span<const T> values) {
  write_raw(name, &slab, detail::Hdf5TypeOf<T>::kValue, values.data(), values.size());
}
template <class T>
void Hdf5File::append(const std::string& name, std::span<const T> values) {
  append_raw(name, detail::Hdf5TypeOf<T>::kValue, values.data(), values.size());
}

}  // namespace longspan
