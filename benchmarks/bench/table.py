"""The results as text for a terminal."""

from bench import ratios, results as store, verdict
from bench.contestants import label_of
from bench.measures import MEASURES
from bench.scenarios import SCENARIOS


def cores_text(row, side, point=None):
    """What both cores did while the side was measured."""
    seen = [one["machine"].get("cores_busy_percent") for one in ratios.rounds_of(row, side, point).values()]
    seen = [one for one in seen if one and len(one) == 2]
    if not seen:
        return "–"
    return "/".join(f"{sorted(one[core] for one in seen)[len(seen) // 2]:.0f}" for core in (0, 1))


def lines_of(row):
    scenario = SCENARIOS[row["row"]["scenario"]]
    keys = (scenario.measure, *(key for key in scenario.shown if key != scenario.measure))
    for point in verdict.points_of(row) if "fractions" in row["row"] else [None]:
        for side in row["row"]["sides"]:
            rounds = ratios.rounds_of(row, side, point)
            if not rounds:
                continue
            yield [f"  {label_of(side)}{f' {point}' if point else ''}",
                   *(MEASURES[key].text(ratios.median(row, side, key, point)) for key in keys),
                   cores_text(row, side, point), str(len(rounds))]


def print_rows(results, comparisons):
    for row in results.in_plan_order():
        scenario = SCENARIOS.get(row["row"]["scenario"])
        if scenario is None:
            continue
        keys = (scenario.measure, *(key for key in scenario.shown if key != scenario.measure))
        heads = [row["row"]["scenario"] + ("" if row["row"]["kind"] == "compare" else f", {row['row']['kind']}"),
                 *(MEASURES[key].head(scenario.unit) for key in keys), "cores busy, %", "rounds"]
        lines = list(lines_of(row))
        if not lines:
            continue
        widths = [max(len(line[place]) for line in (heads, *lines)) for place in range(len(heads))]
        for line in (heads, *lines):
            print("  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]))
        for _, one, comparison in comparisons.all:
            if one is row and comparison.pairs >= ratios.PAIRS_LEAST:
                print(f"  {verdict.sentence(row, comparison).removeprefix(comparison.scenario).lstrip(': ')}")
        for one in store.left_out(row):
            print(f"  {label_of(one['side'])}: {one['why']}: {one['reason']}")
        print()
