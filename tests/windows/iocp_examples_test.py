#!/usr/bin/env python3
"""jd-iocp-shared and jd-iocp-levels, run with Wine: what they print fits together. Wine does not show how Windows chooses threads.

Arguments: the source directory, Wine's program, the directory of the examples.
"""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "tests" / "programs"))
import tap  # noqa: E402

WINE, EXAMPLES = sys.argv[2], pathlib.Path(sys.argv[3])
PATIENCE = 100


def run(name, *options):
    done = subprocess.run([WINE, str(EXAMPLES / f"{name}.exe"), *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=PATIENCE, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def output_of(name, *options):
    status, lines, errors = run(name, *options)
    assert (status, errors) == (0, []), (status, errors, lines)
    return lines


@tap.test
def the_threads_of_a_port_take_each_packet_once():
    head, *rounds = output_of("jd-iocp-shared", "--threads", "3", "--concurrency", "2", "--packets", "60", "--work-us", "10")
    assert head == "threads=3 concurrency=2 packets=60", head
    names = ["one after the other", "all at once, computing", "all at once, sleeping"]
    assert [line.partition(":")[0] for line in rounds] == names, rounds
    for line in rounds:
        taken, at_once = re.fullmatch(r"[a-z, ]+: ([\d ]+); at once (\d+)", line).groups()
        counts = [int(count) for count in taken.split()]
        assert len(counts) == 3 and sum(counts) == 60, line
        assert 1 <= int(at_once) <= 3, line
    assert rounds[0].endswith("; at once 1"), "the second packet is posted when the first is handled"


@tap.test
def one_thread_takes_all_packets():
    _, *rounds = output_of("jd-iocp-shared", "--threads", "1", "--packets", "20", "--work-us", "0")
    assert len(rounds) == 3 and all(line.endswith(": 20; at once 1") for line in rounds), rounds


def costs(*options):
    """The calls, completions and allocations a message, by level."""
    text = "\n".join(output_of("jd-iocp-levels", *options))
    rows = re.findall(r"^level (\d): .+\n  a message: calls ([\d.]+), completions ([\d.]+), allocations ([\d.]+)$", text, re.MULTILINE)
    return {int(level): tuple(map(float, numbers)) for level, *numbers in rows}


@tap.test
def each_level_costs_less_than_the_one_before():
    found = costs("--connections", "20", "--messages", "40")
    assert set(found) == {1, 2, 3}, found
    calls, completions, allocations = found[1]
    assert 3.8 < calls < 4.2 and 1.9 < completions < 2.1 and 0.9 < allocations < 1.1, found   # a receive, a send, a packet of each
    assert found[2][0] <= calls + 0.1 and 1.9 < found[2][1] < 2.1 and 0.9 < found[2][2] < 1.1, found
    assert found[3][1] < completions and found[3][2] == 0, found   # a send that completes at once has no packet


@tap.test
def one_level_runs_alone_and_large_messages_come_back():
    for level in (1, 2, 3):
        assert set(costs("--level", str(level), "--connections", "3", "--messages", "5", "--size", "4096")) == {level}


@tap.test
def help_names_the_options():
    for name, options in {"jd-iocp-shared": {"--threads", "--concurrency", "--packets", "--work-us", "--help"},
                          "jd-iocp-levels": {"--level", "--connections", "--messages", "--size", "--help"}}.items():
        text = "\n".join(output_of(name, "--help"))
        assert text.startswith(f"Usage: {name} "), text
        assert set(re.findall(r"--[a-z-]+", text)) == options, text


REFUSED = {
    "a level that there is not": ("jd-iocp-levels", ("--level", "4"), "--level '4': must be a whole number from 1 to 3"),
    "no connections": ("jd-iocp-levels", ("--connections", "0"), "--connections '0': must be a whole number from 1 to 1000"),
    "a size that is no number": ("jd-iocp-levels", ("--size", "x"), "--size 'x': must be a whole number from 1 to 4096"),
    "too many threads": ("jd-iocp-shared", ("-t", "65"), "--threads '65': must be a whole number from 1 to 64"),
    "an unknown option": ("jd-iocp-shared", ("--fast",), "unknown option '--fast'"),
    "a missing value": ("jd-iocp-shared", ("--packets",), "option '--packets' needs a value"),
    "an argument": ("jd-iocp-levels", ("1",), "unexpected argument '1'"),
}


@tap.test_for_each(REFUSED)
def a_wrong_option_is_one_line_and_status_2(case):
    name, options, reason = case
    assert run(name, *options) == (2, [], [f"{name}: {reason}; see {name} --help"]), run(name, *options)


tap.main()
