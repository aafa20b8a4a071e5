#!/usr/bin/env python3
"""jd-async-file sends complete files of its folder, and no other files, on each engine that has asynchronous operations.

Arguments: the path of jd-async-file.
"""

import contextlib
import os
import pathlib
import random
import socket
import sys
import tempfile
import threading
import time

import tap
from server import DEADLINE_SECONDS, Server, available_engines, connect, descriptors_of, receive, run_to_end

ASYNC_FILE = sys.argv[1]
ENGINES = [engine for engine in available_engines(ASYNC_FILE) if engine != "reactor"]
MEBIBYTE = 1 << 20
BIG_BYTES = 20 * MEBIBYTE + 4321
REQUEST_MAX_BYTES = 4096
USAGE = 2

CONTENTS = {
    "empty": b"",
    "one": b"1",
    "lines": b"first\nsecond\n\nfourth",
    "chunk": bytes(range(256)) * 256,  # the server's CHUNK_BYTES
    "chunk and one": bytes(range(256)) * 256 + b"!",
    "name with spaces": b"spaces",
    "n\u00e4me": "\u00e4".encode(),
    "below/deeper/file": b"deep",
    "..two dots": b"not a parent folder",
}


@contextlib.contextmanager
def serving(engine, *options):
    """Starts a server for a folder inside an outer folder. Yields the server and the outer folder."""
    with tempfile.TemporaryDirectory() as outer:
        folder = pathlib.Path(outer) / "folder"
        for name, content in CONTENTS.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        (pathlib.Path(outer) / "secret").write_bytes(b"secret")
        with Server(ASYNC_FILE, "--engine", engine, "--listen", "127.0.0.1:0", *options, str(folder)) as server:
            yield server, pathlib.Path(outer)
            server.stop()


class Client:
    """Requests files and reads the responses."""

    def __init__(self, server, **options):
        self.socket = connect(server.endpoint, **options)
        self.responses = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.responses.close()
        self.socket.close()

    def request(self, *names):
        self.socket.sendall("".join(f"{name}\n" for name in names).encode())

    def response(self):
        """Returns the file's bytes, or the error line as str."""
        line = self.responses.readline().decode()
        assert line.endswith("\n"), f"the response line has no end: {line!r}"
        if line.startswith("error: "):
            return line
        data = self.responses.read(int(line))
        assert len(data) == int(line), f"{len(data)} of {line.strip()} bytes"
        return data

    def get(self, name):
        self.request(name)
        return self.response()

    def assert_closed(self):
        try:
            assert self.responses.read(1) == b"", "bytes instead of end of file"
        except ConnectionResetError:
            pass  # the server closed with unread input


def assert_serves(server):
    with Client(server) as client:
        assert client.get("lines") == CONTENTS["lines"]


@tap.test_for_each(ENGINES)
def every_file_is_sent_complete_one_after_another_on_one_connection(engine):
    with serving(engine) as (server, _), Client(server) as client:
        for name, content in CONTENTS.items():
            assert client.get(name) == content, name


@tap.test_for_each(ENGINES)
def pipelined_requests_are_answered_in_order(engine):
    names = [*CONTENTS, "missing"] * 20
    with serving(engine) as (server, _), Client(server) as client:
        client.request(*names)
        for name in names:
            response = client.response()
            assert response == CONTENTS[name] if name in CONTENTS else response.startswith("error: "), name


@tap.test_for_each(ENGINES)
def a_request_sent_byte_by_byte_that_ends_with_crlf_is_answered(engine):
    with serving(engine) as (server, _), Client(server) as client:
        for byte in b"below/deeper/file\r\n":
            client.socket.sendall(bytes([byte]))
        assert client.response() == CONTENTS["below/deeper/file"]


@tap.test_for_each(ENGINES)
def a_large_file_is_sent_unchanged_to_several_clients_at_once(engine):
    data = random.Random(1).randbytes(BIG_BYTES)
    is_equal = {}

    def fetch(number, server):
        with Client(server) as client:
            is_equal[number] = client.get("big") == data

    with serving(engine) as (server, outer):
        (outer / "folder" / "big").write_bytes(data)
        threads = [threading.Thread(target=fetch, args=(number, server), daemon=True) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * DEADLINE_SECONDS)
    assert is_equal == {0: True, 1: True, 2: True}, is_equal


@tap.test_for_each(ENGINES)
def a_missing_or_irregular_file_is_an_error_line_and_the_connection_stays_open(engine):
    with serving(engine) as (server, outer), Client(server) as client:
        os.mkfifo(outer / "folder" / "fifo")
        for name in ("missing", "below", ".", "fifo", "", "one/more", "x" * 300):
            response = client.get(name)
            assert isinstance(response, str), f"{name!r}: {response!r}"
            assert client.get("one") == b"1", name
        client.socket.sendall(b"one\0../../secret\n")
        assert client.response() != b"secret"


