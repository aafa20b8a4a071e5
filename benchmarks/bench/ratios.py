"""Comparing two sides of a row: the ratios of pairs of rounds, their interval, the noise of the machine, and the outcome.

A ratio says how many times better A is than B: above 1, A is better, whatever the measure. A pair is the two sides' measurements
of the same round. Nothing is dropped.
"""

import random
import statistics
from dataclasses import dataclass

from bench.contestants import AGAIN
from bench.measure import HELD
from bench.measures import MEASURES

RESAMPLES = 2000
PAIRS_LEAST = 4            # fewer pairs allow no statement
LOAD_BUSY_PERCENT = 95     # of the load's core
SEED = 1


@dataclass(frozen=True)
class Comparison:
    row: str             # the row's id
    scenario: str
    measure: str
    a: str
    b: str
    pairs: int
    better: int          # pairs in which A was better
    ratio: float         # median; None without pairs
    low: float           # 95 % interval
    high: float
    noise: float         # of this machine in this scenario, as a part of 1; None: not measured
    outcome: str         # better, worse, tie, rate not held, load is the limit, too few rounds, not measured
    point: str = ""      # of a sweep: the offered rate in words
    held: tuple = ()     # achieved / offered, of A and B


def interval(ratios):
    """The 95 % interval of the median, by bootstrap: the same for the same ratios."""
    if len(ratios) < 2:
        return (ratios[0], ratios[0]) if ratios else (None, None)
    chance = random.Random(SEED)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]


def rounds_of(row, side, point=None):
    """The rounds of a side by number; point: of a sweep."""
    return {one["round"]: one for one in row["rounds"] if one["side"] == side and one.get("point") == point}


def values(row, side, key, point=None):
    return [one["figures"][key] for _, one in sorted(rounds_of(row, side, point).items()) if one["figures"].get(key) is not None]


def median(row, side, key, point=None):
    found = values(row, side, key, point)
    return statistics.median(found) if found else None


def spread(row, side, key, point=None):
    """The smallest and the largest value."""
    found = values(row, side, key, point)
    return (min(found), max(found)) if found else (None, None)


def pair_ratios(row, a, b, key, point=None):
    less = MEASURES[key].less
    of_a, of_b = rounds_of(row, a, point), rounds_of(row, b, point)
    pairs = [(of_a[number]["figures"].get(key), of_b[number]["figures"].get(key)) for number in sorted(of_a.keys() & of_b.keys())]
    return [(y / x if less else x / y) for x, y in pairs if x and y]


def noise_of(row, key):
    """How far the interval of a side against itself reaches from 1, or None if the row has no such side, or too few
    of its rounds."""
    for again in row["row"]["sides"]:
        if again.endswith(AGAIN):
            found = pair_ratios(row, again.removesuffix(AGAIN), again, key)
            low, high = interval(found)
            if len(found) >= PAIRS_LEAST:
                return max(1 / low, high) - 1
    return None


class Noise:
    """The noise of each row: its own, else that of its group's row with the same measure, else the median of all rows that have the
    measure; of a measure that no row has twice, that of the CPU time."""

    def __init__(self, rows, group_of):
        self.group_of = group_of
        self.own, by_group, everything = {}, {}, {}
        for row in rows:
            for key in MEASURES:
                found = noise_of(row, key)
                if found is not None:
                    self.own[(row["row"]["id"], key)] = found
                    by_group.setdefault((group_of(row["row"]["scenario"]), key), []).append(found)
                    everything.setdefault(key, []).append(found)
        self.by_group = {where: max(found) for where, found in by_group.items()}
        self.everything = {key: statistics.median(found) for key, found in everything.items()}

    def of(self, row, key):
        group = self.group_of(row["row"]["scenario"])
        return self.own.get((row["row"]["id"], key), self.by_group.get((group, key), self.everything.get(key, self.everything.get("cpu_us"))))


def held_of(row, side, point=None):
    return median(row, side, "held", point)


def load_is_the_limit(row, side, key, point=None):
    """Whether throughput is compared, and the load's core was the busy one: then the server could have done more."""
    if key != "per_second":
        return False
    busy = [one["machine"]["cores_busy_percent"][1] for one in rounds_of(row, side, point).values()
            if len(one["machine"].get("cores_busy_percent", ())) > 1]
    return bool(busy) and statistics.median(busy) >= LOAD_BUSY_PERCENT


def outcome_of(ratios, low, high, noise, held, limited):
    if any(part is not None and part < HELD for part in held):
        return "rate not held"
    if all(limited):
        return "load is the limit"
    if not ratios:
        return "not measured"
    if len(ratios) < PAIRS_LEAST:
        return "too few rounds"
    middle = statistics.median(ratios)
    if low <= 1 <= high or max(middle, 1 / middle) - 1 <= (noise or 0):
        return "tie"
    return "better" if middle > 1 else "worse"


def compare(row, a, b, key, noise, point=None):
    ratios = pair_ratios(row, a, b, key, point)
    low, high = interval(ratios)
    held = (held_of(row, a, point), held_of(row, b, point))
    limited = [load_is_the_limit(row, side, key, point) for side in (a, b)]
    return Comparison(row=row["row"]["id"], scenario=row["row"]["scenario"], measure=key, a=a, b=b, pairs=len(ratios),
                      better=sum(ratio > 1 for ratio in ratios), ratio=statistics.median(ratios) if ratios else None, low=low,
                      high=high, noise=noise, outcome=outcome_of(ratios, low, high, noise, held, limited), point=point or "", held=held)
