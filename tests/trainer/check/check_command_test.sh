#!/usr/bin/env bash
# longspan check as a user meets it: exit codes, threads and MPI alike, and a case that was tampered with.
#   check_command_test.sh PROGRAM CASES
set -uo pipefail
program=$1 cases=$2
. "$(dirname "$0")/../../../scripts/mpi_env.sh"
[[ -f $cases/softmax-causal.h5 ]] || { echo "skipped: there are no cases in $cases"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
faults=0

# expect CODE PATTERN COMMAND…: the command's exit code, and a line of what it says.
expect() {
  local code=$1 pattern=$2 text got
  shift 2
  text=$("$@" 2>&1)
  got=$?
  if ((got != code)) || ! grep -qE -- "$pattern" <<<"$text"; then
    printf 'expected exit code %d and "%s", got %d from: %s\n%s\n' "$code" "$pattern" "$got" "$*" "$text"
    faults=$((faults + 1))
  fi
}

softmax=("$cases"/softmax-*.h5)
all_pass="^${#softmax[@]} cases: ${#softmax[@]} pass, 0 fail"
expect 0 "$all_pass" "$program" check "${softmax[@]}" --ranks 3
expect 0 "$all_pass" "$program" check "${softmax[@]}" --ranks 2 --scheme ring --precision bf16
if command -v mpirun >/dev/null; then
  for scheme in ring striped zigzag ulysses all_gather two_d auto; do
    for precision in fp32 bf16; do
      expect 0 "$all_pass" mpirun -n 4 "$program" check "${softmax[@]}" --threads 1 --precision $precision --scheme $scheme
    done
  done
fi

# One expected number altered: the exponent byte of one double of `out`.
cp "$cases/softmax-causal.h5" "$folder/altered.h5"
offset=$(h5dump -p -H -d out "$folder/altered.h5" | awk '/OFFSET/ {print $2; exit}')
if [[ -n $offset ]]; then
  printf '\x41' | dd of="$folder/altered.h5" bs=1 seek=$((offset + 8 * 100 + 7)) conv=notrunc status=none
  expect 1 'out .* FAIL' "$program" check "$folder/altered.h5"
  expect 1 '2 cases: 1 pass, 1 fail' "$program" check "$folder/altered.h5" "$cases/softmax-sink.h5" --ranks 2
fi

head -c 4000 "$cases/softmax-causal.h5" >"$folder/torn.h5"
expect 4 'torn\.h5' "$program" check "$folder/torn.h5"
expect 4 'absent\.h5' "$program" check "$folder/absent.h5" --ranks 2
expect 3 'linear is not built' "$program" check "$cases/linear-lightning.h5"
# On a GPU: the same verdict where there is one, else the reason why none.
reason=$("$program" check "$cases/softmax-causal.h5" --device cuda 2>&1)
case $reason in
  *"built without CUDA"*) expect 3 'device cuda: there is no GPU' "$program" check "$cases/softmax-causal.h5" --device cuda ;;
  *"there is no GPU"*) expect 7 'device cuda: there is no GPU' "$program" check "$cases/softmax-causal.h5" --device cuda ;;
  *)
    for precision in fp32 bf16; do
      expect 0 "$all_pass" "$program" check "${softmax[@]}" --device cuda --precision $precision
      expect 0 "$all_pass" "$program" check "${softmax[@]}" --device cuda --precision $precision --ranks 3
    done
    ;;
esac
expect 2 'zigzagged' "$program" check "$cases/softmax-causal.h5" --scheme zigzagged
expect 2 'required|cases' "$program" check
((faults == 0)) && echo "all as expected"
exit $((faults > 0))
