"""data.packing balanced: documents move between ranks and micro-batches, and nothing is trained otherwise for it."""
import itertools
import json
import pathlib
import random
import subprocess
import sys
import unittest

from harness import SystemTest, mpi, needs_mpi

TOLERANCE = 1e-5  # relative, fp32, over 20 steps


class Balanced(SystemTest):
    def setUp(self):
        super().setUp()
        words = "the quick brown fox jumps over a lazy dog and runs on into the night ".split()
        chance = random.Random(4)
        lines = [" ".join(chance.choices(words, k=chance.choice((1, 1, 2, 3, 5, 12, 40, 90)))) for _ in range(900)]
        self.write("many.jsonl", "".join(json.dumps({"text": line}) + "\n" for line in lines))
        self.run_longspan("data", "tokenize", "many.jsonl", "--out", "many.h5")
        self.options = ["--data.train=[many.h5]", "--data.sequence_length=256", "--data.global_batch=24"]
        self.packed = [*self.options, "--data.packing=documents", "--parallel.micro_batches=1"]
        self.balanced = [*self.options, "--data.packing=balanced"]
        self.train("packed", *self.packed, "--checkpoint.every=10")

    def expect_same_curve(self, name):
        curve, expected = self.steps(name), self.steps("packed")
        self.assertEqual(len(curve), 20)
        for (step, loss, norm, rate), (step_1, loss_1, norm_1, rate_1) in zip(curve, expected, strict=True):
            self.assertEqual((step, rate), (step_1, rate_1))
            self.assertLessEqual(abs(loss - loss_1), TOLERANCE * loss_1, f"{name} step {step}")
            self.assertLessEqual(abs(norm - norm_1), 10 * TOLERANCE * norm_1, f"{name} step {step}")

    def layout(self, data, parts, context=1, pipeline=1):
        return ["--ranks", data * context * pipeline, f"--parallel.data={data}", f"--parallel.micro_batches={parts}",
                f"--parallel.pipeline={pipeline}"]

    def test_the_curve_is_that_of_documents(self):
        for data, parts in itertools.product((1, 2, 3), (1, 2, 4)):
            name = f"balanced-{data}-{parts}"
            self.train(name, *self.balanced, *self.layout(data, parts))
            self.expect_same_curve(name)
        self.assertEqual(self.steps("balanced-1-1"), self.steps("packed"), "one micro-batch is as it was packed")
        self.train("packed-2-2", *self.packed, *self.layout(2, 2))
        self.expect_same_curve("packed-2-2")
        self.assertNotEqual(self.steps("balanced-2-2"), self.steps("packed-2-2"), "no document went elsewhere")

    def test_with_context_ranks_and_more_tokens_or_none(self):
        for more, scheme in itertools.product((1, 2), ("striped", "ring", "auto")):
            name = f"{scheme}-{more}"
            self.train(name, *self.balanced, *self.layout(2, 2, context=2), f"--parallel.context_scheme={scheme}",
                       f"--data.balance_tokens={more}")
            self.expect_same_curve(name)

    def test_with_a_pipeline(self):
        for data, schedule in ((1, "1f1b"), (2, "1f1b"), (2, "zero_bubble")):
            name = f"pipeline-{data}-{schedule}"
            self.train(name, *self.balanced, *self.layout(data, 4, pipeline=2), f"--parallel.schedule={schedule}")
            self.expect_same_curve(name)

    def test_micro_batches_shorter_than_their_ranks(self):
        # Sequences of four tokens over three ranks of context: some have none of a micro-batch's.
        short = ["--data.sequence_length=4", "--data.global_batch=6"]
        self.train("packed", *self.packed, *short, "--checkpoint.dir=elsewhere")
        self.train("short", *self.balanced, *short, *self.layout(2, 3, context=3))
        self.expect_same_curve("short")

    def test_same_command_same_bits(self):
        for name in ("first", "second"):
            self.train(name, *self.balanced, *self.layout(3, 2))
        self.assertEqual(self.steps("first"), self.steps("second"))
        self.assertEqual(self.tensors_of("first", 20), self.tensors_of("second", 20))

    def test_other_data_ranks_go_on(self):
        for name, before, after in (("fewer", [*self.balanced, *self.layout(3, 2)], self.layout(1, 4)),
                                    ("more", [*self.balanced, *self.layout(1, 1)], self.layout(3, 1)),
                                    ("began-packed", self.packed, self.layout(2, 2))):
            self.train(name, *before, "--checkpoint.every=10")
            torn = self.run_folder(name) / "checkpoints" / "step-00000020" / "tensors.h5"
            torn.write_bytes(torn.read_bytes()[:-1])
            self.assertIn(f"resuming from runs/{name}/checkpoints/step-00000010", self.train(name, *self.balanced, *after))
            self.expect_same_curve(name)

    def test_a_run_says_what_it_does(self):
        output = self.train("told", *self.balanced, *self.layout(2, 2), "--run.steps=1", "--run.parity_probe=true")
        self.assertIn("2 a data rank and step, 6 sequence(s) each, documents arranged by their work, at most 1920 tokens\n",
                      output)
        self.assertNotIn("stay where they are packed", output)
        output = self.train("tight", *self.balanced, *self.layout(3, 8), "--data.sequence_length=100",
                            "--data.balance_tokens=1")
        self.assertEqual(output.count("documents stay where they are packed but for exchanges, a document of"), 1)

    @needs_mpi
    def test_over_mpi(self):
        self.train("threads", *self.balanced, *self.layout(3, 2))
        self.train("processes", *self.balanced, *self.layout(3, 2)[2:], launcher=mpi(3))
        self.assertEqual(self.steps("threads"), self.steps("processes"))


