// Communicator: a group of ranks that exchange bytes. Back-ends: local (threads of one process), mpi, tcp
// (processes over sockets) and nccl (GPUs).
//
// One order: every rank of a communicator calls its collectives in the same order; between two ranks the n-th send
// meets the n-th receive. Every wait has a deadline; when it passes, or a peer aborts, the wait throws
// Error(kAborted) that names what was waited for. Nothing hangs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/device_runtime.h"
#include "kernels/core/tensor.h"

namespace longspan {

struct Send {
  int peer;
  const void* data;
  std::int64_t num_bytes;
  Device device = Device::kCpu;  // whose memory data is
};
struct Receive {
  int peer;
  void* data;
  std::int64_t num_bytes;
  Device device = Device::kCpu;
};

// Transfers under way. The buffers belong to the transfer until wait() returns or test() is true. Destroying it before
// that means that this rank has failed: it aborts the communicator's world.
class PendingTransfers {
 public:
  virtual ~PendingTransfers() = default;
  // Makes progress without blocking; true once all transfers of the group are done. Throws like wait(), but has no
  // deadline.
  virtual bool test() = 0;
  // Host memory: returns when the transfers are done. Device memory: returns as soon as it can, and what the compute
  // stream is given from then on starts once they are done.
  virtual void wait() = 0;
};

// Memory that a communicator was told of, until this goes.
class RegisteredMemory {
 public:
  virtual ~RegisteredMemory() = default;
};

enum class ReduceOp : std::uint8_t { kSum, kMax, kMin };

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string_view backend() const = 0;  // "local", "mpi", "tcp", "nccl"

  // From now on buffers and tensors may lie in this device's memory too, both ends of a message on the same kind of
  // memory. Transfers and collectives of device memory are ordered by streams: they start after what `compute` holds
  // when they are called, and what it is given after wait(), or after the collective, starts once they are done. The
  // runtime must outlive the communicator, and those split from it later, which inherit it. Not collective, but every
  // rank that sends or receives device memory must have called it. Throws Error(kUnsupported) where a back-end knows
  // the host's memory only.
  virtual void use_device(DeviceRuntime& runtime, Stream compute);

  // Tells of a range of the device's memory that much will be sent from and received in, so that peers may reach it
  // without a copy in between. A hint that changes no result: null on all ranks where the back-end has no use for it,
  // or one rank's was refused, which is logged once. Collective, a range each. The handle goes before the memory,
  // before this communicator, and after all that used the memory is done. Communicators split from this one, and those
  // it was split from, are to be told themselves. A message's both ends should be registered, or neither.
  virtual std::unique_ptr<RegisteredMemory> register_memory(void* data, std::int64_t num_bytes);

  // Whether transfers of this kind of memory are queued in the order in which this rank starts them, over communicators
  // too. Then all ranks start theirs in one order, and what is started may not hang on when something was seen done.
  virtual bool runs_in_order(Device) const { return false; }
  // Whether a thread may start transfers of host memory here, and wait for them, while the rank's own thread uses its
  // other communicators.
  virtual bool takes_another_thread() const { return false; }

  // Posts all sends and receives at once and returns; no order among them can deadlock. `what` names the group in
  // errors ("kv of step 3"). A rank may send to itself.
  virtual std::unique_ptr<PendingTransfers> start(std::span<const Send> sends, std::span<const Receive> receives,
                                                  std::string_view what) = 0;

