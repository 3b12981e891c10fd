// A GPU through CUDA's runtime: plain allocations, streams that do not wait for the default one, events.
#include <nvtx3/nvToolsExt.h>

#include <cstring>
#include <cuda_runtime_api.h>
#include <exception>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/core/staged_copies.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/runtime/status.h"

namespace longspan {
namespace cuda {
namespace {

cudaStream_t stream_of(Stream stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

class CudaEvent final : public DeviceEvent {
 public:
  explicit CudaEvent(EventTiming timing) {
    const unsigned flags = timing == EventTiming::kOn ? cudaEventDefault : cudaEventDisableTiming;
    expect_success(cudaEventCreateWithFlags(&event_, flags), "make an event");
  }
  ~CudaEvent() override { cudaEventDestroy(event_); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  void record(Stream stream) override { expect_success(cudaEventRecord(event_, stream_of(stream)), "record an event"); }
  void hold_back(Stream stream) override {
    expect_success(cudaStreamWaitEvent(stream_of(stream), event_, cudaEventWaitDefault), "make a stream wait");
  }
  bool is_reached() override {
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaErrorNotReady) return false;
    expect_success(status, "finish the work before an event");
    return true;
  }
  void wait() override { expect_success(cudaEventSynchronize(event_), "finish the work before an event"); }
  double milliseconds_since(const DeviceEvent& earlier) const override {
    float milliseconds = 0;
    expect_success(cudaEventElapsedTime(&milliseconds, static_cast<const CudaEvent&>(earlier).event_, event_),
                   "measure the time between two events");
    return milliseconds;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// Pinned memory that a graph's uploads read each time it runs.
class KeptPieces {
 public:
  KeptPieces() = default;
  KeptPieces(const KeptPieces&) = delete;
  KeptPieces& operator=(const KeptPieces&) = delete;
  ~KeptPieces() {
    for (void* piece : pieces_) cudaFreeHost(piece);
  }
  void* keep(const void* from, std::int64_t num_bytes) {
    void*& piece = pieces_.emplace_back(nullptr);
    expect_success(cudaMallocHost(&piece, static_cast<std::size_t>(num_bytes)), "allocate pinned memory");
    std::memcpy(piece, from, static_cast<std::size_t>(num_bytes));
    return piece;
  }

 private:
  std::vector<void*> pieces_;
};

class CudaGraph final : public DeviceGraph {
 public:
  CudaGraph(cudaGraph_t graph, std::unique_ptr<KeptPieces> pieces) : pieces_(std::move(pieces)), graph_(graph) {
    expect_success(cudaGraphInstantiate(&instance_, graph_, 0), "make a graph of what was recorded");
  }
  ~CudaGraph() override {
    if (instance_) cudaGraphExecDestroy(instance_);
    cudaGraphDestroy(graph_);
  }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  void launch(Stream stream) override {
    expect_success(cudaGraphLaunch(instance_, stream_of(stream)), "launch a graph");
  }

 private:
  std::unique_ptr<KeptPieces> pieces_;
  cudaGraph_t graph_;
  cudaGraphExec_t instance_ = nullptr;
};

class CudaRuntime final : public DeviceRuntime {
 public:
  explicit CudaRuntime(int ordinal) : ordinal_(ordinal) {
    make_current();
    cudaDeviceProp properties;
    expect_success(cudaGetDeviceProperties(&properties, ordinal), fmt::format("describe GPU {}", ordinal));
    name_ = properties.name;
    memory_bytes_ = static_cast<std::int64_t>(properties.totalGlobalMem);
    expect_success(cudaDeviceGetStreamPriorityRange(&lowest_priority_, &highest_priority_), "order streams");
  }

  Device device() const override { return Device::kCuda; }
  std::string name() const override { return name_; }
  void make_current() override { expect_success(cudaSetDevice(ordinal_), fmt::format("use GPU {}", ordinal_)); }
  std::int64_t memory_bytes() const override { return memory_bytes_; }

  void* allocate(std::int64_t num_bytes) override {
    void* memory = nullptr;
    return granted(cudaMalloc(&memory, static_cast<std::size_t>(num_bytes)), "allocate memory") ? memory : nullptr;
  }
  void release(void* memory, std::int64_t) noexcept override { cudaFree(memory); }
  void* allocate_pinned(std::int64_t num_bytes) override {
    void* memory = nullptr;
    const cudaError_t status = cudaMallocHost(&memory, static_cast<std::size_t>(num_bytes));
    return granted(status, "allocate pinned memory") ? memory : nullptr;
  }
  void release_pinned(void* memory, std::int64_t) noexcept override { cudaFreeHost(memory); }

  Stream make_stream(StreamUse use) override {
    cudaStream_t stream = nullptr;
    const int priority = use == StreamUse::kTransfers ? highest_priority_ : lowest_priority_;
    expect_success(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, priority), "make a stream");
    return {stream};
  }
  void destroy(Stream stream) noexcept override { cudaStreamDestroy(stream_of(stream)); }
  std::unique_ptr<DeviceEvent> make_event(EventTiming timing) override { return std::make_unique<CudaEvent>(timing); }

  void copy(Stream stream, void* to, const void* from, std::int64_t num_bytes) override {
    if (num_bytes == 0) return;
    expect_success(cudaMemcpyAsync(to, from, static_cast<std::size_t>(num_bytes), cudaMemcpyDefault, stream_of(stream)),
                   fmt::format("copy {} bytes", num_bytes));
    if (!is_background(to) || !is_background(from)) synchronize(stream);
  }
  void upload(Stream stream, void* to, const void* from, std::int64_t num_bytes) override {
    if (!is_recording(stream)) return staged_.copy(stream, to, from, num_bytes);
    if (num_bytes == 0) return;
    const std::lock_guard lock(recording_);
    LS_CHECK(pieces_, "a stream is recorded, but not by capture()");
    copy(stream, to, pieces_->keep(from, num_bytes), num_bytes);
  }
  void zero(Stream stream, void* memory, std::int64_t num_bytes) override {
    if (num_bytes == 0) return;
    expect_success(cudaMemsetAsync(memory, 0, static_cast<std::size_t>(num_bytes), stream_of(stream)),
                   fmt::format("zero {} bytes", num_bytes));
  }
  void synchronize(Stream stream) override {
    expect_success(cudaStreamSynchronize(stream_of(stream)), "finish the work it was given");
  }

  // One recording at a time: uploads of several streams belong to it.
  std::unique_ptr<DeviceGraph> capture(Stream stream, const std::function<void()>& give) override {
    {
      const std::lock_guard lock(recording_);
      LS_CHECK(!pieces_, "a recording within a recording");
      pieces_ = std::make_unique<KeptPieces>();
    }
    // Relaxed: uploads allocate what they keep.
    cudaError_t status = cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeRelaxed);
    cudaGraph_t graph = nullptr;
    std::exception_ptr failure;
    if (status == cudaSuccess) {
      try {
        give();
      } catch (...) {
        failure = std::current_exception();
      }
      status = cudaStreamEndCapture(stream_of(stream), &graph);
    }
    std::unique_ptr<KeptPieces> pieces;
    {
      const std::lock_guard lock(recording_);
      pieces = std::move(pieces_);
    }
    if (failure) {
      if (graph) cudaGraphDestroy(graph);
      cudaGetLastError();
      std::rethrow_exception(failure);
    }
    expect_success(status, "record what a stream is given");
    return std::make_unique<CudaGraph>(graph, std::move(pieces));
  }

  void begin_range(const char* name) override { nvtxRangePushA(name); }
  void end_range() noexcept override { nvtxRangePop(); }

 private:
  static bool granted(cudaError_t status, std::string_view attempt) {
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return false;
    }
    expect_success(status, attempt);
    return true;
  }
  // Memory that a copy in the background may touch; plain host memory the driver copies while the caller waits, but
  // does not promise to for every direction.
  static bool is_background(const void* memory) {
    cudaPointerAttributes attributes;
    expect_success(cudaPointerGetAttributes(&attributes, memory), "tell where memory lies");
    return attributes.type != cudaMemoryTypeUnregistered;
  }

  static bool is_recording(Stream stream) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    expect_success(cudaStreamIsCapturing(stream_of(stream), &status), "say whether a stream is recorded");
    return status != cudaStreamCaptureStatusNone;
  }

  int ordinal_;
  std::string name_;
  std::int64_t memory_bytes_ = 0;
  int lowest_priority_ = 0, highest_priority_ = 0;
  StagedCopies staged_{*this};
  std::mutex recording_;
  std::unique_ptr<KeptPieces> pieces_;  // while something is recorded
};

}  // namespace
}  // namespace cuda

std::unique_ptr<DeviceRuntime> make_device_runtime(int ordinal) {
  return std::make_unique<cuda::CudaRuntime>(ordinal);
}

}  // namespace longspan
