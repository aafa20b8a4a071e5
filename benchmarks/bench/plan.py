"""What a run measures: its rows, each with sides, rounds and seconds; who is left out; how long it takes."""

import os
import subprocess

from bench import machine, measure
from bench.contestants import AGAIN, CONTESTANTS, contestant_of
from bench.results import slug
from bench.scenarios import ENGINES, LIBRARIES, SCENARIOS

FULL_SECONDS, FULL_ROUNDS = 2.0, 8
PEER_ROUNDS = 4
QUICK_SECONDS, QUICK_ROUNDS = 0.35, 4
COMPARE_ROUNDS = 8
SWEEP_SCENARIOS = ("ping-pong 64 B x 100", "frames 60 B, 16 in flight")
SWEEP_FRACTIONS = (0.1, 0.3, 0.5, 0.8, 0.95, 1.1)   # of the slower engine's ceiling
SWEEP_SECONDS, SWEEP_ROUNDS = 10.0, 4
QUICK_FRACTIONS, QUICK_SWEEP_SECONDS, QUICK_SWEEP_ROUNDS = (0.3, 0.5, 0.8), 1.5, 2
CEILING_SECONDS = 1.5      # to find the ceiling of each side of a sweep
LONG_MINUTES = 90          # a longer run needs --long
START_SECONDS = 0.15       # to start and stop a server, and to connect
CONNECT_SECONDS = 0.0001   # for each connection
PEER_ROWS = os.path.join(os.path.dirname(__file__), "peer_rows.txt")


def row(scenario, sides, rounds, seconds, kind="compare", **more):
    name = scenario.name if kind == "compare" else f"{scenario.name} {kind}"
    fixed = scenario.seconds if seconds >= FULL_SECONDS else None   # short runs measure everything shortly
    return {"id": slug(name), "scenario": scenario.name, "kind": kind, "sides": list(dict.fromkeys(sides)), "rounds": rounds,
            "seconds": float(fixed or seconds), **more}


def with_noise(sides):
    """The sides, and the first of ours a second time, as far from the first as possible."""
    first = next((side for side in sides if CONTESTANTS[side].kind == "ours"), sides[0])
    return (*sides, first + AGAIN)


def peer_rows():
    """The rows of peer_rows.txt: (scenario, contestants)."""
    with open(PEER_ROWS, encoding="utf-8") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                name, _, sides = line.strip().rpartition(": ")
                yield SCENARIOS[name], tuple(dict.fromkeys((*ENGINES, *sides.split())))


def sweep(scenario, fractions, seconds, rounds):
    return {**row(scenario, ENGINES, rounds, seconds, "by offered rate"), "seconds": seconds, "fractions": list(fractions)}


def full():
    rows = [row(scenario, with_noise(scenario.sides) if scenario.noise else scenario.sides, scenario.rounds or FULL_ROUNDS, FULL_SECONDS)
            for scenario in SCENARIOS.values() if scenario.full]
    rows += [row(scenario, sides, PEER_ROUNDS, FULL_SECONDS, "beside peers") for scenario, sides in peer_rows()]
    rows += [sweep(SCENARIOS[name], SWEEP_FRACTIONS, SWEEP_SECONDS, SWEEP_ROUNDS) for name in SWEEP_SCENARIOS]
    return rows


def quick():
    rows = [row(scenario, with_noise(scenario.sides) if scenario.noise else scenario.sides, QUICK_ROUNDS, QUICK_SECONDS)
            for scenario in SCENARIOS.values() if scenario.quick]
    rows += [row(scenario, tuple(side for side in sides if side in (*ENGINES, *LIBRARIES)), QUICK_ROUNDS, QUICK_SECONDS,
                 "beside peers") for scenario, sides in peer_rows() if scenario.name in SWEEP_SCENARIOS]
    rows.append(sweep(SCENARIOS[SWEEP_SCENARIOS[0]], QUICK_FRACTIONS, QUICK_SWEEP_SECONDS, QUICK_SWEEP_ROUNDS))
    return rows


def chosen(chosen_scenarios, sides, rounds, seconds):
    """Rows for the named scenarios. sides: the contestants, or None for those of each scenario."""
    rows = []
    for scenario in chosen_scenarios:
        wanted = sides or scenario.sides
        present = tuple(side for side in wanted if scenario.role in CONTESTANTS[side].programs)
        if present:
            rows.append(row(scenario, with_noise(present), rounds or FULL_ROUNDS, seconds or FULL_SECONDS))
    return rows


# ---- who can take part ----

class Availability:
    """What is built and installed here."""

    def __init__(self, programs):
        self.programs = programs
        self.reasons = {}       # contestant -> reason
        self.engines = self._engines()

    def _engines(self):
        """The engines that jd-info calls available; None: jd-info is not built."""
        if not self.programs.has("jd-info"):
            return None
        text = subprocess.run([self.programs.path("jd-info")], capture_output=True, text=True, check=False).stdout
        return {words[0] for words in map(str.split, text.splitlines()) if words[1:2] == ["available"]}

    def reason(self, side, scenario):
        """Why the side cannot take part in the scenario, as (kind, text); None if it can."""
        contestant = contestant_of(side)
        if scenario.role not in contestant.programs:
            return "not available", "it has no such program"
        if contestant.engine and self.engines is not None and contestant.engine not in self.engines:
            return "not available", f"the engine {contestant.engine} is not available here; jd-info says why"
        name = contestant.programs[scenario.role][0]
        there = measure.which(name) if contestant.kind == "server" else self.programs.has(name)
        if not there:
            install = f"package {contestant.package}" if contestant.package else "see the summary of meson setup"
            return "not installed", f"{name} is not there ({install})"
        if scenario.kind in measure.OUTSIDE_LOADS:
            load, package = measure.OUTSIDE_LOADS[scenario.kind]
            if not measure.which(load):
                return "not installed", f"the load {load} is not there (package {package})"
        return None


def binaries_of(programs, rows):
    """The paths of the programs of this build that take part."""
    names = {"jd-load"}
    for one in rows:
        scenario = SCENARIOS[one["scenario"]]
        names.update([measure.LOADS[scenario.kind]] if scenario.kind in measure.LOADS else [])
        names.update(contestant_of(side).programs[scenario.role][0] for side in one["sides"]
                     if scenario.role in contestant_of(side).programs and contestant_of(side).kind != "server")
    return sorted(os.path.abspath(programs.path(name)) for name in names if programs.has(name))


# ---- steps and time ----

def sides_in_order(sides, number):
    """The sides of a round: A B, then B A, ...: neither side is always the first, and each pair is close in time."""
    return list(sides) if number % 2 == 0 else list(reversed(sides))


def step_seconds(one):
    """The expected time of one measurement."""
    scenario = SCENARIOS[one["scenario"]]
    if scenario.takes is not None:
        return scenario.takes + START_SECONDS
    return one["seconds"] + measure.WARMUP_SECONDS + START_SECONDS + CONNECT_SECONDS * scenario.connections


def row_seconds(one, sides=None):
    """The expected time of a row."""
    count = len(one["sides"] if sides is None else sides)
    look = machine.LOOK_SECONDS if count else 0
    each = step_seconds(one)
    if "fractions" in one:
        return look + count * (each * one["rounds"] * len(one["fractions"]) + CEILING_SECONDS + START_SECONDS)
    explaining = each if measure.explains(SCENARIOS[one["scenario"]]) else 0
    return look + count * (each * one["rounds"] + explaining)


def time_text(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds // 3600:.0f} h {seconds % 3600 / 60:.0f} min"
