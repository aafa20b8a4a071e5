#!/usr/bin/env python3
"""Runs the tests of a build directory, prints a table of its suites and what failed, and appends "PASSED FAILED" to a
tally. A suite is one test program; its tests are its TAP test points, one if it does not speak TAP."""

import argparse
import fnmatch
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass

ENGINES = ("reactor", "io_uring", "old_uring", "simulated", "late")  # the last word of a suite's name, where the suite runs on each of them
LATE = "late"                  # of the tests' own, so it need not have them all
ALONE = "completion"           # of meson's suites: tests of what completion engines alone have
RING_SINCE = (6, 1)            # Linux; from then on the engine io_uring has to be there
PROGRESS_SECONDS = 2
OUTPUT_LINES = 60              # shown of a failed suite, at most

MESON_LINE = re.compile(r"\s*(\d+)/(\d+) (.*)")
TAP_SKIP = re.compile(r"^1\.\.0\s*#\s*skip", re.IGNORECASE | re.MULTILINE)
TAP_POINT = re.compile(r"(not )?ok\b(?:\s+\d+)?\s*(?:-\s*)?([^#]*)(?:#\s*(skip|todo)\b.*)?", re.IGNORECASE)


@dataclass
class Suite:
    name: str
    seconds: float
    result: str
    output: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def tests(self):
        return self.passed + self.failed + self.skipped

    @property
    def base(self):
        return self.name.rsplit(" ", 1)[0] if self.engine else self.name

    @property
    def engine(self):
        last = self.name.rsplit(" ", 1)[-1]
        return last if last in ENGINES and last != self.name else None


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", help="build directory")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only suites that match, with * and ?, or contain it")
    parser.add_argument("--label", help="what to call the build")
    parser.add_argument("--tally", required=True, help="file to append the counts to")
    parser.add_argument("--jobs", default="2", help="suites that run at a time")
    parser.add_argument("--patience", default="1", help="factor for the suites' time limits")
    return parser.parse_args()


def tests_of(build):
    """The build's suites by their names, as meson knows them: how each reports is its "protocol"."""
    introspect = subprocess.run(["meson", "introspect", "--tests", build], stdout=subprocess.PIPE, check=True)
    return {test["name"]: test for test in json.loads(introspect.stdout)}


def wanted(name, patterns):
    return not patterns or any(pattern in name or fnmatch.fnmatch(name, pattern) for pattern in patterns)


class Progress:
    """How far it is: in place on a terminal, else a line now and then."""

    def __init__(self, label):
        self.label = label
        self.in_place = sys.stdout.isatty()
        self.last = time.monotonic()

    def show(self, text):
        if self.in_place:
            print(f"\r\033[K{self.label}: {text}"[:120], end="", flush=True)
        elif time.monotonic() - self.last >= PROGRESS_SECONDS:
            self.last = time.monotonic()
            print(f"{self.label}: {text}", flush=True)

    def clear(self):
        if self.in_place:
            print("\r\033[K", end="", flush=True)


