// Joins hosts, which are network namespaces, by TUN devices and holds every packet back for a while: what distance
// does, on kernels without netem. It knows nothing of rates: those are for a token bucket on each host's device, where
// TCP notices that its packets wait and does not fill the queue.
//
//   link_delay DELAY_US SWITCH HOST…
//
// SWITCH and HOST are names of namespaces of ip-netns(8). The i-th host is to have the address 10.77.0.i on its device
// eth0, which is made here. Once all devices are there the program goes on in the background, within SWITCH, until it
// is killed; the devices end with it. A host whose carrier is off hears nothing, as if its cable were pulled.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr char kDevice[] = "eth0";
constexpr unsigned char kNetwork[] = {10, 77, 0};
constexpr std::size_t kMaxPacketBytes = 65536;
constexpr std::size_t kMaxBytesUnderWay = std::size_t{256} << 20;  // more is dropped, as a switch would
constexpr int kMaxPacketsInTurn = 64;                              // then the next host has its turn

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "link_delay: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

void enter(const std::string& name) {
  const std::string path = "/run/netns/" + name;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("opening " + path);
  if (setns(fd, CLONE_NEWNET) != 0) fail("entering the network namespace " + name);
  close(fd);
}

ifreq device_request() {
  ifreq request = {};
  std::memcpy(request.ifr_name, kDevice, sizeof kDevice);
  return request;
}

// One end of a link: packets that the host sends are read from `device`, what is written there it receives.
struct Host {
  int device;
  int socket;  // of the host's namespace, to ask for the carrier

  bool is_plugged_in() const {
    ifreq request = device_request();
    return ioctl(socket, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_RUNNING) != 0;
  }
};

Host make_host(const std::string& name) {
  enter(name);
  const Host host = {.device = open("/dev/net/tun", O_RDWR | O_NONBLOCK), .socket = socket(AF_INET, SOCK_DGRAM, 0)};
  if (host.device < 0) fail("opening /dev/net/tun (modprobe tun; in a container: --device /dev/net/tun)");
  if (host.socket < 0) fail("a socket of " + name);
  ifreq request = device_request();
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (ioctl(host.device, TUNSETIFF, &request) != 0) fail("making a TUN device of " + name);
  return host;
}

struct Packet {
  Clock::time_point due;
  std::size_t host;  // index of the one it goes to
  std::vector<char> bytes;
};

class Switch {
 public:
  Switch(std::vector<Host> hosts, std::chrono::microseconds delay) : hosts_(std::move(hosts)), delay_(delay) {
    for (const Host& host : hosts_) events_.push_back({.fd = host.device, .events = POLLIN, .revents = 0});
  }

  [[noreturn]] void run() {
    while (true) {
      wait();
      for (std::size_t i = 0; i < hosts_.size(); ++i) {
        if ((events_[i].revents & POLLIN) != 0) take_from(hosts_[i]);
      }
      deliver();
    }
  }

 private:
  void wait() {
    timespec timeout = {};
    if (!under_way_.empty()) {
      const auto left = std::max(Clock::duration::zero(), under_way_.front().due - Clock::now());
      timeout.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(left).count();
      timeout.tv_nsec = (left % std::chrono::seconds(1)).count();
    }
    if (ppoll(events_.data(), events_.size(), under_way_.empty() ? nullptr : &timeout, nullptr) < 0 && errno != EINTR) {
      fail("waiting for packets");
    }
  }

  void take_from(const Host& host) {
    for (int i = 0; i < kMaxPacketsInTurn; ++i) {
      const ssize_t num_bytes = read(host.device, buffer_.data(), buffer_.size());
      if (num_bytes <= 0) return;
      const std::vector<char> bytes(buffer_.begin(), buffer_.begin() + num_bytes);
      const std::size_t to = destination(bytes);
      if (to >= hosts_.size() || bytes_under_way_ + bytes.size() > kMaxBytesUnderWay) continue;
      bytes_under_way_ += bytes.size();
      // The delay is the same for all: packets come due in the order in which they are taken.
      under_way_.push_back({Clock::now() + delay_, to, bytes});
    }
  }

  // Of an IPv4 packet to a host of the network; past the hosts otherwise.
  std::size_t destination(const std::vector<char>& packet) const {
    constexpr std::size_t kAddress = 16;
    const bool is_ours = packet.size() >= kAddress + 4 && (packet[0] >> 4) == 4 &&
                         std::memcmp(packet.data() + kAddress, kNetwork, sizeof kNetwork) == 0;
    return is_ours ? static_cast<unsigned char>(packet[kAddress + 3]) - std::size_t{1} : hosts_.size();
  }

  void deliver() {
    while (!under_way_.empty() && under_way_.front().due <= Clock::now()) {
      const Packet& packet = under_way_.front();
      const Host& host = hosts_[packet.host];
      // What a host does not take is lost, and TCP sends it again.
      if (host.is_plugged_in() && write(host.device, packet.bytes.data(), packet.bytes.size()) < 0) errno = 0;
      bytes_under_way_ -= packet.bytes.size();
      under_way_.pop_front();
    }
  }

  const std::vector<Host> hosts_;
  const std::chrono::microseconds delay_;
  std::vector<pollfd> events_;
  std::deque<Packet> under_way_;
  std::size_t bytes_under_way_ = 0;
  std::vector<char> buffer_ = std::vector<char>(kMaxPacketBytes);
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("usage: link_delay DELAY_US SWITCH HOST...\n", stderr);
    return 2;
  }
  const std::chrono::microseconds delay(std::atoll(argv[1]));
  std::vector<Host> hosts;
  for (int i = 3; i < argc; ++i) hosts.push_back(make_host(argv[i]));
  enter(argv[2]);
  if (daemon(0, 0) != 0) fail("going on in the background");
  // Trainers keep every core busy; without precedence over them the delay would be that of the scheduler. Where that is
  // not allowed, delays are only less exact.
  const sched_param priority = {.sched_priority = 1};
  sched_setscheduler(0, SCHED_RR, &priority);
  prctl(PR_SET_TIMERSLACK, 1);
  Switch(std::move(hosts), delay).run();
}
