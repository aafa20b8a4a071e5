#!/usr/bin/env python3
"""CONTRIBUTING.md is correct: the files that it names exist, and its list for a new backend is complete. The page on the
architecture names each source file.

Argument: the source directory.
"""

import functools
import pathlib
import re
import sys

import tap

ROOT = pathlib.Path(sys.argv[1])
PAGE = "CONTRIBUTING.md"
ENGINES = ("io_uring", "simulated")   # a file that names both must also name a new backend
ROOMS = ("base", "net", "proactor", "include", "examples", "benchmarks", "scripts")
OWN_ROOMS = tuple(f"proactor/{engine}/" for engine in ENGINES)

PATH = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:build|txt|md|py|c|h)|(?:[\w-]+/)+)`")
C_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


@functools.cache
def page():
    return (ROOT / PAGE).read_text(encoding="utf-8")


def named_in(text):
    """The files and directories named in a text, without those of the new backend, whose paths contain NAME."""
    return {path for path in PATH.findall(text) if "NAME" not in path}


def exists(path):
    """Whether a path exists from the root or, if it has no directory, anywhere below tests/."""
    return (ROOT / path).exists() or "/" not in path and any((ROOT / "tests").rglob(path))


def names_engine(source, engine):
    """Whether a source, without its comments, names an engine: as a word, as JD_ENGINE_NAME or as NAME_engine."""
    code = C_COMMENT.sub("", source)
    return re.search(rf"\b(?:JD_ENGINE_{engine.upper()}|{engine}_engine|{engine}(?=[\",' ]))\b", code) is not None


def names_all_engines(source):
    return all(names_engine(source, engine) for engine in ENGINES)


def files_that_name_engines():
    """The files of the library and the programs that name all engines, so they must name a new one too."""
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.*")) if path.suffix in (".c", ".h", ".py")]
    names = {str(path.relative_to(ROOT)): path for path in paths}
    return {name for name, path in names.items()
            if not name.startswith(OWN_ROOMS) and names_all_engines(path.read_text(encoding="utf-8"))}


@tap.test
def the_named_files_exist():
    named = named_in(page())
    missing = sorted(path for path in named if not exists(path))
    assert len(named) > 30 and not missing, missing or f"too few files are found: {named}"


@tap.test
def the_list_for_a_new_backend_has_every_file_that_names_the_engines():
    _, listed = page().split("## Adding a backend")
    known = files_that_name_engines()
    assert len(known) >= 5, f"too few files are found: {known}"
    assert known <= named_in(listed), f"not in the list: {sorted(known - named_in(listed))}"


@tap.test
def the_named_commands_exist():
    helped = (ROOT / "dev").read_text(encoding="utf-8")
    commands = re.findall(r"`\./dev ([a-z]+)", page())
    missing = sorted(command for command in set(commands) if f"\n  {command}" not in helped)
    assert commands and not missing, missing


def unnamed_sources(page_text):
    """The sources of the library that the page does not name."""
    sources = [path for room in ("base", "net", "proactor") for path in sorted((ROOT / room).rglob("*.c"))]
    assert len(sources) > 80, "too few sources are found"
    return [str(path.relative_to(ROOT)) for path in sources if f"`{path.relative_to(ROOT)}`" not in page_text]


@tap.test
def the_architecture_page_names_each_source_file():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    missing = [path for path in named_in(text) if path.startswith(tuple(f"{room}/" for room in ROOMS)) and not exists(path)]
    assert not unnamed_sources(text) and not missing, (unnamed_sources(text), missing)
    assert len(unnamed_sources(text.replace("`base/endpoint.c`", ""))) == 1


# ---- tests of these checks ----

@tap.test
def a_missing_file_is_detected():
    assert named_in("`proactor/gone.c`, `net/gone/`, `net/NAME/` and `gone_test.c`") == {
        "proactor/gone.c", "net/gone/", "gone_test.c"}
    assert not any(map(exists, ("proactor/gone.c", "net/gone/", "gone_test.c")))
    assert exists("proactor/backend.h") and exists("tests/unit/") and exists("late_engine.c")


@tap.test
def a_file_that_names_the_engines_is_detected():
    assert names_all_engines("extern struct engine_ops io_uring_engine;\nextern struct engine_ops simulated_engine;")
    assert names_all_engines("{ JD_ENGINE_IO_URING, JD_ENGINE_SIMULATED }")
    assert names_all_engines('"auto, reactor, proactor, io_uring, simulated"')
    assert not names_all_engines("/* as io_uring, or simulated, does */ io_uring_queue_init(); simulated_at_work();")


if __name__ == "__main__":
    tap.main()