def run_meson(arguments, names):
    """Returns what meson logged of each suite."""
    log = os.path.join(arguments.build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.remove(log)
    command = ["meson", "test", "-C", arguments.build, "--no-rebuild", "--num-processes", arguments.jobs,
               "--timeout-multiplier", arguments.patience, *names]
    progress = Progress(arguments.label)
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as meson:
        for line in meson.stdout:
            said.append(line)
            match = MESON_LINE.match(line)
            if match:
                progress.show(f"{match[1]} of {match[2]} suites, {' '.join(match[3].rsplit(' / ', 1)[-1].split())}")
    progress.clear()
    if not os.path.exists(log):
        sys.stdout.writelines(said)
        return []
    with open(log, encoding="utf-8", errors="replace") as lines:
        return [json.loads(line) for line in lines]


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


def name_of(record):
    """Without meson's "PROJECT:SUITE / " in front."""
    return record["name"].rsplit(" / ", 1)[-1]


def judge(record, protocol):
    """The suite's counts; one that crashed, ran out of time or ran no test has failed, whatever its points say."""
    suite = Suite(name_of(record), record["duration"], record["result"],
                  "\n".join(filter(None, (record.get("stdout"), record.get("stderr")))))
    if protocol == "tap":
        count_points(suite, record.get("stdout") or "")
    elif suite.result == "OK":
        suite.passed = 1
    if suite.result == "SKIP" and suite.tests == 0 and (protocol != "tap" or TAP_SKIP.search(suite.output)):
        suite.skipped = 1
    if os.environ.get("CI") == "true":
        suite.failed, suite.skipped = suite.failed + suite.skipped, 0
    good = suite.result in ("OK", "SKIP") and suite.tests > 0
    if not good and suite.failed == 0:
        suite.failed = 1
    return suite


def is_alone(test):
    return any(name.rpartition(":")[2] == ALONE for name in test["suite"])


def engine_counts(suites, engines):
    return {engine: sum(suite.tests for suite in suites if suite.engine == engine) for engine in engines}


def text_of_counts(counts):
    return ", ".join(f"{engine} {count}" for engine, count in counts.items())


class Engines:
    """Which engines ran which suites: all run all, but for those of the completion engines alone."""

    def __init__(self, suites, tests):
        self.shared = [suite for suite in suites if suite.engine and not is_alone(tests[suite.name])]
        self.alone = [suite for suite in suites if suite.engine and is_alone(tests[suite.name])]

    @staticmethod
    def differences_in(suites):
        engines = [engine for engine in ENGINES if engine != LATE and any(suite.engine == engine for suite in suites)]
        for base in sorted({suite.base for suite in suites}):
            counts = engine_counts([suite for suite in suites if suite.base == base], engines)
            if len(set(counts.values())) > 1:
                yield f"{base}: not the same tests on each engine: {text_of_counts(counts)}"

    def differences(self):
        yield from self.differences_in(self.shared)
        yield from self.differences_in(self.alone)

    def print_counts(self):
        for title, suites in (("tests on each engine", self.shared), ("of completion engines alone", self.alone)):
            engines = [engine for engine in ENGINES if any(suite.engine == engine for suite in suites)]
            if engines:
                print(f"{title}: {text_of_counts(engine_counts(suites, engines))}")


def missing_ring(build):
    """Why io_uring was not tested although this kernel has it, or None."""
    kernel = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if os.uname().sysname != "Linux" or tuple(map(int, kernel.groups())) < RING_SINCE:
        return None
    info = os.path.join(build, "examples", "jd-info")
    if not os.path.exists(info):
        return f"cannot ask {info} whether io_uring is available: it is not built"
    printed = subprocess.run([info], stdout=subprocess.PIPE, text=True, check=True, env={}).stdout
    told = re.search(r"^  io_uring +(.*)$", printed, re.MULTILINE)[1]
    return None if told == "available" else f"io_uring on Linux {os.uname().release}: {told}"


def print_table(label, suites):
    engines = [engine for engine in ENGINES if any(suite.engine == engine for suite in suites)]
    width = max([len(label)] + [len(suite.base) for suite in suites]) + 2
    print(f"\n{label:<{width}}{'tests':>7}" + "".join(f"{engine:>11}" for engine in engines) +
          f"{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for base in sorted({suite.base for suite in suites}):
        row = [suite for suite in suites if suite.base == base]
        cells = [sum(suite.tests for suite in row if suite.engine == engine) for engine in engines]
        failed, skipped = sum(suite.failed for suite in row), sum(suite.skipped for suite in row)
        print(f"{base:<{width}}{sum(suite.tests for suite in row):>7}" +
              "".join(f"{cell or '':>11}" for cell in cells) +
              f"{failed or '-':>8}{skipped or '-':>9}{sum(suite.seconds for suite in row):>9.1f}")


def print_failure(suite):
    print(f"\n{suite.name}: {suite.result}")
    lines = suite.output.splitlines()
    for line in (line for line in lines if line.startswith("not ok")):
        print(f"  {line}")
    print("  ---- the last lines of its output")
    for line in lines[-OUTPUT_LINES:]:
        print(f"  {line}")


def main():
    arguments = read_arguments()
    arguments.label = arguments.label or os.path.basename(arguments.build)
    tests = tests_of(arguments.build)
    names = [name for name in tests if wanted(name, arguments.names)]
    records = run_meson(arguments, names) if names else []
    suites = [judge(record, tests[name_of(record)]["protocol"]) for record in records]
    silent = sorted(set(names) - {suite.name for suite in suites})
    suites += [Suite(name, 0, "did not run", "", failed=1) for name in silent]
    engines = Engines(suites, tests)
    faults = [] if arguments.names else list(filter(None, [missing_ring(arguments.build), *engines.differences()]))
    passed = sum(suite.passed for suite in suites)
    failed = sum(suite.failed for suite in suites) + len(faults)
    if suites:
        print_table(arguments.label, suites)
    else:
        failed += 1
        print(f"{arguments.label}: no suite matches {' '.join(arguments.names)}; there are:\n  " +
              "\n  ".join(sorted(tests)) if tests else f"{arguments.label}: there are no suites")
    for suite in suites:
        if suite.failed:
            print_failure(suite)
    engines.print_counts()
    for fault in faults:
        print(f"FAILED {fault}")
    print(f"{arguments.label}: {len(suites)} suites, {passed + failed} tests, {failed} of them failed\n", flush=True)
    with open(arguments.tally, "a", encoding="utf-8") as tally:
        print(passed, failed, file=tally)


if __name__ == "__main__":
    main()
