// ForwardingCommunicator: hands every call on to another communicator; what differs is for a subclass to override.
#pragma once

#include "parallel/comm/communicator.h"

namespace longspan {

class ForwardingCommunicator : public Communicator {
 public:
  // Keeps a reference.
  explicit ForwardingCommunicator(Communicator& inner) : inner_(inner) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::string_view backend() const override { return inner_.backend(); }
  void use_device(DeviceRuntime& runtime, Stream compute) override { inner_.use_device(runtime, compute); }
  std::unique_ptr<RegisteredMemory> register_memory(void* data, std::int64_t num_bytes) override {
    return inner_.register_memory(data, num_bytes);
  }
  std::unique_ptr<PendingTransfers> start(std::span<const Send> sends, std::span<const Receive> receives,
                                          std::string_view what) override {
    return inner_.start(sends, receives, what);
  }
  void all_reduce(const Tensor& tensor, ReduceOp op) override { inner_.all_reduce(tensor, op); }
  void all_reduce(std::span<double> values, ReduceOp op) override { inner_.all_reduce(values, op); }
  void all_gather_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) override {
    inner_.all_gather_v(in, out, counts);
  }
  void reduce_scatter_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) override {
    inner_.reduce_scatter_v(in, out, counts);
  }
  void all_to_all_v(const Tensor& in, std::span<const std::int64_t> send_counts, const Tensor& out,
                    std::span<const std::int64_t> receive_counts) override {
    inner_.all_to_all_v(in, send_counts, out, receive_counts);
  }
  void broadcast(const Tensor& tensor, int root) override { inner_.broadcast(tensor, root); }
  void barrier() override { inner_.barrier(); }
  std::unique_ptr<Communicator> split(int color, int key) override { return inner_.split(color, key); }
  void abort(const std::string& reason) noexcept override { inner_.abort(reason); }
  std::string abort_reason() override { return inner_.abort_reason(); }
  std::int64_t bytes_sent() const override { return inner_.bytes_sent(); }

 private:
  Communicator& inner_;
};

}  // namespace longspan
