#!/usr/bin/env python3
"""jd-echo and jd-frame-echo with foreign clients, socat and OpenBSD's netcat: all bytes that a client sends before its FIN
come back, and the client exits when the server closes.

Arguments: the paths of jd-echo and jd-frame-echo.
"""

import hashlib
import os
import select
import shutil
import subprocess
import sys
import tempfile

import tap
from server import DEADLINE_SECONDS, Server, assert_echo, available_engines, connect, is_for_windows

ECHO, FRAME_ECHO = sys.argv[1:3]

THREADS = (0, 2)
MEBIBYTE = 1 << 20
LARGE_BYTES = 12 * MEBIBYTE + 345
MAX_FRAME = 1 << 16
# socat's timeout after end of file on one side; its default is 0.5 s (socat(1), -t). Here it is so long that only the server's
# FIN ends socat in time, and a server that does not close is a failure.
SOCAT_TIMEOUT = f"-t{DEADLINE_SECONDS}"


def frame(body):
    return len(body).to_bytes(4, "big") + body


def pattern(length):
    """Bytes in which a missing, duplicated or moved part is detected."""
    pieces = bytearray()
    while len(pieces) < length:
        pieces += hashlib.sha256(len(pieces).to_bytes(8, "big")).digest() * 3
    return bytes(pieces[:length])


def frames(length):
    """length bytes of payload in frames of many sizes."""
    data = pattern(length)
    pieces, begin, size = [], 0, 0
    while begin < length:
        pieces.append(frame(data[begin:begin + size]))
        begin, size = begin + size, (size * 5 + 3) % MAX_FRAME
    return b"".join(pieces)


PROGRAMS = {ECHO: pattern, FRAME_ECHO: frames}  # with the input that each sends back unchanged

SETUPS = {f"{os.path.basename(program)} {engine} threads {threads}": (program, engine, threads)
          for program in PROGRAMS for engine in available_engines(program) for threads in THREADS}


def serve(setup, *options, listen="127.0.0.1:0"):
    program, engine, threads = setup
    return Server(program, "--engine", engine, "--listen", listen, "--threads", str(threads), *options)


def client_command(name, endpoint, option=""):
    """The command of a client, named as in CLIENTS. option is appended to socat's address."""
    if not shutil.which(name):
        raise tap.Skip(f"{name} is not installed")
    if endpoint.startswith("unix:"):
        path = endpoint.removeprefix("unix:")
        return ["nc", "-N", "-U", path] if name == "nc" else ["socat", SOCAT_TIMEOUT, "-", f"UNIX-CONNECT:{path}{option}"]
    host, port = endpoint.split(":")
    return ["nc", "-N", host, port] if name == "nc" else ["socat", SOCAT_TIMEOUT, "-", f"TCP:{endpoint}{option}"]


CLIENTS = ("socat", "nc")  # nc: -N sends FIN when its input ends (nc(1))


def assert_comes_back(command, data, expected=None):
    """Runs the client with data as its input; its complete output must be data, or the expected bytes."""
    expected = data if expected is None else expected
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as sink, tempfile.TemporaryFile() as errors:
        source.write(data)
        source.seek(0)
        status = subprocess.run(command, stdin=source, stdout=sink, stderr=errors, check=False,
                                timeout=2 * DEADLINE_SECONDS).returncode
        sink.seek(0)
        errors.seek(0)
        received = sink.read()
        assert status == 0, f"{command[0]}: exit status {status}, {len(received)} bytes: {errors.read().decode()}"
    assert len(received) == len(expected), f"{len(received)} of {len(expected)} bytes"
    assert hashlib.sha256(received).digest() == hashlib.sha256(expected).digest(), "not the same bytes"


@tap.test_for_each({f"{client}, {name}": (client, setup) for client in CLIENTS for name, setup in SETUPS.items()})
def bytes_sent_before_the_fin_come_back_complete(parameters):
    client, setup = parameters
    with serve(setup) as server:
        for length in (1, 5, 100, 70_000):
            assert_comes_back(client_command(client, server.endpoint), PROGRAMS[setup[0]](length))
        server.stop()


@tap.test_for_each({f"{client}, {name}": (client, setup) for client in CLIENTS for name, setup in SETUPS.items()})
def a_client_that_sends_only_a_fin_gets_a_fin(parameters):
    client, setup = parameters
    with serve(setup) as server:
        assert_comes_back(client_command(client, server.endpoint), b"")
        server.stop()


@tap.test_for_each({f"{client}, {name}": (client, setup) for client in CLIENTS for name, setup in SETUPS.items()})
def megabytes_come_back_complete(parameters):
    client, setup = parameters
    with serve(setup) as server:
        assert_comes_back(client_command(client, server.endpoint), PROGRAMS[setup[0]](LARGE_BYTES))
        server.stop()


