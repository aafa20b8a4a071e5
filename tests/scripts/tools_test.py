#!/usr/bin/env python3
"""The scripts of ./dev fuzz and ./dev soak, on programs that fail.

Arguments: the directory with the programs soak-server and soak-client.
"""

import contextlib
import io
import os
import pathlib
import sys
import tempfile
import types

import fuzz
import soak
import tap

PROGRAMS = os.path.abspath(sys.argv[1])
MIB = soak.MIB


# ---- fuzz ----

# What libFuzzer prints, and what it leaves when an input fails.
TARGET = """#!/bin/sh
for argument; do
    case $argument in -artifact_prefix=*) failures=${{argument#*=}} ;; esac
done
echo '#2 INITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb'
{then}
"""


@contextlib.contextmanager
def fuzz_target(then):
    """A target whose program does this after its first lines."""
    with tempfile.TemporaryDirectory() as folder:
        target = types.SimpleNamespace(name="sample", failures=pathlib.Path(folder, "failures"), found=pathlib.Path(folder, "found"),
                                       tree_corpus=pathlib.Path(folder, "corpus"))
        target.failures.mkdir()
        program = pathlib.Path(folder, "fuzz-sample")
        program.write_text(TARGET.format(then=then), encoding="utf-8")
        program.chmod(0o755)
        target.command = lambda *more: [str(program), f"-artifact_prefix={target.failures}/", *map(str, more)]
        yield target


def run_fuzz(then):
    """Returns whether the run succeeded, and its output."""
    output = io.StringIO()
    with fuzz_target(then) as target, contextlib.redirect_stdout(output):
        succeeded = fuzz.fuzz(target, 1, 7)
    return succeeded, output.getvalue()


@tap.test
def a_run_in_which_no_input_fails_succeeds_and_reports_what_it_covered():
    succeeded, output = run_fuzz("echo '#4096 DONE cov: 20 ft: 30 corp: 5/9b lim: 4 exec/s: 0 rss: 30Mb'")
    assert succeeded and "no failure in 4,096 inputs, 20 edges covered, corpus of 5" in output, output


@tap.test
def an_input_that_fails_is_named_with_the_command_that_repeats_it():
    succeeded, output = run_fuzz("echo 'a.c:1: not true: x'; echo bad >\"${failures}crash-1\"; exit 77")
    assert not succeeded and "not true: x" in output and "exit status 77, seed 7" in output, output
    assert "./dev fuzz sample --input " in output and "failures/crash-1" in output, output


@tap.test
def a_run_without_inputs_fails():
    with tempfile.TemporaryDirectory() as folder:
        target = types.SimpleNamespace(name="sample", failures=pathlib.Path(folder), found="", tree_corpus="",
                                       command=lambda *more: ["true"])
        with contextlib.redirect_stdout(io.StringIO()) as output:
            assert not fuzz.fuzz(target, 1, 7), output.getvalue()


@tap.test
def each_target_of_the_tree_has_a_corpus():
    assert {"buffer", "delimiter_codec", "endpoint", "length_codec"} <= set(fuzz.targets()), fuzz.targets()
    for name in fuzz.targets():
        assert any((fuzz.TREE / "tests" / "fuzz" / "corpus" / name).iterdir()), name


# ---- soak ----

def measure(held, resident):
    return types.SimpleNamespace(held=held, resident=resident)


def grown(before, after):
    """The reason why memory that has grown from before to after on two servers is not flat, or None."""
    try:
        soak.require_flat(before, after, 2)
        return None
    except soak.Failure as failure:
        return str(failure)


@tap.test
def memory_that_grows_beyond_the_bound_is_not_flat():
    before = measure(100 * MIB, 100 * MIB)
    assert grown(before, measure(103 * MIB, 118 * MIB)) is None
    assert "the library holds 103.1 MiB" in grown(before, measure(103.1 * MIB, 100 * MIB))
    assert "resident are 118.1 MiB" in grown(before, measure(100 * MIB, 118.1 * MIB))


def run_soak(programs, **options):
    """Runs a small soak. Returns its output."""
    arguments = types.SimpleNamespace(**({"connections": 60, "processes": 2, "seconds": 2, "engine": "auto", "seed": 1} | options))
    with contextlib.redirect_stdout(io.StringIO()) as output:
        soak.run(programs, arguments)
    return output.getvalue()


@tap.test
def connections_are_opened_churned_and_closed():
    output = run_soak(os.path.dirname(os.path.dirname(PROGRAMS)))
    assert "open: 60 connections" in output and "churn 2: " in output and "closed: 0 connections" in output, output


@tap.test
def a_wrong_answer_fails():
    with tempfile.TemporaryDirectory() as folder:
        programs = pathlib.Path(folder, "tests", "soak")
        programs.mkdir(parents=True)
        (programs / "soak-client").symlink_to(os.path.join(PROGRAMS, "soak-client"))
        server = programs / "soak-server"
        server.write_text(f"#!{sys.executable}\n" + WRONG_SERVER, encoding="utf-8")
        server.chmod(0o755)
        try:
            output = run_soak(folder)
        except soak.Failure as failure:
            assert "soak-client: it ended" in str(failure), failure
        else:
            raise AssertionError(output)


WRONG_SERVER = """
import socket, sys, threading
listener = socket.create_server(("127.0.0.1", 0))

def serve(client):
    while data := client.recv(65536):
        client.sendall(data[:-1] + b"?")

def accept():
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

threading.Thread(target=accept, daemon=True).start()
print("listening on %s:%d engine=reactor" % listener.getsockname(), flush=True)
for line in sys.stdin:
    print('{"connections": 0, "held_bytes": 0}', flush=True)
"""

tap.main()
