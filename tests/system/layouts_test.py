"""What is trained does not depend on how ranks split the work; the same command gives the same bits."""
import itertools
import json
import random
import unittest

from harness import SystemTest, mpi, needs_mpi

TOLERANCE = 1e-5  # relative, fp32, over 20 steps
SCHEMES = ("ring", "striped", "zigzag", "ulysses", "all_gather", "auto")  # of any number of ranks


class Layouts(SystemTest):
    def setUp(self):
        super().setUp()
        self.options = ["--data.validation=[synthetic:passkey]", "--data.validate_every=10",
                        "--data.validation_sequences=3", "--data.global_batch=4"]
        self.train("one", *self.options)
        self.reference = self.steps("one")
        self.assertEqual([line[0] for line in self.reference], list(range(1, 21)))
        self.assertLess(self.reference[-1][1], 0.95 * self.reference[0][1], "the model learns")

    def expect_same_curve(self, name, reference="one"):
        curve, expected = self.steps(name), self.steps(reference)
        self.assertEqual(len(curve), len(expected))
        for (_, loss, norm, rate), (step, loss_1, norm_1, rate_1) in zip(curve, expected):
            self.assertLessEqual(abs(loss - loss_1), TOLERANCE * loss_1, f"{name} step {step}")
            self.assertLessEqual(abs(norm - norm_1), 10 * TOLERANCE * norm_1, f"{name} step {step}")
            self.assertEqual(rate, rate_1)
        for (step, loss), (step_1, loss_1) in zip(self.validations(name), self.validations(reference), strict=True):
            self.assertEqual(step, step_1)
            self.assertLessEqual(abs(loss - loss_1), TOLERANCE * loss_1, f"{name} validation {step}")

    def test_threads(self):
        for ranks, scheme in [*itertools.product((2, 3, 4), SCHEMES), (4, "two_d")]:
            self.train(f"{scheme}{ranks}", "--ranks", ranks, f"--parallel.context_scheme={scheme}", *self.options)
            self.expect_same_curve(f"{scheme}{ranks}")

    def test_packed_documents(self):
        # Documents shorter and longer than a rank's share, many to a sequence, some cut at its end.
        words = "the quick brown fox jumps over a lazy dog and runs on into the night ".split()
        chance = random.Random(4)
        lines = [" ".join(chance.choices(words, k=chance.choice((1, 2, 5, 12, 40)))) for _ in range(400)]
        self.write("many.jsonl", "".join(json.dumps({"text": line}) + "\n" for line in lines))
        self.run_longspan("data", "tokenize", "many.jsonl", "--out", "many.h5")
        options = ["--data.train=[many.h5]", "--data.validation=[many.h5]", *self.options[1:], "--data.sequence_length=256"]
        self.train("packed", *options)
        for ranks, scheme in [*itertools.product((3, 4), SCHEMES), (4, "two_d")]:
            name = f"packed-{scheme}{ranks}"
            self.train(name, "--ranks", ranks, f"--parallel.context_scheme={scheme}", *options)
            self.expect_same_curve(name, "packed")

    def test_data_ranks_and_micro_batches(self):
        for data, parts, ranks in ((2, "auto", 2), (2, 1, 4), (1, 1, 2), (4, "auto", 4), (1, 2, 1)):
            name = f"data{data}-{parts}-{ranks}"
            self.train(name, "--ranks", ranks, f"--parallel.data={data}", f"--parallel.micro_batches={parts}",
                       *self.options)
            self.expect_same_curve(name)

    @needs_mpi
    def test_mpi(self):
        for ranks, scheme in [*itertools.product((1, 2, 3, 4), ("ring", "striped")), *((4, name) for name in SCHEMES[2:]),
                              (4, "two_d")]:
            name = f"mpi-{scheme}{ranks}"
            self.train(name, f"--parallel.context_scheme={scheme}", *self.options, launcher=mpi(ranks))
            self.expect_same_curve(name)

    @needs_mpi
    def test_same_command_same_bits_threads_or_mpi(self):
        self.train("first", "--ranks", 3, *self.options)
        self.train("second", "--ranks", 3, *self.options)
        self.train("third", *self.options, launcher=mpi(3))
        for name in ("second", "third"):
            self.assertEqual(self.steps("first"), self.steps(name))
            self.assertEqual(self.validations("first"), self.validations(name))
            self.assertEqual(self.tensors_of("first", 20), self.tensors_of(name, 20))

    def test_compressed_hops_train_nearly_alike(self):
        for name in ("bf16", "int8"):
            self.train(name, "--ranks", 3, f"--parallel.compress_keys={name}", f"--parallel.compress_gradients={name}",
                       *self.options)
            curve = self.steps(name)
            self.assertNotEqual(curve, self.reference)
            for (step, loss, *_), (_, loss_1, *_) in zip(curve, self.reference, strict=True):
                self.assertLess(abs(loss - loss_1), 0.005 * loss_1, f"{name} step {step}")

    def test_a_parity_probe_tells_and_changes_nothing(self):
        self.train("plain", "--ranks", 3, *self.options)
        output = self.train("probed", "--ranks", 3, "--run.parity_probe=true", *self.options)
        self.assertIn("96 of the first micro-batch's 96 tokens in 1 document(s); relative errors of 3 rank(s)", output)
        self.assertRegex(output, r"softmax causal: out \S+, lse \S+, dq \S+, dk \S+, dv \S+: the same\n")
        self.assertRegex(output, r"softmax causal window 24: out .*: the same\n")
        self.assertLess(output.index(": the same"), output.index("step 1/20"))
        self.assertEqual(self.steps("probed"), self.steps("plain"))
        self.assertEqual(self.tensors_of("probed", 20), self.tensors_of("plain", 20))
        self.train("groups", "--ranks", 4, "--parallel.data=2", "--run.precision=bf16", "--run.parity_probe=true",
                   *self.options)

    def test_a_parity_probe_of_a_long_sequence_takes_its_beginning(self):
        output = self.train("long", "--ranks", 2, "--run.parity_probe=true", "--run.steps=1", "--data.global_batch=1",
                            "--data.sequence_length=8500")
        self.assertIn("parity probe      8192 of the first micro-batch's 8500 tokens", output)

    @needs_mpi
    def test_a_parity_probe_over_mpi(self):
        output = self.train("mpi-probed", "--run.parity_probe=true", *self.options, launcher=mpi(3))
        self.assertIn("window 24: out", output)
        self.expect_same_curve("mpi-probed")

    def test_recompute_and_bf16_train_too(self):
        self.train("recompute", "--ranks", 2, "--model.recompute=selective", *self.options)
        self.expect_same_curve("recompute")
        self.train("bf16", "--ranks", 2, "--run.precision=bf16", *self.options)
        for (step, loss, *_), (_, loss_1, *_) in zip(self.steps("bf16"), self.reference, strict=True):
            self.assertLess(abs(loss - loss_1), 0.02 * loss_1, f"step {step}")


if __name__ == "__main__":
    unittest.main()
