#!/usr/bin/env python3
"""jd-io-models: each model reads everything, and did while waiting what it is known for.

Arguments: the path of jd-io-models, and whether io_uring is built in (0 or 1).
"""

import re
import sys

import tap
from server import run_to_end

PROGRAM, WITH_IO_URING = sys.argv[1], sys.argv[2] == "1"
MODELS = ["blocking", "non-blocking", "multiplexing", "signal-driven", "asynchronous"]
MESSAGES, MESSAGE_BYTES = 3, len("message") + 1


def sections(output):
    """Each model's lines, by its name."""
    found = dict(re.findall(r"^(\S+)\n((?:  .*\n)+)", output, re.MULTILINE))
    assert list(found) == MODELS, output
    return found


def number(section, unit):
    return int(re.search(rf"(\d+) {unit}\b", section).group(1))


def run_models():
    status, output, errors = run_to_end(PROGRAM, "--messages", str(MESSAGES), "--interval", "1")
    assert (status, errors) == (0, ""), (status, errors)
    return sections(output)


def that_were_run(models):
    """Where the system refuses a ring, the fifth has said so instead."""
    if "received" in models["asynchronous"]:
        assert WITH_IO_URING
        return models
    assert WITH_IO_URING or "not built in" in models["asynchronous"], models["asynchronous"]
    return {name: section for name, section in models.items() if name != "asynchronous"}


@tap.test
def every_model_reads_every_byte():
    for name, section in that_were_run(run_models()).items():
        assert number(section, "bytes") == MESSAGES * MESSAGE_BYTES, (name, section)


@tap.test
def only_models_that_cannot_wait_in_their_call_meet_eagain():
    for name, section in that_were_run(run_models()).items():
        is_non_blocking = name in ("non-blocking", "signal-driven")
        assert (number(section, "of them EAGAIN") > 0) == is_non_blocking, (name, section)


@tap.test
def only_the_signal_driven_one_takes_signals():
    for name, section in that_were_run(run_models()).items():
        assert (number(section, "signals") > 0) == (name == "signal-driven"), (name, section)


@tap.test
def the_asynchronous_one_never_reads():
    models = run_models()
    if "asynchronous" not in that_were_run(models):
        raise tap.Skip(models["asynchronous"].strip())
    assert number(models["asynchronous"], "read") == 0, models["asynchronous"]
    assert number(models["asynchronous"], "io_uring_enter") > 0, models["asynchronous"]


@tap.test
def help_names_every_option():
    status, output, errors = run_to_end(PROGRAM, "--help")
    assert (status, errors) == (0, ""), (status, errors)
    assert set(re.findall(r"--[a-z-]+", output)) == {"--messages", "--interval", "--help"}, output


@tap.test_for_each({"unknown": ["--no-such"], "no value": ["--messages"], "none": ["--messages", "0"],
                    "no number": ["--interval", "soon"], "a word": ["more"]})
def bad_input_is_refused_in_one_line(options):
    status, output, errors = run_to_end(PROGRAM, *options)
    assert (status, output) == (2, ""), (status, output)
    assert errors.startswith("jd-io-models: ") and errors.count("\n") == 1 and options[-1] in errors, errors


tap.main()
