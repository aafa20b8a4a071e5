#!/usr/bin/env python3
"""Lets hostile clients loose on the example servers: up to 1 500 connections that send in pieces, urgent data included, pause,
reset, half-close, connect in storms, announce sixteen megabytes and send ten bytes or ten megabytes (tests/chaos/).

Each run has one server on one engine with one set of options:
  1. The server's descriptors, its idle CPU and, after a shorter run as a warm-up, its memory are measured.
  2. The clients run. Two honest clients beside them verify each answer: one keeps its connection, one connects again and again.
  3. The descriptors and the idle CPU are what they were, the memory within a bound.
  4. The clients come again, and SIGTERM meanwhile ends the server with status 0 within its drain.

The clients' steps follow from the seed; what the kernel and the server do meanwhile does not, so a failure may need several
runs to come again. The server's allocator returns freed memory at once, so that a leak is not lost in its caches.
Exit status 0: all of this held; 1: it did not."""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import secrets
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TREE / "tests" / "programs"))
from server import READY_LINE, available_engines, environment_with  # noqa: E402

READY_SECONDS = 30
CALM_SECONDS = 30            # until the server has noticed that all clients are gone, by default
DRAIN_SECONDS = 5            # of the example programs (DRAIN_MS)
EXIT_SECONDS = DRAIN_SECONDS + 10
IDLE_SECONDS = 1.0
IDLE_CPU_PERCENT = 5         # more than before, of one core
PROGRESS_SECONDS = 2
FIRE_SECONDS = 3             # of the clients that run when SIGTERM comes
FIRE_BEGIN_SECONDS = 1
WARM_UP_SHARE = 3            # the warm-up is a third of the run
MEMORY_MORE_MIB, MEMORY_MORE_PERCENT = 2, 25
MIB = 1 << 20
PATIENCE_SECONDS = 90        # of the clients beyond their duration: an honest client waits 60 s for an answer

# Options of all servers; of those that have threads; of each server: its protocol (tests/chaos/traffic.h) if it is another one.
LISTEN = {"default": (), "busy-poll": ("--busy-poll", "200"), "ipv6": ("--listen", "[::1]:0"), "unix": ("--listen", "unix:@")}
THREADS = {
    "threads": ("--threads", "2"),
    "least": ("--threads", "3", "--load-balance", "least"),
    "peer": ("--threads", "3", "--load-balance", "peer"),
    "reuse-port": ("--threads", "2", "--reuse-port"),
    "processes": ("--processes", "2"),
}
FRAMES = {
    "varint": ("--header-bytes", "varint"),
    "max-frame": ("--max-frame", "65536"),
    "pool": ("--pool", "2", "--work-us", "20"),
    "own-codec": ("--own-codec",),
}
SERVERS = {
    "jd-echo": ("bytes", LISTEN | THREADS | {"discard": ("--discard",)}),
    "jd-frame-echo": ("frames", LISTEN | THREADS | FRAMES),
    "jd-chat": ("lines", LISTEN | THREADS),
    "jd-async-file": ("files", LISTEN),
    "jd-http": ("http", LISTEN | THREADS),
    # Not "processes": they would not share their keys.
    "jd-redis": ("redis", LISTEN | {name: words for name, words in THREADS.items() if name != "processes"} |
                 {"max-bulk": ("--max-bulk", "32768")}),
}
ALWAYS = {"jd-http": ("--root", ".")}   # options besides the set
OPTIONAL = "jd-http"                    # built only with llhttp
PROTOCOL_OF_OPTION = {"discard": "discard", "varint": "varint"}
WITHOUT_COPY = {"zero-copy": ("--zero-copy", "1")}
COPIES_LESS = "io_uring"     # the engine with that option
# There a peer that resets behind urgent data may be left to the idle timeout (docs/io_uring.md, "Urgent data"), which jd-redis, as
# redis, has not by itself.
ENDS_IDLE = {("jd-redis", "io_uring"): ("--idle-seconds", "10")}


class Failure(Exception):
    """Something did not hold."""


@dataclasses.dataclass(frozen=True)
class Combination:
    server: str
    engine: str
    options: str

    @property
    def protocol(self):
        return PROTOCOL_OF_OPTION.get(self.options, SERVERS[self.server][0])

    @property
    def command_line(self):
        always = (*ALWAYS.get(self.server, ()), *ENDS_IDLE.get((self.server, self.engine), ()))
        return ("--engine", self.engine, *always, *(SERVERS[self.server][1] | WITHOUT_COPY)[self.options])

    def __str__(self):
        return f"{self.server} {self.engine} {self.options}"


