#!/usr/bin/env python3
"""What the README, in both languages, the guide and the pages on the Proactor show is true: their C is compiled, their programs are run.

A block of C with a main function is a program that takes an endpoint as its argument; the line in front of it says what
becomes of it, <!-- sends "hello\\n", gets "HELLO\\n" --> for a server (without such a line it is an echo) or
<!-- prints "hello\\n" --> for a client of an echo server. Any other block is compiled alone, behind the usual
#includes.

Arguments: the source directory, the static library, jd-smallest, jd-frame-echo, b_sanitize, what the
library is to be linked with, the C compiler.
"""

import contextlib
import functools
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

import tap

ROOT, LIBRARY = map(pathlib.Path, sys.argv[1:3])
SMALLEST, FRAME_ECHO, SANITIZE, NEEDED, *CC = sys.argv[3:]
READMES = ("README.md", "README.zh-CN.md")
TEXTS = (*READMES, "docs/guide.md", "docs/proactor.md", "docs/reactor-and-proactor.md")
OTHER_TEXTS = ("docs/architecture.md", "docs/pitfalls.md")   # they show no program
PROJECT_TEXTS = ("CONTRIBUTING.md", "SECURITY.md")
DEADLINE_SECONDS = 30
POLL_SECONDS = 0.02
USUAL_INCLUDES = "".join(f"#include <{name}>\n" for name in ("jinduo/jinduo.h", "stdio.h", "stdlib.h", "string.h"))

BLOCK = re.compile(r"^(?:<!-- (?P<note>[^\n]*) -->\n)?```c\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SERVER_NOTE = re.compile(r'sends "(.*)", gets "(.*)"')
CLIENT_NOTE = re.compile(r'prints "(.*)"')
NAME = re.compile(r"\bjd_[a-z0-9_]*[a-z0-9]\b(?!\*|\.\.\.|…)", re.IGNORECASE)
LONG_OPTION = re.compile(r"(?<![\w-])--[a-z-]+")


@functools.cache
def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(is_program):
    """Their names and matches."""
    found = {}
    for text in TEXTS:
        for match in BLOCK.finditer(text_of(text)):
            if ("int main(" in match["code"]) == is_program:
                line = text_of(text).count("\n", 0, match.start("code"))
                found[f"{text}:{line}"] = match
    return found


def compiled(directory, code, *options):
    source, output = pathlib.Path(directory) / "shown.c", pathlib.Path(directory) / "shown"
    source.write_text(code, encoding="utf-8")
    sanitize = [] if SANITIZE == "none" else [f"-fsanitize={SANITIZE}"]
    done = subprocess.run([*CC, "-std=gnu17", "-g", "-Wall", "-Wextra", "-Werror", *sanitize, "-I", ROOT / "include",
                           source, "-o", output, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, timeout=DEADLINE_SECONDS)
    assert done.returncode == 0, done.stderr
    return output


@contextlib.contextmanager
def running(program):
    """Serves an endpoint of its own until the end of the with-statement."""
    name = f"jinduo-readme-{os.getpid()}-{time.monotonic_ns()}"
    with subprocess.Popen([program, f"unix:@{name}"], stdout=subprocess.DEVNULL) as server:
        try:
            yield name
            assert server.poll() is None, f"ended with status {server.returncode}"
        finally:
            server.terminate()


def connect(name):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(DEADLINE_SECONDS)
        try:
            client.connect("\0" + name)
            return client
        except ConnectionRefusedError:
            client.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)


def bytes_of(shown):
    return shown.replace("\\n", "\n").encode()


def assert_answers(program, sent, wanted):
    with running(program) as name, connect(name) as client:
        client.sendall(sent)
        answer = b""
        while len(answer) < len(wanted):
            piece = client.recv(len(wanted) - len(answer))
            assert piece, f"ended after {answer!r}"
            answer += piece
        assert answer == wanted, answer


def assert_prints(program, wanted):
    with running(SMALLEST) as name:
        connect(name).close()  # it listens
        done = subprocess.run([program, f"unix:@{name}"], stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=DEADLINE_SECONDS)
    assert (done.returncode, done.stdout) == (0, wanted), done


@tap.test_for_each(blocks(is_program=True))
def a_program_that_is_shown_does_what_is_said(block):
    note = block["note"] or r'sends "hello\n", gets "hello\n"'
    server, client = SERVER_NOTE.fullmatch(note), CLIENT_NOTE.fullmatch(note)
    assert server or client, f"not understood: {note}"
    with tempfile.TemporaryDirectory() as directory:
        program = compiled(directory, block["code"], LIBRARY, "-pthread", NEEDED)
        if server:
            assert_answers(program, bytes_of(server[1]), bytes_of(server[2]))
        else:
            assert_prints(program, bytes_of(client[1]))


@tap.test_for_each(blocks(is_program=False))
def a_part_that_is_shown_compiles(block):
    with tempfile.TemporaryDirectory() as directory:
        compiled(directory, USUAL_INCLUDES + block["code"], "-c", "-Wno-unused-function", "-Wno-unused-parameter")


@tap.test_for_each(READMES)
def the_readme_shows_the_smallest_server(text):
    assert text_of("examples/smallest.c") in [match["code"] for match in BLOCK.finditer(text_of(text))]


@tap.test
def the_smallest_server_echoes():
    assert_answers(SMALLEST, b"hello\n", b"hello\n")


@tap.test_for_each((*TEXTS, *OTHER_TEXTS, *PROJECT_TEXTS))
def only_files_and_headings_that_exist_are_linked(text):
    directory = (ROOT / text).parent
    links = re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text_of(text))
    assert links, "no links"
    for path, heading in links:
        target = directory / path if path else ROOT / text
        assert target.exists(), path
        if heading:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles], heading


@tap.test_for_each((*TEXTS, *OTHER_TEXTS))
def only_public_names_that_exist_are_named(text):
    headers = "".join(header.read_text(encoding="utf-8") for header in (ROOT / "include" / "jinduo").glob("*.h"))
    missing = set(NAME.findall(text_of(text))) - set(NAME.findall(headers))
    assert not missing, missing


@tap.test
def the_options_of_the_frame_server_that_are_shown_exist():
    known = subprocess.run([FRAME_ECHO, "--help"], capture_output=True, text=True, check=True).stdout
    for text in TEXTS:
        for line in re.findall(r"^.*jd-frame-echo .*$", text_of(text), re.MULTILINE):
            missing = set(LONG_OPTION.findall(line)) - set(LONG_OPTION.findall(known))
            assert not missing, (text, missing)


tap.main()
