"""The scenarios: what each measures, and with what load.

A scenario's kind names the function in measure.py that carries it out. Its measure decides a comparison; the others are shown.
"""

import fnmatch
from dataclasses import dataclass

ENGINES = ("reactor", "io_uring")
RAW = ("raw-epoll", "raw-uring")
LIBRARIES = ("libevent", "libuv", "asio")
DOCUMENTED = tuple(f"{library}-documented" for library in LIBRARIES)
SIZES = {"64 B": 64, "1 KiB": 1024, "16 KiB": 16384}
PING_PONG_CONNECTIONS = (1, 10, 100, 1000, 5000)
FRAME_CONNECTIONS = 50
HEADER_BYTES = 4
FILE_BYTES = 100 * 1000 * 1000
SOURCES = 1000             # addresses for connections that end by FIN
PIPES = (100, 1000, 8000)
PIPES_ACTIVE = 100         # one in so many
BROADCAST_RECEIVERS = 1000
HANDLER_RATES = {0: 20000, 10: 20000, 100: 4000}   # messages/s at µs of work: below half a core
SERVED = ("per_second", "user_us", "kernel_us")


@dataclass(frozen=True)
class Scenario:
    name: str
    group: str
    role: str
    kind: str = "load"
    load: tuple = ()               # options of the load
    server: tuple = ()             # options of jinduo's server besides its role's
    measure: str = "cpu_us"
    shown: tuple = ("per_second",)
    unit: str = "message"
    sides: tuple = (*ENGINES, *RAW)
    peers: tuple = ()              # further contestants that can take part
    connections: int = 1
    size: int = 0
    depth: int = 1
    rate: float = None             # offered messages/s; None: as fast as answers arrive
    seconds: float = None          # the time of a measurement, where it cannot be chosen
    rounds: int = None             # of a full run, where fewer than 8 are enough: measures that repeat well
    takes: float = None            # the expected time of a whole measurement, where seconds do not say it
    quick: bool = False
    full: bool = True
    noise: bool = False            # full runs measure the Reactor twice here: the noise of the scenario's group
    note: str = ""

    @property
    def load_text(self):
        """The load in words, for the verdict."""
        return f"at {self.rate:,.0f} {self.unit}s a second offered".replace(",", " ") if self.rate else "as fast as answers arrive"

    def contestants(self):
        return (*self.sides, *self.peers)


def _echo(size, connections):
    return ("--mode", "ping-pong", "--no-frames", "--size", str(size), "--connections", str(connections))


def _ping_pong():
    for text, size in SIZES.items():
        for connections in PING_PONG_CONNECTIONS:
            busy = ("reactor-busy", "io_uring-busy", "raw-epoll-busy", "raw-uring-busy") if connections <= 10 else ()
            yield Scenario(
                f"ping-pong {text} x {connections}", "ping-pong", "echo", load=_echo(size, connections), connections=connections,
                size=size, peers=("simulated", *busy, *LIBRARIES, *DOCUMENTED), noise=(text, connections) == ("64 B", 100),
                quick=(text, connections) in (("64 B", 1), ("64 B", 100), ("64 B", 1000)))


def _frames():
    for text, size in {"60 B": 60, "1 KiB": 1024}.items():
        for depth in (1, 16, 64):
            load = ("--mode", "pipeline", "--size", str(size - HEADER_BYTES), "--header-bytes", str(HEADER_BYTES),
                    "--connections", str(FRAME_CONNECTIONS), "--depth", str(depth))
            yield Scenario(f"frames {text}, {depth} in flight", "frames", "frames", load=load, connections=FRAME_CONNECTIONS,
                           size=size, depth=depth, peers=("simulated", "reactor-own-codec", *LIBRARIES, *DOCUMENTED),
                           noise=(text, depth) == ("60 B", 16), quick=(text, depth) == ("60 B", 16),
                           note="the raw loops echo bytes and parse no frames")


def _streaming():
    for text, size in {"512 B": 512, "64 KiB": 65536}.items():
        load = ("--mode", "stream", "--no-frames", "--connections", "4", "--size", str(size), "--write", str(size))
        yield Scenario(f"streaming, writes of {text}", "streaming", "discard", load=load, connections=4, size=size, unit="MB",
                       peers=("simulated", *LIBRARIES), quick=size == 65536, noise=size == 65536,
                       note="one way: the server drops what it receives")


def _short():
    base = ("--mode", "connect", "--no-frames", "--size", "1024", "--connections", "16")
    by_fin = ("--close", "fin", "--sources", str(SOURCES))
    more = {"group": "short connections", "role": "echo", "connections": 16, "size": 1024,
            "peers": ("simulated", *LIBRARIES)}
    yield Scenario("short: connect, 1 KiB, reset", load=base, quick=True, noise=True, unit="connection", **more)
    yield Scenario("short: connect, 1 KiB, FIN", load=(*base, *by_fin), unit="connection",
                   note=f"from {SOURCES} source addresses", **more)
    yield Scenario("short: 10 requests a connection", load=(*base, *by_fin, "--requests", "10"), unit="request",
                   note=f"from {SOURCES} source addresses", **more)


