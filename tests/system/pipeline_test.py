"""What is trained does not depend on how depth, batch and sequences are spread, nor on what is computed again."""
import itertools
import json
import random
import unittest

from harness import SystemTest, mpi, needs_mpi

TOLERANCE = 1e-5  # relative, fp32, over 20 steps
SCHEDULES = ("gpipe", "1f1b", "interleaved", "zero_bubble", "zbv")
# pipeline, data, context: what fits 8 ranks.
MESHES = [mesh for mesh in itertools.product((2, 4), (1, 2), (1, 2)) if mesh[0] * mesh[1] * mesh[2] <= 8]
ZEROS = (0, 1)
RECOMPUTES = ("none", "selective", "full")
MODEL = ["--model.layers=8", "--data.global_batch=8", "--data.validation=[synthetic:passkey]", "--data.validate_every=10",
         "--data.validation_sequences=3"]


class PipelineTest(SystemTest):
    def setUp(self):
        super().setUp()
        self.train("one", *MODEL)
        self.reference = self.steps("one")
        self.assertEqual(len(self.reference), 20)
        self.assertLess(self.reference[-1][1], 0.95 * self.reference[0][1], "the model learns")

    def words(self, schedule, mesh, zero=0, recompute="none"):
        pipeline, data, context = mesh
        return [f"--parallel.schedule={schedule}", f"--parallel.pipeline={pipeline}", f"--parallel.data={data}",
                f"--parallel.context={context}", f"--parallel.zero={zero}", f"--model.recompute={recompute}", *MODEL]

    def run_layout(self, name, schedule, mesh, *options, ranks=None, launcher=(), more=()):
        threads = () if launcher else ("--ranks", mesh[0] * mesh[1] * mesh[2])
        return self.train(name, *threads, *self.words(schedule, mesh, *options), *more, launcher=launcher)

    def expect_same_curve(self, name, reference="one"):
        for (step, loss, norm, rate), (step_1, loss_1, norm_1, rate_1) in zip(self.steps(name), self.steps(reference),
                                                                             strict=True):
            self.assertEqual((step, rate), (step_1, rate_1))
            self.assertLessEqual(abs(loss - loss_1), TOLERANCE * loss_1, f"{name} step {step}")
            self.assertLessEqual(abs(norm - norm_1), 10 * TOLERANCE * norm_1, f"{name} step {step}")
        for (step, loss), (step_1, loss_1) in zip(self.validations(name), self.validations(reference), strict=True):
            self.assertEqual(step, step_1)
            self.assertLessEqual(abs(loss - loss_1), TOLERANCE * loss_1, f"{name} validation {step}")


def rotating_options():
    """Each schedule over each mesh, once, with the other choices taking turns."""
    choices = itertools.cycle(itertools.product(ZEROS, RECOMPUTES))
    for schedule, mesh in itertools.product(SCHEDULES, MESHES):
        yield schedule, mesh, *next(choices)


