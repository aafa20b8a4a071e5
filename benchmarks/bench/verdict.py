"""Sentences written from the numbers, by fixed forms. None says "faster" without the load, size and connections: the scenario's
name has them.
"""

from bench import ratios
from bench.contestants import AGAIN, contestant_of, kind_of, label_of
from bench.measures import MEASURES, plural
from bench.results import is_left_out
from bench.scenarios import SCENARIOS

MOST_SENTENCES = 5
LIMITS = {"reactor": "raw-epoll", "io_uring": "raw-uring"}   # the raw loop that is each engine's limit
CALLS_DIFFER = 1.5     # by so much, before the sentence names them as the reason


def percent(part):
    return f"{100 * part:.0f} %" if abs(part) >= 0.1 else f"{100 * part:.1f} %"


def by(comparison):
    """How much better or worse A is than B, with its interval, from a ratio: in percent, or times where it is more than twice."""
    less = MEASURES[comparison.measure].less

    def part(ratio):   # A relative to B
        return abs((1 / ratio if less else ratio) - 1)
    middle, ends = part(comparison.ratio), sorted(part(end) for end in (comparison.low, comparison.high))
    return f"{percent(middle)} ({100 * ends[0]:.0f}–{100 * ends[1]:.0f})"


def unit_of(name):
    return SCENARIOS[name].unit if name in SCENARIOS else "message"


def rates_text(comparison):
    return ", ".join(f"{label_of(side)} answered {100 * held:.0f} %"
                     for side, held in zip((comparison.a, comparison.b), comparison.held) if held is not None and held < ratios.HELD)


def why(row, comparison):
    """What explains the difference: the calls into the kernel, if the better side makes clearly fewer."""
    calls = [row["explained"].get(side.removesuffix(AGAIN), {}).get("calls_a_unit") for side in (comparison.a, comparison.b)]
    if not all(calls) or MEASURES[comparison.measure].key != "cpu_us":
        return ""
    better, worse = calls if comparison.outcome == "better" else calls[::-1]
    if worse / better < CALLS_DIFFER:
        return ""
    unit = unit_of(comparison.scenario)
    carried = [f"{1 / each:.1f} {plural(unit)}" if each <= 1 else f"{1 / each:.2f}" for each in calls]
    return f"; one call into the kernel of {label_of(comparison.a)} carries {carried[0]}, of {label_of(comparison.b)} {carried[1]}"


def sentence(row, comparison):
    """The sentence of one comparison."""
    a, b, measure = label_of(comparison.a), label_of(comparison.b), MEASURES[comparison.measure]
    where = comparison.scenario + (f" {comparison.point}" if comparison.point else "")
    unit = unit_of(comparison.scenario)
    if comparison.outcome == "rate not held":
        return f"{where}: not comparable: offered rate not held ({rates_text(comparison)} of it)."
    if comparison.outcome == "load is the limit":
        return f"{where}: no statement on {a} and {b}: the load was the limit of both."
    if comparison.outcome == "not measured":
        return f"{where}: {a} and {b} were not both measured."
    if comparison.outcome == "too few rounds":
        return f"{where}: no statement on {a} and {b}: {comparison.pairs} pairs, {ratios.PAIRS_LEAST} are needed."
    if comparison.outcome == "tie":
        noise = f", this machine's noise ±{percent(comparison.noise)}" if comparison.noise is not None else ""
        return (f"{where}: no difference seen between {a} and {b} in {measure.head(unit)}: {comparison.ratio:.2f} "
                f"({comparison.low:.2f}–{comparison.high:.2f}){noise}.")
    form = measure.better if comparison.outcome == "better" else measure.worse
    pairs = comparison.better if comparison.outcome == "better" else comparison.pairs - comparison.better
    return (f"{where}: {a} {form.format(by=by(comparison), unit=unit, units=plural(unit))} than {b}; in {pairs} of {comparison.pairs} pairs"
            f"{why(row, comparison)}.")


# ---- the comparisons of a run ----

def best_of_ours(row, key, sides):
    """The side of ours with the best median."""
    found = [(ratios.median(row, side, key), side) for side in sides if kind_of(side) == "ours" and not side.endswith(AGAIN)]
    found = [one for one in found if one[0] is not None]
    return (min if MEASURES[key].less else max)(found)[1] if found else None


def pairs_of(row, named=None):
    """The pairs (kind, A, B) of a row that are judged."""
    sides = [side for side in row["row"]["sides"] if ratios.rounds_of(row, side) and not is_left_out(row, side)]
    scenario = SCENARIOS[row["row"]["scenario"]]
    if named:
        return [("named", *named)] if set(named) <= set(row["row"]["sides"]) and not any(is_left_out(row, side) for side in named) else []
    pairs = []
    if row["row"]["kind"] == "compare":   # the rows beside peers have the engines a second time
        pairs += [("engines", "io_uring", "reactor")] if {"io_uring", "reactor"} <= set(sides) else []
        # A hand-written loop keeps nothing for a connection: its memory is no limit.
        pairs += [("raw", ours, raw) for ours, raw in LIMITS.items() if {ours, raw} <= set(sides) and scenario.measure != "bytes"]
    best = best_of_ours(row, scenario.measure, sides)
    if best:
        pairs += [("peers", best, side) for side in sides if kind_of(side) in ("peer", "server")]
    return pairs


