"""Steps of a check on a GPU: each a command with a time limit, a log and a line of JSON; a failure stops nothing."""

import json
import os
import pathlib
import signal
import subprocess
import time
import xml.etree.ElementTree

TAIL_LINES = 12
SKIPPED = 77  # exit code of a test program that has no GPU


def count_gtest(path):
    """Passed, failed and skipped of a results file of GoogleTest; None where it wrote none."""
    if not path.exists():
        return None
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for test in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        if test.find("failure") is not None:
            counts["failed"] += 1
        elif test.get("result") == "skipped" or test.find("skipped") is not None:
            counts["skipped"] += 1
        elif test.get("status") == "run":
            counts["passed"] += 1
    return counts


class Steps:
    """Writes OUT/steps.jsonl as it goes, so that what was done is known however the run ends."""

    def __init__(self, out):
        self.out = pathlib.Path(out)
        (self.out / "logs").mkdir(parents=True, exist_ok=True)
        self.records = []
        (self.out / "steps.jsonl").write_text("", encoding="utf-8")

    def note(self, name, status, command=(), seconds=0.0, **more):
        record = {"step": name, "status": status, "seconds": round(seconds, 1),
                  "command": " ".join(str(word) for word in command), **more}
        self.records.append(record)
        with open(self.out / "steps.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        print(f"{status:>9}  {seconds:7.1f} s  {name}" + (f"  ({more['why']})" if "why" in more else ""), flush=True)

    def skip(self, name, why):
        self.note(name, "skipped", why=why)

    def run(self, name, command, timeout_s, gtest=False, json_lines=False, environment=None):
        """Whether it passed. Rows of JSON on its standard output are added to bench.jsonl where json_lines is set."""
        log = self.out / "logs" / (name.replace(" ", "-").replace("/", "-") + ".log")
        results = log.with_suffix(".xml")
        words = [str(word) for word in command]
        started = time.monotonic()
        with open(log, "w", encoding="utf-8") as file:
            # A group of its own: a step that is out of time leaves no process behind.
            process = subprocess.Popen(words + ([f"--gtest_output=xml:{results}"] if gtest else []), stdout=file,
                                       stderr=subprocess.STDOUT, start_new_session=True,
                                       env=dict(os.environ, **(environment or {})))
            try:
                code = process.wait(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                if process.poll() is None:  # out of time, or this program is being ended
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        seconds = time.monotonic() - started
        text = log.read_text(encoding="utf-8", errors="replace")
        more = {"tail": "\n".join(text.splitlines()[-TAIL_LINES:])} if code != 0 else {}
        counts = count_gtest(results) if gtest else None
        more.update(counts or {})
        if json_lines:
            self.keep_rows(text)
        if code is None:
            self.note(name, "timed out", words, seconds, why=f"after {timeout_s} s", **more)
        elif code == SKIPPED:
            self.note(name, "skipped", words, seconds, why=text.splitlines()[-1] if text else "it says no more")
        elif code != 0:
            self.note(name, "failed", words, seconds, why=f"exit code {code}", **more)
        elif counts and not counts["passed"]:
            self.note(name, "skipped", words, seconds, why="every test skipped itself", **more)
        else:
            self.note(name, "passed", words, seconds, **more)
        return code == 0

    def keep_rows(self, text):
        with open(self.out / "bench.jsonl", "a", encoding="utf-8") as file:
            for line in text.splitlines():
                if line.startswith("{"):
                    file.write(line + "\n")

    def summary(self):
        count = lambda status: sum(record["status"] == status for record in self.records)
        return (f"{count('passed')} steps passed, {count('failed') + count('timed out')} failed, "
                f"{count('skipped')} skipped")

    def all_well(self):
        return not any(record["status"] in ("failed", "timed out") for record in self.records)
