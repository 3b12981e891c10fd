// Sockets: connections between ranks, every wait with a deadline. Knows addresses and bytes, not ranks' messages.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace longspan {

using TcpDeadline = std::chrono::steady_clock::time_point;

// Owns a socket that never blocks.
class TcpSocket {
 public:
  TcpSocket() = default;
  explicit TcpSocket(int handle) : handle_(handle) {}
  ~TcpSocket();
  TcpSocket(TcpSocket&& other) noexcept : handle_(std::exchange(other.handle_, -1)) {}
  TcpSocket& operator=(TcpSocket&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  int handle() const { return handle_; }
  explicit operator bool() const { return handle_ >= 0; }

 private:
  int handle_ = -1;
};

struct TcpAddress {
  std::string host;  // a name or a number
  int port = 0;
  std::string describe() const;
};

// On all of this host's addresses; port 0: any that is free. Throws Error(kEnvironment) where the port is taken.
TcpSocket listen_on_tcp(int port);
int port_of(const TcpSocket& listener);
// Of the other end, as a number.
std::string host_of_peer(const TcpSocket& socket);
bool is_loopback(const std::string& host);

// Tries until somebody listens there. Throws Error(kEnvironment) with the last reason once the deadline has passed, at
// once where the host has no address.
TcpSocket connect_to_tcp(const TcpAddress& address, TcpDeadline deadline);
// Absent once the deadline has passed.
TcpSocket accept_tcp(const TcpSocket& listener, TcpDeadline deadline);

// False where the other end closed, or the deadline passed, before all bytes went.
bool write_all(const TcpSocket& socket, const void* bytes, std::int64_t num_bytes, TcpDeadline deadline);
bool read_all(const TcpSocket& socket, void* bytes, std::int64_t num_bytes, TcpDeadline deadline);

}  // namespace longspan
