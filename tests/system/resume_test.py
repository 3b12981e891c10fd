"""Killed, asked to stop, or out of luck with its disk: a run goes on where its last checkpoint was, bit for bit."""
import os
import random
import shutil
import signal
import unittest

from harness import SystemTest, mpi, needs_mpi

LONG = ["--run.steps=150", "--checkpoint.every=4"]


class Resume(SystemTest):
    def expect_same_run(self, name, reference="whole", steps=150):
        self.assertEqual(self.steps(name), self.steps(reference))
        self.assertEqual(self.tensors_of(name, steps), self.tensors_of(reference, steps))

    def kill_at(self, step, name, *words, launcher=()):
        process = self.start("train", "tiny.yaml", f"--run.name={name}", *words, launcher=launcher)
        self.wait_for_step(process, name, step)
        os.killpg(process.pid, signal.SIGKILL)
        self.assertEqual(process.wait(), -signal.SIGKILL, "it ended before it could be killed")

    def test_killed_again_and_again(self):
        options = [*LONG, "--ranks", 2, "--data.validation=[synthetic:passkey]", "--data.validate_every=25"]
        self.train("whole", *options)
        chance = random.Random()
        kills = sorted(chance.randrange(2, 120) for _ in range(3))
        with self.subTest(kills=kills):
            for step in kills:
                self.kill_at(step, "killed", *options)
            output = self.train("killed", *options)
            if kills[-1] > 12:
                self.assertIn("resuming from", output)
            self.expect_same_run("killed")
            self.assertEqual(self.validations("killed"), self.validations("whole"))
            self.assertEqual(self.checkpoints("killed"), ["step-00000148", "step-00000150"])

    def test_stops_on_a_signal_with_code_0(self):
        self.train("whole", *LONG, "--checkpoint.every=0")
        for name in ("SIGTERM", "SIGUSR1", "SIGINT"):
            process = self.start("train", "tiny.yaml", f"--run.name={name}", "--ranks", 1, *LONG,
                                 "--checkpoint.every=0")
            self.wait_for_step(process, name, 3)
            # However often it comes (but for SIGINT, of which the second kills): a signal disturbs no computation.
            for _ in range(1 if name == "SIGINT" else 50):
                process.send_signal(getattr(signal, name))
            self.assertIn("asked to stop", self.finish(process))
            last = self.steps(name)[-1][0]
            self.assertLess(last, 150)
            self.assertEqual(self.checkpoints(name), [f"step-{last:08d}"])
            self.train(name, *LONG, "--checkpoint.every=0")
            self.expect_same_run(name)

    @needs_mpi
    def test_one_rank_of_mpi_is_told_and_all_stop(self):
        process = self.start("train", "tiny.yaml", "--run.name=told", *LONG, launcher=mpi(2))
        self.wait_for_step(process, "told", 3)
        children = (f"/proc/{process.pid}/task/{process.pid}/children")
        with open(children) as file:
            ranks = [int(word) for word in file.read().split()]
        os.kill(ranks[-1], signal.SIGUSR1)
        self.assertIn("asked to stop", self.finish(process))
        self.assertEqual(self.checkpoints("told")[-1], f"step-{self.steps('told')[-1][0]:08d}")

    def test_other_ranks_go_on_with_a_checkpoint(self):
        self.train("whole", "--checkpoint.every=10")
        self.train("moved", "--ranks", 1, "--run.steps=20", "--checkpoint.every=10")
        torn = self.run_folder("moved") / "checkpoints" / "step-00000020" / "tensors.h5"
        torn.write_bytes(torn.read_bytes()[:-1])
        output = self.train("moved", "--ranks", 3, "--checkpoint.every=10")
        self.assertIn("step-00000020 is refused: tensors.h5 has", output)
        self.assertIn("resuming from runs/moved/checkpoints/step-00000010", output)
        for (step, loss, *_), (_, loss_1, *_) in zip(self.steps("moved"), self.steps("whole"), strict=True):
            self.assertLessEqual(abs(loss - loss_1), 1e-5 * loss_1, f"step {step}")
        self.assertEqual(self.checkpoints("moved"), ["step-00000010", "step-00000020"])

    def test_a_finished_run_stays_as_it_is(self):
        self.train("done")
        before = self.steps("done")
        self.assertIn("done after step 20/20", self.train("done"))
        self.assertEqual(self.steps("done"), before)

    def test_refuses_to_mix_runs(self):
        self.train("mixed")
        self.assertIn("checkpoint.resume is false", self.train("mixed", "--checkpoint.resume=false", code=2))
        self.assertIn("trained on other data", self.train("mixed", "--data.sequence_length=128", code=4))
        self.assertIn("has shape", self.train("mixed", "--model.ffn=48", code=4))


