"""The charts of the page, drawn by gnuplot as SVG. Each is drawn twice, for a wide and for a narrow page: a scaled-down chart
would have letters too small to read."""

import html
import math
import os
import re
import shutil
import subprocess
from dataclasses import dataclass

from bench import ratios
from bench.contestants import AGAIN, LOOKS, kind_of, label_of
from bench.results import Damaged, read_histogram, slug
from bench.scenarios import SCENARIOS
from bench.verdict import points_of

WIDE, NARROW = 660, 350
GNUPLOT_SECONDS = 60
SAMPLES_LEAST = 10     # behind the last percentile that is drawn

OTHER_COLOUR, OTHER_POINT = "#000000", 2
BAND = "#DDDDDD"


@dataclass
class Chart:
    title: str
    note: str
    wide: str      # SVG
    narrow: str


def colour(side):
    return LOOKS.get(side, (OTHER_COLOUR, OTHER_POINT))[0]


def point(side):
    return LOOKS.get(side, (OTHER_COLOUR, OTHER_POINT))[1]


def is_there():
    return shutil.which("gnuplot") is not None


def quoted(text):
    """A string for gnuplot in which nothing is special."""
    return "'" + str(text).replace("'", "''").replace("\n", " ") + "'"


def number(value):
    return "NaN" if value is None or not math.isfinite(value) else f"{value:.9g}"


def block(name, lines):
    return f"${name} << EOD\n" + "\n".join(" ".join(number(v) if isinstance(v, (int, float)) or v is None else v for v in line)
                                           for line in lines) + "\nEOD\n"


