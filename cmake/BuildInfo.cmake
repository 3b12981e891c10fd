# longspan_build_info(TARGET): gives a target the source file that holds the commit it was built from. Asked for at each
# build; the file is rewritten, and what depends on it built again, only where the answer changed.
function(longspan_build_info target)
  set(file "${CMAKE_CURRENT_BINARY_DIR}/build_commit.cc")
  add_custom_target(${target}_commit BYPRODUCTS "${file}" VERBATIM
    COMMAND "${CMAKE_COMMAND}" "-DFILE=${file}" "-DREPOSITORY=${PROJECT_SOURCE_DIR}"
      -P "${PROJECT_SOURCE_DIR}/cmake/WriteCommit.cmake")
  add_dependencies(${target} ${target}_commit)
  target_sources(${target} PRIVATE "${file}")
endfunction()
