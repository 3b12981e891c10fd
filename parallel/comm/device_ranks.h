// Device ranks: a world's communicator for ranks that compute on devices, by the fastest way there is between them.
#pragma once

#include <memory>

#include "parallel/comm/communicator.h"

namespace longspan {

// For ranks that are processes with a GPU each, NCCL where it is built; otherwise the world's own transport with the
// devices' memory. `ordinal` is this rank's GPU among those of its host: ranks that share one cannot use NCCL.
// Collective; keeps references, and is destroyed before the runtime and the world.
std::unique_ptr<Communicator> make_device_ranks(Communicator& world, DeviceRuntime& runtime, Stream compute,
                                                int ordinal, const CommOptions& options);

}  // namespace longspan
