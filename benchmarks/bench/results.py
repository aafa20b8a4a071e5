"""The folder of results:

    run.json                what was asked for: the rows, their contestants and rounds, the time of the begin
    machine.json            the machine, versions, build, hashes of the programs
    rows/ROW.json           a row: its rounds in the order in which they ran, and who was left out and why
    histograms/ROW.SIDE.hgrm
                            latencies of all rounds, in microseconds, in the text form of HdrHistogram
    report.html             drawn from the above

Each file is replaced as a whole, so an interrupted run leaves complete files.
"""

import json
import os
import re

from bench.contestants import AGAIN

FORMAT = 1
RUN_MEMBERS = {"format": int, "rows": list, "begun": str, "command": str, "purpose": str}
ROW_MEMBERS = {"row": dict, "rounds": list, "left_out": list, "explained": dict}
PLAN_MEMBERS = {"id": str, "scenario": str, "kind": str, "sides": list, "rounds": int, "seconds": (int, float)}
ROUND_MEMBERS = {"side": str, "round": int, "order": int, "at": str, "figures": dict, "machine": dict}


class Damaged(Exception):
    """A folder of results that cannot be used; the text names the file and says why."""


def slug(text):
    return re.sub(r"[^A-Za-z0-9]+", "-", text.replace("µ", "u")).strip("-")


def write_text(path, text):
    """Replaces the file as a whole."""
    part = f"{path}.part"
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(part, path)