@tap.test_for_each({f"{client}, {name}": (client, setup) for client in CLIENTS for name, setup in SETUPS.items()})
def megabytes_come_back_complete_over_a_unix_domain_socket(parameters):
    client, setup = parameters
    if is_for_windows(setup[0]):
        raise tap.Skip("Unix-domain endpoints are not supported on Windows")
    with tempfile.TemporaryDirectory() as directory, serve(setup, listen=f"unix:{directory}/socket") as server:
        assert_comes_back(client_command(client, server.endpoint), PROGRAMS[setup[0]](LARGE_BYTES))
        server.stop()


@tap.test_for_each(SETUPS)
def socat_that_half_closes_receives_everything(setup):
    """shut-down: socat calls shutdown(2) for its writing side (socat(1))."""
    with serve(setup) as server:
        assert_comes_back(client_command("socat", server.endpoint, ",shut-down"), PROGRAMS[setup[0]](MEBIBYTE))
        server.stop()


@tap.test_for_each(SETUPS)
def socat_that_closes_instead_of_half_closing_does_not_affect_others(setup):
    """shut-close: socat closes the socket at the end of its input, before the echo has arrived, so its host answers the echo
    with a reset."""
    data = PROGRAMS[setup[0]](MEBIBYTE)
    with serve(setup) as server:
        with connect(server.endpoint) as other:
            for _ in range(5):
                command = client_command("socat", server.endpoint, ",shut-close")
                subprocess.run(command, input=data, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
                               timeout=2 * DEADLINE_SECONDS)
                assert_echo(other, frame(b"still there"))
        server.stop()


@tap.test_for_each(SETUPS)
def a_connection_of_socat_that_only_sends_is_closed_after_its_fin(setup):
    """-u: socat does not read; the echo stays in the kernel's buffers or is answered by a reset."""
    with serve(setup) as server:
        command = client_command("socat", server.endpoint)
        subprocess.run([command[0], "-u", *command[1:]], input=PROGRAMS[setup[0]](1000), check=True,
                       stdout=subprocess.DEVNULL, timeout=2 * DEADLINE_SECONDS)
        with connect(server.endpoint) as other:
            assert_echo(other, frame(b"next"))
        server.stop()


def read_some(stream, length):
    data = b""
    while len(data) < length:
        ready, _, _ = select.select([stream], [], [], DEADLINE_SECONDS)
        piece = os.read(stream.fileno(), length - len(data)) if ready else b""
        assert piece, f"{len(data)} of {length} bytes"
        data += piece
    return data


@tap.test_for_each(SETUPS)
def a_client_that_has_not_closed_exits_when_the_server_closes(setup):
    """Only socat: nc reads its own input to the end after the server has closed."""
    greeting = frame(b"hello")
    with serve(setup) as server:
        command = client_command("socat", server.endpoint)
        command[1] = "-t0"  # do not wait for more input after the server's FIN
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            try:
                client.stdin.write(greeting)
                client.stdin.flush()
                assert read_some(client.stdout, len(greeting)) == greeting
                server.signal()
                assert client.wait(timeout=DEADLINE_SECONDS) == 0, client.returncode
                assert client.stdout.read() == b"", "more than the echo"
            finally:
                client.kill()
        assert server.wait() == (0, ""), server.process.returncode


FRAME_SETUPS = {name: setup for name, setup in SETUPS.items() if setup[0] == FRAME_ECHO}


@tap.test_for_each({f"{client}, {name}": (client, setup)
                    for client in CLIENTS for name, setup in FRAME_SETUPS.items()})
def a_frame_cut_off_by_the_fin_is_dropped_and_the_frames_before_it_come_back(parameters):
    client, setup = parameters
    whole = frames(100_000)
    with serve(setup) as server:
        for missing in (1, 3, 7):
            assert_comes_back(client_command(client, server.endpoint), whole + frame(b"x" * 8)[:-missing], whole)
        server.stop()


@tap.test_for_each({f"{client}, {name}": (client, setup)
                    for client in CLIENTS for name, setup in FRAME_SETUPS.items()})
def a_frame_that_is_too_long_closes_the_connection_after_the_frames_before_it(parameters):
    client, setup = parameters
    with serve(setup, "--max-frame", "1000") as server:
        whole = frame(b"a" * 996) + frame(b"") + frame(b"b")
        assert_comes_back(client_command(client, server.endpoint), whole + frame(b"c" * 997)[:50], whole)
        server.stop()


tap.main()
