#!/usr/bin/env python3
"""Updates the list of the functions that the library exports, each with the version in which it first appeared.

New functions get the library's current version; functions that no longer exist are removed. Both are printed."""

import argparse
import pathlib
import re
import subprocess

HEADING = """\
# The functions that libjinduo exports, each with the version it appeared in. ./dev symbols brings this up to date. A
# function may be added; one that goes, or changes its parameters, needs another soversion in meson.build.
"""

# A build with a sanitizer also exports the sanitizer's symbols.
SANITIZERS = re.compile(r"__?(a|t|ub)san|__odr_asan|_?_sanitizer")


def defined_in(library, *options):
    """The exported names of a library (nm(1))."""
    lines = subprocess.run(["nm", "--extern-only", "--defined-only", "--format=posix", *options, library], check=True,
                           capture_output=True, text=True, timeout=60).stdout.splitlines()
    # A line is "NAME T ADDRESS SIZE"; an archive also has a line "ARCHIVE[MEMBER]:" for each member.
    names = {line.split()[0].partition("@")[0] for line in lines if len(line.split()) > 1}
    return {name for name in names if not SANITIZERS.match(name)}


def declared_in(include):
    names = set()
    for header in sorted(include.glob("*.h")):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(encoding="utf-8"), flags=re.S)
        names.update(re.findall(r"JD_API\b[^;(]*?\b(jd_\w+)\s*\(", text))
    return names


def listed_in(path):
    """The list as a dictionary: name to version."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return dict(line.split() for line in lines if line and not line.startswith("#"))


def text_of(listed):
    return HEADING + "".join(f"{name} {version}\n" for name, version in sorted(listed.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", help="the shared library")
    parser.add_argument("version", help="the library's version")
    parser.add_argument("list", type=pathlib.Path, help="the list to update")
    arguments = parser.parse_args()
    before = listed_in(arguments.list)
    exported = defined_in(arguments.library, "--dynamic")
    arguments.list.write_text(text_of({name: before.get(name, arguments.version) for name in exported}), encoding="utf-8")
    for name in sorted(exported - before.keys()):
        print(f"added {name}")
    for name in sorted(before.keys() - exported):
        print(f"removed {name}: if it was in a release, change the soversion in meson.build")
    print(f"{arguments.list}: {len(exported)} functions")


if __name__ == "__main__":
    main()
