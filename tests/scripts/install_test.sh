#!/usr/bin/env bash
# The installed folder runs where it is moved to; with its libraries bundled it loads no others but the C and C++ run time.
#   install_test.sh CMAKE BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
cmake=$1 build=$2 source=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$cmake" --install "$build" --prefix "$folder/first" >/dev/null
"$cmake" -D CMAKE_INSTALL_PREFIX="$folder/first" -P "$source/cmake/BundleLibraries.cmake" >/dev/null
mv "$folder/first" "$folder/moved"
cd /
"$folder/moved/bin/longspan" --version
[[ -f $folder/moved/share/longspan/configs/quickstart.yaml ]] || { echo "no configs were installed"; exit 1; }
"$folder/moved/bin/longspan" config "$folder/moved/share/longspan/configs/quickstart.yaml" >/dev/null

strangers=$(ldd "$folder/moved/bin/longspan" | awk '$2 == "=>" {print $1, $3}' | grep -v " $folder/moved/" |
  grep -vE '^(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|stdc\+\+|gcc_s))\.so' || true)
[[ -z $strangers ]] || { printf 'loaded from outside the bundle:\n%s\n' "$strangers"; exit 1; }
