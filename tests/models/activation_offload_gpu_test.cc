// Activations on their way to the host and back: nothing is written before it has left, nor read before it is back.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "kernels/core/host_copy.h"
#include "kernels/cuda/device.h"
#include "models/kept_layers.h"

namespace longspan {
namespace {

constexpr std::int64_t kTokens = 33;

ModelConfig config_of(std::int64_t layers) {
  ModelConfig config;
  config.layers = layers;
  config.hidden = 24;
  config.recompute = Recompute::kSelective;
  config.offload = Offload::kActivations;
  return config;
}

// What layer l "computes": every value of its tensors is its number and the tensor's. Comes from pinned memory, in the
// order of the compute stream.
class Layers {
 public:
  explicit Layers(std::int64_t layers)
      : runtime_(make_device_runtime(0)),
        config_(config_of(layers)),
        exec_{.device = Device::kCuda, .runtime = runtime_.get(), .stream = runtime_->make_stream(StreamUse::kCompute)},
        arena_("activations", 1 << 20, *runtime_),
        offload_(std::make_unique<ActivationOffload>(*runtime_)) {}
  ~Layers() {
    runtime_->synchronize(exec_.stream);
    offload_.reset();
    runtime_->destroy(exec_.stream);
  }

  // Wrong values found in backward.
  std::int64_t run(std::int64_t seed) {
    Arena::Scope scope(arena_);
    const StageShape shape{config_, whole_model(config_), DType::kBF16, kTokens};
    KeptLayers kept(arena_, shape, {}, offload_.get());
    write(kept.stream(0), value(seed, 0, 0));
    for (std::int64_t l = 0; l < config_.layers; ++l) {
      const KeptLayer layer = kept.begin_forward(exec_, l);
      write(layer.attention_out, value(seed, l, 1));
      write(layer.lse, value(seed, l, 2));
      write(kept.stream(l + 1), value(seed, l + 1, 0));
      kept.end_forward(exec_, l);
    }
    write(kept.stream(config_.layers), 0x77);  // as the stream's gradient does
    std::vector<Sample> samples;
    for (std::int64_t l = config_.layers; l-- > 0;) {
      const KeptLayer layer = kept.begin_backward(exec_, l);
      const std::array tensors = {layer.input, layer.attention_out, layer.lse};
      for (int i = 0; i < 3; ++i) read(tensors[static_cast<std::size_t>(i)], value(seed, l, i), samples);
      write(kept.stream(config_.layers), 0x70 + l % 2);
      kept.end_backward(exec_, l);
    }
    runtime_->synchronize(exec_.stream);
    std::int64_t wrong = 0;
    for (const Sample& sample : samples)
      for (std::int64_t i = 0; i < sample.num_bytes; ++i)
        wrong += static_cast<unsigned char>(sample.memory->data()[i]) != sample.expected ? 1 : 0;
    EXPECT_EQ(static_cast<std::int64_t>(samples.size()), 3 * config_.layers);
    return wrong;
  }

 private:
  struct Sample {
    std::unique_ptr<PinnedMemory> memory;
    std::int64_t num_bytes = 0;
    unsigned char expected = 0;
  };
  static unsigned char value(std::int64_t seed, std::int64_t layer, int tensor) {
    return static_cast<unsigned char>(1 + seed * 50 + layer * 4 + tensor);
  }
  void write(const Tensor& tensor, unsigned char value) {
    const std::vector<unsigned char> values(static_cast<std::size_t>(tensor.num_bytes()), value);
    runtime_->upload(exec_.stream, tensor.data, values.data(), tensor.num_bytes());
  }
  void read(const Tensor& tensor, unsigned char expected, std::vector<Sample>& samples) {
    Sample sample{std::make_unique<PinnedMemory>(), tensor.num_bytes(), expected};
    sample.memory->make_room(*runtime_, sample.num_bytes);
    runtime_->copy(exec_.stream, sample.memory->data(), tensor.data, sample.num_bytes);
    samples.push_back(std::move(sample));
  }

  std::unique_ptr<DeviceRuntime> runtime_;
  ModelConfig config_;
  Exec exec_;
  Arena arena_;
  std::unique_ptr<ActivationOffload> offload_;
};

TEST(ActivationOffload, BringsBackWhatEachLayerLeft) {
  for (const std::int64_t layers : {1, 2, 3, 4, 5, 9}) {
    Layers run(layers);
    for (const std::int64_t micro_batch : {0, 1, 2}) EXPECT_EQ(run.run(micro_batch), 0) << layers << " layers";
  }
}

}  // namespace
}  // namespace longspan