class Pipelines(PipelineTest):
    def test_every_schedule_over_some_mesh(self):
        for i, (schedule, mesh, zero, recompute) in enumerate(list(rotating_options())[::3]):
            with self.subTest(schedule=schedule, mesh=mesh, zero=zero, recompute=recompute):
                self.run_layout(f"threads-{i}", schedule, mesh, zero, recompute)
                self.expect_same_curve(f"threads-{i}")

    def test_same_layout_same_bits(self):
        for i, (schedule, mesh, zero, recompute) in enumerate(list(rotating_options())[::9]):
            with self.subTest(schedule=schedule, mesh=mesh, zero=zero, recompute=recompute):
                for again in ("a", "b"):
                    self.run_layout(f"{again}{i}", schedule, mesh, zero, recompute)
                self.assertEqual(self.steps(f"a{i}"), self.steps(f"b{i}"))
                self.assertEqual(self.validations(f"a{i}"), self.validations(f"b{i}"))
                self.assertEqual(self.tensors_of(f"a{i}", 20), self.tensors_of(f"b{i}", 20))

    def test_recompute_and_zero_change_no_bit(self):
        mesh = (2, 2, 1)
        self.run_layout("plain", "1f1b", mesh)
        for zero, recompute, layers in itertools.product(ZEROS, RECOMPUTES[1:], ("auto", 1)):
            name = f"{zero}-{recompute}-{layers}"
            more = () if layers == "auto" else (f"--model.recompute_layers={layers}",)
            self.run_layout(name, "1f1b", mesh, zero, recompute, more=more)
            self.assertEqual(self.steps(name), self.steps("plain"), name)
            self.assertEqual(self.tensors_of(name, 20), self.tensors_of("plain", 20), name)

    def test_a_head_of_its_own_and_stages_by_hand(self):
        self.train("untied", *MODEL, "--model.tie_embeddings=false")
        more = ("--model.tie_embeddings=false", "--parallel.stages=[1, 4, 2, 1]", "--parallel.bucket_mib=0.01")
        self.run_layout("by-hand", "zero_bubble", (4, 2, 1), 1, more=more)
        self.expect_same_curve("by-hand", "untied")

    def test_a_schedule_from_a_file(self):
        rows = ["0F0,0F1,0F2,0F3,0B3,0I2,0B1,0I0,0W0,0W2", "1F0,1F1,1F2,1F3,1I3,1I2,1W2,1W3,1B1,1B0"]
        self.write("own.csv", "\n".join(rows) + "\n")
        self.run_layout("own", "own.csv", (2, 2, 1))
        self.expect_same_curve("own")

    def test_packed_documents_whose_shares_are_uneven(self):
        # Some rank of a sequence gets more tokens than a full document would give it.
        chance = random.Random(4)
        lines = ["x" * chance.randint(1, 90) for _ in range(400)]
        self.write("short.jsonl", "".join(json.dumps({"text": line}) + "\n" for line in lines))
        self.run_longspan("data", "tokenize", "short.jsonl", "--out", "short.h5")
        for packing in ("concat", "documents"):
            more = ["--data.train=[short.h5]", f"--data.packing={packing}"]
            self.train(f"one-{packing}", *MODEL, *more)
            for scheme, schedule, mesh in (("zigzag", "1f1b", (2, 1, 2)), ("zigzag", "interleaved", (1, 1, 2)),
                                           ("auto", "zbv", (2, 1, 3))):
                name = f"{packing}-{scheme}-{schedule}"
                self.run_layout(name, schedule, mesh, more=[*more, f"--parallel.context_scheme={scheme}"])
                self.expect_same_curve(name, f"one-{packing}")

    def test_bf16_trains_nearly_alike(self):
        for schedule, mesh, zero in (("zbv", (2, 1, 2), 0), ("1f1b", (4, 2, 1), 1)):
            name = f"bf16-{schedule}"
            self.run_layout(name, schedule, mesh, zero, more=["--run.precision=bf16"])
            for (step, loss, *_), (_, loss_1, *_) in zip(self.steps(name), self.reference, strict=True):
                self.assertLess(abs(loss - loss_1), 0.02 * loss_1, f"{name} step {step}")


