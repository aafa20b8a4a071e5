"""Starts a server program under test, reads its ready lines, and ends it by its process id; helpers for its clients."""

import ctypes
import errno
import functools
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time

# A program for Windows (.exe) runs with Wine, whose path is in this variable of the environment. There the signal that ends it in
# an orderly way is SIGINT, which is Ctrl-C.
WINE_VARIABLE = "JD_WINE"

DEADLINE_SECONDS = 90 if WINE_VARIABLE in os.environ else 30

READY_LINE = re.compile(r"listening on (\S+) engine=(\S+) threads=(\d+)")


def is_for_windows(program):
    return str(program).endswith(".exe")


def command_line(program, *options):
    return [os.environ[WINE_VARIABLE], program, *options] if is_for_windows(program) else [program, *options]


class Server:
    """with Server(program, "--listen", ...) as server: inside, the server has printed its ready lines."""

    def __init__(self, program, *options, endpoints=1, environment=None, **more):
        self.stop_signal = signal.SIGINT if is_for_windows(program) else signal.SIGTERM
        self.process = subprocess.Popen(command_line(program, *options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=environment_with(environment), **more)
        try:
            self.ready = [self._read_ready_line() for _ in range(endpoints)]
        except BaseException:
            self._end()
            raise
        self.endpoints = [match.group(1) for match in self.ready]
        self.endpoint = self.endpoints[0]

    def _read_ready_line(self):
        line = b""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            byte = os.read(self.process.stdout.fileno(), 1) if ready else b""
            if not byte:
                raise AssertionError(f"no ready line but {line!r}; standard error: {self._end().decode()}")
            line += byte
        match = READY_LINE.fullmatch(line.decode().rstrip("\r\n"))
        assert match, f"not a ready line: {line!r}"
        return match

    def signal(self, number=None):
        self.process.send_signal(self.stop_signal if number is None else number)

    def wait(self):
        """Waits for the exit. Returns the exit status and the standard error."""
        _, errors = self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode, errors.decode()

    def stop(self):
        """Sends the signal that ends it and expects exit status 0; a sanitizer report makes it another status."""
        self.signal()
        status, errors = self.wait()
        assert status == 0, f"exit status {status}; standard error: {errors}"

    def _end(self):
        if self.process.poll() is None:
            self.process.kill()
        if self.process.stdout.closed:
            return b""
        return self.process.communicate(timeout=DEADLINE_SECONDS)[1]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        errors = self._end()
        if kind is not None and errors:
            print("# standard error of the server:", *errors.decode().splitlines(), sep="\n# ")


def refuse_rings():
    """A preexec_fn that makes io_uring_setup(2) fail with EPERM, by a seccomp filter such as containers have (seccomp(2))."""
    io_uring_setup = 425  # on every architecture (asm-generic/unistd.h)
    load_number, jump_if_equal, return_value = 0x20, 0x15, 0x06  # linux/bpf_common.h, linux/filter.h
    allow, fail_with = 0x7FFF0000, 0x00050000  # linux/seccomp.h
    instructions = ((load_number, 0, 0, 0), (jump_if_equal, 0, 1, io_uring_setup),
                    (return_value, 0, 0, fail_with | errno.EPERM), (return_value, 0, 0, allow))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *words) for words in instructions))
    program = ctypes.create_string_buffer(struct.pack("HP", len(instructions), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    set_no_new_privileges, set_seccomp, filtered = 38, 22, 2  # linux/prctl.h
    if libc.prctl(set_no_new_privileges, 1, 0, 0, 0) < 0 or libc.prctl(set_seccomp, filtered, program, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl")


def environment_with(changes):
    """The environment of this process without JINDUO_ENGINE, with changes."""
    environment = {name: value for name, value in os.environ.items() if name != "JINDUO_ENGINE"}
    environment.update(changes or {})
    return environment


def run_to_end(program, *options, environment=None, **more):
    """Runs a program until it exits. Returns its exit status, standard output and standard error."""
    done = subprocess.run(command_line(program, *options), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          timeout=DEADLINE_SECONDS, env=environment_with(environment), **more)
    return done.returncode, done.stdout, done.stderr


def engines(program):
    """The engines in a program's --help: "auto (default), NAME, ..."."""
    status, output, errors = run_to_end(program, "--help")
    assert status == 0, errors
    choice = re.search(r"--engine NAME\s+auto \(default\),((?:\s+\w+,?)+)$", output, re.MULTILINE)
    assert choice, f"no list of engines in the help: {output}"
    return re.findall(r"\w+", choice.group(1))


@functools.cache
def available_engines(program):
    """The engines of the program that are available here, without "proactor", which selects one of the others."""
    return [engine for engine in engines(program) if engine != "proactor" and _refusal(program, engine) is None]


def _refusal(program, engine):
    """The reason why the program cannot use the engine, or None."""
    try:
        with Server(program, "--engine", engine, "--listen", "127.0.0.1:0") as server:
            server.stop()
        return None
    except AssertionError as refusal:
        return str(refusal)


def descriptors_of(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def connect(endpoint, receive_buffer_bytes=0):
    """Returns a blocking socket connected to an endpoint, which is written as in the ready lines."""
    if endpoint.startswith("unix:"):
        path = endpoint.removeprefix("unix:")
        family, address = socket.AF_UNIX, "\0" + path[1:] if path.startswith("@") else path
    else:
        host, _, port = endpoint.rpartition(":")
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        address = (host.strip("[]").replace("*", "127.0.0.1"), int(port))
    client = socket.socket(family)
    try:
        client.settimeout(DEADLINE_SECONDS)
        if receive_buffer_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        client.connect(address)
        if family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        client.close()
        raise
    return client


def receive(client, length):
    """Receives exactly length bytes, or fewer if the peer closes before."""
    received = bytearray()
    while len(received) < length:
        piece = client.recv(min(length - len(received), 1 << 20))
        if not piece:
            break
        received += piece
    return bytes(received)


def assert_echo(client, sent, expected=None):
    """Sends and checks that the same bytes come back, or the expected ones."""
    expected = sent if expected is None else expected
    client.sendall(sent)
    received = receive(client, len(expected))
    assert received == expected, f"{len(received)} of {len(expected)} bytes, first: {received[:40]!r}"


class Barrier:
    """pass_through returns when the server has read everything that was sent on other connections before the call: each of
    its loops has echoed a message that was sent later. This holds on loopback: send puts the bytes into the receiver's queue
    before it returns, and a loop handles its connections in the order in which they became ready, or in one turn."""

    def __init__(self, endpoint, loops, message):
        # The server assigns connections to its loops round-robin.
        self._clients = []
        self._message = message
        for _ in range(max(1, loops)):
            self._clients.append(connect(endpoint))

    def pass_through(self):
        for client in self._clients:
            assert_echo(client, self._message)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for client in self._clients:
            client.close()
