// ExchangeCommunicator: every collective, written once over grouped sends and receives, for all back-ends alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "parallel/comm/communicator.h"

namespace longspan {

// Collectives travel apart from start()'s transfers, so that neither disturbs the other's order.
enum class Channel : std::uint8_t { kPointToPoint, kCollective };
inline constexpr int kNumChannels = 2;

// A back-end gives rank, size, post, split and abort. What runs here therefore has the back-end's deadlines, message
// splitting and error texts, and gives the same bits on all of them.
class ExchangeCommunicator : public Communicator {
 public:
  std::unique_ptr<PendingTransfers> start(std::span<const Send> sends, std::span<const Receive> receives,
                                          std::string_view what) final;
  void all_reduce(const Tensor& tensor, ReduceOp op) final;
  void all_reduce(std::span<double> values, ReduceOp op) final;
  void all_gather_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) final;
  void reduce_scatter_v(const Tensor& in, const Tensor& out, std::span<const std::int64_t> counts) final;
  void all_to_all_v(const Tensor& in, std::span<const std::int64_t> send_counts, const Tensor& out,
                    std::span<const std::int64_t> receive_counts) final;
  void broadcast(const Tensor& tensor, int root) final;
  void barrier() final;
  std::int64_t bytes_sent() const final { return bytes_sent_; }

 protected:
  // start() of one channel; the transfers' peers and sizes have been checked.
  virtual std::unique_ptr<PendingTransfers> post(Channel channel, std::span<const Send> sends,
                                                 std::span<const Receive> receives, std::string_view what) = 0;

 private:
  // acc[0 … n) = acc op x, elementwise, on some element type.
  using Combine = void (*)(std::byte* acc, const std::byte* x, std::int64_t n);
  struct Reduction {
    std::int64_t element_bytes;
    Combine combine;
    std::string_view what;
  };
  template <class T>
  static Reduction reduction_of(ReduceOp op, std::string_view what);
  static Reduction reduction_of(DType dtype, ReduceOp op, std::string_view what);

  void exchange(std::span<const Send> sends, std::span<const Receive> receives, std::string_view what);
  void reduce_scatter(const Reduction& reduction, const std::byte* in, std::byte* out,
                      std::span<const std::int64_t> counts);
  void all_reduce(const Reduction& reduction, std::byte* values, std::int64_t num_elements);
  void all_gather(const std::byte* in, std::byte* out, std::span<const std::int64_t> counts, std::int64_t element_bytes,
                  std::string_view what);

  std::int64_t bytes_sent_ = 0;
  std::vector<std::byte> scratch_;  // the other ranks' pieces of one round of a reduction
};

}  // namespace longspan
