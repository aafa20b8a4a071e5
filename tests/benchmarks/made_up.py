"""Results that nobody has measured, to test what is written about them."""

from bench.contestants import AGAIN
from bench.results import Results, slug, write_histogram
from bench.scenarios import SCENARIOS


def figures(cpu, **more):
    return {"cpu_us": cpu, "user_us": cpu / 4, "kernel_us": 3 * cpu / 4, "per_second": 1e6 / cpu, "server_percent": 99.0,
            "load_percent": 80.0, "switches": 0.01, **more}


def one_round(side, number, order, values, point=None):
    return {"side": side, "round": number, "order": order, "at": "2026-01-01T00:00:00+00:00", "load_average": 0.1, "figures": values,
            "machine": {"cores_busy_percent": [99.0, 81.0], "stolen_percent": 0.0, "retransmits": 0},
            "checks": {"wrong_replies": 0, "failed_connects": 0, "lost_connections": 0}, **({"point": point} if point else {})}


def row(scenario, values, kind="compare", explained=None, **more):
    """values: for each side the figures of its rounds; or, for a sweep, {point: {side: [figures]}}."""
    swept = "fractions" in more
    by_point = values if swept else {None: values}
    sides = list(dict.fromkeys(side for of_sides in by_point.values() for side in of_sides))
    name = scenario if kind == "compare" else f"{scenario} {kind}"
    rounds = [(point, number, side, figures_of) for point, of_sides in by_point.items() for side, found in of_sides.items()
              for number, figures_of in enumerate(found)]
    planned = {"id": slug(name), "scenario": scenario, "kind": kind, "sides": sides, "rounds": 1 + max(one[1] for one in rounds),
               "seconds": 2.0, **more}
    return {"row": planned, "left_out": [], "explained": explained or {},
            "before": [{"quiet": True, "busy_percent": 1.0, "load_average": 0.1, "waited_seconds": 0.5}],
            "rounds": [one_round(side, number, order, figures_of, point)
                       for order, (point, number, side, figures_of) in enumerate(rounds, 1)]}


def around(value, count=8, spread=0.01, **more):
    """The figures of rounds around a value of CPU time a message."""
    return [figures(value * (1 + spread * ((number * 5) % count - (count - 1) / 2) / count), **more) for number in range(count)]


def noisy(rows_value, **sides):
    """The values of sides, and the Reactor a second time with a noise of about a percent."""
    return {**sides, "reactor" + AGAIN: around(rows_value)[::-1]}


def results(directory, rows, **run):
    made = Results.new(directory, {"purpose": "chosen", "rows": [one["row"] for one in rows], "begun": "2026-01-01T00:00:00+00:00",
                                   "command": "./dev bench", **run},
                       {"table": {"CPU": "made up <of> nothing", "commit": "0" * 40}, "binaries": {"examples/jd-echo": "ab" * 32}})
    made.save_run()
    for one in rows:
        made.rows[one["row"]["id"]] = one
        made.save_row(one)
    return made


def engines(scenario, io_uring, reactor, **more):
    return row(scenario, noisy(reactor, io_uring=around(io_uring, **more), reactor=around(reactor, **more)))


def sweep(scenario="ping-pong 64 B x 100", held=1.0, rounds=4):
    points = {}
    for fraction in (0.1, 0.5, 0.8, 1.1):
        offered = 100000 * fraction
        answered = held if fraction > 1 else 1.0
        points[f"at {100 * fraction:.0f} %"] = {
            side: around(cpu / (0.5 + fraction), rounds, p50_us=40.0 + 10 * fraction, p90_us=60.0, p99_us=90 + 100 * fraction, p999_us=400.0,
                         mean_us=50.0, samples=10000, offered=offered, held=answered)
            for side, cpu in (("reactor", 8.0), ("io_uring", 6.0))}
    return row(scenario, points, "by offered rate", fractions=[0.1, 0.5, 0.8, 1.1])


def whole(directory):
    """Results with each kind of row."""
    names = list(SCENARIOS)
    explained = {"reactor": {"calls_a_unit": 2.1, "units_a_wait": 10.0, "completions_an_enter": None, "calls": {"wait": 0.1, "receive": 1, "send": 1}},
                 "io_uring": {"calls_a_unit": 0.11, "units_a_wait": 9.1, "completions_an_enter": 9.0, "calls": {"enter": 0.11}}}
    rows = [engines(name, 3.0 + place % 3, 4.0) for place, name in enumerate(names[:15])]
    rows[2]["explained"] = explained
    rows.append(row("idle: bytes a connection", {side: [{"bytes": 190.0 + number, "kernel_bytes": 4000.0} for number in range(4)]
                                                 for side in ("reactor", "io_uring", "raw-epoll")}))
    rows.append(row("ping-pong 64 B x 100", {"reactor": around(4.0, 4), "io_uring": around(3.0, 4), "libuv": around(5.0, 4),
                                             "libuv-documented": around(6.0, 4), "libevent": around(2.0, 4)}, "beside peers"))
    rows.append(sweep())
    made = results(directory, rows)
    for point in ("at 50 %", "at 80 %"):
        for side in ("reactor", "io_uring"):
            write_histogram(made.histogram_path(rows[-1]["row"]["id"], side, slug(point)), {10.0 + step: 10000 // (step + 1) for step in range(100)})
    return made
