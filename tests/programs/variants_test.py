#!/usr/bin/env python3
"""jd-frame-echo in its variants of the Reactor: with a thread pool, with sub-Reactors, in several processes.

Arguments: the paths of jd-echo, jd-frame-echo and jd-chat; only jd-frame-echo is used.
"""

import glob
import os
import re
import signal
import socket
import sys
import time

import tap
from server import DEADLINE_SECONDS, Server, assert_echo, connect, receive, run_to_end

FRAME_ECHO = sys.argv[2]
FAILED = 1
THREADS = (0, 2)
CONNECTIONS = 64
POLL_SECONDS = 0.02


def frame(body):
    return len(body).to_bytes(4, "big") + body


def numbered_frames(first, last):
    return b"".join(frame(b"%06d" % number) for number in range(first, last))


def connect_many(endpoint, count=CONNECTIONS):
    return [connect(endpoint) for _ in range(count)]


def close_all(clients):
    for client in clients:
        client.close()


# ---- thread pool ----

@tap.test_for_each({f"work {work_us} us, threads {threads}": (work_us, threads)
                    for work_us in (0, 50) for threads in THREADS})
def responses_from_the_pool_keep_the_order_of_each_connections_frames(setup):
    work_us, threads = setup
    with Server(FRAME_ECHO, "--listen", "127.0.0.1:0", "--threads", str(threads), "--pool", "4",
                "--work-us", str(work_us)) as server:
        clients = connect_many(server.endpoint, 20)
        try:
            # More than 16, the most frames of one connection that are in the pool at a time.
            for number, client in enumerate(clients):
                client.sendall(numbered_frames(number * 1000, number * 1000 + 200))
            for number, client in enumerate(clients):
                expected = numbered_frames(number * 1000, number * 1000 + 200)
                assert receive(client, len(expected)) == expected
        finally:
            close_all(clients)
        server.stop()


def pool_threads(server):
    """The user and system time, in clock ticks, of each thread of the server's pool (proc(5))."""
    times = []
    tasks = f"/proc/{server.process.pid}/task"
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/stat", encoding="ascii") as stat:
            name, _, fields = stat.read().rpartition(")")
        if "(pool" in name:
            times.append(sum(map(int, fields.split()[11:13])))
    return times


def wait_for_pool_threads(server, count):
    """Each thread sets its own name when it starts."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(pool_threads(server)) != count:
        assert time.monotonic() < deadline, pool_threads(server)
        time.sleep(0.01)


@tap.test
def the_work_is_done_by_the_threads_of_the_pool():
    with Server(FRAME_ECHO, "--listen", "127.0.0.1:0", "--pool", "3", "--work-us", "10000") as server:
        with connect(server.endpoint) as client:
            wait_for_pool_threads(server, 3)
            assert_echo(client, numbered_frames(0, 50))
            # 50 frames of 10 ms are 50 clock ticks; a busy machine may count far fewer.
            assert sum(pool_threads(server)) >= 2, pool_threads(server)
        server.stop()


@tap.test
def without_a_pool_the_process_has_one_thread():
    with Server(FRAME_ECHO, "--listen", "127.0.0.1:0", "--work-us", "100") as server, \
            connect(server.endpoint) as client:
        assert_echo(client, numbered_frames(0, 20))
        assert len(os.listdir(f"/proc/{server.process.pid}/task")) == 1
        server.stop()


@tap.test_for_each(THREADS)
def frames_in_the_pool_at_the_signal_are_answered_before_the_exit(threads):
    # 16 frames, the most of one connection in the pool; one thread works on each for 20 ms.
    sent = numbered_frames(0, 16)
    with Server(FRAME_ECHO, "--listen", "127.0.0.1:0", "--threads", str(threads), "--pool", "1",
                "--work-us", "20000") as server, connect(server.endpoint) as client:
        client.sendall(sent)
        # After the first response the server has read all frames: they arrived in one segment.
        received = receive(client, len(frame(b"000000")))
        server.signal()
        received += receive(client, len(sent))
        assert received == sent, f"{len(received)} of {len(sent)} bytes"
        client.close()
        assert server.wait() == (0, ""), server.process.returncode


@tap.test_for_each(THREADS)
def frames_in_the_pool_at_the_peers_fin_are_answered(threads):
    sent = numbered_frames(0, 50)
    with Server(FRAME_ECHO, "--listen", "127.0.0.1:0", "--threads", str(threads), "--pool", "2",
                "--work-us", "20000") as server, connect(server.endpoint) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        received = receive(client, len(sent))
        assert received == sent, f"{len(received)} of {len(sent)} bytes"
        assert client.recv(1) == b""
        server.stop()


@tap.test_for_each(THREADS)
def a_second_signal_does_not_wait_for_frames_in_the_pool(threads):
    # 16 frames that take seconds.
    with Server(FRAME_ECHO, "--listen", "127.0.0.1:0", "--threads", str(threads), "--pool", "1",
                "--work-us", "300000") as server, connect(server.endpoint) as client:
        client.sendall(numbered_frames(0, 16))
        receive(client, len(frame(b"000000")))
        signal_until_it_ends(server)
        received = receive(client, len(numbered_frames(0, 16)))
        assert len(received) < len(numbered_frames(0, 15)), "all frames have been answered"
        status, _ = server.wait()
        # The last signal may arrive after the loop, and with it the signal handler, has been destroyed.
        assert status in (0, -signal.SIGTERM), status


def signal_until_it_ends(server):
    """Sends signals until the server exits: signals sent while one is pending are merged (signal(7))."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while server.process.poll() is None:
        assert time.monotonic() < deadline, "the server has not exited"
        server.signal()
        time.sleep(0.01)


