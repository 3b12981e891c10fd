"""The program's words: help, versions, exit codes of wrong ones, and the commands that look at what runs left."""
import json
import unittest
import xml.etree.ElementTree

from harness import SystemTest

COMMANDS = ("train", "plan", "generate", "data", "inspect", "config", "check", "bench")
USAGE, DATA, ENVIRONMENT = 2, 4, 7


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


if __name__ == "__main__":
    unittest.main()
