// NcclApi on the library: the only file that includes nccl.h.
#include <chrono>
#include <cstring>
#include <dlfcn.h>
#include <nccl.h>
#include <thread>

#include "kernels/core/error.h"
#include "parallel/comm/nccl/nccl_api.h"

namespace longspan {
namespace {

ncclComm_t as_comm(NcclHandle handle) {
  return static_cast<ncclComm_t>(handle);
}
cudaStream_t as_stream(Stream stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

std::string words_of(ncclResult_t code, ncclComm_t comm) {
  const char* last = ncclGetLastError(comm);
  const bool more = last != nullptr && last[0] != '\0';
  return more ? fmt::format("{}: {}", ncclGetErrorString(code), last) : std::string(ncclGetErrorString(code));
}

void expect(ncclResult_t code, std::string_view call, ncclComm_t comm = nullptr) {
  LS_REQUIRE(kEnvironment, code == ncclSuccess || code == ncclInProgress,
             "{} failed: {}; NCCL_DEBUG=INFO makes NCCL say more", call, words_of(code, comm));
}

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kF32: return ncclFloat32;
    case DType::kF64: return ncclFloat64;
    case DType::kI32: return ncclInt32;
    case DType::kI64: return ncclInt64;
    case DType::kI8: return ncclInt8;
    case DType::kBF16: return ncclBfloat16;
  }
  fail(ErrorKind::kInternal, "NCCL and dtype {}", static_cast<int>(dtype));
}

ncclRedOp_t op_of(ReduceOp op) {
  return op == ReduceOp::kSum ? ncclSum : op == ReduceOp::kMax ? ncclMax : ncclMin;
}

std::size_t count_of(std::int64_t count) {
  return static_cast<std::size_t>(count);
}

// Looked up by name: NCCL before 2.19 does not have them.
using RegisterMemory = ncclResult_t (*)(ncclComm_t comm, void* data, std::size_t num_bytes, void** registration);
using DeregisterMemory = ncclResult_t (*)(ncclComm_t comm, void* registration);
template <class Function>
Function function_named(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

class NcclLibrary final : public NcclApi {
 public:
  NcclId make_id() override {
    ncclUniqueId id;
    expect(ncclGetUniqueId(&id), "ncclGetUniqueId");
    NcclId bytes;
    static_assert(sizeof bytes == sizeof id);
    std::memcpy(bytes.data(), &id, sizeof id);
    return bytes;
  }

  NcclHandle join(const NcclId& bytes, int rank, int size) override {
    ncclUniqueId id;
    std::memcpy(&id, bytes.data(), sizeof id);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    expect(ncclCommInitRankConfig(&comm, size, id, rank, &config), "ncclCommInitRankConfig", comm);
    return comm;
  }

  NcclHandle split(NcclHandle parent, int color, int key) override {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    expect(ncclCommSplit(as_comm(parent), color, key, &comm, &config), "ncclCommSplit", as_comm(parent));
    return comm;
  }

  NcclState state(NcclHandle comm, std::string& why) override {
    ncclResult_t code = ncclSuccess;
    expect(ncclCommGetAsyncError(as_comm(comm), &code), "ncclCommGetAsyncError", as_comm(comm));
    if (code == ncclSuccess) return NcclState::kReady;
    if (code == ncclInProgress) return NcclState::kInProgress;
    why = words_of(code, as_comm(comm));
    return NcclState::kFailed;
  }

  void leave(NcclHandle comm) noexcept override {
    ncclCommFinalize(as_comm(comm));
    ncclResult_t code = ncclInProgress;
    for (int look = 0; look < 10'000 && code == ncclInProgress; ++look) {  // ten seconds
      if (ncclCommGetAsyncError(as_comm(comm), &code) != ncclSuccess) code = ncclInternalError;
      if (code == ncclInProgress) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (code == ncclSuccess)
      ncclCommDestroy(as_comm(comm));
    else
      ncclCommAbort(as_comm(comm));
  }
  void abort(NcclHandle comm) noexcept override { ncclCommAbort(as_comm(comm)); }

  void* register_memory(void* data, std::int64_t num_bytes, NcclHandle comm, std::string& why) override {
    if (register_ == nullptr || deregister_ == nullptr) {
      why = "this NCCL is older than 2.19 and has no ncclCommRegister";
      return nullptr;
    }
    void* registration = nullptr;
    const ncclResult_t code = register_(as_comm(comm), data, count_of(num_bytes), &registration);
    if (code != ncclSuccess) {
      why = fmt::format("ncclCommRegister failed: {}", words_of(code, as_comm(comm)));
      return nullptr;
    }
    if (registration == nullptr) why = "NCCL skipped it; NCCL_DEBUG=INFO with NCCL_DEBUG_SUBSYS=REG says why";
    return registration;
  }
  void deregister_memory(void* registration, NcclHandle comm) noexcept override {
    deregister_(as_comm(comm), registration);
  }

  void begin_group() override { expect(ncclGroupStart(), "ncclGroupStart"); }
  void end_group() override { expect(ncclGroupEnd(), "ncclGroupEnd"); }
  void send(const void* data, std::int64_t num_bytes, int peer, NcclHandle comm, Stream stream) override {
    expect(ncclSend(data, count_of(num_bytes), ncclInt8, peer, as_comm(comm), as_stream(stream)), "ncclSend",
           as_comm(comm));
  }
  void receive(void* data, std::int64_t num_bytes, int peer, NcclHandle comm, Stream stream) override {
    expect(ncclRecv(data, count_of(num_bytes), ncclInt8, peer, as_comm(comm), as_stream(stream)), "ncclRecv",
           as_comm(comm));
  }
  void all_reduce(const Buffers& b, ReduceOp op, NcclHandle comm, Stream stream) override {
    expect(ncclAllReduce(b.in, b.out, count_of(b.count), type_of(b.dtype), op_of(op), as_comm(comm), as_stream(stream)),
           "ncclAllReduce", as_comm(comm));
  }
  void reduce(const Buffers& b, int root, NcclHandle comm, Stream stream) override {
    expect(
        ncclReduce(b.in, b.out, count_of(b.count), type_of(b.dtype), ncclSum, root, as_comm(comm), as_stream(stream)),
        "ncclReduce", as_comm(comm));
  }
  void reduce_scatter(const Buffers& b, NcclHandle comm, Stream stream) override {
    expect(
        ncclReduceScatter(b.in, b.out, count_of(b.count), type_of(b.dtype), ncclSum, as_comm(comm), as_stream(stream)),
        "ncclReduceScatter", as_comm(comm));
  }
  void all_gather(const Buffers& b, NcclHandle comm, Stream stream) override {
    expect(ncclAllGather(b.in, b.out, count_of(b.count), type_of(b.dtype), as_comm(comm), as_stream(stream)),
           "ncclAllGather", as_comm(comm));
  }
  void broadcast(const Buffers& b, int root, NcclHandle comm, Stream stream) override {
    expect(ncclBroadcast(b.in, b.out, count_of(b.count), type_of(b.dtype), root, as_comm(comm), as_stream(stream)),
           "ncclBroadcast", as_comm(comm));
  }

 private:
  const RegisterMemory register_ = function_named<RegisterMemory>("ncclCommRegister");
  const DeregisterMemory deregister_ = function_named<DeregisterMemory>("ncclCommDeregister");
};

}  // namespace

NcclApi* nccl_library() {
  static NcclLibrary library;
  return &library;
}

}  // namespace longspan
