# Run by `cmake --install` where LONGSPAN_BUNDLE is on: copies every library that the installed programs load into lib/.
# BUNDLE_WITHOUT_CUDA=ON leaves CUDA's own to the machine that runs them.
set(prefix "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")
file(GLOB programs "${prefix}/bin/*" "${prefix}/tests/*")
set(theirs
  "^(ld-linux.*|linux-vdso|lib(c|m|dl|rt|pthread|resolv|util|anl|nsl|nss_.*))\\.so"
  "^lib(stdc\\+\\+|gcc_s)\\.so"
  "^libcuda\\.so")
if(BUNDLE_WITHOUT_CUDA)
  list(APPEND theirs "^lib(cudart|cublas|cublasLt|cudnn.*|nccl|nvrtc.*|nvJitLink)\\.so")
endif()
file(GET_RUNTIME_DEPENDENCIES
  EXECUTABLES ${programs}
  RESOLVED_DEPENDENCIES_VAR libraries
  UNRESOLVED_DEPENDENCIES_VAR missing
  PRE_EXCLUDE_REGEXES ${theirs})
if(missing)
  message(FATAL_ERROR "The bundle would lack ${missing}; install them or put their folder in LD_LIBRARY_PATH.")
endif()
file(INSTALL ${libraries} DESTINATION "${CMAKE_INSTALL_PREFIX}/lib" FOLLOW_SYMLINK_CHAIN)
# A library with a search path of its own would look there for its libraries, and not beside the program.
foreach(library ${libraries})
  get_filename_component(real "${library}" REALPATH)
  get_filename_component(name "${real}" NAME)
  file(RPATH_REMOVE FILE "${prefix}/lib/${name}")
endforeach()
