"""Starts the programs of a comparison, each on a core of its own, and ends them by pid; shows the progress."""

import json
import os
import select
import statistics
import subprocess
import sys
import tempfile

READY_SECONDS = 10
STOP_SECONDS = 5
STOLEN_PERCENT_MAX = 5     # steal time, in percent of the cores' time, above which a measurement is repeated
TRIES = 3


class Failure(Exception):
    """A program failed; its row is abandoned."""


def errors_of(process):
    process.errors.seek(0)
    return process.errors.read().strip().replace("\n", "; ")


def processor_ticks(cores):
    """The clock ticks of the cores: all, and the steal time, in which the host of a virtual machine ran something else
    (proc(5), /proc/stat)."""
    names = {f"cpu{core}" for core in cores}
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [[int(word) for word in line.split()[1:9]] for line in file if line.split()[0] in names]
    return sum(sum(core) for core in ticks), sum(core[7] for core in ticks)


class Programs:
    """Starts programs, each on its core, and ends by pid those that still run."""

    def __init__(self, build, cores):
        self.build = build
        self.server_core, self.load_core = cores
        self.running = []
        self.stolen_percents, self.repeated = [], 0

    def undisturbed(self, measure):
        """Returns the result of measure(), repeated while the steal time is too high. Of several results it takes the one
        with the least steal time, whatever its figures."""
        tries, cores = [], {self.server_core, self.load_core}
        while len(tries) < TRIES and not (tries and tries[-1][0] <= STOLEN_PERCENT_MAX):
            before, result, after = processor_ticks(cores), measure(), processor_ticks(cores)
            total, stolen = (b - a for a, b in zip(before, after))
            tries.append((100 * stolen / max(total, 1), result))
        percent, result = min(tries, key=lambda one: one[0])
        self.stolen_percents.append(percent)
        self.repeated += len(tries) - 1
        return result

    def disturbance(self):
        percents = self.stolen_percents or [0]
        return {"median_percent": statistics.median(percents), "worst_percent": max(percents), "made_again": self.repeated}

    def print_disturbance(self):
        seen = self.disturbance()
        if seen["worst_percent"] > STOLEN_PERCENT_MAX / 2:
            print(f"Steal time of the two cores (used by the host of the virtual machine): median {seen['median_percent']:.0f} %, "
                  f"maximum {seen['worst_percent']:.0f} %.\n{seen['made_again']} measurements with more than "
                  f"{STOLEN_PERCENT_MAX} % were repeated.\n")

    def path(self, name):
        directory = "benchmarks" if name in ("jd-load", "raw-epoll", "raw-uring") or name.startswith("peers/") else "examples"
        return os.path.join(self.build, directory, name)

    def has(self, name):
        return os.access(self.path(name), os.X_OK)

    def start(self, core, name, *options):
        """Starts a program on one core, or on a set of cores."""
        cores = core if isinstance(core, set) else {core}
        # A file, not a pipe: a full pipe would block a server that logs a lot.
        errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        process = subprocess.Popen([self.path(name), *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=errors, text=True, preexec_fn=lambda: os.sched_setaffinity(0, cores))
        process.errors = errors
        self.running.append(process)
        return process

    def start_server(self, name, *options):
        """Returns the process and the endpoint of its ready line."""
        process = self.start(self.server_core, name, "--listen", "127.0.0.1:0", *options)
        words = self.wait_line(process, name).split()
        if words[:2] != ["listening", "on"] or len(words) < 3:
            raise Failure(f"{name}: not a ready line: {' '.join(words)}")
        return process, words[2]

    def wait_line(self, process, name):
        ready, _, _ = select.select([process.stdout], [], [], READY_SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            self.stop(process)
            raise Failure(f"{name}: no ready line: {errors_of(process) or f'nothing printed within {READY_SECONDS} s'}")
        return line

    def load(self, address, pid, *options, seconds):
        """Runs jd-load to its end and returns its figures."""
        return self.figures(self.load_core, "jd-load", address, "--json", "--server-pid", str(pid),
                            "--seconds", str(seconds), *options)

    def figures(self, core, name, *options):
        """Runs a program to its end and returns the JSON object that it prints."""
        process = self.start(core, name, *options)
        output, _ = process.communicate()
        self.running.remove(process)
        if process.returncode != 0:
            raise Failure(f"{name}: {errors_of(process) or f'exit status {process.returncode}'}")
        return json.loads(output)

    def stop_server(self, process):
        """Stops a server. Returns the counters of its output, each written as name=number."""
        self.stop(process)
        words = process.stdout.read().split()
        return {name: int(number) for name, number in (word.split("=") for word in words if word.count("=") == 1)
                if number.isdigit()}

    def stop(self, process):
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process in self.running:
            self.running.remove(process)

    def stop_all(self):
        for process in list(self.running):
            self.stop(process)


class Progress:
    """Prints a line for each step; on a terminal each line replaces the one before."""

    def __init__(self, steps):
        self.steps, self.step = steps, 0
        self.in_place = sys.stderr.isatty()

    def show(self, text):
        self.step += 1
        line = f"[{self.step}/{self.steps}] {text}"
        print(f"\r\033[K{line}" if self.in_place else line, end="" if self.in_place else "\n", file=sys.stderr, flush=True)

    def skip(self, steps):
        self.step += steps

    def clear(self):
        if self.in_place:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
