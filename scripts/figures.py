#!/usr/bin/env python3
"""Measures the figures that a change must not make worse, and compares them with the recorded ones.

Instructions: jd-echo and jd-frame-echo run on the Reactor under callgrind (valgrind(1)), which counts the instructions
outside the kernel. A client exchanges messages with the server, always in the same steps:
  - 64-byte messages: one connection; send a message, receive its echo, repeat;
  - frames of 60 bytes with a length field of 4 bytes: one connection; send 16 frames with one write, receive the 16
    responses, repeat.
Each load runs with two numbers of messages. The difference of the two counts, divided by the difference of the numbers, is
the cost of one message: the cost of starting and stopping the server cancels out. The counts are reproducible, because the
addresses are not randomized, the environment is empty, and the clock advances by a fixed step at each call
(benchmarks/stepping_clock.c). A rare additional turn of the loop adds less than 0.1 %, so the smallest count of several runs
is taken. The io_uring engine is not counted: valgrind 3.19 cannot run its rings.

Memory: idle-memory (benchmarks/idle_memory.c) opens N connections and then N more. The growth of jd_memory_in_use, divided
by N, is exact. The growth of the resident memory depends on the allocator; it is printed and has no limit.

Files: the files of the library that have more than 500 lines.

Instruction counts are comparable only if the compiler, the C library, jemalloc and valgrind are those of the record.
Otherwise use --base COMMIT: it builds that commit (the record names one) with this build's compiler and compares with it.

Exit status: 0 if all figures are within their limits; 1 if a figure is over its limit, or measuring failed; 3 if no figure is
over its limit but some could not be compared."""

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import select
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass

TREE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
RECORD = os.path.join(TREE, "benchmarks", "figures.json")
OVER, NOT_COMPARED = 1, 3    # exit statuses

MESSAGES = (1600, 33600)   # of the two runs whose difference is taken
ROUNDS = 3
READY_SECONDS = 60         # callgrind is slow
REPLY_SECONDS = 30
STOP_SECONDS = 60

INSTRUCTIONS_RATIO_MAX = 1.01
CONNECTION_BYTES_MAX = 184
HELD_BYTES_MAX = 192
LINES_MAX = 500
LINES_FOLDERS = ("base", "net", "proactor")

REGION_CONNECTIONS = 1024  # the slot map's memory grows in regions of this many connections
CONNECTIONS_MAX = 4 * REGION_CONNECTIONS
DESCRIPTORS_EACH = 4       # per connection: idle-memory opens 2 N connections, with both ends in its process
SPARE_DESCRIPTORS = 64

DECIDING = ("compiler", "libc", "jemalloc", "valgrind", "machine")   # the settings that a count depends on


class Failure(Exception):
    """A figure could not be measured."""


@dataclass(frozen=True)
class Load:
    """The bytes that the client sends in one step and expects back: batch times the message."""
    server: str
    message: bytes
    batch: int


@dataclass(frozen=True)
class Measure:
    name: str
    text: str
    ratio_max: float | None = None    # to the recorded figure
    most: float | None = None


LOADS = {
    "message_instructions": Load("jd-echo", bytes(range(64)), 1),
    "frame_instructions": Load("jd-frame-echo", struct.pack(">I", 60) + bytes(range(60)), 16),
}
ENGINES = ("reactor", "io_uring")
MEASURES = (
    Measure("message_instructions", "instructions per 64-byte message, Reactor", ratio_max=INSTRUCTIONS_RATIO_MAX),
    Measure("frame_instructions", "instructions per 60-byte frame, Reactor", ratio_max=INSTRUCTIONS_RATIO_MAX),
    Measure("connection_bytes", "sizeof(jd_tcp_connection)", most=CONNECTION_BYTES_MAX),
    Measure("held_bytes_reactor", "bytes in use per idle connection, Reactor", most=HELD_BYTES_MAX),
    Measure("held_bytes_io_uring", "bytes in use per idle connection, io_uring", most=HELD_BYTES_MAX),
    Measure("resident_bytes_reactor", "resident bytes per idle connection, Reactor"),
    Measure("resident_bytes_io_uring", "resident bytes per idle connection, io_uring"),
)


