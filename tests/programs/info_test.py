#!/usr/bin/env python3
"""jd-info prints the engines and features of the build and of this system.

Arguments: the path of jd-info, the library's version, "io_uring" if it is built in or "", "jemalloc" or "malloc".
"""

import os
import re
import resource
import sys

import tap
from server import refuse_rings, run_to_end

INFO, VERSION, BUILT, MEMORY = sys.argv[1:5]
ENGINES = ("auto", "reactor", "proactor", "io_uring", "simulated", "iocp")
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
def it_prints_the_version_the_kernel_and_the_allocator():
    output = printed()
    assert value("jinduo", output) == VERSION, output
    assert value("system", output) == f"Linux {os.uname().release} {os.uname().machine}", output
    assert value("allocator", output) == MEMORY, output


@tap.test
def every_engine_is_listed_and_reactor_and_simulated_are_available():
    output = printed()
    engines = re.findall(r"^  (\w+) +(?:not )?available", output, re.MULTILINE)
    assert tuple(engines) == ENGINES, engines
    assert value("auto", output) == "available: selects reactor", output
    assert value("reactor", output) == value("simulated", output) == "available", output


@tap.test
def io_uring_is_reported_as_built_and_allowed_and_proactor_selects_it_if_available():
    output = printed()
    reported = value("io_uring", output)
    if not BUILT:
        assert reported == "not available: not built in" and "\nio_uring: not built in\n" in output, output
    elif reported != "available":
        assert reported.startswith("not available: ") and len(reported) > len("not available: "), output
    else:
        assert kernel() >= RING_SINCE, output
    best = "io_uring" if reported == "available" else "simulated"
    assert value("proactor", output) == f"available: selects {best}", output


@tap.test
def where_io_uring_is_refused_the_reason_is_printed_and_proactor_selects_simulated():
    status, output, errors = run_to_end(INFO, preexec_fn=refuse_rings)
    assert (status, errors) == (0, ""), (status, errors)
    reported = value("io_uring", output)
    assert reported == "not available: not built in" if not BUILT else \
        re.match("not available: (refused by a seccomp filter|kernel.io_uring_disabled)", reported), output
    assert value("proactor", output) == "available: selects simulated", output
    assert value("auto", output) == "available: selects reactor", output


@tap.test
def the_features_of_io_uring_match_the_kernel_version():
    output = printed()
    if value("io_uring", output) != "available":
        raise tap.Skip("io_uring is not available")
    features = re.findall(r"^  .*? {2,}(\d+)\.(\d+) +(yes|no)$", output, re.MULTILINE)
    assert len(features) >= 6, output
    for major, minor, found in features:
        assert (found == "yes") == (kernel() >= (int(major), int(minor))), output


@tap.test_for_each(("reactor", "simulated"))
def the_engine_named_by_the_environment_is_printed_and_auto_selects_it(engine):
    output = printed({"JINDUO_ENGINE": engine})
    assert f"engines (JINDUO_ENGINE: {engine})\n" in output, output
    assert value("auto", output) == f"available: selects {engine}", output


@tap.test
def with_an_unknown_engine_in_the_environment_auto_is_not_available():
    output = printed({"JINDUO_ENGINE": "kqueue"})
    assert value("auto", output).startswith("not available: "), output


@tap.test
def the_limits_are_those_of_the_system():
    output = printed()
    assert value("net.core.somaxconn", output) == setting("/proc/sys/net/core/somaxconn"), output
    assert value("kernel.io_uring_disabled", output) == setting("/proc/sys/kernel/io_uring_disabled"), output
    assert value("descriptors per process (RLIMIT_NOFILE)", output) == str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]), output


@tap.test_for_each(("--help", "-h"))
def help_is_printed(option):
    status, output, errors = run_to_end(INFO, option)
    assert (status, errors) == (0, "") and output.startswith("Usage: jd-info\n"), (status, output, errors)


@tap.test_for_each((["--engine"], ["8000"], ["--help", "more"], [""]))
def any_other_argument_is_refused_with_one_line(options):
    status, output, errors = run_to_end(INFO, *options)
    assert status == USAGE and output == "" and errors.count("\n") == 1, (status, output, errors)
    assert errors.startswith(f"jd-info: unexpected argument '{options[0]}'; ") and "--help" in errors, errors


tap.main()
