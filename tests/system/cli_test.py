"""The program's words: help, versions, exit codes of wrong ones, and the commands that look at what runs left."""
import json
import re
import unittest
import xml.etree.ElementTree

from harness import SystemTest, mpi, needs_mpi

COMMANDS = ("train", "plan", "schedule", "generate", "data", "inspect", "config", "check", "bench")
USAGE, UNSUPPORTED, DATA, ENVIRONMENT = 2, 3, 4, 7


class CommandLine(SystemTest):
    def test_help_and_version(self):
        self.assertRegex(self.run_longspan("--version"), r"^longspan \d+\.\d+\.\d+\n$")
        overview = self.run_longspan("--help")
        for command in COMMANDS:
            self.assertIn(command, overview)
            self.assertIn("Usage", self.run_longspan(command, "--help"))
        self.assertIn("--section.key=value", self.run_longspan("train", "--help"))

    def test_wrong_words_are_usage_errors(self):
        self.run_longspan(code=USAGE)
        self.run_longspan("trian", code=USAGE)
        self.run_longspan("train", code=USAGE)
        self.assertIn("none.yaml", self.run_longspan("train", "none.yaml", code=USAGE))
        self.assertIn("--bogus", self.run_longspan("train", "tiny.yaml", "--bogus", code=USAGE))
        self.assertIn("model.layers", self.run_longspan("train", "tiny.yaml", "--model.layer=3", code=USAGE))
        self.run_longspan("train", "tiny.yaml", "--ranks", "0", code=USAGE)
        self.run_longspan("generate", "--prompt", "x", code=USAGE)
        self.run_longspan("inspect", code=USAGE)

    def test_a_run_prints_what_it_is(self):
        output = self.train("told", "--run.steps=3")
        for part in ("sequence_length: 96", "parameters", "tokens a step     192", "FLOPs a token", "memory a rank",
                     "hardware", "step 1/3", "step 3/3", "tokens/s", "MFU n/a", "exposed context", "done after step 3/3"):
            self.assertIn(part, output)
        saved = (self.run_folder("told") / "config.yaml").read_text()
        self.assertIn("head_dim: 8", saved)
        self.write("again.yaml", saved)
        self.run_longspan("train", "again.yaml", "--run.name=again")
        self.assertEqual(self.steps("again"), self.steps("told"))

    def test_generate_repeats_itself(self):
        self.train("writer")
        words = ["generate", "--checkpoint", "runs/writer", "--prompt", "The pass key is", "--max-new", 16]
        text = self.run_longspan(*words, "--seed", 3)
        self.assertTrue(text.startswith("The pass key is"))
        self.assertEqual(text, self.run_longspan(*words, "--seed", 3))
        self.assertNotEqual(text, self.run_longspan(*words, "--seed", 4, "--temperature", 2))
        folder = "runs/writer/checkpoints/step-00000020"
        self.assertEqual(text, self.run_longspan("generate", "--checkpoint", folder, *words[3:], "--seed", 3))
        tensors = self.home / folder / "tensors.h5"
        tensors.write_bytes(tensors.read_bytes()[:-7])
        self.assertIn("tensors.h5", self.run_longspan(*words, code=DATA))
        self.run_longspan("generate", "--checkpoint", "runs/none", "--prompt", "x", code=DATA)

    def test_inspect_says_what_a_path_is(self):
        self.train("seen", "--checkpoint.every=10")
        folder = "runs/seen/checkpoints/step-00000010"
        output = self.run_longspan("inspect", folder)
        for part in ("checkpoint", "step 10", "whole", "weights/model.norm.weight"):
            self.assertIn(part, output)
        state = self.home / folder / "state.json"
        state.write_text(state.read_text().replace("weights", "weighty", 1))
        self.assertIn("state.json is altered", self.run_longspan("inspect", folder, code=DATA))
        output = self.run_longspan("inspect", "runs/seen")
        for part in ("step-00000020 whole", "step-00000010 refused: state.json is altered", "20 steps"):
            self.assertIn(part, output)
        self.run_longspan("inspect", "nothing", code=DATA)
        self.run_longspan("inspect", "tiny.yaml", code=DATA)


