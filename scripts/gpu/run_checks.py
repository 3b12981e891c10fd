#!/usr/bin/env python3
"""Checks and times a bundle on the GPU of this machine. Called by scripts/gpu_check.sh --run BUNDLE, which sets library paths.

Four groups of steps: `tests` (the device test programs, also under compute-sanitizer), `golden` (golden cases on one rank and on
several that share the GPU, by every scheme), `training` (a curve beside the CPU's), `bench` (kernels, attention, training steps,
beside PyTorch where this python has it). Exit code 1 where a step failed.
"""

import argparse
import datetime
import json
import pathlib
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from steps import Steps  # noqa: E402

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent
GROUPS = ("tests", "golden", "training", "bench")
SCHEMES = ("striped", "zigzag", "ring", "ulysses", "all_gather", "two_d")

# How far a curve may be from that of the CPU in fp32, relative, at any of its first 50 steps. fp32: sums run in another order, and
# 50 steps of training carry the difference on. bf16: one rounding is 2^-9 = 0.002, which the mean over thousands of tokens
# lessens and training carries on; five times that.
CURVE_BOUNDS = {"fp32": 1e-3, "bf16": 1e-2}


def about(bundle):
    """Where figures come from. An emulated device says so itself."""
    lines = dict(line.split(" ", 1) for line in (bundle / "BUNDLE.txt").read_text(encoding="utf-8").splitlines() if " " in line)
    fields = {"date": datetime.date.today().isoformat(), "commit": lines.get("commit", "unknown"),
              "build": lines.get("build", "unknown"), "emulated": "EMULATED" in lines.get("build", "")}
    if shutil.which("nvidia-smi"):
        query = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap",
                                "--format=csv,noheader"], capture_output=True, text=True, check=False)
        if query.returncode == 0 and query.stdout.strip():
            name, driver, memory, capability = [word.strip() for word in query.stdout.splitlines()[0].split(",")]
            fields.update(chip=name, driver=driver, memory=memory, compute_capability=capability)
    if fields["emulated"]:
        fields["chip"] = "emulated"
    return fields


def run_tests(steps, bundle, small):
    programs = sorted((bundle / "tests").glob("*")) if (bundle / "tests").is_dir() else []
    if not programs:
        steps.skip("device tests", "the bundle holds no test program")
    for program in programs:
        steps.run(f"test {program.name}", [program], 600, gtest=True)
    sanitizer = shutil.which("compute-sanitizer")
    for tool in ("memcheck", "racecheck"):
        for program in programs:
            name = f"{tool} {program.name}"
            if small:
                steps.skip(name, "there is no GPU")
            elif not sanitizer:
                steps.skip(name, "compute-sanitizer is not on PATH")
            else:
                # Tens of times slower: what does not end in time is told as such.
                steps.run(name, [sanitizer, "--tool", tool, "--error-exitcode", "9", program], 240, gtest=True)


def run_golden(steps, bundle, small):
    longspan = bundle / "bin/longspan"
    cases = sorted((bundle / "share/longspan/cases").glob("softmax-*.h5"))
    if not cases:
        steps.skip("golden cases", "the bundle holds none")
        return
    for precision in ("fp32", "bf16"):
        steps.run(f"golden {precision}", [longspan, "check", *cases, "--device", "cuda", "--precision", precision], 600)
    for scheme in SCHEMES:
        ranks = 4 if scheme == "two_d" else 3  # two_d wants a product
        chosen = cases if not small else cases[:3]
        steps.run(f"golden ranks {scheme}", [longspan, "check", *chosen, "--device", "cuda", "--ranks", ranks,
                                             "--scheme", scheme], 600)


