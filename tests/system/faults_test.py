"""Whatever goes wrong ends every rank soon, with the documented exit code and a message that says what to try."""
import os
import re
import shutil
import signal
import subprocess
import time
import unittest

from harness import LONGSPAN, SystemTest, mpi, needs_mpi

USAGE, DATA, MEMORY, ENVIRONMENT = 2, 4, 5, 7
SECONDS_TO_END = 20


class Faults(SystemTest):
    def test_a_wrong_config_names_every_fault(self):
        self.write("wrong.yaml", "run: {steps: many}\nmodel: {layer: 3}\n")
        output = self.run_longspan("train", "wrong.yaml", code=USAGE)
        for part in ("wrong.yaml:1", "run.steps", "wrong.yaml:2", "model.layers"):
            self.assertIn(part, output)
        self.assertFalse((self.home / "runs").exists())

    def test_ranks_that_do_not_fit_the_mesh(self):
        output = self.train("mesh", "--ranks", 3, "--parallel.data=2", code=USAGE)
        self.assertIn("3", output)
        self.train("mesh", "--ranks", 2, "--parallel.context=3", code=USAGE)

    def test_a_layout_that_cannot_work_is_refused_by_one_message(self):
        output = self.train("layout", "--ranks", 8, "--parallel.pipeline=4", "--parallel.context=3", code=USAGE)
        for part in ("parallel.pipeline 4 x parallel.data 1 x parallel.context 3", "12 ranks, but 8 were started",
                     "4 stages, but the model has 2 layer(s)", "What fits 8 rank(s): --parallel.pipeline=2"):
            self.assertIn(part, output)
        self.assertEqual(output.count("error:"), 1, output)
        self.assertFalse((self.home / "runs").exists())

    def test_missing_and_torn_token_files(self):
        self.assertIn("none.h5", self.train("missing", "--data.train=[none.h5]", code=DATA))
        self.write("text.txt", "It was a bright cold day in April. " * 200)
        self.run_longspan("data", "tokenize", "text.txt", "--out", "text.h5")
        self.train("good", "--data.train=[text.h5]", "--run.steps=2")
        tokens = self.home / "text.h5"
        tokens.write_bytes(tokens.read_bytes()[: tokens.stat().st_size // 2])
        self.assertIn("text.h5", self.train("torn", "--data.train=[text.h5]", code=DATA))

    def test_too_little_memory_is_known_before_the_first_step(self):
        options = ["--ranks", 2, "--run.memory_gib=0.03", "--run.steps=1", "--data.global_batch=1"]
        output = self.train("large", *options, "--data.sequence_length=65536", code=MEMORY)
        self.assertEqual(self.steps("large"), [])
        fits = int(re.search(r"longest data.sequence_length that fits is (\d+)", output)[1])
        self.assertGreater(fits, 64)
        self.train("fits", *options, f"--data.sequence_length={fits}")
        self.train("more", *options, f"--data.sequence_length={fits + 64}", code=MEMORY)
        self.assertIn("not even a sequence of 64", self.train("tiny", *options, "--run.memory_gib=0.0001", code=MEMORY))

    def test_a_loss_that_is_not_finite_saves_nothing(self):
        output = self.train("wild", "--optimizer.lr=1e30", "--optimizer.warmup_steps=0", "--checkpoint.every=1",
                            "--optimizer.weight_decay=1", code=USAGE)
        self.assertIn("not both finite", output)
        last = self.steps("wild")[-1][0]
        self.assertIn(f"step {last + 1}:", output)
        self.assertEqual(self.checkpoints("wild")[-1], f"step-{last:08d}")

    def test_two_runs_in_one_folder(self):
        first = self.start("train", "tiny.yaml", "--run.name=same", "--run.steps=100000")
        self.wait_for_step(first, "same", 1)
        second = subprocess.run([LONGSPAN, "train", "tiny.yaml", "--run.name=same"], cwd=self.home, text=True,
                                capture_output=True, check=False)
        self.assertEqual(second.returncode, ENVIRONMENT)
        self.assertIn("another run is writing there", second.stderr)
        first.terminate()
        self.finish(first)

    def test_a_full_disk_keeps_earlier_checkpoints(self):
        disk = self.home / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", disk], check=False).returncode:
            self.skipTest("may not mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", disk], check=True)
        self.train("filled", "--run.steps=4", "--checkpoint.dir=disk")
        output = self.train("filled", "--checkpoint.dir=disk", "--checkpoint.every=2", code=ENVIRONMENT)
        for part in ("was not saved", "No space left", "earlier checkpoints are untouched", "checkpoint.dir"):
            self.assertIn(part, output)
        self.assertEqual(sorted(path.name for path in disk.iterdir()), ["step-00000004"])


@needs_mpi
class MpiFaults(SystemTest):
    def test_ranks_with_different_configs(self):
        both = [*mpi(1), LONGSPAN, "train", "tiny.yaml", "--run.seed=1", ":", *mpi(1)[1:]]
        output = self.run_longspan("train", "tiny.yaml", "--run.seed=2", launcher=both, code=USAGE)
        self.assertIn("config", output)
        self.assertIn("rank 1", output)

    def test_one_killed_rank_ends_all(self):
        process = self.start("train", "tiny.yaml", "--run.steps=100000", launcher=mpi(3))
        self.wait_for_step(process, "tiny", 3)
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            ranks = [int(word) for word in file.read().split()]
        self.assertEqual(len(ranks), 3)
        os.kill(ranks[1], signal.SIGKILL)
        start = time.monotonic()
        self.assertNotEqual(process.wait(timeout=SECONDS_TO_END), 0)
        for rank in ranks:
            while os.path.exists(f"/proc/{rank}"):
                self.assertLess(time.monotonic() - start, SECONDS_TO_END)
                time.sleep(0.01)


if __name__ == "__main__":
    unittest.main()
