"""Rows that compare jinduo's engines with each other, and with the servers written directly on epoll and io_uring.

The figure compared is the server's CPU time per message, because a busy machine falsifies it least. A ratio is the median of
the ratios of the rounds; more is better for jinduo on io_uring. The server also counts its system calls per message, and the
completions (on the Reactor: events) per system call.
"""

import functools
import re
import statistics
from dataclasses import dataclass

WARMUP_SECONDS = 0.3
CPU_FLOOR = 1 / 1.05        # raw io_uring / io_uring
REACTOR_FLOOR = 1.0         # Reactor / io_uring
ENTERS_GOAL = 0.1           # system calls per message
SPIN_FLOOR = 0.85           # messages/s, io_uring / raw io_uring
IDLE_BYTES_GOAL = 200
RING_BYTES_GOAL = 1 << 20
IDLE_CONNECTIONS = 9000
SECONDS = 1                 # default duration of a measurement
ONCE = ("raw_epoll", "simulated", "zero_copy")   # measured in the first round only, for information
ZERO_COPY_BYTES = 16384     # least size of a zero-copy send
IDLE_ENGINES = ("io_uring", "reactor")
NAMES = {"io_uring": "io_uring", "raw_uring": "raw io_uring", "reactor": "Reactor", "raw_epoll": "raw epoll",
         "simulated": "simulated", "zero_copy": "io_uring, zero-copy"}
WIDTH = 26


@dataclass(frozen=True)
class EngineRow:
    name: str
    load: tuple
    message_bytes: int
    server: str = "jd-echo"
    beside_reactor: bool = False   # has a goal against the Reactor
    enters_goal: float = None
    spins: bool = False
    large: bool = False            # compares zero-copy sends with the default and the Reactor only


@dataclass(frozen=True)
class IdleRow:
    name: str


def echo_row(name, size, connections, **goals):
    load = ("--mode", "ping-pong", "--no-frames", "--size", str(size), "--connections", str(connections))
    return EngineRow(name, load, size, **goals)


def large_rows():
    """Rows with messages larger than a small receive block."""
    stream = ("--mode", "pipeline", "--no-frames", "--size", "65536", "--connections", "8", "--depth", "4")
    frames = ("--mode", "ping-pong", "--size", "16384", "--header-bytes", "4", "--connections", "50")
    return (
        echo_row("ping-pong 16 KiB x 50", 16384, 50, beside_reactor=True),
        echo_row("ping-pong 64 KiB x 50", 65536, 50, beside_reactor=True),
        EngineRow("64 KiB x 8, depth 4", stream, 65536, beside_reactor=True),
        EngineRow("frames 16 KiB x 50", frames, 16388, server="jd-frame-echo", beside_reactor=True),
    )


def frame_row(depth):
    # 56 bytes of payload: a frame of 60 bytes.
    load = ("--mode", "pipeline", "--size", "56", "--header-bytes", "4", "--connections", "50", "--depth", str(depth))
    return EngineRow(f"frames 60 B x 50, depth {depth}", load, 60, server="jd-frame-echo", beside_reactor=True)


def rows():
    return (
        echo_row("ping-pong 64 B x 1", 64, 1),
        echo_row("ping-pong 64 B x 50", 64, 50, beside_reactor=True),
        echo_row("ping-pong 64 B x 500", 64, 500, beside_reactor=True, enters_goal=ENTERS_GOAL),
        echo_row("ping-pong 4 KiB x 50", 4096, 50, beside_reactor=True),
        *large_rows(),
        frame_row(16), frame_row(64),
        echo_row("ping-pong 64 KiB x 4", 64 << 10, 4, large=True),
        *(echo_row(f"busy poll 64 B x {connections}", 64, connections, spins=True) for connections in (1, 4)),
        IdleRow(f"idle on io_uring x {IDLE_CONNECTIONS}"),
    )


def sides_of(programs, row):
    """The program and options that each side starts."""
    raw = ("--spin",) if row.spins else ()
    own = ("--threads", "0", "--statistics", *(("--busy-poll", "200") if row.spins else ()), "--engine")
    sides = {"io_uring": (row.server, (*own, "io_uring")), "raw_uring": ("raw-uring", raw),
             "reactor": (row.server, (*own, "reactor")), "raw_epoll": ("raw-epoll", raw),
             "simulated": (row.server, (*own, "simulated"))}
    if row.large:
        sides = {"io_uring": sides["io_uring"], "reactor": sides["reactor"],
                 "zero_copy": (row.server, (*own, "io_uring", "--zero-copy", str(ZERO_COPY_BYTES)))}
    return {side: what for side, what in sides.items() if programs.has(what[0])}


def steps_of(programs, row, rounds):
    sides = sides_of(programs, row)
    return sum(1 if side in ONCE else rounds for side in sides)


def print_missing(programs):
    if not programs.has("raw-uring"):
        print("raw-uring is not built: liburing was not found\n")


def measure_once(programs, what, row, seconds):
    name, options = what
    process, address = programs.start_server(name, *options)
    try:
        figures = programs.load(address, process.pid, *row.load, "--verify", "sample", "--warmup", str(WARMUP_SECONDS),
                                seconds=seconds)
    finally:
        counted = programs.stop_server(process)
    return {**{field: figures[field] for field in ("messages_per_second", "server_cpu_us_per_message",
                                                   "server_cpu_percent")}, **calls(counted, row, figures)}


def calls(counted, row, figures):
    """Figures from the counters of the server's complete run, warm-up included."""
    enters, events = counted.get("enters", 0), counted.get("completions", counted.get("events", 0))
    received = counted.get("bytes_received", 0)
    messages = received / row.message_bytes
    return {"enters_per_message": enters / messages if messages else None,
            "completions_per_enter": events / enters if enters else None,
            "receive_pauses": counted.get("receive_pauses")}