class CheckpointsAcrossLayouts(PipelineTest):
    """One run that goes on under another layout every few steps, optimizer state and data cursor with it."""

    CONSTANT = ["--optimizer.schedule=constant", "--checkpoint.every=100"]  # the rate must not follow run.steps

    def setUp(self):
        super().setUp()
        self.train("whole", *MODEL, *self.CONSTANT)

    def expect_a_journey(self, name, stations):
        for i, (schedule, mesh, zero, launcher) in enumerate(stations):
            more = [*self.CONSTANT, f"--run.steps={(i + 1) * 20 // len(stations)}"]
            output = self.run_layout(name, schedule, mesh, zero, launcher=launcher, more=more)
            self.assertEqual("resuming from" in output, i > 0)
        self.assertEqual([line[0] for line in self.steps(name)], list(range(1, 21)))
        for (step, loss, *_), (_, loss_1, *_) in zip(self.steps(name), self.steps("whole"), strict=True):
            self.assertLessEqual(abs(loss - loss_1), TOLERANCE * loss_1, f"{name} step {step}")

    def test_threads(self):
        self.expect_a_journey("threads", [("1f1b", (1, 1, 1), 0, ()), ("zbv", (2, 1, 2), 0, ()),
                                          ("gpipe", (1, 4, 1), 1, ()),
                                          ("interleaved", (4, 1, 1), 0, ()), ("zero_bubble", (2, 2, 2), 1, ())])

    @needs_mpi
    def test_mpi_and_back(self):
        self.expect_a_journey("mpi", [("zero_bubble", (4, 1, 1), 0, mpi(4)), ("1f1b", (2, 2, 1), 1, ()),
                                      ("interleaved", (2, 1, 2), 1, mpi(4)), ("1f1b", (1, 1, 1), 0, ())])

    def test_the_same_layout_goes_on_bit_for_bit(self):
        layout = ("zero_bubble", (2, 2, 1), 1)
        self.run_layout("at-once", *layout, more=self.CONSTANT)
        self.run_layout("halved", *layout, more=[*self.CONSTANT, "--run.steps=10"])
        self.run_layout("halved", *layout, more=self.CONSTANT)
        self.assertEqual(self.steps("halved"), self.steps("at-once"))
        self.assertEqual(self.tensors_of("halved", 20), self.tensors_of("at-once", 20))

    def test_bf16_masters_in_shards(self):
        # What a checkpoint has of one layout is what another reads and writes again, bit for bit.
        bf16 = [*self.CONSTANT, "--run.precision=bf16", "--optimizer.lr=0", "--optimizer.weight_decay=0"]
        for name, steps, layout in (("moved", 1, ("1f1b", (2, 2, 1), 1)), ("moved", 2, ("zbv", (2, 1, 1), 0)),
                                    ("moved", 3, ("1f1b", (1, 2, 2), 1))):
            self.run_layout(name, *layout, more=[*bf16, f"--run.steps={steps}", "--checkpoint.keep=0"])
        weights = [{name: sum for name, sum in self.tensors_of("moved", step).items() if name.startswith("weights/")}
                   for step in (1, 2, 3)]
        self.assertEqual(weights[0], weights[1])
        self.assertEqual(weights[0], weights[2])


class PipelinesOverMpi(PipelineTest):
    @needs_mpi
    def test_every_schedule_over_mpi(self):
        for i, (schedule, mesh, zero, recompute) in enumerate(rotating_options()):
            with self.subTest(schedule=schedule, mesh=mesh, zero=zero, recompute=recompute):
                self.run_layout(f"mpi-{i}", schedule, mesh, zero, recompute,
                                launcher=mpi(mesh[0] * mesh[1] * mesh[2]))
                self.expect_same_curve(f"mpi-{i}")

    @needs_mpi
    def test_threads_and_mpi_give_the_same_bits(self):
        for schedule in ("1f1b", "zbv"):
            mesh = (2, 2, 1)
            self.run_layout(f"threads-{schedule}", schedule, mesh, 1)
            self.run_layout(f"mpi-{schedule}", schedule, mesh, 1, launcher=mpi(4))
            self.assertEqual(self.steps(f"mpi-{schedule}"), self.steps(f"threads-{schedule}"))
            self.assertEqual(self.tensors_of(f"mpi-{schedule}", 20), self.tensors_of(f"threads-{schedule}", 20))


class AllPipelines(PipelineTest):
    """Every combination there is; slow."""

    def check(self, launcher):
        combinations = itertools.product(SCHEDULES, MESHES, ZEROS, RECOMPUTES)
        for i, (schedule, mesh, zero, recompute) in enumerate(combinations):
            with self.subTest(schedule=schedule, mesh=mesh, zero=zero, recompute=recompute):
                self.run_layout(f"all-{i}", schedule, mesh, zero, recompute,
                                launcher=launcher(mesh[0] * mesh[1] * mesh[2]))
                self.expect_same_curve(f"all-{i}")

    def test_threads(self):
        self.check(lambda ranks: ())


if __name__ == "__main__":
    unittest.main()
