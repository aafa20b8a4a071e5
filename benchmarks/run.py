#!/usr/bin/env python3
"""Compares jinduo's servers with a server written directly on epoll, in one run, and prints a table.

For each row the two servers alternate for several rounds; each measurement starts a new server. The server has one core, the
load another. A ratio is the median of the ratios of the rounds, so that a slow period of the machine affects both sides;
absolute figures are medians, too. More is better for jinduo; 1.00 is as fast as the server written directly on epoll (raw).
"""

import argparse
import fnmatch
import functools
import json
import os
import platform
import resource
import signal
import statistics
import sys
from dataclasses import dataclass

import engines
import large
import peers
import plot
from programs import Failure, Programs, Progress

BUSY_PERCENT = 95          # of its core: a server that uses more limits messages/s
WARMUP_SECONDS = 0.3
IDLE_CONNECTIONS = 9000
IDLE_FIRST = 1000          # opened first, to measure the memory of each further connection
IDLE_SETTLE_SECONDS = 0.5
IDLE_BYTES_GOAL = 200
SPARE_DESCRIPTORS = 64
BAR_WIDTH = 40
BAR_RATIO = 1.5            # ratio of a full bar


@dataclass(frozen=True)
class Row:
    """A comparison, with the least ratios of messages/s (jinduo / raw) and of CPU per message (raw / jinduo)."""
    name: str
    load: tuple
    server: str = "jd-echo"
    server_options: tuple = ()
    raw_options: tuple = ()
    beside: tuple | None = None   # options of a second run of the server, which stands in the place of raw
    messages_floor: float = 0.97
    cpu_floor: float = 1 / 1.05
    rule: str = "one"      # one: messages/s decides if both servers are busy, else CPU; both: if both are busy, messages/s
                           # and CPU decide; messages: messages/s decides always, as the servers spin


def echo_load(mode, size, connections):
    return ("--mode", mode, "--no-frames", "--size", str(size), "--connections", str(connections))


def frame_load(depth):
    # 56 bytes of payload: a frame of 60 bytes.
    return ("--mode", "pipeline", "--size", "56", "--header-bytes", "4", "--connections", "50", "--depth", str(depth))


ROWS = (
    *(Row(f"ping-pong {text} x {connections}", echo_load("ping-pong", size, connections), rule="both")
      for size, text in ((64, "64 B"), (4096, "4 KiB")) for connections in (1, 50, 500)),
    Row("frames 60 B x 50, depth 16", frame_load(16), server="jd-frame-echo", messages_floor=0.85, cpu_floor=0.85),
    Row("frames 60 B x 50, depth 64", frame_load(64), server="jd-frame-echo", messages_floor=0.75, cpu_floor=0.75),
    # The same codec written with jd_codec_create, in the column jinduo, and the library's own, in the column raw.
    Row("frames 60 B x 50, depth 64, own codec", frame_load(64), server="jd-frame-echo", server_options=("--own-codec",),
        beside=(), messages_floor=0.9, cpu_floor=0.9),
    Row("connect, message, close", echo_load("connect", 64, 16), cpu_floor=0.97),
    *(Row(f"busy poll 64 B x {connections}", echo_load("ping-pong", 64, connections), messages_floor=0.85,
          server_options=("--busy-poll", "200"), raw_options=("--spin",), rule="messages") for connections in (1, 4)),
)
IDLE_ROW = f"idle connection x {IDLE_CONNECTIONS}"
IDLE_TIMEOUTS_ROW = f"idle connection x {IDLE_CONNECTIONS}, timeout and heartbeat"
# With their servers. The row with timeouts is measured without raw, which has no timers.
IDLE_ROWS = {IDLE_ROW: Row(IDLE_ROW, ()), IDLE_TIMEOUTS_ROW: Row(IDLE_TIMEOUTS_ROW, (), server="peers/idle-jinduo")}


def measure_once(programs, name, options, row, seconds):
    process, address = programs.start_server(name, *options)
    try:
        return programs.load(address, process.pid, *row.load, "--verify", "sample", "--warmup", str(WARMUP_SECONDS),
                             seconds=seconds)
    finally:
        programs.stop(process)


def sides_of(programs, row, engine):
    """The program and options of each side; without jinduo's programs only raw is measured."""
    common = ("--threads", "0", "--engine", engine)
    sides = {"raw": ("raw-epoll", row.raw_options)}
    if programs.has(row.server):
        sides["jinduo"] = (row.server, (*common, *row.server_options))
        if row.beside is not None:
            sides["raw"] = (row.server, (*common, *row.beside))
    return sides


