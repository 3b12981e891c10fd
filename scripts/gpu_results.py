#!/usr/bin/env python3
"""Makes the tables of docs/gpu-results.md from what scripts/gpu_check.sh --run wrote.

    scripts/gpu_results.py FOLDER                        prints them
    scripts/gpu_results.py FOLDER --into docs/gpu-results.md     replaces what stands between that page's two marks

FOLDER holds about.json, steps.jsonl and bench.jsonl. Results of an emulated GPU are printed, and never written into a page.
"""

import argparse
import json
import pathlib
import sys

BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def read_lines(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def table(titles, rows):
    if not rows:
        return []
    return ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles),
            *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows), ""]


def heading(about):
    words = [f"{about.get('chip', 'unknown chip')}"]
    if "compute_capability" in about:
        words.append(f"compute capability {about['compute_capability']}")
    if "driver" in about:
        words.append(f"driver {about['driver']}")
    return [f"### {about['date']}, commit {about['commit']}: {', '.join(words)}", "",
            f"`scripts/gpu_check.sh --pack`, then `--run` on that machine; build: {about.get('build', 'unknown')}.", ""]


def steps_section(steps):
    rows = []
    for step in steps:
        tests = f"{step['passed']} / {step['failed']} / {step['skipped']}" if "passed" in step else ""
        outcome = step["status"] + (f": {step['why']}" if "why" in step else "")
        rows.append((step["step"], outcome, tests, f"{step['seconds']:.0f}"))
    return table(("step", "outcome", "tests passed / failed / skipped", "s"), rows)


def ceilings(rows):
    """Rates of this run that floors are counted with: GB/s of a copy, TFLOP/s of a product."""
    ops = {row["op"]: row for row in rows if row.get("bench") == "kernels" and "refusal" not in row}
    return ops.get("copy", {}).get("gb_per_s"), ops.get("matmul", {}).get("tflops")


def kernels_section(rows):
    lines = []
    for row in rows:
        if row.get("bench") != "kernels":
            continue
        if "refusal" in row:
            lines.append((row["op"], "refused", "", "", "", ""))
            continue
        lines.append((row["op"], f"{row['ms']:.3f}", f"{row['best_ms']:.3f}", f"{row['gb_per_s']:.0f}",
                      f"{row['tflops']:.1f}" if row["flops"] else "", f"{row['of_floor']:.2f}"))
    first = next((row for row in rows if row.get("bench") == "kernels" and "tokens" in row), None)
    if not lines or not first:
        return []
    return [f"`longspan bench kernels --device cuda`: {first['tokens']} tokens, hidden {first['hidden']}, ffn {first['ffn']}, vocab "
            f"{first['vocab']}, {first['precision']}. Floor: bytes at the copy's rate or operations at the product's, the longer.",
            "", *table(("operator", "median ms", "least ms", "GB/s", "TFLOP/s", "of floor"), lines)]


def attention_section(rows):
    lines = []
    for row in rows:
        if row.get("bench") != "attention":
            continue
        there, back, product = (row[key] / 1e3 for key in ("forward_gflops", "backward_gflops", "matmul_gflops"))
        floor = row["forward_ms"] * there / product
        back_floor = row["backward_ms"] * back / product
        lines.append((row["op"], row["tokens"], f"{row['documents']} {row['spread']}" if row["documents"] > 1 else "1",
                      f"{row['heads']}/{row['kv_heads']} of {row['head_dim']}", f"{row['forward_ms']:.2f} / {row['backward_ms']:.2f}",
                      f"{floor:.2f} / {back_floor:.2f}", f"{there:.0f} / {back:.0f}", f"{product:.0f}",
                      f"{there / product:.2f} / {back / product:.2f}"))
    if not lines:
        return []
    return ["`longspan bench attention --device cuda --precision bf16`, causal, forward / backward. Floor: the operations of the "
            "formula at the rate of the matrix product of the same run.", "",
            *table(("implementation", "tokens", "documents", "heads", "ms", "floor ms", "TFLOP/s", "product TFLOP/s", "of product"),
                   lines)]


def peers_section(rows):
    attention = [(row["tokens"], f"{row['heads']} of {row['head_dim']}", row["backend"],
                  f"{row['forward_ms']:.2f} / {row['backward_ms']:.2f}",
                  f"{row['torch_forward_ms']:.2f} / {row['torch_backward_ms']:.2f}",
                  f"{row['forward_speedup']:.2f} / {row['backward_speedup']:.2f}")
                 for row in rows if row.get("bench") == "gpu_attention_against_torch"]
    training = [(row["config"], row["tokens"], f"{row['ms']:.0f}", f"{row['torch_ms']:.0f}", f"{row['tokens_per_s']:.0f}",
                 f"{row['torch_tokens_per_s']:.0f}", f"{row['speedup']:.2f}")
                for row in rows if row.get("bench") == "gpu_training_against_torch"]
    version = next((row["torch"] for row in rows if "torch" in row), None)
    if not version:
        return []
    return [f"Beside PyTorch {version} on the same GPU, in turns; above 1, Longspan is the faster.", "",
            *table(("tokens", "heads", "PyTorch's back-end", "ms", "PyTorch ms", "forward x / backward x"), attention),
            *table(("config", "tokens", "ms a step", "PyTorch ms", "tokens/s", "PyTorch tokens/s", "x"), training)]


def render(folder):
    folder = pathlib.Path(folder)
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    steps, rows = read_lines(folder / "steps.jsonl"), read_lines(folder / "bench.jsonl")
    lines = heading(about) + steps_section(steps)
    copy, product = ceilings(rows)
    if copy and product:
        lines += [f"Ceilings measured in this run: a copy moves {copy:.0f} GB/s (read and written), a matrix product runs at "
                  f"{product:.0f} TFLOP/s.", ""]
    return about, "\n".join(lines + kernels_section(rows) + attention_section(rows) + peers_section(rows)).rstrip() + "\n"


def replace_between_marks(page, text):
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page must hold one {BEGIN} and, after it, one {END}")
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--into", type=pathlib.Path)
    args = parser.parse_args()
    try:
        about, text = render(args.folder)
        if not args.into:
            print(text, end="")
            return
        if about.get("emulated"):
            sys.exit("gpu_results.py: these are of an emulated GPU; a page of results on GPUs does not take them")
        args.into.write_text(replace_between_marks(args.into.read_text(encoding="utf-8"), text), encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"gpu_results.py: {args.folder}: {error!r}")


if __name__ == "__main__":
    main()
