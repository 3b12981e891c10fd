# Run by `cmake --install` where LONGSPAN_BUNDLE is on: copies every library the program loads into lib/.
file(GET_RUNTIME_DEPENDENCIES
  EXECUTABLES "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/bin/longspan"
  RESOLVED_DEPENDENCIES_VAR libraries
  UNRESOLVED_DEPENDENCIES_VAR missing
  PRE_EXCLUDE_REGEXES
    "^(ld-linux.*|linux-vdso|lib(c|m|dl|rt|pthread|resolv|util|anl|nsl|nss_.*))\\.so"
    "^lib(stdc\\+\\+|gcc_s)\\.so"
    "^libcuda\\.so")
if(missing)
  message(FATAL_ERROR "The bundle would lack ${missing}; install them or put their folder in LD_LIBRARY_PATH.")
endif()
file(INSTALL ${libraries} DESTINATION "${CMAKE_INSTALL_PREFIX}/lib" FOLLOW_SYMLINK_CHAIN)
# A library with a search path of its own would look there for its libraries, and not beside the program.
foreach(library ${libraries})
  get_filename_component(real "${library}" REALPATH)
  get_filename_component(name "${real}" NAME)
  file(RPATH_REMOVE FILE "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/lib/${name}")
endforeach()
