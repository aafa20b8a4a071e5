"""Rows that compare jinduo with other libraries, and with servers written directly on epoll.

In each round each side is started anew. A ratio is the median of the ratios of the rounds; more is better for jinduo. "The
best" of the others is the side with the smallest ratio.
"""

import functools
import os
import statistics
import subprocess
import tempfile
from dataclasses import dataclass

PEERS = {"libevent": "libevent-dev", "libuv": "libuv1-dev", "asio": "libasio-dev and g++"}
WARMUP_SECONDS = 0.3
TIMERS_BATCH, TIMERS_FEW = 100000, 100
FILE_BYTES = 100 * 1000 * 1000
BROADCAST_CONNECTIONS = 1000
BROADCAST_DEPTH = 16       # broadcasts in flight in the row with the goal
BROADCAST_HELP = (
    f"Broadcast (--peers): the goal applies to {BROADCAST_DEPTH} messages in flight. Real broadcasts come in streams (chat, "
    "prices, positions): the next message is there before the last has reached every connection, so a server can gather "
    "messages to the same connection. With one message in flight it cannot: each delivery is one send(2), which takes nearly "
    "all of the time. That row has no goal; it is compared with the server written directly on epoll, which only sends. The "
    "row on io_uring has no goal either: there a thousand sends are a few system calls.")
FIRST_WIDTH = 36


@dataclass(frozen=True)
class Metric:
    field: str
    label: str
    form: str = "{:.1f}"
    less_is_better: bool = True
    goal: float = None
    against: tuple = tuple(PEERS)
    own: str = "jinduo"   # the side that is compared with the others


@dataclass(frozen=True)
class PeerRow:
    """sides: the program and options of each side. measure(programs, side, seconds) returns its figures. met: whether all or
    any of the metrics with a goal must meet it."""
    name: str
    sides: dict
    measure: object
    metrics: tuple
    met: object = all
    note: str = ""
    bound: str = None   # a side whose ratio to the best is printed too: the most that is possible
    needs: str = None   # an engine that may be unavailable on this system


def run_alone(programs, what, seconds):
    name, options = what
    return programs.figures(programs.server_core, name, *options)


def run_on_both_cores(programs, what, seconds):
    cores = (programs.server_core, programs.load_core)
    return programs.figures(set(cores), what[0], *map(str, cores))


def run_server(programs, what, seconds, load, load_options):
    name, options = what
    process, address = programs.start_server(name, *options)
    try:
        return programs.figures(programs.load_core, load, address, "--server-pid", str(process.pid), "--seconds",
                                str(seconds), "--warmup", str(WARMUP_SECONDS), *load_options)
    finally:
        programs.stop(process)


