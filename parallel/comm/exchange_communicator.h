// ExchangeCommunicator: every collective, written once over grouped sends and receives, for all back-ends alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "parallel/comm/comm_device.h"
#include "parallel/comm/communicator.h"

namespace longspan {

// Collectives travel apart from start()'s transfers, so that neither disturbs the other's order.
enum class Channel : std::uint8_t { kPointToPoint, kCollective };
inline constexpr int kNumChannels = 2;

// A back-end gives rank, size, post, divide and abort. What runs here therefore has the back-end's deadlines, message
// splitting and error texts, and gives the same bits on all of them; sums of device memory are made on the host.
class ExchangeCommunicator : public Communicator {
 public:
  void use_device(DeviceRuntime& runtime, Stream compute) final;
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
  std::unique_ptr<Communicator> split(int color, int key) final;
  std::int64_t bytes_sent() const final { return bytes_sent_; }

 protected:
  // start() of one channel; the transfers' peers and sizes have been checked. All buffers are the host's unless
  // moves_device_memory().
  virtual std::unique_ptr<PendingTransfers> post(Channel channel, std::span<const Send> sends,
                                                 std::span<const Receive> receives, std::string_view what) = 0;
  // split(), but for the device.
  virtual std::unique_ptr<ExchangeCommunicator> divide(int color, int key) = 0;
  // Whether post() takes buffers of either kind, also with one end on a device and the other on the host.
  virtual bool moves_device_memory() const { return false; }
  const std::shared_ptr<CommDevice>& device() const { return device_; }  // null: the host alone

 private:
  // acc[0 … n) = acc op x, elementwise, on some element type.
  using Combine = void (*)(std::byte* acc, const std::byte* x, std::int64_t n);
  // Memory that a collective reads or writes, and whose it is.
  struct Place {
    std::byte* data;
    Device device;
    Place operator+(std::int64_t num_bytes) const { return {data + num_bytes, device}; }
  };
  struct Reduction {
    std::int64_t element_bytes;
    Combine combine;
    std::string_view what;
  };
  template <class T>
  static Reduction reduction_of(ReduceOp op, std::string_view what);
  static Reduction reduction_of(DType dtype, ReduceOp op, std::string_view what);

  Place place_of(const Tensor& tensor) const;
  std::unique_ptr<PendingTransfers> post_any(Channel channel, std::span<const Send> sends,
                                             std::span<const Receive> receives, std::string_view what);
  void check_device(Device device, std::string_view what) const;
  void exchange(std::span<const Send> sends, std::span<const Receive> receives, std::string_view what);
  void copy_own(const Place& to, const Place& from, std::int64_t num_bytes);
  void reduce_scatter(const Reduction& reduction, const Place& in, const Place& out,
                      std::span<const std::int64_t> counts);
  void all_reduce(const Reduction& reduction, const Place& values, std::int64_t num_elements);
  void all_gather(const Place& in, const Place& out, std::span<const std::int64_t> counts, std::int64_t element_bytes,
                  std::string_view what);

  std::int64_t bytes_sent_ = 0;
  std::vector<std::byte> scratch_;  // the ranks' pieces of one round of a reduction
  std::shared_ptr<CommDevice> device_;
};

// The ranks of a group that gave the colour this rank gives, by (key, rank). Collective.
std::vector<int> members_of_split(Communicator& group, int color, int key);

}  // namespace longspan
