"""Carries out the rows of a run, one measurement after the other, and keeps each result as soon as it is there."""

import datetime
import os
import sys
import time

from bench import machine, measure, plan, ratios, results as store
from bench.contestants import AGAIN, contestant_of, label_of
from bench.programs import CallCounts, Failure, MemoryFile, WrongAnswer
from bench.scenarios import SCENARIOS


class Progress:
    """Prints a line for each step, with the remaining time; on a terminal each line replaces the one before."""

    def __init__(self, steps, seconds):
        self.steps, self.planned = steps, seconds
        self.step, self.done_seconds, self.begun = 0, 0.0, time.monotonic()
        self.in_place = sys.stderr.isatty()

    def remaining(self):
        """The planned time that is left, corrected by how the time until now was planned."""
        passed = time.monotonic() - self.begun
        left = max(self.planned - self.done_seconds, 0)
        return left * (passed / self.done_seconds if self.done_seconds > 10 else 1)

    def line(self, text):
        print(f"\r\033[K{text}" if self.in_place else text, end="" if self.in_place else "\n", file=sys.stderr, flush=True)

    def show(self, text):
        self.step += 1
        self.line(f"[{self.step}/{self.steps}] {text} ({plan.time_text(self.remaining())} left)")

    def done(self, seconds, steps=0):
        self.done_seconds += seconds
        self.step += steps

    def clear(self):
        if self.in_place:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def say(self, text):
        self.clear()
        print(text, file=sys.stderr, flush=True)


def steps_of(row):
    """The steps that a row still needs: (point, round, side). A point is a fraction of a sweep, or None."""
    planned = row["row"]
    done = {(one.get("point"), one["round"], one["side"]) for one in row["rounds"]}
    points = [f"at {100 * fraction:.0f} %" for fraction in planned["fractions"]] if "fractions" in planned else [None]
    return [(point, number, side) for point in points for number in range(planned["rounds"])
            for side in plan.sides_in_order(planned["sides"], number)
            if (point, number, side) not in done and not store.is_left_out(row, side)]


