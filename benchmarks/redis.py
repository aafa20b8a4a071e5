#!/usr/bin/env python3
"""Compares jd-redis with redis-server: the CPU time of the server's process per command, under redis-benchmark.

One core is the server's, another one the client's, if there are two. Each server serves the same loads in turn, for some rounds;
the median counts. redis-server runs without persistence. A ratio below 1 means that jd-redis needs less.

Example: benchmarks/redis.py build/release --rounds 5
"""

import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 10
LOADS = {  # with its goal: the CPU time per command beside redis-server
    "50 clients": (("-c", "50"), 0.85),
    "50 clients, 16 pipelined": (("-c", "50", "-P", "16"), 0.6),
}
COMMANDS = ("GET", "SET")
VALUE_BYTES = 3  # as redis-benchmark's default


class Failure(Exception):
    pass


def cpu_seconds(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def idle_seconds():
    """The idle time of each core so far."""
    with open("/proc/stat", encoding="ascii") as stat:
        rows = [line.split() for line in stat if re.match(r"cpu\d", line)]
    return {int(row[0][3:]): (int(row[4]) + int(row[5])) / TICKS for row in rows}


@contextlib.contextmanager
def serve(command, core, folder):
    """Runs a server on one core. Yields its process."""
    with open(os.path.join(folder, "server.log"), "ab") as log, \
            subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=lambda: os.sched_setaffinity(0, {core})) as process:
        try:
            yield process
        finally:
            process.terminate()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def servers(build, folder):
    """The name of each with its command; PORT stands for the port."""
    program = os.path.join(build, "examples", "jd-redis")
    ours = {f"jd-redis {engine}": [program, "--engine", engine, "--listen", "127.0.0.1:PORT"] for engine in ("reactor", "io_uring")}
    return ours | {"redis-server": ["redis-server", "--bind", "127.0.0.1", "--port", "PORT", "--save", "", "--appendonly", "no",
                                    "--dir", folder]}


def measure(server, load, command, requests, keys, cores):
    """Returns microseconds of CPU per command (user, system), commands per second, and the use of both cores in percent."""
    begun, idle, used = time.monotonic(), idle_seconds(), cpu_seconds(server.pid)
    done = subprocess.run(["redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port), "-t", command.lower(), "-n", str(requests),
                           "-r", str(keys), "-d", str(VALUE_BYTES), "--csv", *load], capture_output=True, text=True, check=False,
                          preexec_fn=lambda: os.sched_setaffinity(0, {cores[1]}))
    seconds = time.monotonic() - begun
    user, system = (after - before for after, before in zip(cpu_seconds(server.pid), used))
    if done.returncode != 0 or "rror" in done.stdout + done.stderr:
        raise Failure(f"redis-benchmark: {done.stdout}{done.stderr}")
    busy = [100 * (1 - (idle_seconds()[core] - idle[core]) / seconds) for core in cores]
    return {"user": 1e6 * user / requests, "system": 1e6 * system / requests, "cpu": 1e6 * (user + system) / requests,
            "rate": requests / seconds, "busy": busy}


def wait_until_serving(port, process):
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(["redis-cli", "-p", str(port), "PING"], capture_output=True, check=False).stdout != b"PONG\n":
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failure(f"{process.args[0]} does not serve")
        time.sleep(0.05)


def compare(arguments, folder):
    """Returns {(load, command, server): [measurement of each round]}."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    cores = cores if len(cores) == 2 else cores * 2
    results = {}
    for turn in range(arguments.rounds):
        for name, words in servers(arguments.build, folder).items():
            port = free_port()
            words = [word.replace("PORT", str(port)) for word in words]
            with serve(words, cores[0], folder) as process:
                process.port = port
                wait_until_serving(port, process)
                measure(process, ("-c", "50", "-P", "16"), "SET", max(100_000, 2 * arguments.keys), arguments.keys, cores)  # keys to get
                for load, (options, _) in LOADS.items():
                    for command in COMMANDS:
                        requests = arguments.requests * (4 if "-P" in options else 1)
                        figures = measure(process, options, command, requests, arguments.keys, cores)
                        results.setdefault((load, command, name), []).append(figures)
                        print(f"round {turn + 1}: {name}: {command}, {load}: {figures['cpu']:.2f} us", file=sys.stderr, flush=True)
    return results


def report(results):
    medians = {key: {figure: statistics.median(row[figure] for row in rows) for figure in ("user", "system", "cpu", "rate")} |
               {"busy": [statistics.median(row["busy"][core] for row in rows) for core in (0, 1)],
                "spread": max(row["cpu"] for row in rows) / min(row["cpu"] for row in rows)} for key, rows in results.items()}
    print(f"{'load':28}{'command':8}{'server':20}{'us/command':>11}{'user':>7}{'system':>8}{'spread':>8}{'commands/s':>12}"
          f"{'cores busy':>14}{'ratio':>7}  goal")
    for (load, command, name), row in medians.items():
        ratio = row["cpu"] / medians[load, command, "redis-server"]["cpu"]
        goal = LOADS[load][1]
        verdict = "" if name == "redis-server" else f"{ratio:7.2f}  {goal} {'met' if ratio <= goal else 'MISSED'}"
        print(f"{load:28}{command:8}{name:20}{row['cpu']:11.2f}{row['user']:7.2f}{row['system']:8.2f}{row['spread']:8.2f}"
              f"{row['rate']:12,.0f}{row['busy'][0]:8.0f}%{row['busy'][1]:4.0f}%{verdict}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="a build directory with examples/jd-redis, such as build/release")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, 1 to 100 (default 5)")
    parser.add_argument("--requests", type=int, default=200_000, help="commands of a measurement; pipelined four times as many "
                        "(default 200000)")
    parser.add_argument("--keys", type=int, default=100_000, help="different keys; 1 as redis-benchmark by itself (default 100000)")
    arguments = parser.parse_args()
    if not 1 <= arguments.rounds <= 100:
        parser.error(f"--rounds '{arguments.rounds}': must be from 1 to 100")
    if not 1000 <= arguments.requests <= 100_000_000:
        parser.error(f"--requests '{arguments.requests}': must be from 1000 to 100000000")
    if not 1 <= arguments.keys <= 100_000_000:
        parser.error(f"--keys '{arguments.keys}': must be from 1 to 100000000")
    for program in ("redis-server", "redis-benchmark", "redis-cli"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed: ./dev setup installs it")
    print(f"load average at the beginning: {os.getloadavg()[0]:.1f}; other work on the machine spoils the figures")
    try:
        with tempfile.TemporaryDirectory() as folder:
            report(compare(arguments, folder))
    except Failure as failure:
        sys.exit(f"redis.py: {failure}")


if __name__ == "__main__":
    main()