def measure_row(programs, row, arguments, progress):
    sides = sides_of(programs, row, arguments.engine)
    runs = {side: [] for side in sides}
    for round_number in range(arguments.rounds):
        # The other side is first in the next round, so that neither always runs on a warmer machine.
        for side in sorted(sides, reverse=round_number % 2 == 0):
            progress.show(f"{row.name}, round {round_number + 1}: {side}")
            runs[side].append(programs.undisturbed(
                functools.partial(measure_once, programs, *sides[side], row, arguments.seconds)))
    progress.skip(arguments.rounds * (2 - len(sides)))
    return summarize(row, runs)


def median_of(runs, field):
    return statistics.median(run[field] for run in runs)


def median_ratio(over, under, field):
    return statistics.median(a[field] / b[field] if b[field] else 0.0 for a, b in zip(over, under))


def summarize(row, runs):
    fields = ("messages_per_second", "server_cpu_us_per_message", "server_cpu_percent", "cpu_percent")
    result = {"row": row.name, "runs": runs}
    for side, figures in runs.items():
        result[side] = {field: median_of(figures, field) for field in fields}
        result[side]["latency_us"] = {name: statistics.median(run["latency_us"][name] for run in figures)
                                      for name in figures[0]["latency_us"]}
    if "jinduo" in runs:
        result["messages_ratio"] = median_ratio(runs["jinduo"], runs["raw"], "messages_per_second")
        result["cpu_ratio"] = median_ratio(runs["raw"], runs["jinduo"], "server_cpu_us_per_message")
        judge(row, result)
    return result


def judge(row, result):
    busy = min(result[side]["server_cpu_percent"] for side in ("jinduo", "raw")) >= BUSY_PERCENT
    ratios = {"messages": (result["messages_ratio"], row.messages_floor), "cpu": (result["cpu_ratio"], row.cpu_floor)}
    deciding = ["messages"] if row.rule == "messages" or busy else ["cpu"]
    if row.rule == "both" and busy:
        deciding.append("cpu")
    result["goals"] = {name: ratios[name][1] for name in deciding}
    result["met"] = all(ratios[name][0] >= ratios[name][1] for name in deciding)
    # The ratio closest to its goal is drawn.
    tightest = min(deciding, key=lambda name: ratios[name][0] / ratios[name][1])
    result["deciding_ratio"], result["deciding_goal"] = ratios[tightest]


def idle_load(programs, address, pid, connections):
    figures = programs.load(address, pid, *echo_load("idle", 64, connections), seconds=IDLE_SETTLE_SECONDS)
    return figures["server_anonymous_bytes_per_connection"]


def measure_idle_side(programs, name, options, connections):
    """Measures the memory of one more connection in two ways, as each hides a cost that the other shows:
      - a new server that already has connections: no memory of closed connections can be reused;
      - a server without connections that had as many before: memory that is allocated only once does not count."""
    process, address = programs.start_server(name, *options)
    try:
        first = programs.start(programs.load_core, "jd-load", address, *echo_load("idle", 64, IDLE_FIRST),
                               "--seconds", "60")
        programs.wait_line(first, "jd-load")
        on_top = idle_load(programs, address, process.pid, connections - IDLE_FIRST)
        programs.stop(first)
        idle_load(programs, address, process.pid, connections)
        again = idle_load(programs, address, process.pid, connections)
    finally:
        programs.stop(process)
    return {"bytes_on_top": on_top, "bytes_again": again, "bytes": max(on_top, again)}


def measure_idle(programs, row, arguments, progress):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    connections = min(IDLE_CONNECTIONS, limit - SPARE_DESCRIPTORS)
    if connections <= IDLE_FIRST:
        raise Failure(f"the limit of {limit} descriptors is too low, {IDLE_FIRST + SPARE_DESCRIPTORS + 1} are needed")
    result = {"row": row.name, "connections": connections}
    sides = sides_of(programs, row, arguments.engine)
    if row.name == IDLE_TIMEOUTS_ROW:
        del sides["raw"]
    for side, (name, options) in sides.items():
        progress.show(f"{row.name}: {side}")
        result[side] = measure_idle_side(programs, name, options, connections)
    if "jinduo" in result:
        result["met"] = result["jinduo"]["bytes"] <= IDLE_BYTES_GOAL
    return result