def program(build, server):
    return os.path.join(build, "examples", server)


def combinations(build, servers):
    return [Combination(server, engine, options) for server, (_, known) in SERVERS.items()
            if server in servers and (server != OPTIONAL or os.path.exists(program(build, server)))
            for engine in available_engines(program(build, server))
            for options in (known | WITHOUT_COPY if engine == COPIES_LESS else known)]


# ---- the server ----

def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


class Server:
    """A server and, with --processes, its children."""

    def __init__(self, build, combination, folder):
        options = list(combination.command_line)
        self._holder = None
        if "unix:@" in options:
            options[options.index("unix:@")] = f"unix:@jinduo-chaos-{os.getpid()}-{secrets.token_hex(4)}"
        elif "--listen" not in options:
            options += ["--listen", f"127.0.0.1:{self._hold_port() if '--processes' in options else 0}"]
        self._errors = tempfile.TemporaryFile()
        environment = environment_with({"MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"})
        self.process = subprocess.Popen([program(build, combination.server), *options], stdin=subprocess.DEVNULL, cwd=folder,
                                        stdout=subprocess.PIPE, stderr=self._errors, env=environment)
        try:
            self.endpoint = self._read_ready_line()
            while combination.options == "processes" and len(children(self.process.pid)) < 2:
                time.sleep(0.01)
            self.pids = [self.process.pid, *children(self.process.pid)]
        except BaseException:
            self.end()
            raise

    def _hold_port(self):
        """Processes share a port that is fixed: a socket that does not listen reserves it."""
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._holder.bind(("127.0.0.1", 0))
        return self._holder.getsockname()[1]

    def _read_ready_line(self):
        line, deadline = b"", time.monotonic() + READY_SECONDS
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            byte = os.read(self.process.stdout.fileno(), 1) if ready else b""
            if not byte:
                raise Failure(f"no ready line but {line!r}; standard error: {' '.join(self.log_tail())}")
            line += byte
        match = READY_LINE.fullmatch(line.decode().rstrip("\n"))
        if not match:
            raise Failure(f"not a ready line: {line!r}")
        return match.group(1)

    def _require_alive(self):
        if self.process.poll() is not None:
            raise Failure(f"the server ended, exit status {self.process.returncode}")

    def descriptors(self):
        self._require_alive()
        with contextlib.suppress(FileNotFoundError):
            return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids)
        raise Failure("a process of the server ended")

    def memory(self):
        """Resident memory without files (proc(5), RssAnon)."""
        total = 0
        for pid in self.pids:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/status", encoding="utf-8") as file:
                total += sum(1024 * int(kib) for kib in re.findall(r"^RssAnon:\s+(\d+) kB", file.read(), re.MULTILINE))
        return total

    def cpu_seconds(self):
        ticks = 0
        for pid in self.pids:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                ticks += sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def idle_percent(self):
        before = self.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        return 100 * (self.cpu_seconds() - before) / IDLE_SECONDS

    def wait_for_idleness(self, percent, seconds):
        """Returns the CPU that the server uses when it has settled, in percent of a core."""
        deadline = time.monotonic() + seconds
        while (actual := self.idle_percent()) > percent and time.monotonic() < deadline:
            pass
        if actual > percent:
            raise Failure(f"idle, the server uses {actual:.0f} % of a core, {seconds} s after the last client has ended; allowed: {percent:.0f} %")
        return actual

    def wait_for_descriptors(self, wanted, seconds):
        deadline = time.monotonic() + seconds
        while (actual := self.descriptors()) != wanted:
            if time.monotonic() > deadline:
                raise Failure(f"{actual} descriptors, not {wanted} as before, {seconds} s after the last client has ended")
            time.sleep(0.05)

    def terminate(self):
        """Returns the seconds until the exit."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(f"not ended {EXIT_SECONDS} s after SIGTERM, with a drain of {DRAIN_SECONDS} s") from None
        if status != 0:
            raise Failure(f"exit status {status} after SIGTERM")
        return time.monotonic() - begun

    def log_tail(self):
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").splitlines()[-20:]

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        if self._holder is not None:
            self._holder.close()


# ---- a run ----

class Run:
    def __init__(self, build, combination, seed, arguments, folder):
        self.client = os.path.join(build, "tests", "chaos", "chaos")
        self.combination, self.seed, self.arguments = combination, seed, arguments
        self.server = Server(build, combination, folder)
        self.peak = 0

    def _start_clients(self, seconds, seed, *more):
        return subprocess.Popen([self.client, "--protocol", self.combination.protocol, "--seconds", str(seconds), "--seed", str(seed),
                                 "--connections", str(self.arguments.connections), *more, self.server.endpoint],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _watch(self, what, seconds, clients):
        """Prints progress until the clients have ended."""
        begun = printed = time.monotonic()
        while clients.poll() is None:
            time.sleep(0.05)
            now = time.monotonic()
            memory = self.server.memory()
            self.peak = max(self.peak, memory)
            if now - printed >= PROGRESS_SECONDS:
                printed = now
                print(f"{self.combination}: {what}, {now - begun:.0f} of {seconds} s, {self.server.descriptors()} descriptors, "
                      f"{memory / MIB:.0f} MiB", flush=True)
            if now - begun > seconds + PATIENCE_SECONDS:
                raise Failure("the clients do not end")

    def _run_clients(self, what, seconds, seed):
        """Returns the clients' counts."""
        with self._start_clients(seconds, seed) as clients:
            try:
                self._watch(what, seconds, clients)
                output, errors = clients.communicate()
            finally:
                if clients.poll() is None:
                    clients.kill()
        if clients.returncode != 0:
            raise Failure(errors.strip().removeprefix("chaos: ") or f"the clients ended with status {clients.returncode}")
        return json.loads(output)

    def _terminate_under_fire(self):
        with self._start_clients(FIRE_SECONDS, self.seed + 2, "--no-probe") as clients:
            try:
                time.sleep(FIRE_BEGIN_SECONDS)
                return self.server.terminate()
            finally:
                clients.terminate()

    def _connect(self):
        endpoint = self.server.endpoint
        if endpoint.startswith("unix:"):
            client = socket.socket(socket.AF_UNIX)
            client.connect("\0" + endpoint.removeprefix("unix:@"))
            return client
        host, _, port = endpoint.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), CALM_SECONDS)

    def _first_connection(self):
        """What the server makes when it serves its first connection stays: it is no leak."""
        before = self.server.descriptors()
        with self._connect():
            deadline = time.monotonic() + CALM_SECONDS
            while self.server.descriptors() <= before and time.monotonic() < deadline:
                time.sleep(0.01)
        time.sleep(0.2)

    def _memory(self):
        """The server's memory, without what clients have stored there."""
        if self.combination.protocol == "redis":
            with self._connect() as client:
                client.sendall(b"FLUSHALL\r\n")
                if client.recv(16) != b"+OK\r\n":
                    raise Failure("FLUSHALL is not answered by OK")
        return self.server.memory()

    def _require_memory(self, before):
        """Returns the memory after the run. The allocator returns memory to the system some seconds later."""
        bound = before * (1 + MEMORY_MORE_PERCENT / 100) + MEMORY_MORE_MIB * MIB
        deadline = time.monotonic() + self.arguments.calm
        while (after := self._memory()) > bound and time.monotonic() < deadline:
            time.sleep(0.5)
        if self.arguments.memory and after > bound:
            raise Failure(f"{after / MIB:.1f} MiB of memory after the run, {before / MIB:.1f} before it; allowed: {bound / MIB:.1f}")
        return after

    def execute(self):
        """Returns a line about the run."""
        seconds = self.arguments.seconds
        self._first_connection()
        descriptors, idle = self.server.descriptors(), self.server.idle_percent()
        self._run_clients("warm-up", max(1, seconds // WARM_UP_SHARE), self.seed)
        self.server.wait_for_descriptors(descriptors, self.arguments.calm)
        memory = self._memory()
        counts = self._run_clients("run", seconds, self.seed + 1)
        self.server.wait_for_descriptors(descriptors, self.arguments.calm)
        idle_after = self.server.wait_for_idleness(idle + IDLE_CPU_PERCENT, self.arguments.calm)
        memory_after = self._require_memory(memory)
        ended = self._terminate_under_fire()
        return (f"{counts['opened']:,} connections, {counts['connections_at_once']:,} at once, {counts['resets']:,} reset, "
                f"{counts['urgent']:,} urgent bytes, {counts['honest_exchanges']:,} honest exchanges on {counts['honest_connections']:,} "
                f"connections; {descriptors} descriptors, memory {memory / MIB:.1f}, then {memory_after / MIB:.1f} MiB (peak "
                f"{self.peak / MIB:.0f}), idle CPU {idle_after:.0f} %, ended in {ended:.1f} s")


def command_for(combination, seed, arguments):
    words = ["./dev", "chaos", "--server", combination.server, "--engine", combination.engine, "--options", combination.options,
             "--seconds", str(arguments.seconds), "--connections", str(arguments.connections), "--seed", str(seed)]
    if arguments.build_name != "release":
        words += ["--build", arguments.build_name]
    return shlex.join(words)


def try_combination(build, combination, seed, arguments, folder):
    """Returns whether all held."""
    print(f"{combination}: seed {seed}", flush=True)
    run = None
    try:
        run = Run(build, combination, seed, arguments, folder)
        print(f"ok {combination}: {run.execute()}", flush=True)
        return True
    except Failure as failure:
        print(f"FAILED {combination}: {failure}; seed {seed}", flush=True)
        for line in run.server.log_tail() if run is not None else []:
            print(f"  server: {line}")
        print(f"to repeat it:\n  {command_for(combination, seed, arguments)}", flush=True)
        return False
    finally:
        if run is not None:
            run.server.end()


# ---- the command line ----

def whole(least, most):
    def convert(text):
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"'{text}': must be a whole number from {least} to {most}")
        return int(text)
    return convert


def hexadecimal(text):
    if not re.fullmatch(r"[0-9a-fA-F]{1,64}", text):
        raise argparse.ArgumentTypeError(f"'{text}': must be a hexadecimal number, such as the hash of a commit")
    return int(text, 16)


def read_arguments():
    options = sorted({name for _, known in SERVERS.values() for name in known} | set(WITHOUT_COPY))
    parser = argparse.ArgumentParser(prog="./dev chaos", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__,
                                     usage="./dev chaos [OPTION]...",
                                     epilog="Without --options each server runs with its defaults, on each engine: about five minutes.")
    parser.add_argument("build", help=argparse.SUPPRESS)  # the build directory; ./dev passes it
    parser.add_argument("--server", action="append", choices=sorted(SERVERS), metavar="NAME",
                        help="a server: " + ", ".join(SERVERS) + " (default: all); may be given again")
    parser.add_argument("--engine", action="append", metavar="NAME", help="an engine (default: all that are available); may be given again")
    parser.add_argument("--options", action="append", choices=[*options, "all"], metavar="NAME",
                        help="a set of options: " + ", ".join(options) + ", or all (default: default); may be given again")
    parser.add_argument("--pick", type=hexadecimal, metavar="HASH", help="one of all the combinations, and the seed, chosen by a hexadecimal number")
    parser.add_argument("--seconds", type=whole(1, 86400), default=10, help="duration of each run, besides a third as a warm-up; 1 to 86400 (default 10)")
    parser.add_argument("--seed", type=whole(0, 2**63), help="of the clients (default: a random one)")
    parser.add_argument("--connections", type=whole(1, 15000), default=1500, help="at a time, 1 to 15000 (default 1500)")
    parser.add_argument("--calm", type=whole(1, 600), default=CALM_SECONDS,
                        help=f"seconds in which the server has to notice that all clients are gone, 1 to 600 (default {CALM_SECONDS})")
    parser.add_argument("--build", dest="build_name", default="release", metavar="NAME",
                        help="release (default), plain, address or thread; with a sanitizer the memory has no bound")
    parser.add_argument("--list", action="store_true", help="list the combinations and exit")
    arguments = parser.parse_args()
    arguments.memory = arguments.build_name not in ("address", "thread")
    return parser, arguments


def choose(parser, arguments):
    known = combinations(arguments.build, arguments.server or SERVERS)
    engines = sorted({combination.engine for combination in known})
    for engine in arguments.engine or []:
        if engine not in engines:
            parser.error(f"argument --engine: '{engine}': must be one of those available here: {', '.join(engines)}")
    if arguments.pick is not None:
        return [known[arguments.pick % len(known)]]
    options = arguments.options or (["all"] if arguments.list else ["default"])
    chosen = [combination for combination in known
              if (arguments.engine is None or combination.engine in arguments.engine)
              and ("all" in options or combination.options in options)]
    if not chosen:
        parser.error("no such combination; --list lists them")
    return chosen


def main():
    parser, arguments = read_arguments()
    chosen = choose(parser, arguments)
    if arguments.list:
        print("\n".join(map(str, chosen)))
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # an exception, so that the server is ended
    arguments.build = os.path.abspath(arguments.build)
    seed = arguments.seed
    if seed is None:
        seed = (arguments.pick or secrets.randbits(32)) % 2**32
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([os.path.join(arguments.build, "tests", "chaos", "chaos"), "--make-files"], cwd=folder, check=True)
        for number, combination in enumerate(chosen, 1):
            print(f"{number} of {len(chosen)}: ", end="")
            if not try_combination(arguments.build, combination, seed, arguments, folder):
                failed.append(combination)
    print(f"{len(chosen) - len(failed)} of {len(chosen)} runs held" + "".join(f"\nFAILED {combination}" for combination in failed))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
