#!/usr/bin/env bash
# Several hosts on one machine: network namespaces on one bridge, each with a link of limited rate, and mpirun across them
# over TCP. To see how much of a slow network's transfers computation hides. Needs root, iproute2 and Open MPI.
#
#   scripts/virtual_hosts.sh up HOSTS [RATE]          RATE as tc writes it: 1gbit (the default), 10gbit, none
#   scripts/virtual_hosts.sh run RANKS COMMAND…       ranks dealt out to the hosts in turn
#   scripts/virtual_hosts.sh down
set -euo pipefail

readonly prefix=lshost bridge=lsbridge network=10.77.0
die() { printf 'virtual_hosts: %s\n' "$1" >&2; exit 2; }
usage() { sed -n '2,8s/^# \{0,1\}//p' "$0"; }
hosts_up() { ip netns list | awk -v prefix="$prefix" 'index($1, prefix) == 1 {print $1}'; }

up() {
  local hosts=$1 rate=${2:-1gbit} i
  [[ $hosts =~ ^[1-9][0-9]?$ ]] || die "HOSTS is a number from 1 to 99, not '$hosts'"
  [[ -z $(hosts_up) ]] || die "there are hosts already; take them down first"
  trap 'down' ERR
  ip netns add "$bridge"
  ip -n "$bridge" link add br0 type bridge
  ip -n "$bridge" link set br0 up
  for ((i = 1; i <= hosts; i++)); do
    ip netns add "$prefix$i"
    ip link add "port$i" netns "$bridge" type veth peer name eth0 netns "$prefix$i"
    ip -n "$bridge" link set "port$i" master br0 up
    ip -n "$prefix$i" addr add "$network.$i/24" dev eth0
    ip -n "$prefix$i" link set eth0 up
    ip -n "$prefix$i" link set lo up
    [[ $rate == none ]] ||
      tc -n "$prefix$i" qdisc add dev eth0 root tbf rate "$rate" burst 128kb latency 50ms
  done
  echo "$hosts hosts at $network.1 … $network.$hosts, links of $rate"
}

down() {
  local name
  for name in $(hosts_up) "$bridge"; do ip netns del "$name" 2>/dev/null || true; done
}

# Stands in for ssh: "OPTIONS… ADDRESS COMMAND" runs the command in the namespace of that address, under a name of its own.
agent() {
  while [[ ${1-} == -* ]]; do shift; done
  local number=${1##*.}
  shift
  exec ip netns exec "$prefix$number" unshare --uts sh -c "echo $prefix$number >/proc/sys/kernel/hostname; $*"
}

run() {
  local ranks=$1 here hosts addresses i
  shift
  hosts=$(hosts_up | wc -l)
  ((hosts)) || die "there are no hosts; bring some up first"
  for ((i = 1; i <= hosts; i++)); do addresses+=${addresses:+,}$network.$i:$((ranks / hosts + (i <= ranks % hosts))); done
  here=$(realpath "$0")
  . "$(dirname "$here")/mpi_env.sh"
  exec ip netns exec "${prefix}1" unshare --uts sh -c 'echo "$0" >/proc/sys/kernel/hostname; exec "$@"' "${prefix}1" \
    mpirun --mca plm rsh --mca plm_rsh_agent "$here agent" --mca btl_tcp_if_include "$network.0/24" \
    --mca oob_tcp_if_include "$network.0/24" --host "$addresses" --bind-to none -n "$ranks" "$@"
}

case ${1-} in
  up) (($# == 2 || $# == 3)) || { usage; exit 2; }; up "${@:2}" ;;
  run) (($# >= 3)) || { usage; exit 2; }; run "${@:2}" ;;
  down) down ;;
  agent) agent "${@:2}" ;;
  *) usage; exit 2 ;;
esac
