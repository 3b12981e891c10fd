#!/usr/bin/env python3
"""Prints passed, failed, skipped and the names of the failed, tab-separated, of a results file of ctest."""

import sys
import xml.etree.ElementTree


def was_skipped(test):
    """Whether the test said itself that it cannot run here; one whose program is missing has failed."""
    reason = test.find("skipped")
    return reason is not None and reason.get("message", "").startswith("SKIP_")


def main(path):
    passed, skipped, failed = 0, 0, []
    for test in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        status = test.get("status")
        if status == "run":
            passed += 1
        elif status == "disabled" or was_skipped(test):
            skipped += 1
        else:
            failed.append(test.get("name"))
    if not passed + skipped + len(failed):
        sys.exit(f"{path}: no test ran")
    print(passed, len(failed), skipped, " ".join(failed), sep="\t")


if __name__ == "__main__":
    main(sys.argv[1])