def read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except OSError as error:
        raise Damaged(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise Damaged(f"{path}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise Damaged(f"{path}: not a JSON object")
    return data


def check(path, data, members, where=""):
    for name, kind in members.items():
        if name not in data:
            raise Damaged(f"{path}: {where}member '{name}' is missing")
        if not isinstance(data[name], kind) or isinstance(data[name], bool):
            raise Damaged(f"{path}: {where}member '{name}' has the wrong type")


def check_round(path, number, one):
    where = f"round {number}: "
    if not isinstance(one, dict):
        raise Damaged(f"{path}: {where}not an object")
    check(path, one, ROUND_MEMBERS, where)
    for name, value in one["figures"].items():
        if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
            raise Damaged(f"{path}: {where}figure '{name}' is not a number")


class Results:
    """The results of a run, in memory and in their folder."""

    def __init__(self, directory, run, machine, rows=None):
        self.directory, self.run, self.machine = directory, run, machine
        self.rows = rows or {}
        self.forgotten = []   # rows whose files go when the run is saved

    # ---- the folder ----

    @classmethod
    def new(cls, directory, run, machine):
        """Results that are not in their folder yet: save_run puts them there."""
        if os.path.exists(os.path.join(directory, "run.json")):
            raise Damaged(f"{directory}: holds results already; continue them by --resume, or name another folder")
        return cls(directory, {"format": FORMAT, **run}, machine)

    def save_run(self):
        for name in ("rows", "histograms"):
            os.makedirs(os.path.join(self.directory, name), exist_ok=True)
        self.save("run.json", self.run)
        self.save("machine.json", self.machine)
        for name in self.forgotten:
            self.remove_row(name)
            self.save_row(self.rows[name])
        self.forgotten = []

    @classmethod
    def load(cls, directory):
        path = os.path.join(directory, "run.json")
        if not os.path.isdir(directory):
            raise Damaged(f"{directory}: no such folder")
        run = read_json(path)
        check(path, run, RUN_MEMBERS)
        if run["format"] != FORMAT:
            raise Damaged(f"{path}: format {run['format']}, but this version reads format {FORMAT}")
        for number, row in enumerate(run["rows"], 1):
            if not isinstance(row, dict):
                raise Damaged(f"{path}: row {number} is not an object")
            check(path, row, PLAN_MEMBERS, f"row {number}: ")
        results = cls(directory, run, read_json(os.path.join(directory, "machine.json")))
        for row in run["rows"]:
            if os.path.exists(results.row_path(row["id"])):
                results.rows[row["id"]] = results.load_row(row["id"])
        histograms = os.path.join(directory, "histograms")
        for name in sorted(os.listdir(histograms) if os.path.isdir(histograms) else []):
            if name.endswith(".hgrm"):
                read_histogram(os.path.join(histograms, name))
        return results

    def load_row(self, name):
        path = self.row_path(name)
        row = read_json(path)
        check(path, row, ROW_MEMBERS)
        check(path, row["row"], PLAN_MEMBERS, "row: ")
        for number, one in enumerate(row["rounds"], 1):
            check_round(path, number, one)
        return row

    def row_path(self, name):
        return os.path.join(self.directory, "rows", f"{name}.json")

    def histogram_path(self, name, side, point=""):
        return os.path.join(self.directory, "histograms", f"{name}.{slug(side)}{f'.{point}' if point else ''}.hgrm")

    def save(self, name, data):
        write_text(os.path.join(self.directory, name), json.dumps(data, indent=1, ensure_ascii=False) + "\n")

    # ---- rows ----

    def row(self, plan_row):
        """The results of a row of the plan, empty if it has not begun."""
        row = self.rows.setdefault(plan_row["id"], {"rounds": [], "left_out": [], "explained": {}})
        row["row"] = plan_row
        return row

    def forget(self, name):
        """Forgets the results of a row, which is to be measured anew."""
        self.rows.pop(name, None)
        self.forgotten.append(name)

    def remove_row(self, name):
        directory = os.path.join(self.directory, "histograms")
        for path in (self.row_path(name), *(os.path.join(directory, one) for one in os.listdir(directory) if one.startswith(f"{name}."))):
            if os.path.exists(path):
                os.remove(path)

    def save_row(self, row):
        self.save(os.path.join("rows", f"{row['row']['id']}.json"), row)

    def next_order(self):
        return 1 + max((one["order"] for row in self.rows.values() for one in row["rounds"]), default=0)

    def in_plan_order(self):
        return [self.rows[row["id"]] for row in self.run["rows"] if row["id"] in self.rows]


def leave_out(row, side, why, reason):
    """why: "not installed", "not available", "wrong answer" or "failed"."""
    row["left_out"].append({"side": side, "why": why, "reason": reason})


def left_out(row):
    """Who is left out, each contestant once: not those that are in the row a second time."""
    return [one for one in row["left_out"] if not one["side"].endswith(AGAIN)]


def is_left_out(row, side):
    return any(one["side"] == side for one in row["left_out"])


# ---- histograms ----

def read_histogram(path):
    """The counts of a .hgrm file with one line for each bucket: {value: count}."""
    counts, below = {}, 0
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                words = line.split()
                if not words or line.startswith("#") or words[0] == "Value":
                    continue
                value, total = float(words[0]), int(words[2])
                counts[value] = counts.get(value, 0) + total - below
                below = total
    except OSError as error:
        raise Damaged(f"{path}: {error.strerror}") from None
    except (ValueError, IndexError):
        raise Damaged(f"{path}: not a histogram in the text form of HdrHistogram") from None
    return counts


def write_histogram(path, counts):
    count, below, lines = sum(counts.values()), 0, []
    for value in sorted(counts):
        below += counts[value]
        rest = f" {count / (count - below):14.2f}" if below < count else ""
        lines.append(f"{value:12.3f} {below / count:.12f} {below:10d}{rest}")
    mean = sum(value * times for value, times in counts.items()) / count if count else 0
    deviation = (sum(times * (value - mean) ** 2 for value, times in counts.items()) / count) ** 0.5 if count else 0
    write_text(path, "\n".join((
        f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", "", *lines,
        f"#[Mean    = {mean:12.3f}, StdDeviation   = {deviation:12.3f}]",
        f"#[Max     = {max(counts, default=0):12.3f}, Total count    = {count:12d}]",
        f"#[Buckets = {58:12d}, SubBuckets     = {128:12d}]", "")))


def merge_histogram(path, added):
    """Adds the counts of the file added to those of the file path."""
    counts = read_histogram(path) if os.path.exists(path) else {}
    for value, times in read_histogram(added).items():
        counts[value] = counts.get(value, 0) + times
    if counts:
        write_histogram(path, counts)
