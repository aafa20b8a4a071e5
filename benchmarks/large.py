"""Rows of messages from 4 KiB to 1 MiB: jinduo's Reactor beside a server written directly on epoll and other libraries, and its
io_uring beside its Reactor. The sizes around the powers of two are there because most buffers are powers of two: a buffer
that is a few bytes short of one costs a call of its own for each message.
"""

import functools

from peers import PEERS, Metric, PeerRow, own_options, run_server

KIB = 1024
REACTOR_GOAL = 0.98         # beside the best of raw and the libraries
URING_GOAL = 0.95           # beside the Reactor
URING_LARGE_GOAL = 1.0      # the same, for messages of URING_LARGE_BYTES and more
URING_LARGE_BYTES = 128 * KIB
SIZES = {f"{kib} KiB" if kib < KIB else "1 MiB": kib * KIB for kib in (4, 16, 32, 64, 128, 256, 1024)}
CONNECTIONS = (1, 8, 50)
AROUND = {f"{size * KIB + by} B": size * KIB + by for size in (4, 16, 32, 64, 128, 256, 1024) for by in (-1, 1)}
AROUND_CONNECTIONS = 8


def metrics(size):
    beside = ("raw", *PEERS)
    uring_goal = URING_LARGE_GOAL if size >= URING_LARGE_BYTES else URING_GOAL
    return (Metric("messages_per_second", "messages/s", "{:.0f}", False, REACTOR_GOAL, beside),
            Metric("server_cpu_us_per_message", "server CPU, us per message", "{:.2f}", True, REACTOR_GOAL, beside),
            Metric("messages_per_second", "messages/s, io_uring", "{:.0f}", False, uring_goal, ("jinduo",), "io_uring"),
            Metric("server_cpu_percent", "server core, %", "{:.0f}", against=()),
            Metric("cpu_percent", "load core, %", "{:.0f}", against=()))


def row(name, size, connections, load, server="jd-echo", word=(), raw=()):
    """word, raw: what the libraries' echo servers and raw-epoll are told besides; raw None: it cannot take part."""
    own = tuple(f"--{part}" for part in word if part == "discard")
    sides = {"jinduo": (server, (*own_options("reactor"), *own)), "io_uring": (server, (*own_options("io_uring"), *own))}
    if raw is not None:
        sides["raw"] = ("raw-epoll", raw)
    sides.update({peer: (f"peers/echo-{peer}", word) for peer in PEERS})
    options = ("--json", "--verify", "sample", "--connections", str(connections), "--size", str(size), *load)
    return PeerRow(name, sides, functools.partial(run_server, load="jd-load", load_options=options), metrics(size))


def echo_row(text, size, connections):
    return row(f"echo {text} x {connections}", size, connections, ("--mode", "ping-pong", "--no-frames"))


def rows():
    return (
        *(echo_row(text, size, connections) for text, size in SIZES.items() for connections in CONNECTIONS),
        *(echo_row(text, size, AROUND_CONNECTIONS) for text, size in AROUND.items()),
        *(row(f"frames of {text} x 8", size, 8, ("--mode", "ping-pong", "--header-bytes", "4"), server="jd-frame-echo",
              word=("frames",), raw=None) for text, size in SIZES.items()),
        *(row(f"one way {text} x 8", size, 8, ("--mode", "stream", "--no-frames"), word=("discard",), raw=("--discard",))
          for text, size in SIZES.items()),
    )
