"""What leaves the shared library: the functions of the public headers, all of them and nothing else."""

import pathlib
import re
import subprocess
import sys

import tap

LIBRARY, INCLUDE = sys.argv[1], pathlib.Path(sys.argv[2])


def exported():
    # The dynamic symbol table (nm(1)): "ADDRESS T name" for each function that others can link to.
    lines = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True, capture_output=True, text=True,
                           timeout=60).stdout.splitlines()
    return {line.split()[-1].partition("@")[0] for line in lines if line.strip()}


def declared():
    names = set()
    for header in sorted(INCLUDE.glob("*.h")):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(encoding="utf-8"), flags=re.S)
        names.update(re.findall(r"JD_API\b[^;(]*?\b(jd_\w+)\s*\(", text))
    return names


@tap.test
def nothing_is_exported_but_what_the_headers_declare():
    # A sanitized build brings the sanitizer's own.
    strangers = {name for name in exported() - declared() if not re.match(r"__?(a|t|ub)san|__odr_asan|_?_sanitizer", name)}
    assert not strangers, sorted(strangers)


@tap.test
def everything_the_headers_declare_is_exported():
    assert len(declared()) > 80, "the headers were not understood"
    missing = declared() - exported()
    assert not missing, sorted(missing)


@tap.test
def the_library_stays_when_it_is_closed():
    # Its resolver's threads end by themselves, and nobody waits for them (readelf(1): DF_1_NODELETE).
    flags = subprocess.run(["readelf", "-d", LIBRARY], check=True, capture_output=True, text=True, timeout=60).stdout
    assert "NODELETE" in flags, flags


if __name__ == "__main__":
    tap.main()
