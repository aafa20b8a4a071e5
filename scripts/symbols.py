#!/usr/bin/env python3
"""The functions that the library exports, with the version each appeared in: brings the list up to date.

New ones get the library's present version, those that are gone leave the list, both are told."""

import argparse
import pathlib
import re
import subprocess

HEADING = """\
# The functions that libjinduo exports, each with the version it appeared in. ./dev symbols brings this up to date. A
# function may be added; one that goes, or changes its parameters, needs another soversion in meson.build.
"""

# A sanitized build brings the sanitizer's own.
SANITIZERS = re.compile(r"__?(a|t|ub)san|__odr_asan|_?_sanitizer")


def defined_in(library, *options):
    """The names that others can link to (nm(1))."""
    lines = subprocess.run(["nm", "--extern-only", "--defined-only", "--format=posix", *options, library], check=True,
                           capture_output=True, text=True, timeout=60).stdout.splitlines()
    # "NAME T ADDRESS SIZE"; an archive has a line for each member besides, "ARCHIVE[MEMBER]:".
    names = {line.split()[0].partition("@")[0] for line in lines if len(line.split()) > 1}
    return {name for name in names if not SANITIZERS.match(name)}


def declared_in(include):
    names = set()
    for header in sorted(include.glob("*.h")):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(encoding="utf-8"), flags=re.S)
        names.update(re.findall(r"JD_API\b[^;(]*?\b(jd_\w+)\s*\(", text))
    return names


def listed_in(path):
    """Name to version."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return dict(line.split() for line in lines if line and not line.startswith("#"))


def text_of(listed):
    return HEADING + "".join(f"{name} {version}\n" for name, version in sorted(listed.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", help="the shared library")
    parser.add_argument("version", help="its version")
    parser.add_argument("list", type=pathlib.Path, help="the list to bring up to date")
    arguments = parser.parse_args()
    before = listed_in(arguments.list)
    exported = defined_in(arguments.library, "--dynamic")
    arguments.list.write_text(text_of({name: before.get(name, arguments.version) for name in exported}), encoding="utf-8")
    for name in sorted(exported - before.keys()):
        print(f"added {name}")
    for name in sorted(before.keys() - exported):
        print(f"removed {name}: needs another soversion in meson.build, unless it never was in a release")
    print(f"{arguments.list}: {len(exported)} functions")


if __name__ == "__main__":
    main()
