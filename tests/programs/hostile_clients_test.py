#!/usr/bin/env python3
"""Clients that misbehave, against jd-echo on each engine and with each option: the server keeps no descriptor of theirs, and
serves others.

Arguments: the path of jd-echo.
"""

import socket
import struct
import sys
import time

import tap
from server import DEADLINE_SECONDS, Server, assert_echo, available_engines, connect, descriptors_of

ECHO = sys.argv[1]
CROWD = 20
ROUNDS = 5
YOUNG_SERVERS = 10
POLL_SECONDS = 0.02
RESET = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER

OPTIONS = {"": (), " busy-poll": ("--busy-poll", "200"), " threads": ("--threads", "2")}
SETUPS = {f"{engine}{name}": ("--engine", engine, *options)
          for engine in available_engines(ECHO) for name, options in OPTIONS.items()}
if "io_uring" in available_engines(ECHO):
    SETUPS["io_uring zero-copy"] = ("--engine", "io_uring", "--zero-copy", "1")


def wait_for_descriptors(server, before):
    """There may have been one more for a moment when they were counted: a thread that starts reads files of the system."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while descriptors_of(server) > before:
        assert time.monotonic() < deadline, f"{descriptors_of(server)} descriptors, before {before}"
        time.sleep(POLL_SECONDS)


def attempt(action, *arguments):
    """What a client does whatever became of its connection."""
    try:
        action(*arguments)
    except OSError:
        pass


def end_by_fin(client):
    client.close()


def end_by_reset(client):
    attempt(client.setsockopt, socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()


def send_urgent_data(client):
    for _ in range(3):
        attempt(client.send, b"n" * 60000)
        attempt(client.send, b"!", socket.MSG_OOB)
        attempt(client.send, b"m" * 100)
        attempt(client.recv, 200000)


def send_and_never_read(client):
    for _ in range(10):
        attempt(client.send, b"n" * 100000)


def half_close_with_input_unread(client):
    attempt(client.send, b"n" * 50000)
    attempt(client.shutdown, socket.SHUT_WR)


def do_nothing(client):
    pass


BEHAVIOURS = (send_urgent_data, send_and_never_read, half_close_with_input_unread, do_nothing)


@tap.test_for_each({f"{behaviour.__name__} {end.__name__}, {name}": (behaviour, end, options)
                    for behaviour in BEHAVIOURS for end in (end_by_fin, end_by_reset)
                    for name, options in SETUPS.items()})
def clients_that_misbehave_and_end_leave_no_descriptor_behind(setup):
    behave, end, options = setup
    with Server(ECHO, "--listen", "127.0.0.1:0", *options) as server:
        with connect(server.endpoint) as client:
            assert_echo(client, b"before")  # so that the server has started, and holds nothing for a moment only
            before = descriptors_of(server) - 1
        for _ in range(ROUNDS):
            crowd = [connect(server.endpoint) for _ in range(CROWD)]
            for client in crowd:
                client.setblocking(False)
                behave(client)
            for client in crowd:
                end(client)
        wait_for_descriptors(server, before)
        with connect(server.endpoint) as client:
            assert_echo(client, b"after")
        server.stop()


@tap.test_for_each({name: options for name, options in SETUPS.items()})
def clients_that_send_urgent_data_right_after_the_start_leave_no_descriptor_behind(options):
    # While a kernel thread still works off what the start has left, it may interrupt the server in the middle of a receive.
    for _ in range(YOUNG_SERVERS):
        with Server(ECHO, "--listen", "127.0.0.1:0", *options) as server:
            with connect(server.endpoint) as client:
                assert_echo(client, b"before")
                before = descriptors_of(server) - 1
            for _ in range(ROUNDS):
                crowd = [connect(server.endpoint) for _ in range(CROWD)]
                for client in crowd:
                    client.send(b"n" * 100)
                    client.send(b"!", socket.MSG_OOB)
                for client in crowd:
                    end_by_reset(client)
            wait_for_descriptors(server, before)
            server.stop()


if __name__ == "__main__":
    tap.main()
