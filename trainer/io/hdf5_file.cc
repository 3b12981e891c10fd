#include "trainer/io/hdf5_file.h"

#include <algorithm>
#include <hdf5.h>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

#include "kernels/core/error.h"

namespace longspan {
namespace {

std::mutex& library_mutex() {
  static std::mutex mutex;
  return mutex;
}

// Owns one HDF5 identifier; whoever holds it holds the library's mutex.
class Id {
 public:
  using Closer = herr_t (*)(hid_t);
  Id(hid_t id, Closer closer) : id_(id), closer_(closer) {}
  Id(Id&& other) noexcept : id_(std::exchange(other.id_, -1)), closer_(other.closer_) {}
  Id& operator=(Id&&) = delete;
  ~Id() {
    if (id_ >= 0) closer_(id_);
  }
  hid_t get() const { return id_; }
  bool valid() const { return id_ >= 0; }

 private:
  hid_t id_;
  Closer closer_;
};

herr_t keep_innermost(unsigned depth, const H5E_error2_t* entry, void* text) {
  if (depth == 0 && entry->desc != nullptr) *static_cast<std::string*>(text) = entry->desc;
  return 0;
}

// HDF5's innermost message; where it quotes the system's ("error message = '…'"), only that.
std::string library_reason() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &text);
  const std::string quote = "error message = '";
  if (const auto from = text.find(quote); from != std::string::npos) {
    const auto begin = from + quote.size();
    text = text.substr(begin, text.find('\'', begin) - begin);
  }
  return text.empty() ? "HDF5 gives no reason" : text;
}

hid_t memory_type(Hdf5Type type) {
  switch (type) {
    case Hdf5Type::kUint8: return H5T_NATIVE_UINT8;
    case Hdf5Type::kUint16: return H5T_NATIVE_UINT16;
    case Hdf5Type::kInt32: return H5T_NATIVE_INT32;
    case Hdf5Type::kInt64: return H5T_NATIVE_INT64;
    case Hdf5Type::kFloat32: return H5T_NATIVE_FLOAT;
    case Hdf5Type::kFloat64: return H5T_NATIVE_DOUBLE;
  }
  return -1;
}

constexpr Hdf5Type kAllTypes[] = {Hdf5Type::kUint8, Hdf5Type::kUint16,  Hdf5Type::kInt32,
                                  Hdf5Type::kInt64, Hdf5Type::kFloat32, Hdf5Type::kFloat64};

herr_t collect_dataset(hid_t, const char* name, const H5O_info_t* info, void* names) {
  if (info->type == H5O_TYPE_DATASET) static_cast<std::vector<std::string>*>(names)->emplace_back(name);
  return 0;
}

std::vector<hsize_t> to_hsize(const std::vector<std::int64_t>& values) {
  return {values.begin(), values.end()};
}

}  // namespace