class Comparisons:
    """All comparisons of the results of a run."""

    def __init__(self, results):
        self.results = results
        self.rows = results.in_plan_order()
        group_of = {name: scenario.group for name, scenario in SCENARIOS.items()}.get
        self.noise = ratios.Noise(self.rows, group_of)
        self.named = results.run.get("compare")
        self.all = []           # (kind, row, comparison)
        for row in self.rows:
            self._add(row)

    def _add(self, row):
        scenario = SCENARIOS.get(row["row"]["scenario"])
        if scenario is None:
            return
        if "fractions" in row["row"]:
            if any(is_left_out(row, side) for side in row["row"]["sides"]):
                return
            for point, key in [(point, key) for point in points_of(row) for key in ("cpu_us", "p99_us")]:
                comparison = ratios.compare(row, "io_uring", "reactor", key, self.noise.of(row, key), point)
                if comparison.pairs:
                    self.all.append(("rates", row, comparison))
            return
        for kind, a, b in pairs_of(row, self.named):
            self.all.append((kind, row, ratios.compare(row, a, b, scenario.measure, self.noise.of(row, scenario.measure))))

    def of_kind(self, kind):
        return [(row, comparison) for one, row, comparison in self.all if one == kind]

    def sentences(self):
        return [sentence(row, comparison) for _, row, comparison in self.all]


def points_of(row):
    """The points of a sweep, in the order of their rates."""
    found = {one["point"]: one["figures"].get("offered", 0) for one in row["rounds"] if one.get("point")}
    return sorted(found, key=found.get)


def names(comparisons, most=3):
    shown = [comparison.scenario for _, comparison in comparisons[:most]]
    return "; ".join(shown) + ("" if len(comparisons) <= most else f"; and {len(comparisons) - most} more")


def with_outcome(comparisons, outcome):
    found = [one for one in comparisons if one[1].outcome == outcome]
    return sorted(found, key=lambda one: one[1].ratio or 0, reverse=outcome == "better")


def engines_sentences(comparisons):
    """Where each engine loses most, then the ties."""
    worse, better, ties = (with_outcome(comparisons, outcome) for outcome in ("worse", "better", "tie"))
    said = []
    for losing, found in (("io_uring", worse), ("Reactor", better)):
        if found:
            more = f" It also loses in {len(found) - 1} more: {names(found[1:])}." if len(found) > 1 else ""
            said.append(f"{losing} loses most in {sentence(*found[0])}{more}")
    if ties:
        widest = max((comparison.noise for _, comparison in ties if comparison.noise is not None), default=None)
        noise = f"; this machine's noise there is up to ±{percent(widest)}" if widest is not None else ""
        said.append(f"No difference seen between io_uring and Reactor in {len(ties)} of {len(comparisons)} scenarios "
                    f"({names(ties)}){noise}.")
    return said


def raw_sentence(comparisons):
    parts = []
    for ours, raw in LIMITS.items():
        found = [one for one in comparisons if one[1].a == ours and one[1].ratio and one[1].measure == "cpu_us"
                 and one[1].outcome in ("better", "worse", "tie")]
        if found:
            costs = sorted((1 / comparison.ratio, comparison.scenario) for _, comparison in found)
            middle = costs[len(costs) // 2][0]
            parts.append(f"{label_of(ours)} takes {middle:.2f} times the CPU of {label_of(raw)} in the median of {len(costs)} scenarios, "
                         f"at most {costs[-1][0]:.2f} times ({costs[-1][1]})")
    return f"Against the loop written by hand: {'; '.join(parts)}." if parts else None


def best_forms(comparisons):
    """Of each library in each row, the comparison with its better form."""
    best = {}
    for row, comparison in comparisons:
        library = contestant_of(comparison.b).of or comparison.b
        key = (row["row"]["id"], library)
        if comparison.ratio and (key not in best or comparison.ratio < best[key][1].ratio):
            best[key] = (row, comparison)
    return list(best.values())


def peers_sentence(comparisons):
    found = best_forms(comparisons)
    counts = {outcome: with_outcome(found, outcome) for outcome in ("better", "tie", "worse")}
    if not any(counts.values()):
        return None
    behind = counts["worse"]
    reasons = f" Furthest behind: {sentence(*behind[0])}" if behind else ""
    return (f"Against the best form of each other library and server: of {len(found)} comparisons the best engine of jinduo is ahead in "
            f"{len(counts['better'])}, shows no difference in {len(counts['tie'])}, and is behind in {len(behind)}.{reasons}")


def not_comparable_sentence(all_comparisons):
    found = [(row, comparison) for _, row, comparison in all_comparisons if comparison.outcome == "rate not held"]
    if not found:
        return None
    shown = list(dict.fromkeys(f"{comparison.scenario} {comparison.point}".strip() for _, comparison in found))
    more = f"; and {len(shown) - 3} more" if len(shown) > 3 else ""
    return f"Not comparable: offered rate not held: {'; '.join(shown[:3])}{more}."


def verdict(comparisons):
    """At most five sentences on the whole run."""
    if comparisons.named:
        said = [sentence(row, comparison) for row, comparison in comparisons.of_kind("named")]
    else:
        said = [*engines_sentences(comparisons.of_kind("engines")), raw_sentence(comparisons.of_kind("raw")),
                peers_sentence(comparisons.of_kind("peers")), not_comparable_sentence(comparisons.all)]
    said = [one for one in said if one]
    if not said:
        few = any(comparison.outcome == "too few rounds" for _, _, comparison in comparisons.all)
        said = [f"No statement: fewer than {ratios.PAIRS_LEAST} rounds of each contestant were measured." if few
                else "No statement: no two contestants were measured in the same scenario."]
    return said[:MOST_SENTENCES]
