// Checkpoints: folders step-NNNNNNNN with logical tensors in HDF5, whole or refused by name.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/exec.h"

namespace longspan {

// A tensor by its logical name and shape; layouts of ranks never show in a checkpoint.
struct NamedTensor {
  std::string name;  // "weights/model.norm.weight", "adam_m/…", "adam_v/…"
  std::vector<std::int64_t> shape;
  Tensor tensor;               // fp32, flat
  std::int64_t numel() const;  // of the shape
};

struct CheckpointState {
  std::int64_t step = 0;
  std::int64_t sequences_consumed = 0;
  std::uint64_t data_fingerprint = 0;
  std::string config_yaml;  // resolved config of the run
  std::vector<NamedTensor> tensors;
};

// Saves into folder/step-NNNNNNNN: written beside, synced, checksummed, renamed, COMPLETE last. The snapshot is taken
// before save() returns; the writing goes on in a thread when async. Errors of the writing surface at the next save()
// or at finish(), and leave earlier checkpoints untouched.
class CheckpointWriter {
 public:
  CheckpointWriter(std::string folder, std::int64_t keep, bool async);
  ~CheckpointWriter();
  // `exec` says where the tensors live. From a device they come as they are once its stream has done what it holds,
  // into pinned memory of the host that is kept for the next time.
  void save(const CheckpointState& state, const Exec& exec = {});
  // The same where the elements are still to be brought together: of state.tensors names and shapes count. fill writes
  // them all to where its tensors, fp32 and flat, lie in the host's memory, pinned for this runtime.
  using Fill = std::function<void(std::span<const NamedTensor>)>;
  void save(const CheckpointState& state, DeviceRuntime& runtime, const Fill& fill);
  // Waits for the writing under way; throws what went wrong with it.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct CheckpointInfo {
  std::string path;
  std::int64_t step = 0;
  bool whole = false;
  std::string fault;  // why not whole
};

// One folder step-NNNNNNNN, verified byte for byte against its checksums.
CheckpointInfo verify_checkpoint(const std::string& path);
// Every step-* folder, newest first, each verified byte for byte against its checksums.
std::vector<CheckpointInfo> list_checkpoints(const std::string& folder);
// The newest whole one; refused ones are reported through `on_refused`. nullopt: none.
std::optional<std::string> newest_checkpoint(const std::string& folder,
                                             const std::function<void(const CheckpointInfo&)>& on_refused);
// Step, cursor, fingerprint, config and tensors' names and shapes (tensors absent). Throws Error(kData).
CheckpointState read_checkpoint_header(const std::string& path);
// A verified checkpoint's tensors, one at a time.
class CheckpointReader {
 public:
  explicit CheckpointReader(const std::string& path);
  ~CheckpointReader();
  // Fills a tensor (name, shape and destination given, on exec's device); throws Error(kData) naming it if it is
  // missing or of another shape.
  void read(const NamedTensor& into, const Exec& exec = {}) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};
// Several of them.
void read_checkpoint_tensors(const std::string& path, const std::vector<NamedTensor>& into, const Exec& exec = {});

}  // namespace longspan
