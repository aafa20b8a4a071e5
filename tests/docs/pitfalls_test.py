#!/usr/bin/env python3
"""docs/pitfalls.md is correct: each test that it names exists, and each reference to an entry in a comment resolves to one.

Argument: the source directory.
"""

import functools
import pathlib
import re
import sys

import tap

ROOT = pathlib.Path(sys.argv[1])
PAGE = "docs/pitfalls.md"
ENTRIES = 42               # at least; comments refer to these numbers, so none of them may be removed
SUITE_END = "_test"        # ends the name of a suite's file, without its extension

ENTRY = re.compile(r"^### Pitfall (\d+): .*$", re.MULTILINE)
NAMED = re.compile(r"`([a-z_]+): ([a-z0-9_]+)`")
DEFINED = re.compile(r"^START_TEST\((\w+)\)", re.MULTILINE)
ADDED = re.compile(r"\btcase_add_(?:loop_)?test\w*\(\w+, (\w+)")
CONTINUED = re.compile(r"\n \* ?")
REFERRED = re.compile(r"\bpitfalls?\s+(\d+(?:(?:,|,?\s+and)\s+\d+)*)", re.IGNORECASE)


def entries_of(page):
    """The text of each entry by its number, in the order of the page."""
    _, *parts = ENTRY.split(page.split("\n## ", 1)[1])
    return {int(number): text for number, text in zip(parts[::2], parts[1::2])}


def tests_of(source):
    """The tests of a source that are defined and added to a test case."""
    return set(DEFINED.findall(source)) & set(ADDED.findall(source))


def missing_tests(page, suites):
    """The tests that the page names and no suite has."""
    return sorted(f"{suite}: {test}" for suite, test in set(NAMED.findall(page))
                  if test not in tests_of(suites.get(suite, "")))


def references_in(source):
    """The numbers of the pitfalls to which the comments of a source refer."""
    return {int(number) for numbers in REFERRED.findall(CONTINUED.sub(" ", source))
            for number in re.findall(r"\d+", numbers)}


def unresolved_references(page, sources):
    """The references to entries that do not exist or, if the source is a suite, that name no test of that suite."""
    entries = entries_of(page)
    return sorted(f"{name}: pitfall {number}" for name, source in sources.items() for number in references_in(source)
                  if number not in entries or
                  name.endswith(SUITE_END) and f"`{name.removesuffix(SUITE_END)}: " not in entries[number])


def entries_without_test_and_reason(page):
    """The entries that name no test and give no reason why there is none."""
    return [number for number, text in entries_of(page).items() if not NAMED.search(text) and "\nNot pinned: " not in text]


@functools.cache
def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


@functools.cache
def sources():
    """The text of all C files below tests/: of suites by name, of the others by path."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("*.[ch]")):
        name = path.stem if path.stem.endswith(SUITE_END) else str(path.relative_to(ROOT))
        assert name not in found, f"{path}: another suite has the same name"
        found[name] = path.read_text(encoding="utf-8")
    return found


def suites():
    return {name.removesuffix(SUITE_END): source for name, source in sources().items() if name.endswith(SUITE_END)}


@tap.test
def the_tests_named_by_the_page_exist_and_are_run():
    missing = missing_tests(text_of(PAGE), suites())
    assert not missing, f"removed or renamed: {missing}"


@tap.test
def each_entry_to_which_a_suite_refers_names_a_test_of_that_suite():
    assert any(references_in(source) for source in sources().values()), "no comment refers to a pitfall"
    unresolved = unresolved_references(text_of(PAGE), sources())
    assert not unresolved, unresolved


@tap.test
def the_numbers_are_complete_and_in_order():
    numbers = list(map(int, ENTRY.findall(text_of(PAGE))))
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= ENTRIES, numbers


@tap.test
def each_entry_names_a_test_or_gives_a_reason_why_there_is_none():
    assert not entries_without_test_and_reason(text_of(PAGE)), entries_without_test_and_reason(text_of(PAGE))


@tap.test
def the_tests_named_by_the_page_on_engines_exist_and_are_run():
    rows = [row.rstrip(" |").rsplit("|", 1) for row in text_of("docs/engines.md").splitlines() if row.startswith("| ")]
    named = {test for row in rows for test in re.findall(r"`([a-z0-9_]+)`", row[-1]) if test.count("_") >= 3}
    known = set().union(*map(tests_of, suites().values()))
    known.update(re.findall(r"^@tap\.test.*\ndef (\w+)\(", text_of("tests/windows/programs_test.py"), re.MULTILINE))
    assert named and named <= known, sorted(named - known) or "the page names no test"


# ---- tests of these checks ----

SMALL_PAGE = """# Pitfalls
## Some
### Pitfall 1: one
- `closing: a_test`
### Pitfall 2: two
Not pinned: not built.
### Pitfall 3: three
No test and no reason.
"""
SMALL_SUITE = "/* Pitfalls 1 and\n * 2. */\nSTART_TEST(a_test)\n    tcase_add_loop_test(tests, a_test, 0, 2);\n"


@tap.test
def a_test_that_is_removed_renamed_or_not_run_is_detected():
    assert missing_tests(SMALL_PAGE, {"closing": SMALL_SUITE}) == []
    gone = ["closing: a_test"]
    assert missing_tests(SMALL_PAGE, {"closing": SMALL_SUITE.replace("START_TEST(a_", "START_TEST(another_")}) == gone
    assert missing_tests(SMALL_PAGE, {"closing": SMALL_SUITE.split("    tcase")[0]}) == gone
    assert missing_tests(SMALL_PAGE, {"opening": SMALL_SUITE}) == gone


@tap.test
def a_reference_without_an_entry_is_detected():
    assert references_in(SMALL_SUITE) == {1, 2}
    assert references_in("/* Pitfalls 8, 9, and 10; 11. */ /* pitfall 12 */") == {8, 9, 10, 12}
    assert unresolved_references(SMALL_PAGE, {"closing_test": "/* Pitfall 1. */"}) == []
    assert unresolved_references(SMALL_PAGE, {"closing_test": "/* Pitfall 2. */"}) == ["closing_test: pitfall 2"]
    assert unresolved_references(SMALL_PAGE, {"helper.h": "/* Pitfalls 2, 4. */"}) == ["helper.h: pitfall 4"]


@tap.test
def an_entry_without_test_and_reason_is_detected():
    assert entries_without_test_and_reason(SMALL_PAGE) == [3]


if __name__ == "__main__":
    tap.main()