@tap.test_for_each(ENGINES)
def no_name_leads_out_of_the_folder(engine):
    with serving(engine) as (server, outer), Client(server) as client:
        folder = outer / "folder"
        (folder / "up").symlink_to("../secret")
        (folder / "far").symlink_to(outer / "secret")
        (folder / "out").symlink_to("..")
        (folder / "inside").symlink_to("below/deeper/file")
        escapes = ("../secret", "below/../../secret", "./../secret", str(outer / "secret"), "/etc/passwd", "//etc/passwd",
                   "up", "far", "out/secret", "/proc/self/environ", f"../{folder.name}/one", "..")
        for name in escapes:
            response = client.get(name)
            assert isinstance(response, str), f"{name}: {response!r}"
        assert client.get("inside") == CONTENTS["below/deeper/file"]
        assert client.get("below/../one") == b"1"


@tap.test_for_each(ENGINES)
def a_request_line_without_end_gets_an_error_and_closes_only_its_connection(engine):
    with serving(engine) as (server, _):
        with Client(server) as endless:
            for _ in range(1024):  # more than the socket buffers hold
                endless.socket.sendall(b"x" * REQUEST_MAX_BYTES)
            assert endless.response() == "error: the request line is longer than 4096 bytes\n"
            endless.assert_closed()
        assert_serves(server)


@tap.test_for_each(ENGINES)
def a_client_that_keeps_sending_after_the_error_is_closed_as_idle(engine):
    with serving(engine, "--idle", "1") as (server, _):
        with Client(server) as endless:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                while True:  # until the server closes, or the test's time limit; large sends, so that input is always pending
                    endless.socket.sendall(bytes(4 * MEBIBYTE))
        assert_serves(server)


@tap.test_for_each(ENGINES)
def a_client_that_does_not_read_delays_no_other_and_gets_everything_when_it_reads(engine):
    data = random.Random(2).randbytes(BIG_BYTES)
    with serving(engine) as (server, outer):
        (outer / "folder" / "big").write_bytes(data)
        with Client(server, receive_buffer_bytes=4096) as stalled:
            stalled.request("big", "one")
            for _ in range(20):
                assert_serves(server)
            assert stalled.response() == data
            assert stalled.response() == b"1"


def wait_for_descriptors(server, count):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while descriptors_of(server) > count:
        assert time.monotonic() < deadline, f"{descriptors_of(server)} descriptors, not {count}"
        time.sleep(0.01)


@tap.test_for_each(ENGINES)
def a_stalled_client_is_closed_after_the_idle_time(engine):
    with serving(engine, "--idle", "1") as (server, outer):
        with open(outer / "folder" / "big", "wb") as file:
            file.truncate(64 * MEBIBYTE)
        before = descriptors_of(server)
        with Client(server) as silent, Client(server, receive_buffer_bytes=4096) as stalled:
            silent.socket.sendall(b"half a li")
            stalled.request("big")
            silent.assert_closed()
            wait_for_descriptors(server, before)
            assert len(receive(stalled.socket, 64 * MEBIBYTE)) < 64 * MEBIBYTE
        assert_serves(server)


@tap.test_for_each(ENGINES)
def clients_that_close_during_a_file_leave_no_descriptor_open(engine):
    with serving(engine) as (server, outer):
        with open(outer / "folder" / "big", "wb") as file:
            file.truncate(64 * MEBIBYTE)
        before = descriptors_of(server)
        for number in range(20):
            with Client(server) as client:
                client.request("big")
                assert receive(client.socket, 1000)
                if number % 2:  # close with RST
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wait_for_descriptors(server, before)


@tap.test_for_each(ENGINES)
def a_file_that_shrinks_after_its_length_was_sent_closes_the_connection(engine):
    with serving(engine) as (server, outer):
        big = outer / "folder" / "big"
        with open(big, "wb") as file:
            file.truncate(64 * MEBIBYTE)
        with Client(server) as client:
            client.request("big")
            assert client.responses.readline() == b"%d\n" % (64 * MEBIBYTE)
            os.truncate(big, 0)
            assert len(client.responses.read()) < 64 * MEBIBYTE
        assert_serves(server)


@tap.test_for_each({"option": ("--engine", "reactor"), "environment": ()})
def an_engine_without_operations_is_a_usage_error_of_one_line(options):
    status, output, errors = run_to_end(ASYNC_FILE, *options, "--listen", "127.0.0.1:0",
                                        environment={} if options else {"JINDUO_ENGINE": "reactor"})
    assert (status, output) == (USAGE, "") and errors.count("\n") == 1, (status, output, errors)
    assert errors.startswith("jd-async-file: engine 'reactor': ") and "Proactor" in errors and "--help" in errors, errors


@tap.test_for_each(ENGINES)
def the_environment_variable_selects_the_engine_unless_an_option_does(engine):
    for options, expected in (((), engine), (("--engine", "simulated"), "simulated")):
        with Server(ASYNC_FILE, *options, "--listen", "127.0.0.1:0", environment={"JINDUO_ENGINE": engine}) as server:
            assert server.ready[0].group(2) == expected, (options, server.ready[0].group(0))


@tap.test
def a_folder_that_is_missing_or_a_file_is_one_error_line_with_its_name():
    for folder in ("/nowhere/at/all", ASYNC_FILE):
        status, output, errors = run_to_end(ASYNC_FILE, "--listen", "127.0.0.1:0", folder)
        assert (status, output) == (1, "") and errors.count("\n") == 1 and folder in errors, (status, output, errors)


tap.main()
