#!/usr/bin/env python3
"""./dev bench as a process, with rounds so short that their figures mean nothing: who takes part, who is left out or disqualified,
what an interrupted run keeps, and how it is continued.

Arguments: the source directory, the build directory.
"""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import tap
from bench import measure
from bench.programs import WrongAnswer
from bench.results import Results

SOURCE, BUILD = sys.argv[1], sys.argv[2]
SCENARIO = "ping-pong 64 B x 1"
ROW = "ping-pong-64-B-x-1"
SHORT = ("--seconds", "0.1", "--wait", "0")

# An echo server that answers each message with its first byte changed.
LIAR = """#!/usr/bin/env python3
import selectors, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
listener = socket.create_server(("127.0.0.1", 0))
print("listening on 127.0.0.1:%d engine=reactor threads=0" % listener.getsockname()[1], flush=True)
waiting = selectors.DefaultSelector()
waiting.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in waiting.select():
        if key.fileobj is listener:
            waiting.register(listener.accept()[0], selectors.EVENT_READ)
            continue
        data = key.fileobj.recv(65536)
        if data:
            key.fileobj.sendall(bytes([data[0] ^ 1]) + data[1:])
        else:
            waiting.unregister(key.fileobj)
            key.fileobj.close()
"""


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="jinduo-bench-test-") as directory:
        yield os.path.join(directory, "results")


def command(*arguments, build=BUILD):
    return [sys.executable, os.path.join(SOURCE, "benchmarks", "run.py"), build, *arguments]


def bench(*arguments, build=BUILD, **options):
    return subprocess.run(command(*arguments, build=build), capture_output=True, text=True, timeout=110, check=False, **options)


@contextlib.contextmanager
def build_with(name, text):
    """A build directory whose example of this name is replaced by a script; None: it is not there."""
    with tempfile.TemporaryDirectory(prefix="jinduo-bench-test-") as directory:
        os.symlink(os.path.join(BUILD, "benchmarks"), os.path.join(directory, "benchmarks"))
        os.mkdir(os.path.join(directory, "examples"))
        for other in ("jd-echo", "jd-frame-echo", "jd-info"):
            os.symlink(os.path.join(BUILD, "examples", other), os.path.join(directory, "examples", other))
        path = os.path.join(directory, "examples", name)
        os.remove(path)
        if text is not None:
            with open(path, "w", encoding="utf-8") as script:
                script.write(text)
            os.chmod(path, 0o755)
        yield directory


def rounds_of(results, row=ROW):
    return results.rows[row]["rounds"]


@tap.test
def a_run_measures_each_side_in_each_round_and_writes_the_page():
    with folder() as directory:
        done = bench(SCENARIO, *SHORT, "--rounds", "4", "--contestants", "reactor,raw-epoll", "--results", directory)
        assert done.returncode == 0, done.stderr
        results = Results.load(directory)
        order = [one["side"] for one in sorted(rounds_of(results), key=lambda one: one["order"])]
        forth = ["reactor", "raw-epoll", "reactor:again"]
        assert order == (forth + forth[::-1]) * 2, order
        for one in rounds_of(results):
            figures = one["figures"]
            assert figures["per_second"] > 0 and figures["cpu_us"] > 0 and len(one["machine"]["cores_busy_percent"]) == 2, one
            assert abs(figures["user_us"] + figures["kernel_us"] - figures["cpu_us"]) < 0.01 * figures["cpu_us"] or figures["user_us"] == 0, one
        with open(os.path.join(directory, "report.html"), encoding="utf-8") as file:
            assert SCENARIO in file.read()
        assert re.search(r"^\d+ measurements in 1 rows, about \d+ s on a quiet machine$", done.stdout, re.MULTILINE), done.stdout
        assert re.search(r"^\[1/12\] .*, round 1: Reactor \(\d+ s left\)$", done.stderr, re.MULTILINE), done.stderr
        table = results.machine["table"]
        assert all(table.get(name) for name in ("CPU", "kernel", "loopback MTU", "limits", "versions", "compiler", "compiler flags")), table
        assert set(results.machine["binaries"]) == {"benchmarks/jd-load", "benchmarks/raw-epoll", "examples/jd-echo"}


