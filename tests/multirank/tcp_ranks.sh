#!/bin/bash
# Starts N processes with the variables that torchrun sets, and waits for all of them.
# Usage: tcp_ranks.sh N COMMAND...
# TCP_RANKS_SKIP=r: rank r is not started. TCP_RANKS_SIZE=r:s: rank r is told of s ranks. TCP_RANKS_BUSY=1: rank 0's port
# is taken. The exit code is that of a rank that failed by itself (not 6: because another did), if there is one.
set -u
num_ranks=$1
shift

free_port='import socket; s = socket.socket(socket.AF_INET6); s.bind(("", 0)); print(s.getsockname()[1])'
export MASTER_ADDR=localhost
MASTER_PORT=$(python3 -c "$free_port")
export MASTER_PORT
unset TORCHELASTIC_USE_AGENT_STORE OMPI_COMM_WORLD_SIZE PMI_SIZE PMI_RANK PMIX_RANK

if [ -n "${TCP_RANKS_BUSY:-}" ]; then
  hold_port='import socket, sys, time
s = socket.socket(socket.AF_INET6); s.bind(("", int(sys.argv[1]))); s.listen(); print("held", flush=True); time.sleep(30)'
  exec 3< <(exec python3 -c "$hold_port" "$MASTER_PORT")
  holder=$!
  read -r _ <&3
  trap 'kill $holder' EXIT
fi

size_of=${TCP_RANKS_SIZE:-}
pids=()
for ((rank = 0; rank < num_ranks; ++rank)); do
  [ "${TCP_RANKS_SKIP:-}" = "$rank" ] && continue
  size=$num_ranks
  [ "${size_of%%:*}" = "$rank" ] && size=${size_of##*:}
  RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=$size "$@" &
  pids+=($!)
done
result=0
for pid in "${pids[@]}"; do
  wait "$pid"
  code=$?
  if [ "$code" -ne 0 ] && { [ "$result" -eq 0 ] || [ "$result" -eq 6 ]; }; then result=$code; fi
done
exit $result
