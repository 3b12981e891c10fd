#!/usr/bin/env python3
"""Steps that were forecast beside steps that were taken, for several layouts of one experiment on this machine.

    scripts/compare_forecast.py [--ranks 2,4] [--steps 8] [--rounds 3] [--config CONFIG] [--json FILE]

For each number of ranks it first measures the machine with as many at once (longspan bench machine), then forecasts each
layout (longspan plan --machine) and trains it for some steps. Layouts take turns, round after round; of each the least
step counts, and the median is shown beside it: on a machine that does other things too, the median says more about them.
Ends with 1 if a forecast is further off than --within (0.15), or if the layouts of one number of ranks come out in
another order where they differ by more than that.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Small enough for a laptop, large enough that a step is no matter of microseconds.
CONFIG = """\
run: {precision: fp32}
model: {layers: 4, hidden: 256, heads: 4, kv_heads: 2, ffn: 768}
data: {train: ["synthetic:passkey"], sequence_length: 2048, global_batch: 4}
optimizer: {lr: 1.0e-3, warmup_steps: 5}
checkpoint: {every: 1000000, resume: false}
"""

# By number of ranks: what a layout is called, and what makes it.
LAYOUTS = {
    2: {
        "data 2": {"data": 2},
        "context 2": {"context": 2},
        "pipeline 2, 1f1b": {"pipeline": 2},
        "pipeline 2, zero_bubble": {"pipeline": 2, "schedule": "zero_bubble"},
        "pipeline 2, zbv": {"pipeline": 2, "schedule": "zbv"},
    },
    4: {
        "data 4": {"data": 4},
        "context 4": {"context": 4},
        "data 2 x context 2": {"data": 2, "context": 2},
        "pipeline 2 x data 2": {"pipeline": 2, "data": 2},
        "pipeline 4, 1f1b": {"pipeline": 4},
    },
}


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longspan", default=str(ROOT / "build/cpu/bin/longspan"))
    parser.add_argument("--config", help="an experiment; else a small one of its own")
    parser.add_argument("--ranks", default="2,4")
    parser.add_argument("--layouts", help="only those whose name contains this")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--within", type=float, default=0.15)
    parser.add_argument("--json", help="write every figure here, a line a layout")
    return parser.parse_args()


def run(*words):
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}\nended with {result.returncode}: {result.stdout}{result.stderr}")
    return result.stdout


class Comparison:
    def __init__(self, args, home):
        self.args, self.home = args, home
        self.config = args.config or home / "experiment.yaml"
        if not args.config:
            self.config.write_text(CONFIG)

    def overrides(self, ranks, layout):
        threads = max(1, (os.cpu_count() or 1) // ranks)
        full = {"data": 1, "context": 1, "pipeline": 1, **layout}
        return [f"--run.threads={threads}", *(f"--parallel.{key}={value}" for key, value in full.items())]

    def measure_machine(self, ranks):
        path = self.home / f"machine-{ranks}.json"
        run(self.args.longspan, "bench", "machine", "--ranks", ranks, "--out", path)
        return path

    def forecast(self, ranks, layout, machine):
        """Seconds of a step."""
        text = run(self.args.longspan, "plan", self.config, "--world", ranks, "--machine", machine,
                   *self.overrides(ranks, layout))
        return float(re.search(r"^forecast +([0-9.e+-]+) s a step", text, re.MULTILINE)[1])

    def train(self, ranks, layout):
        """Seconds of each step after the first two, which touch memory for the first time."""
        with tempfile.TemporaryDirectory(dir=self.home) as folder:
            run(self.args.longspan, "train", self.config, "--ranks", ranks, f"--run.dir={folder}", "--run.name=run",
                f"--run.steps={self.args.steps + 2}", *self.overrides(ranks, layout))
            lines = (pathlib.Path(folder) / "run/metrics.jsonl").read_text().splitlines()
        return [line["ms"] / 1e3 for line in map(json.loads, lines) if "ms" in line][2:]

    def compare(self, ranks):
        """A row a layout."""
        layouts = {name: layout for name, layout in LAYOUTS[ranks].items() if (self.args.layouts or "") in name}
        machine = self.measure_machine(ranks)
        seconds = {name: [] for name in layouts}
        for _ in range(self.args.rounds):
            for name, layout in layouts.items():
                seconds[name] += self.train(ranks, layout)
        return [{
            "ranks": ranks,
            "layout": name,
            "forecast_ms": 1e3 * self.forecast(ranks, layout, machine),
            "least_ms": 1e3 * min(seconds[name]),
            "median_ms": 1e3 * statistics.median(seconds[name]),
        } for name, layout in layouts.items()]


def misplaced(rows, within):
    """Pairs that the forecast has in another order than the steps, among those that differ by more than `within`."""
    return [(a["layout"], b["layout"]) for a in rows for b in rows
            if a["least_ms"] * (1 + within) < b["least_ms"] and a["forecast_ms"] > b["forecast_ms"]]


def main():
    args = options()
    wrong = 0
    print(f"{'layout':<26} {'forecast ms':>12} {'least ms':>10} {'median ms':>10} {'forecast / least':>17}")
    with tempfile.TemporaryDirectory() as home:
        comparison = Comparison(args, pathlib.Path(home))
        for ranks in map(int, args.ranks.split(",")):
            rows = comparison.compare(ranks)
            for row in rows:
                ratio = row["forecast_ms"] / row["least_ms"]
                wrong += abs(ratio - 1) > args.within
                print(f"{row['layout']:<26} {row['forecast_ms']:>12.1f} {row['least_ms']:>10.1f} "
                      f"{row['median_ms']:>10.1f} {ratio:>17.3f}", flush=True)
            for faster, slower in misplaced(rows, args.within):
                wrong += 1
                print(f"out of order: {faster} is faster than {slower}")
            if args.json:
                with open(args.json, "a", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
