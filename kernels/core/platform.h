// Compiler and platform differences, all in one place: the only file that may use #if.
#pragma once

#if defined(__CUDACC__)
#define LS_HD __host__ __device__
#else
#define LS_HD
#endif

#define LS_RESTRICT __restrict__
