#!/usr/bin/env bash
# Several hosts on one machine: network namespaces, each with a link of limited rate and, if asked for, of delay, and
# mpirun across them over TCP. To see what a slow network does to a run, and what a network that fails does.
# Needs root, iproute2, Open MPI and, for delays, a C++ compiler.
#
#   scripts/netns_cluster.sh up HOSTS [--rate RATE] [--delay TIME]   1gbit (the default), 10gbit, none; 200us, 5ms
#   scripts/netns_cluster.sh run RANKS [OPTION…] COMMAND…            options of mpirun; ranks dealt out in blocks
#   scripts/netns_cluster.sh link HOST down|up                       pulls a host's cable (HOST: 1, 2, …), or puts it in
#   scripts/netns_cluster.sh status                                  exit code 1 if there are no hosts
#   scripts/netns_cluster.sh down                                    also ends whatever runs there
#
# LONGSPAN_CLUSTER is the cluster's name (longspan); clusters of different names do not meet. Exit codes: 2 the command
# line is wrong, 7 this machine cannot do it, or there are no hosts; otherwise that of the command.
set -euo pipefail

readonly name=${LONGSPAN_CLUSTER:-longspan} network=10.77.0 here=$(realpath "$0")
readonly exchange=$name-switch mtu=9000  # large packets, as fast networks have them
# How often TCP sends again what is not acknowledged: 5 times take about 13 s, the usual 15 a quarter of an hour.
readonly tcp_retries=5
readonly exit_usage=2 exit_environment=7

fail() { printf 'netns_cluster: %s\n' "$2" >&2; exit "$1"; }
usage() { sed -n '2,13s/^# \{0,1\}//p' "$here"; }
wrong() { fail $exit_usage "$1; see $here --help"; }
impossible() { fail $exit_environment "$1"; }

# Numbers of the hosts that are there, in order.
hosts_up() { ip netns list | sed -nE "s/^$name-([0-9]+)( .*)?$/\1/p" | sort -n; }
namespaces() { ip netns list | sed -nE "s/^($name-([0-9]+|switch))( .*)?$/\1/p"; }

need_hosts() { [[ -n $(hosts_up) ]] || impossible "there are no hosts of the name $name; first: $here up HOSTS"; }

# The delays are played by a program of our own; built when first asked for, and again when its source is newer.
link_delay() {
  local root program
  root=$(dirname "$here")
  program=$root/../build/netns/link_delay
  if [[ ! $program -nt $root/netns/link_delay.cc ]]; then
    command -v g++ >/dev/null || impossible "delays need a C++ compiler (g++) once; without --delay none is needed"
    mkdir -p "${program%/*}"
    g++ -std=c++20 -O2 -o "$program.$$" "$root/netns/link_delay.cc"
    mv "$program.$$" "$program"  # at one stroke: another cluster may be coming up
  fi
  "$program" "$@" || impossible "the links could not be made; what link_delay said stands above"
}

microseconds() {
  [[ $1 =~ ^([0-9]{1,7})(us|ms)$ ]] || wrong "--delay takes a time such as 200us or 5ms, not '$1'"
  local factor=1
  [[ ${BASH_REMATCH[2]} == us ]] || factor=1000
  echo $((BASH_REMATCH[1] * factor))
}

join_by_bridge() {
  local i
  ip -n "$exchange" link add bridge type bridge
  ip -n "$exchange" link set bridge up
  for ((i = 1; i <= $1; i++)); do
    ip link add "port$i" netns "$exchange" mtu $mtu type veth peer name eth0 netns "$name-$i"
    ip -n "$exchange" link set "port$i" master bridge up
  done
}

