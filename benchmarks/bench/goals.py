"""The project's goals, checked against the results: how jinduo should do beside the hand-written loops and other libraries."""

import statistics
from dataclasses import dataclass

from bench import ratios
from bench.contestants import AGAIN, CONTESTANTS, kind_of
from bench.results import is_left_out
from bench.scenarios import ENGINES, SCENARIOS

RAW_OF = {"reactor": "raw-epoll", "io_uring": "raw-uring"}


@dataclass(frozen=True)
class Goal:
    text: str
    fits: object      # whether a scenario is meant
    against: str      # raw, best (form of a library), documented
    least: float      # the least ratio; more is better for jinduo
    ours: str = None  # this engine; None: the better one
    tie: bool = False # no difference seen is enough


@dataclass(frozen=True)
class Check:
    goal: Goal
    row: dict
    a: str
    b: str
    ratio: float
    met: bool


def _name(*parts):
    return lambda scenario: scenario.name.startswith(parts)


def _is(*names):
    return lambda scenario: scenario.name in names


GOALS = (
    Goal("CPU a message at most 1.05 times that of the hand-written loop", _name("ping-pong"), "raw", 1 / 1.05),
    Goal("frames: at least 0.9 of the hand-written loop, which parses none", _name("frames"), "raw", 0.9),
    Goal("pipelined frames: 3 times each library as documented", _name("frames 60 B, 16", "frames 60 B, 64"), "documented", 3.0),
    Goal("pipelined frames: 1.2 times each library in its best form", _name("frames 60 B, 16", "frames 60 B, 64"), "best", 1.2),
    Goal("io_uring with many connections: at most 0.75 of a library's CPU a message", _name("ping-pong 64 B x 1000"), "best", 1 / 0.75,
         ours="io_uring"),
    Goal("long connections: a p99 that is not above a library's", _name("long"), "best", 1.0, tie=True),
    Goal("less memory for an idle connection than any library", _name("idle: bytes a connection"), "best", 1.0),
    Goal("timers, tasks, broadcast: twice each library", _name("timers", "tasks", "broadcast"), "best", 2.0),
    Goal("hello by HTTP: on the Reactor at most 0.85 of nginx' CPU a request", _is("http hello x 50"), "best", 1 / 0.85, ours="reactor"),
    Goal("hello by HTTP: on io_uring at most 0.72 of nginx' CPU a request", _is("http hello x 50"), "best", 1 / 0.72, ours="io_uring"),
    Goal("hello by HTTP, pipelined by 16: 5 times nginx' requests a second", _is("http hello x 50, pipelined by 16"), "best", 5.0),
    Goal("1 KiB by HTTP: on the Reactor at most 0.8 of nginx' CPU a request", _is("http file 1 KiB x 50"), "best", 1 / 0.8, ours="reactor"),
    Goal("1 KiB by HTTP: on io_uring at most 0.6 of nginx' CPU a request", _is("http file 1 KiB x 50"), "best", 1 / 0.6, ours="io_uring"),
    Goal("1 MB by HTTP: on the Reactor at most 0.7 of nginx' CPU a request", _is("http file 1 MB x 10"), "best", 1 / 0.7, ours="reactor"),
    Goal("redis: at most 0.85 of redis-server's CPU a command", _is("redis GET", "redis SET"), "best", 1 / 0.85),
    Goal("redis, pipelined by 16: at most 0.6 of redis-server's CPU a command",
         _is("redis GET, pipelined by 16", "redis SET, pipelined by 16"), "best", 1 / 0.6),
    Goal("every other scenario: ahead of each library in its best form, or no difference seen",
         _name("ping-pong", "short", "idle: a busy", "wakeup", "pipes", "http", "file", "redis"), "best", 1.0, tie=True),
)


def _opponents(goal, sides):
    """The pairs (ours, other) of a row that a goal is about."""
    engines = [side for side in ENGINES if side in sides and goal.ours in (None, side)]
    if goal.against == "raw":
        return [(side, RAW_OF[side]) for side in engines if RAW_OF[side] in sides]
    others = [side for side in sides if kind_of(side) in ("peer", "server") and not side.endswith(AGAIN)
              and (CONTESTANTS[side].form == "documented") == (goal.against == "documented")]
    return [(engines, other) for other in others] if engines else []


def _check(goal, row, a, b, noise):
    key = SCENARIOS[row["row"]["scenario"]].measure
    pairs = ratios.pair_ratios(row, a, b, key)
    if len(pairs) < ratios.PAIRS_LEAST:
        return None
    compared = ratios.compare(row, a, b, key, noise.of(row, key))
    if compared.outcome in ("rate not held", "load is the limit"):
        return None
    ratio = statistics.median(pairs)
    return Check(goal, row, a, b, ratio, ratio >= goal.least or (goal.tie and compared.outcome == "tie"))


def checks(comparisons):
    """What the results say about each goal. The better engine counts where a goal names none."""
    found = []
    for goal in GOALS:
        for row in comparisons.rows:
            scenario = SCENARIOS.get(row["row"]["scenario"])
            if scenario is None or "fractions" in row["row"] or not goal.fits(scenario):
                continue
            for ours, other in _opponents(goal, [side for side in row["row"]["sides"] if not is_left_out(row, side)]):
                tried = [_check(goal, row, side, other, comparisons.noise) for side in ([ours] if isinstance(ours, str) else ours)]
                tried = [one for one in tried if one is not None]
                if tried:
                    found.append(max(tried, key=lambda one: (one.met, one.ratio)))
    return found
