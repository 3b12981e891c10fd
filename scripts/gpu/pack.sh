#!/usr/bin/env bash
# Packs a build's program and device tests with the libraries they load, all but CUDA's and the C and C++ run time, into
# FOLDER and FOLDER.tar.gz:   pack.sh BUILD FOLDER
set -euo pipefail
build=$1 folder=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
limit_mib=64  # what a machine may be handed in one go

rm -rf "$folder" "$folder.tar.gz"
cmake --install "$build" --prefix "$folder" --component longspan_program --strip >/dev/null
cmake --install "$build" --prefix "$folder" --component longspan_device_tests --strip >/dev/null
cmake -D CMAKE_INSTALL_PREFIX="$folder" -D BUNDLE_WITHOUT_CUDA=ON -P "$root/cmake/BundleLibraries.cmake" >/dev/null
find "$folder/lib" -name '*.so*' -type f -exec strip --strip-unneeded {} +
cases=$(sed -n 's/^LONGSPAN_CASES:PATH=//p' "$build/CMakeCache.txt")
mkdir -p "$folder/share/longspan/cases"
cp "$cases"/softmax-*.h5 "$folder/share/longspan/cases/" 2>/dev/null || echo "pack: no golden cases in $cases; the steps that judge them will be skipped"
printf 'commit %s\nbuild %s\n' "$(git -C "$root" describe --always --abbrev=10 --exclude='*' --dirty=+ 2>/dev/null || echo unknown)" \
  "$(sed -n -e 's/^LONGSPAN_CUDA:STRING=//p' -e 's/^CMAKE_CUDA_ARCHITECTURES:[A-Z]*=//p' "$build/CMakeCache.txt" | paste -sd' ')" >"$folder/BUNDLE.txt"
tar -czf "$folder.tar.gz" -C "$(dirname "$folder")" "$(basename "$folder")"
mib=$(($(stat -c %s "$folder.tar.gz") >> 20))
echo "pack: $folder.tar.gz, $mib MiB"
((mib < limit_mib)) || { echo "pack: more than $limit_mib MiB; see what in $folder/lib is large" >&2; exit 1; }