class Plan(SystemTest):
    def plan(self, *words, code=0):
        return self.run_longspan("plan", "tiny.yaml", *words, code=code)

    def test_tells_sizes_without_running(self):
        output = self.plan("--ranks", 4)
        for part in ("parameters", "striped", "tokens", "work", "memory"):
            self.assertIn(part, output)
        self.assertFalse((self.home / "runs").exists())

    def test_hundreds_of_ranks(self):
        self.plan("--world", 256, "--data.sequence_length=65536")

    def test_given_documents_and_a_plan_file(self):
        self.plan("--ranks", 3, "--documents", "700,1,0,3000", "--emit", "plan.json")
        plan = json.loads((self.home / "plan.json").read_text())
        self.assertEqual(plan["ranks"], 3)
        self.assertIn("documents", self.plan("--documents", "700,x", code=USAGE))

    def test_a_picture(self):
        self.plan("--ranks", 3, "--documents", "700,1,0,3000", "--draw", "plan.svg")
        picture = xml.etree.ElementTree.parse(self.home / "plan.svg").getroot()
        self.assertEqual(picture.tag, "{http://www.w3.org/2000/svg}svg")
        self.assertIn("nowhere/plan.svg", self.plan("--draw", "nowhere/plan.svg", code=ENVIRONMENT))

    def test_compares_schemes(self):
        output = self.plan("--ranks", 3, "--compare")
        for part in ("striped", "ring", "two_d", "refuses: 3 ranks"):
            self.assertIn(part, output)
        self.assertIn("| `ring` |", self.plan("--ranks", 3, "--compare=markdown"))
        self.assertIn("two_d", self.plan("--ranks", 3, "--compare", "--parallel.context_scheme=two_d"))
        self.assertIn("compare", self.plan("--compare=html", code=USAGE))
        self.assertIn("compare", self.plan("--compare", "--draw", "plan.svg", code=USAGE))


class Forecast(SystemTest):
    MEASURE = ("bench", "machine", "--ranks", 2, "--threads", 1, "--tokens", 64, "--widths", "32,64", "--head-dims", 8,
               "--vocab", 259, "--seconds", 0.002)

    def plan(self, *words, code=0):
        return self.run_longspan("plan", "tiny.yaml", "--world", 2, *words, code=code)

    def seconds(self, *words):
        return float(re.search(r"^forecast +([0-9.e+-]+) s a step", self.plan(*words), re.MULTILINE)[1])

    def test_a_search_ends_with_a_config_that_runs(self):
        output = self.run_longspan("plan", "tiny.yaml", "--world", 4, "--chip", "H100", "--run.precision=bf16", "--search",
                                   "--data.global_batch=4")
        self.assertIn("layouts fit batch and depth", output)
        fragment = output[output.index("# The first as a part of a config"):]
        self.write("found.yaml", fragment + "data: {train: [\"synthetic:passkey\"], sequence_length: 96, global_batch: 4}\n")
        self.run_longspan("train", "found.yaml", "--ranks", 4, "--run.steps=2", "--run.threads=1")
        self.run_longspan("plan", "tiny.yaml", "--world", 4, "--chip", "H100", "--run.precision=bf16", "--search",
                          "--memory", "0.0001", code=5)

    def test_measures_a_machine_and_forecasts_by_its_file(self):
        self.run_longspan(*self.MEASURE, "--out", "machine.json")
        machine = json.loads((self.home / "machine.json").read_text())
        self.assertEqual((machine["format"], machine["ranks"]), ("longspan-machine", 2))
        output = self.plan("--machine", "machine.json", "--timeline", "step.svg", "--trace", "step.json")
        for part in ("forecast", "measured", "idle", "exposed", "GiB of a rank", "MFU n/a"):
            self.assertIn(part, output)
        picture = xml.etree.ElementTree.parse(self.home / "step.svg").getroot()
        self.assertEqual(picture.tag, "{http://www.w3.org/2000/svg}svg")
        self.assertTrue(json.loads((self.home / "step.json").read_text())["traceEvents"])
        slower = {**machine, "products": [{**rate, "forward": rate["forward"] / 100} for rate in machine["products"]]}
        self.write("slower.json", json.dumps(slower))
        self.assertGreater(self.seconds("--machine", "slower.json"), self.seconds("--machine", "machine.json"))
        self.write("torn.json", json.dumps(machine)[:-9])
        self.assertIn("torn.json", self.plan("--machine", "torn.json", code=DATA))
        self.assertIn("none.json", self.plan("--machine", "none.json", code=DATA))

    def test_forecasts_by_a_datasheet(self):
        chip = ("--run.precision=bf16", "--run.device=cuda", "--chip", "H100")
        self.assertIn("not measured", self.plan(*chip))
        self.assertGreater(self.seconds(*chip, "--data.sequence_length=65536", "--efficiency", 0.1),
                           self.seconds(*chip, "--data.sequence_length=65536"))
        self.assertIn("run.precision", self.plan("--chip", "H100", code=USAGE))
        self.assertIn("A100, H100, H200", self.plan("--chip", "H20", "--run.precision=bf16", code=USAGE))
        for words in (("--timeline", "x.svg"), ("--trace", "x.json")):
            self.assertIn("bench machine", self.plan(*words, code=USAGE))
        self.assertIn("nowhere/x.svg", self.plan(*chip, "--timeline", "nowhere/x.svg", code=ENVIRONMENT))

    def test_schedules_without_a_model(self):
        output = self.run_longspan("schedule", "1f1b", "--ranks", 4, "--micro-batches", 8, "--timeline", "x.svg",
                                   "--csv", "x.csv")
        self.assertIn("27.3 %", output)
        self.assertIn("<svg", (self.home / "x.svg").read_text())
        self.assertIn("27.3 %", self.run_longspan("schedule", "x.csv"))
        self.assertIn("chunks", self.run_longspan("schedule", "zbv", "--chunks", 3, code=UNSUPPORTED))
        self.assertIn("zbv", self.run_longspan("schedule", "zbx", code=USAGE))
        # Weights' gradients for nothing: a forward and a backward of one each, eight times and for three ranks more.
        self.assertIn("22 forwards", self.run_longspan("schedule", "1f1b", "--costs", "1,1,0"))


