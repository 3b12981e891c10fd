#!/usr/bin/env bash
# Installs what building and testing Longspan needs on Debian 12 and Ubuntu 24.04, by package. Where everything is
# there already it changes nothing, needs no network and no rights.
#
#   scripts/setup.sh           what building and testing needs
#   scripts/setup.sh --text    also the public-domain texts that scripts/quickstart.sh trains on
#   scripts/setup.sh --check   only says what is missing; exit code 1 if anything is
set -euo pipefail

required=(
  build-essential g++ cmake ninja-build ccache pkg-config git python3 python3-numpy ca-certificates
  openmpi-bin libopenmpi-dev libhdf5-openmpi-dev hdf5-tools
  libyaml-cpp-dev libcli11-dev libfmt-dev nlohmann-json3-dev libxxhash-dev
  libhwy-dev libdnnl-dev libsentencepiece-dev
  libboost-context-dev
  libgtest-dev libgmock-dev
  iproute2
)
# Wanted, but nothing fails without it: the format check says so and is skipped.
optional=(clang-format-14)
cudnn_frontend=1.32.0
text=(bible-kjv sword-text-web sword-comm-tdavid sword-comm-mhcc diatheke)

die() { printf 'setup: %s\n' "$1" >&2; exit 1; }

check_only=0
for argument in "$@"; do
  case $argument in
    --text) required+=("${text[@]}") ;;
    --check) check_only=1 ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown option $argument (there are --text and --check)" ;;
  esac
done

command -v dpkg-query >/dev/null ||
  die "this system has no dpkg. Install by hand what README.md lists under Dependencies."

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

missing=()
for package in "${required[@]}" "${optional[@]}"; do
  is_installed "$package" || missing+=("$package")
done
# cuDNN's C++ front end is headers that no distribution packages; wanted only beside nvcc, and nothing fails without it.
fetch_cudnn_frontend() {
  local folder
  folder=$(cd "$(dirname "$0")/.." && pwd)/build/_deps/cudnn-frontend
  [[ -n ${CUDA_HOME-} && -x $CUDA_HOME/bin/nvcc ]] || command -v nvcc >/dev/null || return 0
  [[ ! -f $folder/include/cudnn_frontend.h ]] || return 0
  local scratch
  scratch=$(mktemp -d)
  if python3 -m pip download --quiet --no-deps --only-binary :all: -d "$scratch" "nvidia-cudnn-frontend==$cudnn_frontend" \
    >"$scratch/log" 2>&1 && python3 -m zipfile -e "$scratch"/*.whl "$scratch/wheel"; then
    mkdir -p "$folder"
    cp -r "$scratch/wheel/include" "$folder/"
    cp "$scratch/wheel"/*.dist-info/licenses/LICENSE* "$folder/" 2>/dev/null || true
    echo "setup: cuDNN's front end $cudnn_frontend is in $folder"
  else
    echo "setup: cuDNN's front end could not be fetched with pip; the CUDA build goes without it"
  fi
  rm -rf "$scratch"
}

if ((${#missing[@]} == 0)); then
  echo "setup: all $((${#required[@]} + ${#optional[@]})) packages are there"
  ((check_only)) || fetch_cudnn_frontend
  exit 0
fi
echo "setup: missing: ${missing[*]}"
((check_only)) && exit 1

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || die "installing needs root. As root: apt-get install ${missing[*]}"
  as_root=(sudo)
fi
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@"; }

echo "setup: refreshing the package lists"
apt update -qq ||
  die "the package lists could not be fetched. Check the network and /etc/apt, then run this again."

# Not piped into grep -q: that closes the pipe early, and pipefail then takes apt-cache's complaint for an answer.
has_candidate() { [[ $(apt-cache policy "$1") == *'Candidate: '[!\(]* ]]; }

wanted=() unknown=()
for package in "${missing[@]}"; do
  if has_candidate "$package"; then
    wanted+=("$package")
  elif [[ " ${optional[*]} " == *" $package "* ]]; then
    echo "setup: $package is not packaged for this release; going on without it"
  else
    unknown+=("$package")
  fi
done
if ((${#unknown[@]})); then
  hint="Longspan's packages are those of Debian 12 and Ubuntu 24.04."
  if grep -q '^ID=ubuntu' /etc/os-release; then
    hint="On Ubuntu they are in the component 'universe': add-apt-repository universe, then run this again."
  fi
  die "no package source offers: ${unknown[*]}. $hint"
fi
if ((${#wanted[@]})); then
  echo "setup: installing ${wanted[*]}"
  apt install -y -qq --no-install-recommends "${wanted[@]}" ||
    die "the installation failed; what apt-get said stands above. Mend that and run this again."
fi
fetch_cudnn_frontend
echo "setup: done"
