#!/usr/bin/env python3
"""What ./dev bench writes about results: the sentences, the page, and the refusal of a damaged folder. The results are made up.

Arguments: the source directory, the build directory.
"""

import contextlib
import html.parser
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile

import made_up
import tap
from bench import charts, goals, page, plan, publish, ratios, verdict
from bench.contestants import CONTESTANTS
from bench.results import Damaged, Results, merge_histogram, read_histogram, write_histogram
from bench.scenarios import SCENARIOS, matching

SOURCE, BUILD = sys.argv[1], sys.argv[2]
PING_PONG = "ping-pong 64 B x 100"


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="jinduo-bench-test-") as directory:
        yield os.path.join(directory, "results")


def sentences_about(*rows, **run):
    with folder() as directory:
        comparisons = verdict.Comparisons(made_up.results(directory, list(rows), **run))
        return comparisons.sentences(), verdict.verdict(comparisons)


def bench(*arguments):
    return subprocess.run([sys.executable, os.path.join(SOURCE, "benchmarks", "run.py"), BUILD, *arguments], capture_output=True,
                          text=True, timeout=100, check=False)


# ---- the sentences ----

@tap.test
def a_difference_within_the_noise_is_no_difference():
    said, summary = sentences_about(made_up.engines(PING_PONG, 4.005, 4.0))
    assert re.fullmatch(rf"{PING_PONG}: no difference seen between io_uring and Reactor in server CPU, µs a message: 1\.00 "
                        r"\((?:0\.99|1\.00)–1\.0\d\), this machine's noise ±0\.\d %\.", said[0]), said
    assert "No difference seen between io_uring and Reactor in 1 of 1 scenarios" in summary[0], summary


@tap.test
def less_cpu_is_named_in_percent_with_its_interval_and_pairs():
    said, summary = sentences_about(made_up.engines(PING_PONG, 3.0, 4.0))
    assert re.fullmatch(rf"{PING_PONG}: io_uring takes 2[45] % \(2[3-5]–2[5-7]\) less CPU a message than Reactor; in 8 of 8 pairs\.",
                        said[0]), said
    assert summary[0].startswith("Reactor loses most in "), summary


@tap.test
def more_cpu_is_a_loss_and_stands_first_in_the_verdict():
    said, summary = sentences_about(made_up.engines("frames 60 B, 64 in flight", 3.0, 4.0), made_up.engines(PING_PONG, 5.0, 4.0))
    assert re.fullmatch(rf"{PING_PONG}: io_uring takes 2[45] % \(2[3-5]–2[5-7]\) more CPU a message than Reactor; in 8 of 8 pairs\.",
                        said[1]), said
    assert summary[0].startswith(f"io_uring loses most in {PING_PONG}: "), summary
    assert summary[1].startswith("Reactor loses most in frames 60 B, 64 in flight: "), summary


@tap.test
def a_rate_that_was_not_held_is_not_compared():
    values = {"reactor": made_up.around(4.0, p99_us=100.0, offered=1e5, held=1.0),
              "io_uring": made_up.around(4.0, p99_us=10.0, offered=1e5, held=0.93)}
    said, summary = sentences_about(made_up.row("long: 10 000 connections x 10/s", values))
    assert said == ["long: 10 000 connections x 10/s: not comparable: offered rate not held (io_uring answered 93 % of it)."], said
    assert summary == ["Not comparable: offered rate not held: long: 10 000 connections x 10/s."], summary


@tap.test
def a_point_of_a_sweep_whose_rate_was_not_held_is_not_compared():
    said, summary = sentences_about(made_up.sweep(held=0.9))
    bad = [one for one in said if "not comparable" in one]
    assert len(bad) == 2 and all(one.startswith(f"{PING_PONG} at 110 %") for one in bad), said
    assert sum("takes" in one and "less CPU" in one for one in said) == 3, said
    assert any(one == f"Not comparable: offered rate not held: {PING_PONG} at 110 %." for one in summary), summary


