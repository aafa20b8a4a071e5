#!/usr/bin/env python3
"""The test runner, scripts/run_tests.py, on builds of small programs that fail as real test programs do: which of them are run
again, which fail the run, and what is counted and printed.

Argument: the path of run_tests.py.
"""

import functools
import itertools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import run_tests
import tap
from test_results import Suite

RUNNER = sys.argv[1]

# The beginning of each program. $1 is its name. It sets count to the number of this run, from 1, and records the begin and the
# end of the run in the file order.
PROLOGUE = """
count=$(($(cat "$1.count" 2>/dev/null || echo 0) + 1))
echo $count >"$1.count"
echo "begins $1 $count" >>order
ends() { echo "ends $1 $2" >>order; }
trap "ends $1 $count" EXIT
good() { echo 1..2; echo "ok 1 - first"; echo "ok 2 - second"; exit 0; }
bad() { echo 1..2; echo "ok 1 - first"; echo "not ok 2 - second: $1"; exit ${2:-1}; }
"""

PROGRAMS = {
    "good": "good",
    "bad": "bad 'never right'",
    "bad_once": "((count > 1)) && good; bad 'wrong at first'",
    "bad_twice": "((count > 2)) && good; bad 'wrong at first'",
    "bad_then_good_then_bad": "((count == 2)) && good; bad 'wrong now and then'",
    "slow_once": "((count > 1)) && good; sleep 0.5; bad 'wrong at first'",
    "killed_once": "((count > 1)) && good; echo 1..2; echo 'ok 1 - first'; kill -SEGV $$",
    "killed_at_its_end_once": "((count > 1)) && good; echo 1..1; echo 'not ok 1 - first'; kill -SEGV $$",
    "test_killed_once": "((count > 1)) && good; bad 'Received signal 11 (Segmentation fault)'",
    "test_gone_once": "((count > 1)) && good; bad 'Early exit with return value 3'",
    "hangs_once": "((count > 1)) && good; echo 1..2; echo 'not ok 1 - first'; sleep 30",
    "test_hangs_once": "((count > 1)) && good; bad 'Test timeout expired'",
    "python_test_hangs_once": "((count > 1)) && good; echo '# TimeoutError: not done after 120 s'; bad wrong",
    "silent_about_a_test_once": "((count > 1)) && good; echo 1..3; echo 'ok 1 - first'; echo 'not ok 2 - second'; exit 1",
    "without_plan_once": "((count > 1)) && good; echo 'not ok 1 - first'; exit 1",
    "bails_out_once": "((count > 1)) && good; echo 1..1; echo 'not ok 1 - first'; echo 'Bail out!'; exit 1",
    "strange_status_once": "((count > 1)) && good; bad wrong 3",
    "status_of_failure_once": "((count > 1)) && good; echo 1..1; echo 'ok 1 - first'; exit 1",
    "race_once": "((count > 1)) && good; echo 'WARNING: ThreadSanitizer: data race' >&2; bad wrong",
    "overflow_once": "((count > 1)) && good; echo '==1==ERROR: AddressSanitizer: heap-buffer-overflow' >&2; bad wrong",
    "leak_once": "((count > 1)) && good; echo '==1==ERROR: LeakSanitizer: detected memory leaks' >&2; bad wrong 23",
    "undefined_once": "((count > 1)) && good; echo 'a.c:1:2: runtime error: signed integer overflow' >&2; bad wrong",
    **{f"unlucky_{number}": "((count > 1)) && good; bad 'wrong at first'" for number in range(1, 10)},
}


