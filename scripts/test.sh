#!/usr/bin/env bash
# Builds Longspan from whatever state the machine is in and runs every check and test. What continuous integration runs.
#
#   scripts/test.sh                 set-up, build, headers, all tests, GPU kernels on an emulated GPU, CUDA where nvcc is
#   scripts/test.sh --quick         without slow tests and anything for GPUs
#   scripts/test.sh --sanitizers    all that, then the unit tests under address, undefined-behaviour and thread sanitizers
#
# The closing line reads "N passed, N failed, N skipped", counting tests of ctest; a step that fails outside ctest (a
# build, say) counts as one failure. The exit code is 0 exactly when nothing failed.
set -uo pipefail
cd "$(dirname "$0")/.."

quick=0 sanitizers=()
case ${1-} in
  '') ;;
  --quick) quick=1 ;;
  --sanitizers) sanitizers=(cpu-asan cpu-tsan) ;;
  -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "test: unknown option $1 (there are --quick and --sanitizers)" >&2; exit 2 ;;
esac

cores=$(nproc)
passed=0 failed=0 skipped=0
failures=()

. scripts/mpi_env.sh
export ASAN_OPTIONS=fast_unwind_on_malloc=0 LSAN_OPTIONS=suppressions=$PWD/scripts/sanitizers/lsan.supp
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=ignore_noninstrumented_modules=1

say() { printf '\n== %s (%d min %02d s)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

# step NAME COMMAND…: runs it; a failure is counted and named at the end.
step() {
  local name=$1
  shift
  say "$name"
  "$@" && return 0
  failed=$((failed + 1))
  failures+=("$name")
  return 1
}

# tests NAME PRESET JOBS [ctest arguments]: runs ctest and adds up its results.
tests() {
  local name=$1 preset=$2 jobs=$3
  shift 3
  local results=build/$preset/results.xml
  say "$name"
  rm -f "$results"
  ctest --preset "$preset" -j "$jobs" --output-junit "$PWD/$results" "$@"
  local counts
  if ! counts=$(python3 scripts/count_results.py "$results"); then
    failed=$((failed + 1))
    failures+=("$name: no results")
    return
  fi
  local p f s names
  IFS=$'\t' read -r p f s names <<<"$counts"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  ((f == 0)) || failures+=("$name: $names")
}

finish() {
  say "finished"
  local failure
  for failure in ${failures[@]+"${failures[@]}"}; do printf 'failed: %s\n' "$failure"; done
  printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  ((failed == 0))
  exit
}

build() { cmake --preset "$1" >"build/$1.log" 2>&1 || { cat "build/$1.log"; return 1; }
  grep -E '^-- (MPI|HDF5|CUDA):' "build/$1.log"
  cmake --build --preset "$1" -j "$cores" "${@:2}"; }

find_nvcc() { [[ -n ${CUDA_HOME-} && -x $CUDA_HOME/bin/nvcc ]] || command -v nvcc >/dev/null; }

mkdir -p build
step "set-up" scripts/setup.sh || finish
step "build" build cpu || finish
step "every header compiles alone" cmake --build --preset cpu -j "$cores" --target lone_headers
if ((quick)); then
  tests "tests but the slow ones" cpu "$cores" -LE slow
  finish
fi
tests "tests" cpu "$cores"
for preset in ${sanitizers[@]+"${sanitizers[@]}"}; do
  # OpenMP's run time is not built for the thread sanitizer, which cannot see its barriers: one thread a rank there.
  [[ $preset != cpu-tsan ]] || export OMP_THREAD_LIMIT=1
  if step "build $preset" build "$preset" --target longspan_tests; then
    tests "tests under $preset" "$preset" 1 -L '^unit$'
  fi
done
unset OMP_THREAD_LIMIT
# What is not for GPUs is the same in these builds, which ccache knows.
if step "build cuda-emulated" build cuda-emulated --target longspan longspan_device_tests; then
  tests "kernels for GPUs, emulated" cuda-emulated "$cores" -L '^emulated$'
fi
if find_nvcc; then
  if step "build cuda" build cuda --target longspan longspan_device_tests device_query_test; then
    tests "tests on GPUs" cuda 1 -L '^gpu$'
    tests "the CUDA build, with or without a GPU" cuda 1 -R '^(DeviceQuery|CudaBinary)\.'
  fi
else
  say "CUDA: not compiled, there is no nvcc in CUDA_HOME/bin or PATH"
fi
finish
