// Processes as ranks over MPI, host memory. Polls with a deadline instead of blocking inside MPI. Needs no mpi.h.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "parallel/comm/communicator.h"

namespace longspan {

// Throws Error(kEnvironment) with MPI's own words unless code is MPI_SUCCESS.
void check_mpi(int code, std::string_view call);

// What the communicators of this process share. abort() may be called from any thread.
class MpiWorld {
 public:
  explicit MpiWorld(const CommOptions& options);

  const CommOptions& options() const { return options_; }
  bool aborted() const { return aborted_.load(std::memory_order_acquire); }
  std::string abort_reason() const;
  void abort(const std::string& reason);
  // abort() because a deadline passed: other ranks' will pass soon.
  void give_up(const std::string& reason);
  bool gave_up() const { return gave_up_.load(std::memory_order_acquire); }

 private:
  const CommOptions options_;
  mutable std::mutex mutex_;
  std::string reason_;
  std::atomic<bool> aborted_ = false;
  std::atomic<bool> gave_up_ = false;
};

// The world's communicator, on a duplicate of MPI's own. MPI must be initialised, and outlive it; so must world.
std::unique_ptr<Communicator> make_mpi_communicator(MpiWorld& world);

}  // namespace longspan