class Build:
    """A build directory whose suites are these programs; programs maps names to their meson suites."""

    def __init__(self, directory, programs):
        self.directory = Path(directory)
        source, self.build = self.directory / "source", self.directory / "build"
        source.mkdir()
        tests = ["project('fake')", "bash = find_program('bash')"]
        for name, suites in programs.items():
            program = name.split(" ")[0]
            (source / f"{program}.sh").write_text(PROLOGUE + PROGRAMS[program], encoding="utf-8")
            tests.append(f"test('{name}', bash, args: [files('{program}.sh'), '{name}'], protocol: 'tap', timeout: 2, "
                         f"suite: {list(suites)}, workdir: meson.current_build_dir())")
        (source / "meson.build").write_text("\n".join(tests) + "\n", encoding="utf-8")
        subprocess.run(["meson", "setup", self.build, source], check=True, stdout=subprocess.DEVNULL)

    def run(self, *options, names=("*",), tally=None, label="fake"):
        self.tally, self.unstable = tally or self.directory / "tally", self.directory / "unstable.txt"
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        done = subprocess.run([sys.executable, RUNNER, "--label", label, "--tally", self.tally, "--unstable", self.unstable,
                               "--jobs", "4", *options, "--", self.build, *names], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stdout
        self.printed = done.stdout
        return self

    @property
    def counts(self):
        """The numbers of passed, failed and unstable in the last line of the tally."""
        return tuple(map(int, self.tally.read_text(encoding="utf-8").splitlines()[-1].split()))

    def runs_of(self, name):
        count = self.build / f"{name}.count"
        return int(count.read_text(encoding="utf-8")) if count.exists() else 0

    @property
    def unstable_text(self):
        return self.unstable.read_text(encoding="utf-8") if self.unstable.exists() else ""


def run_of(*names):
    """Runs these programs. Returns the build with its results; its directory has been removed."""
    with tempfile.TemporaryDirectory() as directory:
        build = Build(directory, dict.fromkeys(names, ()))
        build.run()
        build.counted, build.noted = build.counts, build.unstable_text
        build.runs = {name: build.runs_of(name) for name in names}
        build.order = (build.build / "order").read_text(encoding="utf-8").splitlines()
        return build


def equal(value, expected):
    assert value == expected, f"{value!r}, not {expected!r}"


@tap.test
def a_suite_that_passes_runs_once():
    build = run_of("good")
    equal(build.runs, {"good": 1})
    equal(build.counted, (2, 0, 0))
    equal(build.noted, "")


@tap.test
def a_suite_that_fails_once_then_passes_twice_is_unstable_and_does_not_fail_the_run():
    build = run_of("good", "bad_once")
    equal(build.runs, {"good": 1, "bad_once": 3})
    equal(build.counted, (4, 0, 1))
    assert "\nunstable: bad_once\n" in build.printed, build.printed
    assert "not ok 2 - second: wrong at first" in build.printed, build.printed
    assert build.noted.startswith("unstable: bad_once (fake)\n"), build.noted
    assert "not ok 2 - second: wrong at first" in build.noted, build.noted


@tap.test
def a_suite_that_always_fails_fails_the_run():
    build = run_of("bad")
    equal(build.runs, {"bad": 2})
    equal(build.counted, (1, 1, 0))
    equal(build.noted, "")
    assert "unstable: " not in build.printed, build.printed


@tap.test_for_each(["bad_twice", "bad_then_good_then_bad"])
def a_suite_that_passes_only_one_of_two_reruns_fails_the_run(name):
    build = run_of(name)
    equal(build.counted, (1, 1, 0))
    equal(build.noted, "")


NOT_RUN_AGAIN = {
    "crashed": ["killed_once", "killed_at_its_end_once", "test_killed_once", "test_gone_once", "silent_about_a_test_once",
                "without_plan_once", "bails_out_once", "strange_status_once", "status_of_failure_once"],
    "hung": ["hangs_once", "test_hangs_once", "python_test_hangs_once"],
    "stopped by a sanitizer": ["race_once", "overflow_once", "leak_once", "undefined_once"],
}


@functools.cache
def run_of_those_not_run_again():
    return run_of(*itertools.chain(*NOT_RUN_AGAIN.values()))


@tap.test_for_each({f"{name}, {reason}": (name, reason) for reason, names in NOT_RUN_AGAIN.items() for name in names})
def a_suite_that_did_not_fail_by_chance_is_not_run_again(parameters):
    name, reason = parameters
    build = run_of_those_not_run_again()
    equal(build.runs[name], 1)
    assert re.search(rf"^{name}: .*, not run again: {reason}$", build.printed, re.MULTILINE), build.printed


@tap.test
def those_that_are_not_run_again_fail_the_run():
    build = run_of_those_not_run_again()
    equal(build.counted[1:], (len(build.runs), 0))
    equal(build.noted, "")


@tap.test
def reruns_follow_all_first_runs_and_run_alone():
    build = run_of("unlucky_1", "slow_once", "good", "unlucky_2")
    equal(build.counted, (8, 0, 3))
    first = [line for line in build.order if line.endswith(" 1")]
    equal(build.order[:len(first)], first)
    again = build.order[len(first):]
    equal(len(again), 2 * 2 * 3)
    for begins, ends in zip(again[::2], again[1::2]):
        equal(ends, begins.replace("begins", "ends"))


@tap.test
def three_unstable_suites_do_not_fail_the_run():
    build = run_of("unlucky_1", "unlucky_2", "unlucky_3")
    equal(build.counted, (6, 0, 3))


@tap.test
def four_unstable_suites_fail_the_run():
    build = run_of("unlucky_1", "unlucky_2", "unlucky_3", "unlucky_4")
    equal(build.counted, (8, 1, 4))
    assert "\nFAILED 4 unstable suites, at most 3 are allowed\n" in build.printed, build.printed


@tap.test
def unstable_suites_of_all_builds_count_together_and_fail_the_run_once():
    with tempfile.TemporaryDirectory() as directory:
        tally = Path(directory) / "tally"
        for label, names, counts in (("plain", ("unlucky_1", "unlucky_2"), (4, 0, 2)),
                                     ("address", ("unlucky_3", "unlucky_4"), (4, 1, 2)),
                                     ("thread", ("unlucky_5",), (2, 0, 1))):
            (Path(directory) / label).mkdir()
            build = Build(Path(directory) / label, dict.fromkeys(names, ())).run(tally=tally, label=label)
            equal(build.counts, counts)
            equal(build.unstable_text.count(f"({label})"), len(names))


@tap.test
def if_more_than_eight_suites_fail_none_is_run_again():
    names = [f"unlucky_{number}" for number in range(1, 10)]
    build = run_of(*names)
    equal(set(build.runs.values()), {1})
    equal(build.counted, (9, 9, 0))


@tap.test
def engines_and_options_are_read_from_the_meson_suites():
    with tempfile.TemporaryDirectory() as directory:
        build = Build(directory, {"good reactor": ("behaviour", "engine-reactor"),
                                  "good io_uring": ("behaviour", "engine-io_uring"),
                                  "good zero_copy": ("behaviour", "engine-io_uring", "option-zero_copy"),
                                  "bad_once late": ("behaviour",)})
        build.run()
        assert "\ntests on every engine: reactor 2, io_uring 2\n" in build.printed, build.printed
        assert "\ntests with each option of io_uring: zero_copy 2\n" in build.printed, build.printed
        rows = {line[:15].strip(): line.split()[-4] for line in build.printed.splitlines() if line.startswith(("good", "bad"))}
        equal(rows["good"], "2")
        assert "good zero_copy" in rows and "bad_once late" in rows, rows


def suite(name, engine, tests, *markers):
    return Suite(name, engine=engine, passed=tests, markers=markers)


def differences(*suites):
    return list(run_tests.Engines(suites).differences())


@tap.test
def a_suite_with_fewer_tests_on_one_engine_is_reported():
    equal(differences(suite("a reactor", "reactor", 2), suite("a io_uring", "io_uring", 2)), [])
    equal(differences(suite("a reactor", "reactor", 2), suite("a io_uring", "io_uring", 1)),
          ["a: the number of tests differs between engines: reactor 2, io_uring 1"])
    equal(differences(suite("a reactor", "reactor", 2), suite("a io_uring", "io_uring", 2), suite("b io_uring", "io_uring", 2)),
          ["b: the number of tests differs between engines: reactor 0, io_uring 2"])


@tap.test
def the_late_engine_may_have_fewer_tests():
    equal(differences(suite("a reactor", "reactor", 2), suite("a late", "late", 1)), [])


@tap.test
def suites_of_a_kind_are_compared_on_the_engines_of_the_kind():
    others = suite("a reactor", "reactor", 2), suite("a io_uring", "io_uring", 2), suite("a simulated", "simulated", 2)
    equal(differences(*others, suite("b io_uring", "io_uring", 3, "completion"), suite("b simulated", "simulated", 3, "completion"),
                      suite("c io_uring", "io_uring", 1, "ring"), suite("d reactor", "reactor", 1, "unit"),
                      suite("d io_uring", "io_uring", 1, "unit")), [])
    equal(differences(*others, suite("b io_uring", "io_uring", 3, "completion"), suite("b simulated", "simulated", 2, "completion")),
          ["b: the number of tests differs between engines: io_uring 3, simulated 2"])


if __name__ == "__main__":
    tap.main()
