#!/usr/bin/env python3
"""The example programs for Windows, run with Wine and driven over loopback by clients of this system.

Arguments: the source directory, Wine's program, the directory of the examples. jd-load and the hostile clients (scripts/chaos.py)
are those of build/release, or of the build directory in JD_NATIVE_BUILD; without them their tests are skipped.
"""

import contextlib
import json
import os
import pathlib
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "tests" / "programs"))
import tap  # noqa: E402

NATIVE = pathlib.Path(os.environ.get("JD_NATIVE_BUILD") or pathlib.Path(sys.argv[1]) / "build" / "release")
WINE, EXAMPLES = sys.argv[2], pathlib.Path(sys.argv[3])
PATIENCE = 60


def program(name):
    return [WINE, str(EXAMPLES / f"{name}.exe")]


@contextlib.contextmanager
def serving(name, *options, expect_status=0):
    """Starts a server on a free port; yields (process, port). At the end Ctrl-C must end it in an orderly way."""
    process = subprocess.Popen([*program(name), "--listen", "127.0.0.1:0", "--statistics", *options], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    try:
        line = process.stdout.readline()
        ready = re.match(r"listening on 127\.0\.0\.1:(\d+) engine=iocp threads=\d+", line)
        assert ready, line
        yield process, int(ready[1])
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == expect_status, (process.returncode, rest)
        assert re.search(r"^turns=\d+ ", rest, re.M), rest
    finally:
        process.kill()
        process.wait()


def connect(port):
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def receive(client, length):
    data = bytearray()
    while len(data) < length:
        part = client.recv(min(1 << 16, length - len(data)))
        assert part, f"the end after {len(data)} of {length} bytes"
        data += part
    return bytes(data)


def exchange(client, data):
    """Sends the data while its echo is received."""
    client.settimeout(0)
    sent, received = 0, bytearray()
    end = time.monotonic() + PATIENCE
    while len(received) < len(data):
        assert time.monotonic() < end, f"{len(received)} of {len(data)} bytes"
        progress = False
        with contextlib.suppress(BlockingIOError):
            if sent < len(data):
                sent += client.send(data[sent:sent + (1 << 16)])
                progress = True
        with contextlib.suppress(BlockingIOError):
            part = client.recv(1 << 16)
            assert part, "the end"
            received += part
            progress = True
        if not progress:
            time.sleep(0.001)
    client.settimeout(PATIENCE)
    assert bytes(received) == data, "other bytes came back"


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@tap.test
def what_is_sent_comes_back_to_many_connections():
    with serving("jd-echo") as (_, port):
        clients = [connect(port) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(b"message %d" % number)
        for number, client in enumerate(clients):
            expected = b"message %d" % number
            assert receive(client, len(expected)) == expected
            client.close()


@tap.test
def ten_thousand_frames_in_random_chunks_come_back():
    random.seed(1)
    frames = b"".join(struct.pack("!I", size) + random.randbytes(size)
                      for size in (random.randrange(64) for _ in range(10000)))
    with serving("jd-frame-echo") as (_, port):
        client = connect(port)
        position = 0
        while position < len(frames):
            chunk = frames[position:position + random.randrange(1, 4096)]
            client.sendall(chunk)
            position += len(chunk)
            if random.randrange(8) == 0:
                time.sleep(0.001)
        assert receive(client, len(frames)) == frames
        client.close()


@tap.test
def a_frame_of_16_mib_comes_back():
    payload = random.randbytes((16 << 20) - 4)
    with serving("jd-frame-echo") as (_, port):
        client = connect(port)
        exchange(client, struct.pack("!I", len(payload)) + payload)
        client.close()


@tap.test
def a_half_closed_connection_gets_its_answer():
    with serving("jd-echo") as (_, port):
        client = connect(port)
        client.sendall(b"the last words")
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 14) == b"the last words"
        assert client.recv(1) == b"", "there is more"
        client.close()


@tap.test
def resets_and_slow_readers_disturb_no_other_connection():
    with serving("jd-echo") as (_, port):
        slow = connect(port)
        slow.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                slow.send(bytes(1 << 16))
        for number in range(100):
            client = connect(port)
            client.sendall(b"x" * number)
            reset(client)
        client = connect(port)
        exchange(client, random.randbytes(1 << 20))
        reset(slow)
        client.close()


@tap.test
def a_thousand_connections_at_once_are_served():
    count = 1000
    with serving("jd-echo", "--threads", "2") as (_, port):
        clients = [connect(port) for _ in range(count)]
        for turn in range(2):
            for number, client in enumerate(clients):
                client.sendall(b"%d of turn %d" % (number, turn))
            for number, client in enumerate(clients):
                expected = b"%d of turn %d" % (number, turn)
                assert receive(client, len(expected)) == expected
        for number, client in enumerate(clients):
            if number % 3 == 0:
                reset(client)
            else:
                client.close()


@tap.test
def a_server_ends_while_hundreds_of_clients_are_connected():
    with serving("jd-frame-echo", "--threads", "2") as (_, port):
        clients = [connect(port) for _ in range(300)]
        for client in clients:
            client.sendall(struct.pack("!I", 3) + b"abc")
        for client in clients:
            assert receive(client, 7) == struct.pack("!I", 3) + b"abc"
    for client in clients:
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b"", "there is more"
        client.close()


@tap.test
def a_server_with_threads_serves_and_ends():
    with serving("jd-echo", "--threads", "3") as (_, port):
        clients = [connect(port) for _ in range(30)]
        for client in clients:
            exchange(client, b"threads")
            client.close()


@tap.test
def chat_delivers_to_all():
    with serving("jd-chat") as (_, port):
        clients = [connect(port) for _ in range(3)]
        time_out = time.monotonic() + PATIENCE
        heard = [b""] * 3
        for client in clients:
            client.settimeout(0.1)
        while not all(b"hello everybody" in text for text in heard):
            assert time.monotonic() < time_out, heard
            clients[0].sendall(b"hello everybody\r\n")
            for index, client in enumerate(clients):
                with contextlib.suppress(TimeoutError):
                    heard[index] += client.recv(4096)
        for client in clients:
            client.close()


def run_native(name, *options):
    client = NATIVE / name
    if not client.exists():
        raise tap.Skip(f"{client} is not built")
    done = subprocess.run([client, *options], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


LOADS = {
    "1000 connections": ("jd-frame-echo", "--connections=1000", "--messages=4000"),
    "random sizes in pieces": ("jd-frame-echo", "--connections=4", "--sizes=0-5000", "--write=97", "--messages=400"),
    "pipelined": ("jd-frame-echo", "--mode=pipeline", "--depth=64", "--connections=4", "--messages=10000"),
    "16 MiB": ("jd-frame-echo", "--size=16777212", "--messages=3"),
    "without frames": ("jd-echo", "--no-frames", "--size=4096", "--connections=20", "--messages=2000"),
    "connections that end by a reset": ("jd-frame-echo", "--mode=connect", "--connections=10", "--messages=500"),
    "connections that end by a FIN": ("jd-frame-echo", "--mode=connect", "--close=fin", "--connections=10", "--messages=500"),
}


@tap.test_for_each(LOADS)
def jd_load_gets_each_byte_back(load):
    name, *options = load
    with serving(name, "--threads", "2") as (_, port):
        counts = run_native("benchmarks/jd-load", *options, "--seconds=30", "--timeout=50", "--json", f"127.0.0.1:{port}")
        assert counts["messages"] > 0, counts


HOSTILE = {"jd-echo": ("jd-echo", "bytes"), "jd-frame-echo": ("jd-frame-echo", "frames", "--threads", "2"),
           "jd-chat": ("jd-chat", "lines")}


@tap.test_for_each(HOSTILE)
def hostile_clients_disturb_no_honest_one(setup):
    server, protocol, *options = setup
    with serving(server, *options) as (_, port):
        counts = run_native("tests/chaos/chaos", "--protocol", protocol, "--seconds", "7", "--seed", "18", "--connections", "200",
                            f"127.0.0.1:{port}")
        assert counts["honest_exchanges"] > 0, counts


def refused(name, *options):
    result = subprocess.run([*program(name), *options], capture_output=True, text=True, timeout=PATIENCE, check=False)
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result
    return result.returncode, lines[0]


@tap.test
def a_wrong_option_is_one_line_and_status_2():
    assert refused("jd-echo", "--threads", "x") == (2, "jd-echo: --threads 'x': must be a whole number from 0 to 128; see jd-echo --help")
    status, line = refused("jd-echo", "--engine", "kqueue")
    assert status == 2 and "iocp" in line, line
    status, line = refused("jd-echo", "--processes", "2", "--listen", "127.0.0.1:7")
    assert status == 2 and "fork" in line, line
    assert refused("jd-echo", "--reuse-port") == (2, "jd-echo: --reuse-port: this system has no SO_REUSEPORT; see jd-echo --help")


@tap.test
def an_engine_that_is_not_built_in_is_one_line():
    status, line = refused("jd-echo", "--engine", "io_uring")
    assert status == 1 and line == "jd-echo: engine io_uring is not available: not built in", (status, line)


@tap.test
def a_unix_domain_endpoint_is_refused_in_one_line():
    assert refused("jd-echo", "--listen", "unix:/tmp/jd") == (1, "jd-echo: unix:/tmp/jd: not supported by this engine or system")


@tap.test
def a_port_in_use_is_one_line():
    with serving("jd-echo") as (_, port):
        result = subprocess.run([*program("jd-echo"), "--listen", f"127.0.0.1:{port}"], capture_output=True, text=True,
                                timeout=PATIENCE, check=False)
        assert result.returncode == 1 and "address already in use" in result.stderr, result


if __name__ == "__main__":
    assert os.path.exists(WINE), WINE
    tap.main()