def _long():
    yield Scenario("long: 10 000 connections x 10/s", "long connections", "echo",
                   load=(*_echo(64, 10000), "--rate", "100000"), connections=10000, size=64, rate=100000.0,
                   shown=("per_second", "p50_us", "p99_us", "p999_us", "mean_us"), measure="p99_us", peers=LIBRARIES,
                   seconds=4.0, noise=True)


def _http():
    more = {"group": "http", "role": "http", "kind": "http", "sides": ("reactor", "io_uring", "nginx"), "unit": "request"}
    for name, words in {"keep-alive": (), "pipelined by 16": ("--pipeline", "16")}.items():
        yield Scenario(f"http {name}", load=words, connections=100, size=1024, noise=not words,
                       note="wrk, 100 connections, a file of 1 KiB; nginx with open_file_cache", **more)
    hello = "wrk, 50 connections; nginx: return 200; its head has a field more, Connection"
    yield Scenario("http hello x 50", load=("--hello",), connections=50, note=hello, **more)
    yield Scenario("http hello x 50, pipelined by 16", load=("--hello", "--pipeline", "16"), connections=50, measure="per_second",
                   shown=("cpu_us",), note=hello, **more)
    for text, size, connections in (("1 KiB", 1024, 50), ("1 MB", 1000 * 1000, 10)):
        yield Scenario(f"http file {text} x {connections}", load=("--no-cache",), connections=connections, size=size,
                       note=f"wrk, {connections} connections; nginx with sendfile, without open_file_cache", **more)
    for command in ("GET", "SET"):
        for name, depth in {command: "1", f"{command}, pipelined by 16": "16"}.items():
            yield Scenario(f"redis {name}", "redis", "redis", "redis", load=(command.lower(), depth),
                           sides=("reactor", "io_uring", "redis-server"), unit="request", connections=50, noise=name == "GET",
                           note="redis-benchmark, 50 connections, 100 000 keys; redis-server without persistence")


def _file():
    raw = ("raw-epoll", "raw-read", "raw-mmap", "raw-splice")
    for text, size in {"100 MB": FILE_BYTES, "1 KiB": 1024}.items():
        for heat in ("warm", "cold"):
            # The pages of a file that somebody maps cannot be dropped (posix_fadvise(2)), nor those that the network still holds: after
            # sendfile(2) the kernel frees them late, so a small file that was just sent stays in memory.
            kept = {"warm": (), "cold": ("raw-mmap",) if size == FILE_BYTES else ("raw-mmap", "raw-epoll", "raw-splice", "nginx")}[heat]
            sides = (*ENGINES, *(side for side in raw if side not in kept))
            late = "; without those that use sendfile and splice, which keep a small file in memory" if "nginx" in kept else ""
            role = "file" if heat == "warm" else "cold-file"
            yield Scenario(f"file {text}, {heat}", "file", role, "file", sides=sides, size=size, unit="transfer",
                           load=("--cold",) if heat == "cold" else (), seconds=1.0, noise=(text, heat) == ("100 MB", "warm"),
                           quick=(text, heat) == ("100 MB", "warm"),
                           note="a connection for each transfer" + (
                               f"; before each, its pages are dropped (POSIX_FADV_DONTNEED){late}" if heat == "cold" else ""))
            yield Scenario(f"file {text} by HTTP, {heat}", "file", "http", "http_file", size=size,
                           sides=(*ENGINES, *(side for side in ("nginx",) if side not in kept)),
                           unit="transfer", load=("--cold",) if heat == "cold" else (), seconds=1.0,
                           note=f"jd-http --root; nginx with sendfile; a connection for each transfer{late}")
    for heat in ("cold", "warm"):
        yield Scenario(f"echo beside a {heat} file", "file", "mixed", "mixed", sides=(*ENGINES, "raw-epoll"), measure="p99_us",
                       shown=("p50_us", "p999_us", "megabytes"), load=("--cold",) if heat == "cold" else (),
                       size=64, connections=10, rate=2000.0, seconds=2.0, noise=heat == "cold",
                       note="64 B x 10 at 2 000 messages/s, on the loop that sends a file of 100 MB again and again; "
                       "the raw loop sends it by sendfile")


def _triggers():
    for connections in (100, 1000):
        yield Scenario(f"triggers and threads, 64 B x {connections}", "triggers and threads", "echo",
                       load=_echo(64, connections), connections=connections, size=64,
                       sides=("reactor", "raw-epoll", "raw-level", "raw-threads"), noise=connections == 100,
                       note="raw epoll is edge-triggered")


def _broadcast():
    for depth in (1, 16):
        yield Scenario(f"broadcast to 1 000, {depth} under way", "broadcast", "broadcast", "small", unit="delivery",
                       load=("peers/broadcast-load", "--connections", str(BROADCAST_RECEIVERS), "--depth", str(depth)),
                       sides=(*ENGINES, "raw-epoll"), peers=LIBRARIES, connections=BROADCAST_RECEIVERS, size=1024, depth=depth,
                       quick=depth == 16, noise=depth == 16, note="1 KiB; each delivery to one connection counts")


