#!/usr/bin/env python3
"""Times whole training steps of a config beside the same model in eager PyTorch, in turns, on the same threads.

    scripts/bench_training.py configs/llama-124m.yaml --train data/train.h5 --torch-python ~/torch/bin/python

One rank, fp32, one sequence a step: forward, backward, clipping and AdamW. The two take turns and the ratio compares
the least step times, so that what else the machine does falls on both. PyTorch's model is written out below: the usual
eager one, with scaled_dot_product_attention, cross-entropy on whole logits and its own AdamW.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Runs in PyTorch's interpreter: answers every line on stdin with the milliseconds of that many steps.
TORCH_WORKER = r"""
import json, sys, time
import torch
from torch import nn
from torch.nn import functional as F

o = json.loads(sys.argv[1])
torch.set_num_threads(o["threads"])
torch.manual_seed(1)
E, H, K, D, T = o["hidden"], o["heads"], o["kv_heads"], o["head_dim"], o["tokens"]

class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        linear = lambda i, j: nn.Linear(i, j, bias=False)
        self.norm1, self.norm2 = nn.RMSNorm(E, 1e-5), nn.RMSNorm(E, 1e-5)
        self.q, self.k, self.v, self.o = linear(E, H * D), linear(E, K * D), linear(E, K * D), linear(H * D, E)
        self.gate, self.up, self.down = linear(E, o["ffn"]), linear(E, o["ffn"]), linear(o["ffn"], E)

    def turn(self, x, cos, sin):
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def forward(self, x, cos, sin):
        y = self.norm1(x)
        heads = lambda p, n: p(y).view(1, T, n, D).transpose(1, 2)
        q, k, v = self.turn(heads(self.q, H), cos, sin), self.turn(heads(self.k, K), cos, sin), heads(self.v, K)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=H != K)
        x = x + self.o(a.transpose(1, 2).reshape(1, T, H * D))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))

class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(o["vocab"], E)
        self.layers = nn.ModuleList(Layer() for _ in range(o["layers"]))
        self.norm = nn.RMSNorm(E, 1e-5)
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, tokens, labels, cos, sin):
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return F.cross_entropy(F.linear(self.norm(x), self.embed.weight).view(T, -1), labels.view(T))

model = Llama()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
angle = torch.outer(torch.arange(T).float(), 1e4 ** (-torch.arange(0, D, 2).float() / D))
cos, sin = angle.cos(), angle.sin()
tokens, labels = torch.randint(0, 256, (1, T)), torch.randint(0, 256, (1, T))

def step():
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    loss = model(tokens, labels, cos, sin)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    loss.item()
    return (time.perf_counter() - start) * 1e3

step()
print(json.dumps({"version": torch.__version__, "parameters": sum(p.numel() for p in model.parameters())}), flush=True)
for line in sys.stdin:
    print(json.dumps([step() for _ in range(int(line))]), flush=True)
"""


def longspan_overrides(args, tokens):
    return [f"--data.train={pathlib.Path(args.train).resolve()}", "--data.validation=[]", "--data.tokenizer=bytes",
            "--data.global_batch=1", f"--data.sequence_length={tokens}", "--run.precision=fp32",
            f"--run.threads={args.threads}", "--checkpoint.resume=false"]


def resolved_model(args, overrides):
    """The model's numbers as the program itself resolves them."""
    text = subprocess.run([args.longspan, "config", args.config, *overrides], check=True, stdout=subprocess.PIPE,
                          text=True).stdout
    fields = dict(line.strip().split(": ", 1) for line in text.splitlines() if ": " in line and line.startswith("  "))
    return {key: int(fields[key]) for key in ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab")}


def longspan_turn(args, overrides, steps):
    with tempfile.TemporaryDirectory() as folder:
        # One step more than is counted: the first touches all memory. No checkpoint is due before the last step.
        command = [args.longspan, "train", args.config, *overrides, f"--run.dir={folder}", "--run.name=bench",
                   f"--run.steps={steps + 1}"]
        run = subprocess.run([str(c) for c in command], stdout=subprocess.DEVNULL)
        if run.returncode != 0:
            sys.exit(f"bench_training.py: {' '.join(str(c) for c in command)} ended with code {run.returncode}")
        lines = (pathlib.Path(folder) / "bench/metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["ms"] for line in lines if '"loss"' in line][1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--train", required=True, help="token file to read, of bytes")
    parser.add_argument("--torch-python", required=True, help="interpreter that can import torch")
    parser.add_argument("--longspan", default=ROOT / "build/cpu/bin/longspan", help="the binary to time")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, default=3, help="steps a turn")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    overrides = longspan_overrides(args, args.tokens)
    options = dict(resolved_model(args, overrides), tokens=args.tokens, threads=args.threads)
    env = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
    torch = subprocess.Popen([args.torch_python, "-c", TORCH_WORKER, json.dumps(options)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True, env=env)
    about = json.loads(torch.stdout.readline())
    ours, theirs = [], []
    for _ in range(args.rounds):
        ours += longspan_turn(args, overrides, args.steps)
        torch.stdin.write(f"{args.steps}\n")
        torch.stdin.flush()
        theirs += json.loads(torch.stdout.readline())
    torch.stdin.close()
    torch.wait()
    row = dict(options, bench="training_against_torch", config=pathlib.Path(args.config).name, torch=about["version"],
               parameters=about["parameters"], ms=min(ours), torch_ms=min(theirs),
               tokens_per_s=args.tokens / min(ours) * 1e3, torch_tokens_per_s=args.tokens / min(theirs) * 1e3,
               speedup=min(theirs) / min(ours))
    print(f"Longspan {row['ms']:.0f} ms a step ({row['tokens_per_s']:.0f} tokens/s), PyTorch {about['version']} "
          f"{row['torch_ms']:.0f} ms ({row['torch_tokens_per_s']:.0f} tokens/s): {row['speedup']:.2f} x")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
