"""What leaves the libraries: the functions of the public headers, all of them and nothing else; and the list of them,
symbols.txt, which a reviewer sees change.

Arguments: the shared library, the static one, the directory of the public headers, the list.
"""

import pathlib
import subprocess
import sys

import symbols
import tap

SHARED, STATIC, INCLUDE, LIST = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4])


def exported():
    return symbols.defined_in(SHARED, "--dynamic")


@tap.test
def nothing_is_exported_but_what_the_headers_declare():
    strangers = exported() - symbols.declared_in(INCLUDE)
    assert not strangers, sorted(strangers)


@tap.test
def everything_the_headers_declare_is_exported():
    assert len(symbols.declared_in(INCLUDE)) > 80, "the headers were not understood"
    missing = symbols.declared_in(INCLUDE) - exported()
    assert not missing, sorted(missing)


@tap.test
def the_static_library_defines_the_same_names_and_no_other():
    assert symbols.defined_in(STATIC) == exported(), sorted(symbols.defined_in(STATIC) ^ exported())


@tap.test
def every_exported_function_is_in_the_list():
    added = exported() - symbols.listed_in(LIST).keys()
    assert not added, f"{sorted(added)}: new in the library. If they are meant to be public: ./dev symbols"


@tap.test
def every_function_in_the_list_is_exported():
    removed = symbols.listed_in(LIST).keys() - exported()
    assert not removed, (f"{sorted(removed)}: gone from the library, so programs linked to it no longer start. Bring them "
                         "back; or raise soversion in meson.build, tell in CHANGELOG.md, and: ./dev symbols")


@tap.test
def the_list_is_as_the_update_would_write_it():
    assert LIST.read_text(encoding="utf-8") == symbols.text_of(symbols.listed_in(LIST)), "not sorted: ./dev symbols"


@tap.test
def the_shared_library_stays_when_it_is_closed():
    # Its resolver's threads end by themselves, and nobody waits for them (readelf(1): DF_1_NODELETE).
    flags = subprocess.run(["readelf", "-d", SHARED], check=True, capture_output=True, text=True, timeout=60).stdout
    assert "NODELETE" in flags, flags


if __name__ == "__main__":
    tap.main()
