#!/usr/bin/env python3
"""Times training steps of a config on a GPU beside the same model in compiled PyTorch there, in turns.

    scripts/bench_gpu_training.py configs/llama-1b.yaml --tokens 32768 [--longspan build/cuda/bin/longspan]

One sequence of one document a step, bf16 products with fp32 master weights: forward, backward, clipping, AdamW. PyTorch's model is
written out below: autocast, every layer compiled and recomputed in backward but for its attention's output, head and loss in
chunks whose logits are recomputed, fused AdamW. The ratio compares the least step times; the first steps of both are not counted.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Runs in a process of its own, which gives the GPU's memory back between turns.
TORCH_WORKER = r"""
import json, sys, time
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts, CheckpointPolicy

o = json.loads(sys.argv[1])
device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(1)
E, H, K, D, T = o["hidden"], o["heads"], o["kv_heads"], o["head_dim"], o["tokens"]

class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        linear = lambda i, j: nn.Linear(i, j, bias=False)
        self.norm1, self.norm2 = nn.RMSNorm(E, 1e-5), nn.RMSNorm(E, 1e-5)
        self.qkv, self.o = linear(E, (H + 2 * K) * D), linear(H * D, E)
        self.gate_up, self.down = linear(E, 2 * o["ffn"]), linear(o["ffn"], E)

    def turn(self, x, cos, sin):
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)

    def forward(self, x, cos, sin):
        q, k, v = self.qkv(self.norm1(x)).view(1, T, H + 2 * K, D).transpose(1, 2).split((H, K, K), 1)
        q, k = self.turn(q, cos, sin), self.turn(k, cos, sin)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=H != K)
        x = x + self.o(a.transpose(1, 2).reshape(1, T, H * D))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)

ATTENTION = tuple(getattr(torch.ops.aten, name).default for name in
                  ("_scaled_dot_product_flash_attention", "_scaled_dot_product_cudnn_attention",
                   "_scaled_dot_product_efficient_attention") if hasattr(torch.ops.aten, name))
policy = lambda context, op, *args, **kwargs: (CheckpointPolicy.MUST_SAVE if op in ATTENTION else
                                               CheckpointPolicy.PREFER_RECOMPUTE)
contexts = lambda: create_selective_checkpoint_contexts(policy)

def chunk_loss(x, weight, labels):
    return F.cross_entropy(F.linear(x, weight).float(), labels, reduction="sum")

class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(o["vocab"], E)
        self.layers = nn.ModuleList(Layer() for _ in range(o["layers"]))
        self.norm = nn.RMSNorm(E, 1e-5)
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, tokens, labels, cos, sin):
        x = self.embed(tokens).to(torch.bfloat16)
        for layer in self.layers:
            x = checkpoint(layer, x, cos, sin, use_reentrant=False, context_fn=contexts)
        x, loss = self.norm(x).view(T, E), 0.0
        for begin in range(0, T, 4096):
            part = slice(begin, min(begin + 4096, T))
            loss = loss + checkpoint(chunk_loss, x[part], self.embed.weight, labels[part], use_reentrant=False)
        return loss / T

model = Llama().to(device)
if o["compile"]:
    for layer in model.layers:
        layer.compile()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
angle = torch.outer(torch.arange(T, device=device).float(), 1e4 ** (-torch.arange(0, D, 2, device=device).float() / D))
cos, sin = angle.cos(), angle.sin()
tokens, labels = (torch.randint(0, 256, (size), device=device) for size in ((1, T), (T,)))

def step():
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device, torch.bfloat16):
        loss = model(tokens, labels, cos, sin)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    loss.item()
    return (time.perf_counter() - start) * 1e3

for _ in range(2):  # compiles, then touches all memory
    step()
peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
print(json.dumps({"version": torch.__version__, "parameters": sum(p.numel() for p in model.parameters()),
                  "ms": [step() for _ in range(o["steps"])], "peak_bytes": peak}))
"""


def overrides(args):
    return ["--data.train=synthetic:passkey", "--data.validation=[]", "--data.tokenizer=bytes", "--data.global_batch=1",
            f"--data.sequence_length={args.tokens}", "--run.precision=bf16", f"--run.device={args.device}",
            "--checkpoint.resume=false"]


def resolved_model(args):
    """The model's numbers as the program itself resolves them."""
    text = subprocess.run([str(args.longspan), "config", args.config, *overrides(args)], check=True, stdout=subprocess.PIPE,
                          text=True).stdout
    fields = dict(line.strip().split(": ", 1) for line in text.splitlines() if ": " in line and line.startswith("  "))
    return {key: int(fields[key]) for key in ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab")}


def longspan_turn(args):
    """Milliseconds of each step but the first, which touches all memory. No checkpoint is due before the last step."""
    with tempfile.TemporaryDirectory() as folder:
        command = [args.longspan, "train", args.config, *overrides(args), f"--run.dir={folder}", "--run.name=bench",
                   f"--run.steps={args.steps + 1}"]
        run = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL, check=False)
        if run.returncode != 0:
            sys.exit(f"bench_gpu_training.py: {' '.join(str(word) for word in command)} ended with code {run.returncode}")
        lines = (pathlib.Path(folder) / "bench/metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if '"loss"' in line][1:]
        return [row["ms"] for row in rows], max(row["peak_mib"] for row in rows)


def torch_turn(args, options):
    run = subprocess.run([args.torch_python, "-c", TORCH_WORKER, json.dumps(options)], stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode != 0:
        sys.exit("bench_gpu_training.py: PyTorch ended early; see its message above")
    return json.loads(run.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--longspan", default=ROOT / "build/cuda/bin/longspan")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--steps", type=int, default=3, help="a turn")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to try this script, nothing else")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    args = parser.parse_args()
    model = resolved_model(args)
    options = dict(model, tokens=args.tokens, steps=args.steps, compile=args.compile)
    ours, peaks, theirs = [], [], []
    for _ in range(args.turns):
        times, peak = longspan_turn(args)
        ours, peaks = ours + times, peaks + [peak]
        theirs.append(torch_turn(args, options))
    ms, torch_ms = min(ours), min(ms for turn in theirs for ms in turn["ms"])
    print(json.dumps(dict(model, bench="gpu_training_against_torch", config=pathlib.Path(args.config).name, device=args.device,
                          tokens=args.tokens, torch=theirs[0]["version"], compiled=args.compile,
                          parameters=theirs[0]["parameters"], ms=ms, torch_ms=torch_ms, tokens_per_s=args.tokens / ms * 1e3,
                          torch_tokens_per_s=args.tokens / torch_ms * 1e3, peak_mib=max(peaks),
                          torch_peak_mib=max(turn["peak_bytes"] for turn in theirs) / 2**20, speedup=torch_ms / ms)))


if __name__ == "__main__":
    main()
