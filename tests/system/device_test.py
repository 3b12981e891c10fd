"""The same binary, config and tests on a GPU, real or emulated: what the host trains, a GPU trains too."""
import itertools
import unittest

from harness import SystemTest

SCHEMES = ("ring", "striped", "zigzag", "ulysses", "all_gather", "auto")  # of any number of ranks
ON_GPU = ("--run.device=cuda",)
ON_HOST = ("--run.device=cpu",)
# Schedule, data, context, zero, recompute: four ranks, two of them deep.
PIPELINES = (("1f1b", 2, 1, 1, "full"), ("1f1b", 1, 2, 0, "selective"), ("zbv", 2, 1, 0, "none"), ("zbv", 2, 1, 1, "full"))


def distance(curve, expected):
    """The largest relative difference of two curves' losses."""
    return max(abs(a[1] - b[1]) / b[1] for a, b in zip(curve, expected, strict=True))


class Device(SystemTest):
    def setUp(self):
        super().setUp()
        process = self.start("check", "none.h5", "--device", "cuda")
        process.wait(timeout=60)
        if "there is no GPU" in self.output():
            self.skipTest(self.output().strip())
        self.options = ["--run.steps=30", "--data.validation=[synthetic:passkey]", "--data.validate_every=10",
                        "--data.validation_sequences=2"]

    def curve(self, name, *words):
        output = self.train(name, *self.options, *words)
        self.assertIn("device            cuda" if ON_GPU[0] in words else "device            cpu", output)
        return self.steps(name)

    def test_fp32_follows_the_host(self):
        host, gpu = self.curve("host", *ON_HOST), self.curve("gpu", *ON_GPU)
        self.assertLess(host[-1][1], 0.95 * host[0][1], "the model learns")
        # Rounding differs in every sum; over 30 steps of this model it grows to some 1e-6.
        self.assertLess(distance(gpu, host), 1e-5)
        for (step, loss), (_, loss_1) in zip(self.validations("gpu"), self.validations("host"), strict=True):
            self.assertLess(abs(loss - loss_1), 1e-5 * loss_1, f"validation {step}")

    def test_bf16_strays_no_further_than_bf16_does(self):
        host = self.curve("host", *ON_HOST)
        rounded = self.curve("rounded", *ON_HOST, "--run.precision=bf16")
        gpu = self.curve("gpu", *ON_GPU, "--run.precision=bf16")
        # Both round weights and activations to bf16, at the same places but in other sums: twice the host's own spread.
        self.assertLess(distance(gpu, host), 2 * distance(rounded, host))
        self.assertLess(gpu[-1][1], 0.95 * gpu[0][1])

    def test_every_scheme_reproduces_one_rank(self):
        self.options[0] = "--run.steps=10"
        one = self.curve("one", *ON_GPU)
        for ranks, scheme in [*itertools.product((2, 3), SCHEMES), (4, "two_d")]:
            name = f"{scheme}{ranks}"
            curve = self.curve(name, "--ranks", ranks, f"--parallel.context_scheme={scheme}", *ON_GPU)
            self.assertLess(distance(curve, one), 1e-5, name)

    def test_same_layout_same_bits(self):
        self.options[0] = "--run.steps=10"
        words = ["--ranks", 2, *ON_GPU, "--run.precision=bf16"]
        self.assertEqual(self.curve("first", *words), self.curve("second", *words))
        self.assertEqual(self.tensors_of("first", 10), self.tensors_of("second", 10))

    def test_pipelines_follow_the_host_with_the_same_bits_twice(self):
        self.options[0] = "--run.steps=3"
        self.options += ["--data.validate_every=3", "--model.layers=4", "--data.global_batch=8"]
        host = self.curve("host", *ON_HOST)
        for schedule, data, context, zero, recompute in PIPELINES:
            name = f"{schedule}-{data}-{context}-{zero}-{recompute}"
            words = ["--ranks", 4, "--parallel.pipeline=2", f"--parallel.schedule={schedule}", f"--parallel.data={data}",
                     f"--parallel.context={context}", f"--parallel.zero={zero}", f"--model.recompute={recompute}", *ON_GPU]
            curve = self.curve(name, *words)
            self.assertLess(distance(curve, host), 1e-5, name)
            self.assertLess(distance(self.validations(name), self.validations("host")), 1e-5, name)
            if zero:
                self.assertEqual(self.curve(f"{name}-again", *words), curve, name)
                self.assertEqual(self.tensors_of(f"{name}-again", 3), self.tensors_of(name, 3), name)

    def test_a_pipeline_offloads_activations(self):
        self.options = ["--run.steps=2", "--model.layers=12", "--data.global_batch=4"]
        words = ["--ranks", 2, "--parallel.pipeline=2", "--parallel.schedule=1f1b", "--model.recompute=selective",
                 "--run.precision=bf16", *ON_GPU]
        here = self.curve("here", *words)
        self.assertEqual(self.curve("away", *words, "--model.offload=activations"), here)
        self.assertEqual(self.tensors_of("away", 2), self.tensors_of("here", 2))
        self.assertLess(self.peak_mib("away"), self.peak_mib("here"))

    def test_a_checkpoint_knows_no_device(self):
        words = [*self.options[1:], "--run.steps=12", "--checkpoint.every=6", "--checkpoint.keep=0"]
        for name, first, then in (("there", ON_GPU, ON_HOST), ("back", ON_HOST, ON_GPU)):
            self.train(name, *words, *first)
            straight = self.steps(name)
            checkpoints = self.run_folder(name) / "checkpoints"
            (checkpoints / "step-00000012").rename(checkpoints / "gone")
            # The device is no part of what was saved, but of the config that is printed.
            self.assertIn("step-00000006", self.train(name, *words, *then))
            self.assertLess(distance(self.steps(name), straight), 1e-5, name)

    def test_offloaded_activations_change_no_bit_and_free_memory(self):
        self.options[0] = "--run.steps=5"
        words = [*ON_GPU, "--model.layers=6", "--model.recompute=selective", "--run.precision=bf16"]
        here = self.curve("here", *words)
        away = self.curve("away", *words, "--model.offload=activations")
        self.assertEqual(here, away)
        self.assertEqual(self.tensors_of("here", 5), self.tensors_of("away", 5))
        self.assertLess(self.peak_mib("away"), self.peak_mib("here"))

    def test_choices_of_attention_reach_its_kernels(self):
        self.options[0] = "--run.steps=3"
        words = [*ON_GPU, "--run.precision=bf16"]
        plain = self.curve("plain", *words)
        # Fewer blocks share the same items: no bit changes. Rounding from another origin changes some, and no more.
        self.assertEqual(self.curve("fewer", *words, "--parallel.comm_sms=3"), plain)
        below = self.curve("below", *words, "--model.softmax_origin=below_one")
        self.assertNotEqual(below, plain)
        self.assertLess(distance(below, plain), 1e-2)

    def test_the_probe_validates_and_text_comes(self):
        output = self.train("probed", "--ranks", 2, "--run.parity_probe=true", "--run.steps=1", *ON_GPU)
        self.assertRegex(output, r"softmax causal: out \S+, lse \S+, dq \S+, dk \S+, dv \S+: the same\n")
        words = ["generate", "--checkpoint", "runs/probed", "--prompt", "key", "--max-new", 20, "--temperature", 0]
        self.assertEqual(self.run_longspan(*words, "--device", "cuda"), self.run_longspan(*words, "--device", "cpu"))


if __name__ == "__main__":
    unittest.main()