def measure_row(programs, row, arguments, progress):
    sides = sides_of(programs, row)
    runs = {side: [] for side in sides}
    for number in range(arguments.rounds):
        # Another side is first in each round, so that none always runs on a warmer machine.
        names = [side for side in sides if number == 0 or side not in ONCE]
        first = number % len(names)
        for side in names[first:] + names[:first]:
            progress.show(f"{row.name}, round {number + 1}: {NAMES[side]}")
            runs[side].append(programs.undisturbed(
                functools.partial(measure_once, programs, sides[side], row, arguments.seconds)))
    return judge(row, {"row": row.name, "engines": {side: summarize(figures) for side, figures in runs.items()},
                       "runs": runs})


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def summarize(figures):
    return {field: median(run[field] for run in figures) for field in figures[0]}


def ratio(over, under, field):
    return statistics.median(a[field] / b[field] if b[field] else 0.0 for a, b in zip(over, under))


def judge(row, result):
    runs, goals = result["runs"], []
    if row.spins and "raw_uring" in runs:
        goals.append(("messages/s: io_uring / raw io_uring", ratio(runs["io_uring"], runs["raw_uring"], "messages_per_second"),
                      SPIN_FLOOR))
    elif "raw_uring" in runs:
        goals.append(("CPU: raw io_uring / io_uring", ratio(runs["raw_uring"], runs["io_uring"], "server_cpu_us_per_message"),
                      CPU_FLOOR))
    if row.beside_reactor:
        goals.append(("CPU: Reactor / io_uring", ratio(runs["reactor"], runs["io_uring"], "server_cpu_us_per_message"),
                      REACTOR_FLOOR))
    result["goals"] = [{"what": what, "ratio": value, "goal": goal, "met": value >= goal} for what, value, goal in goals]
    if row.enters_goal is not None:
        enters = result["engines"]["io_uring"]["enters_per_message"]
        result["goals"].append({"what": "system calls per message", "ratio": enters, "goal": row.enters_goal, "at_most": True,
                                "met": enters <= row.enters_goal})
    return result


# ---- memory ----

def memory_of(programs, engine):
    """The bytes of a server that has just started: anonymous memory, and the ring memory that it shares with the kernel."""
    process, _ = programs.start_server("jd-echo", "--threads", "0", "--engine", engine)
    try:
        with open(f"/proc/{process.pid}/smaps", encoding="utf-8") as lines:
            text = lines.read()
    finally:
        programs.stop(process)
    anonymous = sum(int(kib) for kib in re.findall(r"^Anonymous: +(\d+) kB", text, re.MULTILINE))
    # A mapping of the ring's file is completely resident.
    rings = sum(int(end, 16) - int(begin, 16)
                for begin, end in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) .*io_uring", text, re.MULTILINE))
    return {"anonymous": anonymous * 1024, "rings": rings}


def measure_idle(programs, row, progress, measure_side):
    result = {"row": row.name, "engines": {}, "idle": True}
    for engine in IDLE_ENGINES:
        progress.show(f"{row.name}: {NAMES[engine]}")
        result["engines"][engine] = {
            **measure_side(programs, "jd-echo", ("--threads", "0", "--engine", engine), IDLE_CONNECTIONS),
            **memory_of(programs, engine)}
    ours, reactor = (result["engines"][engine] for engine in IDLE_ENGINES)
    # The memory of a loop without connections beyond that of a Reactor's loop: the receive blocks and the arena.
    ours["ring_bytes"] = ours["rings"] + ours["anonymous"] - reactor["anonymous"]
    result["goals"] = [
        {"what": "bytes per connection", "ratio": ours["bytes"], "goal": IDLE_BYTES_GOAL, "at_most": True,
         "met": ours["bytes"] <= IDLE_BYTES_GOAL},
        {"what": "bytes of the ring per loop", "ratio": ours["ring_bytes"], "goal": RING_BYTES_GOAL, "at_most": True,
         "met": ours["ring_bytes"] <= RING_BYTES_GOAL}]
    return result


# ---- the table ----

def cell(value, form):
    return "-" if value is None else form.format(value)


def print_goals(result):
    for goal in result["goals"]:
        form = "{:.0f}" if goal["goal"] > 10 else "{:.3f}" if goal.get("at_most") else "{:.2f}"
        bound = "<=" if goal.get("at_most") else ">="
        print(f"  {goal['what']:36} {form.format(goal['ratio']):>9}   goal {bound} {form.format(goal['goal'])}   "
              f"{'met' if goal['met'] else 'MISSED'}")
    print()


def print_idle(result):
    print(result["row"])
    for engine, figures in result["engines"].items():
        print(f"  {NAMES[engine]:10} {figures['bytes']:6.0f} bytes per connection; process after start: "
              f"{figures['anonymous'] // 1024} KiB anonymous, {figures['rings'] // 1024} KiB of rings")
    print_goals(result)


def print_results(results):
    for result in results:
        if "idle" in result:
            print_idle(result)
            continue
        print(f"{result['row']:{WIDTH}} {'CPU us/message':>15} {'messages/s':>11} {'calls/message':>14} "
              f"{'completions/call':>17}")
        for side, figures in result["engines"].items():
            print(f"  {NAMES[side]:{WIDTH - 2}} {figures['server_cpu_us_per_message']:15.3f} "
                  f"{figures['messages_per_second']:11.0f} {cell(figures['enters_per_message'], '{:.3f}'):>14} "
                  f"{cell(figures['completions_per_enter'], '{:.1f}'):>17}")
        print_goals(result)
