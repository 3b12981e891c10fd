#!/usr/bin/env python3
"""The scripts around a check on a GPU: steps that fail, hang or skip, tables of results, curves, folders of libraries."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
sys.path[:0] = [str(SCRIPTS), str(SCRIPTS / "gpu")]

import bench_gpu_attention  # noqa: E402
import compare_curves  # noqa: E402
import cuda_libraries  # noqa: E402
import gpu_results  # noqa: E402
import steps  # noqa: E402

ABOUT = {"date": "2026-01-02", "commit": "abc123", "build": "ON 90a-real", "emulated": False, "chip": "NVIDIA H100",
         "driver": "580.1", "compute_capability": "9.0"}
KERNELS = [
    {"bench": "kernels", "op": "copy", "ms": 0.1, "best_ms": 0.1, "bytes": 3e8, "flops": 0, "gb_per_s": 3000.0, "tflops": 0,
     "of_floor": 1, "tokens": 64, "hidden": 32, "ffn": 128, "vocab": 99, "precision": "bf16"},
    {"bench": "kernels", "op": "matmul", "ms": 1.5, "best_ms": 1.4, "bytes": 4e8, "flops": 1.1e12, "gb_per_s": 266.0,
     "tflops": 733.0, "of_floor": 1},
    {"bench": "kernels", "op": "rms_norm forward", "refusal": "not built"}]
ATTENTION = {"bench": "attention", "op": "sm90", "tokens": 16384, "documents": 200, "spread": "mixed", "heads": 16, "kv_heads": 8,
             "head_dim": 128, "forward_ms": 2.0, "backward_ms": 6.0, "forward_gflops": 500e3, "backward_gflops": 400e3,
             "matmul_gflops": 700e3}
PEER = {"bench": "gpu_attention_against_torch", "torch": "2.11.0", "tokens": 16384, "heads": 16, "head_dim": 128,
        "backend": "cudnn", "forward_ms": 2.0, "backward_ms": 6.0, "torch_forward_ms": 3.0, "torch_backward_ms": 5.0,
        "forward_speedup": 1.5, "backward_speedup": 5 / 6}


class WithFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)


class Results(WithFolder):
    def write(self, about=None, rows=()):
        (self.folder / "about.json").write_text(json.dumps(about or ABOUT), encoding="utf-8")
        (self.folder / "steps.jsonl").write_text(json.dumps(
            {"step": "golden fp32", "status": "failed", "why": "exit code 1", "seconds": 12.3, "command": "longspan check"}) + "\n" +
            json.dumps({"step": "test x", "status": "passed", "seconds": 1, "command": "x", "passed": 7, "failed": 0, "skipped": 2})
            + "\n", encoding="utf-8")
        (self.folder / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def test_tables_hold_every_row(self):
        self.write(rows=[*KERNELS, ATTENTION, PEER])
        _, text = gpu_results.render(self.folder)
        for part in ("2026-01-02, commit abc123: NVIDIA H100, compute capability 9.0, driver 580.1", "failed: exit code 1", "7 / 0 / 2",
                     "a copy moves 3000 GB/s", "| matmul | 1.500 | 1.400 | 266 | 733.0 | 1.00 |", "| rms_norm forward | refused |",
                     # Operations at the product's rate: 2 ms x 500 / 700 and 6 ms x 400 / 700.
                     "| sm90 | 16384 | 200 mixed | 16/8 of 128 | 2.00 / 6.00 | 1.43 / 3.43 | 500 / 400 | 700 | 0.71 / 0.57 |",
                     "| 16384 | 16 of 128 | cudnn | 2.00 / 6.00 | 3.00 / 5.00 | 1.50 / 0.83 |"):
            self.assertIn(part, text)

    def test_sections_without_rows_are_left_out(self):
        self.write()
        _, text = gpu_results.render(self.folder)
        self.assertNotIn("PyTorch", text)
        self.assertNotIn("Ceilings", text)

    def script(self, *words):
        return subprocess.run([sys.executable, SCRIPTS / "gpu_results.py", self.folder, *words], capture_output=True, text=True,
                              check=False)

    def test_page_keeps_what_stands_around_the_marks(self):
        self.write(rows=KERNELS)
        page = self.folder / "page.md"
        page.write_text(f"before\n{gpu_results.BEGIN}\nearlier words\n{gpu_results.END}\nafter\n", encoding="utf-8")
        for _ in range(2):  # written twice: the same
            self.assertEqual(self.script("--into", page).returncode, 0)
            text = page.read_text(encoding="utf-8")
            self.assertTrue(text.startswith("before\n") and text.endswith("\nafter\n"), text)
            self.assertNotIn("earlier words", text)
            self.assertEqual(text.count("733.0"), 1)

    def test_emulated_results_are_printed_and_not_written(self):
        self.write(about=dict(ABOUT, emulated=True, chip="emulated"))
        page = self.folder / "page.md"
        page.write_text(f"{gpu_results.BEGIN}\n{gpu_results.END}\n", encoding="utf-8")
        before = page.read_text(encoding="utf-8")
        done = self.script("--into", page)
        self.assertIn("emulated", done.stderr)
        self.assertEqual((done.returncode, page.read_text(encoding="utf-8")), (1, before))
        self.assertIn("emulated", self.script().stdout)

    def test_page_without_marks_is_an_error(self):
        self.write()
        page = self.folder / "page.md"
        page.write_text("no marks", encoding="utf-8")
        self.assertIn("must hold one", self.script("--into", page).stderr)


class StepsTest(WithFolder):
    def setUp(self):
        super().setUp()
        self.steps = steps.Steps(self.folder)

    def last(self):
        return gpu_results.read_lines(self.folder / "steps.jsonl")[-1]

    def test_a_failure_stops_nothing_and_is_told(self):
        self.assertFalse(self.steps.run("bad", [sys.executable, "-c", "print('why'); raise SystemExit(3)"], 60))
        self.assertEqual((self.last()["status"], self.last()["why"], self.last()["tail"]), ("failed", "exit code 3", "why"))
        self.assertTrue(self.steps.run("good", [sys.executable, "-c", "pass"], 60))
        self.assertFalse(self.steps.all_well())
        self.assertEqual(self.steps.summary(), "1 steps passed, 1 failed, 0 skipped")

    def test_a_step_out_of_time_leaves_no_process(self):
        mark = self.folder / "alive"
        child = f"import time, pathlib; time.sleep(2); pathlib.Path({str(mark)!r}).touch()"
        self.steps.run("slow", [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"], 0.5)
        self.assertEqual(self.last()["status"], "timed out")
        time.sleep(2.5)
        self.assertFalse(mark.exists())

    def test_a_program_without_a_gpu_is_skipped(self):
        self.steps.run("none", [sys.executable, "-c", "print('no GPU'); raise SystemExit(77)"], 60)
        self.assertEqual((self.last()["status"], self.last()["why"]), ("skipped", "no GPU"))

    def test_rows_of_json_are_kept_even_from_a_step_that_fails(self):
        code = "print('{\"bench\": \"kernels\"}'); print('words'); raise SystemExit(1)"
        self.steps.run("rows", [sys.executable, "-c", code], 60, json_lines=True)
        self.assertEqual(gpu_results.read_lines(self.folder / "bench.jsonl"), [{"bench": "kernels"}])

    def test_counts_what_googletest_wrote(self):
        path = self.folder / "results.xml"
        path.write_text('<testsuites><testsuite><testcase status="run" result="completed"/><testcase status="run" result="completed">'
                        '<failure message="x"/></testcase><testcase status="run" result="skipped"><skipped/></testcase>'
                        '<testcase status="notrun" result="suppressed"/></testsuite></testsuites>', encoding="utf-8")
        self.assertEqual(steps.count_gtest(path), {"passed": 1, "failed": 1, "skipped": 1})
        self.assertIsNone(steps.count_gtest(self.folder / "none.xml"))


class Curves(WithFolder):
    def fault(self, first, other, bound=0.01):
        return compare_curves.fault_between(dict(enumerate(first)), dict(enumerate(other)), bound)

    def test_alike_within_the_bound(self):
        fault, told = self.fault([5.0, 4.0], [5.04, 4.0])
        self.assertIsNone(fault)
        self.assertIn("8.00e-03 at step 0", told)

    def test_faults(self):
        self.assertIn("part", self.fault([5.0, 4.0], [5.0, 4.05])[0])
        self.assertIn("other steps", self.fault([5.0], [5.0, 4.0])[0])
        self.assertIn("other steps", self.fault([], [])[0])
        self.assertIn("no number", self.fault([5.0], [float("nan")])[0])

    def test_reads_the_losses_of_a_run(self):
        path = self.folder / "metrics.jsonl"
        path.write_text('{"run": 1}\n{"step": 1, "loss": 5.5}\n{"step": 2, "loss": 5.25}\n{"step": 2, "validation_loss": 9}\n', encoding="utf-8")
        self.assertEqual(compare_curves.read_losses(path), {1: 5.5, 2: 5.25})


class Peers(unittest.TestCase):
    def test_ratios_are_of_the_least_times(self):
        ours = [dict(ATTENTION, commit="abc", device="NVIDIA H100", forward_ms=there, backward_ms=back, op_forward_ms=there / 2,
                     op_backward_ms=back / 2) for there, back in ((2.0, 8.0), (4.0, 5.0))]
        row = bench_gpu_attention.compare(ours, [(3.0, 6.0), (2.5, 10.0)], {"backend": "cudnn"})
        self.assertEqual((row["forward_ms"], row["backward_ms"], row["op_forward_ms"]), (2.0, 5.0, 1.0))
        self.assertEqual((row["forward_speedup"], row["backward_speedup"]), (1.25, 1.2))
        self.assertAlmostEqual(row["speedup"], 8.5 / 7)


class Libraries(WithFolder):
    def test_toolkit_first_then_wheels_that_hold_libraries(self):
        for name in ("toolkit/lib64/libcudart.so.13", "site/nvidia/cudnn/lib/libcudnn.so.9", "site/nvidia/nccl/lib/libnccl.so.2"):
            path = self.folder / name
            path.parent.mkdir(parents=True)
            path.touch()
        (self.folder / "site/nvidia/empty/lib").mkdir(parents=True)
        found = cuda_libraries.library_folders({"CUDA_HOME": str(self.folder / "toolkit")}, [str(self.folder / "site")])
        self.assertEqual([pathlib.Path(path).relative_to(self.folder).as_posix() for path in found],
                         ["toolkit/lib64", "site/nvidia/cudnn/lib", "site/nvidia/nccl/lib"])
        self.assertEqual(cuda_libraries.library_folders({}, []), [])


if __name__ == "__main__":
    unittest.main()