std::int64_t Hdf5Dataset::num_elements() const {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

struct Hdf5File::Impl {
  std::string path;
  hid_t file = -1;
  struct OpenDataset {
    Id id;
    Hdf5Dataset what;
  };
  std::map<std::string, OpenDataset> datasets;  // kept open: reopening one would drop its chunks from memory

  ~Impl() {
    const std::lock_guard lock(library_mutex());
    release();
  }
  // HDF5 cannot let go of a file that refuses its last writes: the file is lost, and what is left to write goes to
  // memory, so that everything closes.
  void divert_to_memory() {
    void* handle = nullptr;
    const int memory = memfd_create("longspan-lost-file", MFD_CLOEXEC);
    if (memory >= 0 && H5Fget_vfd_handle(file, H5P_DEFAULT, &handle) >= 0) dup2(memory, *static_cast<int*>(handle));
    if (memory >= 0) ::close(memory);
  }
  void release() {
    if (file < 0) return;
    if (H5Fflush(file, H5F_SCOPE_LOCAL) < 0) divert_to_memory();
    datasets.clear();
    H5Fclose(std::exchange(file, -1));
  }
  [[noreturn]] void fail_at(const std::string& object, const std::string& what) const {
    fail(ErrorKind::kData, "{}: {}: {}: {}", path, object, what, library_reason());
  }
  void require(bool good, const std::string& object, const std::string& what) const {
    if (!good) fail_at(object, what);
  }
  void require_open() const { LS_CHECK(file >= 0, "{} was closed", path); }

  // H5Lexists answers for the last link of a path only, and fails where an earlier one is missing.
  bool exists(const std::string& name) const {
    if (name == "/") return true;
    for (std::size_t at = name.find('/', 1); at != std::string::npos; at = name.find('/', at + 1)) {
      if (H5Lexists(file, name.substr(0, at).c_str(), H5P_DEFAULT) <= 0) return false;
    }
    return H5Lexists(file, name.c_str(), H5P_DEFAULT) > 0;
  }
  Id open_object(const std::string& name) const {
    Id object(exists(name) ? H5Oopen(file, name.c_str(), H5P_DEFAULT) : -1, H5Oclose);
    if (!object.valid()) fail(ErrorKind::kData, "{}: {}: there is no such object in the file", path, name);
    return object;
  }
  OpenDataset& open_dataset(const std::string& name) {
    if (const auto found = datasets.find(name); found != datasets.end()) return found->second;
    if (!exists(name)) fail(ErrorKind::kData, "{}: {}: there is no such dataset in the file", path, name);
    Id id(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose);
    require(id.valid(), name, "cannot open the dataset");
    Hdf5Dataset what = describe(name, id);
    return datasets.emplace(name, OpenDataset{std::move(id), std::move(what)}).first->second;
  }
  Hdf5Dataset describe(const std::string& name, const Id& id) const {
    const Id space(H5Dget_space(id.get()), H5Sclose);
    const Id type(H5Dget_type(id.get()), H5Tclose);
    require(space.valid() && type.valid(), name, "cannot read shape and type");
    std::vector<hsize_t> extents(static_cast<std::size_t>(std::max(0, H5Sget_simple_extent_ndims(space.get()))));
    H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr);
    const Id native(H5Tget_native_type(type.get(), H5T_DIR_ASCEND), H5Tclose);
    for (const Hdf5Type known : kAllTypes) {
      if (native.valid() && H5Tequal(native.get(), memory_type(known)) > 0) {
        return {known, {extents.begin(), extents.end()}};
      }
    }
    fail(ErrorKind::kData, "{}: {}: holds elements of a type that Longspan does not read", path, name);
  }
  // Selects the slab in the file and checks that `count` values fit it; the spaces for memory and file.
  std::pair<Id, Id> spaces(const std::string& name, const Hdf5Slab* slab, std::size_t count) {
    const OpenDataset& dataset = open_dataset(name);
    const Hdf5Dataset& what = dataset.what;
    std::int64_t selected = what.num_elements();
    Id file_space(H5Dget_space(dataset.id.get()), H5Sclose);
    require(file_space.valid(), name, "cannot read its shape");
    if (slab != nullptr) {
      const std::size_t rank = what.shape.size();
      LS_CHECK(slab->first.size() == rank && slab->count.size() == rank, "{}: {}: slab of {} dimensions for {}", path,
               name, slab->first.size(), rank);
      selected = 1;
      for (std::size_t d = 0; d < rank; ++d) {
        if (slab->first[d] < 0 || slab->count[d] < 0 || slab->first[d] > what.shape[d] - slab->count[d]) {
          fail(ErrorKind::kData, "{}: {}: elements {} to {} of dimension {} asked for, which has {}", path, name,
               slab->first[d], slab->first[d] + slab->count[d], d, what.shape[d]);
        }
        selected *= slab->count[d];
      }
      if (rank > 0) {
        const herr_t status = H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, to_hsize(slab->first).data(),
                                                  nullptr, to_hsize(slab->count).data(), nullptr);
        require(status >= 0, name, "cannot select elements");
      }
    }
    if (selected != static_cast<std::int64_t>(count)) {
      fail(ErrorKind::kData, "{}: {}: holds {} elements where {} were expected", path, name, selected, count);
    }
    const hsize_t extent = count;
    Id memory_space(H5Screate_simple(1, &extent, nullptr), H5Sclose);
    require(memory_space.valid(), name, "cannot select elements");
    return {std::move(memory_space), std::move(file_space)};
  }
  void add_dataset(const std::string& name, const Hdf5Dataset& what, const Id& space, const Id& creation) {
    const Id links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
    H5Pset_create_intermediate_group(links.get(), 1);
    H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);  // every element is written: no need to zero it first
    Id id(H5Dcreate2(file, name.c_str(), memory_type(what.type), space.get(), links.get(), creation.get(), H5P_DEFAULT),
          H5Dclose);
    require(id.valid(), name, "cannot create the dataset");
    datasets.emplace(name, OpenDataset{std::move(id), what});
  }
  Id make_attribute(const std::string& name, const std::string& object, hid_t type) {
    const Id owner = open_object(object);
    if (H5Aexists(owner.get(), name.c_str()) > 0) H5Adelete(owner.get(), name.c_str());
    const Id space(H5Screate(H5S_SCALAR), H5Sclose);
    Id attribute(H5Acreate2(owner.get(), name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    require(attribute.valid(), object, "cannot create attribute '" + name + "'");
    return attribute;
  }
  Id open_attribute(const std::string& name, const std::string& object) const {
    const Id owner = open_object(object);
    Id attribute(H5Aexists(owner.get(), name.c_str()) > 0 ? H5Aopen(owner.get(), name.c_str(), H5P_DEFAULT) : -1,
                 H5Aclose);
    if (!attribute.valid()) fail(ErrorKind::kData, "{}: {}: has no attribute '{}'", path, object, name);
    const Id space(H5Aget_space(attribute.get()), H5Sclose);
    if (H5Sget_simple_extent_npoints(space.get()) != 1) {
      fail(ErrorKind::kData, "{}: {}: attribute '{}' is not a single value", path, object, name);
    }
    return attribute;
  }
};

Hdf5File::Hdf5File(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Hdf5File::Hdf5File(Hdf5File&&) noexcept = default;
Hdf5File& Hdf5File::operator=(Hdf5File&&) noexcept = default;
Hdf5File::~Hdf5File() = default;

namespace {

// File access as both ways of opening want it; called under the mutex. HDF5's own clean-up when the process ends
// would stumble over files that could not be written; Hdf5File closes its files itself.
Id file_access() {
  [[maybe_unused]] static const herr_t once = H5dont_atexit();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  return access;
}

}  // namespace

Hdf5File Hdf5File::open(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  const std::lock_guard lock(library_mutex());
  const Id access = file_access();
  impl->file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get());
  if (impl->file < 0) fail(ErrorKind::kData, "{}: cannot open the file as HDF5: {}", path, library_reason());
  return Hdf5File(std::move(impl));
}

Hdf5File Hdf5File::create(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  const std::lock_guard lock(library_mutex());
  const Id access = file_access();
  impl->file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get());
  if (impl->file < 0) fail(ErrorKind::kData, "{}: cannot create the file: {}", path, library_reason());
  return Hdf5File(std::move(impl));
}

