#!/usr/bin/env python3
"""Runs fuzz targets: libFuzzer makes inputs, the target turns each into calls of the library and compares the results with a
simple model, under the address and undefined behaviour sanitizers.

A run begins with the inputs of the tree (tests/fuzz/corpus/NAME) and those that earlier runs have found
(build/fuzz-corpus/NAME). An input that fails is kept below build/fuzz-failures/NAME, and the command that repeats it is
printed. Exit status 0: no input failed; 1: an input failed."""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time

TREE = pathlib.Path(__file__).resolve().parents[1]
SUFFIX = "_fuzz.c"
INPUT_MAX_BYTES = 4096
INPUT_SECONDS = 10          # an input that takes longer hangs
MEMORY_MAX_MIB = 1024
PROGRESS_SECONDS = 5
CORPUS_MAX_FILES = 100      # of the tree, for each target

STATUS_LINE = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+).*? corp: (\d+)/")


def targets():
    return sorted(path.name.removesuffix(SUFFIX) for path in (TREE / "tests" / "fuzz").glob(f"*{SUFFIX}"))


class Target:
    def __init__(self, name):
        self.name = name
        self.program = str(TREE / "build" / "fuzz" / "tests" / "fuzz" / f"fuzz-{name}")
        self.tree_corpus = TREE / "tests" / "fuzz" / "corpus" / name
        self.found = TREE / "build" / "fuzz-corpus" / name
        self.failures = TREE / "build" / "fuzz-failures" / name
        for folder in (self.tree_corpus, self.found, self.failures):
            folder.mkdir(parents=True, exist_ok=True)

    def command(self, *more):
        return [self.program, f"-max_len={INPUT_MAX_BYTES}", f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MAX_MIB}",
                f"-artifact_prefix={self.failures}/", *map(str, more)]


def environment():
    options = "abort_on_error=1:allocator_may_return_null=1"
    return os.environ | {"ASAN_OPTIONS": f"{options}:detect_leaks=1:detect_stack_use_after_return=1",
                         "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1"}


def relative(path):
    return os.path.relpath(path)


def report_failure(target, known):
    for path in sorted(set(target.failures.iterdir()) - known):
        print(f"FAILED {target.name}: the input {relative(path)}; to repeat it:\n"
              f"  ./dev fuzz {target.name} --input {relative(path)}", flush=True)


def fuzz(target, seconds, seed):
    """Returns whether no input failed."""
    known = set(target.failures.iterdir())
    begun = time.monotonic()
    printed = begun
    output, counts = [], None
    print(f"{target.name}: {seconds} s", flush=True)
    with subprocess.Popen(target.command(f"-max_total_time={seconds}", f"-seed={seed}", target.found, target.tree_corpus),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", env=environment()) as process:
        try:
            for line in process.stdout:
                status = STATUS_LINE.match(line)
                if status is None:
                    output.append(line)
                    continue
                counts = status.groups()
                now = time.monotonic()
                if now - printed >= PROGRESS_SECONDS:
                    printed = now
                    print(f"{target.name}: {now - begun:.0f} of {seconds} s, {int(counts[0]):,} inputs, {counts[1]} edges covered, "
                          f"corpus of {counts[2]}", flush=True)
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        sys.stdout.writelines(output)
        report_failure(target, known)
        print(f"FAILED {target.name}: exit status {process.returncode}, seed {seed}")
        return False
    # An empty run must not look like a success.
    if counts is None or int(counts[0]) == 0:
        sys.stdout.writelines(output)
        print(f"FAILED {target.name}: it ran no inputs")
        return False
    print(f"{target.name}: no failure in {int(counts[0]):,} inputs, {counts[1]} edges covered, corpus of {counts[2]}")
    return True


def repeat(target, path):
    """Runs one input. Returns whether it did not fail."""
    status = subprocess.run(target.command(path), stdin=subprocess.DEVNULL, env=environment(), check=False).returncode
    print(f"{target.name}: {path}: " + ("does not fail" if status == 0 else f"fails, exit status {status}"))
    return status == 0


def merge(target):
    """Replaces the corpus of the tree by the fewest inputs, found and old, that reach everything that they reach together."""
    reduced = target.found.parent / f"{target.name}.reduced"
    reduced.mkdir(exist_ok=True)
    for path in reduced.iterdir():
        path.unlink()
    # Without counters: by the edges that an input reaches, not by how often it reaches them.
    subprocess.run(target.command("-merge=1", "-use_counters=0", reduced, target.tree_corpus, target.found), stdin=subprocess.DEVNULL, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    inputs = sorted(reduced.iterdir(), key=lambda path: path.stat().st_size)[:CORPUS_MAX_FILES]
    for path in target.tree_corpus.iterdir():
        path.unlink()
    for number, path in enumerate(inputs):
        path.rename(target.tree_corpus / f"{number:03}")
    print(f"{target.name}: {len(inputs)} inputs in {relative(target.tree_corpus)}")


def read_arguments(names):
    parser = argparse.ArgumentParser(prog="./dev fuzz", usage="./dev fuzz [NAME|all] [--seconds N] [--seed S] [--input FILE] [--merge]",
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description=__doc__ + "\n\nTargets: " + ", ".join(names))
    parser.add_argument("name", nargs="?", choices=[*names, "all"], metavar="NAME",
                        help="the target, or all, as many at a time as there are cores; without it the targets are listed")
    parser.add_argument("--seconds", type=int, default=60, help="duration for each target, 1 to 86400 (default 60)")
    parser.add_argument("--seed", type=int, help="of libFuzzer's random numbers, 1 to 4294967295 (default: the time)")
    parser.add_argument("--input", metavar="FILE", help="run this input only, with all messages")
    parser.add_argument("--merge", action="store_true",
                        help=f"reduce the inputs found so far to at most {CORPUS_MAX_FILES} and put them into the tree")
    arguments = parser.parse_args()
    if not 1 <= arguments.seconds <= 86400:
        parser.error(f"--seconds '{arguments.seconds}': must be from 1 to 86400")
    if arguments.seed is not None and not 1 <= arguments.seed < 2**32:
        parser.error(f"--seed '{arguments.seed}': must be from 1 to {2**32 - 1}")
    if arguments.input is not None and (arguments.name in (None, "all") or not os.path.isfile(arguments.input)):
        parser.error(f"--input '{arguments.input}': " + ("needs the NAME of one target" if arguments.name in (None, "all")
                                                         else "is not a file"))
    return arguments


def main():
    names = targets()
    arguments = read_arguments(names)
    if arguments.name is None:
        print("\n".join(names))
        return 0
    chosen = [Target(name) for name in (names if arguments.name == "all" else [arguments.name])]
    if arguments.input is not None:
        return 0 if repeat(chosen[0], arguments.input) else 1
    if arguments.merge:
        for target in chosen:
            merge(target)
        return 0
    seed = arguments.seed or int(time.time())
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        passed = list(pool.map(lambda target: fuzz(target, arguments.seconds, seed), chosen))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
