#!/usr/bin/env bash
# Checks that the sources are formatted as .clang-format says. Another version than 14 formats differently, so where
# that one is absent the check is skipped (exit code 77) and says so.
#
#   scripts/check_format.sh          checks; exit code 1 and a list of places if any file differs
#   scripts/check_format.sh --fix    formats the files in place
set -euo pipefail
cd "$(dirname "$0")/.."

arguments=(--dry-run -Werror)
case ${1-} in
  '') ;;
  --fix) arguments=(-i) ;;
  *) echo "check_format: unknown option $1 (there is --fix)" >&2; exit 2 ;;
esac

formatter=
for name in clang-format-14 clang-format; do
  if command -v "$name" >/dev/null && "$name" --version | grep -q 'version 14\.'; then formatter=$name; break; fi
done
if [[ -z $formatter ]]; then
  echo "check_format: skipped, clang-format 14 is not installed"
  exit 77
fi

patterns=('*.h' '*.cc' '*.cu' '*.cuh')
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  mapfile -d '' -t files < <(git ls-files -z -- "${patterns[@]}" | while IFS= read -rd '' f; do [[ -f $f ]] && printf '%s\0' "$f"; done)
else
  mapfile -d '' -t files < <(find kernels parallel models trainer tests scripts \
    \( -name '*.h' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' \) -print0)
fi
((${#files[@]})) || { echo "check_format: found no sources" >&2; exit 1; }
"$formatter" "${arguments[@]}" "${files[@]}"
echo "check_format: ${#files[@]} files formatted"