@tap.test
def fewer_than_four_pairs_allow_no_statement():
    row = made_up.row(PING_PONG, {"reactor": made_up.around(4.0, 3), "io_uring": made_up.around(1.0, 3)})
    said, summary = sentences_about(row)
    assert said == [f"{PING_PONG}: no statement on io_uring and Reactor: 3 pairs, 4 are needed."], said
    assert summary == ["No statement: fewer than 4 rounds of each contestant were measured."], summary


@tap.test
def a_difference_that_the_machine_shows_against_itself_is_no_difference():
    # Ten percent between the engines, clear in each pair; but the Reactor differs as much from itself.
    row = made_up.row(PING_PONG, {"io_uring": made_up.around(3.6), "reactor": made_up.around(4.0), "reactor:again": made_up.around(4.6)})
    said, _ = sentences_about(row)
    assert "no difference seen" in said[0] and re.search(r"noise ±1[2-5] %", said[0]), said


@tap.test
def the_calls_explain_a_difference():
    row = made_up.engines(PING_PONG, 3.0, 4.0)
    row["explained"] = {"io_uring": {"calls_a_unit": 0.1}, "reactor": {"calls_a_unit": 2.5}}
    said, _ = sentences_about(row)
    assert said[0].endswith("pairs; one call into the kernel of io_uring carries 10.0 messages, of Reactor 0.40."), said
    # More calls explain no gain.
    row["explained"] = {"io_uring": {"calls_a_unit": 2.5}, "reactor": {"calls_a_unit": 0.1}}
    said, _ = sentences_about(row)
    assert said[0].endswith("8 of 8 pairs."), said


@tap.test
def a_library_is_compared_in_its_better_form():
    row = made_up.row(PING_PONG, {"reactor": made_up.around(4.0), "io_uring": made_up.around(3.0), "libuv": made_up.around(5.0),
                                  "libuv-documented": made_up.around(2.5), "asio": made_up.around(9.0)}, "beside peers")
    _, summary = sentences_about(row)
    said = [one for one in summary if one.startswith("Against the best form")]
    assert len(said) == 1 and "of 2 comparisons the best engine of jinduo is ahead in 1, shows no difference in 0, and is behind in 1." in said[0], summary
    assert "takes 20 %" in said[0] and "more CPU a message than libuv, as documented" in said[0], said


@tap.test
def a_comparison_of_two_names_only_them():
    row = made_up.row(PING_PONG, {"libuv": made_up.around(4.0), "asio": made_up.around(5.0), "libuv:again": made_up.around(4.0)})
    said, summary = sentences_about(row, compare=["libuv", "asio"])
    assert len(said) == 1 and said == summary and "libuv takes" in said[0] and "less CPU a message than Asio" in said[0], said


@tap.test
def the_verdict_has_at_most_five_sentences():
    with folder() as directory:
        assert 1 <= len(verdict.verdict(verdict.Comparisons(made_up.whole(directory)))) <= 5


@tap.test
def the_interval_holds_the_median_and_repeats():
    found = [1.1, 1.2, 1.0, 1.3, 1.15, 1.05, 1.25, 1.12]
    low, high = ratios.interval(found)
    assert low <= statistics.median(found) <= high and (low, high) == ratios.interval(found)
    assert min(found) <= low < high <= max(found)


# ---- the page ----

