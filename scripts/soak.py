#!/usr/bin/env python3
"""Opens 100 000 connections from addresses 127.0.0.x to six echo servers, each a process of its own, with as many client
processes (tests/soak/). Each process has at most 20 000 descriptors.

  1. One echo on each connection. Then the memory of an idle connection is measured: what the library holds
     (jd_memory_in_use), the servers' resident memory (proc(5), RssAnon, and Pss), and the kernel's slab. The kernel's figure
     counts both ends, as the clients are on the same machine.
  2. Churn in rounds: connections are reset, closed and opened again, some readers are slow. After each round all connections
     are open again, have read everything, and are idle.
  3. The memory is flat: after each round it is within a bound of what it was after the first round:
     the library's memory, of all servers together: 1 % and 1 MiB for each server; the resident memory: 10 % and 4 MiB for each
     server. The servers' allocator returns freed memory at once, so that its caches do not count.
  4. All connections are closed. The servers have none, and each ends with status 0.

Exit status 0: all of this held, and no answer was wrong or missing; 1: it did not."""

import argparse
import contextlib
import json
import os
import re
import resource
import secrets
import select
import signal
import subprocess
import sys
import time

DESCRIPTORS_MAX = 20000
SPARE_DESCRIPTORS = 100
SOURCES_EACH = 4             # addresses of each client: some 28 000 ports each
SOURCE_FIRST = 10            # 127.0.0.10
READY_SECONDS = 30
SETTLE_SECONDS = 2
ROUND_SECONDS = 60
PROGRESS_SECONDS = 5
COMMAND_SECONDS = 600        # of a command, beyond its duration
STOP_SECONDS = 60
HELD_PERCENT, HELD_MIB_EACH = 1, 1
RESIDENT_PERCENT, RESIDENT_MIB_EACH = 10, 4
MIB = 1 << 20


class Failure(Exception):
    """Something did not hold."""


def start(*command):
    # Unbuffered: select(2) must see each line.
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                            env=os.environ | {"MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"})


def read_line(process, seconds):
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    line = process.stdout.readline().decode() if ready else ""
    if not line:
        raise Failure(f"{os.path.basename(process.args[0])}: " + (f"no answer within {seconds:.0f} s" if not ready else "it ended"))
    return line


def status_bytes(path, name):
    with open(path, encoding="utf-8") as file:
        return sum(1024 * int(kib) for kib in re.findall(rf"^{name}:\s+(\d+) kB", file.read(), re.MULTILINE))


class Measure:
    """The memory of all servers, and the kernel's."""

    def __init__(self, servers):
        answers = []
        for server in servers:
            server.stdin.write(b"?\n")
            answers.append(json.loads(read_line(server, READY_SECONDS)))
        self.connections = sum(answer["connections"] for answer in answers)
        self.held = sum(answer["held_bytes"] for answer in answers)
        self.resident = sum(status_bytes(f"/proc/{server.pid}/status", "RssAnon") for server in servers)
        self.share = sum(status_bytes(f"/proc/{server.pid}/smaps_rollup", "Pss") for server in servers)
        self.slab = status_bytes("/proc/meminfo", "Slab")

    def __str__(self):
        return (f"{self.connections:,} connections; the library holds {self.held / MIB:.1f} MiB; resident {self.resident / MIB:.1f} MiB, "
                f"Pss {self.share / MIB:.1f} MiB; slab {self.slab / MIB:.0f} MiB")


class Soak:
    def __init__(self, build, arguments, stack):
        self.arguments, self.servers, self.clients = arguments, [], []
        each, more = divmod(arguments.connections, arguments.processes)
        for number in range(arguments.processes):
            server = start(os.path.join(build, "tests", "soak", "soak-server"), arguments.engine)
            stack.callback(self._end, server)
            self.servers.append(server)
            words = read_line(server, READY_SECONDS).split()
            self.engine = words[3].removeprefix("engine=")
            client = start(os.path.join(build, "tests", "soak", "soak-client"), words[2], str(each + (number < more)),
                           str(SOURCE_FIRST + SOURCES_EACH * number), str(SOURCES_EACH))
            stack.callback(self._end, client)
            self.clients.append(client)

    @staticmethod
    def _end(process):
        if process.poll() is None:
            process.kill()
        process.wait()

    def command(self, name, words, seconds=0):
        """All clients carry out a command. Prints progress. Returns the clients' numbers, added up."""
        begun = printed = time.monotonic()
        done, state = {}, {}
        for number, client in enumerate(self.clients):
            text = words(number) if callable(words) else words
            client.stdin.write(f"{text}\n".encode())
        while len(done) < len(self.clients):
            for client in self.clients:
                if client in done:
                    continue
                line = read_line(client, seconds + COMMAND_SECONDS)
                while line.startswith("at "):
                    state[client] = line.split(None, 2)
                    if select.select([client.stdout], [], [], 0)[0]:
                        line = read_line(client, COMMAND_SECONDS)
                    else:
                        break
                if line.startswith("done "):
                    done[client] = line
            now = time.monotonic()
            if now - printed >= PROGRESS_SECONDS and state:
                printed = now
                print(f"{name}: {now - begun:.0f} s, " + f"{sum(int(words[1]) for words in state.values()):,} "
                      f"{next(iter(state.values()))[2].strip()}", flush=True)
        numbers = [list(map(int, re.findall(r"\d+", line))) for line in done.values()]
        return [sum(column) for column in zip(*numbers)]

    def settled(self, expected):
        deadline = time.monotonic() + STOP_SECONDS
        while (measure := Measure(self.servers)).connections != expected:
            if time.monotonic() > deadline:
                raise Failure(f"the servers have {measure.connections:,} connections, not {expected:,}")
            time.sleep(0.1)
        time.sleep(SETTLE_SECONDS)
        return Measure(self.servers)

    def end(self):
        for process in self.clients + self.servers:
            process.stdin.close()
        for process in self.clients + self.servers:
            try:
                status = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                raise Failure(f"{os.path.basename(process.args[0])} does not end") from None
            if status != 0:
                raise Failure(f"{os.path.basename(process.args[0])}: exit status {status}")


