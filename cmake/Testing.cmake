# longspan_test(NAME SOURCES … USES … [DEFINES …] [LABELS label] [TIMEOUT seconds] [PREFIX text] [DEVICE]): one
# GoogleTest program; each of its tests is a test of ctest, its name behind PREFIX, with one label, "unit" unless given
# (CMake 3.25 loses the second on its way to discovered tests). Golden cases and the plan checker are found through
# LONGSPAN_CASES and LONGSPAN_PLAN_CHECKER. The target longspan_tests builds all of them.
#
# DEVICE: a program that computes on GPU 0. Not made without CUDA; with the label "emulated" where the GPU is, and with
# "gpu" otherwise, where its tests are skipped if the machine has none. The target longspan_device_tests builds these;
# they are what a bundle for a machine with GPUs holds.
include(GoogleTest)
add_custom_target(longspan_tests)
add_custom_target(longspan_device_tests)

function(longspan_test name)
  cmake_parse_arguments(T "DEVICE" "TIMEOUT;PREFIX" "SOURCES;USES;DEFINES;LABELS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  if(NOT T_LABELS)
    set(T_LABELS unit)
  endif()
  set(main GTest::gtest_main)
  if(T_DEVICE)
    if(LONGSPAN_CUDA STREQUAL "OFF")
      return()
    elseif(LONGSPAN_CUDA STREQUAL "EMULATED")
      set(T_LABELS emulated)
    else()
      set(T_LABELS gpu)
    endif()
    list(APPEND T_SOURCES "${PROJECT_SOURCE_DIR}/tests/support/device_main.cc")
    list(APPEND T_USES longspan_cuda)
    set(main GTest::gtest)
  endif()
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE longspan_settings ${T_USES} ${main})
  target_compile_definitions(${name} PRIVATE LONGSPAN_CASES="${LONGSPAN_CASES}"
    LONGSPAN_PLAN_CHECKER="${LONGSPAN_PLAN_CHECKER}" ${T_DEFINES})
  if(LONGSPAN_TEST_PROGRAMS AND NOT name MATCHES "${LONGSPAN_TEST_PROGRAMS}")
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
    return()
  endif()
  add_dependencies(longspan_tests ${name})
  if(T_DEVICE)
    add_dependencies(longspan_device_tests ${name})
    install(TARGETS ${name} RUNTIME DESTINATION tests COMPONENT longspan_device_tests EXCLUDE_FROM_ALL)
  endif()
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    TEST_PREFIX "${T_PREFIX}"
    PROPERTIES TIMEOUT ${T_TIMEOUT} LABELS "${T_LABELS}")
endfunction()
