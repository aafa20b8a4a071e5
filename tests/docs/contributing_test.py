#!/usr/bin/env python3
"""CONTRIBUTING.md is true: the files that it names exist, and its list for a new engine is complete; and so is the page on the
architecture: it names each source file.

Argument: the source directory.
"""

import functools
import pathlib
import re
import sys

import tap

ROOT = pathlib.Path(sys.argv[1])
PAGE = "CONTRIBUTING.md"
ENGINES = ("io_uring", "simulated")   # a new backend is to be mentioned wherever these both are
ROOMS = ("base", "net", "proactor", "include", "examples", "benchmarks", "scripts")
OWN_ROOMS = tuple(f"proactor/{engine}/" for engine in ENGINES)

PATH = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:build|txt|md|py|c|h)|(?:[\w-]+/)+)`")
C_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


@functools.cache
def page():
    return (ROOT / PAGE).read_text(encoding="utf-8")


def named_in(text):
    """The files and directories in a text, but for those of the backend or engine that it tells how to write."""
    return {path for path in PATH.findall(text) if "NAME" not in path}


def exists(path):
    """From the root; or a file without its directory that is below tests/, or one in each folder."""
    return (ROOT / path).exists() or "/" not in path and any((ROOT / "tests").rglob(path))


def names_engine(source, engine):
    """Whether a program's text, without its comments, names an engine: as a word, in JD_ENGINE_ or as NAME_engine."""
    code = C_COMMENT.sub("", source)
    return re.search(rf"\b(?:JD_ENGINE_{engine.upper()}|{engine}_engine|{engine}(?=[\",' ]))\b", code) is not None


def names_all_engines(source):
    return all(names_engine(source, engine) for engine in ENGINES)


def files_that_name_engines():
    """Those of the library and its programs that would have to know a new one."""
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.*")) if path.suffix in (".c", ".h", ".py")]
    names = {str(path.relative_to(ROOT)): path for path in paths}
    return {name for name, path in names.items()
            if not name.startswith(OWN_ROOMS) and names_all_engines(path.read_text(encoding="utf-8"))}


@tap.test
def the_files_that_are_named_exist():
    named = named_in(page())
    missing = sorted(path for path in named if not exists(path))
    assert len(named) > 30 and not missing, missing or f"only {named} are seen"


@tap.test
def the_list_for_a_new_engine_has_every_file_that_names_the_engines():
    _, listed = page().split("## Adding a backend")
    known = files_that_name_engines()
    assert len(known) >= 5, f"too few are seen: {known}"
    assert known <= named_in(listed), f"not in the list: {sorted(known - named_in(listed))}"


@tap.test
def commands_and_options_that_are_named_exist():
    helped = (ROOT / "dev").read_text(encoding="utf-8")
    commands = re.findall(r"`\./dev ([a-z]+)", page())
    missing = sorted(command for command in set(commands) if f"\n  {command}" not in helped)
    assert commands and not missing, missing


def unnamed_sources(page_text):
    """Sources of the library that the page does not name."""
    sources = [path for room in ("base", "net", "proactor") for path in sorted((ROOT / room).rglob("*.c"))]
    assert len(sources) > 80, "too few sources are seen"
    return [str(path.relative_to(ROOT)) for path in sources if f"`{path.relative_to(ROOT)}`" not in page_text]


@tap.test
def the_architecture_page_says_what_each_source_file_is_for():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    missing = [path for path in named_in(text) if path.startswith(tuple(f"{room}/" for room in ROOMS)) and not exists(path)]
    assert not unnamed_sources(text) and not missing, (unnamed_sources(text), missing)
    assert len(unnamed_sources(text.replace("`base/endpoint.c`", ""))) == 1


# ---- that these checks find what they are for ----

@tap.test
def a_file_that_is_gone_is_found():
    assert named_in("`proactor/gone.c`, `net/gone/`, `net/NAME/` and `gone_test.c`") == {
        "proactor/gone.c", "net/gone/", "gone_test.c"}
    assert not any(map(exists, ("proactor/gone.c", "net/gone/", "gone_test.c")))
    assert exists("proactor/backend.h") and exists("tests/unit/") and exists("late_engine.c")


@tap.test
def a_file_that_names_the_engines_is_seen():
    assert names_all_engines("extern struct engine_ops io_uring_engine;\nextern struct engine_ops simulated_engine;")
    assert names_all_engines("{ JD_ENGINE_IO_URING, JD_ENGINE_SIMULATED }")
    assert names_all_engines('"auto, reactor, proactor, io_uring, simulated"')
    assert not names_all_engines("/* as io_uring, or simulated, does */ io_uring_queue_init(); simulated_at_work();")


if __name__ == "__main__":
    tap.main()