def require_flat(first, now, processes):
    for what, before, after, percent, mib in (
            ("the library holds", first.held, now.held, HELD_PERCENT, HELD_MIB_EACH),
            ("resident are", first.resident, now.resident, RESIDENT_PERCENT, RESIDENT_MIB_EACH)):
        bound = before * (1 + percent / 100) + mib * MIB * processes
        if after > bound:
            raise Failure(f"memory is not flat: {what} {after / MIB:.1f} MiB, {before / MIB:.1f} after the first round; allowed: {bound / MIB:.1f}")


def print_each(before, after, connections):
    print(f"an idle connection: {(after.held - before.held) / connections:.0f} bytes of the library, "
          f"{(after.resident - before.resident) / connections:.0f} resident (Pss {(after.share - before.share) / connections:.0f}), "
          f"{(after.slab - before.slab) / connections:.0f} of the kernel's slab for both ends", flush=True)


def run(build, arguments):
    with contextlib.ExitStack() as stack:
        soak = Soak(build, arguments, stack)
        before = Measure(soak.servers)
        print(f"engine {soak.engine}, {arguments.processes} servers, seed {arguments.seed}: {before}", flush=True)
        soak.command("open", "open")
        after = soak.settled(arguments.connections)
        print(f"open: {after}")
        print_each(before, after, arguments.connections)
        first, number, left = None, 0, arguments.seconds
        while left > 0:
            number, seconds = number + 1, min(left, max(1, min(ROUND_SECONDS, arguments.seconds // 4)))
            left -= seconds
            # Each client has a seed of its own.
            counts = soak.command(f"churn {number}", lambda client: f"churn {seconds} {arguments.seed + 1000 * number + client}", seconds)
            measure = soak.settled(arguments.connections)
            first = first or measure
            print(f"churn {number}: {counts[0]:,} echoes, {counts[1]:,} resets, {counts[2]:,} closes, {counts[3]:,} slow readers; {measure}",
                  flush=True)
            require_flat(first, measure, arguments.processes)
        soak.command("close", "close")
        print(f"closed: {soak.settled(0)}")
        soak.end()


def whole(least, most):
    def convert(text):
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"'{text}': must be a whole number from {least} to {most}")
        return int(text)
    return convert


def read_arguments():
    parser = argparse.ArgumentParser(prog="./dev soak", usage="./dev soak [OPTION]...", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help=argparse.SUPPRESS)  # the build directory; ./dev passes it
    parser.add_argument("--seconds", type=whole(1, 7 * 86400), default=3600, help="of churn, 1 to 604800 (default 3600)")
    parser.add_argument("--connections", type=whole(1, 1000000), default=100000, help="in all, 1 to 1000000 (default 100000)")
    parser.add_argument("--processes", type=whole(1, 60), default=6, help="servers, and clients, 1 to 60 (default 6)")
    parser.add_argument("--engine", default="auto", metavar="NAME", help="of the servers, as for the example programs (default: auto)")
    parser.add_argument("--seed", type=whole(0, 2**62), default=secrets.randbits(32), help="of the churn (default: a random one)")
    arguments = parser.parse_args()
    each = -(-arguments.connections // arguments.processes)
    if arguments.connections < arguments.processes:
        parser.error(f"--connections {arguments.connections}: must be at least the number of processes, {arguments.processes}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if each + SPARE_DESCRIPTORS > allowed:
        parser.error(f"{each} connections for each process: at most {allowed - SPARE_DESCRIPTORS} are allowed here "
                     "(descriptors, ulimit -n); use more --processes or fewer --connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return arguments


def main():
    arguments = read_arguments()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # an exception, so that the processes are ended
    try:
        run(arguments.build, arguments)
    except (Failure, BrokenPipeError) as failure:
        print(f"FAILED: {failure}; to repeat it:\n  ./dev soak --seconds {arguments.seconds} --connections {arguments.connections} "
              f"--processes {arguments.processes} --engine {arguments.engine} --seed {arguments.seed}")
        return 1
    print(f"memory stayed flat over {arguments.seconds} s of churn")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
