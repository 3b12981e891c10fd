# cuDNN and its C++ front end, headers alone (PyPI's nvidia-cudnn-frontend, MIT and Apache 2.0): taken where both are found.
# LONGSPAN_CUDNN_FRONTEND: the folder of cudnn_frontend.h. scripts/setup.sh puts it into build/_deps where nvcc is there.
set(LONGSPAN_CUDNN_FRONTEND "" CACHE PATH "Folder of cudnn_frontend.h; empty: looked for")
find_package(Python3 QUIET COMPONENTS Interpreter)
if(Python3_FOUND)
  execute_process(COMMAND "${Python3_EXECUTABLE}" -c "import site, sys; print(';'.join(p + '/include' for p in sys.path if p))"
    OUTPUT_VARIABLE python_includes OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
find_path(LONGSPAN_CUDNN_FRONTEND_INCLUDE cudnn_frontend.h NO_DEFAULT_PATH
  PATHS "${LONGSPAN_CUDNN_FRONTEND}" "${PROJECT_SOURCE_DIR}/build/_deps/cudnn-frontend/include" ${python_includes})
find_path(LONGSPAN_CUDNN_INCLUDE cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(LONGSPAN_CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 HINTS ${CUDAToolkit_LIBRARY_DIR})
if(LONGSPAN_CUDNN_FRONTEND_INCLUDE AND LONGSPAN_CUDNN_INCLUDE AND LONGSPAN_CUDNN_LIBRARY)
  add_library(longspan_cudnn INTERFACE)
  target_include_directories(longspan_cudnn SYSTEM INTERFACE "${LONGSPAN_CUDNN_FRONTEND_INCLUDE}" "${LONGSPAN_CUDNN_INCLUDE}")
  target_link_libraries(longspan_cudnn INTERFACE "${LONGSPAN_CUDNN_LIBRARY}" CUDA::cudart CUDA::nvrtc)
  message(STATUS "cuDNN: attention of whole documents")
else()
  message(STATUS "cuDNN: left out; cudnn.h: ${LONGSPAN_CUDNN_INCLUDE}, its front end: ${LONGSPAN_CUDNN_FRONTEND_INCLUDE}")
endif()
