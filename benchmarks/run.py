#!/usr/bin/env python3
"""Compares jinduo's engines with each other, with loops written by hand, and with other libraries.

Without an option that says what to measure: --quick. Each measurement starts a new server on one core and its load on another.
Results are kept in a folder: JSON, histograms (.hgrm) and report.html, a page that needs neither a network nor scripts.
"""

import argparse
import datetime
import os
import resource
import shlex
import signal
import sys

from bench import goals, machine, page, plan, publish, table, verdict
from bench.contestants import AGAIN, CONTESTANTS
from bench.measure import HELD
from bench.programs import Programs
from bench.results import Damaged, Results
from bench.runner import Runner, steps_of
from bench.scenarios import SCENARIOS, matching

USAGE, INTERRUPTED = 2, 130
SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WAIT_SECONDS = {"full": 600, "quick": 20}   # for a quiet machine, before each row
WAIT_OTHERWISE = 60
EPILOG = f"""examples:
  ./dev bench --quick                                 a first look, in less than 4 minutes
  ./dev bench 'ping-pong 64 B x 100' frames           these scenarios; a name or a group, with * and ?, or a part of a name
  ./dev bench --compare io_uring reactor 'ping-pong*' two contestants, with the noise of this machine
  ./dev bench --full --long                           nearly two hours; after Ctrl-C it prints how to continue
  ./dev bench --resume DIR frames                     these rows of the run in DIR anew, such as after a change
  ./dev bench --report DIR                            draw report.html from the results in DIR again

A comparison is the median of the ratios of pairs of rounds, in the order A B B A, with its 95 % interval by bootstrap. The
same contestant against itself is the noise; what lies within it is "no difference seen". A rate that was held to less than
{100 * HELD:.0f} % is not compared. Exit status: 0 success, 1 a contestant failed, 2 wrong usage, 130 interrupted."""


def read_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help=argparse.SUPPRESS)  # the build directory; ./dev passes it
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="only these scenarios; see --list")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--quick", action="store_true", help="a choice of scenarios with short rounds, less than 4 minutes")
    what.add_argument("--full", action="store_true", help="all scenarios but those of large messages, other libraries, and offered rates")
    what.add_argument("--compare", nargs=2, metavar=("A", "B"), help="these two contestants, at least 8 rounds")
    what.add_argument("--resume", metavar="DIR", help="continue the interrupted run in DIR; with SCENARIO measure its rows anew")
    what.add_argument("--report", metavar="DIR", help="draw DIR/report.html from the results in DIR; measures nothing")
    what.add_argument("--publish", metavar="DIR", help="put the full run in DIR into docs/benchmarks/ and docs/benchmarks.md")
    what.add_argument("--list", action="store_true", help="print the scenarios and the contestants")
    parser.add_argument("--contestants", metavar="A,B,...", help="these instead of the scenario's; see --list")
    parser.add_argument("--rounds", type=int, help="measurements of each contestant in a scenario (default 8)")
    parser.add_argument("--seconds", type=float, help="duration of a measurement (default 2)")
    parser.add_argument("--results", metavar="DIR", help="folder for the results (default build/bench/ and the time)")
    parser.add_argument("--wait", type=float, metavar="S",
                        help="wait at most S seconds before each row until other processes leave the machine alone, then measure "
                        "all the same, and say so (default 600 for --full, 20 for --quick, else 60)")
    parser.add_argument("--long", action="store_true", help=f"allow a run of more than {plan.LONG_MINUTES} minutes")
    arguments = parser.parse_intermixed_args()   # scenarios may stand after options
    check(parser, arguments)
    return arguments


def check(parser, arguments):
    for name in ("rounds", "seconds"):
        value = getattr(arguments, name)
        if value is not None and value <= 0:
            parser.error(f"--{name} {value:g}: must be more than 0")
    if arguments.compare and arguments.rounds is not None and arguments.rounds < plan.COMPARE_ROUNDS:
        parser.error(f"--rounds {arguments.rounds}: --compare needs at least {plan.COMPARE_ROUNDS}")
    names = arguments.compare or (arguments.contestants.split(",") if arguments.contestants else [])
    unknown = [name for name in names if name not in CONTESTANTS]
    if unknown:
        parser.error(f"no contestant '{unknown[0]}'; see --list")
    if arguments.compare and arguments.compare[0] == arguments.compare[1]:
        parser.error(f"--compare {arguments.compare[0]} {arguments.compare[1]}: a contestant against itself is measured in "
                     "every comparison")
    for name in arguments.scenarios:
        if not matching(name):
            parser.error(f"no scenario matches '{name}'; see --list")
    only = ("full", "quick", "resume", "report", "publish", "list")
    chosen = next((f"--{name}" for name in only if getattr(arguments, name)), None)
    if chosen and arguments.scenarios and chosen != "--resume":
        parser.error(f"{chosen} takes no scenarios")
    if arguments.resume and (arguments.rounds is not None or arguments.seconds is not None):
        parser.error("--resume takes neither --rounds nor --seconds: the run has its own")
    if chosen and arguments.contestants:
        parser.error(f"{chosen} takes no --contestants")