def clean(svg, prefix, title):
    """Inline SVG: no XML declaration, ids of its own, a name for screen readers."""
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<title>.*?</title>|<desc>.*?</desc>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\bid=(['\"])", rf"id=\1{prefix}-", svg)
    svg = re.sub(r"href=(['\"])#", rf"href=\1#{prefix}-", svg)
    svg = svg.replace("url(#", f"url(#{prefix}-")
    svg = re.sub(r"\n\s*\n+", "\n", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(title, quote=True)}"', 1)


def gnuplot(script, width, height, prefix, title):
    head = (f"set terminal svg size {width},{height} dynamic noenhanced font 'sans-serif,12' background '#FFFFFF'\n"
            "set encoding utf8\nset border 3 lc '#444444'\nset tics nomirror\nset grid lc '#EEEEEE' lt 1\n"
            "set key top left horizontal reverse Left samplen 2 spacing 1.1 noopaque\nset errorbars small\n"
            "set key outside top center horizontal maxcols 4\n")
    done = subprocess.run(["gnuplot"], input=head + script, capture_output=True, text=True, timeout=GNUPLOT_SECONDS, check=False)
    if done.returncode != 0 or "<svg" not in done.stdout:
        raise Damaged(f"gnuplot failed for the chart '{title}': {done.stderr.strip() or 'no reason given'}")
    return clean(done.stdout, prefix, title)


class Drawer:
    """Draws charts with ids that differ from each other."""

    def __init__(self):
        self.count = 0

    def draw(self, title, note, script, height):
        """script(width): the commands. height(width) in pixels."""
        svgs = []
        for width in (WIDE, NARROW):
            self.count += 1
            svgs.append(gnuplot(script(width), width, height(width), f"c{self.count}", title))
        return Chart(title, note, *svgs)


def flat(width):
    return 330 if width == WIDE else 300


# ---- ratios of scenarios ----

def shortened(text, most):
    return text if len(text) <= most else text[:most - 1] + "…"


def ratio_chart(drawer, title, note, entries, left, right):
    """entries: (name, comparison)."""
    entries = [(name, one) for name, one in entries if one.ratio is not None]
    if not entries:
        return None
    ends = [end for _, one in entries for end in (one.low, one.high, 1 + (one.noise or 0), 1 / (1 + (one.noise or 0)))]
    most = 1.15 * max(1.2, *(max(end, 1 / end) for end in ends if end))

    def script(width):
        letters = 44 if width == WIDE else 28
        lines = [(place, one.ratio, one.low, one.high, 1 / (1 + (one.noise or 0)), 1 + (one.noise or 0),
                  1 if one.outcome in ("better", "worse") else 0) for place, (_, one) in enumerate(reversed(entries))]
        tics = ", ".join(f"{quoted(shortened(name, letters))} {place}" for place, (name, _) in enumerate(reversed(entries)))
        steps = [0.1, 0.2, 0.25, 0.33, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 4, 5, 10, 20, 50]
        shown, last = [], None
        for step in [1.0] + sorted((s for s in steps if 1 < s <= most)):
            if last is None or math.log(step / last) > math.log(most) / (3.5 if width == WIDE else 1.9):
                shown.append(step)
                last = step
        shown = sorted({*shown, *(1 / step for step in shown)})
        xtics = ", ".join(f"'{step:.2f}' {step:.6g}" for step in shown)
        return (block("data", lines) + f"set logscale x\nset xrange [{1 / most:.4f}:{most:.4f}]\nset yrange [-0.7:{len(entries) - 0.3}]\n"
                f"set ytics ({tics}) font ',{11 if width == WIDE else 10}'\nset xtics ({xtics})\nunset key\nset bmargin 4.5\n"
                f"set label {quoted(f'← {left}')} at screen 0.48, character 1 right\n"
                f"set label {quoted(f'{right} →')} at screen 0.52, character 1 left\n"
                f"set arrow from 1, graph 0 to 1, graph 1 nohead lc '#000000' lw 1\n"
                "plot $data using 2:1:5:6:($1-0.42):($1+0.42) with boxxyerror fs solid noborder fc '" + BAND + "', "
                "$data using 2:1:3:4 with xerrorbars pt 0 lc '#0072B2' lw 2, "
                "$data using ($7==1?$2:NaN):1 with points pt 7 ps 0.7 lc '#0072B2', "
                "$data using ($7==0?$2:NaN):1 with points pt 6 ps 0.7 lc '#0072B2' lw 1.5\n")
    return drawer.draw(title, note, script, lambda width: 95 + 19 * len(entries))


def glance(drawer, comparisons):
    entries = [(one.scenario, one) for _, one in comparisons.of_kind("named" if comparisons.named else "engines")]
    if not entries:
        return None
    a, b = label_of(entries[0][1].a), label_of(entries[0][1].b)
    return ratio_chart(drawer, f"Every scenario at a glance: {a} and {b}",
                       "Each dot is the median of the ratios of pairs of rounds in the measure that decides the scenario, the bar its 95 % "
                       "interval. The grey band is the same contestant against itself: this machine's noise. A hollow dot: no difference "
                       "seen, or not compared.", entries, f"{b} better", f"{a} better")


def others(drawer, comparisons):
    entries = [(f"{one.scenario}, {label_of(one.b)}", one) for _, one in comparisons.of_kind("peers")]
    return ratio_chart(drawer, "Other libraries and servers, each in its best form and as documented",
                       "The ratio of the best engine of jinduo to each; dots, bars and bands as above.", entries, "the other better",
                       "jinduo better") if entries else None


def limits(drawer, comparisons):
    entries = [(f"{one.scenario}, {label_of(one.a)}", one) for _, one in comparisons.of_kind("raw")]
    return ratio_chart(drawer, "The loops written by hand: how much jinduo costs",
                       "Each engine beside the hand-written loop on the same kernel interface. In the rows of frames the hand-written "
                       "loops parse nothing.", entries, "by hand better", "jinduo better") if entries else None


# ---- offered rates ----

def sweeps(results):
    return [row for row in results.in_plan_order() if "fractions" in row["row"] and row["rounds"]]


def by_rate(row, side, key):
    """(offered, value, held) of each point."""
    return [(ratios.median(row, side, "offered", at), ratios.median(row, side, key, at), ratios.held_of(row, side, at))
            for at in points_of(row) if ratios.rounds_of(row, side, at)]


def sides_of(row):
    return [side for side in row["row"]["sides"] if any(one["side"] == side for one in row["rounds"])]


def rates_with_held(row, side, key):
    """(offered, value, 1 if the rate was held, else 0) of each point."""
    return [(x, y, 1 if held is None or held >= ratios.HELD else 0) for x, y, held in by_rate(row, side, key)]


def points_by_held(label, side):
    """Filled points; hollow ones where the rate was not held."""
    return (f"${label} using 1:($3==1?$2:NaN) with points pt {point(side)} ps 0.6 lc '{colour(side)}' notitle, "
            f"${label} using 1:($3==0?$2:NaN) with points pt {point(side) - 1} ps 0.8 lc '{colour(side)}' notitle")


def latency_by_rate(drawer, row):
    keys = (("p50_us", "p50", 1), ("p99_us", "p99", 2), ("p999_us", "p99.9", 3))
    blocks, plots = "", []
    for side in sides_of(row):
        for key, name, dash in keys:
            label = f"d{len(plots)}"
            lines = rates_with_held(row, side, key)
            if not any(y for _, y, _ in lines):
                continue
            blocks += block(label, lines)
            style = f"lc '{colour(side)}' dt {dash}"
            plots.append(f"${label} using 1:2 with lines {style} lw 1.5 title {quoted(f'{label_of(side)} {name}')}, "
                         f"{points_by_held(label, side)}")
    if not plots:
        return None

    def script(width):
        columns = 3 if width == WIDE else 2
        return (blocks + f"set key maxcols {columns}\nset logscale y\nset xlabel 'messages a second, offered'\nset ylabel 'µs'\n"
                "set format x '%.0s%c'\nset xrange [0:*]\nplot " + ", ".join(plots) + "\n")
    return drawer.draw(f"Latency against offered rate: {row['row']['scenario']}",
                       "From the time at which a message was due, whether it could be sent or not. Hollow: the rate was not held.",
                       script, lambda width: flat(width) + (50 if width == NARROW else 40))


def cpu_by_rate(drawer, row):
    blocks, plots = "", []
    for side in sides_of(row):
        for key, name, dash in (("cpu_us", "user and kernel", 1), ("user_us", "user", 2)):
            label = f"d{len(plots)}"
            blocks += block(label, rates_with_held(row, side, key))
            plots.append(f"${label} using 1:2 with lines lc '{colour(side)}' dt {dash} lw 1.5 title {quoted(f'{label_of(side)}, {name}')}, "
                         f"{points_by_held(label, side)}")

    def script(width):
        return (blocks + "set key maxcols 2\nset logscale x\nset xlabel 'messages a second, offered'\nset ylabel 'µs a message'\n"
                "set format x '%.0s%c'\nset yrange [0:*]\nplot " + ", ".join(plots) + "\n")
    return drawer.draw(f"Server CPU a message: {row['row']['scenario']}",
                       "The left end is the standing cost of a server that has little to do. Hollow: the rate was not held.", script,
                       lambda width: flat(width) + 20)


def curve(counts):
    """(1/(1-p), value) of a histogram, as far as the samples allow."""
    total, below, lines = sum(counts.values()), 0, []
    for value in sorted(counts):
        below += counts[value]
        if total - below < SAMPLES_LEAST:
            break
        lines.append((total / (total - below), value))
    # A few hundred points are as good as thousands, and smaller.
    kept, last = [], 0.0
    for x, y in lines:
        if math.log(x) - last >= 0.02 or not kept:
            kept.append((x, y))
            last = math.log(x)
    return kept, total


def percentiles(drawer, results, row, at):
    blocks, plots = "", []
    for side in sides_of(row):
        path = results.histogram_path(row["row"]["id"], side, slug(at))
        lines, total = curve(read_histogram(path)) if os.path.exists(path) else ([], 0)
        if lines:
            label = f"d{len(plots)}"
            blocks += block(label, lines)
            plots.append(f"${label} using 1:2 with lines lc '{colour(side)}' lw 2 dt {1 + len(plots)} "
                         f"title {quoted(f'{label_of(side)} ({total} samples)')}")
    if not plots:
        return None

    def script(width):
        return (blocks + "set key maxcols 2\nset logscale xy\nset xrange [1:*]\nset xlabel 'percentile'\nset ylabel 'µs'\n"
                "set xtics ('0' 1, '50 %%' 2, '90 %%' 10, '99 %%' 100, '99.9 %%' 1000, '99.99 %%' 10000, '99.999 %%' 100000)\n"
                "plot " + ", ".join(plots) + "\n")
    return drawer.draw(f"Percentiles {at} of the slower engine's ceiling: {row['row']['scenario']}",
                       f"Drawn as far as at least {SAMPLES_LEAST} samples are slower.", script, flat)


# ---- why ----

def why(drawer, results):
    sides, blocks, plots = {}, "", []
    for row in [row for row in results.in_plan_order() if row["row"]["kind"] == "compare" and row["row"]["scenario"] in SCENARIOS]:
        for side, explained in row["explained"].items():
            if explained.get("units_a_wait") and explained.get("calls_a_unit") and SCENARIOS[row["row"]["scenario"]].role in ("echo", "frames"):
                sides.setdefault(side, []).append((explained["units_a_wait"], explained["calls_a_unit"]))
    for side in [side for side in LOOKS if side in sides]:
        blocks += block(f"d{len(plots)}", sides[side])
        plots.append(f"$d{len(plots)} using 1:2 with points pt {point(side)} ps 0.8 lw 1.5 lc '{colour(side)}' title {quoted(label_of(side))}")
    if not plots:
        return None

    def script(width):
        return (blocks + f"set key maxcols {4 if width == WIDE else 2}\nset logscale xy\nset xlabel 'messages brought by one wait'\n"
                "set ylabel 'calls into the kernel a message'\nplot " + ", ".join(plots) + "\n")
    return drawer.draw("Why: calls into the kernel against messages a wait",
                       "A point for each scenario of echoed messages and frames. On epoll each receive and send is a call of its own; a ring submits many with the call "
                       "that waits.", script, flat)


def throughput(drawer, results, group, size_text):
    lines = {}
    for row in results.in_plan_order():
        scenario = SCENARIOS.get(row["row"]["scenario"])
        if scenario and scenario.group == group and row["row"]["kind"] == "compare" and f" {size_text} x " in scenario.name:
            for side in sides_of(row):
                if side in LOOKS:
                    lines.setdefault(side, []).append((row.get("connections") or scenario.connections,
                                                       ratios.median(row, side, "per_second")))
    lines = {side: sorted(found) for side, found in lines.items() if len(found) > 1}
    if not lines:
        return None
    blocks = "".join(block(f"d{place}", found) for place, found in enumerate(lines.values()))
    plots = [f"$d{place} using 1:2 with linespoints lc '{colour(side)}' pt {point(side)} ps 0.7 lw 1.5 dt {2 if kind_of(side) == 'raw' else 1} "
             f"title {quoted(label_of(side))}" for place, side in enumerate(lines)]

    def script(width):
        return (blocks + f"set key maxcols {4 if width == WIDE else 2}\nset logscale x\nset xrange [0.8:*]\nset yrange [0:*]\n"
                "set xlabel 'connections'\nset ylabel 'messages a second'\nset format y '%.0s%c'\nplot " + ", ".join(plots) + "\n")
    return drawer.draw(f"Throughput against connections: {group} of {size_text}",
                       "One core for the server; the hand-written loops (dashed) are the ceiling. Where the load's core is busy, the load is "
                       "the limit: see the table of validity.", script, flat)


# ---- memory, and the rounds in their order ----

def memory(drawer, results):
    found = {}
    for row in results.in_plan_order():
        scenario = SCENARIOS.get(row["row"]["scenario"])
        if scenario and scenario.kind == "idle":
            for side in sides_of(row):
                if not side.endswith(AGAIN):
                    name = label_of(side) + (", timeouts" if scenario.role == "idle-timeouts" else "")
                    found[name] = (ratios.median(row, side, "bytes"), ratios.median(row, side, "kernel_bytes"))
    if not found:
        return None
    lines = [(place, own, kernel) for place, (own, kernel) in enumerate(found.values())]
    tics = ", ".join(f"{quoted(name)} {place}" for place, name in enumerate(found))

    def script(width):
        return (block("data", lines) + f"set style fill solid\nset boxwidth 0.35\nset xrange [-0.6:{len(lines) - 0.4}]\nset yrange [1:*]\n"
                f"set logscale y\nset xtics ({tics}) rotate by -35\nset ylabel 'bytes'\n"
                "plot $data using ($1-0.18):2 with boxes lc '#0072B2' title 'the server''s own', "
                "$data using ($1+0.18):3 with boxes lc '#BBBBBB' title 'the kernel''s, both ends'\n")
    return drawer.draw("Memory of an idle connection", "Resident anonymous memory of the server for each further connection; and the growth "
                       "of the kernel's slabs, for the client's and the server's end together.", script,
                       lambda width: flat(width) + 60)


def rounds_in_order(drawer, results):
    points, loads = [], []
    for row in results.in_plan_order():
        scenario = SCENARIOS.get(row["row"]["scenario"])
        if scenario is None:
            continue
        for one in row["rounds"]:
            middle = ratios.median(row, one["side"], scenario.measure, one.get("point"))
            value = one["figures"].get(scenario.measure)
            if middle and value:
                points.append((one["order"], value / middle))
            loads.append((one["order"], one.get("load_average", 0.0), one["machine"].get("stolen_percent", 0.0)))
    if not points:
        return None
    most = max(1.3, *(value for _, value in points))
    least = min(0.8, *(value for _, value in points))

    def script(width):
        return (block("points", points) + block("loads", sorted(loads)) + "set key maxcols 3\nset y2tics\nset y2range [0:*]\n"
                f"set yrange [{0.95 * least:.3f}:{1.05 * most:.3f}]\nset logscale y\nset xlabel 'measurement, in the order in which they ran'\n"
                "set ylabel 'value : median of its side'\nset y2label 'load average; stolen, %'\n"
                "plot $loads using 1:2 axes x1y2 with lines lc '#BBBBBB' title 'load average before', "
                "$loads using 1:3 axes x1y2 with lines lc '#CC79A7' dt 2 title 'stolen by the host, %', "
                "$points using 1:2 with points pt 7 ps 0.3 lc '#0072B2' title 'rounds'\n")
    return drawer.draw("All rounds in the order in which they ran", "Nothing is dropped. A trend is drift of the machine; a jump beside the "
                       "load average is another process.", script, flat)


# ---- all ----

def all_charts(results, comparisons):
    drawer = Drawer()
    charts = [glance(drawer, comparisons)]
    for row in sweeps(results):
        charts += [latency_by_rate(drawer, row), *(percentiles(drawer, results, row, at) for at in ("at 50 %", "at 80 %")),
                   cpu_by_rate(drawer, row)]
    charts += [why(drawer, results), *(throughput(drawer, results, "ping-pong", size) for size in ("64 B", "1 KiB", "16 KiB")),
               memory(drawer, results), limits(drawer, comparisons), others(drawer, comparisons), rounds_in_order(drawer, results)]
    return [chart for chart in charts if chart is not None]