@tap.test
def the_calls_of_a_message_are_counted():
    with folder() as directory:
        done = bench("ping-pong 64 B x 10", *SHORT, "--rounds", "1", "--contestants", "reactor,raw-epoll", "--results", directory)
        assert done.returncode == 0, done.stderr
        explained = Results.load(directory).rows["ping-pong-64-B-x-10"]["explained"]
        for side in ("reactor", "raw-epoll"):
            calls = explained[side]["calls"]
            # The measured time begins and ends between a receive and its send.
            assert abs(calls["receive"] - 1) < 0.1 and abs(calls["send"] - 1) < 0.1 and 0 < calls["wait"] < 1.5, (side, calls)


@tap.test
def frames_share_their_calls():
    with folder() as directory:
        done = bench("frames 60 B, 64 in flight", *SHORT, "--rounds", "1", "--contestants", "reactor", "--results", directory)
        assert done.returncode == 0, done.stderr
        explained = Results.load(directory).rows["frames-60-B-64-in-flight"]["explained"]["reactor"]
        assert explained["calls_a_unit"] < 0.5 and explained["units_a_wait"] > 4, explained


@tap.test
def short_connections_are_opened_and_ended():
    with folder() as directory:
        done = bench("short connections", *SHORT, "--rounds", "1", "--contestants", "reactor,raw-epoll", "--results", directory)
        assert done.returncode == 0, done.stderr
        rows = Results.load(directory).rows
        assert len(rows) == 3
        accepts = {name: row["explained"]["reactor"]["calls"]["accept"] for name, row in rows.items()}
        assert accepts["short-connect-1-KiB-reset"] > 0.8 and accepts["short-connect-1-KiB-FIN"] > 0.8, accepts
        assert accepts["short-10-requests-a-connection"] < 0.3, accepts


@tap.test
def latencies_at_an_offered_rate_are_kept_as_a_histogram():
    with folder() as directory:
        done = bench("handler of 0 µs on the loop", *SHORT, "--rounds", "2", "--contestants", "reactor", "--results", directory)
        assert done.returncode == 0, done.stderr
        results = Results.load(directory)
        row = results.rows["handler-of-0-us-on-the-loop"]
        with open(results.histogram_path(row["row"]["id"], "reactor"), encoding="utf-8") as file:
            text = file.read()
        total = int(re.search(r"Total count +=  *(\d+)\]", text).group(1))
        mine = [one for one in row["rounds"] if one["side"] == "reactor"]
        assert total == sum(one["figures"]["samples"] for one in mine) > 0
        assert all(one["figures"]["offered"] == 20000 for one in mine)


@tap.test
def a_sweep_offers_parts_of_the_slower_ceiling():
    with folder() as directory:
        row = {"id": "swept", "scenario": "ping-pong 64 B x 100", "kind": "by offered rate", "sides": ["reactor", "raw-epoll"], "rounds": 2,
               "seconds": 0.1, "fractions": [0.1, 0.5]}
        Results.new(directory, {"purpose": "full", "rows": [row], "begun": "now", "command": "./dev bench"},
                    {"table": {"CPU": "", "cores": ""}, "binaries": {}}).save_run()
        done = bench("--resume", directory, "--wait", "0")
        assert done.returncode == 0, done.stderr
        swept = Results.load(directory).rows["swept"]
        ceiling = min(swept["ceilings"].values())
        offered = {(one["point"], round(one["figures"]["offered"] / ceiling, 6)) for one in swept["rounds"]}
        assert offered == {("at 10 %", 0.1), ("at 50 %", 0.5)} and len(swept["rounds"]) == 8, offered
        assert os.path.exists(os.path.join(directory, "histograms", "swept.reactor.at-50.hgrm"))


@tap.test
def a_contestant_that_is_not_installed_is_left_out_with_a_line():
    with folder() as directory, build_with("jd-frame-echo", None) as build:
        done = bench("frames 60 B, 1 in flight", *SHORT, "--rounds", "1", "--contestants", "reactor,raw-epoll", "--results", directory,
                     build=build)
        assert done.returncode == 0, done.stderr
        assert "Reactor is left out: jd-frame-echo is not there" in done.stdout, done.stdout
        row = Results.load(directory).rows["frames-60-B-1-in-flight"]
        assert {one["side"] for one in row["rounds"]} == {"raw-epoll"}
        assert {one["why"] for one in row["left_out"]} == {"not installed"}
        with open(os.path.join(directory, "report.html"), encoding="utf-8") as file:
            assert "jd-frame-echo is not there" in file.read()