class BalanceCommand(SystemTest):
    MODEL = """\
model: {layers: 32, hidden: 4096, heads: 32, kv_heads: 8, ffn: 14336, vocab: 128256}
data: {train: [none.h5], sequence_length: 131072, global_batch: 32}
"""

    def setUp(self):
        super().setUp()
        self.write("8b.yaml", self.MODEL)
        script = pathlib.Path(__file__).parents[2] / "scripts" / "pretraining_lengths.py"
        lengths = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True).stdout
        self.write("lengths.txt", "# of a mix\n\n" + lengths)

    def balance(self, *words, **options):
        return self.run_longspan("data", "balance", *words, **options)

    def rows(self, *words):
        """Figures by group and packing: attention mean and worst, all work mean and worst."""
        rows, group = {}, ""
        for line in self.balance("8b.yaml", "--lengths", "lengths.txt", "--data-ranks", 8, *words).splitlines():
            if line in ("data ranks", "micro-batches"):
                group = line
            elif group and line.startswith("  "):
                name, figures = line[:18].strip(), line[18:].split()
                rows[group, name] = tuple(map(float, figures))
        return rows

    def test_a_pretraining_mix_over_8_ranks(self):
        rows = self.rows("--steps", 30)
        self.assertEqual(len(rows), 6)
        for group in ("data ranks", "micro-batches"):
            for least, balanced in zip(rows[group, "least possible"], rows[group, "balanced"]):
                self.assertLessEqual(1, least)
                self.assertLessEqual(least, balanced + 1e-3)
        packed, balanced = rows["data ranks", "documents"], rows["data ranks", "balanced"]
        self.assertGreater(packed[0], 1.4)
        self.assertLess(balanced[0], 1.1)
        self.assertLess(balanced[3], 1.01)
        # A single document is more than a micro-batch's share as long as that is one sequence, not any more with four.
        self.assertGreater(rows["micro-batches", "least possible"][0], 1.5)
        self.assertLess(self.rows("--steps", 8, "--data.global_batch=128", "--parallel.micro_batches=4")
                        ["micro-batches", "balanced"][0], 1.1)

    def test_of_token_files(self):
        self.write("a.txt", "".join("word " * (1 + i * i % 50) + "\n\n" for i in range(500)))
        self.run_longspan("data", "tokenize", "a.txt", "--blank-lines", "--out", "a.h5")
        output = self.balance("tiny.yaml", "--steps", 3, "--data-ranks", 3, "--data.train=[a.h5]",
                              "--data.global_batch=12")
        for part in ("a.h5: 500 documents", "3 data rank(s) x 4 micro-batch(es) of 1 sequence(s) of 96 tokens",
                     "3 steps", "at most 120"):
            self.assertIn(part, output)
        self.assertFalse((self.home / "runs").exists())

    def test_refuses_what_is_wrong(self):
        self.write("bad.txt", "5\n12x\n")
        self.assertIn("bad.txt:2: '12x' is not the length", self.balance("8b.yaml", "--lengths", "bad.txt", code=4))
        self.write("none.txt", "0\n")
        self.assertIn("none.txt: no document", self.balance("8b.yaml", "--lengths", "none.txt", code=4))
        self.assertIn("absent.txt", self.balance("8b.yaml", "--lengths", "absent.txt", code=4))
        self.assertIn("none.h5", self.balance("8b.yaml", code=4))
        self.assertIn("parallel.data", self.balance("8b.yaml", "--data-ranks", 3, code=2))
        self.assertIn("data.packng", self.balance("8b.yaml", "--data.packng=documents", code=2))


if __name__ == "__main__":
    unittest.main()