def output_of(*command, cwd=None):
    try:
        done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Failure(f"{command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()[-20:]
        raise Failure(f"{shlex.join(command)}: exit status {done.returncode}\n" + "\n".join(lines))
    return done.stdout


# ---- a build directory ----

class Build:
    """A build directory, as meson describes it."""

    def __init__(self, directory):
        self.directory = os.path.realpath(directory)
        try:
            self.source = self.read("meson-info/meson-info.json")["directories"]["source"]
            options = {option["name"]: option["value"] for option in self.read("meson-info/intro-buildoptions.json")}
            self.dependencies = {one["name"]: one for one in self.read("meson-info/intro-dependencies.json")}
            command = shlex.split(self.read("compile_commands.json")[0]["command"])
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise Failure(f"{directory}: not a meson build directory: {error}") from error
        if (options["buildtype"], options["b_sanitize"]) != ("release", "none"):
            raise Failure(f"{directory}: not a release build without sanitizers")
        self.compiler = [word for i, word in enumerate(command) if not any(w.startswith("-") for w in command[:i + 1])]

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return json.load(file)

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def program(self, *names):
        path = self.path(*names)
        if not os.access(path, os.X_OK):
            raise Failure(f"{path}: not built")
        return path

    def commit(self):
        commit = output_of("git", "rev-parse", "HEAD", cwd=self.source).strip()
        return commit + ("+changes" if output_of("git", "status", "--porcelain", "-uno", cwd=self.source).strip() else "")

    def idle_memory(self, scratch):
        """The build's idle-memory. A commit without it gets this tree's, compiled against its library."""
        own = self.path("benchmarks", "idle-memory")
        if os.access(own, os.X_OK):
            return own
        program = os.path.join(scratch, "idle-memory")
        links = [word for name in ("threads", "liburing", "jemalloc")
                 for word in self.dependencies.get(name, {}).get("link_args", [])]
        includes = [forwarding_headers(self.source, scratch), self.source, os.path.join(self.source, "include")]
        output_of(*self.compiler, "-std=gnu17", "-O2", "-D_GNU_SOURCE", *(f"-I{path}" for path in includes), "-o", program,
                  os.path.join(TREE, "benchmarks", "idle_memory.c"),
                  os.path.join(self.source, "benchmarks", "process_usage.c"), self.path("libjinduo-core.a"), *links)
        return program


def forwarding_headers(source, scratch):
    """Returns an include folder in which idle_memory.c finds tcp_connection.h, also if another commit has it elsewhere."""
    folder = os.path.join(scratch, "include")
    name = os.path.join("net", "connection", "tcp_connection.h")
    if os.path.exists(os.path.join(source, name)):
        return folder
    for path, _, files in os.walk(os.path.join(source, "net")):
        if "tcp_connection.h" in files:
            os.makedirs(os.path.join(folder, os.path.dirname(name)))
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(f'#include "{os.path.join(path, "tcp_connection.h")}"\n')
            return folder
    raise Failure(f"{source}: no tcp_connection.h in net/")


@contextlib.contextmanager
def build_of_commit(commit, like):
    """Builds a commit in a temporary worktree, with the compiler of another build."""
    with tempfile.TemporaryDirectory(prefix="jinduo-figures-") as folder:
        tree, directory = os.path.join(folder, "tree"), os.path.join(folder, "build")
        output_of("git", "worktree", "add", "--detach", tree, commit, cwd=TREE)
        try:
            note(f"building {commit}")
            output_of("env", f"CC={shlex.join(like.compiler)}", "meson", "setup", directory, tree, "--buildtype=release",
                      "-Dtests=disabled")
            output_of("ninja", "-C", directory, *(["-j", os.environ["JOBS"]] if "JOBS" in os.environ else []))
            yield Build(directory)
        finally:
            output_of("git", "worktree", "remove", "--force", tree, cwd=TREE)


# ---- the setting of a measurement ----

def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"^model name\s*: (.*)$", file.read(), re.M)
    return found.group(1) if found else platform.machine()


def setting_of(build):
    """The settings that counts depend on. The compiler is read from the program."""
    comment = output_of("readelf", "-p", ".comment", build.program("examples", "jd-echo"))
    return {
        "compiler": ", ".join(sorted(set(re.findall(r"^ *\[ *[0-9a-f]+\]  ?(.*)$", comment, re.M)))),
        "libc": os.confstr("CS_GNU_LIBC_VERSION"),
        "jemalloc": build.dependencies.get("jemalloc", {}).get("version", "none"),
        "valgrind": output_of("valgrind", "--version").strip(),
        "machine": platform.machine(),
        "processor": processor(),
    }


# ---- instructions ----

