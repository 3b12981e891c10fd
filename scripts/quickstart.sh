#!/usr/bin/env bash
# From a fresh machine to a language model trained on long documents, and a sample of what it writes.
#
#   scripts/quickstart.sh                 trains on public-domain books that come as packages (about 25 MB)
#   scripts/quickstart.sh TEXT…           trains on your own text files, each one document
#
# Environment: RANKS (2): ranks, as threads; STEPS (200): optimiser steps; PROMPT: what the sample goes on from.
# Run it again at any time: finished stages are skipped and an unfinished training goes on where it stopped.
set -euo pipefail

own_texts=()
for argument in "$@"; do
  case $argument in
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "quickstart: unknown option $argument (arguments are text files)" >&2; exit 2 ;;
  esac
  [[ -s $argument && -f $argument ]] || { echo "quickstart: $argument is not a file with text in it" >&2; exit 2; }
  own_texts+=("$(realpath "$argument")")
done
cd "$(dirname "$0")/.."

ranks=${RANKS:-2} steps=${STEPS:-200}
longspan=build/cpu/bin/longspan

say() { printf '\n== %s (%d min %02d s)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

# done_once STAMP COMMAND…: runs the command unless it has succeeded before.
done_once() {
  local stamp=$1
  shift
  if [[ -e $stamp ]]; then
    echo "done before ($stamp)"
  else
    "$@"
    mkdir -p "$(dirname "$stamp")"
    touch "$stamp"
  fi
}

build() {
  mkdir -p build
  cmake --preset cpu >build/cpu.log 2>&1 || { cat build/cpu.log; return 1; }
  cmake --build --preset cpu -j "$(nproc)" --target longspan
}

# Each document's first 95 lines in a hundred to train on, its last five to validate.
split_documents() {
  local folder=$1 text name lines cut number=0
  shift
  mkdir -p "$folder/train" "$folder/validation"
  for text in "$@"; do
    number=$((number + 1))
    name=$number-$(basename "$text") lines=$(wc -l <"$text") cut=$((lines - lines / 20))
    if ((lines < 20)); then
      echo "quickstart: $text has only $lines lines; join your text into longer files" >&2
      return 1
    fi
    head -n "$cut" "$text" >"$folder/train/$name"
    tail -n "+$((cut + 1))" "$text" >"$folder/validation/$name"
  done
}

tokenize_books() {
  "$longspan" data tokenize data/text --out data/train.h5 --validation-fraction 0.02 --validation-out data/validation.h5
}

tokenize_own() {
  split_documents "$1" "${own_texts[@]}"
  "$longspan" data tokenize "$1/train" --out "$1/train.h5"
  "$longspan" data tokenize "$1/validation" --out "$1/validation.h5"
}

say "set-up"
if ((${#own_texts[@]})); then scripts/setup.sh; else scripts/setup.sh --text; fi

say "build"
build

if ((${#own_texts[@]})); then
  corpus=data/own-$(stat -c '%n %s %Y' "${own_texts[@]}" | sha256sum | cut -c1-8)
  name=quickstart-${corpus##*own-}
  say "tokenize ${#own_texts[@]} documents of yours"
  done_once "$corpus/tokenized" tokenize_own "$corpus"
else
  corpus=data name=quickstart
  say "gather text"
  done_once data/text/.gathered scripts/gather_text.py data/text
  say "tokenize"
  done_once data/tokenized tokenize_books
fi

say "train $steps steps on $ranks ranks into runs/$name"
"$longspan" train configs/quickstart.yaml --ranks "$ranks" --run.name="$name" --run.steps="$steps" \
  --data.train="$corpus/train.h5" --data.validation="$corpus/validation.h5"

say "result"
loss=$(sed -n 's/.*"validation_loss": \([0-9.e+-]*\).*/\1/p' "runs/$name/metrics.jsonl" | tail -n 1)
echo "in nats a token (here: a byte); lower is better"
printf '  %-40s %s\n' "validation loss of the model" "$(printf '%.4f' "$loss")"
"$longspan" data stats "$corpus/train.h5" | sed -n 's/^\(unigram\|bigram\) entropy *\([0-9.]*\).*/\1 \2/p' |
  while read -r order entropy; do printf '  %-40s %s\n' "$order entropy of the training text" "$entropy"; done

say "sample"
"$longspan" generate --checkpoint "runs/$name" --prompt "${PROMPT:-And it came to pass}" --max-new 400

cat <<END

The run is in runs/$name: config.yaml, metrics.jsonl (one line a step), checkpoints/.
Go on with it:  $longspan train runs/$name/config.yaml --ranks $ranks --run.steps=$((steps * 2))
END
