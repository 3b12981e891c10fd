// Communicators over others that promise something else of their transfers: that they run in the order of their starts,
// or that a thread may look after them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/core/error.h"
#include "parallel/comm/communicator.h"

namespace longspan::testing {

// Passes everything on.
class PlainCommunicator : public Communicator {
 public:
  explicit PlainCommunicator(Communicator& other) : other_(other) {}
  int rank() const override { return other_.rank(); }
  int size() const override { return other_.size(); }
  std::string_view backend() const override { return other_.backend(); }
  std::unique_ptr<PendingTransfers> start(std::span<const Send> sends, std::span<const Receive> receives,
                                          std::string_view what) override {
    return other_.start(sends, receives, what);
  }
  void all_reduce(const Tensor& tensor, ReduceOp op) override { other_.all_reduce(tensor, op); }
  void all_reduce(std::span<double> values, ReduceOp op) override { other_.all_reduce(values, op); }
  void all_gather_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) override {
    other_.all_gather_v(in, out, counts);
  }
  void reduce_scatter_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) override {
    other_.reduce_scatter_v(in, out, counts);
  }
  void all_to_all_v(const Tensor& in, std::span<const std::int64_t> send_counts, const Tensor& out,
                    std::span<const std::int64_t> receive_counts) override {
    other_.all_to_all_v(in, send_counts, out, receive_counts);
  }
  void broadcast(const Tensor& tensor, int root) override { other_.broadcast(tensor, root); }
  void barrier() override { other_.barrier(); }
  std::unique_ptr<Communicator> split(int color, int key) override { return other_.split(color, key); }
  void abort(const std::string& reason) noexcept override { other_.abort(reason); }
  std::string abort_reason() override { return other_.abort_reason(); }
  std::int64_t bytes_sent() const override { return other_.bytes_sent(); }

 protected:
  Communicator& other_;
};

// A thread of local ranks may use one at any time.
class ThreadedCommunicator final : public PlainCommunicator {
 public:
  using PlainCommunicator::PlainCommunicator;
  bool takes_another_thread() const override { return true; }
};

// Nobody may ask whether a transfer is done, and all ranks start theirs in the same order; told at the end.
class InOrderCommunicator final : public PlainCommunicator {
 public:
  explicit InOrderCommunicator(Communicator& other) : PlainCommunicator(other) {}
  ~InOrderCommunicator() override {
    if (std::uncaught_exceptions() == 0) check_order();
  }
  bool runs_in_order(Device) const override { return true; }
  std::unique_ptr<PendingTransfers> start(std::span<const Send> sends, std::span<const Receive> receives,
                                          std::string_view what) override {
    order_ += fmt::format("{}\n", what);
    return std::make_unique<Untested>(other_.start(sends, receives, what));
  }

 private:
  class Untested final : public PendingTransfers {
   public:
    explicit Untested(std::unique_ptr<PendingTransfers> transfers) : transfers_(std::move(transfers)) {}
    bool test() override { fail(ErrorKind::kInternal, "whether a transfer is done is not to be asked"); }
    void wait() override { transfers_->wait(); }

   private:
    std::unique_ptr<PendingTransfers> transfers_;
  };

  void check_order() noexcept {
    try {
      require_same(other_, order_, "order of transfers");
    } catch (const Error& error) {
      other_.abort(error.what());
    }
  }

  std::string order_;
};

}  // namespace longspan::testing