def fixed_addresses():
    command = ["setarch", "-R"]
    allowed = shutil.which(command[0]) and subprocess.run([*command, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    if not allowed:
        note("setarch -R is not allowed here: addresses are randomized, so counts vary more")
    return command if allowed else []


def exchange(port, load, messages):
    step = load.message * load.batch
    with socket.create_connection(("127.0.0.1", port), REPLY_SECONDS) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(messages // load.batch):
            client.sendall(step)
            reply = bytearray()
            while len(reply) < len(step):
                received = client.recv(len(step) - len(reply))
                if not received:
                    raise Failure(f"{load.server}: the server closed the connection")
                reply += received
            if reply != step:
                raise Failure(f"{load.server}: the server sent a wrong reply")


def stop(server):
    server.terminate()
    try:
        return server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()


def count_instructions(build, load, messages, prefix, scratch):
    """The instructions of a complete run of a server that handles this number of messages."""
    counts = os.path.join(scratch, "callgrind.out")
    program = build.program("examples", load.server)
    environment = {"PATH": os.environ["PATH"], "LD_PRELOAD": os.path.join(scratch, "clock.so")}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        server = subprocess.Popen([*prefix, "valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", program,
                                   "--engine", "reactor", "--listen", "127.0.0.1:0"], env=environment,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            ready, _, _ = select.select([server.stdout], [], [], READY_SECONDS)
            words = server.stdout.readline().split() if ready else []
            if words[:2] != ["listening", "on"] or len(words) < 3:
                raise Failure(f"{load.server}: no ready line within {READY_SECONDS} s under callgrind")
            exchange(int(words[2].rpartition(":")[2]), load, messages)
        except OSError as error:
            raise Failure(f"{load.server}: {error}") from error
        finally:
            status = stop(server)
            server.stdout.close()
        errors.seek(0)
        if status != 0:
            raise Failure(f"{load.server}: exit status {status} under callgrind\n{errors.read().strip()}")
    with open(counts, encoding="utf-8") as file:
        total = re.search(r"^totals: (\d+)$", file.read(), re.M)
    if total is None:
        raise Failure("callgrind: its output has no total")
    return int(total.group(1))


def measure_instructions(build, load, rounds, prefix, scratch):
    """Returns the instructions per message, and the largest relative difference between equal runs."""
    few, many = ([count_instructions(build, load, messages, prefix, scratch) for _ in range(rounds)] for messages in MESSAGES)
    return (min(many) - min(few)) / (MESSAGES[1] - MESSAGES[0]), max(max(few) / min(few), max(many) / min(many)) - 1


# ---- memory ----

def idle_connections():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    regions = (limit - SPARE_DESCRIPTORS) // DESCRIPTORS_EACH // REGION_CONNECTIONS
    if regions < 1:
        raise Failure(f"the limit of {limit} descriptors is too low to measure idle connections, "
                      f"{REGION_CONNECTIONS * DESCRIPTORS_EACH + SPARE_DESCRIPTORS} are needed")
    return min(CONNECTIONS_MAX, regions * REGION_CONNECTIONS)


def measure_memory(build, scratch):
    program, connections, figures = build.idle_memory(scratch), idle_connections(), {}
    for engine in ENGINES:
        result = json.loads(output_of(program, engine, str(connections)))
        figures["connection_bytes"] = result["connection_bytes"]
        if result.get("unavailable"):
            note(f"{engine} is not available here: its memory is not measured")
        else:
            figures[f"held_bytes_{engine}"] = result["held_bytes"]
            figures[f"resident_bytes_{engine}"] = result["resident_bytes"]
    return figures


def measure(build, rounds):
    figures, prefix = {}, fixed_addresses()
    with tempfile.TemporaryDirectory(prefix="jinduo-figures-") as scratch:
        output_of(*build.compiler, "-std=gnu17", "-O2", "-Wall", "-shared", "-fPIC", "-o", os.path.join(scratch, "clock.so"),
                  os.path.join(TREE, "benchmarks", "stepping_clock.c"))
        for name, load in LOADS.items():
            note(f"counting the instructions of {load.server}")
            figures[name], spread = measure_instructions(build, load, rounds, prefix, scratch)
            if rounds > 1:
                note(f"{rounds} runs of each load differ by at most {100 * spread:.3f} %")
        note("opening idle connections")
        figures.update(measure_memory(build, scratch))
    return figures


# ---- files ----

def long_files(source):
    """The files with more than LINES_MAX lines, as (path, lines)."""
    found = []
    for folder in LINES_FOLDERS:
        for path, _, names in os.walk(os.path.join(source, folder)):
            for name in names:
                if name.endswith((".c", ".h")):
                    full = os.path.join(path, name)
                    with open(full, "rb") as file:
                        lines = sum(1 for _ in file)
                    if lines > LINES_MAX:
                        found.append((os.path.relpath(full, source), lines))
    return sorted(found)


# ---- the tables ----

def note(text):
    print(f"figures: {text}", file=sys.stderr, flush=True)


def limit_of(one, recorded, is_comparable):
    if one.ratio_max is None:
        return one.most
    return recorded * one.ratio_max if recorded is not None and is_comparable else None


def verdict_of(one, now, limit):
    if one.ratio_max is None and one.most is None:
        return "no limit"
    if now is None or limit is None:
        return "not compared"
    return "ok" if now <= limit else "OVER"


def number(value):
    return "-" if value is None else f"{value:.0f}" if value == int(value) else f"{value:.2f}"


def print_table(header, rows):
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [cell.ljust(width) if i in (0, len(row) - 1) else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        print("| " + " | ".join(cells) + " |")


def print_figures(now, before, before_name, is_comparable):
    """Returns the verdicts."""
    rows = []
    for one in MEASURES:
        value, recorded = now.get(one.name), before.get(one.name)
        limit = limit_of(one, recorded, is_comparable)
        ratio = f"{value / recorded:.4f}" if value is not None and recorded else "-"
        rows.append([one.text, number(value), number(recorded), ratio, number(limit), verdict_of(one, value, limit)])
    print_table(["measure", "now", before_name, "ratio", "limit", ""], rows)
    return {row[-1] for row in rows}


def print_long_files(source):
    found = long_files(source)
    print()
    if not found:
        print(f"No file in {', '.join(LINES_FOLDERS)} has more than {LINES_MAX} lines.")
        return set()
    print_table([f"file with more than {LINES_MAX} lines", "lines", ""], [[path, str(lines), "OVER"] for path, lines in found])
    return {"OVER"}


def differences(setting, recorded):
    return [f"{name}: {setting[name]}; in the record: {recorded.get(name, 'nothing')}" for name in DECIDING
            if setting[name] != recorded.get(name)]


def read_record(path):
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        return record if record["commit"] and record["setting"] and record["figures"] else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path}: not a record of figures: {error}") from error


def write_record(path, build, setting, figures):
    missing = [one.text for one in MEASURES if one.name not in figures]
    if missing:
        raise Failure(f"nothing recorded, these figures are missing: {'; '.join(missing)}")
    record = {"commit": build.commit(), "setting": setting,
              "figures": {name: round(value, 3) for name, value in figures.items()}}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=4)
        file.write("\n")
    print(f"recorded in {os.path.relpath(path)}")


def compare(arguments, build, setting):
    """Returns the verdicts."""
    if arguments.base:
        with build_of_commit(arguments.base, build) as base:
            changed = differences(setting, setting_of(base))
            if changed:
                raise Failure("the base was built with other settings: " + "; ".join(changed))
            before, before_name, changed = measure(base, arguments.rounds), arguments.base, []
    else:
        record = read_record(arguments.recorded)
        before, before_name, changed = record["figures"], "recorded", differences(setting, record["setting"])
        if changed:
            note("instruction counts are not compared with the record, the settings differ:\n  " + "\n  ".join(changed) +
                 f"\n  --base {record['commit'][:7]} builds the recorded commit here and compares with it")
    verdicts = print_figures(measure(build, arguments.rounds), before, before_name, not changed)
    return verdicts | print_long_files(build.source)


def parse_arguments():
    def positive(text):
        if not text.isdecimal() or int(text) < 1:
            raise argparse.ArgumentTypeError(f"'{text}': must be a whole number of at least 1")
        return int(text)

    parser = argparse.ArgumentParser(prog="./dev figures", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", metavar="DIR", default=os.path.join(TREE, "build", "release"),
                        help="the release build to measure (default build/release)")
    parser.add_argument("--rounds", metavar="N", type=positive, default=ROUNDS, help="runs of each load (default %(default)s)")
    parser.add_argument("--recorded", metavar="FILE", default=RECORD, help="the record to compare with (default benchmarks/figures.json)")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--base", metavar="COMMIT", help="build this commit and compare with it instead of the record")
    group.add_argument("--record", action="store_true", help="write the record instead of comparing")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    try:
        build = Build(arguments.build)
        setting = setting_of(build)
        if arguments.record:
            write_record(arguments.recorded, build, setting, measure(build, arguments.rounds))
            return 0
        verdicts = compare(arguments, build, setting)
    except Failure as failure:
        note(str(failure))
        return OVER
    if "OVER" in verdicts:
        return OVER
    return NOT_COMPARED if "not compared" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
