// NcclApi: what Longspan asks of NCCL, so that everything but the library itself is tested without a GPU.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "kernels/core/device_runtime.h"
#include "parallel/comm/communicator.h"

namespace longspan {

using NcclHandle = void*;  // a communicator of NCCL
using NcclId = std::array<char, 128>;
enum class NcclState : std::uint8_t { kReady, kInProgress, kFailed };

// Calls do not block: what they begin is queued on its stream once state() is kReady again. They throw
// Error(kEnvironment) with NCCL's own words. One call at a time. Counts are elements.
class NcclApi {
 public:
  virtual ~NcclApi() = default;
  virtual NcclId make_id() = 0;
  virtual NcclHandle join(const NcclId& id, int rank, int size) = 0;
  virtual NcclHandle split(NcclHandle parent, int color, int key) = 0;
  // Of what was begun; `why` is set where it failed.
  virtual NcclState state(NcclHandle comm, std::string& why) = 0;
  virtual void leave(NcclHandle comm) noexcept = 0;
  // Also ends what is running on the device.
  virtual void abort(NcclHandle comm) noexcept = 0;

  // For transfers without a copy in between, of this communicator alone. Null where NCCL will not, which is not an
  // error; `why` is set. Undone by deregister_memory(), before leave(), or by abort().
  virtual void* register_memory(void* data, std::int64_t num_bytes, NcclHandle comm, std::string& why) = 0;
  virtual void deregister_memory(void* registration, NcclHandle comm) noexcept = 0;

  // What stands between goes to the device as one.
  virtual void begin_group() = 0;
  virtual void end_group() = 0;
  virtual void send(const void* data, std::int64_t num_bytes, int peer, NcclHandle comm, Stream stream) = 0;
  virtual void receive(void* data, std::int64_t num_bytes, int peer, NcclHandle comm, Stream stream) = 0;
  struct Buffers {
    const void* in;
    void* out;
    std::int64_t count;
    DType dtype;
  };
  virtual void all_reduce(const Buffers& buffers, ReduceOp op, NcclHandle comm, Stream stream) = 0;
  virtual void reduce(const Buffers& buffers, int root, NcclHandle comm, Stream stream) = 0;  // sum
  virtual void reduce_scatter(const Buffers& buffers, NcclHandle comm, Stream stream) = 0;    // sum; count of out
  virtual void all_gather(const Buffers& buffers, NcclHandle comm, Stream stream) = 0;        // count of in
  virtual void broadcast(const Buffers& buffers, int root, NcclHandle comm, Stream stream) = 0;
};

// Null where this build has none.
NcclApi* nccl_library();

}  // namespace longspan
