"""The results as text for a terminal."""

from bench import ratios
from bench.contestants import AGAIN, label_of
from bench.measures import MEASURES
from bench.scenarios import SCENARIOS
from bench.verdict import points_of

OUTCOMES = {"better": "better", "worse": "worse", "tie": "no difference seen", "rate not held": "rate not held",
            "too few rounds": "too few rounds", "not measured": "not measured"}


def cores_text(row, side, point=None):
    """What both cores did while the side was measured."""
    seen = [one["machine"].get("cores_busy_percent") for one in ratios.rounds_of(row, side, point).values()]
    seen = [one for one in seen if one and len(one) == 2]
    if not seen:
        return "–"
    return "/".join(f"{sorted(one[core] for one in seen)[len(seen) // 2]:.0f}" for core in (0, 1))


def lines_of(row, comparisons):
    scenario = SCENARIOS[row["row"]["scenario"]]
    keys = (scenario.measure, *(key for key in scenario.shown if key != scenario.measure))
    judged = {comparison.b if kind != "raw" else comparison.a: comparison for kind, one, comparison in comparisons.all
              if one is row and kind != "rates"}
    for point in points_of(row) if "fractions" in row["row"] else [None]:
        for side in row["row"]["sides"]:
            rounds = ratios.rounds_of(row, side, point)
            if not rounds:
                continue
            cells = [f"  {label_of(side)}{f' {point}' if point else ''}",
                     *(MEASURES[key].text(ratios.median(row, side, key, point)) for key in keys),
                     cores_text(row, side, point), str(len(rounds))]
            comparison = judged.get(side)
            said = ""
            if comparison and comparison.ratio is not None and not side.endswith(AGAIN):
                said = (f"{label_of(comparison.a)} : {label_of(comparison.b)} = {comparison.ratio:.2f} "
                        f"({comparison.low:.2f}–{comparison.high:.2f}) {OUTCOMES[comparison.outcome]}")
            yield [*cells, said]


def print_rows(results, comparisons):
    for row in results.in_plan_order():
        scenario = SCENARIOS.get(row["row"]["scenario"])
        if scenario is None:
            continue
        keys = (scenario.measure, *(key for key in scenario.shown if key != scenario.measure))
        heads = [row["row"]["scenario"] + ("" if row["row"]["kind"] == "compare" else f", {row['row']['kind']}"),
                 *(MEASURES[key].head(scenario.unit) for key in keys), "cores busy, %", "rounds", "ratio: more is better"]
        lines = list(lines_of(row, comparisons))
        if not lines:
            continue
        widths = [max(len(line[place]) for line in (heads, *lines)) for place in range(len(heads))]
        for line in (heads, *lines):
            cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1])), line[-1]]
            print("  ".join(cells).rstrip())
        for one in row["left_out"]:
            print(f"  {label_of(one['side'])}: {one['why']}: {one['reason']}")
        print()
