// Ranks with a GPU each, over NCCL: device memory by NCCL, host memory by the communicator of the processes beside it.
#pragma once

#include <memory>

#include "parallel/comm/nccl/nccl_world.h"

namespace longspan {

// Differs from the others in two things. Sums of device memory run in NCCL's order: the same bits on all ranks and in
// every run of one set-up, but not those of the host, and kMax and kMin may lose a NaN. And each start() with device
// memory is one NCCL group, in stream order: what a rank sends in its n-th group the peer must receive before it needs
// anything from the rank's later groups. Messages of a rank to itself stand in one group, send beside receive.
class NcclCommunicator final : public Communicator {
 public:
  // Of the same ranks as host, which stays the caller's; `world` was made with it, or with the one it was split from.
  NcclCommunicator(std::shared_ptr<NcclWorld> world, Communicator& host, NcclHandle comm);
  NcclCommunicator(std::shared_ptr<NcclWorld> world, std::unique_ptr<Communicator> host, NcclHandle comm);
  // With a queue of its own, which goes with it.
  NcclCommunicator(std::shared_ptr<NcclWorld> world, std::unique_ptr<Communicator> host, NcclHandle comm, Stream queue);
  ~NcclCommunicator() override;

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  std::string_view backend() const override { return "nccl"; }
  std::unique_ptr<RegisteredMemory> register_memory(void* data, std::int64_t num_bytes) override;
  bool runs_in_order(Device device) const override { return device != Device::kCpu; }
  bool takes_another_thread() const override { return host_.takes_another_thread(); }
  std::unique_ptr<PendingTransfers> start(std::span<const Send> sends, std::span<const Receive> receives,
                                          std::string_view what) override;
  void all_reduce(const Tensor& tensor, ReduceOp op) override;
  void all_reduce(std::span<double> values, ReduceOp op) override { host_.all_reduce(values, op); }
  void all_gather_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) override;
  void reduce_scatter_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) override;
  void all_to_all_v(const Tensor& in, std::span<const std::int64_t> send_counts, const Tensor& out,
                    std::span<const std::int64_t> receive_counts) override;
  void broadcast(const Tensor& tensor, int root) override;
  void barrier() override { host_.barrier(); }
  std::unique_ptr<Communicator> split(int color, int key) override;
  std::unique_ptr<Communicator> split_apart(int color, int key) override;
  void abort(const std::string& reason) noexcept override { world_->abort(reason); }
  std::string abort_reason() override { return host_.abort_reason(); }
  std::int64_t bytes_sent() const override { return bytes_sent_ + host_.bytes_sent(); }

 private:
  // A collective: what the compute stream is given next starts once it is done.
  void run(const std::string& what, const NcclWorld::Calls& calls);
  NcclHandle split_handle(int color, int key);
  // All pairs of ranks, both ways. Collective; waits for them.
  void connect();
  void check(const Tensor& tensor, std::int64_t numel, std::string_view what) const;

  const std::shared_ptr<NcclWorld> world_;
  const std::unique_ptr<Communicator> own_host_;  // null: the caller's
  Communicator& host_;
  const NcclHandle comm_;
  const Stream queue_;  // the world's transfers, or its own
  std::int64_t bytes_sent_ = 0;
};

// A communicator of the world's ranks, each with the GPU of its runtime, no two the same. Collective; keeps references.
std::unique_ptr<Communicator> make_nccl_communicator(NcclApi& api, Communicator& world, DeviceRuntime& runtime,
                                                     Stream compute, const CommOptions& options);

}  // namespace longspan