@tap.test
def a_library_that_is_not_there_is_left_out_with_its_package():
    if os.path.exists(os.path.join(BUILD, "benchmarks", "peers", "echo-libevent")):
        raise tap.Skip("this build has libevent")
    with folder() as directory:
        done = bench(SCENARIO, *SHORT, "--rounds", "1", "--contestants", "reactor,libevent", "--results", directory)
        assert done.returncode == 0 and re.search(r"^libevent is left out: .*package libevent-dev", done.stdout, re.MULTILINE), done.stdout


@tap.test
def a_contestant_that_answers_wrongly_is_disqualified_with_the_reason():
    with folder() as directory, build_with("jd-echo", LIAR) as build:
        done = bench(SCENARIO, *SHORT, "--rounds", "4", "--contestants", "reactor,raw-epoll", "--results", directory, build=build)
        assert done.returncode == 1, (done.returncode, done.stderr)
        assert re.search(r"Reactor is disqualified: .* is wrong at byte 0: 0x", done.stderr), done.stderr
        row = Results.load(directory).rows[ROW]
        assert {one["side"] for one in row["rounds"]} == {"raw-epoll"} and len(row["rounds"]) == 4
        assert {one["why"] for one in row["left_out"]} == {"wrong answer"}
        with open(os.path.join(directory, "report.html"), encoding="utf-8") as file:
            assert "is wrong at byte 0" in file.read()