class Page(html.parser.HTMLParser):
    """The cells with data attributes, ids, outside references, and the embedded JSON."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.ids, self.references, self.data = [], [], [], ""
        self.current = self.in_data = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.references += [value for name, value in attrs if name in ("src", "href", "xlink:href") and not value.startswith("#")]
        self.in_data = tag == "script" and attributes.get("id") == "results"
        assert tag != "script" or attributes.get("type") == "application/json", "the page has a script"
        self.current = attributes if tag == "td" and ("data-key" in attributes or "data-comparison" in attributes) else None
        if self.current is not None:
            self.current["text"] = ""
            self.cells.append(self.current)

    def handle_endtag(self, tag):
        self.current = self.in_data = None

    def handle_data(self, data):
        if self.current is not None:
            self.current["text"] += data
        if self.in_data:
            self.data += data


@contextlib.contextmanager
def whole_page(with_charts=False):
    with folder() as directory:
        made = made_up.whole(directory)
        is_there = charts.is_there
        charts.is_there = is_there if with_charts else lambda: False   # to draw takes seconds
        try:
            path, problem = page.write(made, verdict.Comparisons(made))
        finally:
            charts.is_there = is_there
        with open(path, encoding="utf-8") as file:
            text = file.read()
        yield made, text, Page(text), problem


@tap.test
def the_numbers_of_the_page_are_those_of_the_json():
    with whole_page() as (made, _, shown, _):
        by_key = [one for one in shown.cells if "data-key" in one]
        assert len(by_key) > 300, len(by_key)
        numbers = 0
        for one in by_key:
            with open(made.row_path(one["data-row"]), encoding="utf-8") as file:
                rounds = json.load(file)["rounds"]
            values = [found["figures"][one["data-key"]] for found in rounds
                      if found["side"] == one["data-side"] and found.get("point", "") == one.get("data-point", "")
                      and one["data-key"] in found["figures"]]
            if not values:
                assert one["text"] == "–", one
                continue
            value, digits = statistics.median(values), len(one["text"].partition(".")[2])
            assert math.isclose(float(one["text"]), value, abs_tol=0.5000001 * 10 ** -digits), (one, value)
            numbers += 1
        assert numbers > 150, numbers


@tap.test
def each_side_and_point_of_the_json_is_on_the_page():
    with whole_page() as (made, _, shown, _):
        there = {(one["data-row"], one["data-side"], one.get("data-point", "")) for one in shown.cells if "data-key" in one}
        measured = {(row["row"]["id"], one["side"], one.get("point", "")) for row in made.rows.values() for one in row["rounds"]}
        assert there == measured, there ^ measured


@tap.test
def the_ratios_of_the_page_are_those_of_the_pairs():
    with whole_page() as (made, _, shown, _):
        compared = [one for one in shown.cells if "data-comparison" in one]
        assert len(compared) > 20, len(compared)
        for one in compared:
            row, a, b, key, point = one["data-comparison"].split("|")
            by_round = {}
            for found in made.rows[row]["rounds"]:
                if found.get("point", "") == point:
                    by_round.setdefault(found["round"], {})[found["side"]] = found["figures"][key]
            pairs = [sides[b] / sides[a] for sides in by_round.values() if a in sides and b in sides]
            assert one["text"] == f"{statistics.median(pairs):.3f}", one


@tap.test
def the_page_holds_the_results_as_json():
    with whole_page() as (made, _, shown, _):
        data = json.loads(shown.data)
        assert data["machine"] == made.machine and data["run"] == made.run
        assert [row["row"]["id"] for row in data["rows"]] == [row["id"] for row in made.run["rows"]]


@tap.test
def the_page_needs_nothing_from_outside_and_no_script():
    with whole_page(with_charts=True) as (_, text, shown, _):
        assert not shown.references, shown.references
        assert "@import" not in text and "url(http" not in text
        assert len(shown.ids) == len(set(shown.ids)), "an id is there twice"
        assert "made up &lt;of&gt; nothing" in text


@tap.test
def the_page_has_its_charts():
    if not charts.is_there():
        raise tap.Skip("gnuplot is not installed")
    with whole_page(with_charts=True) as (_, text, _, problem):
        assert problem is None, problem
        titles = re.findall(r"<figure><h3>(.*?)</h3>", text)
        for wanted in ("Every scenario at a glance", "Latency against offered rate", "Percentiles at 50 %", "Percentiles at 80 %",
                       "Server CPU a message", "Why: calls", "Throughput against connections", "Memory of an idle", "Other libraries",
                       "All rounds"):
            assert any(title.startswith(wanted) for title in titles), (wanted, titles)
        assert text.count("<svg") == 2 * len(titles), "each chart is there for a wide and for a narrow page"


@tap.test
def without_gnuplot_the_page_has_its_tables_and_says_so():
    with whole_page() as (_, text, _, problem):
        assert "gnuplot is not installed" in problem and "gnuplot is not installed" in text and "data-key" in text


@tap.test
def a_machine_that_was_not_quiet_is_said_to_be_so():
    with folder() as directory:
        row = made_up.engines(PING_PONG, 3.0, 4.0)
        row["before"] = [{"quiet": False, "busy_percent": 80.0, "load_average": 3.0, "waited_seconds": 60.0}]
        made = made_up.results(directory, [row])
        assert "The machine was not quiet before 1 of 1 rows" in page.render(made, verdict.Comparisons(made), "")


@tap.test
def goals_are_met_by_the_better_engine_and_missed_beside_the_best_form():
    # io_uring is 1.67 times as good as libuv, 3 times as good as its documented form.
    values = {"reactor": made_up.around(4.0), "io_uring": made_up.around(3.0), "libuv": made_up.around(5.0),
              "libuv-documented": made_up.around(9.3), "libevent": made_up.around(3.3)}
    with folder() as directory:
        made = made_up.results(directory, [made_up.row("frames 60 B, 64 in flight", values, "beside peers")])
        found = {(one.b, one.a, one.goal.least): one.met for one in goals.checks(verdict.Comparisons(made))}
        assert found == {("libuv-documented", "io_uring", 3.0): True, ("libuv", "io_uring", 1.2): True, ("libevent", "io_uring", 1.2): False}, found
        text = page.render(made, verdict.Comparisons(made), "")
        assert "1.2 times each library in its best form: 1 of 2 met" in text and "MISSED" in text


@tap.test
def each_goal_is_about_a_scenario_that_there_is():
    for goal in goals.GOALS:
        assert any(goal.fits(scenario) for scenario in SCENARIOS.values()), goal.text


@tap.test
def goals_beside_nginx_are_those_of_each_engine():
    # The Reactor takes 0.8 of nginx' CPU, io_uring 0.75: only the former reaches its goal.
    values = {"reactor": made_up.around(4.0), "io_uring": made_up.around(3.75), "nginx": made_up.around(5.0)}
    with folder() as directory:
        made = made_up.results(directory, [made_up.row("http hello x 50", values, "beside peers")])
        found = {(one.a, one.goal.least): one.met for one in goals.checks(verdict.Comparisons(made)) if "hello" in one.goal.text}
        assert found == {("reactor", 1 / 0.85): True, ("io_uring", 1 / 0.72): False}, found


@tap.test
def what_overflowed_and_what_went_wrong_is_in_the_table_of_validity():
    row = made_up.engines(PING_PONG, 3.0, 4.0)
    row["rounds"][0]["checks"].update(queue_overflows=11, receive_pauses=22, block_overflows=33, lost_connections=44)
    row["rounds"][1]["checks"].update(queue_overflows=1, receive_pauses=1, block_overflows=1, lost_connections=1)
    with folder() as directory:
        made = made_up.results(directory, [row])
        table = page.render(made, verdict.Comparisons(made), "").split("Validity</caption>")[1]
        cells = re.findall(r"<td[^>]*>([^<]*)</td>", table)
        assert row["rounds"][0]["side"] == row["rounds"][1]["side"] == "io_uring" and "io_uring" in cells, cells[:40]
        at = cells.index("io_uring")
        assert cells[at:at + 11][6:] == ["45", "12", "23", "34", "0"], cells[at:at + 11]


# ---- publishing ----

@contextlib.contextmanager
def publishing(**run):
    with folder() as directory:
        made = made_up.results(directory, [made_up.engines(PING_PONG, 3.0, 4.0), made_up.sweep()], **run)
        yield made, os.path.join(os.path.dirname(directory), "docs")


@tap.test
def a_full_run_is_published_with_its_charts_and_can_be_drawn_again():
    if not charts.is_there():
        raise tap.Skip("gnuplot is not installed")
    with publishing(purpose="full") as (made, docs):
        publish.publish(made, verdict.Comparisons(made), docs)
        with open(os.path.join(docs, "benchmarks.md"), encoding="utf-8") as file:
            text = file.read()
        pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
        assert len(pictures) >= 4 and all(os.path.exists(os.path.join(docs, name)) for name in pictures), pictures
        again = Results.load(os.path.join(docs, "benchmarks"))
        assert again.rows == made.rows and verdict.verdict(verdict.Comparisons(again))[0] in text


@tap.test
def a_run_that_nobody_should_quote_is_not_published():
    for change, reason in (({"purpose": "quick"}, "it is a quick run"), ({"purpose": "full"}, "not complete"), ({"purpose": "full"}, "not quiet")):
        with publishing(**change) as (made, docs):
            row = next(iter(made.rows.values()))
            if reason == "not complete":
                row["rounds"].pop()
            if reason == "not quiet":
                row["before"][0]["quiet"] = False
            try:
                publish.publish(made, verdict.Comparisons(made), docs)
            except Damaged as refusal:
                assert reason in str(refusal) and made.directory in str(refusal), refusal
            else:
                raise AssertionError(f"published although {reason}")
            assert not os.path.exists(docs)


# ---- the folder ----

DAMAGES = {
    "run.json is gone": ("run.json", None, "No such file"),
    "run.json is cut off": ("run.json", '{"format": 1, "rows": [', "not JSON"),
    "run.json has no rows": ("run.json", '{"format": 1, "begun": "", "command": "", "purpose": ""}', "'rows' is missing"),
    "run.json is of another format": ("run.json", '{"format": 99, "rows": [], "begun": "", "command": "", "purpose": ""}', "format 99"),
    "machine.json is a list": ("machine.json", "[]", "not a JSON object"),
    "a row is cut off": ("rows/ping-pong-64-B-x-100.json", '{"row"', "not JSON"),
    "a row has no rounds": ("rows/ping-pong-64-B-x-100.json", '{"row": {}, "left_out": [], "explained": {}}', "'rounds' is missing"),
    "a round is a number": ("rows/ping-pong-64-B-x-100.json",
                            '{"row": {"id": "a", "scenario": "a", "kind": "a", "sides": [], "rounds": 1, "seconds": 1}, "rounds": [7], '
                            '"left_out": [], "explained": {}}', "round 1: not an object"),
    "a histogram has words in it": ("histograms/one.hgrm", "Value Percentile\n1.0 half many\n", "not a histogram"),
    "a figure is a word": ("rows/ping-pong-64-B-x-100.json",
                           '{"row": {"id": "a", "scenario": "a", "kind": "a", "sides": [], "rounds": 1, "seconds": 1}, "rounds": '
                           '[{"side": "a", "round": 0, "order": 1, "at": "", "figures": {"cpu_us": "fast"}, "machine": {}}], '
                           '"left_out": [], "explained": {}}', "figure 'cpu_us' is not a number"),
}


@tap.test_for_each(DAMAGES)
def a_damaged_folder_is_refused_by_name(damage):
    name, text, reason = damage
    with folder() as directory:
        made_up.results(directory, [made_up.engines(PING_PONG, 3.0, 4.0)])
        path = os.path.join(directory, name)
        if text is None:
            os.remove(path)
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        done = bench("--report", directory)
        assert done.returncode == 2 and path in done.stderr and reason in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert not os.path.exists(os.path.join(directory, "report.html"))


@tap.test
def a_folder_that_is_not_there_is_refused_by_name():
    with folder() as directory:
        done = bench("--report", directory)
        assert done.returncode == 2 and f"{directory}: no such folder" in done.stderr, done.stderr


@tap.test
def report_draws_the_page_from_the_folder_again():
    with folder() as directory:
        made_up.results(directory, [made_up.engines(PING_PONG, 3.0, 4.0)])
        done = bench("--report", directory)
        assert done.returncode == 0 and "loses most" in done.stdout, done.stderr
        path = os.path.join(directory, "report.html")
        with open(path, encoding="utf-8") as file:
            first = file.read()
        assert bench("--report", directory).returncode == 0
        with open(path, encoding="utf-8") as file:
            assert file.read() == first, "the same results give another page"


@tap.test
def results_are_not_overwritten():
    with folder() as directory:
        made_up.results(directory, [made_up.engines(PING_PONG, 3.0, 4.0)])
        try:
            Results.new(directory, {}, {})
        except Damaged as reason:
            assert directory in str(reason) and "--resume" in str(reason)
        else:
            raise AssertionError("a folder with results is used again")


@tap.test
def histograms_are_merged_without_loss():
    with folder() as directory:
        os.mkdir(directory)
        one, two = (os.path.join(directory, name) for name in ("one.hgrm", "two.hgrm"))
        write_histogram(one, {10.0: 5, 12.5: 1})
        write_histogram(two, {12.5: 2, 99.875: 1})
        merge_histogram(one, two)
        assert read_histogram(one) == {10.0: 5, 12.5: 3, 99.875: 1}
        with open(one, encoding="utf-8") as file:
            text = file.read()
        assert re.search(r"^ +10\.000 0\.5555\d+ +5 +2\.25$", text, re.MULTILINE), text
        assert re.search(r"^#\[Max +=  +99\.875, Total count +=  +9\]$", text, re.MULTILINE), text


# ---- the plan ----

@tap.test
def a_quick_run_is_planned_for_less_than_four_minutes():
    assert sum(map(plan.row_seconds, plan.quick())) < 240


@tap.test
def a_full_run_has_each_scenario_with_eight_rounds_and_the_peers_with_four():
    rows = plan.full()
    compared = {row["scenario"]: row for row in rows if row["kind"] == "compare"}
    assert set(compared) == {name for name, scenario in SCENARIOS.items() if scenario.full}
    assert all(row["rounds"] == 8 for row in compared.values() if SCENARIOS[row["scenario"]].rounds is None)
    peers = [row for row in rows if row["kind"] == "beside peers"]
    assert len(peers) == 8 and all(row["rounds"] == 4 for row in peers)
    swept = [row for row in rows if "fractions" in row]
    assert len(swept) == 2 and all(len(row["fractions"]) == 6 and row["seconds"] == 10 and row["rounds"] == 4 for row in swept)


@tap.test
def each_group_of_a_full_run_measures_its_noise():
    groups = {SCENARIOS[row["scenario"]].group for row in plan.full()}
    noisy = {SCENARIOS[row["scenario"]].group for row in plan.full() if any(side.endswith(":again") for side in row["sides"])}
    assert groups == noisy, groups - noisy


@tap.test
def each_contestant_of_a_scenario_has_a_program_for_it():
    for scenario in SCENARIOS.values():
        for side in scenario.contestants():
            assert scenario.role in CONTESTANTS[side].programs, (scenario.name, side)


@tap.test
def rounds_are_measured_in_the_order_a_b_b_a():
    assert [plan.sides_in_order(["a", "b"], number) for number in range(4)] == [["a", "b"], ["b", "a"]] * 2


@tap.test
def a_scenario_is_found_by_name_group_and_part():
    assert [one.name for one in matching(PING_PONG)] == [PING_PONG]
    assert {one.group for one in matching("frames")} == {"frames"}
    assert len(matching("ping-pong * x 10")) == 3 and not matching("nothing of this kind")


if __name__ == "__main__":
    tap.main()
