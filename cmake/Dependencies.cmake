# The libraries the house stands on, found or reported plainly.
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(yaml-cpp REQUIRED)

# oneDNN's own package file demands OpenCL's headers, which using it on a CPU does not.
find_path(DNNL_INCLUDE_DIR dnnl.hpp REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
add_library(longspan_dnnl INTERFACE)
target_include_directories(longspan_dnnl SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
target_link_libraries(longspan_dnnl INTERFACE ${DNNL_LIBRARY})

find_package(PkgConfig REQUIRED)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)

# OpenMPI's C++ bindings are gone from the standard; linking only C needs both hints.
set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI COMPONENTS C)
if(MPI_C_FOUND)
  message(STATUS "MPI: ${MPI_C_VERSION}, ranks as threads or processes")
else()
  message(STATUS "MPI: not found, ranks as threads of one process only")
endif()

set(HDF5_PREFER_PARALLEL ON)
find_package(HDF5 REQUIRED COMPONENTS C)
message(STATUS "HDF5: ${HDF5_VERSION}, parallel ${HDF5_IS_PARALLEL}")
add_library(longspan_hdf5 INTERFACE)
target_include_directories(longspan_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
target_link_libraries(longspan_hdf5 INTERFACE ${HDF5_C_LIBRARIES})
if(HDF5_IS_PARALLEL AND MPI_C_FOUND)
  target_compile_definitions(longspan_hdf5 INTERFACE OMPI_SKIP_MPICXX=1 MPICH_SKIP_MPICXX=1)
  target_link_libraries(longspan_hdf5 INTERFACE MPI::MPI_C)
endif()

if(LONGSPAN_TESTS)
  find_package(GTest REQUIRED)
endif()
