"""Evaluates the run of a test program from meson's log: the number of passed, failed and skipped tests, and whether a failed
suite is run again."""

import os
import re
from dataclasses import dataclass

OUTPUT_LINES = 60  # lines printed of a failed suite, at most

TAP_PLAN = re.compile(r"^1\.\.(\d+)\s*(#.*)?$", re.MULTILINE)
TAP_SKIP = re.compile(r"^1\.\.0\s*#\s*skip", re.IGNORECASE | re.MULTILINE)
TAP_POINT = re.compile(r"(not )?ok\b(?:\s+\d+)?\s*(?:-\s*)?(.*?)(?:#\s*(skip|todo)\b.*)?", re.IGNORECASE)
TAP_BAIL_OUT = re.compile(r"^Bail out!", re.MULTILINE)

# How Check and tests/programs/tap.py report a test that hung or crashed.
SANITIZER = re.compile(r"\b(Address|HWAddress|Leak|Memory|Thread|UndefinedBehavior)Sanitizer\b|: runtime error: ")
HUNG = re.compile(r"^not ok\b.*Test timeout expired|^# TimeoutError: not done after", re.MULTILINE)
CRASHED = re.compile(r"^not ok\b.*(Received signal \d|Unhandled signal: \d|Early exit with return value)", re.MULTILINE)


@dataclass
class Suite:
    """A test program and its result. engine and option (of io_uring) come from meson's suites engine-NAME and option-NAME."""
    name: str
    seconds: float = 0
    result: str = "did not run"
    output: str = ""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    engine: str = None
    option: str = None
    markers: tuple = ()     # the other meson suites that it belongs to
    no_rerun: str = None    # the reason why it is not run again
    unstable: bool = False  # failed at first, then passed when run again

    @property
    def tests(self):
        return self.passed + self.failed + self.skipped

    @property
    def row(self):
        """The name without the engine: the same for all suites that run the same tests on different engines."""
        return self.name.removesuffix(f" {self.engine}") if self.option is None else self.name


def name_of(record):
    """The name of a suite, without meson's prefix "PROJECT:SUITE / "."""
    return record["name"].rsplit(" / ", 1)[-1]


def count_points(suite, text):
    for line in text.splitlines():
        match = TAP_POINT.fullmatch(line.strip())
        if not match:
            continue
        if match[3]:
            suite.skipped += 1
        elif match[1]:
            suite.failed += 1
        else:
            suite.passed += 1


def ended_regularly(record, suite, protocol):
    """Whether a failed suite ran to its end: it printed its plan and a result for each test, and its exit status matches the
    results."""
    if protocol != "tap":
        return record["returncode"] == 1
    plan = TAP_PLAN.search(record.get("stdout") or "")
    return (plan is not None and 0 < int(plan[1]) == suite.tests and not TAP_BAIL_OUT.search(suite.output) and
            record["returncode"] == (1 if suite.failed > 0 else 0))


def reason_for_no_rerun(record, suite, protocol):
    """The reason why a suite is not run again, or None: chance does not explain these failures."""
    if record["result"] == "SKIP":
        return "skipped"
    if SANITIZER.search(suite.output):
        return "stopped by a sanitizer"
    if record["result"] in ("TIMEOUT", "INTERRUPT") or HUNG.search(suite.output):
        return "hung"
    if CRASHED.search(suite.output) or not ended_regularly(record, suite, protocol):
        return "crashed"
    return None


def suite_of(test):
    """A suite that has not run yet, from meson's description of the test."""
    suite = Suite(test["name"], failed=1, no_rerun="did not run")
    for full_name in test["suite"]:
        name = full_name.rpartition(":")[2]
        if name.startswith("engine-"):
            suite.engine = name.removeprefix("engine-")
        elif name.startswith("option-"):
            suite.option = name.removeprefix("option-")
        else:
            suite.markers += (name,)
    return suite


def judge(record, test):
    """The suite with its result. A suite that crashed, exceeded its time limit or ran no test has failed, whatever it printed."""
    protocol = test["protocol"]
    suite = suite_of(test)
    suite.seconds, suite.result, suite.failed = record["duration"], record["result"], 0
    suite.output = "\n".join(filter(None, (record.get("stdout"), record.get("stderr"))))
    if protocol == "tap":
        count_points(suite, record.get("stdout") or "")
    elif suite.result == "OK":
        suite.passed = 1
    suite.no_rerun = reason_for_no_rerun(record, suite, protocol)
    if suite.result == "SKIP" and suite.tests == 0 and (protocol != "tap" or TAP_SKIP.search(suite.output)):
        suite.skipped = 1
    if os.environ.get("CI") == "true":
        suite.failed, suite.skipped = suite.failed + suite.skipped, 0
    good = suite.result in ("OK", "SKIP") and suite.tests > 0
    if not good and suite.failed == 0:
        suite.failed = 1
    return suite


def failure_text(suite):
    """The failed tests and the last lines of the output."""
    lines = suite.output.splitlines()
    return "".join(f"  {line}\n" for line in [*(line for line in lines if line.startswith("not ok")),
                                              "---- the last lines of its output", *lines[-OUTPUT_LINES:]])
