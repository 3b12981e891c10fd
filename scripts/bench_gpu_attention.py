#!/usr/bin/env python3
"""Times attention on a GPU beside PyTorch's scaled_dot_product_attention there, in turns, and prints ratios as JSON lines.

    scripts/bench_gpu_attention.py --longspan build/cuda/bin/longspan [--tokens 16384,65536] [--heads 16] [--head-dim 128]

Causal, one document, bf16, forward and backward. PyTorch (this interpreter's) runs once a back-end that it has, flash and cuDNN.
The two take turns on the same GPU; each turn's figure is the median of its repetitions by events on the GPU, and ratios compare
the least over the turns. Longspan's figure holds what starts and ends its fp32 carry; `op_…` leaves that out.
"""

import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BACKENDS = {"flash": "FLASH_ATTENTION", "cudnn": "CUDNN_ATTENTION"}


def time_torch(torch, backend, args, tokens):
    """(forward, backward) in ms, or why PyTorch cannot."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    make = lambda heads: torch.randn(1, heads, tokens, args.head_dim, device="cuda", dtype=torch.bfloat16)
    q, k, v = (make(heads).requires_grad_() for heads in (args.heads, args.kv_heads, args.kv_heads))
    dout = make(args.heads)
    grouped = {"enable_gqa": True} if args.kv_heads != args.heads else {}
    mark = lambda: torch.cuda.Event(enable_timing=True)
    times = []
    try:
        with sdpa_kernel(getattr(SDPBackend, BACKENDS[backend])):
            for _ in range(args.repetitions + 1):
                begin, middle, end = mark(), mark(), mark()
                begin.record()
                out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, **grouped)
                middle.record()
                out.backward(dout)
                end.record()
                end.synchronize()
                times.append((begin.elapsed_time(middle), middle.elapsed_time(end)))
                q.grad = k.grad = v.grad = None
    except RuntimeError as error:
        return str(error).splitlines()[0]
    middle = lambda values: sorted(values)[len(values) // 2]
    return middle([there for there, _ in times[1:]]), middle([back for _, back in times[1:]])


def time_longspan(args, tokens):
    command = [args.longspan, "bench", "attention", "--device", "cuda", "--precision", "bf16", "--json", "--tokens", tokens,
               "--heads", args.heads, "--kv-heads", args.kv_heads, "--head-dim", args.head_dim, "--repetitions", args.repetitions]
    run = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"bench_gpu_attention.py: {' '.join(str(word) for word in command)} ended with code {run.returncode}")
    return json.loads(run.stdout.splitlines()[-1])


def compare(ours, theirs, about):
    """One row of all turns: rows of `longspan bench attention`, (forward, backward) of PyTorch."""
    least = lambda values: min(values)
    forward, backward = least(row["forward_ms"] for row in ours), least(row["backward_ms"] for row in ours)
    there, back = least(pair[0] for pair in theirs), least(pair[1] for pair in theirs)
    return dict(about, commit=ours[0]["commit"], device=ours[0]["device"], op=ours[0]["op"], tokens=ours[0]["tokens"],
                heads=ours[0]["heads"], kv_heads=ours[0]["kv_heads"], head_dim=ours[0]["head_dim"], forward_ms=forward,
                backward_ms=backward, op_forward_ms=least(row["op_forward_ms"] for row in ours),
                op_backward_ms=least(row["op_backward_ms"] for row in ours), torch_forward_ms=there, torch_backward_ms=back,
                forward_speedup=there / forward, backward_speedup=back / backward,
                speedup=(there + back) / (forward + backward))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longspan", default=ROOT / "build/cuda/bin/longspan")
    parser.add_argument("--tokens", default="16384,65536", help="lengths, comma-separated")
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--kv-heads", type=int, help="default: as many as --heads")
    parser.add_argument("--head-dim", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=10, help="a turn")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    args.kv_heads = args.kv_heads or args.heads
    import torch
    if not torch.cuda.is_available():
        sys.exit("bench_gpu_attention.py: PyTorch sees no GPU")
    for tokens in [int(word) for word in args.tokens.split(",")]:
        ours, theirs = [], {backend: [] for backend in BACKENDS}
        for _ in range(args.turns):
            ours.append(time_longspan(args, tokens))
            for backend in BACKENDS:
                theirs[backend].append(time_torch(torch, backend, args, tokens))
        for backend, turns in theirs.items():
            about = {"bench": "gpu_attention_against_torch", "torch": torch.__version__, "backend": backend}
            if refusals := [turn for turn in turns if isinstance(turn, str)]:
                print(f"{backend}: {refusals[0]}", file=sys.stderr)
                continue
            print(json.dumps(compare(ours, turns, about)), flush=True)


if __name__ == "__main__":
    main()