class Runner:
    def __init__(self, programs, results, wait_seconds):
        self.programs, self.results, self.wait_seconds = programs, results, wait_seconds
        self.available = plan.Availability(programs)
        self.counts = CallCounts(programs) if programs.has("libcount-calls.so") else None
        self.histogram = MemoryFile("latencies")
        self.progress = None

    # ---- the rows ----

    def prepare(self):
        """Leaves out who cannot take part. Returns lines that say so, one for each reason."""
        said = {}
        for planned in self.results.run["rows"]:
            row, scenario = self.results.row(planned), SCENARIOS[planned["scenario"]]
            # What was missing may have been installed since an interrupted run.
            row["left_out"] = [one for one in row["left_out"] if one["why"] in ("wrong answer", "failed")]
            for side in planned["sides"]:
                reason = self.available.reason(side, scenario)
                if reason and not store.is_left_out(row, side):
                    store.leave_out(row, side, *reason)
                    if side.endswith(AGAIN):
                        continue
                    said.setdefault(f"{label_of(side)} is left out: {reason[1]}", []).append(scenario.name)
            fewer = measure.descriptors_left(scenario)
            if fewer is not None:
                row["connections"] = fewer
                row["note"] = f"{fewer} connections instead of {scenario.connections}: the limit of descriptors is too low"
                said.setdefault(row["note"], []).append(scenario.name)
        return [f"{text} ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})" for text, names in said.items()]

    def left(self):
        """The steps and the seconds that are left."""
        steps = seconds = 0
        for planned in self.results.run["rows"]:
            row = self.results.row(planned)
            mine = len(steps_of(row))
            present = [side for side in planned["sides"] if not store.is_left_out(row, side)]
            whole = plan.row_seconds(planned, present)
            total = len(present) * planned["rounds"] * len(planned.get("fractions", [0]))
            steps += mine
            seconds += whole * mine / total if total else 0
        return steps, seconds

    def run(self):
        """Returns whether all programs worked. KeyboardInterrupt passes through; what was measured is kept."""
        steps, seconds = self.left()
        self.progress = Progress(steps, seconds)
        good = True
        try:
            for planned in self.results.run["rows"]:
                good &= self.run_row(self.results.row(planned))
        finally:
            self.programs.stop_all()
            self.progress.clear()
        return good

    def run_row(self, row):
        steps = steps_of(row)
        if not steps:
            self.results.save_row(row)
            return True
        row.setdefault("before", []).append(machine.wait_until_quiet(self.wait_seconds, self.progress.line))
        if "fractions" in row["row"] and "ceilings" not in row:
            self.find_ceilings(row)
        good = True
        for point, number, side in steps:
            if not store.is_left_out(row, side):
                good &= self.step(row, point, number, side)
            else:
                self.progress.done(plan.step_seconds(row["row"]), 1)
        if "fractions" not in row["row"]:
            self.explain(row)
        self.results.save_row(row)
        return good

    def task(self, row, side, **more):
        scenario = SCENARIOS[row["row"]["scenario"]]
        return measure.Task(self.programs, scenario, contestant_of(side), more.pop("seconds", row["row"]["seconds"]),
                            connections=row.get("connections"), **more)

    # ---- one measurement ----

    def step(self, row, point, number, side):
        planned = row["row"]
        self.progress.show(f"{planned['scenario']}{f' {point}' if point else ''}, round {number + 1}: {label_of(side)}")
        rate = self.rate_of(row, point) if point else None
        latencies = point is not None or SCENARIOS[planned["scenario"]].rate is not None
        begun = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        before = os.getloadavg()[0]
        try:
            measured = measure.measure(self.task(row, side, rate=rate, histogram=self.histogram.path if latencies else None))
        except (Failure, OSError, ValueError, KeyError) as failure:
            self.disqualify(row, side, failure)
            return False
        finally:
            self.progress.done(plan.step_seconds(planned))
        one = {"side": side, "round": number, "order": self.results.next_order(), "at": begun, "load_average": before, **measured}
        if point:
            one["point"] = point
        row["rounds"].append(one)
        self.results.save_row(row)
        if latencies and not side.endswith(AGAIN):
            store.merge_histogram(self.results.histogram_path(planned["id"], side, store.slug(point or "")), self.histogram.path)
        return True

    def disqualify(self, row, side, failure):
        wrong = isinstance(failure, WrongAnswer)
        reason = str(failure) if isinstance(failure, Failure) else f"{type(failure).__name__}: {failure}"
        store.leave_out(row, side, "wrong answer" if wrong else "failed", reason)
        self.progress.say(f"{row['row']['scenario']}: {label_of(side)} {'is disqualified' if wrong else 'failed'}: {reason}")
        self.results.save_row(row)

    def explain(self, row):
        """A further round of each side, not compared, in which calls into the kernel are counted."""
        scenario = SCENARIOS[row["row"]["scenario"]]
        if self.counts is None or not measure.explains(scenario):
            return
        for side in row["row"]["sides"]:
            if side.endswith(AGAIN) or side in row["explained"] or not ratios.rounds_of(row, side):
                continue
            self.progress.line(f"{scenario.name}: counting the calls of {label_of(side)}")
            try:
                row["explained"][side] = measure.measure(self.task(row, side, counts=self.counts))["explained"]
            except (Failure, OSError, ValueError, KeyError) as failure:
                self.progress.say(f"{scenario.name}: the calls of {label_of(side)} could not be counted: {failure}")
            self.progress.done(plan.step_seconds(row["row"]))

    # ---- sweeps ----

    def find_ceilings(self, row):
        """What each side answers when it is asked as fast as it can."""
        ceilings = {}
        for side in row["row"]["sides"]:
            if store.is_left_out(row, side):
                continue
            self.progress.line(f"{row['row']['scenario']}: the ceiling of {label_of(side)}")
            try:
                measured = measure.measure(self.task(row, side, seconds=min(plan.CEILING_SECONDS, row["row"]["seconds"])))
                ceilings[side] = measured["figures"]["per_second"]
            except (Failure, OSError, ValueError, KeyError) as failure:
                self.disqualify(row, side, failure)
            self.progress.done(plan.CEILING_SECONDS)
        row["ceilings"] = ceilings

    def rate_of(self, row, point):
        return min(row["ceilings"].values()) * float(point.split()[1]) / 100