def _idle():
    yield Scenario("idle: bytes a connection", "idle", "idle", "idle", measure="bytes", shown=("kernel_bytes",), connections=9000,
                   peers=LIBRARIES, noise=True, takes=3.0, rounds=4)
    yield Scenario("idle: bytes, with timeout and heartbeat", "idle", "idle-timeouts", "idle", measure="bytes", shown=(), sides=ENGINES,
                   connections=9000, takes=3.0, rounds=4)
    yield Scenario("idle: a busy one beside 10 000", "idle", "echo", "beside_idle", load=_echo(64, 1), size=64, connections=10000,
                   peers=LIBRARIES, noise=True)


def _loop():
    loop = {"group": "loop", "sides": (*ENGINES, *LIBRARIES)}
    for name, clock in {"the turn's clock": "turn", "the real clock": "real"}.items():
        yield Scenario(f"timers: a million live, {name}", role="timers", kind="timers", rounds=4, load=(clock, "100000"), unit="timer",
                       measure="timer_ns", shown=("start_ns", "cancel_ns", "expire_ns", "timer_bytes"), takes=7.0,
                       note="due in 1 to 60 s; 100 000 random ones at a time are cancelled and started again", **loop)
    yield Scenario("tasks from another thread", role="tasks", kind="tasks", measure="task_ns", shown=("per_second",), unit="task",
                   takes=0.8, quick=True, noise=True, note="at most 4 096 under way; libevent and libuv: a list under a lock",
                   **loop)
    yield Scenario("wakeup by another thread", role="wakeup", kind="wakeup", measure="p50_us", shown=("p99_us",), unit="wakeup",
                   takes=1.0, note="a task for a loop that sleeps: from the call to its run, on another core", **loop)
    for count in PIPES:
        yield Scenario(f"pipes: {count}, one in {PIPES_ACTIVE} active", role="pipes", kind="pipes", load=(str(count), str(count // PIPES_ACTIVE)),
                       measure="turn_us", shown=(), unit="round", takes=1.0, group="loop", sides=(*ENGINES, "raw-epoll", *LIBRARIES),
                       connections=count,
                       note="a byte is passed on from pipe to pipe; a round is 1 000 deliveries by the loop")


def _handler():
    for work, rate in HANDLER_RATES.items():
        for where, words in {"on the loop": (), "in a pool": ("--pool", "2")}.items():
            if where == "in a pool" and work == 0:
                continue
            load = ("--mode", "ping-pong", "--size", str(60 - HEADER_BYTES), "--header-bytes", str(HEADER_BYTES),
                    "--connections", "50", "--rate", str(rate))
            yield Scenario(f"handler of {work} µs {where}", "handler cost", "frames", load=load, sides=ENGINES, rate=float(rate),
                           server=("--work-us", str(work), *words), measure="p99_us", shown=("p50_us", "p999_us", "mean_us", "cpu_us"),
                           connections=50, size=60, noise=(work, where) == (10, "on the loop"),
                           note="the pool's threads share the server's core" if words else "")


LARGE = {f"{kib} KiB" if kib < 1024 else "1 MiB": kib * 1024 for kib in (4, 16, 32, 64, 128, 256, 1024)}
LARGE_AROUND = {f"{size * 1024 + by} B": size * 1024 + by for size in (4, 16, 32, 64, 128, 256, 1024) for by in (-1, 1)}


def _large():
    """The sizes around the powers of two are here because most buffers are powers of two: a buffer that is a few bytes short of one
    costs a call of its own for each message."""
    more = {"group": "large messages", "full": False, "peers": ("io_uring-zero-copy", *LIBRARIES)}
    for text, size in LARGE.items():
        for connections in (1, 8, 50):
            yield Scenario(f"large: echo {text} x {connections}", role="echo", load=_echo(size, connections), connections=connections,
                           size=size, **more)
    for text, size in LARGE_AROUND.items():
        yield Scenario(f"large: echo {text} x 8", role="echo", load=_echo(size, 8), connections=8, size=size, **more)
    for text, size in LARGE.items():
        load = ("--mode", "ping-pong", "--size", str(size), "--header-bytes", str(HEADER_BYTES), "--connections", "8")
        yield Scenario(f"large: frames of {text} x 8", role="frames", load=load, connections=8, size=size, sides=ENGINES, **more)
    for text, size in LARGE.items():
        load = ("--mode", "stream", "--no-frames", "--connections", "8", "--size", str(size), "--write", str(min(size, 65536)))
        yield Scenario(f"large: one way {text} x 8", role="discard", load=load, connections=8, size=size, unit="MB", **more)


SCENARIOS = {scenario.name: scenario for make in (_ping_pong, _frames, _streaming, _short, _long, _http, _file, _triggers,
                                                  _broadcast, _idle, _loop, _handler, _large) for scenario in make()}


def matching(pattern):
    """The scenarios whose name or group is pattern, matches it (with * and ?), or else contains it."""
    exact = [scenario for scenario in SCENARIOS.values()
             if pattern in (scenario.name, scenario.group) or fnmatch.fnmatchcase(scenario.name, pattern)]
    return exact or [scenario for scenario in SCENARIOS.values() if pattern in scenario.name]
