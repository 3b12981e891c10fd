#include <filesystem>
#include <future>
#include <utility>

#include "kernels/core/host_copy.h"
#include "kernels/core/pinned_memory.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/folders.h"
#include "trainer/checkpoint/seal.h"
#include "trainer/checkpoint/state_file.h"
#include "trainer/io/hdf5_file.h"

namespace longspan {
namespace {

namespace fs = std::filesystem;

std::span<const float> elements_of(const NamedTensor& named) {
  LS_CHECK(named.tensor.numel() == named.numel(), "{} is {}", named.name, named.tensor.describe());
  return {named.tensor.get<float>(), static_cast<std::size_t>(named.tensor.numel())};
}

void write_tensors(const std::string& path, const std::vector<NamedTensor>& tensors) {
  Hdf5File file = Hdf5File::create(path);
  for (const NamedTensor& t : tensors) {
    file.create_dataset(t.name, {Hdf5Type::kFloat32, t.shape});
    file.write<float>(t.name, elements_of(t));
  }
  file.close();
}

void write_files(const std::string& folder, const CheckpointState& state) {
  StateFile file{.state = state, .checksums = {}};
  for (const NamedTensor& t : state.tensors) file.checksums.push_back(checksum(t.tensor.data, t.tensor.num_bytes()));
  write_tensors(fmt::format("{}/{}", folder, kTensorsFile), state.tensors);
  write_file(folder, kStateFile, to_json(file));
  write_file(folder, kConfigFile, state.config_yaml);
  write_seal(folder, state.step);
}

// Leftovers of writers that were killed.
void remove_hidden_folders(const std::string& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(".step-")) fs::remove_all(entry.path());
  }
}

// Puts the finished folder in its place; a refused checkpoint of the same step makes room.
void publish(const std::string& folder, const std::string& hidden, std::int64_t step) {
  const std::string target = folder + "/" + step_folder_name(step);
  const std::string old = folder + "/." + step_folder_name(step) + ".old";
  if (fs::exists(target)) fs::rename(target, old);
  fs::rename(hidden, target);
  sync_path(folder);
  fs::remove_all(old);
}

// Removes every checkpoint older than the `keep` newest whole ones.
void prune(const std::string& folder, std::int64_t keep) {
  std::int64_t whole = 0;
  for (const StepFolder& step : step_folders(folder)) {
    if (whole >= keep)
      fs::remove_all(step.path);
    else if (!find_seal_fault(step.path, step.step, Scrutiny::kSizes))
      ++whole;
  }
}

void write_checkpoint(const std::string& folder, std::int64_t keep, const CheckpointState& state) {
  const std::string hidden = folder + "/." + step_folder_name(state.step) + ".partial";
  try {
    fs::create_directories(folder);
    fs::remove_all(hidden);
    fs::create_directory(hidden);
    write_files(hidden, state);
    publish(folder, hidden, state.step);
    if (keep > 0) prune(folder, keep);
  } catch (const std::exception& error) {
    std::error_code ignored;
    fs::remove_all(hidden, ignored);
    fail(ErrorKind::kEnvironment,
         "{}/{} was not saved: {}; earlier checkpoints are untouched: make room there, or name another folder with "
         "checkpoint.dir",
         folder, step_folder_name(state.step), error.what());
  }
}

}  // namespace

struct CheckpointWriter::Impl {
  std::string folder;
  std::int64_t keep;
  bool async;
  PinnedMemory memory;  // what the snapshot's tensors view
  CheckpointState snapshot;
  std::future<void> writing;  // last: its destructor waits for the thread, which reads the members above

  void take_snapshot(const CheckpointState& state, DeviceRuntime& runtime, const Fill& fill) {
    std::int64_t total = 0;
    for (const NamedTensor& t : state.tensors) total += t.numel() * size_of(DType::kF32);
    memory.make_room(runtime, total);
    snapshot = state;
    std::byte* next = memory.data();
    for (NamedTensor& t : snapshot.tensors) {
      t.tensor = Tensor(next, DType::kF32, {t.numel()});
      next += t.tensor.num_bytes();
    }
    fill(snapshot.tensors);
  }
};

CheckpointWriter::CheckpointWriter(std::string folder, std::int64_t keep, bool async)
    : impl_(new Impl{
          .folder = std::move(folder), .keep = keep, .async = async, .memory = {}, .snapshot = {}, .writing = {}}) {
  if (!fs::exists(impl_->folder)) return;
  try {
    remove_hidden_folders(impl_->folder);
  } catch (const fs::filesystem_error& error) {
    fail(ErrorKind::kEnvironment, "{}: cannot tidy it: {}", impl_->folder, error.what());
  }
}

CheckpointWriter::~CheckpointWriter() = default;

void CheckpointWriter::save(const CheckpointState& state, const Exec& exec) {
  for (const NamedTensor& t : state.tensors)
    LS_CHECK(t.tensor.numel() == t.numel(), "{} is {}", t.name, t.tensor.describe());
  if (!impl_->async && exec.device == Device::kCpu) {
    finish();
    return write_checkpoint(impl_->folder, impl_->keep, state);
  }
  save(state, *exec.runtime, [&](std::span<const NamedTensor> copies) {
    for (std::size_t i = 0; i < copies.size(); ++i) copy_tensor(exec, state.tensors[i].tensor, copies[i].tensor);
    exec.runtime->synchronize(exec.stream);
  });
}

void CheckpointWriter::save(const CheckpointState& state, DeviceRuntime& runtime, const Fill& fill) {
  finish();
  impl_->take_snapshot(state, runtime, fill);
  if (!impl_->async) return write_checkpoint(impl_->folder, impl_->keep, impl_->snapshot);
  impl_->writing = std::async(std::launch::async,
                              [impl = impl_.get()] { write_checkpoint(impl->folder, impl->keep, impl->snapshot); });
}

void CheckpointWriter::finish() {
  if (impl_->writing.valid()) impl_->writing.get();
}

}  // namespace longspan
