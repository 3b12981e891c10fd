"""Hosts for system tests: network namespaces of scripts/netns_cluster.sh, gone again whatever happens to the test."""
import os
import pathlib
import re
import subprocess

from harness import ENVIRONMENT, is_running

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "netns_cluster.sh"
NOT_ON_THIS_MACHINE = 7


def environment_of(test_process):
    return {**ENVIRONMENT, "LONGSPAN_CLUSTER": f"lstest-{test_process}"}


def call(environment, *words):
    return subprocess.run([SCRIPT, *map(str, words)], env=environment, text=True, capture_output=True, timeout=60,
                          check=False)


def take_down_what_dead_tests_left():
    """A test that is killed, by ctest's time limit say, cleans nothing up."""
    folder = pathlib.Path("/run/netns")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    for process in {match[1] for name in names if (match := re.match(r"lstest-(\d+)-", name))}:
        if not is_running(process):
            call(environment_of(process), "down")


class Cluster:
    """Hosts for one test, under a name of their own, so that checkouts and tests do not meet."""

    def __init__(self, test, hosts, *options):
        take_down_what_dead_tests_left()
        self.environment = environment_of(os.getpid())
        try:
            up = self.call("up", hosts, *options)
        except subprocess.TimeoutExpired:
            self.call("down")
            raise
        if up.returncode == NOT_ON_THIS_MACHINE:
            test.skipTest(up.stderr.strip())
        test.addCleanup(self.take_down, test)
        test.assertEqual(up.returncode, 0, up.stderr)

    def call(self, *words):
        return call(self.environment, *words)

    def take_down(self, test):
        down = self.call("down")
        test.assertEqual(down.returncode, 0, down.stderr)
        test.assertEqual(self.call("status").stdout.split()[:2], ["no", "hosts"])

    def launcher(self, ranks):
        return ["env", f"LONGSPAN_CLUSTER={self.environment['LONGSPAN_CLUSTER']}", SCRIPT, "run", str(ranks)]

    def link(self, host, state):
        done = self.call("link", host, state)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)

    def processes(self):
        """How many run on all hosts together."""
        return sum(int(line.split()[-2]) for line in self.call("status").stdout.splitlines())
