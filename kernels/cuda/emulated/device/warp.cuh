// Everything threads do together and how they reach memory.
#pragma once

#include "device/lanes.cuh"             // IWYU pragma: export
#include "device/memory.cuh"            // IWYU pragma: export
#include "kernels/cuda/reductions.cuh"  // IWYU pragma: export
