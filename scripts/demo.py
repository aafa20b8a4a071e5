#!/usr/bin/env python3
"""Runs jd-frame-echo on one loop, then with two sub-Reactors, generates verified load with jd-load, and prints throughput,
latency and CPU use."""

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
    """A program failed."""


def start_server(build, threads):
    """Returns the process of the server and the endpoint of its ready line."""
    server = subprocess.Popen([os.path.join(build, "examples", "jd-frame-echo"), "--listen", "127.0.0.1:0",
                               "--threads", str(threads)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    ready, _, _ = select.select([server.stdout], [], [], READY_SECONDS)
    words = server.stdout.readline().split() if ready else []
    if words[:2] != ["listening", "on"] or len(words) < 3:
        stop(server)
        raise Failure(f"jd-frame-echo: no ready line within {READY_SECONDS} s")
    return server, words[2]


def stop(server):
    """Sends SIGTERM to the server, which drains its connections. Returns its exit status."""
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
        raise Failure(f"jd-frame-echo: exit status {status}")
    if not load.stdout:
        raise Failure(f"jd-load: printed no result, exit status {load.returncode}")
    figures = json.loads(load.stdout)
    figures["errors"] = sum(figures[kind] for kind in ("verify_errors", "connect_errors", "io_errors"))
    if load.returncode != 0 and figures["errors"] == 0:
        raise Failure(f"jd-load: the run ended early: {figures['end']}")
    return figures


def print_table(results):
    columns = (
        ("messages/s", lambda run: f"{run['messages_per_second']:,.0f}"),
        ("MB/s", lambda run: f"{run['bytes_per_second'] / 1e6:,.0f}"),
        ("p50 ms", lambda run: f"{run['latency_us']['p50'] / 1000:.2f}"),
        ("p99 ms", lambda run: f"{run['latency_us']['p99'] / 1000:.2f}"),
        ("replies", lambda run: f"{run['messages']:,}"),
        ("errors", lambda run: str(run["errors"])),
        ("server CPU", lambda run: f"{run['server_cpu_percent']:.0f} %"),
        ("load CPU", lambda run: f"{run['cpu_percent']:.0f} %"),
    )
    print("\n" + " " * 18 + "".join(f"{name:>12}" for name, _ in columns))
    for name, run in results.items():
        print(f"{name:<18}" + "".join(f"{cell(run):>12}" for _, cell in columns))
    print("replies: received and verified; CPU: 100 % is one core.\n")


def print_conclusion(results):
    replies = sum(run["messages"] for run in results.values())
    print(f"{CONNECTIONS} connections with 16 frames of 1 to 4000 bytes in flight on each. All {replies:,} replies were compared\n"
          "byte by byte with the sent frames; none was wrong.")
    if all(run["cpu_percent"] >= BUSY_PERCENT for run in results.values()):
        print("The load generator used its core completely, so it was the limit, not the server.")
    print("\nNext: README.md shows the smallest server; docs/guide.md helps you to write one in ten minutes; examples/ contains the\n"
          "example programs; ./dev bench compares jinduo with a server written directly on epoll.")


def seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError(f"'{text}': must be a number more than 0, at most 600")
    return value


def main():
    parser = argparse.ArgumentParser(prog="./dev demo", usage="%(prog)s [--seconds S]", description=__doc__)
    parser.add_argument("build", help=argparse.SUPPRESS)  # the build directory; ./dev passes it
    parser.add_argument("--seconds", type=seconds, default=5, help="duration of each of the two measurements, more than 0, at most 600 (default 5)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # an exception, so that the server is stopped
    results = {}
    try:
        for name, threads in (("one loop", 0), ("2 sub-Reactors", 2)):
            print(f"{name}: {CONNECTIONS} connections, {arguments.seconds:g} seconds ...", flush=True)
            results[name] = measure(arguments.build, threads, arguments.seconds)
    except (Failure, OSError, ValueError) as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    print_table(results)
    if any(run["errors"] > 0 for run in results.values()):
        print("demo: replies were wrong or connections were lost; see the column errors", file=sys.stderr)
        return 1
    print_conclusion(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
