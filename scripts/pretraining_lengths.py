#!/usr/bin/env python3
"""Lengths of documents as a published pretraining mix has them, one a line, to try `longspan data balance` with.

    scripts/pretraining_lengths.py [--context TOKENS] [--documents N] [--seed N] > lengths.txt

The mix is that of the experiments with core attention disaggregation (DistCA, 2025): of 99 519 documents half have up to
3227 tokens, 90 % up to 5784, 99 % up to 26 070, 99.9 % up to 119 836, the longest 124 913. Of those below 65 536 every other
is kept, the others stand four times, and all are as many times longer as the context is longer than 65 536 tokens.
Between these quantiles lengths are drawn evenly over their logarithm; only the quantiles are the mix's own.
"""

import argparse
import math
import random

QUANTILES = [(0, 200), (0.5, 3227), (0.9, 5784), (0.99, 26070), (0.999, 119836), (1, 124913)]
LONG = 65536


def draw(chance):
    u = chance.random()
    for (below, shorter), (above, longer) in zip(QUANTILES, QUANTILES[1:]):
        if u <= above:
            part = (u - below) / (above - below)
            return int(math.exp(math.log(shorter) + part * (math.log(longer) - math.log(shorter))))
    raise AssertionError(u)


def lengths(context, documents, seed):
    chance = random.Random(seed)
    drawn = []
    while len(drawn) < documents:
        length = draw(chance)
        if length < LONG and chance.random() < 0.5:
            continue
        drawn += [length * context // LONG] * (4 if length >= LONG else 1)
    return drawn[:documents]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--context", type=int, default=131072, help="tokens of a sequence; default %(default)s")
    parser.add_argument("--documents", type=int, default=10000, help="how many; default %(default)s")
    parser.add_argument("--seed", type=int, default=42, help="default %(default)s")
    options = parser.parse_args()
    print("\n".join(map(str, lengths(options.context, options.documents, options.seed))))


if __name__ == "__main__":
    main()
