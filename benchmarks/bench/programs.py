"""Starts the programs of a comparison, each on a core of its own, and ends them by pid."""

import ctypes
import json
import mmap
import os
import select
import signal
import subprocess
import tempfile
import time

READY_SECONDS = 10
STOP_SECONDS = 5
PATIENCE_SECONDS = 60      # beyond its planned time, before a load that does not end is stopped
CALL_COUNTS_BYTES = 4096   # of the file of benchmarks/call_counts.h
PR_SET_PDEATHSIG = 1       # prctl(2)

_libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """A program failed."""


class WrongAnswer(Failure):
    """A server sent other bytes than it should have."""


class NothingAnswered(Failure):
    """No message was answered in the measured time."""


def errors_of(process):
    process.errors.seek(0)
    return process.errors.read().strip().replace("\n", "; ")


def _child(cores):
    """In the child: its cores; and it ends with this process, however this process ends."""
    os.sched_setaffinity(0, cores)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Programs:
    """Starts programs of a build, each on its core, and ends by pid those that still run."""

    def __init__(self, build, cores):
        self.build = build
        self.server_core, self.load_core = cores
        self.running = []

    def path(self, name):
        """name: a path, or a program of the build. peers/... and the loads are benchmarks, the others examples."""
        if os.path.isabs(name):
            return name
        directory = "benchmarks" if name.startswith(("jd-load", "raw-", "peers/", "libcount-calls")) else "examples"
        return os.path.join(self.build, directory, name)

    def has(self, name):
        return os.access(self.path(name), os.X_OK)

    def start(self, core, name, *options, environment=None):
        """Starts a program on one core, or on a set of cores."""
        cores = core if isinstance(core, set) else {core}
        # A file, not a pipe: a full pipe would block a server that logs a lot.
        errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        # A session of its own: Ctrl-C reaches only this process, which then ends the others.
        process = subprocess.Popen([self.path(name), *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                                   text=True, start_new_session=True, preexec_fn=lambda: _child(cores),
                                   env={**os.environ, **(environment or {})})
        process.errors, process.printed = errors, b""   # printed: read, but not yet returned by wait_line
        self.running.append(process)
        return process

    def start_server(self, name, *options, environment=None, core=None):
        """Returns the process and the endpoints of its ready lines, of which there is one for each --listen."""
        process = self.start(self.server_core if core is None else core, name, *options, environment=environment)
        endpoints = []
        for _ in range(max(1, options.count("--listen"))):
            words = self.wait_line(process, name).split()
            if words[:2] != ["listening", "on"] or len(words) < 3:
                self.stop(process)
                raise Failure(f"{name}: not a ready line: {' '.join(words)}")
            endpoints.append(words[2])
        return process, endpoints

    def wait_line(self, process, name):
        """Returns the next line that the program prints. Reads the descriptor itself: select(2) does not see what a file object has
        read ahead."""
        end = time.monotonic() + READY_SECONDS
        while b"\n" not in process.printed:
            ready, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
            part = os.read(process.stdout.fileno(), 4096) if ready else b""
            if not part:
                self.stop(process)
                raise Failure(f"{name}: no ready line: {errors_of(process) or f'nothing printed within {READY_SECONDS} s'}")
            process.printed += part
        line, _, process.printed = process.printed.partition(b"\n")
        return line.decode("utf-8", "replace")

    def output(self, core, name, *options, seconds=0.0, environment=None):
        """Runs a program to its end, and returns its process and its output."""
        process = self.start(core, name, *options, environment=environment)
        try:
            text, _ = process.communicate(timeout=seconds + PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.stop(process)
            raise Failure(f"{name}: did not end within {seconds + PATIENCE_SECONDS:.0f} s") from None
        self.running.remove(process)
        return process, text

    def figures(self, core, name, *options, seconds=0.0, environment=None):
        """Runs a program to its end and returns the JSON object that it prints."""
        process, text = self.output(core, name, *options, seconds=seconds, environment=environment)
        reason = errors_of(process) or f"exit status {process.returncode}"
        try:
            data = json.loads(text)
        except ValueError:
            data = {}
        if process.returncode != 0:
            wrong = data.get("verify_errors", 0) > 0 or "other bytes" in reason or "wrong bytes" in reason
            raise (WrongAnswer if wrong else Failure)(f"{name}: {reason}")
        if not data:
            raise Failure(f"{name}: printed no result")
        return data

    def stop_server(self, process):
        """Stops a server. Returns the counters of its output, each written as name=number."""
        self.stop(process)
        words = (process.printed.decode("utf-8", "replace") + process.stdout.read()).split()
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


class MemoryFile:
    """A file in memory that other processes open by its path. It ends with this process, however this process ends."""

    def __init__(self, name):
        self.descriptor = os.memfd_create(name)
        self.path = f"/proc/{os.getpid()}/fd/{self.descriptor}"


class CallCounts(MemoryFile):
    """The file in which a server counts its calls into the kernel, and the environment that makes it do so."""

    def __init__(self, programs):
        super().__init__("calls")
        os.ftruncate(self.descriptor, CALL_COUNTS_BYTES)
        self.library = programs.path("libcount-calls.so")

    @property
    def environment(self):
        return {"LD_PRELOAD": self.library, "JD_CALL_COUNTS": self.path}

    def reset(self):
        with mmap.mmap(self.descriptor, CALL_COUNTS_BYTES) as memory:
            memory[:] = bytes(CALL_COUNTS_BYTES)
