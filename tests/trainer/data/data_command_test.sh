#!/usr/bin/env bash
# longspan data and longspan config as a user meets them: files made, figures printed, exit codes, nothing half written.
#   data_command_test.sh PROGRAM
set -uo pipefail
program=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 70
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

mkdir text
for n in $(seq 1 200); do
  printf 'Document %d speaks of rivers.\nIt has two lines and the number %d.\n\n' "$n" $((n * n)) >>text/a.txt
done
printf '{"text": "one line"}\n{"text": "another, caf\\u00e9"}\n' >text/b.jsonl

expect 0 '^a\.h5: 3 documents, [0-9]+ tokens of bytes$' "$program" data tokenize text --out a.h5
expect 0 '^a\.h5: 202 documents' "$program" data tokenize text --blank-lines --out a.h5
expect 0 '^validation\.h5: 20 documents' "$program" data tokenize text --blank-lines --out train.h5 \
  --validation-fraction 0.1 --validation-out validation.h5
expect 0 '^documents        182$' "$program" data stats train.h5
expect 0 '^unigram entropy  [2-5]\.[0-9]{4} nats' "$program" data stats train.h5
expect 0 '^small\.model: 320 pieces$' "$program" data train-tokenizer text --vocab 320 --out small.model
expect 0 '^pieces\.h5: 202 documents, [0-9]+ tokens of small\.model$' "$program" data tokenize text --blank-lines \
  --tokenizer small.model --out pieces.h5

expect 4 'none of the 3 documents falls to validation' "$program" data tokenize text --out x.h5 \
  --validation-fraction 0.1 --validation-out y.h5
printf 'good\n\xff\n' >bad.txt
expect 4 'bad\.txt: byte 5 of the text is not UTF-8' "$program" data tokenize bad.txt --tokenizer small.model --out x.h5
expect 4 'absent: there is no such file or folder' "$program" data tokenize absent --out x.h5
expect 4 'bad\.txt: cannot open the file as HDF5' "$program" data stats bad.txt
expect 4 'cannot train a tokenizer of 50000 pieces' "$program" data train-tokenizer text --vocab 50000 --out x.model
expect 2 'given together' "$program" data tokenize text --out x.h5 --validation-fraction 0.1
expect 2 'required' "$program" data tokenize text
expect 2 '' "$program" data
for left in x.h5 y.h5 x.model ./*.partial; do
  [[ -e $left ]] && { echo "left behind: $left"; faults=$((faults + 1)); }
done

printf 'model:\n  layers: 3\n  hiden: 5\n' >wrong.yaml
printf 'model:\n  layers: 3\n' >right.yaml
expect 0 '^  layers: 5$' "$program" config right.yaml --model.layers=5
expect 2 'wrong\.yaml:3: model\.hiden: unknown key; did you mean model\.hidden\?' "$program" config wrong.yaml
expect 2 '--run\.stps: unknown key; did you mean --run\.steps\?' "$program" config right.yaml --run.stps=5
expect 2 'neither an option' "$program" config right.yaml run.steps=5
expect 0 '^  run\.steps = 1000 steps$' "$program" config --schema
expect 0 '^# Keys of an experiment$' "$program" config --schema=markdown
expect 2 'schema' "$program" config --schema=html
"$program" config right.yaml >once.yaml && "$program" config once.yaml >twice.yaml
cmp once.yaml twice.yaml || faults=$((faults + 1))
for command in config data 'data tokenize' 'data stats' 'data train-tokenizer' 'data balance'; do
  # shellcheck disable=SC2086
  expect 0 'Usage' "$program" $command --help
done
((faults == 0)) && echo "all as expected"
exit $((faults > 0))
