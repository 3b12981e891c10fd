#include "parallel/comm/tcp/tcp_socket.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include "kernels/core/error.h"

namespace longspan {
namespace {

using Clock = std::chrono::steady_clock;

int ms_until(TcpDeadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left + 1, 0, 1000));
}

// True once the socket is ready for `events`, false once the deadline has passed.
bool wait_until_ready(int handle, short events, TcpDeadline deadline) {
  do {
    pollfd one{handle, events, 0};
    if (poll(&one, 1, ms_until(deadline)) > 0) return true;
  } while (Clock::now() < deadline);
  return false;
}

void set_option(int handle, int level, int name, int value) {
  setsockopt(handle, level, name, &value, sizeof value);  // better to have than not; works without
}

// Small messages leave at once; a host that is gone is noticed in about half a minute.
void prepare(int handle) {
  fcntl(handle, F_SETFL, fcntl(handle, F_GETFL) | O_NONBLOCK);
  fcntl(handle, F_SETFD, FD_CLOEXEC);
  set_option(handle, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(handle, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(handle, IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set_option(handle, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(handle, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

// Bound to the port on every address of both families where the host has IPv6, otherwise of IPv4. Sets errno.
TcpSocket bound_to(int family, int port) {
  TcpSocket socket(::socket(family, SOCK_STREAM, 0));
  if (!socket) return socket;
  set_option(socket.handle(), SOL_SOCKET, SO_REUSEADDR, 1);
  sockaddr_storage place{};
  socklen_t length = 0;
  if (family == AF_INET6) {
    set_option(socket.handle(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
    auto& v6 = reinterpret_cast<sockaddr_in6&>(place);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(static_cast<std::uint16_t>(port));
    length = sizeof v6;
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(place);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<std::uint16_t>(port));
    length = sizeof v4;
  }
  if (bind(socket.handle(), reinterpret_cast<sockaddr*>(&place), length) != 0) return {};
  return socket;
}

// One attempt at one address; absent with errno set.
TcpSocket try_to_connect(const addrinfo& place, TcpDeadline deadline) {
  TcpSocket socket(::socket(place.ai_family, SOCK_STREAM, 0));
  if (!socket) return socket;
  prepare(socket.handle());
  if (connect(socket.handle(), place.ai_addr, place.ai_addrlen) == 0) return socket;
  if (errno != EINPROGRESS) return {};
  if (!wait_until_ready(socket.handle(), POLLOUT, deadline)) {
    errno = ETIMEDOUT;
    return {};
  }
  int code = 0;
  socklen_t size = sizeof code;
  getsockopt(socket.handle(), SOL_SOCKET, SO_ERROR, &code, &size);
  errno = code;
  return code == 0 ? std::move(socket) : TcpSocket();
}

}  // namespace

TcpSocket::~TcpSocket() {
  if (handle_ >= 0) close(handle_);
}

std::string TcpAddress::describe() const {
  return fmt::format("{}:{}", host, port);
}

TcpSocket listen_on_tcp(int port) {
  TcpSocket socket = bound_to(AF_INET6, port);
  if (!socket && errno != EADDRINUSE) socket = bound_to(AF_INET, port);
  if (socket && listen(socket.handle(), SOMAXCONN) == 0) {
    prepare(socket.handle());
    return socket;
  }
  fail(ErrorKind::kEnvironment,
       "rank 0 cannot listen on port {}: {}; another run may be using it: give another port (MASTER_PORT; "
       "torchrun --master-port)",
       port, std::strerror(errno));
}

int port_of(const TcpSocket& listener) {
  sockaddr_storage place{};
  socklen_t length = sizeof place;
  getsockname(listener.handle(), reinterpret_cast<sockaddr*>(&place), &length);
  return ntohs(place.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(place).sin6_port
                                           : reinterpret_cast<sockaddr_in&>(place).sin_port);
}

std::string host_of_peer(const TcpSocket& socket) {
  sockaddr_storage place{};
  socklen_t length = sizeof place;
  getpeername(socket.handle(), reinterpret_cast<sockaddr*>(&place), &length);
  char text[NI_MAXHOST] = {};
  getnameinfo(reinterpret_cast<sockaddr*>(&place), length, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  return text;
}

bool is_loopback(const std::string& host) {
  return host.starts_with("127.") || host.starts_with("::ffff:127.") || host == "::1";
}

TcpSocket connect_to_tcp(const TcpAddress& address, TcpDeadline deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  LS_REQUIRE(kEnvironment, code == 0, "{} has no address: {}; is MASTER_ADDR right?", address.host, gai_strerror(code));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> places(found, freeaddrinfo);
  while (true) {
    for (const addrinfo* place = places.get(); place != nullptr; place = place->ai_next)
      if (TcpSocket socket = try_to_connect(*place, deadline)) return socket;
    const int last = errno;
    if (Clock::now() >= deadline)
      fail(ErrorKind::kEnvironment, "cannot reach {}: {}", address.describe(), std::strerror(last));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

TcpSocket accept_tcp(const TcpSocket& listener, TcpDeadline deadline) {
  while (wait_until_ready(listener.handle(), POLLIN, deadline)) {
    TcpSocket socket(accept(listener.handle(), nullptr, nullptr));
    if (!socket) continue;
    prepare(socket.handle());
    return socket;
  }
  return {};
}

bool write_all(const TcpSocket& socket, const void* bytes, std::int64_t num_bytes, TcpDeadline deadline) {
  const auto* next = static_cast<const char*>(bytes);
  while (num_bytes > 0) {
    if (!wait_until_ready(socket.handle(), POLLOUT, deadline)) return false;
    const ssize_t count = send(socket.handle(), next, static_cast<std::size_t>(num_bytes), MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN && errno != EINTR) return false;
    next += std::max<ssize_t>(count, 0);
    num_bytes -= std::max<ssize_t>(count, 0);
  }
  return true;
}

bool read_all(const TcpSocket& socket, void* bytes, std::int64_t num_bytes, TcpDeadline deadline) {
  auto* next = static_cast<char*>(bytes);
  while (num_bytes > 0) {
    if (!wait_until_ready(socket.handle(), POLLIN, deadline)) return false;
    const ssize_t count = recv(socket.handle(), next, static_cast<std::size_t>(num_bytes), 0);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return false;
    next += std::max<ssize_t>(count, 0);
    num_bytes -= std::max<ssize_t>(count, 0);
  }
  return true;
}

}  // namespace longspan