void Hdf5File::close() {
  const std::lock_guard lock(library_mutex());
  impl_->require_open();
  const bool written = H5Fflush(impl_->file, H5F_SCOPE_LOCAL) >= 0;
  const std::string reason = written ? "" : library_reason();
  impl_->release();
  if (!written) fail(ErrorKind::kData, "{}: cannot write the file: {}", impl_->path, reason);
}

const std::string& Hdf5File::path() const {
  return impl_->path;
}

bool Hdf5File::has_attribute(const std::string& name, const std::string& object) const {
  const std::lock_guard lock(library_mutex());
  impl_->require_open();
  return impl_->exists(object) && H5Aexists(impl_->open_object(object).get(), name.c_str()) > 0;
}

std::string Hdf5File::string_attribute(const std::string& name, const std::string& object) const {
  const std::lock_guard lock(library_mutex());
  impl_->require_open();
  const Id attribute = impl_->open_attribute(name, object);
  const Id type(H5Aget_type(attribute.get()), H5Tclose);
  if (H5Tget_class(type.get()) != H5T_STRING) {
    fail(ErrorKind::kData, "{}: {}: attribute '{}' is not a string", impl_->path, object, name);
  }
  const std::string what = "cannot read attribute '" + name + "'";
  if (H5Tis_variable_str(type.get()) > 0) {
    char* text = nullptr;
    impl_->require(H5Aread(attribute.get(), type.get(), &text) >= 0, object, what);
    std::string value = text == nullptr ? "" : text;
    H5free_memory(text);
    return value;
  }
  std::string value(H5Tget_size(type.get()), '\0');
  impl_->require(H5Aread(attribute.get(), type.get(), value.data()) >= 0, object, what);
  value.resize(std::min(value.find('\0'), value.size()));
  return value;
}

std::int64_t Hdf5File::int64_attribute(const std::string& name, const std::string& object) const {
  const std::lock_guard lock(library_mutex());
  impl_->require_open();
  const Id attribute = impl_->open_attribute(name, object);
  const Id type(H5Aget_type(attribute.get()), H5Tclose);
  if (H5Tget_class(type.get()) != H5T_INTEGER) {
    fail(ErrorKind::kData, "{}: {}: attribute '{}' is not an integer", impl_->path, object, name);
  }
  std::int64_t value = 0;
  impl_->require(H5Aread(attribute.get(), H5T_NATIVE_INT64, &value) >= 0, object,
                 "cannot read attribute '" + name + "'");
  return value;
}

