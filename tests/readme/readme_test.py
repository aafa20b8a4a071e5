#!/usr/bin/env python3
"""The C code in both READMEs, the guide and the pages on the Proactor compiles, and its programs do what the text says.

A block of C with a main function is a program that takes an endpoint as its argument. The line before it gives the expected
behaviour: <!-- sends "hello\\n", gets "HELLO\\n" --> for a server (without such a line: an echo server), or
<!-- prints "hello\\n" --> for a client of an echo server, or <!-- relays to an echo server --> for a program that takes the
endpoint of such a server as its second argument. Any other block is only compiled, after the usual #includes.

Arguments: the source directory, the static library, jd-smallest, jd-frame-echo, the value of b_sanitize, the linker option for
the library's dependency, the C compiler.
"""

import concurrent.futures
import contextlib
import functools
import os
import pathlib
import re
import select
import signal
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
OTHER_TEXTS = ("docs/architecture.md", "docs/examples.md", "docs/pitfalls.md")   # without C blocks that are compiled
PROJECT_TEXTS = ("CONTRIBUTING.md", "SECURITY.md")
DEADLINE_SECONDS = 30
POLL_SECONDS = 0.02
BLOCKED_SECONDS = 1        # without room in the socket: the receiver has stopped reading
RELAYED_MEBIBYTES = 24     # far more than the relay and the kernel hold
USUAL_INCLUDES = "".join(f"#include <{name}>\n" for name in ("jinduo/jinduo.h", "stdio.h", "stdlib.h", "string.h"))

BLOCK = re.compile(r"^(?:<!-- (?P<note>[^\n]*) -->\n)?```c\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SERVER_NOTE = re.compile(r'sends "(.*)", gets "(.*)"')
CLIENT_NOTE = re.compile(r'prints "(.*)"')
RELAY_NOTE = "relays to an echo server"
NAME = re.compile(r"\bjd_[a-z0-9_]*[a-z0-9]\b(?!\*|\.\.\.|…)", re.IGNORECASE)
LONG_OPTION = re.compile(r"(?<![\w-])--[a-z-]+")


@functools.cache
def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(is_program):
    """The C blocks with, or without, a main function, as a dictionary from FILE:LINE to the match."""
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
def running(program, *arguments):
    """Runs a server on an endpoint of its own until the end of the with-statement; yields the endpoint's abstract name. SIGTERM
    must end it orderly, or as a program without a handler: a report of a sanitizer would be another status."""
    name = f"jinduo-readme-{os.getpid()}-{time.monotonic_ns()}"
    with subprocess.Popen([program, f"unix:@{name}", *arguments], stdout=subprocess.DEVNULL) as server:
        try:
            yield name
            assert server.poll() is None, f"the server exited with status {server.returncode}"
            server.terminate()
            assert server.wait(DEADLINE_SECONDS) in (0, -signal.SIGTERM), f"exit status {server.returncode} after SIGTERM"
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
            assert piece, f"end of file after {answer!r}"
            answer += piece
        assert answer == wanted, answer


def send_until_blocked(client, data):
    """Sends while the other side takes more, whose answers are not read. Returns the number of bytes."""
    sent = 0
    client.setblocking(False)
    while sent < len(data) and select.select([], [client], [], BLOCKED_SECONDS)[1]:
        sent += client.send(data[sent:sent + 65536])
    client.settimeout(DEADLINE_SECONDS)
    return sent


def assert_relays(program):
    data = os.urandom(1 << 20) * RELAYED_MEBIBYTES
    with running(SMALLEST) as behind, running(program, f"unix:@{behind}") as name:
        connect(behind).close()  # wait until the server behind listens
        with connect(name) as client:
            sent = send_until_blocked(client, data)
            assert sent < len(data), "what nobody reads is taken without a bound"

            def send_rest():
                client.sendall(data[sent:])
                client.shutdown(socket.SHUT_WR)
            with concurrent.futures.ThreadPoolExecutor() as executor:
                rest = executor.submit(send_rest)
                received = b"".join(iter(lambda: client.recv(1 << 20), b""))
                rest.result()
            assert received == data, f"{len(received)} of {len(data)} bytes"
    with running(program, "unix:@jinduo-readme-nobody") as name, connect(name) as client:
        assert client.recv(1) == b"", "there is no server behind"


def assert_prints(program, wanted):
    with running(SMALLEST) as name:
        connect(name).close()  # wait until the server listens
        done = subprocess.run([program, f"unix:@{name}"], stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=DEADLINE_SECONDS)
    assert (done.returncode, done.stdout) == (0, wanted), done


@tap.test_for_each(blocks(is_program=True))
def a_shown_program_behaves_as_its_note_says(block):
    note = block["note"] or r'sends "hello\n", gets "hello\n"'
    server, client = SERVER_NOTE.fullmatch(note), CLIENT_NOTE.fullmatch(note)
    assert server or client or note == RELAY_NOTE, f"unknown note: {note}"
    with tempfile.TemporaryDirectory() as directory:
        program = compiled(directory, block["code"], LIBRARY, "-pthread", NEEDED)
        if server:
            assert_answers(program, bytes_of(server[1]), bytes_of(server[2]))
        elif note == RELAY_NOTE:
            assert_relays(program)
        else:
            assert_prints(program, bytes_of(client[1]))


@tap.test_for_each(blocks(is_program=False))
def a_shown_part_compiles(block):
    with tempfile.TemporaryDirectory() as directory:
        compiled(directory, USUAL_INCLUDES + block["code"], "-c", "-Wno-unused-function", "-Wno-unused-parameter")


@tap.test_for_each(READMES)
def the_readme_shows_the_smallest_server(text):
    assert text_of("examples/smallest.c") in [match["code"] for match in BLOCK.finditer(text_of(text))]


@tap.test
def the_smallest_server_echoes():
    assert_answers(SMALLEST, b"hello\n", b"hello\n")


@tap.test_for_each((*TEXTS, *OTHER_TEXTS, *PROJECT_TEXTS))
def all_linked_files_and_headings_exist(text):
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
def all_named_public_names_exist(text):
    headers = "".join(header.read_text(encoding="utf-8") for header in (ROOT / "include" / "jinduo").glob("*.h"))
    missing = set(NAME.findall(text_of(text))) - set(NAME.findall(headers))
    assert not missing, missing


@tap.test
def the_shown_options_of_jd_frame_echo_exist():
    known = subprocess.run([FRAME_ECHO, "--help"], capture_output=True, text=True, check=True).stdout
    for text in TEXTS:
        for line in re.findall(r"^.*jd-frame-echo .*$", text_of(text), re.MULTILINE):
            missing = set(LONG_OPTION.findall(line)) - set(LONG_OPTION.findall(known))
            assert not missing, (text, missing)


tap.main()
