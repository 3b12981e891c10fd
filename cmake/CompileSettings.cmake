# Language standard, warnings, sanitizers, ccache: alike for every room.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
# An installed program finds its libraries beside it wherever the folder is moved. The old tag also serves the
# libraries' own libraries, which the new one does not.
set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib")
add_link_options(-Wl,--as-needed -Wl,--disable-new-dtags)

find_program(LONGSPAN_CCACHE ccache)
if(LONGSPAN_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${LONGSPAN_CCACHE}")
  set(CMAKE_CUDA_COMPILER_LAUNCHER "${LONGSPAN_CCACHE}")
endif()

add_library(longspan_settings INTERFACE)
target_include_directories(longspan_settings INTERFACE "${PROJECT_SOURCE_DIR}")
target_compile_options(longspan_settings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Werror -fno-math-errno -ffp-contract=off>
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra --Werror=all-warnings --expt-relaxed-constexpr>)
# fmt 9 thinks that nvcc has but half of constexpr, and then does not compile in C++20.
target_compile_definitions(longspan_settings INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:FMT_USE_CONSTEXPR=1>)
if(LONGSPAN_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
  target_compile_options(longspan_settings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${LONGSPAN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all>)
  target_link_options(longspan_settings INTERFACE -fsanitize=${LONGSPAN_SANITIZE})
endif()