def cpu_model():
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def machine():
    return {"kernel": platform.release(), "cpu": cpu_model(), "cores": len(os.sched_getaffinity(0))}


def print_machine(facts):
    print(f"Linux {facts['kernel']}, {facts['cpu']}, {facts['cores']} cores available")
    if facts["cores"] < 2:
        print("Only one core: server and load share it, so the figures are not meaningful.")
    print("Absolute figures of a busy or virtual machine are not meaningful; the ratios compare measurements taken in turn.\n")


def verdict(result):
    return {True: "met", False: "MISSED", None: "-"}[result.get("met")]


def pair(result, field, form):
    """The figures of jinduo and of raw, as text."""
    return [form.format(result[side][field]) if side in result else "-" for side in ("jinduo", "raw")]


def goal_text(result):
    names = {"messages": "messages/s", "cpu": "CPU"}
    return ", ".join(f"{names[name]} >= {goal:.2f}" for name, goal in result.get("goals", {}).items()) or "-"


def table_line(result):
    ratio = [f"{result[name]:.2f}" if name in result else "-" for name in ("messages_ratio", "cpu_ratio")]
    return [result["row"], *pair(result, "messages_per_second", "{:.0f}"), ratio[0],
            *pair(result, "server_cpu_us_per_message", "{:.3f}"), ratio[1],
            *pair(result, "server_cpu_percent", "{:.0f}"), *pair(result, "cpu_percent", "{:.0f}"),
            goal_text(result), verdict(result)]


def print_table(results):
    groups = ["", "messages/s", "", "", "server CPU, us/message", "", "", "server core, %", "", "load core, %", "", "", ""]
    heads = ["", "jinduo", "raw", "ratio", "jinduo", "raw", "ratio", "jinduo", "raw", "jinduo", "raw", "goal", ""]
    lines = [table_line(result) for result in results]
    widths = [max(len("server"), *(len(line[i]) for line in [heads, *lines])) for i in range(len(heads))]
    starts = [sum(widths[:i]) + 2 * i for i in range(len(widths))]
    above = ""
    for start, group in zip(starts, groups):
        above = above.ljust(start) + group if group else above
    print(above)
    for line in [heads, *lines]:
        cells = [cell.ljust(width) if i in (0, 11, 12) else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(line, widths))]
        print("  ".join(cells).rstrip())
    print(f"\nRatios: messages/s jinduo / raw, CPU raw / jinduo; more is better. A server that uses less than "
          f"{BUSY_PERCENT} % of its\ncore waits for the load: then CPU per message decides.\n")


def bar(ratio, goal):
    """A bar for the ratio, with a mark at its goal."""
    def place(value):
        return min(BAR_WIDTH - 1, round(value / BAR_RATIO * BAR_WIDTH))

    cells = ["█" if i < place(ratio) else "·" for i in range(BAR_WIDTH)]
    cells[place(goal)] = "|"
    return "".join(cells)


def print_bars(results):
    width = max(len(result["row"]) for result in results)
    for result in results:
        if "deciding_ratio" in result:
            print(f"{result['row'].ljust(width)}  {bar(result['deciding_ratio'], result['deciding_goal'])}  "
                  f"{result['deciding_ratio']:.2f}  {verdict(result)}")
    print(f"{''.ljust(width)}  0{'goal: |'.center(BAR_WIDTH - 4)}{BAR_RATIO:.1f}\n")


def print_idle(result):
    print(f"{result['row']} ({result['connections']} open), bytes of anonymous memory per connection:")
    for side in ("jinduo", "raw"):
        if side in result:
            figures = result[side]
            print(f"  {side:7} {figures['bytes']:6.0f}   {figures['bytes_on_top']:.0f} with {IDLE_FIRST} open before, "
                  f"{figures['bytes_again']:.0f} after as many were open and closed")
    print(f"  goal    {IDLE_BYTES_GOAL:6}   {verdict(result)}\n")


def print_results(results):
    compared = [result for result in results if "messages_ratio" in result or "raw" in result.get("runs", ())]
    compared = [result for result in compared if "metrics" not in result and "engines" not in result]
    if compared:
        print_table(compared)
    if any("deciding_ratio" in result for result in compared):
        print_bars(compared)
    for result in results:
        if result["row"] in IDLE_ROWS:
            print_idle(result)
    engines.print_results([result for result in results if "engines" in result])
    beside = [result for result in results if "metrics" in result]
    if beside:
        peers.print_table(beside)