  // Blocking collectives, in place where one tensor is given. Sums run in rank order 0 … P-1 on every rank, so all
  // ranks get the same bits; kMax and kMin pass a NaN on. Tensors are contiguous and on one device; dtypes fp32, fp64,
  // int32, int64 (all_reduce, reduce_scatter) or any. This rank's own part of `in` and of `out` may be the same memory.
  virtual void all_reduce(const Tensor& tensor, ReduceOp op) = 0;
  virtual void all_reduce(std::span<double> values, ReduceOp op) = 0;
  // out = the ranks' inputs one after another; counts in elements, one a rank (may differ, may be 0).
  virtual void all_gather_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) = 0;
  // out (counts[rank] elements) = this rank's part of the sum over ranks of in (sum of counts elements).
  virtual void reduce_scatter_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) = 0;
  // Element counts sent to and received from each rank; parts lie one after another in rank order.
  virtual void all_to_all_v(const Tensor& in, std::span<const std::int64_t> send_counts, const Tensor& out,
                            std::span<const std::int64_t> receive_counts) = 0;
  virtual void broadcast(const Tensor& tensor, int root) = 0;
  virtual void barrier() = 0;

  // A communicator of the ranks that give the same colour, ordered by (key, rank). Collective.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
  // The same for a group whose transfers are posted long before their other ends, or in another order than on other
  // ranks: on a GPU they then have a queue of their own, where nothing else comes to wait behind them, and start() does
  // not wait for the other ends, not even the first time.
  virtual std::unique_ptr<Communicator> split_apart(int color, int key) { return split(color, key); }

  // Makes every wait of every rank of the world fail with this reason. Callable from any thread, more than once; the
  // first reason counts. mpi: this rank's waits fail, and run_mpi_rank then ends the world.
  virtual void abort(const std::string& reason) noexcept = 0;

  // Why the world was ended; empty while it goes on. Callable from any thread.
  virtual std::string abort_reason() = 0;

  // Point-to-point bytes this rank has sent through start() to other ranks since this communicator was made.
  virtual std::int64_t bytes_sent() const = 0;
};

// Convenience on top of the above.
void broadcast_string(Communicator& comm, std::string& text, int root);
std::vector<std::string> gather_strings(Communicator& comm, const std::string& text);  // on every rank, in rank order
// Throws Error(kUsage) on every rank, naming the first rank that differs, unless all ranks give the same text.
void require_same(Communicator& comm, const std::string& text, std::string_view what);

struct CommOptions {
  // Deadline of one wait. Under mpi, time in which the waiting rank itself was stopped does not count.
  std::int64_t timeout_ms = 600'000;
  std::int64_t max_message_bytes = std::int64_t{1} << 30;  // mpi sends more in several messages: its counts are int
};

// Runs body(communicator) on num_ranks threads of this process and joins them; one rank runs on the calling thread. If
// one throws, the others are aborted and the first exception that is not an abort's echo is rethrown, its message
// prefixed with the rank where there are several. A world that was aborted never ends as if all were well.
void run_local_ranks(int num_ranks, const CommOptions& options, const std::function<void(Communicator&)>& body);

// Whether this process was started by an MPI launcher (OpenMPI's, PMI's or PMIx's variables). False without MPI built.
bool launched_by_mpi();
// Runs body with the world's communicator: initialises MPI, finalises it afterwards; an exception of body is handed to
// `report` on this rank and then aborts the whole world with exit code report() returned. After a wait that passed
// its deadline other ranks are given a moment to report theirs: a tenth of timeout_ms, from 0.5 s to 10 s.
// Throws Error(kUnsupported) if MPI was not built in.
int run_mpi_rank(const CommOptions& options, const std::function<void(Communicator&)>& body,
                 const std::function<int(const std::exception&)>& report);

// Of a process that knows its rank and where rank 0 listens, as torchrun's variables say.
struct TcpPlace {
  int rank = 0;
  int size = 1;
  std::string address;  // of rank 0's host
  int port = 0;
};
// Runs body with the world's communicator over sockets, host memory, of modest speed. An exception of body ends the
// other ranks' waits with its message and is rethrown. Throws Error(kEnvironment) where the ranks do not find each
// other within options.timeout_ms.
void run_tcp_rank(const TcpPlace& place, const CommOptions& options, const std::function<void(Communicator&)>& body);

}  // namespace longspan
