#!/usr/bin/env bash
# A program with CUDA starts on a machine without a GPU, computes on its CPU, and says plainly why it finds no GPU.
#   cuda_binary_test.sh LONGSPAN CASES CONFIGS
# Exit code 77, skipped: there is a GPU.
set -uo pipefail
longspan=$1 cases=$2 configs=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
environment=7

faults=0
# expect CODE WORDS COMMAND…: its exit code, and that it says WORDS.
expect() {
  local code=$1 words=$2
  shift 2
  local said got=0
  said=$("$@" 2>&1) || got=$?
  if [[ $got != "$code" || $said != *"$words"* ]]; then
    printf 'expected code %s and "%s" of: %s\ngot code %s: %s\n' "$code" "$words" "$*" "$got" "$(tail -n 5 <<<"$said")"
    faults=1
  fi
}

train=("$longspan" train "$configs/gpu-parity.yaml" "--run.dir=$folder" --run.steps=1 --data.sequence_length=128)
if "${train[@]}" --run.device=cuda --run.name=first >/dev/null 2>&1; then
  echo "there is a GPU here"
  exit 77
fi
expect $environment "no CUDA driver" "${train[@]}" --run.device=cuda --run.name=cuda
expect 0 "no CUDA driver" "${train[@]}" --run.device=auto --run.name=auto
if [[ -f $cases/softmax-causal.h5 ]]; then
  expect $environment "no CUDA driver" "$longspan" check --device cuda "$cases/softmax-causal.h5"
fi
expect $environment "no CUDA driver" "$longspan" bench kernels --device cuda --tokens 32 --hidden 32 --heads 1 --ffn 32 --vocab 32
exit $faults
