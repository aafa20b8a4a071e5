#!/usr/bin/env python3
"""jd-info tells what was built and what this system has.

Arguments: the path of jd-info, the library's version, "io_uring" or "" as it was built, "jemalloc" or "malloc".
"""

import os
import re
import resource
import sys

import tap
from server import refuse_rings, run_to_end

INFO, VERSION, BUILT, MEMORY = sys.argv[1:5]
ENGINES = ("auto", "reactor", "proactor", "io_uring", "simulated")
RING_SINCE = (6, 1)
USAGE = 2


def printed(environment=None):
    status, output, errors = run_to_end(INFO, environment=environment)
    assert (status, errors) == (0, ""), (status, errors)
    return output


def value(name, output):
    match = re.search(rf"^ *{re.escape(name)}  +(.*)$", output, re.MULTILINE)
    assert match, f"no {name} in {output}"
    return match[1]


def setting(path):
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return "no such setting"


def kernel():
    return tuple(map(int, re.match(r"(\d+)\.(\d+)", os.uname().release).groups()))


@tap.test
def it_names_the_version_the_kernel_and_where_memory_comes_from():
    output = printed()
    assert value("jinduo", output) == VERSION, output
    assert value("system", output) == f"Linux {os.uname().release} {os.uname().machine}", output
    assert value("memory from", output) == MEMORY, output


@tap.test
def every_engine_is_listed_and_those_that_need_nothing_are_available():
    output = printed()
    engines = re.findall(r"^  (\w+) +(?:not )?available", output, re.MULTILINE)
    assert tuple(engines) == ENGINES, engines
    assert value("auto", output) == "available: is reactor", output
    assert value("reactor", output) == value("simulated", output) == "available", output


@tap.test
def io_uring_is_there_as_built_and_allowed_and_is_then_the_proactor():
    output = printed()
    told = value("io_uring", output)
    if not BUILT:
        assert told == "not available: not built in" and "\nio_uring: not built in\n" in output, output
    elif told != "available":
        assert told.startswith("not available: ") and len(told) > len("not available: "), output
    else:
        assert kernel() >= RING_SINCE, output
    best = "io_uring" if told == "available" else "simulated"
    assert value("proactor", output) == f"available: is {best}", output


@tap.test
def where_io_uring_is_refused_it_says_why_and_proactor_is_simulated():
    status, output, errors = run_to_end(INFO, preexec_fn=refuse_rings)
    assert (status, errors) == (0, ""), (status, errors)
    told = value("io_uring", output)
    assert told == "not available: not built in" if not BUILT else \
        re.match("not available: (refused by a seccomp filter|kernel.io_uring_disabled)", told), output
    assert value("proactor", output) == "available: is simulated", output
    assert value("auto", output) == "available: is reactor", output


@tap.test
def the_rings_features_are_those_of_the_kernel():
    output = printed()
    if value("io_uring", output) != "available":
        raise tap.Skip("io_uring is not available")
    features = re.findall(r"^  .*? {2,}(\d+)\.(\d+) +(yes|no)$", output, re.MULTILINE)
    assert len(features) >= 6, output
    for major, minor, found in features:
        assert (found == "yes") == (kernel() >= (int(major), int(minor))), output


@tap.test_for_each(("reactor", "simulated"))
def the_environments_wish_is_shown_with_what_becomes_of_it(engine):
    output = printed({"JINDUO_ENGINE": engine})
    assert f"engines (JINDUO_ENGINE: {engine})\n" in output, output
    assert value("auto", output) == f"available: is {engine}", output


@tap.test
def a_wish_for_no_engine_is_told_to_be_in_vain():
    output = printed({"JINDUO_ENGINE": "kqueue"})
    assert value("auto", output).startswith("not available: "), output


@tap.test
def limits_are_the_systems():
    output = printed()
    assert value("net.core.somaxconn", output) == setting("/proc/sys/net/core/somaxconn"), output
    assert value("kernel.io_uring_disabled", output) == setting("/proc/sys/kernel/io_uring_disabled"), output
    assert value("descriptors of this process", output) == str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]), output


@tap.test_for_each(("--help", "-h"))
def help_is_given(option):
    status, output, errors = run_to_end(INFO, option)
    assert (status, errors) == (0, "") and output.startswith("Usage: jd-info\n"), (status, output, errors)


@tap.test_for_each((["--engine"], ["8000"], ["--help", "more"], [""]))
def whatever_else_is_given_is_refused_in_one_line(options):
    status, output, errors = run_to_end(INFO, *options)
    assert status == USAGE and output == "" and errors.count("\n") == 1, (status, output, errors)
    assert errors.startswith(f"jd-info: '{options[0]}': ") and "--help" in errors, errors


tap.main()
