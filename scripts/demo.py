#!/usr/bin/env python3
"""Serves frames with jd-frame-echo, on one loop and then with two sub-Reactors, puts verified load on it, and shows what
came of it."""

import argparse
import json
import os
import select
import signal
import subprocess
import sys

CONNECTIONS = 100
READY_SECONDS = 10
STOP_SECONDS = 10
BUSY_PERCENT = 90


class Failure(Exception):
    """A program did not do what it must."""


def start_server(build, threads):
    """Returns the server and where it listens, from its ready line."""
    server = subprocess.Popen([os.path.join(build, "examples", "jd-frame-echo"), "--listen", "127.0.0.1:0",
                               "--threads", str(threads)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    ready, _, _ = select.select([server.stdout], [], [], READY_SECONDS)
    words = server.stdout.readline().split() if ready else []
    if words[:2] != ["listening", "on"] or len(words) < 3:
        stop(server)
        raise Failure("jd-frame-echo did not say that it is ready")
    return server, words[2]


def stop(server):
    """By its pid and in good order: it drains. Returns its exit status."""
    server.terminate()
    try:
        return server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()


def measure(build, threads, seconds):
    server, address = start_server(build, threads)
    try:
        load = subprocess.run([os.path.join(build, "benchmarks", "jd-load"), address, "--json", "--server-pid",
                               str(server.pid), "--mode", "pipeline", "--depth", "16", "--connections", str(CONNECTIONS),
                               "--sizes", "1-4000", "--verify", "all", "--warmup", "0.5", "--seconds", str(seconds)],
                              stdout=subprocess.PIPE, text=True, check=False)
    finally:
        status = stop(server)
    if status != 0:
        raise Failure(f"jd-frame-echo ended with status {status}")
    if not load.stdout:
        raise Failure("jd-load measured nothing")
    figures = json.loads(load.stdout)
    figures["errors"] = sum(figures[kind] for kind in ("verify_errors", "connect_errors", "io_errors"))
    if load.returncode != 0 and figures["errors"] == 0:
        raise Failure(f"jd-load: {figures['end']}")
    return figures


def print_table(results):
    columns = (
        ("messages/s", lambda run: f"{run['messages_per_second']:,.0f}"),
        ("MB/s", lambda run: f"{run['bytes_per_second'] / 1e6:,.0f}"),
        ("p50 ms", lambda run: f"{run['latency_us']['p50'] / 1000:.2f}"),
        ("p99 ms", lambda run: f"{run['latency_us']['p99'] / 1000:.2f}"),
        ("verified", lambda run: f"{run['messages']:,}"),
        ("errors", lambda run: str(run["errors"])),
        ("server CPU", lambda run: f"{run['server_cpu_percent']:.0f} %"),
        ("load CPU", lambda run: f"{run['cpu_percent']:.0f} %"),
    )
    print("\n" + " " * 18 + "".join(f"{name:>12}" for name, _ in columns))
    for name, run in results.items():
        print(f"{name:<18}" + "".join(f"{cell(run):>12}" for _, cell in columns))
    print("CPU: 100 % is one core.\n")


def print_conclusion(results):
    replies = sum(run["messages"] for run in results.values())
    print(f"{CONNECTIONS} connections, 16 frames of 1 to 4000 bytes in flight on each; each of the {replies:,} replies was\n"
          "compared, byte by byte, with what had been sent, and none was wrong.")
    if all(run["cpu_percent"] >= BUSY_PERCENT for run in results.values()):
        print("The load kept its core busy all the time: it, and not the server, was the limit here.")
    print("\nNext: README.md has the smallest server; docs/guide.md a first one of your own in ten minutes; examples/ has these;\n"
          "./dev bench compares it with an epoll loop written by hand.")


def seconds(text):
    value = float(text)
    if not 0 < value <= 600:
        raise ValueError
    return value


def main():
    parser = argparse.ArgumentParser(prog="./dev demo", usage="%(prog)s [--seconds S]", description=__doc__)
    parser.add_argument("build", help=argparse.SUPPRESS)  # where ./dev has built it
    parser.add_argument("--seconds", type=seconds, default=5, help="of each measurement (default 5, at most 600)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the server is stopped
    results = {}
    try:
        for name, threads in (("one loop", 0), ("2 sub-Reactors", 2)):
            print(f"{name}: {CONNECTIONS} connections for {arguments.seconds:g} seconds ...", flush=True)
            results[name] = measure(arguments.build, threads, arguments.seconds)
    except (Failure, OSError, ValueError) as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    print_table(results)
    if any(run["errors"] > 0 for run in results.values()):
        print("demo: replies were wrong or connections were lost, see the column of errors", file=sys.stderr)
        return 1
    print_conclusion(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
