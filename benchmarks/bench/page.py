"""report.html: one file with all charts, tables and data in it. It needs no network and no script, and prints."""

import html
import json
import os
import statistics

from bench import charts, goals, ratios, results as store, verdict
from bench.contestants import AGAIN, contestant_of, label_of
from bench.measures import MEASURES
from bench.scenarios import SCENARIOS

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 1400px; font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1rem; margin: 0 0 .2rem; }
p.note, figcaption { color: #555; font-size: .85rem; margin: .2rem 0; }
ol.verdict { padding-left: 1.3rem; font-size: 1.05rem; }
ol.verdict li { margin: .4rem 0; }
.charts { display: grid; grid-template-columns: 1fr; gap: 1.5rem; }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figure svg { width: 100%; height: auto; display: block; }
.narrow { display: none; }
.scroll { overflow-x: auto; margin: .5rem 0 1rem; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .2rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: .2rem .6rem .2rem 0; text-align: right; vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child, td.text, th.text { text-align: left; white-space: normal; }
td.text { max-width: 44rem; overflow-wrap: break-word; }
th:first-child, td:first-child { min-width: 9rem; }
tr.group th { background: #f4f4f4; text-align: left; padding-top: .5rem; }
td.flag { color: #a03000; font-weight: 600; }
code { font-size: .85em; background: #f4f4f4; padding: 0 .2em; overflow-wrap: anywhere; }
details summary { cursor: pointer; }
@media (min-width: 1000px) { .charts { grid-template-columns: 1fr 1fr; } }
@media (max-width: 600px) { .wide { display: none; } .narrow { display: block; } body { padding: .6rem; } }
@media print {
  body { max-width: none; font-size: 10pt; padding: 0; }
  .charts { grid-template-columns: 1fr 1fr; }
  .wide { display: block; } .narrow { display: none; }
  .scroll { overflow: visible; } table { font-size: 6.5pt; } th, td { white-space: normal; padding-right: .3rem; }
  h2 { break-after: avoid; } tr { break-inside: avoid; }
}
"""

CANNOT = (
    "A network card: all connections run over the loopback device, which has no latency, no loss and no interrupts of its own.",
    "More than two cores: the server has one core and the load the other. How engines scale over cores is not measured.",
    "Zero-copy receive, and zero-copy send to another machine: over loopback the kernel copies all the same.",
    "io_uring with a submission thread of the kernel (SQPOLL): the engine has no such option, as docs/io_uring.md explains.",
)

METHOD = (
    "Each measurement starts a new server on one core and its load on another, warms up, and then counts. The load checks the "
    "bytes of the answers; a server that answers wrongly is disqualified.",
    "Order A B B A: the contestants of a row take turns, in reversed order in each second round. A pair is the measurements of two "
    "contestants in the same round; the comparison is the median of the ratios of the pairs, with its 95 % interval by bootstrap. "
    "Nothing is dropped. A measurement is made again only if nothing at all was answered in its time.",
    "The noise is measured: one row of each group has the first contestant twice. What lies within the interval of a "
    "contestant against itself, or has an interval that includes 1.00, is no difference seen.",
    "Before each row the tool waits for a quiet machine; the table of validity has what it saw, and the load average before each "
    "row.",
    "Latency is only called so at an offered rate, and starts when a message was due, not when it was sent. A rate that was held to "
    "less than 99 % is flagged and not compared. Without an offered rate the load sends when answers arrive, which hides stalls: "
    "such rows compare throughput and CPU time.",
    "Calls into the kernel are counted in a further round that is not compared: by a preloaded library for all contestants, and by "
    "the server itself where it enters a ring.",
)


def escape(text):
    return html.escape(str(text), quote=True)


def cell(text, **attributes):
    words = "".join(f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"' for name, value in attributes.items() if value)
    return f"<td{words}>{escape(text)}</td>"


def table(caption, heads, lines, text_columns=()):
    """lines: cells as HTML, or a string: the heading of a group."""
    head = "".join(f'<th class="text">{escape(one)}</th>' if place in text_columns else f"<th>{escape(one)}</th>"
                   for place, one in enumerate(heads))
    def with_class(place, text):
        return text.replace("<td", '<td class="text"', 1) if place in text_columns and " class=" not in text.split(">", 1)[0] else text

    body = "".join(f'<tr class="group"><th colspan="{len(heads)}">{escape(line)}</th></tr>' if isinstance(line, str)
                   else f"<tr>{''.join(with_class(place, one) for place, one in enumerate(line))}</tr>" for line in lines)
    return (f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>\n")


def known_rows(results):
    return [row for row in results.in_plan_order() if row["row"]["scenario"] in SCENARIOS and row["rounds"]]


def points(row):
    return verdict.points_of(row) if "fractions" in row["row"] else [None]


def measured(row):
    """The (point, side) that have rounds."""
    return [(point, side) for point in points(row) for side in row["row"]["sides"]
            if ratios.rounds_of(row, side, point) and not store.is_left_out(row, side)]


def row_title(row):
    return row["row"]["scenario"] + ("" if row["row"]["kind"] == "compare" else f", {row['row']['kind']}")


# ---- tables ----

def figure_cell(row, side, key, point):
    value = ratios.median(row, side, key, point)
    text = MEASURES[key].text(value)
    return cell(text, data_row=row["row"]["id"], data_side=side, data_key=key, data_point=point or "")


def medians_table(results):
    keys = ("cpu_us", "user_us", "kernel_us", "per_second", "p50_us", "p99_us", "p999_us", "mean_us")
    lines = []
    for row in known_rows(results):
        scenario = SCENARIOS[row["row"]["scenario"]]
        deciding = MEASURES[scenario.measure]
        lines.append(f"{row_title(row)} – decided by: {deciding.head(scenario.unit)}")
        for point, side in measured(row):
            low, high = ratios.spread(row, side, scenario.measure, point)
            rounds = ratios.rounds_of(row, side, point)
            lines.append([cell(f"{label_of(side)}{f' {point}' if point else ''}"),
                          figure_cell(row, side, scenario.measure, point),
                          cell(f"{deciding.text(low)} – {deciding.text(high)}"), cell(len(rounds)),
                          *(figure_cell(row, side, key, point) if key in KEYS_SHOWN else "" for key in keys)])
    heads = ("", "deciding measure", "least – most", "n", *(HEADS[key] for key in keys))
    return table("Medians and spread. Where no rate was offered, p50 to mean are the times of a load that waits for answers.", heads, lines)


HEADS = {"cpu_us": "CPU, µs", "user_us": "user", "kernel_us": "kernel", "per_second": "a second", "p50_us": "p50, µs",
         "p99_us": "p99", "p999_us": "p99.9", "mean_us": "mean"}
MEASURES.setdefault("user_us", MEASURES["cpu_us"])
MEASURES.setdefault("kernel_us", MEASURES["cpu_us"])
KEYS_SHOWN = tuple(HEADS)


def loop_table(results):
    """Measures that only some scenarios have."""
    lines = []
    for row in known_rows(results):
        scenario = SCENARIOS[row["row"]["scenario"]]
        keys = [key for key in (scenario.measure, *scenario.shown) if key not in HEADS]
        if keys:
            for point, side in measured(row):
                lines.append([cell(row_title(row)), cell(label_of(side)),
                              cell("; ".join(f"{MEASURES[key].head(scenario.unit)}: {MEASURES[key].text(ratios.median(row, side, key, point))}"
                                             for key in keys), class_="text")])
    return table("Further figures", ("scenario", "contestant", "medians"), lines, (0, 2)) if lines else ""


def mean_of(row, side, point, pick):
    found = [pick(one) for one in ratios.rounds_of(row, side, point).values()]
    found = [one for one in found if one is not None]
    return statistics.fmean(found) if found else None


def percent_text(value):
    return "–" if value is None else f"{value:.0f}"


def validity_lines(row):
    before = (row.get("before") or [{}])[-1]
    for point, side in measured(row):
        def busy(core, point=point, side=side):
            return mean_of(row, side, point, lambda one: (one["machine"].get("cores_busy_percent") or [None, None])[core])
        held = ratios.held_of(row, side, point)
        rounds = ratios.rounds_of(row, side, point).values()
        checks = [one.get("checks", {}) for one in rounds]
        wrong = sum(check.get(name) or 0 for check in checks for name in ("wrong_replies", "failed_connects", "lost_connections"))
        # A receive that ends with ENOBUFS waits for a block.
        counted = [sum((check.get(name) or 0) for check in checks) for name in ("queue_overflows", "receive_pauses", "block_overflows")]
        load = max(one.get("load_average", 0) for one in rounds)
        loose = held is not None and held < ratios.HELD
        yield [cell(row_title(row) + (f" {point}" if point else "")), cell(label_of(side)),
               cell(percent_text(ratios.median(row, side, "server_percent", point))),
               cell(percent_text(ratios.median(row, side, "load_percent", point))), cell(percent_text(busy(0))), cell(percent_text(busy(1))),
               cell("–" if held is None else f"{100 * held:.1f} %{' NOT HELD' if loose else ''}", class_="flag" if loose else ""),
               cell(wrong, class_="flag" if wrong else ""), *map(cell, counted),
               cell(sum(one["machine"].get("retransmits", 0) for one in rounds)),
               cell(percent_text(max(one["machine"].get("stolen_percent", 0) for one in rounds))), cell(f"{load:.1f}"),
               cell("–" if not before else f"{before['busy_percent']:.0f} %{'' if before['quiet'] else ' NOT QUIET'}",
                    class_="flag" if before and not before["quiet"] else "")]


def validity_table(results):
    heads = ("row", "contestant", "server, % of a core", "load, % of a core", "server's core busy, %", "load's core busy, %", "rate held",
             "errors", "queue overflows", "ENOBUFS: receives that waited for a block", "blocks from the heap", "retransmits", "stolen, %", "load average before, most", "others before the row")
    return table("Validity", heads, [line for row in known_rows(results) for line in validity_lines(row)], (0, 1))


def explained_table(results):
    kinds = ("wait", "enter", "control", "receive", "send", "file", "accept", "close", "other")
    lines = []
    for row in known_rows(results):
        for side, explained in row["explained"].items():
            if not explained:
                continue
            def text(value, form="{:.3f}"):
                return "–" if value is None else form.format(value)
            switches = ratios.median(row, side, "switches")
            lines.append([cell(row_title(row)), cell(label_of(side)), cell(text(explained["calls_a_unit"])),
                          cell(text(explained["units_a_wait"], "{:.1f}")), cell(text(explained["completions_an_enter"], "{:.1f}")),
                          cell(text(switches)), *(cell(text(explained["calls"].get(kind))) for kind in kinds)])
    heads = ("row", "contestant", "calls a message", "messages a wait", "completions an enter", "context switches a message", *kinds)
    return table("Why: calls into the kernel, counted in a round of their own, for each message (or transfer, delivery, MB)", heads, lines,
                 (0, 1)) if lines else ""


def outcomes_table(comparisons):
    lines = []
    for _, row, one in comparisons.all:
        numbers = ("–", "–") if one.ratio is None else (f"{one.ratio:.3f}", f"{one.low:.3f} – {one.high:.3f}")
        lines.append([cell(verdict.sentence(row, one), class_="text"),
                      cell(numbers[0], data_comparison=f"{one.row}|{one.a}|{one.b}|{one.measure}|{one.point}"), cell(numbers[1]),
                      cell(f"{one.better} of {one.pairs}"), cell("–" if one.noise is None else f"±{100 * one.noise:.1f} %")])
    return table("Every comparison in words. A ratio above 1: the first named is better.",
                 ("", "ratio", "95 % interval", "pairs better", "noise"), lines, (0,)) if lines else ""


def goals_table(comparisons):
    lines = []
    for goal in goals.GOALS:
        found = [one for one in goals.checks(comparisons) if one.goal is goal]
        if found:
            lines.append(f"{goal.text}: {sum(one.met for one in found)} of {len(found)} met")
        lines += [[cell(row_title(one.row)), cell(label_of(one.a)), cell(label_of(one.b)), cell(f"{one.ratio:.2f}"), cell(f"{goal.least:.2f}"),
                   cell("met" if one.met else "MISSED", class_="" if one.met else "flag")] for one in found]
    return table("Goals of the project: the ratio to each opponent, more is better", ("row", "jinduo", "opponent", "ratio", "goal", ""),
                 lines, (0, 1, 2)) if lines else ""


def scenarios_table(results):
    lines = []
    for name in dict.fromkeys(row["row"]["scenario"] for row in known_rows(results)):
        scenario = SCENARIOS[name]
        sides = list(dict.fromkeys(label_of(side) for row in known_rows(results) if row["row"]["scenario"] == name
                                   for side in row["row"]["sides"] if not side.endswith(AGAIN)))
        lines.append([cell(name), cell(scenario.load_text if scenario.kind not in ("timers", "pipes", "idle") else "–", class_="text"),
                      cell(scenario.note or "–", class_="text"), cell(", ".join(sides), class_="text")])
    return table("Scenarios", ("name", "load", "remarks", "contestants"), lines, (0, 1, 2, 3))


def left_out_table(results):
    lines = [[cell(row_title(row)), cell(label_of(one["side"])), cell(one["why"]), cell(one["reason"], class_="text")]
             for row in results.in_plan_order() for one in store.left_out(row)]
    lines += [[cell(row_title(row)), cell("all"), cell("shortened"), cell(row["note"], class_="text")]
              for row in results.in_plan_order() if row.get("note")]
    lines += [[cell(row_title(row)), cell("all"), cell("measured anew"), cell(f"commit {row['commit']}", class_="text")]
              for row in results.in_plan_order() if row.get("commit")]
    return table("Left out, disqualified, shortened, measured anew", ("row", "contestant", "", "reason"), lines, (0, 1, 2, 3)) if lines else (
        "<p>No contestant was left out, disqualified or failed.</p>\n")


def machine_table(results):
    facts = results.machine.get("table", {})
    lines = [[cell(name), cell(value if value is not None else "not known", class_="text")] for name, value in facts.items()]
    return table("Machine and build", ("", ""), lines, (0, 1))


def binaries_table(results):
    lines = [[cell(name), cell(digest, class_="text")] for name, digest in results.machine.get("binaries", {}).items()]
    anew = {}
    for row in results.in_plan_order():
        for one in row.get("binaries", {}).items():
            anew.setdefault(one, []).append(row_title(row))
    lines += [[cell(f"{name}, in rows measured anew: {', '.join(titles)}", class_="text"), cell(digest, class_="text")]
              for (name, digest), titles in anew.items()]
    return table("Programs (SHA-256)", ("", ""), lines, (0, 1))


# ---- the page ----

def progress_text(results):
    wanted = sum(len(row["sides"]) * row["rounds"] * len(row.get("fractions", [0])) for row in results.run["rows"])
    left_out = sum(sum(1 for side in row["row"]["sides"] if store.is_left_out(row, side)) * row["row"]["rounds"]
                   * len(row["row"].get("fractions", [0])) for row in results.rows.values())
    done = sum(not store.is_left_out(row, one["side"]) for row in results.rows.values() for one in row["rounds"])
    return "" if done >= wanted - left_out else f" The run is not complete: {done} of {wanted - left_out} measurements."


def loud(results):
    """A warning if the machine was not quiet."""
    rows = [row for row in results.in_plan_order() if any(not one["quiet"] for one in row.get("before", []))]
    if not rows:
        return ""
    return (f'<p class="flag"><strong>The machine was not quiet before {len(rows)} of {len(results.in_plan_order())} rows</strong>: other processes used '
            "its cores. Do not quote the figures of such a run.</p>\n")


def figure(chart):
    return (f"<figure><h3>{escape(chart.title)}</h3><div class=\"wide\">{chart.wide}</div><div class=\"narrow\">{chart.narrow}</div>"
            f"<figcaption>{escape(chart.note)}</figcaption></figure>\n")


def data_of(results):
    text = json.dumps({"run": results.run, "machine": results.machine, "rows": results.in_plan_order()}, ensure_ascii=False,
                      separators=(",", ":"))
    return text.replace("<", "\\u003c")


def repeat(results):
    return (f"<p>This run: <code>{escape(results.run['command'])}</code>. All scenarios: <code>./dev bench --full</code>. The page again, from the JSON in "
            f"its folder DIR: <code>./dev bench --report DIR</code>. All results are in this page as JSON, in the element with the id "
            "<code>results</code>; the latencies are beside it as <code>histograms/*.hgrm</code>, in the text form of HdrHistogram.</p>\n")


def render(results, comparisons, drawn):
    """drawn: the charts, or a line that says why there are none."""
    sentences = "".join(f"<li>{escape(one)}</li>" for one in verdict.verdict(comparisons))
    pictures = (f'<div class="charts">{"".join(map(figure, drawn))}</div>' if isinstance(drawn, list) else f"<p>{escape(drawn)}</p>")
    commit = results.machine.get("table", {}).get("commit") or "unknown"
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>jinduo: comparison of {escape(results.run['begun'][:10])}</title><style>{STYLE}</style></head><body>
<h1>Reactor and Proactor, and both beside the field</h1>
<p class="note">jinduo, commit {escape(commit)}; begun {escape(results.run['begun'])}; {escape(results.run['purpose'])} run.{escape(progress_text(results))}</p>
{loud(results)}<h2>Verdict</h2>
<ol class="verdict">{sentences}</ol>
<h2>Charts</h2>
{pictures}
<h2>Comparisons</h2>
{outcomes_table(comparisons)}{goals_table(comparisons)}<h2>Tables</h2>
{medians_table(results)}{loop_table(results)}{explained_table(results)}{validity_table(results)}{left_out_table(results)}{scenarios_table(results)}{machine_table(results)}{binaries_table(results)}
<details><summary>Raw rounds</summary>{rounds_table(results)}</details>
<h2>What this page cannot show</h2>
<ul>{"".join(f"<li>{escape(one)}</li>" for one in CANNOT)}</ul>
<h2>Repeat it</h2>
{repeat(results)}<h2>Method</h2>
<ul>{"".join(f"<li>{escape(one)}</li>" for one in METHOD)}</ul>
<script type="application/json" id="results">{data_of(results)}</script>
</body></html>
"""


def rounds_table(results):
    lines = []
    for row in known_rows(results):
        scenario = SCENARIOS[row["row"]["scenario"]]
        for one in sorted(row["rounds"], key=lambda one: one["order"]):
            lines.append([cell(one["order"]), cell(row_title(row) + (f" {one['point']}" if one.get("point") else "")), cell(label_of(one["side"])),
                          cell(one["round"] + 1), cell(MEASURES[scenario.measure].text(one["figures"].get(scenario.measure))),
                          cell(MEASURES[scenario.measure].head(scenario.unit))])
    return table("All rounds, in the order in which they ran", ("order", "row", "contestant", "round", "value", "measure"), lines, (1, 2, 5))


def write(results, comparisons):
    """Writes report.html. Returns its path, and a line about what is missing in it, or None."""
    problem = None
    try:
        drawn = charts.all_charts(results, comparisons) if charts.is_there() else "No charts: gnuplot is not installed (package gnuplot-nox)."
    except (store.Damaged, OSError) as failure:
        drawn = f"No charts: {failure}"
    if isinstance(drawn, str):
        problem = drawn
    path = os.path.join(results.directory, "report.html")
    store.write_text(path, render(results, comparisons, drawn))
    return path, problem
