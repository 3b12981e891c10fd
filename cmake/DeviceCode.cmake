# Device code (.cu) and the vocabulary it is written in. With LONGSPAN_CUDA=ON nvcc compiles it against
# kernels/cuda/nvidia; with EMULATED the C++ compiler does, against kernels/cuda/emulated, and it runs on the CPU.
add_library(longspan_device_code INTERFACE)
if(LONGSPAN_CUDA STREQUAL "ON")
  target_include_directories(longspan_device_code INTERFACE "${PROJECT_SOURCE_DIR}/kernels/cuda/nvidia"
    ${CUDAToolkit_INCLUDE_DIRS})
elseif(LONGSPAN_CUDA STREQUAL "EMULATED")
  target_include_directories(longspan_device_code INTERFACE "${PROJECT_SOURCE_DIR}/kernels/cuda/emulated")
  target_link_libraries(longspan_device_code INTERFACE Boost::context)
  target_compile_options(longspan_device_code INTERFACE -Wno-unknown-pragmas)  # "#pragma unroll" is nvcc's
  target_compile_options(longspan_device_code INTERFACE -Wno-psabi)  # a note on what GCC 4.6 changed
endif()

# longspan_device_code(FILES…): the .cu among these files of the current folder are for the compiler that LONGSPAN_CUDA
# means.
function(longspan_device_code)
  if(LONGSPAN_CUDA STREQUAL "EMULATED")
    list(FILTER ARGN INCLUDE REGEX "\\.cu$")
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX)
  endif()
endfunction()