def checked(check, answer):
    """What a check says about a server that answers its first request with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            with listener.accept()[0] as one:
                one.recv(4096)
                one.sendall(answer)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return check(listener.getsockname()[1])
        except WrongAnswer as reason:
            return str(reason)
        finally:
            thread.join(30)


@tap.test
def wrong_pages_and_values_are_noticed_although_their_loads_do_not_look():
    head = b"HTTP/1.1 %s\r\nContent-Length: 4\r\n\r\n"

    def check(port):
        return measure.check_page(port, "/index.html", b"page")
    assert checked(check, head % b"200 OK" + b"page") is None
    assert "4 bytes instead of the 4 expected" in checked(check, head % b"200 OK" + b"pagE")
    assert "status 404" in checked(check, head % b"404 No" + b"page")
    assert checked(measure.check_keys, b"+OK\r\n$5\r\nvalue\r\n") is None
    assert "instead of" in checked(measure.check_keys, b"+OK\r\n$5\r\nother\r\n")
    assert "instead of" in checked(measure.check_keys, b"+OK\r\n$-1\r\n")


@tap.test
def a_contestant_that_fails_is_named_and_the_others_go_on():
    with folder() as directory, build_with("jd-echo", "#!/bin/sh\necho 'no thanks' >&2\nexit 3\n") as build:
        done = bench(SCENARIO, *SHORT, "--rounds", "1", "--contestants", "reactor,raw-epoll", "--results", directory, build=build)
        assert done.returncode == 1 and "Reactor failed: jd-echo: no ready line: no thanks" in done.stderr, done.stderr
        assert {one["side"] for one in Results.load(directory).rows[ROW]["rounds"]} == {"raw-epoll"}


@tap.test
def the_limit_of_descriptors_shortens_a_row_and_the_report_says_so():
    with folder() as directory:
        done = bench("ping-pong 64 B x 1000", *SHORT, "--rounds", "1", "--contestants", "raw-epoll", "--results", directory,
                     preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
        said = "192 connections instead of 1000: the limit of descriptors is too low"
        assert done.returncode == 0 and said in done.stdout, (done.stdout, done.stderr)
        assert rounds_of(Results.load(directory), "ping-pong-64-B-x-1000")
        with open(os.path.join(directory, "report.html"), encoding="utf-8") as file:
            assert said in file.read()


@tap.test
def an_echo_beside_a_file_measures_both():
    with folder() as directory:
        done = bench("echo beside a warm file", *SHORT, "--rounds", "1", "--contestants", "reactor,raw-epoll", "--results", directory)
        assert done.returncode == 0, done.stderr
        rounds = rounds_of(Results.load(directory), "echo-beside-a-warm-file")
        assert len(rounds) == 3
        for one in rounds:
            assert one["figures"]["p99_us"] > 0 and one["figures"]["megabytes"] > 0 and one["figures"]["offered"] == 2000, one


@tap.test
def each_way_to_send_a_file_sends_it_whole():
    # file-load compares the first transfer byte by byte, and the length of all.
    with folder() as directory:
        done = bench("file 1 KiB, warm", "file 1 KiB, cold", *SHORT, "--rounds", "1", "--results", directory, "--contestants",
                     "reactor,raw-epoll,raw-read,raw-mmap,raw-splice")
        assert done.returncode == 0, done.stderr
        warm = rounds_of(Results.load(directory), "file-1-KiB-warm")
        assert {one["side"] for one in warm} == {"reactor", "raw-epoll", "raw-read", "raw-mmap", "raw-splice", "reactor:again"}
        assert all(one["figures"]["per_second"] > 0 for one in warm)
        cold = rounds_of(Results.load(directory), "file-1-KiB-cold")
        assert {one["side"] for one in cold} == {"reactor", "raw-epoll", "raw-read", "raw-splice", "reactor:again"}


@tap.test
def jd_http_sends_a_file_whole():
    if not os.path.exists(os.path.join(BUILD, "examples", "jd-http")):
        raise tap.Skip("this build has no jd-http")
    with folder() as directory:
        done = bench("file 1 KiB by HTTP, warm", *SHORT, "--rounds", "1", "--contestants", "reactor", "--results", directory)
        assert done.returncode == 0, done.stderr
        row = Results.load(directory).rows["file-1-KiB-by-HTTP-warm"]
        assert row["rounds"][0]["figures"]["per_second"] > 0 and row["explained"]["reactor"]["calls"]["accept"] > 0.5, row


@tap.test
def jd_http_answers_from_memory_and_by_a_file_on_connections_that_stay():
    if not os.path.exists(os.path.join(BUILD, "examples", "jd-http")):
        raise tap.Skip("this build has no jd-http")
    with folder() as directory:
        names = ("http hello x 50", "http hello x 50, pipelined by 16", "http file 1 MB x 10")
        done = bench(*names, *SHORT, "--rounds", "1", "--contestants", "reactor", "--results", directory)
        assert done.returncode == 0, done.stderr
        for name in names:
            rounds = rounds_of(Results.load(directory), re.sub(r"[^\w]+", "-", name))
            assert rounds and all(one["figures"]["per_second"] > 0 and one["figures"]["cpu_us"] > 0 for one in rounds), rounds


@tap.test
def level_triggered_and_threads_answer_rightly():
    with folder() as directory:
        done = bench("large: echo 256 KiB x 8", "triggers and threads, 64 B x 100", *SHORT, "--rounds", "1", "--results", directory,
                     "--contestants", "raw-epoll,raw-level,raw-threads")
        assert done.returncode == 0, done.stderr
        assert {one["side"] for one in rounds_of(Results.load(directory), "large-echo-256-KiB-x-8")} >= {"raw-level", "raw-threads"}


LOAD_REFUSED = {
    "requests without connections that end": (("--requests=2", "127.0.0.1:1"), "--requests '2': needs --mode=connect"),
    "FIN without connections that end": (("--close=fin", "127.0.0.1:1"), "--close 'fin': needs --mode=connect"),
    "an unknown end": (("--mode=connect", "--close=softly", "127.0.0.1:1"), "--close 'softly': must be one of: reset, fin"),
    "sources for a Unix-domain server": (("--sources=2", "unix:@nobody"), "--sources '2': needs a server at an IPv4 address"),
    "too large writes": (("--write=65537", "127.0.0.1:1"), "--write '65537': must be a whole number from 1 to 65536"),
    "counts without a server": (("--call-counts=/nowhere", "127.0.0.1:1"), "--call-counts '/nowhere': needs --server-pid"),
}


@tap.test_for_each(LOAD_REFUSED)
def the_load_refuses_options_that_do_not_fit(case):
    arguments, reason = case
    done = subprocess.run([os.path.join(BUILD, "benchmarks", "jd-load"), *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2 and done.stderr.startswith(f"jd-load: {reason}"), done.stderr


# ---- interrupted and resumed ----

def children_of(pid):
    """The processes that a process has started, and those that they have."""
    found = []
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
        for child in map(int, children.read().split()):
            found += [child, *children_of(child)]
    return found


def is_there(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@contextlib.contextmanager
def long_run(directory):
    """A run that would take a minute, after its first results and while a server runs. Gives the process and its children."""
    process = subprocess.Popen(command(SCENARIO, "--seconds", "0.3", "--wait", "0", "--rounds", "50", "--contestants", "reactor,raw-epoll",
                                       "--results", directory), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        children = []
        for _ in range(3000):
            with contextlib.suppress(OSError, ValueError), open(os.path.join(directory, "rows", f"{ROW}.json"), encoding="utf-8") as file:
                children = children_of(process.pid)
                if len(json.load(file)["rounds"]) >= 2 and children:
                    break
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.02)   # no event tells that another process has written its file
        yield process, children
    finally:
        process.kill()
        process.wait()


def wait_until_gone(pids):
    for _ in range(500):
        if not any(map(is_there, pids)):
            return
        time.sleep(0.02)
    raise AssertionError(f"still there: {[pid for pid in pids if is_there(pid)]}")


@tap.test
def ctrl_c_keeps_what_was_measured_and_leaves_no_process_and_resume_continues():
    with folder() as directory:
        with long_run(directory) as (process, children):
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 130 and f"./dev bench --resume {directory}" in output, output
            assert children
            wait_until_gone(children)
        before = rounds_of(Results.load(directory))
        assert len(before) >= 2 and os.path.exists(os.path.join(directory, "report.html"))
        with open(os.path.join(directory, "report.html"), encoding="utf-8") as file:
            assert "The run is not complete" in file.read()
        # Continued, with fewer rounds, so that it ends soon.
        results = Results.load(directory)
        results.run["rows"][0].update(rounds=1 + max(one["round"] for one in before), seconds=0.05)
        results.save_run()
        done = bench("--resume", directory, "--wait", "0")
        assert done.returncode == 0, done.stderr
        after = rounds_of(Results.load(directory))
        assert after[:len(before)] == before, "results of before were changed"
        assert len(after) == results.run["rows"][0]["rounds"] * 3, len(after)
        assert sorted(one["order"] for one in after) == list(range(1, len(after) + 1))


@tap.test
def a_run_that_is_killed_leaves_no_process_behind():
    with folder() as directory, long_run(directory) as (process, children):
        process.kill()
        process.wait()
        assert children
        wait_until_gone(children)


@tap.test
def resume_does_not_mix_two_builds():
    with folder() as directory:
        assert bench(SCENARIO, *SHORT, "--rounds", "1", "--contestants", "raw-epoll", "--results", directory).returncode == 0
        results = Results.load(directory)
        results.machine["binaries"]["benchmarks/raw-epoll"] = "0" * 64
        results.save_run()
        done = bench("--resume", directory)
        assert done.returncode == 2 and "benchmarks/raw-epoll" in done.stderr and directory in done.stderr, done.stderr


@tap.test
def rows_are_measured_anew_by_another_build_and_the_page_says_so():
    with folder() as directory:
        assert bench(SCENARIO, *SHORT, "--rounds", "1", "--contestants", "raw-epoll", "--results", directory).returncode == 0
        results = Results.load(directory)
        before = rounds_of(results)
        own = results.machine["binaries"]["benchmarks/raw-epoll"]
        results.machine["binaries"]["benchmarks/raw-epoll"] = "0" * 64
        results.save_run()
        done = bench("--resume", directory, SCENARIO, "--wait", "0")
        assert done.returncode == 0, done.stderr
        results = Results.load(directory)
        assert len(rounds_of(results)) == len(before) and rounds_of(results) != before
        assert results.rows[ROW]["binaries"] == {"benchmarks/raw-epoll": own} and results.rows[ROW]["commit"]
        with open(os.path.join(directory, "report.html"), encoding="utf-8") as file:
            assert f"benchmarks/raw-epoll, in rows measured anew: {SCENARIO}" in file.read()
        done = bench("--resume", directory, "timers")
        assert done.returncode == 2 and "no row of these scenarios" in done.stderr, done.stderr


@tap.test_for_each({"scenario": ("scenario", "scenario", "chess"), "contestant": ("contestant", "sides", ["somebody"])})
def a_run_of_another_version_is_not_continued(case):
    word, member, value = case
    with folder() as directory:
        row = {"id": "one", "scenario": SCENARIO, "kind": "compare", "sides": ["reactor"], "rounds": 1, "seconds": 0.1, member: value}
        Results.new(directory, {"purpose": "full", "rows": [row], "begun": "now", "command": "./dev bench"}, {"table": {}, "binaries": {}}).save_run()
        done = bench("--resume", directory)
        named = value if isinstance(value, str) else value[0]
        assert done.returncode == 2 and os.path.join(directory, "run.json") in done.stderr and f"no {word} '{named}'" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        assert bench("--report", directory).returncode == 0


# ---- the command line ----

@tap.test
def a_run_of_more_than_90_minutes_needs_long():
    with folder() as directory:
        done = bench("ping-pong", "--rounds", "8", "--seconds", "60", "--results", directory)
        assert done.returncode == 2 and "more than 90 minutes: add --long" in done.stderr, done.stderr
        assert re.search(r"about \d+ h \d+ min on a quiet machine", done.stdout), done.stdout
        assert not os.path.exists(directory)


@tap.test
def a_long_run_that_was_allowed_is_continued_without_long():
    with folder() as directory:
        planned = {"id": "one", "scenario": SCENARIO, "kind": "compare", "sides": ["raw-epoll"], "rounds": 1, "seconds": 6000.0}
        run = {"purpose": "full", "rows": [planned], "begun": "now", "command": "./dev bench"}
        machine = {"table": {"CPU": "", "cores": ""}, "binaries": {}}
        Results.new(directory, run, machine).save_run()
        done = bench("--resume", directory)
        assert done.returncode == 2 and "add --long" in done.stderr, done.stderr
        results = Results.load(directory)
        results.run["long"] = True
        results.save_run()
        process = subprocess.Popen(command("--resume", directory, "--wait", "0"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in process.stdout:
            if line.startswith("[1/1]"):   # it measures
                process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


REFUSED = {
    "an unknown scenario": (("nothing",), "no scenario matches 'nothing'"),
    "an unknown contestant": (("--contestants", "reactor,nobody", SCENARIO), "no contestant 'nobody'"),
    "an unknown contestant in a comparison": (("--compare", "reactor", "nobody"), "no contestant 'nobody'"),
    "a comparison with too few rounds": (("--compare", "reactor", "io_uring", "--rounds", "7"), "--rounds 7: --compare needs at least 8"),
    "a comparison with itself": (("--compare", "reactor", "reactor"), "against itself"),
    "a comparison in a scenario without one side": (("--compare", "reactor", "nginx", SCENARIO), "nginx does not take part in 'ping-pong 64 B x 1'"),
    "no rounds": (("--rounds", "0", SCENARIO), "--rounds 0: must be more than 0"),
    "negative seconds": (("--seconds", "-1", SCENARIO), "--seconds -1: must be more than 0"),
    "a full run of some scenarios": (("--full", SCENARIO), "--full takes no scenarios"),
    "other rounds for a run that has its own": (("--resume", "/nowhere", "--rounds", "9"), "--resume takes neither --rounds nor --seconds"),
    "two purposes": (("--full", "--quick"), "not allowed with"),
    "a folder to continue that is not there": (("--resume", "/nowhere/at/all"), "/nowhere/at/all: no such folder"),
}


@tap.test_for_each(REFUSED)
def wrong_usage_is_refused(case):
    arguments, reason = case
    done = bench(*arguments)
    assert done.returncode == 2 and reason in done.stderr and "Traceback" not in done.stderr, done.stderr


@tap.test
def list_names_scenarios_and_contestants():
    done = bench("--list")
    assert done.returncode == 0 and "  ping-pong 64 B x 100" in done.stdout and "libevent-dev" in done.stdout


if __name__ == "__main__":
    tap.main()
