#!/usr/bin/env python3
"""jd-io-models: each model reads all messages, with the calls that are typical of it.

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
    """The lines of each model, by the model's name."""
    found = dict(re.findall(r"^(\S+)\n((?:  .*\n)+)", output, re.MULTILINE))
    assert list(found) == MODELS, output
    return found


def number(section, unit):
    return int(re.search(rf"(\d+) {unit}\b", section).group(1))


def run_models():
    status, output, errors = run_to_end(PROGRAM, "--messages", str(MESSAGES), "--interval", "1")
    assert (status, errors) == (0, ""), (status, errors)
    return sections(output)


def models_that_ran(models):
    """The models without the asynchronous one if this system has no io_uring; its section must then be the reason."""
    if "received" in models["asynchronous"]:
        assert WITH_IO_URING
        return models
    assert WITH_IO_URING or "not built in" in models["asynchronous"], models["asynchronous"]
    return {name: section for name, section in models.items() if name != "asynchronous"}


@tap.test
def every_model_reads_every_byte():
    for name, section in models_that_ran(run_models()).items():
        assert number(section, "bytes") == MESSAGES * MESSAGE_BYTES, (name, section)


@tap.test
def only_the_non_blocking_and_signal_driven_models_get_eagain():
    for name, section in models_that_ran(run_models()).items():
        is_non_blocking = name in ("non-blocking", "signal-driven")
        assert (number(section, "of them EAGAIN") > 0) == is_non_blocking, (name, section)


@tap.test
def only_the_signal_driven_model_receives_signals():
    for name, section in models_that_ran(run_models()).items():
        assert (number(section, "signals") > 0) == (name == "signal-driven"), (name, section)


@tap.test
def the_asynchronous_model_calls_no_read():
    models = run_models()
    if "asynchronous" not in models_that_ran(models):
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
def a_wrong_option_is_refused_with_one_line(options):
    status, output, errors = run_to_end(PROGRAM, *options)
    assert (status, output) == (2, ""), (status, output)
    assert errors.startswith("jd-io-models: ") and errors.count("\n") == 1 and options[-1] in errors, errors


tap.main()