# Name, ranks, what makes the layout. Stages of several layers, tied embeddings at both ends of a pipeline.
LAYOUTS = [
    ("one", 1, []),
    ("context", 3, []),
    ("zero", 3, ["--parallel.data=3", "--parallel.zero=1", "--parallel.bucket_mib=0.01"]),
    ("pipeline", 2, ["--parallel.pipeline=2", "--parallel.schedule=zbv"]),
    ("all", 8, ["--parallel.pipeline=2", "--parallel.data=2", "--parallel.zero=1", "--parallel.bucket_mib=0.02"]),
]


class Resharded(SystemTest):
    WORDS = ["--model.layers=4", "--data.global_batch=6", "--checkpoint.every=10"]

    def go(self, name, ranks, words, **options):
        return self.train(name, *(() if options else ("--ranks", ranks)), *self.WORDS, *words, **options)

    def copy_of(self, name, other):
        """Another run that stands where this one did after step 10."""
        shutil.copytree(self.run_folder(name), self.run_folder(other))
        shutil.rmtree(self.run_folder(other) / "checkpoints" / "step-00000020")

    def expect_same_curve(self, name):
        for (step, loss, *_), (_, loss_1, *_) in zip(self.steps(name), self.steps("one"), strict=True):
            self.assertLessEqual(abs(loss - loss_1), 1e-5 * loss_1, f"{name} step {step}")

    def test_a_checkpoint_goes_on_under_any_layout(self):
        for saved, ranks, words in LAYOUTS:
            self.go(saved, ranks, words)
            for resumed, other_ranks, other_words in LAYOUTS:
                name = f"{saved}-{resumed}"
                with self.subTest(name):
                    self.copy_of(saved, name)
                    self.assertIn(f"resuming from runs/{name}/checkpoints/step-00000010",
                                  self.go(name, other_ranks, other_words))
                    self.expect_same_curve(name)
                    if saved == resumed:
                        self.assertEqual(self.tensors_of(name, 20), self.tensors_of(saved, 20))

    def test_bf16_goes_on_bit_for_bit(self):
        for name, ranks, words in LAYOUTS[2:]:
            self.go(name, ranks, [*words, "--run.precision=bf16", "--checkpoint.async=false"])
            self.copy_of(name, f"{name}-again")
            self.go(f"{name}-again", ranks, [*words, "--run.precision=bf16"])
            self.assertEqual(self.steps(f"{name}-again"), self.steps(name))
            self.assertEqual(self.tensors_of(f"{name}-again", 20), self.tensors_of(name, 20))

    @needs_mpi
    def test_over_mpi(self):
        self.go("one", 1, [])
        name, ranks, words = LAYOUTS[-1]
        self.go(name, ranks, words, launcher=mpi(ranks))
        for other, other_ranks, other_words in (LAYOUTS[0], LAYOUTS[2]):
            self.copy_of(name, f"{name}-{other}")
            self.go(f"{name}-{other}", other_ranks, other_words)
            self.expect_same_curve(f"{name}-{other}")


if __name__ == "__main__":
    unittest.main()
