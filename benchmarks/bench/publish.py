"""Puts the results of a full run into the documents: docs/benchmarks/ with the page, the results and the charts, and
docs/benchmarks.md that shows the charts."""

import json
import os
import shutil

from bench import charts, page, results as store, verdict

REFUSED = "is not published"


def check(results):
    """A run that nobody should quote is refused, with the reason."""
    if results.run["purpose"] != "full":
        raise store.Damaged(f"{results.directory}: {REFUSED}: it is a {results.run['purpose']} run, not a full one")
    if page.progress_text(results):
        raise store.Damaged(f"{results.directory}: {REFUSED}: it is not complete; continue it by --resume")
    loud = [row for row in results.in_plan_order() if any(not one["quiet"] for one in row.get("before", []))]
    if loud:
        raise store.Damaged(f"{results.directory}: {REFUSED}: the machine was not quiet before {len(loud)} rows, such as "
                            f"'{page.row_title(loud[0])}'")
    if not charts.is_there():
        raise store.Damaged(f"{results.directory}: {REFUSED}: gnuplot is not installed (package gnuplot-nox)")


def document(results, comparisons, names):
    """docs/benchmarks.md. names: (file, chart)."""
    table = results.machine.get("table", {})
    facts = "\n".join(f"| {name} | {str(value).replace('|', '/')} |" for name, value in table.items())
    pictures = "\n\n".join(f"## {chart.title}\n\n![{chart.title}](benchmarks/{name})\n\n{chart.note}" for name, chart in names)
    return f"""# Benchmarks

The charts of a full run of `./dev bench` on one machine. [The page](benchmarks/report.html) has all tables and every round;
[Performance comparison](performance-comparison.md) says how to read them. `./dev bench --publish DIR` wrote this file.

{chr(10).join(f"{place}. {one}" for place, one in enumerate(verdict.verdict(comparisons), 1))}

{pictures}

## Machine

| | |
|---|---|
{facts}
"""


def compact(path, data):
    store.write_text(path, json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n")


def publish(results, comparisons, docs):
    """Writes docs/benchmarks/ and docs/benchmarks.md anew. Returns the path of the latter."""
    check(results)
    directory = os.path.join(docs, "benchmarks")
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(os.path.join(directory, "rows"))
    drawn = charts.all_charts(results, comparisons)
    compact(os.path.join(directory, "run.json"), results.run)
    compact(os.path.join(directory, "machine.json"), results.machine)
    for name, row in results.rows.items():
        compact(os.path.join(directory, "rows", f"{name}.json"), row)
    shutil.copytree(os.path.join(results.directory, "histograms"), os.path.join(directory, "histograms"))
    store.write_text(os.path.join(directory, "report.html"), page.render(results, comparisons, drawn))
    names = [(f"{store.slug(chart.title)}.svg", chart) for chart in drawn]
    for name, chart in names:
        store.write_text(os.path.join(directory, name), chart.wide + "\n")
    path = os.path.join(docs, "benchmarks.md")
    store.write_text(path, document(results, comparisons, names))
    return path
