// CUDA's own words, types and variables.
#pragma once

#include <cstdint>
#include <cuda_runtime.h>
