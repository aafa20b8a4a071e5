#!/usr/bin/env python3
"""Runs the tests of a build directory, prints a table of its suites and the failures, and appends a line
"PASSED FAILED UNSTABLE" to a tally file. A suite is one test program. Its tests are its TAP test points; a program that does
not print TAP is one test.

A suite that fails is run again twice, alone, after all others. If both runs pass, the suite is unstable: it is reported with
the output of its failure and does not fail the run. A suite that hung, crashed or was stopped by a sanitizer is not run
again. More than three unstable suites in a tally fail the run. The tally and the file of unstable suites may contain lines of
earlier builds; these belong to the same run."""

import argparse
import fnmatch
import json
import os
import re
import subprocess
import sys
import time

from test_results import failure_text, judge, name_of, suite_of

LATE = "late"                  # an engine of the tests; not all suites run on it
RING_SINCE = (6, 1)            # the Linux version from which io_uring must be available
PROGRESS_SECONDS = 2
UNSTABLE_AT_MOST = 3
SECOND_RUNS = 2
RERUNS_AT_MOST = 8             # more failed suites are not run again: they do not fail by chance

# The kind of a suite is one of its meson suites; None: it runs on every engine. All suites of a kind run on the same engines.
ENGINE_KINDS = {
    None: "tests on every engine",
    "completion": "tests on completion engines only",
    "ring": "tests on engines with a ring only",
    "unit": "unit tests of the loop",
}

MESON_LINE = re.compile(r"\s*(\d+)/(\d+) (.*)")


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="build directory")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only suites whose name matches NAME (with * and ?) or contains it")
    parser.add_argument("--label", help="name of the build in the output")
    parser.add_argument("--tally", required=True, help="file to append the counts to")
    parser.add_argument("--unstable", required=True, help="file to append the output of unstable suites to")
    parser.add_argument("--jobs", default="2", help="number of suites that run at a time (default 2)")
    parser.add_argument("--patience", default="1", help="factor for the time limits of the suites (default 1)")
    return parser.parse_args()


def tests_of(build):
    """The suites of the build by name, as meson describes them; the key "protocol" is the format of their output."""
    introspect = subprocess.run(["meson", "introspect", "--tests", build], stdout=subprocess.PIPE, check=True)
    return {test["name"]: test for test in json.loads(introspect.stdout)}


def wanted(name, patterns):
    return not patterns or any(pattern in name or fnmatch.fnmatch(name, pattern) for pattern in patterns)


class Progress:
    """Shows the progress: on a terminal in one line, else with a line every PROGRESS_SECONDS."""

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


def run_meson(arguments, names, jobs, log_name="testlog"):
    """Runs the suites. Returns meson's log record of each."""
    log = os.path.join(arguments.build, "meson-logs", f"{log_name}.json")
    if os.path.exists(log):
        os.remove(log)
    command = ["meson", "test", "-C", arguments.build, "--no-rebuild", "--logbase", log_name, "--num-processes", jobs,
               "--timeout-multiplier", arguments.patience, *names]
    progress = Progress(arguments.label)
    printed = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as meson:
        for line in meson.stdout:
            printed.append(line)
            match = MESON_LINE.match(line)
            if match:
                progress.show(f"{match[1]} of {match[2]} suites, {' '.join(match[3].rsplit(' / ', 1)[-1].split())}")
    progress.clear()
    if not os.path.exists(log):
        sys.stdout.writelines(printed)
        return []
    with open(log, encoding="utf-8", errors="replace") as lines:
        return [json.loads(line) for line in lines]


def run_suites(arguments, tests, names):
    records = run_meson(arguments, names, arguments.jobs) if names else []
    suites = [judge(record, tests[name_of(record)]) for record in records]
    suites += [suite_of(tests[name]) for name in set(names) - {suite.name for suite in suites}]
    order = list(tests)
    return sorted(suites, key=lambda suite: order.index(suite.name))


# ---- running failed suites again ----

def passes_again(arguments, test):
    """Runs a suite again alone. Returns the result of the last run if all runs pass, else None."""
    for _ in range(SECOND_RUNS):
        records = run_meson(arguments, [test["name"]], "1", "rerun")
        again = judge(records[0], test) if records else suite_of(test)
        if again.failed > 0:
            return None
    return again


def note_unstable(arguments, suite):
    with open(arguments.unstable, "a", encoding="utf-8") as unstable:
        print(f"unstable: {suite.name} ({arguments.label})\n{failure_text(suite)}", file=unstable)


def rerun_failed(arguments, tests, suites):
    """Runs failed suites again and replaces those that pass. Returns the replaced ones, as they failed."""
    candidates = [suite for suite in suites if suite.failed > 0 and suite.no_rerun is None]
    unstable = []
    if len(candidates) > RERUNS_AT_MOST:
        print(f"{arguments.label}: {len(candidates)} suites failed, more than {RERUNS_AT_MOST}: none is run again", flush=True)
        return unstable
    for suite in candidates:
        print(f"{arguments.label}: {suite.name} failed, is run again alone", flush=True)
        again = passes_again(arguments, tests[suite.name])
        if again is not None:
            again.unstable = True
            suites[suites.index(suite)] = again
            unstable.append(suite)
            note_unstable(arguments, suite)
    return unstable


def unstable_before(tally):
    """The number of unstable suites in the earlier builds of the run."""
    if not os.path.exists(tally):
        return 0
    with open(tally, encoding="utf-8") as lines:
        return sum(int((line.split() + ["0", "0", "0"])[2]) for line in lines)