# ---- sub-Reactors ----

@tap.test_for_each({" ".join(options): options for options in (
    ("--load-balance", "round-robin"), ("--load-balance", "least"), ("--load-balance", "peer"), ("--reuse-port",))})
def every_load_balancing_policy_serves_connections(options):
    with Server(FRAME_ECHO, "--listen", "127.0.0.1:0", "--threads", "3", *options) as server:
        clients = connect_many(server.endpoint)
        try:
            for number, client in enumerate(clients):
                assert_echo(client, frame(b"connection %d" % number))
        finally:
            close_all(clients)
        server.stop()


def status_of_io_threads(server, field):
    """The values of a field in the status of each io thread, by thread name (proc(5)). The names exclude a sanitizer's own
    threads."""
    values = {}
    for path in glob.glob(f"/proc/{server.process.pid}/task/*/status"):
        with open(path, encoding="ascii") as status:
            lines = status.read().splitlines()
        if re.search(r"-\d+$", lines[0]):
            values[lines[0]] = [line.split()[1] for line in lines if field in line]
    return values


def switches_when_asleep(server):
    """The number of context switches of each thread, read when all sleep: then no work is left that would change it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while any(state != ["S"] for state in status_of_io_threads(server, "State:").values()):
        assert time.monotonic() < deadline, "an io thread does not sleep"
        time.sleep(0.01)
    return {name: sum(map(int, counts)) for name, counts in status_of_io_threads(server, "ctxt_switches").items()}


def threads_woken_by(server, clients):
    """The number of threads that woke up for an exchange with each of the clients."""
    before = switches_when_asleep(server)
    for client in clients:
        assert_echo(client, frame(b"hello"))
    after = switches_when_asleep(server)
    return sum(after[name] > before[name] for name in after)


@tap.test_for_each({"round-robin": ("round-robin", 3), "least": ("least", 3), "peer": ("peer", 1)})
def connections_of_one_peer_are_spread_over_the_threads_of_the_policy(setup):
    policy, expected = setup
    with Server(FRAME_ECHO, "--listen", "127.0.0.1:0", "--threads", "3", "--load-balance", policy) as server:
        clients = connect_many(server.endpoint, 12)
        try:
            for client in clients:
                assert_echo(client, frame(b"up"))  # now all connections are assigned
            actual = threads_woken_by(server, clients)
            assert actual == expected, f"{actual} threads"
        finally:
            close_all(clients)
        server.stop()


# ---- processes ----

class Port:
    """Reserves a TCP port that servers can share with SO_REUSEPORT. The reserving socket is bound but does not listen, so it
    gets no connections."""

    def __enter__(self):
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._holder.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{self._holder.getsockname()[1]}"

    def __exit__(self, kind, value, trace):
        self._holder.close()


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def sockets(pid):
    links = []
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
        except FileNotFoundError:
            pass
    return sum(link.startswith("socket:") for link in links)


def wait_until_gone(pid):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} still exists")


@tap.test_for_each(THREADS)
def two_servers_with_reuse_port_share_a_port(threads):
    options = ("--reuse-port", "--threads", str(threads))
    with Port() as endpoint, Server(FRAME_ECHO, "--listen", endpoint, *options) as one:
        with Server(FRAME_ECHO, "--listen", endpoint, *options) as other:
            idle = [sockets(server.process.pid) for server in (one, other)]
            clients = connect_many(endpoint)
            try:
                for client in clients:
                    assert_echo(client, frame(b"hello"))
                busy = [sockets(server.process.pid) for server in (one, other)]
                # The kernel assigns connections by a hash: the probability that a server gets none of 64 is negligible.
                assert all(after > before for before, after in zip(idle, busy)), (idle, busy)
                assert sum(busy) - sum(idle) == CONNECTIONS, (idle, busy)
            finally:
                close_all(clients)
            other.stop()
        with connect(endpoint) as client:
            assert_echo(client, frame(b"one server is left"))
        one.stop()


@tap.test_for_each(THREADS)
def connections_are_spread_over_the_processes(threads):
    with Port() as endpoint, Server(FRAME_ECHO, "--listen", endpoint, "--processes", "2", "--threads", str(threads),
                                    endpoints=2) as server:
        processes = children(server.process.pid)
        assert len(processes) == 2 and sockets(server.process.pid) == 0, processes
        idle = [sockets(process) for process in processes]
        clients = connect_many(endpoint)
        try:
            for client in clients:
                assert_echo(client, frame(b"hello"))
            busy = [sockets(process) for process in processes]
            assert all(after > before for before, after in zip(idle, busy)), (idle, busy)
        finally:
            close_all(clients)
        server.stop()


@tap.test_for_each({"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM})
def a_signal_to_all_processes_at_once_drains_and_ends_each(number):
    # As a terminal or a service manager does. Frames are in the pool at that moment and must be answered.
    sent = numbered_frames(0, 16)
    with Port() as endpoint, Server(FRAME_ECHO, "--listen", endpoint, "--processes", "2", "--pool", "8",
                                    "--work-us", "5000", endpoints=2) as server:
        clients = connect_many(endpoint, 8)
        processes = children(server.process.pid)
        try:
            for client in clients:
                client.sendall(sent)
            # One thread for each connection, so that no connection is far ahead of the others.
            received = [receive(client, len(frame(b"000000"))) for client in clients]
            for process in processes:
                os.kill(process, number)
            server.signal(number)
            for client, first in zip(clients, received):
                assert first + receive(client, len(sent)) == sent
        finally:
            close_all(clients)
        assert server.wait() == (0, ""), server.process.returncode
        for process in processes:
            wait_until_gone(process)


@tap.test
def the_children_exit_when_their_parent_is_killed():
    with Port() as endpoint, Server(FRAME_ECHO, "--listen", endpoint, "--processes", "2", endpoints=2) as server:
        processes = children(server.process.pid)
        assert len(processes) == 2
        with connect(endpoint) as client:
            assert_echo(client, frame(b"hello"))
            server.signal(signal.SIGKILL)
            assert client.recv(1) == b"", "bytes instead of end of file"
        for process in processes:
            wait_until_gone(process)


@tap.test
def a_killed_child_ends_the_others_and_is_reported():
    with Port() as endpoint, Server(FRAME_ECHO, "--listen", endpoint, "--processes", "3", endpoints=3) as server:
        victim, *others = children(server.process.pid)
        os.kill(victim, signal.SIGKILL)
        assert server.wait() == (FAILED, f"jd-frame-echo: process {victim} was killed by a signal: Killed\n")
        for process in others:
            wait_until_gone(process)


@tap.test
def processes_that_cannot_listen_print_the_reason_and_all_exit():
    with socket.create_server(("127.0.0.1", 0)) as holder:
        endpoint = f"127.0.0.1:{holder.getsockname()[1]}"
        status, output, errors = run_to_end(FRAME_ECHO, "--listen", endpoint, "--processes", "2")
        assert (status, output) == (FAILED, ""), (status, output)
        assert set(errors.splitlines()) == {f"jd-frame-echo: {endpoint}: address already in use"}, errors


tap.main()