@functools.cache
def file_to_send():
    """One file for all sides and rounds: the cost of sending depends on where its pages are in memory."""
    file = tempfile.NamedTemporaryFile(prefix="jinduo-bench-")
    for _ in range(FILE_BYTES // 1000000):
        file.write(os.urandom(1000000))
    file.flush()
    os.fsync(file.fileno())   # not during a measurement
    return file


def run_file_server(programs, what, seconds):
    name, options = what
    path = file_to_send().name
    return run_server(programs, (name, (*options, path)), seconds, "peers/file-load", ("--file", path))


def all_of(what, *options):
    return {side: (f"peers/{what}-{side}", options) for side in ("jinduo", *PEERS)}


def timer_row(name, clock, batch, note, goal=None):
    metrics = (Metric("start_ns", "start, ns CPU", goal=goal), Metric("cancel_ns", "cancel, ns CPU", goal=goal),
               Metric("expire_ns", "expire, ns CPU"), Metric("bytes_each", "memory, bytes per timer"))
    return PeerRow(f"timers: a million active, {name}", all_of("timers", clock, str(batch)), run_alone, metrics,
                   note=f"{note}due in 1 to 60 s; {batch} random timers at a time are cancelled and started again")


def served_metrics(**goals):
    return (Metric("messages_per_second", "messages/s", "{:.0f}", False, **goals),
            Metric("server_cpu_us_per_message", "server CPU, us per message", "{:.3f}", **goals),
            Metric("server_cpu_percent", "server core, %", "{:.0f}", against=()))


def echo_row(name, jinduo, word, *load):
    sides = {"jinduo": jinduo, "raw": ("raw-epoll", ()), **{peer: (f"peers/echo-{peer}", word) for peer in PEERS}}
    load = ("--json", "--verify", "sample", "--connections", "50", *load)
    return PeerRow(name, sides, functools.partial(run_server, load="jd-load", load_options=load), served_metrics(),
                   note="for information; raw echoes bytes, it does not decode frames")


def broadcast_row(engine, depth, note, goal=None, **more):
    sides = {"jinduo": ("peers/broadcast-jinduo", own_options(engine)), "raw": ("peers/broadcast-raw", ()),
             "libevent": ("peers/broadcast-libevent", ())}
    load = ("--connections", str(BROADCAST_CONNECTIONS), "--depth", str(depth))
    return PeerRow(f"broadcast 1 KiB x {BROADCAST_CONNECTIONS}, depth {depth}, {engine}", sides,
                   functools.partial(run_server, load="peers/broadcast-load", load_options=load),
                   served_metrics(goal=goal, against=("libevent",)), met=any,
                   note=f"each delivery to one connection is a message; {note}", **more)


def broadcast_rows(engine):
    deep = f"{BROADCAST_DEPTH} broadcasts in flight, as in a stream; one of the two goals must be met"
    alone = "one broadcast in flight, for information: one send for each delivery; raw only sends"
    at_once = "one broadcast in flight, for information: jinduo submits many sends with one system call"
    rest = () if engine == "io_uring" else (broadcast_row("io_uring", 1, at_once, bound="raw", needs="io_uring"),)
    return (broadcast_row(engine, BROADCAST_DEPTH, deep, goal=2.0), broadcast_row(engine, 1, alone, bound="raw"), *rest)


def own_options(engine):
    return ("--threads", "0", "--engine", engine)


def rows(engine):
    own = own_options(engine)
    file_metrics = served_metrics(goal=0.97, against=("raw",))
    return (
        timer_row("delays from the time of the turn", "turn", TIMERS_BATCH, "", goal=2.0),
        timer_row("delays from the clock", "real", TIMERS_BATCH, "the clock is read for each start (libevent: precise timer, no "
                  "cached time); ", goal=2.0),
        timer_row(f"delays from the time of the turn, {TIMERS_FEW} at a time", "turn", TIMERS_FEW, "for information: a timer is started "
                  "right after it was cancelled, so it is still in the cache; "),
        PeerRow("tasks from another thread", all_of("tasks"), run_on_both_cores,
                (Metric("tasks_per_second", "tasks/s", "{:.0f}", False, 2.0, ("asio",)),
                 Metric("cpu_ns", "CPU of both threads, ns per task", goal=None, against=("asio",)),
                 Metric("post_cpu_ns", "CPU of the posting thread", against=("asio",)),
                 Metric("run_cpu_ns", "CPU of the loop's thread", against=("asio",))),
                note="at most 4096 in flight; libevent and libuv, for information: a list under a lock"),
        *broadcast_rows(engine),
        PeerRow("send file 100 MB", {"jinduo": ("peers/file-jinduo", (*own, "--file")), "raw": ("peers/file-raw", ())},
                run_file_server, file_metrics, note="each transfer is a message; raw: sendfile(2) until the send buffer is full"),
        echo_row("echo 64 B x 50", ("jd-echo", own), (), "--mode", "ping-pong", "--no-frames", "--size", "64"),
        echo_row("echo frames 60 B x 50, depth 16", ("jd-frame-echo", own), ("frames",), "--mode", "pipeline", "--size",
                 "56", "--header-bytes", "4", "--depth", "16"),
    )


def possible(programs, rows):
    """Returns the rows whose engine is available here, and prints the others."""
    engines = subprocess.run([programs.path("jd-info")], capture_output=True, text=True, check=False).stdout
    available = {words[0] for words in map(str.split, engines.splitlines()) if words[1:2] == ["available"]}
    skipped = [row for row in rows if row.needs and row.needs not in available]
    for row in skipped:
        print(f"{row.name}: skipped, {row.needs} is not available here; jd-info prints the reason")
    return [row for row in rows if row not in skipped]


def sides_of(programs, row):
    return {side: what for side, what in row.sides.items() if programs.has(what[0])}


def print_missing(programs, chosen):
    for peer, package in PEERS.items():
        if not any(programs.has(f"peers/{what}-{peer}") for what in ("timers", "tasks", "echo")):
            print(f"{peer} is skipped: it was not found at build time (package {package})")
    for row in chosen:
        if "jinduo" not in sides_of(programs, row):
            print(f"{row.name}: jinduo's program is not built; only the others are measured")
    print()


def measure_row(programs, row, arguments, progress):
    sides = sides_of(programs, row)
    names = list(sides)
    runs = {side: [] for side in sides}
    for number in range(arguments.rounds):
        # Another side is first in each round, so that none always runs on a warmer machine.
        first = number % len(names) if names else 0
        for side in names[first:] + names[:first]:
            progress.show(f"{row.name}, round {number + 1}: {side}")
            runs[side].append(programs.undisturbed(
                functools.partial(row.measure, programs, sides[side], arguments.seconds)))
    return summarize(row, runs)


def ratio(metric, own, other):
    pairs = [(b, a) if metric.less_is_better else (a, b)
             for a, b in ((a[metric.field], b[metric.field]) for a, b in zip(own, other))]
    return statistics.median(over / under if under else 0.0 for over, under in pairs)


def judge(metric, runs, bound):
    """The figures of one metric, and the ratio of jinduo to the best side that it is compared with."""
    result = {"field": metric.field, "label": metric.label, "goal": metric.goal,
              "figures": {side: statistics.median(run[metric.field] for run in figures) for side, figures in runs.items()},
              "ratios": {}}
    if metric.own in runs:
        result["ratios"] = {side: ratio(metric, runs[metric.own], runs[side]) for side in metric.against if side in runs}
    if result["ratios"]:
        result["best"] = min(result["ratios"], key=result["ratios"].get)
        result["ratio"] = result["ratios"][result["best"]]
        if metric.goal is not None:
            result["met"] = result["ratio"] >= metric.goal
        if bound in runs:
            result["bound"] = ratio(metric, runs[bound], runs[result["best"]])
    return result


def summarize(row, runs):
    metrics = [judge(metric, runs, row.bound) for metric in row.metrics]
    result = {"row": row.name, "note": row.note, "sides": list(runs), "metrics": metrics, "runs": runs,
              "forms": [metric.form for metric in row.metrics], "any": row.met is any}
    judged = [metric["met"] for metric in metrics if "met" in metric]
    if judged:
        result["met"] = row.met(judged)
    return result


def verdict(result, metric):
    if "met" not in metric:
        return ""
    if result["any"] and not metric["met"] and result["met"]:
        return "not needed"
    return "met" if metric["met"] else "MISSED"


def metric_line(result, metric, form):
    against = f"{metric['ratio']:.2f} ({metric['best']})" if "ratio" in metric else ""
    against += f", raw {metric['bound']:.2f}" if "bound" in metric else ""
    goal = f">= {metric['goal']:.2f}" if metric["goal"] is not None else ""
    return [f"  {metric['label']}", *(form.format(metric["figures"][side]) for side in result["sides"]), against, goal,
            verdict(result, metric)]


def print_table(results):
    for result in results:
        print(result["row"])
        if result["note"]:
            print(f"  ({result['note']})")
        lines = [["", *result["sides"], "ratio to best", "goal", ""]]
        lines += [metric_line(result, metric, form) for metric, form in zip(result["metrics"], result["forms"])]
        for line in lines:
            cells = [line[0].ljust(FIRST_WIDTH), *(cell.rjust(10) for cell in line[1:-3]), line[-3].rjust(25), line[-2].rjust(8),
                     line[-1]]
            print("  ".join(cells).rstrip())
        print()
    print("Ratio: how many times better jinduo is, median over the rounds; the best is the side with the smallest ratio.")
    print("After \"raw\": the ratio of the server written directly on epoll to the best.\n")