class Bench(SystemTest):
    SMALL = ("--tokens", 96, "--heads", 4, "--kv-heads", 2, "--head-dim", 16, "--threads", 1, "--repetitions", 2)

    def context(self, *words, **options):
        return self.run_longspan("bench", "context", *self.SMALL, *words, **options)

    def rows(self, *words, **options):
        return [json.loads(line) for line in self.context("--json", *words, **options).splitlines()]

    def test_context_counts_what_the_plan_says_and_goes_on_after_a_refusal(self):
        rows = self.rows("--ranks", "1,2,4", "--schemes", "striped,two_d,auto")
        self.assertEqual([(row["ranks"], row["scheme"]) for row in rows],
                         [(ranks, scheme) for ranks in (1, 2, 4) for scheme in ("striped", "two_d", "auto")])
        for row in rows:
            if (row["ranks"], row["scheme"]) == (2, "two_d"):
                self.assertIn("no product of two numbers", row["refusal"])
                continue
            for direction in (row["forward"], row["backward"]):
                self.assertEqual(direction["bytes_sent"], direction["planned_bytes"])
                self.assertEqual(len(direction["bytes_sent"]), row["ranks"])
                self.assertEqual(sum(direction["bytes_sent"]) > 0, row["ranks"] > 1)
        table = self.context("--ranks", 2, "--schemes", "ring,two_d", "--full", "--overlap", "off",
                             "--transfers", "free")
        for part in ("full attention", "overlap off", "transfers free", "refused: context scheme two_d"):
            self.assertIn(part, table)

    @needs_mpi
    def test_context_is_the_same_over_processes(self):
        self.assertIn("launcher", self.context("--ranks", "1,3", code=USAGE, launcher=mpi(3)))
        [processes] = self.rows("--schemes", "zigzag", "--trace", "trace.json", launcher=mpi(3))
        [threads] = self.rows("--schemes", "zigzag", "--ranks", 3)
        self.assertEqual((processes["backend"], threads["backend"]), ("mpi", "local"))
        for direction in ("forward", "backward"):
            self.assertEqual(processes[direction]["bytes_sent"], threads[direction]["bytes_sent"])
        events = json.loads((self.home / "trace.json").read_text())["traceEvents"]
        computing = {event["pid"] for event in events if event["ph"] == "X" and event["tid"] == 0}
        self.assertEqual(computing, {0, 1, 2})

    def test_context_refuses_wrong_words(self):
        self.assertIn("rung", self.context("--schemes", "rung", code=USAGE))
        self.assertIn("one row", self.context("--schemes", "ring", "--trace", "t.json", code=USAGE))
        self.assertIn("--kv-heads", self.context("--heads", 3, code=USAGE))
        self.assertIn("--tokens", self.context("--documents", "5,7", code=USAGE))
        self.assertIn("causal", self.context("--full", "--window", 4, "--ranks", 1, code=USAGE))


if __name__ == "__main__":
    unittest.main()