def print_list():
    print("scenarios:")
    for scenario in SCENARIOS.values():
        marks = f"{' (quick)' if scenario.quick else ''}{f' – {scenario.note}' if scenario.note else ''}"
        print(f"  {scenario.name}{marks}\n      {', '.join(scenario.contestants())}")
    print("contestants:")
    for contestant in CONTESTANTS.values():
        print(f"  {contestant.name:22} {contestant.label}{f' (package {contestant.package})' if contestant.package else ''}")


# ---- what to measure ----

def chosen_scenarios(arguments):
    return list(dict.fromkeys(scenario for name in arguments.scenarios for scenario in matching(name)))


def rows_of(arguments):
    """The purpose of the run in a word, and its rows."""
    if arguments.full:
        purpose, rows = "full", plan.full()
    elif arguments.compare:
        scenarios = chosen_scenarios(arguments) or [SCENARIOS[plan.SWEEP_SCENARIOS[0]]]
        for side in arguments.compare:
            missing = [scenario.name for scenario in scenarios if scenario.role not in CONTESTANTS[side].programs]
            if missing:
                raise Damaged(f"{side} does not take part in '{missing[0]}'; see --list")
        return "compare", plan.chosen(scenarios, tuple(arguments.compare), max(arguments.rounds or 0, plan.COMPARE_ROUNDS),
                                      arguments.seconds)
    elif arguments.scenarios:
        sides = tuple(arguments.contestants.split(",")) if arguments.contestants else None
        rows = plan.chosen(chosen_scenarios(arguments), sides, arguments.rounds, arguments.seconds)
        if not rows:
            raise Damaged("none of these contestants takes part in these scenarios; see --list")
        return "chosen", rows
    else:
        purpose, rows = "quick", plan.quick()
    for row in rows:
        row["rounds"] = arguments.rounds or row["rounds"]
        row["seconds"] = arguments.seconds or row["seconds"]
    return purpose, rows


def new_results(arguments, programs, cores):
    purpose, rows = rows_of(arguments)
    now = datetime.datetime.now()
    directory = arguments.results or os.path.join(SOURCE, "build", "bench", f"{now:%Y%m%d-%H%M%S}-{purpose}")
    facts = machine.facts(SOURCE, programs.build, plan.binaries_of(programs, rows), cores)
    run = {"purpose": purpose, "rows": rows, "begun": now.astimezone().isoformat(timespec="seconds"),
           "command": shlex.join(["./dev", "bench", *sys.argv[2:]])}
    if arguments.long:
        run["long"] = True   # also when it is continued
    if arguments.compare:
        run["compare"] = arguments.compare
    return Results.new(directory, run, facts)


def check_known(results):
    """A run of another version may have scenarios and contestants that this one does not know."""
    path = os.path.join(results.directory, "run.json")
    for row in results.run["rows"]:
        if row["scenario"] not in SCENARIOS:
            raise Damaged(f"{path}: this version has no scenario '{row['scenario']}'")
        unknown = [side for side in row["sides"] if side.removesuffix(AGAIN) not in CONTESTANTS]
        if unknown:
            raise Damaged(f"{path}: this version has no contestant '{unknown[0]}'")


def other_programs(results, programs, rows):
    """The programs of these rows that differ from those of the run: {name: hash}."""
    found = {}
    for path in plan.binaries_of(programs, rows):
        name, digest = os.path.relpath(path, programs.build), machine.hash_of(path)
        if results.machine.get("binaries", {}).get(name) not in (None, digest):
            found[name] = digest
    return found


def check_machine(results):
    """A run is of one machine and one kernel."""
    for name, now in machine.identity().items():
        before = results.machine.get("table", {}).get(name)
        if before and before != now:
            raise Damaged(f"{results.directory}: was measured with another {name} ({before}, not {now}): begin a new run")


