"""What a rank that dies, sleeps or cannot be reached does to the others, in the midst of a context-parallel ring."""
import os
import pathlib
import re
import signal
import time
import unittest

from cluster import Cluster
from harness import SystemTest, is_running, mpi, needs_mpi

ABORTED = 6
RANKS = 3
SECONDS_TO_END = 20
# mpirun gives up a host that does not answer once TCP does: about 13 s after the first message that got lost.
SECONDS_TO_GIVE_UP_A_HOST = 45
# Long steps of many small transfers, so that a fault falls within one; the first kind sees everything, so all ranks
# take part in every step of its ring.
RING = ["--parallel.context_scheme=ring", "--data.sequence_length=768", "--data.global_batch=1"]
ENDLESS = ["--run.steps=100000"]

CASES = [pathlib.Path(os.environ.get("LONGSPAN_CASES", "nowhere")) / f"softmax-{name}.h5"
         for name in ("causal-gqa", "packed-odd")]


def waits(output):
    """Which rank gave up a wait, and for what: {rank: text}."""
    return {int(rank): text for rank, text in re.findall(r"rank (\d+): waited \d+ ms for (.*)", output)}


class RingTest(SystemTest):
    def start_ring(self, *words):
        """A run under way, and its ranks' processes in the order of the ranks."""
        process = self.start("train", "tiny.yaml", *RING, *words, launcher=mpi(RANKS))
        self.wait_for_step(process, "tiny", 3)
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        ranks = {}
        for child in map(int, children):
            variables = pathlib.Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            ranks[next(int(v.split(b"=")[1]) for v in variables if v.startswith(b"OMPI_COMM_WORLD_RANK="))] = child
            self.addCleanup(self.end_rank, child)
        self.assertEqual(sorted(ranks), list(range(RANKS)))
        return process, [ranks[rank] for rank in range(RANKS)]

    def end_rank(self, process):
        # Launchers give ranks groups of their own, out of reach of the one that ends with the launcher.
        try:
            if os.readlink(f"/proc/{process}/cwd") == str(self.home):
                os.kill(process, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            pass

    def within_a_step(self, rank):
        """A moment in which the rank does something: sometimes it computes, sometimes it waits in the ring."""
        time.sleep(0.001 * (rank * 7 + time.monotonic_ns() % 23))

    def assert_all_end(self, process, ranks, code=None):
        start = time.monotonic()
        got = process.wait(timeout=SECONDS_TO_END)
        self.assertNotEqual(got, 0, self.output())
        if code is not None:
            self.assertEqual(got, code, self.output())
        for rank in ranks:
            while is_running(rank):
                self.assertLess(time.monotonic() - start, SECONDS_TO_END, self.output())
                time.sleep(0.01)

    def assert_others_name_their_waits(self, sleeper):
        process, ranks = self.start_ring(*ENDLESS, "--run.timeout_s=2")
        self.within_a_step(sleeper)
        os.kill(ranks[sleeper], signal.SIGSTOP)
        self.assert_all_end(process, ranks, ABORTED)
        told = waits(self.output())
        for rank in set(range(RANKS)) - {sleeper}:
            self.assertIn(rank, told, self.output())
            self.assertRegex(told[rank], r"^'[^']+': (receive|send) \d+ bytes (from|to) rank \d")
        # Whom a rank waits for is its neighbour in the ring; one of them waits for the sleeper itself.
        self.assertTrue(any(f"rank {sleeper}" in text for text in told.values()), self.output())

    def assert_sleep_only_delays(self, sleepers, seconds, timeout_s):
        words = ["--run.steps=40", f"--run.timeout_s={timeout_s}"]
        self.train("undisturbed", *RING, *words, launcher=mpi(RANKS))
        process, ranks = self.start_ring(*words)
        for sleeper in sleepers:
            os.kill(ranks[sleeper], signal.SIGSTOP)
        time.sleep(seconds)
        self.assertIsNone(process.poll(), self.output())
        self.assertLess(len(self.steps("tiny")), 40)
        for sleeper in sleepers:
            os.kill(ranks[sleeper], signal.SIGCONT)
        self.finish(process)
        self.assertEqual(self.steps("tiny"), self.steps("undisturbed"))
        self.assertEqual(self.tensors_of("tiny", 40), self.tensors_of("undisturbed", 40))


@needs_mpi
class RingFaults(RingTest):
    def test_a_killed_rank_ends_all(self):
        process, ranks = self.start_ring(*ENDLESS)
        self.within_a_step(1)
        os.kill(ranks[1], signal.SIGKILL)
        self.assert_all_end(process, ranks)

    def test_the_first_rank_sleeps_past_the_deadline(self):
        self.assert_others_name_their_waits(0)

    def test_the_last_rank_sleeps_past_the_deadline(self):
        self.assert_others_name_their_waits(RANKS - 1)

    def test_a_sleep_within_the_deadline_only_delays(self):
        self.assert_sleep_only_delays([1], seconds=5, timeout_s=20)

    def test_all_ranks_asleep_past_the_deadline_go_on(self):
        # As when a batch system suspends a job: nobody was silent while anybody listened.
        self.assert_sleep_only_delays(range(RANKS), seconds=4, timeout_s=2)


@needs_mpi
class RingLongSleep(RingTest):
    def test_a_long_sleep_within_the_deadline_only_delays(self):
        self.assert_sleep_only_delays([1], seconds=30, timeout_s=60)


@needs_mpi
class RingAcrossHosts(SystemTest):
    def test_golden_cases(self):
        if not all(case.exists() for case in CASES):
            self.skipTest("LONGSPAN_CASES names no folder of golden cases")
        cluster = Cluster(self, 2)
        output = self.run_longspan("check", *CASES, "--scheme", "ring", launcher=cluster.launcher(RANKS))
        self.assertEqual(output.count(f"{RANKS} ranks, ring"), len(CASES))

    def test_distance_changes_no_bit(self):
        self.train("near", *RING, "--run.steps=10", "--ranks", RANKS)
        cluster = Cluster(self, 2, "--delay", "200us")
        self.train("far", *RING, "--run.steps=10", launcher=cluster.launcher(RANKS))
        self.assertEqual(self.steps("far"), self.steps("near"))
        self.assertEqual(self.tensors_of("far", 10), self.tensors_of("near", 10))


@needs_mpi
class RingCutLink(SystemTest):
    def assert_a_cut_link_ends_all(self, *options):
        cluster = Cluster(self, 2, *options)
        process = self.start("train", "tiny.yaml", *RING, *ENDLESS, "--run.timeout_s=2",
                             launcher=cluster.launcher(RANKS))
        self.wait_for_step(process, "tiny", 3)
        cluster.link(2, "down")
        start = time.monotonic()
        # Ranks 0 and 1 are on the launcher's side of the cut.
        self.assertEqual(process.wait(timeout=SECONDS_TO_GIVE_UP_A_HOST), ABORTED, self.output())
        told = waits(self.output())
        for rank in (0, 1):
            self.assertIn(rank, told, self.output())
        self.assertTrue(any("rank 2" in text for text in told.values()), self.output())
        # The daemon on the other side gives up too, and ends its rank.
        while cluster.processes() > 0:
            self.assertLess(time.monotonic() - start, SECONDS_TO_GIVE_UP_A_HOST, cluster.call("status").stdout)
            time.sleep(0.2)

    def test_a_cut_link_ends_all(self):
        self.assert_a_cut_link_ends_all()

    def test_a_cut_link_over_a_distance_ends_all(self):
        self.assert_a_cut_link_ends_all("--delay", "1ms")


if __name__ == "__main__":
    unittest.main()
