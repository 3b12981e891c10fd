# longspan_test(NAME SOURCES … USES … [DEFINES …] [LABELS label] [TIMEOUT seconds]): one GoogleTest program; each of its
# tests is a test of ctest with one label, "unit" unless given (CMake 3.25 loses the second on its way to discovered
# tests). Golden cases and the plan checker are found through LONGSPAN_CASES and LONGSPAN_PLAN_CHECKER. The target
# longspan_tests builds all of them.
include(GoogleTest)
add_custom_target(longspan_tests)

function(longspan_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;USES;DEFINES;LABELS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  if(NOT T_LABELS)
    set(T_LABELS unit)
  endif()
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE longspan_settings ${T_USES} GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE LONGSPAN_CASES="${LONGSPAN_CASES}"
    LONGSPAN_PLAN_CHECKER="${LONGSPAN_PLAN_CHECKER}" ${T_DEFINES})
  if(LONGSPAN_TEST_PROGRAMS AND NOT name MATCHES "${LONGSPAN_TEST_PROGRAMS}")
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
    return()
  endif()
  add_dependencies(longspan_tests ${name})
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT ${T_TIMEOUT} LABELS "${T_LABELS}")
endfunction()