up() {
  local hosts=${1-} rate=1gbit delay=none i
  [[ $hosts =~ ^[1-9][0-9]?$ ]] || wrong "HOSTS is a number from 1 to 99, not '$hosts'"
  shift
  while (($#)); do
    case $1 in
      --rate) rate=${2-} ;;
      --delay) delay=${2-} ;;
      *) wrong "up has the options --rate and --delay, not '$1'" ;;
    esac
    shift $(($# > 1 ? 2 : 1))
  done
  [[ $rate == none || $rate =~ ^[0-9]+[kmg]bit$ ]] ||
    wrong "--rate takes a rate such as 100mbit or 10gbit, or none, not '$rate'"
  [[ $delay == none ]] || microseconds "$delay" >/dev/null

  [[ -z $(namespaces) ]] ||
    fail $exit_usage "there are hosts of the name $name already; '$here down' takes them down, or set LONGSPAN_CLUSTER"
  ip netns add "$exchange" ||
    impossible "no network namespace can be made here. A container needs CAP_SYS_ADMIN and CAP_NET_ADMIN (--privileged)"
  # From here on there is something to clear away, whatever ends this.
  trap 'code=$?; trap - EXIT; down; exit $code' EXIT
  trap 'exit 130' INT TERM HUP
  for ((i = 1; i <= hosts; i++)); do ip netns add "$name-$i"; done
  if [[ $delay == none ]]; then
    join_by_bridge "$hosts"
  else
    link_delay "$(microseconds "$delay")" "$exchange" $(seq -f "$name-%g" "$hosts")
  fi
  for ((i = 1; i <= hosts; i++)); do
    ip -n "$name-$i" link set lo up
    nsenter --net="/run/netns/$name-$i" sh -c "echo $tcp_retries >/proc/sys/net/ipv4/tcp_retries2"
    ip -n "$name-$i" addr add "$network.$i/24" dev eth0
    ip -n "$name-$i" link set eth0 mtu $mtu alias "rate $rate, delay $delay" up
    [[ $rate == none ]] || tc -n "$name-$i" qdisc add dev eth0 root tbf rate "$rate" burst 128kb latency 50ms ||
      impossible "this kernel has no token buckets (CONFIG_NET_SCH_TBF); --rate none goes without"
  done
  trap - EXIT INT TERM HUP
  echo "$hosts hosts at $network.1 … $network.$hosts, links: rate $rate, delay $delay"
}

processes() {
  local namespace
  for namespace in "$@"; do ip netns pids "$namespace" 2>/dev/null || true; done
}

# Ends what runs in these namespaces: asks first, so that mpirun can clear up after itself.
end_processes() {
  local signal pids try
  for signal in TERM KILL; do
    for ((try = 0; try < 20; try++)); do
      pids=$(processes "$@")
      [[ -n $pids ]] || return 0
      ((try)) || kill -s "$signal" $pids 2>/dev/null || true
      sleep 0.1
    done
  done
}

down() {
  local all host
  all=$(namespaces)
  end_processes $(grep -vx -- "$exchange" <<<"$all" || true)
  end_processes $all
  for host in $(hosts_up); do
    # What Open MPI leaves behind where it is killed.
    rm -rf "${TMPDIR:-/tmp}/ompi.$name-$host".* "/dev/shm/vader_segment.$name-$host".*
  done
  for host in $all; do ip netns del "$host" 2>/dev/null || true; done
}

# The command as host $1, in place of this script.
on_host() {
  exec nsenter --net="/run/netns/$name-$1" unshare --uts \
    sh -c 'echo "$0" >/proc/sys/kernel/hostname; exec "$@"' "$name-$1" "${@:2}"
}

# Stands in for ssh: "OPTIONS… ADDRESS COMMAND".
agent() {
  while [[ ${1-} == -* ]]; do shift; done
  on_host "${1##*.}" sh -c "${*:2}"
}

run() {
  local ranks=$1 all hosts addresses='' i here_ranks
  [[ $ranks =~ ^[1-9][0-9]*$ ]] || wrong "RANKS is a number from 1 on, not '$ranks'"
  need_hosts
  command -v mpirun >/dev/null || impossible "there is no mpirun; scripts/setup.sh installs Open MPI"
  all=($(hosts_up))
  hosts=${#all[@]}
  for ((i = 1; i <= hosts; i++)); do
    here_ranks=$((ranks / hosts + (i <= ranks % hosts)))
    ((here_ranks == 0)) || addresses+=${addresses:+,}$network.$i:$here_ranks
  done
  export LONGSPAN_CLUSTER=$name
  . "$(dirname "$here")/mpi_env.sh"
  # mpirun and its daemons wait for each other without a deadline of their own. A daemon that hears nothing any more is
  # to notice and to end its ranks: after 5 s of silence it asks, and after 5 questions without an answer gives up.
  export OMPI_MCA_oob_tcp_keepalive_time=5 OMPI_MCA_oob_tcp_keepalive_intvl=1 OMPI_MCA_oob_tcp_keepalive_probes=5
  on_host 1 mpirun --mca plm rsh --mca plm_rsh_agent "$here agent" --mca btl_tcp_if_include "$network.0/24" \
    --mca oob_tcp_if_include "$network.0/24" --host "$addresses" --bind-to none -n "$ranks" "${@:2}"
}

link() {
  local host=$1 state=$2
  need_hosts
  [[ $state == up || $state == down ]] || wrong "a link goes up or down, not '$state'"
  hosts_up | grep -qx -- "$host" || wrong "there is no host '$host'; there are: $(hosts_up | paste -sd' ')"
  # The far end, so that the host sees a cable pulled: its addresses and routes stay.
  if ip -n "$exchange" link show "port$host" >/dev/null 2>&1; then
    ip -n "$exchange" link set "port$host" "$state"
  else
    ip -n "$name-$host" link set eth0 carrier "$([[ $state == up ]] && echo on || echo off)"
  fi
}

status() {
  local host shown
  [[ -n $(hosts_up) ]] || { echo "no hosts of the name $name"; exit 1; }
  for host in $(hosts_up); do
    shown=$(ip -n "$name-$host" link show eth0)
    printf '%s  %s.%s  %s  link %s  %d processes\n' "$name-$host" "$network" "$host" \
      "$(sed -n 's/^ *alias //p' <<<"$shown")" "$([[ $shown == *NO-CARRIER* ]] && echo down || echo up)" \
      "$(ip netns pids "$name-$host" | wc -l)"
  done
}

[[ $name =~ ^[a-z][a-z0-9-]{0,30}$ ]] ||
  wrong "LONGSPAN_CLUSTER is a name of small letters, digits and hyphens, not '$name'"
command=${1-}
case $command in
  up | run | link | status | down | agent) shift ;;
  -h | --help) usage; exit 0 ;;
  *) wrong "there is no command '$command'" ;;
esac
command -v ip >/dev/null && command -v tc >/dev/null ||
  impossible "there is no ip or no tc; scripts/setup.sh installs iproute2"
((EUID == 0)) || impossible "network namespaces are for root; run this with sudo"
case $command in
  up) (($# >= 1)) || wrong "up needs the number of hosts" ;;
  run) (($# >= 2)) || wrong "run needs a number of ranks and a command" ;;
  link) (($# == 2)) || wrong "link needs a host and a state" ;;
  status | down) (($# == 0)) || wrong "$command takes nothing" ;;
esac
"$command" "$@"