def too_many_unstable(before, now):
    """Yields an error once: for the build that exceeds the limit."""
    if before <= UNSTABLE_AT_MOST < before + now:
        yield f"{before + now} unstable suites, at most {UNSTABLE_AT_MOST} are allowed"


# ---- engines ----

def kind_of(suite):
    return next((kind for kind in ENGINE_KINDS if kind in suite.markers), None)


def engines_of(suites):
    return list(dict.fromkeys(suite.engine for suite in suites if suite.engine))


def engine_counts(suites, engines):
    return {engine: sum(suite.tests for suite in suites if suite.engine == engine) for engine in engines}


def text_of_counts(counts):
    return ", ".join(f"{name} {count}" for name, count in counts.items())


class Engines:
    """Which engines ran which suites: all suites of a kind must run on all engines of the kind."""

    def __init__(self, suites):
        self.kinds = {kind: [suite for suite in suites if suite.engine and not suite.option and kind_of(suite) == kind]
                      for kind in ENGINE_KINDS}
        self.of_options = [suite for suite in suites if suite.option]

    @staticmethod
    def differences_in(suites):
        engines = [engine for engine in engines_of(suites) if engine != LATE]
        for row in sorted({suite.row for suite in suites}):
            counts = engine_counts([suite for suite in suites if suite.row == row], engines)
            if len(set(counts.values())) > 1:
                yield f"{row}: the number of tests differs between engines: {text_of_counts(counts)}"

    def differences(self):
        for suites in self.kinds.values():
            yield from self.differences_in(suites)

    def print_counts(self):
        for kind, suites in self.kinds.items():
            if suites:
                print(f"{ENGINE_KINDS[kind]}: {text_of_counts(engine_counts(suites, engines_of(suites)))}")
        if self.of_options:
            options = dict.fromkeys(suite.option for suite in self.of_options)
            counts = {option: sum(suite.tests for suite in self.of_options if suite.option == option) for option in options}
            print(f"tests with each option of io_uring: {text_of_counts(counts)}")


def missing_ring(build):
    """The reason why io_uring was not tested although this kernel should have it, or None."""
    kernel = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if os.uname().sysname != "Linux" or tuple(map(int, kernel.groups())) < RING_SINCE:
        return None
    info = os.path.join(build, "examples", "jd-info")
    if not os.path.exists(info):
        return f"cannot check whether io_uring is available: {info} is not built"
    printed = subprocess.run([info], stdout=subprocess.PIPE, text=True, check=True, env={}).stdout
    reported = re.search(r"^  io_uring +(.*)$", printed, re.MULTILINE)[1]
    return None if reported == "available" else f"io_uring on Linux {os.uname().release}: {reported}"


# ---- the report ----

def print_table(label, suites):
    engines = engines_of(suites)
    width = max([len(label)] + [len(suite.row) for suite in suites]) + 2
    print(f"\n{label:<{width}}{'tests':>7}" + "".join(f"{engine:>11}" for engine in engines) +
          f"{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for title in sorted({suite.row for suite in suites}):
        row = [suite for suite in suites if suite.row == title]
        cells = engine_counts(row, engines).values()
        failed, skipped = sum(suite.failed for suite in row), sum(suite.skipped for suite in row)
        print(f"{title:<{width}}{sum(suite.tests for suite in row):>7}" +
              "".join(f"{cell or '':>11}" for cell in cells) +
              f"{failed or '-':>8}{skipped or '-':>9}{sum(suite.seconds for suite in row):>9.1f}")


def print_failures(suites, unstable):
    for suite in suites:
        if suite.failed:
            reason = f", not run again: {suite.no_rerun}" if suite.no_rerun else ""
            print(f"\n{suite.name}: {suite.result}{reason}\n{failure_text(suite)}", end="")
    for suite in unstable:
        print(f"\n{suite.name}: {suite.result}, then passed {SECOND_RUNS} times when run alone\n{failure_text(suite)}", end="")


def main():
    arguments = read_arguments()
    arguments.label = arguments.label or os.path.basename(arguments.build)
    tests = tests_of(arguments.build)
    names = [name for name in tests if wanted(name, arguments.names)]
    suites = run_suites(arguments, tests, names)
    unstable = rerun_failed(arguments, tests, suites)
    engines = Engines(suites)
    faults = list(too_many_unstable(unstable_before(arguments.tally), len(unstable)))
    if not arguments.names:
        faults += filter(None, [missing_ring(arguments.build), *engines.differences()])
    passed = sum(suite.passed for suite in suites)
    failed = sum(suite.failed for suite in suites) + len(faults)
    if suites:
        print_table(arguments.label, suites)
    else:
        failed += 1
        print(f"{arguments.label}: no suite matches {' '.join(arguments.names)}; the suites are:\n  " +
              "\n  ".join(sorted(tests)) if tests else f"{arguments.label}: the build has no suites")
    print_failures(suites, unstable)
    engines.print_counts()
    for suite in unstable:
        print(f"unstable: {suite.name}")
    for fault in faults:
        print(f"FAILED {fault}")
    print(f"{arguments.label}: {len(suites)} suites, {passed + failed} tests, {failed} failed\n", flush=True)
    with open(arguments.tally, "a", encoding="utf-8") as tally:
        print(passed, failed, len(unstable), file=tally)


if __name__ == "__main__":
    main()
