# The CUDA toolkit, for LONGSPAN_CUDA=ON: nvcc from CUDA_HOME, CUDA_PATH or PATH; CUDA 12 or newer.
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(LONGSPAN_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATH_SUFFIXES bin)
  if(NOT LONGSPAN_NVCC)
    message(FATAL_ERROR "LONGSPAN_CUDA=ON needs nvcc, which is neither in CUDA_HOME/bin nor in PATH. "
      "Set CUDA_HOME to the toolkit's folder, or configure with the preset cpu.")
  endif()
  set(CMAKE_CUDA_COMPILER "${LONGSPAN_NVCC}")
endif()
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  # 90a and not 90: Hopper's warp-group instructions belong to the architecture-specific target alone.
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real)
endif()
# Otherwise CMake adds the static runtime beside the shared one that the libraries use.
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
enable_language(CUDA)
# CMake 3.25 does not know that nvcc speaks C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
find_package(CUDAToolkit 12.0 REQUIRED)
message(STATUS "CUDA: ${CUDAToolkit_VERSION}, code for ${CMAKE_CUDA_ARCHITECTURES}")
