#include <fmt/ranges.h>

#include <algorithm>

#include "kernels/core/host_copy.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/folders.h"
#include "trainer/checkpoint/seal.h"
#include "trainer/checkpoint/state_file.h"
#include "trainer/io/hdf5_file.h"
#include "trainer/io/text_file.h"

namespace longspan {
namespace {

std::string in(const std::string& folder, std::string_view file) {
  return fmt::format("{}/{}", folder, file);
}

StateFile read_state_file(const std::string& path) {
  const std::string file = in(path, kStateFile);
  return state_file_from_json(read_text_file(file), file);
}

}  // namespace

CheckpointInfo verify_checkpoint(const std::string& path) {
  CheckpointInfo info{.path = path, .step = step_of_folder(path), .whole = false, .fault = {}};
  const auto fault = find_seal_fault(path, info.step, Scrutiny::kContents);
  info.whole = !fault;
  info.fault = fault.value_or("");
  return info;
}

std::vector<CheckpointInfo> list_checkpoints(const std::string& folder) {
  std::vector<CheckpointInfo> infos;
  for (const StepFolder& step : step_folders(folder)) infos.push_back(verify_checkpoint(step.path));
  return infos;
}

std::optional<std::string> newest_checkpoint(const std::string& folder,
                                             const std::function<void(const CheckpointInfo&)>& on_refused) {
  for (const StepFolder& step : step_folders(folder)) {
    const CheckpointInfo info = verify_checkpoint(step.path);
    if (info.whole) return info.path;
    on_refused(info);
  }
  return std::nullopt;
}

CheckpointState read_checkpoint_header(const std::string& path) {
  CheckpointState state = read_state_file(path).state;
  state.config_yaml = read_text_file(in(path, kConfigFile));
  return state;
}

struct CheckpointReader::Impl {
  std::string path;
  StateFile listed;
  Hdf5File file;
};

CheckpointReader::CheckpointReader(const std::string& path)
    : impl_(new Impl{.path = path, .listed = read_state_file(path), .file = Hdf5File::open(in(path, kTensorsFile))}) {}

CheckpointReader::~CheckpointReader() = default;

void CheckpointReader::read(const NamedTensor& into, const Exec& exec) const {
  const auto& tensors = impl_->listed.state.tensors;
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const NamedTensor& t) { return t.name == into.name; });
  LS_REQUIRE(kData, found != tensors.end(), "{}: has no tensor {}; is it of another model?", impl_->path, into.name);
  LS_REQUIRE(kData, found->shape == into.shape, "{}: tensor {} has shape [{}], this model needs [{}]", impl_->path,
             into.name, fmt::join(found->shape, ", "), fmt::join(into.shape, ", "));
  const std::string& expected = impl_->listed.checksums[static_cast<std::size_t>(found - tensors.begin())];
  fill_on_host(exec, into.tensor, [&](const Tensor& tensor) {
    impl_->file.read<float>(into.name, {tensor.get<float>(), static_cast<std::size_t>(tensor.numel())});
    LS_REQUIRE(kData, checksum(tensor.data, tensor.num_bytes()) == expected,
               "{}: tensor {} is altered: its checksum is not the one it was written with", impl_->path, into.name);
  });
}

void read_checkpoint_tensors(const std::string& path, const std::vector<NamedTensor>& into, const Exec& exec) {
  const CheckpointReader reader(path);
  for (const NamedTensor& tensor : into) reader.read(tensor, exec);
}

}  // namespace longspan