def read_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.split("\n", maxsplit=1)[0],
                                     epilog=peers.BROADCAST_HELP)
    parser.add_argument("build", help=argparse.SUPPRESS)  # the build directory; ./dev passes it
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each side in a row (default 5)")
    parser.add_argument("--seconds", type=float, help="duration of a measurement (default 2, with --engines and --large 1)")
    parser.add_argument("--only", metavar="PATTERN", help="only rows whose name matches PATTERN (with * and ?) or contains it; see --list")
    parser.add_argument("--engine", default="reactor", help="engine of jinduo's servers (default reactor)")
    parser.add_argument("--engines", action="store_true", help="other rows: compare the engines, and the servers written directly on epoll and io_uring")
    parser.add_argument("--peers", action="store_true", help="other rows: compare with libevent, libuv and Asio, as far as installed")
    parser.add_argument("--large", action="store_true", help="other rows: messages of 4 KiB to 1 MiB, compared with all of these")
    parser.add_argument("--plot", metavar="FILE", help="draw the ratios into FILE (.svg, .png, .pdf); needs matplotlib")
    parser.add_argument("--json", metavar="FILE", help="also write all figures to FILE")
    parser.add_argument("--list", action="store_true", help="print the names of the rows and exit")
    arguments = parser.parse_args()
    if arguments.seconds is None:
        arguments.seconds = engines.SECONDS if arguments.engines or arguments.large else 2
    if arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error(f"--rounds {arguments.rounds} and --seconds {arguments.seconds:g}: must be more than 0")
    return arguments


def wanted(name, pattern):
    return pattern is None or pattern in name or fnmatch.fnmatch(name, pattern)


def measure(programs, row, arguments, progress):
    if isinstance(row, engines.EngineRow):
        return engines.measure_row(programs, row, arguments, progress)
    if isinstance(row, engines.IdleRow):
        return engines.measure_idle(programs, row, progress, measure_idle_side)
    if isinstance(row, peers.PeerRow):
        return peers.measure_row(programs, row, arguments, progress)
    return (measure_idle if row.name in IDLE_ROWS else measure_row)(programs, row, arguments, progress)


def steps_of(programs, row, arguments):
    if isinstance(row, engines.EngineRow):
        return engines.steps_of(programs, row, arguments.rounds)
    if isinstance(row, engines.IdleRow):
        return len(engines.IDLE_ENGINES)
    if isinstance(row, peers.PeerRow):
        return arguments.rounds * len(peers.sides_of(programs, row))
    return 2 if row.name in IDLE_ROWS else 2 * arguments.rounds


def measure_all(programs, rows, arguments, progress, results):
    """Returns whether all programs worked; a missed goal is a result, not a failure."""
    good = True
    for row in rows:
        try:
            results.append(measure(programs, row, arguments, progress))
        except Failure as failure:
            good = False
            progress.clear()
            print(f"{row.name}: {failure}", file=sys.stderr)
    return good


def prepare():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[min(1, len(cores) - 1)]


def main():
    arguments = read_arguments()
    rows = (large.rows() if arguments.large else peers.rows(arguments.engine) if arguments.peers
            else engines.rows() if arguments.engines
            else (*ROWS, *IDLE_ROWS.values()))
    rows = [row for row in rows if wanted(row.name, arguments.only)]
    if arguments.list or not rows:
        print("\n".join(row.name for row in rows) or f"--only '{arguments.only}': no row matches; see --list")
        return 0 if rows else 2
    programs = Programs(arguments.build, prepare())
    missing = [name for name in ("jd-load", "raw-epoll") if not programs.has(name)]
    if missing:
        print(f"{programs.path(missing[0])}: not built", file=sys.stderr)
        return 2
    facts, results, good = machine(), [], False
    print_machine(facts)
    if arguments.engines:
        engines.print_missing(programs)
    if arguments.peers or arguments.large:
        rows = peers.possible(programs, rows)
        peers.print_missing(programs, rows)
    progress = Progress(sum(steps_of(programs, row, arguments) for row in rows))
    try:
        good = measure_all(programs, rows, arguments, progress, results)
    except KeyboardInterrupt:
        progress.clear()
        print("interrupted: results so far", file=sys.stderr)
    finally:
        programs.stop_all()
    progress.clear()
    if results:
        print_results(results)
        programs.print_disturbance()
    if arguments.plot:
        plot.draw(results, arguments.plot)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"machine": facts, "rounds": arguments.rounds, "seconds": arguments.seconds,
                       "host": programs.disturbance(), "results": results}, file, indent=1)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
