#!/usr/bin/env python3
"""Compares the losses of two runs step by step: compare_curves.py METRICS OTHER-METRICS --bound RELATIVE

Prints the largest relative difference and where it is. Exit code 1 where it is above the bound, where a loss is not a number, or
where the runs have other steps.
"""

import argparse
import json
import math
import sys


def read_losses(path):
    losses = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if "loss" in row and "step" in row:
                losses[row["step"]] = row["loss"]
    return losses


def fault_between(first, other, bound):
    """Why two curves are not alike, or None; and a line that says how far apart they are."""
    if not first or set(first) != set(other):
        return f"the runs have other steps: {len(first)} and {len(other)}", ""
    for name, curve in (("first", first), ("other", other)):
        if bad := [step for step, loss in curve.items() if loss is None or not math.isfinite(loss)]:
            return f"the {name} run's loss at step {bad[0]} is no number", ""
    worst = max(first, key=lambda step: abs(other[step] - first[step]) / abs(first[step]))
    difference = abs(other[worst] - first[worst]) / abs(first[worst])
    told = (f"{len(first)} steps, largest relative difference {difference:.2e} at step {worst} ({first[worst]:.5f} and "
            f"{other[worst]:.5f}), bound {bound:.0e}")
    return ("the curves part" if difference > bound else None), told


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first")
    parser.add_argument("other")
    parser.add_argument("--bound", type=float, required=True)
    args = parser.parse_args()
    fault, told = fault_between(read_losses(args.first), read_losses(args.other), args.bound)
    print(told)
    if fault:
        sys.exit(f"compare_curves.py: {fault}")


if __name__ == "__main__":
    main()
