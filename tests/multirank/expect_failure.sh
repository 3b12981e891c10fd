#!/bin/bash
# Runs a command that must fail by itself, with a given exit code and words.
# Usage: expect_failure.sh EXIT_CODE WORDS COMMAND...    (EXIT_CODE any: every one but 0)
set -u
want_code=$1
want_words=$2
shift 2

output=$(timeout --kill-after=5 30 "$@" 2>&1)
code=$?
printf '%s\n' "$output"

if [ "$code" -eq 124 ] || [ "$code" -eq 137 ] && [ "$want_code" != any ]; then
  echo "expect_failure: did not end by itself" >&2
  exit 1
fi
if [ "$code" -eq 0 ] || { [ "$want_code" != any ] && [ "$code" -ne "$want_code" ]; }; then
  echo "expect_failure: exit code $code, expected $want_code" >&2
  exit 1
fi
if ! grep -qF -- "$want_words" <<<"$output"; then
  echo "expect_failure: expected to read: $want_words" >&2
  exit 1
fi
