#!/usr/bin/env bash
# Builds what a GPU is to check, packs it so that it runs on a machine with nothing but a driver and CUDA's libraries, and
# runs it there.
#
#   scripts/gpu_check.sh --pack [--arch 90a-real] [--emulated]    builds and writes build/gpu-bundle.tar.gz
#   scripts/gpu_check.sh --run BUNDLE --out FOLDER [words for scripts/gpu/run_checks.py]
#
# --arch takes CMake's CUDA_ARCHITECTURES. --emulated packs the build whose kernels run on the CPU: it takes every step
# through its motions where there is no GPU, at small sizes. BUNDLE is the file that --pack wrote or the folder in it.
# The machine that runs it needs python3, a driver, and CUDA's libraries (CUDA_HOME, or the wheels nvidia-* of pip).
# Each step has a time limit, and one that fails does not stop the others. FOLDER gets steps.jsonl, bench.jsonl, about.json and logs;
# scripts/gpu_results.py makes docs/gpu-results.md's tables of them.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

die() { printf 'gpu_check: %s\n' "$1" >&2; exit 2; }
usage() { sed -n '2,13s/^# \{0,1\}//p' "$0"; }

pack() {
  local preset=cuda arch=90a-real
  while (($#)); do
    case $1 in
      --arch) arch=${2:?--arch needs a value}; shift 2 ;;
      --emulated) preset=cuda-emulated; shift ;;
      *) die "--pack does not take $1" ;;
    esac
  done
  local build=$root/build/$preset-bundle
  local architectures=()
  [[ $preset != cuda ]] || architectures=("-DCMAKE_CUDA_ARCHITECTURES=$arch")
  (cd "$root" && cmake --preset "$preset" -B "$build" ${architectures[@]+"${architectures[@]}"} >/dev/null)
  cmake --build "$build" --target longspan longspan_device_tests
  "$root/scripts/gpu/pack.sh" "$build" "$root/build/gpu-bundle"
}

scratch=
run() {
  local bundle=${1:?--run needs the bundle}
  shift
  if [[ -f $bundle ]]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    tar -xzf "$bundle" -C "$scratch"
    bundle=$scratch/gpu-bundle
  fi
  [[ -x $bundle/bin/longspan ]] || die "$bundle holds no bin/longspan; make it with scripts/gpu_check.sh --pack"
  # CUDA's own libraries are the machine's: the bundle leaves them out.
  local cuda
  cuda=$(python3 "$root/scripts/gpu/cuda_libraries.py")
  LD_LIBRARY_PATH=$cuda${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} python3 "$root/scripts/gpu/run_checks.py" "$bundle" "$@"
}

case ${1-} in
  --pack) shift; pack "$@" ;;
  --run) shift; run "$@" ;;
  -h | --help) usage ;;
  *) usage >&2; exit 2 ;;
esac
