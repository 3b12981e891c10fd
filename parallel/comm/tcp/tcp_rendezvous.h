// Rendezvous: ranks that know nothing but where rank 0 listens find each other and connect, each with every other.
#pragma once

#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/comm/tcp/tcp_socket.h"

namespace longspan {

// Two connections to each other rank: messages must not stand before word of a failure.
struct TcpPeer {
  TcpSocket data, control;
};

// Of this rank to all ranks, absent to itself. Throws Error(kEnvironment), on every rank that came, naming the ranks
// that did not come before the deadline, Error(kUsage) where two ranks disagree about the number of ranks or call
// themselves the same.
std::vector<TcpPeer> meet_over_tcp(const TcpPlace& place, const CommOptions& options);

}  // namespace longspan
