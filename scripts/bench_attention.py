#!/usr/bin/env python3
"""Times core attention beside PyTorch's scaled_dot_product_attention and prints ratios as a table and as JSON.

    scripts/bench_attention.py [--longspan build/cpu/bin/longspan] [--torch-python PYTHON] [--tokens 4096,16384] ...

The two take turns, one forward and backward each a round, on the same number of threads, so that whatever else the
machine does falls on both; the ratios compare the least times of all rounds. Attention is causal, one document.
Operations are counted as 2 (D + Dv) a visible pair and head forward and 2 (3 D + 2 Dv) backward, for both.

PyTorch stands in any virtual environment of its own and is named by its interpreter:

    python3 -m venv ~/torch && ~/torch/bin/pip install torch
    scripts/bench_attention.py --torch-python ~/torch/bin/python

Without --torch-python only this build is timed.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

# Runs in PyTorch's interpreter: answers every line on stdin with the times of one forward and backward.
TORCH_WORKER = r"""
import json, sys, time
import torch
o = json.loads(sys.argv[1])
torch.set_num_threads(o["threads"])
dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[o["precision"]]
gqa = o["heads"] != o["kv_heads"]
def operands(tokens):
    make = lambda heads: torch.randn(1, heads, tokens, o["head_dim"], dtype=dtype)
    q, k, v = make(o["heads"]), make(o["kv_heads"]), make(o["kv_heads"])
    return [x.requires_grad_() for x in (q, k, v)] + [make(o["heads"])]
def once(q, k, v, dout):
    start = time.perf_counter()
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=gqa)
    middle = time.perf_counter()
    out.backward(dout)
    end = time.perf_counter()
    q.grad = k.grad = v.grad = None
    return (middle - start) * 1e3, (end - middle) * 1e3
held = None
print(json.dumps({"version": torch.__version__}), flush=True)
for line in sys.stdin:
    tokens = int(line)
    if held is None or held[0] != tokens:
        held = (tokens, operands(tokens))
        once(*held[1])
    forward, backward = once(*held[1])
    print(json.dumps({"forward_ms": forward, "backward_ms": backward}), flush=True)
"""


class Torch:
    """PyTorch in a process of its own that waits, idle, between its turns."""

    def __init__(self, python, options):
        env = dict(os.environ, OMP_NUM_THREADS=str(options["threads"]), OMP_PROC_BIND="true")
        self.process = subprocess.Popen([python, "-c", TORCH_WORKER, json.dumps(options)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=env)
        self.version = self.read()["version"]

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("bench_attention.py: PyTorch ended early; see its message above")
        return json.loads(line)

    def turn(self, tokens):
        self.process.stdin.write(f"{tokens}\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def longspan_turn(binary, options, tokens):
    command = [binary, "bench", "attention", "--heads", options["heads"], "--kv-heads", options["kv_heads"],
               "--head-dim", options["head_dim"], "--tokens", tokens, "--precision", options["precision"],
               "--threads", options["threads"], "--repetitions", 1, "--json"]
    env = dict(os.environ, OMP_PROC_BIND="true")
    run = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, env=env)
    if run.returncode != 0:
        sys.exit(f"bench_attention.py: {' '.join(str(c) for c in command)} ended with code {run.returncode}")
    return json.loads(run.stdout.splitlines()[-1])


def measure(args, options, torch, tokens):
    rounds = []
    for _ in range(args.rounds):
        ours = longspan_turn(args.longspan, options, tokens)
        rounds.append((ours, torch.turn(tokens) if torch else None))
    least = lambda side, key: min(r[side][key] for r in rounds)
    forward, backward = least(0, "forward_ms"), least(0, "backward_ms")
    matmul = max(r[0]["matmul_gflops"] for r in rounds)
    row = dict(options, bench="attention_against_torch", tokens=tokens, rounds=args.rounds,
               commit=rounds[0][0].get("commit"), machine=rounds[0][0].get("machine"), forward_ms=forward,
               backward_ms=backward, matmul_gflops=matmul, peak_bytes=rounds[0][0]["peak_bytes"],
               forward_of_matmul=max(r[0]["forward_gflops"] for r in rounds) / matmul,
               backward_of_matmul=max(r[0]["backward_gflops"] for r in rounds) / matmul)
    if torch:
        there, back = least(1, "forward_ms"), least(1, "backward_ms")
        row.update(torch=torch.version, torch_forward_ms=there, torch_backward_ms=back,
                   forward_speedup=there / forward, backward_speedup=back / backward,
                   speedup=(there + back) / (forward + backward))
    return row


def print_table(rows):
    columns = [("tokens", "tokens", "{:d}"), ("forward_ms", "fwd ms", "{:.1f}"), ("backward_ms", "bwd ms", "{:.1f}"),
               ("forward_of_matmul", "fwd/matmul", "{:.2f}"), ("backward_of_matmul", "bwd/matmul", "{:.2f}"),
               ("torch_forward_ms", "torch fwd", "{:.1f}"), ("torch_backward_ms", "torch bwd", "{:.1f}"),
               ("forward_speedup", "fwd x", "{:.2f}"), ("backward_speedup", "bwd x", "{:.2f}"),
               ("speedup", "both x", "{:.2f}")]
    columns = [c for c in columns if c[0] in rows[0]]
    print("".join(f"{title:>12}" for _, title, _ in columns))
    for row in rows:
        print("".join(f"{form.format(row[key]):>12}" for key, _, form in columns))


def parse_arguments():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longspan", default=root / "build/cpu/bin/longspan", help="the binary to time")
    parser.add_argument("--torch-python", help="interpreter that can import torch")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--kv-heads", type=int, help="default: as many as --heads")
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--tokens", default="4096,16384", help="lengths, comma-separated")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="append the rows, one JSON line each, to this file instead of printing them")
    return parser.parse_args()


def main():
    args = parse_arguments()
    options = {"heads": args.heads, "kv_heads": args.kv_heads or args.heads, "head_dim": args.head_dim,
               "precision": args.precision, "threads": args.threads}
    torch = Torch(args.torch_python, options) if args.torch_python else None
    rows = [measure(args, options, torch, int(tokens)) for tokens in args.tokens.split(",")]
    if torch:
        torch.close()
        print(f"PyTorch {torch.version}, {options['precision']}, {options['heads']} heads "
              f"({options['kv_heads']} kv) of {options['head_dim']}, {options['threads']} threads")
    print_table(rows)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if args.json:
        with open(args.json, "a", encoding="utf-8") as file:
            file.write(lines)
    else:
        print(lines, end="")


if __name__ == "__main__":
    main()