def run_training(steps, bundle, out, small):
    config = bundle / "share/longspan/configs/gpu-parity.yaml"
    length, count = (128, 5) if small else (2048, 50)
    curves = {}
    for device, precision in (("cpu", "fp32"), ("cuda", "fp32"), ("cuda", "bf16")):
        name = f"curve-{device}-{precision}"
        command = [bundle / "bin/longspan", "train", config, f"--run.dir={out / 'runs'}", f"--run.name={name}",
                   f"--run.device={device}", f"--run.precision={precision}", f"--run.steps={count}",
                   f"--data.sequence_length={length}", "--checkpoint.resume=false"]
        shutil.rmtree(out / "runs" / name, ignore_errors=True)
        if steps.run(f"train {device} {precision}", command, 900):
            curves[device, precision] = out / "runs" / name / "metrics.jsonl"
    for precision, bound in CURVE_BOUNDS.items():
        name = f"curve {precision} beside the CPU's"
        if ("cpu", "fp32") in curves and ("cuda", precision) in curves:
            steps.run(name, [sys.executable, SCRIPTS / "gpu/compare_curves.py", curves["cpu", "fp32"],
                             curves["cuda", precision], "--bound", bound], 60)
        else:
            steps.skip(name, "a run it compares did not end well")


def run_bench(steps, bundle, small):
    longspan = bundle / "bin/longspan"
    kernels = (["--tokens", 64, "--hidden", 64, "--ffn", 128, "--heads", 1, "--vocab", 128, "--matrix-size", 64, "--repetitions", 2]
               if small else ["--tokens", 32768, "--hidden", 2048, "--ffn", 8192, "--vocab", 32768])
    steps.run("bench kernels", [longspan, "bench", "kernels", "--device", "cuda", "--precision", "bf16", "--json", *kernels], 300,
              json_lines=True)
    shape = (["--heads", 2, "--kv-heads", 1, "--head-dim", 64, "--matrix-size", 64, "--repetitions", 1] if small
             else ["--heads", 16, "--kv-heads", 16, "--head-dim", 128, "--repetitions", 10])
    lengths = "128" if small else "16384,65536"
    documents = 4 if small else 200
    attention = [longspan, "bench", "attention", "--device", "cuda", "--precision", "bf16", "--json", *shape]
    steps.run("bench attention", [*attention, "--tokens", lengths], 600, json_lines=True)
    for spread in ("equal", "mixed"):
        steps.run(f"bench attention {documents} documents {spread}",
                  [*attention, "--tokens", lengths, "--documents", documents, "--spread", spread], 300, json_lines=True)
    if small:
        steps.skip("bench beside PyTorch", "there is no GPU")
        return
    if subprocess.run([sys.executable, "-c", "import torch; assert torch.cuda.is_available()"], capture_output=True,
                      check=False).returncode != 0:
        steps.skip("bench beside PyTorch", f"{sys.executable} has no torch that sees a GPU")
        return
    steps.run("bench attention beside PyTorch", [sys.executable, SCRIPTS / "bench_gpu_attention.py", "--longspan", longspan], 600,
              json_lines=True)
    for tokens in (32768, 131072):
        steps.run(f"bench training {tokens} beside PyTorch",
                  [sys.executable, SCRIPTS / "bench_gpu_training.py", bundle / "share/longspan/configs/llama-1b.yaml",
                   "--longspan", longspan, "--tokens", tokens], 600, json_lines=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--only", help=f"groups to run, comma-separated, of {', '.join(GROUPS)}")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a step under way is ended too
    groups = args.only.split(",") if args.only else GROUPS
    if unknown := [group for group in groups if group not in GROUPS]:
        parser.error(f"--only {unknown[0]}: there are {', '.join(GROUPS)}")
    bundle, out = args.bundle.resolve(), args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    fields = about(bundle)
    (out / "about.json").write_text(json.dumps(fields) + "\n", encoding="utf-8")
    (out / "bench.jsonl").write_text("", encoding="utf-8")
    print(json.dumps(fields), flush=True)
    steps, small = Steps(out), fields["emulated"]
    for group in groups:
        if group == "tests":
            run_tests(steps, bundle, small)
        elif group == "golden":
            run_golden(steps, bundle, small)
        elif group == "training":
            run_training(steps, bundle, out, small)
        else:
            run_bench(steps, bundle, small)
    print(steps.summary())
    sys.exit(0 if steps.all_well() else 1)


if __name__ == "__main__":
    main()