def resumed(arguments, programs):
    """Each row is of one build. Rows that are measured anew may be of another than the rest, and say so."""
    results = Results.load(arguments.resume)
    check_known(results)
    check_machine(results)
    again = {scenario.name for scenario in chosen_scenarios(arguments)}
    present = {row["id"]: row for row in plan.full()} if results.run["purpose"] == "full" else {}
    for planned in results.run["rows"]:
        if planned["scenario"] in again:
            planned.update(present.get(planned["id"], {}))   # this version may have other contestants
            results.forget(planned["id"])
            results.row(planned).update(commit=machine.commit(SOURCE), binaries=other_programs(results, programs, [planned]))
    if again and not results.forgotten:
        raise Damaged(f"{arguments.resume}: has no row of these scenarios")
    unfinished = [row for row in map(results.row, results.run["rows"]) if steps_of(row)] or list(results.rows.values())
    for row in unfinished:
        present = other_programs(results, programs, [row["row"]])
        if present != row.get("binaries", {}):
            names = sorted(present.keys() ^ row.get("binaries", {}).keys()) or sorted(present)
            raise Damaged(f"{arguments.resume}: '{row['row']['scenario']}' was measured with other programs than this build has "
                          f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}); a row must not mix the results of two builds: "
                          "begin a new run, or name the scenarios whose rows are to be measured anew")
    return results


def prepare():
    """Raises the limit of descriptors, and returns the cores of the server and of the load."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[min(1, len(cores) - 1)]


# ---- the run ----

def show(results):
    """Writes the page; prints the table, the verdict and where everything is."""
    comparisons = verdict.Comparisons(results)
    path, problem = page.write(results, comparisons)
    table.print_rows(results, comparisons)
    print("\n".join(verdict.verdict(comparisons)))
    checked = goals.checks(comparisons)
    if checked:
        print(f"Goals of the project: {sum(one.met for one in checked)} of {len(checked)} met; the page names each.")
    if problem:
        print(problem, file=sys.stderr)
    print(f"\nresults: {results.directory}\nreport:  {path}")


def begin(arguments, runner, cores):
    """Prints what is going to happen. Returns whether it may."""
    for line in runner.prepare():
        print(line)
    steps, seconds = runner.left()
    run = runner.results
    print(f"{run.machine['table']['CPU']}, {run.machine['table']['cores']}")
    if cores[0] == cores[1]:
        print("Only one core: server and load share it, so the figures are not meaningful.")
    print(f"{steps} measurements in {len(run.run['rows'])} rows, about {plan.time_text(seconds)} on a quiet machine", flush=True)
    if seconds > 60 * plan.LONG_MINUTES and not arguments.long and not run.run.get("long"):
        print(f"that is more than {plan.LONG_MINUTES} minutes: add --long to allow it", file=sys.stderr)
        return False
    return True


def carry_out(arguments, programs, cores):
    results = resumed(arguments, programs) if arguments.resume else new_results(arguments, programs, cores)
    purpose = results.run["purpose"]
    runner = Runner(programs, results, WAIT_SECONDS.get(purpose, WAIT_OTHERWISE) if arguments.wait is None else arguments.wait)
    if not begin(arguments, runner, cores):
        return USAGE
    results.save_run()
    status = 0
    try:
        status = 0 if runner.run() else 1
    except KeyboardInterrupt:
        status = INTERRUPTED
        print(f"interrupted; what was measured is kept. To continue: ./dev bench --resume {shlex.quote(results.directory)}",
              file=sys.stderr)
    show(results)
    return status


def main():
    arguments = read_arguments()
    if arguments.list:
        print_list()
        return 0
    cores = prepare()
    programs = Programs(arguments.build, cores)
    try:
        if arguments.report:
            show(Results.load(arguments.report))
            return 0
        if arguments.publish:
            results = Results.load(arguments.publish)
            print(publish.publish(results, verdict.Comparisons(results), os.path.join(SOURCE, "docs")))
            return 0
        if not programs.has("jd-load"):
            print(f"{programs.path('jd-load')}: not built", file=sys.stderr)
            return USAGE
        return carry_out(arguments, programs, cores)
    except Damaged as reason:
        print(f"./dev bench: {reason}", file=sys.stderr)
        return USAGE
    finally:
        programs.stop_all()


if __name__ == "__main__":
    sys.exit(main())
