"""What the system tests share: a small experiment, ways to start it, and what it left behind."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

LONGSPAN = os.environ["LONGSPAN"]
MPIRUN = shutil.which("mpirun")
DEADLINE_S = 100

CONFIG = """\
run: {dir: runs, name: tiny, seed: 5, steps: 20, threads: 1, timeout_s: 60}
model:
  {layers: 2, hidden: 32, heads: 4, kv_heads: 2, ffn: 64, pattern: [{kind: softmax}, {kind: softmax, window: 24}]}
data: {train: ["synthetic:passkey"], sequence_length: 96, global_batch: 2}
optimizer: {lr: 3.0e-3, warmup_steps: 5}
parallel: {context_scheme: striped}
checkpoint: {every: 0, keep: 2}
"""

ENVIRONMENT = {
    **os.environ,
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "self,vader,tcp",
}


def read_lines(path):
    """The JSON lines that are there by now; a last line still being written is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def is_running(process):
    """Where nobody collects the dead, as in some containers, they stay listed."""
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class SystemTest(unittest.TestCase):
    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="longspan-system-"))
        self.addCleanup(shutil.rmtree, self.home)
        self.write("tiny.yaml", CONFIG)

    def write(self, name, text):
        (self.home / name).write_text(text)

    def start(self, *words, launcher=()):
        """A process in a group of its own, with output kept in files so that it never waits for a reader."""
        with (self.home / "stdout").open("w") as out, (self.home / "stderr").open("w") as err:
            process = subprocess.Popen([*launcher, LONGSPAN, *map(str, words)], cwd=self.home, env=ENVIRONMENT,
                                       start_new_session=True, stdout=out, stderr=err)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()

    def finish(self, process, code=0):
        self.assertEqual(process.wait(timeout=DEADLINE_S), code, self.output())
        return self.output()

    def output(self):
        # A model writes bytes, not always characters.
        return "".join((self.home / name).read_text(errors="backslashreplace") for name in ("stdout", "stderr"))

    def run_longspan(self, *words, code=0, launcher=()):
        """Runs to the end, expects this exit code, returns what was printed."""
        return self.finish(self.start(*words, launcher=launcher), code)

    def train(self, name, *words, **options):
        return self.run_longspan("train", "tiny.yaml", f"--run.name={name}", *words, **options)

    def run_folder(self, name):
        return self.home / "runs" / name

    def steps(self, name):
        """What depends on nothing but config and data, of each step in order."""
        lines = read_lines(self.run_folder(name) / "metrics.jsonl")
        return [(m["step"], m["loss"], m["grad_norm"], m["lr"]) for m in lines if "loss" in m]

    def validations(self, name):
        lines = read_lines(self.run_folder(name) / "metrics.jsonl")
        return [(m["step"], m["validation_loss"]) for m in lines if "validation_loss" in m]

    def peak_mib(self, name):
        """Of rank 0's arenas."""
        return max(m["peak_mib"] for m in read_lines(self.run_folder(name) / "metrics.jsonl") if "peak_mib" in m)

    def checkpoints(self, name):
        return sorted(path.name for path in (self.run_folder(name) / "checkpoints").glob("step-*"))

    def tensors_of(self, name, step):
        """Names and checksums of a checkpoint's tensors: equal exactly when all their bits are."""
        path = self.run_folder(name) / "checkpoints" / f"step-{step:08d}" / "state.json"
        return {t["name"]: t["xxh3_128"] for t in json.loads(path.read_text())["tensors"]}

    def wait_for_step(self, process, name, step):
        deadline = time.monotonic() + DEADLINE_S
        while not any(line[0] >= step for line in self.steps(name)):
            self.assertIsNone(process.poll(), self.output())
            self.assertLess(time.monotonic(), deadline, self.output())
            time.sleep(0.002)


def mpi(ranks):
    return [MPIRUN, "-n", str(ranks)]


needs_mpi = unittest.skipUnless(MPIRUN, "no mpirun here")