void Hdf5File::set_attribute(const std::string& name, const std::string& value, const std::string& object) {
  const std::lock_guard lock(library_mutex());
  impl_->require_open();
  const Id type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  const Id attribute = impl_->make_attribute(name, object, type.get());
  const char* text = value.c_str();
  impl_->require(H5Awrite(attribute.get(), type.get(), &text) >= 0, object, "cannot write attribute '" + name + "'");
}

void Hdf5File::set_attribute(const std::string& name, std::int64_t value, const std::string& object) {
  const std::lock_guard lock(library_mutex());
  impl_->require_open();
  const Id attribute = impl_->make_attribute(name, object, H5T_STD_I64LE);
  impl_->require(H5Awrite(attribute.get(), H5T_NATIVE_INT64, &value) >= 0, object,
                 "cannot write attribute '" + name + "'");
}

bool Hdf5File::has_dataset(const std::string& name) const {
  const std::lock_guard lock(library_mutex());
  impl_->require_open();
  if (!impl_->exists(name)) return false;
  return H5Iget_type(impl_->open_object(name).get()) == H5I_DATASET;
}

std::vector<std::string> Hdf5File::dataset_names() const {
  const std::lock_guard lock(library_mutex());
  impl_->require_open();
  std::vector<std::string> names;
  impl_->require(H5Ovisit(impl_->file, H5_INDEX_NAME, H5_ITER_INC, collect_dataset, &names) >= 0, "/",
                 "cannot list the datasets");
  std::sort(names.begin(), names.end());
  return names;
}

Hdf5Dataset Hdf5File::dataset(const std::string& name) const {
  const std::lock_guard lock(library_mutex());
  impl_->require_open();
  return impl_->open_dataset(name).what;
}

void Hdf5File::create_dataset(const std::string& name, const Hdf5Dataset& what) {
  const std::lock_guard lock(library_mutex());
  impl_->require_open();
  const std::vector<hsize_t> extents = to_hsize(what.shape);
  const Id space(extents.empty() ? H5Screate(H5S_SCALAR)
                                 : H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr),
                 H5Sclose);
  impl_->add_dataset(name, what, space, Id(H5Pcreate(H5P_DATASET_CREATE), H5Pclose));
}

void Hdf5File::create_growing_dataset(const std::string& name, Hdf5Type type, std::int64_t chunk_elements) {
  const std::lock_guard lock(library_mutex());
  impl_->require_open();
  const hsize_t none = 0, unlimited = H5S_UNLIMITED, chunk = static_cast<hsize_t>(chunk_elements);
  const Id space(H5Screate_simple(1, &none, &unlimited), H5Sclose);
  const Id creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_chunk(creation.get(), 1, &chunk);
  impl_->add_dataset(name, {type, {0}}, space, creation);
}

void Hdf5File::read_raw(const std::string& name, const Hdf5Slab* slab, Hdf5Type type, void* values,
                        std::size_t count) const {
  const std::lock_guard lock(library_mutex());
  impl_->require_open();
  const auto [memory, file] = impl_->spaces(name, slab, count);
  if (count == 0) return;
  impl_->require(H5Dread(impl_->open_dataset(name).id.get(), memory_type(type), memory.get(), file.get(), H5P_DEFAULT,
                         values) >= 0,
                 name, "cannot read");
}

void Hdf5File::write_raw(const std::string& name, const Hdf5Slab* slab, Hdf5Type type, const void* values,
                         std::size_t count) {
  const std::lock_guard lock(library_mutex());
  impl_->require_open();
  const auto [memory, file] = impl_->spaces(name, slab, count);
  if (count == 0) return;
  impl_->require(H5Dwrite(impl_->open_dataset(name).id.get(), memory_type(type), memory.get(), file.get(), H5P_DEFAULT,
                          values) >= 0,
                 name, "cannot write");
}

void Hdf5File::append_raw(const std::string& name, Hdf5Type type, const void* values, std::size_t count) {
  std::int64_t size = 0;
  {
    const std::lock_guard lock(library_mutex());
    impl_->require_open();
    Impl::OpenDataset& dataset = impl_->open_dataset(name);
    LS_CHECK(dataset.what.shape.size() == 1, "{}: {}: only one dimension grows", impl_->path, name);
    size = dataset.what.shape[0];
    const hsize_t grown = static_cast<hsize_t>(size) + count;
    impl_->require(H5Dset_extent(dataset.id.get(), &grown) >= 0, name, "cannot grow the dataset");
    dataset.what.shape[0] = static_cast<std::int64_t>(grown);
  }
  const Hdf5Slab slab{{size}, {static_cast<std::int64_t>(count)}};
  write_raw(name, &slab, type, values, count);
}

}  // namespace longspan
