#!/usr/bin/env python3
"""scripts/layers.py reports each kind of use that the table of docs/architecture.md forbids.

Each test except the last writes a small tree with a table of its own and one change, compiles it and checks the script's
output. The last test checks the script's output for jinduo itself.

Arguments: the source directory, the build directory, the C compiler.
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import tap

ROOT, BUILD = map(pathlib.Path, sys.argv[1:3])
CC = sys.argv[3:]
SCRIPT = ROOT / "scripts" / "layers.py"

TABLE = """\
# A small house

## Who may use whom

| layer | what is in it | may use | implemented in | system headers |
|---|---|---|---|---|
| `include/jinduo/` | public | nothing else | every layer | C11 |
| `base/` | bricks | `base/platform/` | | C11 |
| `base/platform/` | the system | nothing else | `base/posix/` | all |
| `base/posix/` | Linux | `base/`, `base/platform/` | | all |
| `net/engine/` | the seam | `base/` | `net/loop/` | C11 |
| `net/loop/` | loop | `base/`, `base/platform/`, `net/engine/` | | C11, `sys/uio.h` |
| `net/pool/` | pool | `net/loop/queue.h`, `jd_loop_now` | | C11 |
| `net/server/` | server | `base/`, `net/loop/` | | C11 |
| `proactor/*.h` | seam | nothing else | | C11 |
| `proactor/ring/` | backend | `proactor/*.h` | | all |
| `examples/` | programs | `include/jinduo/` | | all |

## Another section

| `not/a/row/` | | | | |
"""

FILES = {
    "docs/architecture.md": TABLE,
    "include/jinduo/house.h": """\
        #include <stdint.h>
        #define JD_API __attribute__((visibility("default")))
        JD_API int64_t jd_loop_now(void);
        JD_API int jd_loop_run(void);
        JD_API int jd_server_start(int backlog);
        JD_API int jd_pool_submit(void);
        """,
    "base/brick.h": """\
        #pragma once
        int brick_lay(int count);
        extern int brick_count;
        static inline int brick_twice(int count) { return brick_lay(count) * 2; }
        """,
    "base/brick.c": """\
        #include "base/brick.h"
        #include "base/platform/clock.h"
        #include <string.h>
        int brick_count;
        static int local(void) { return (int)clock_read(); }
        int brick_lay(int count) { return count + local(); }
        """,
    "base/platform/clock.h": "#include <time.h>\n#include <pthread.h>\nlong clock_read(void);\n",
    "base/posix/clock.c": '#include "base/platform/clock.h"\n#include <unistd.h>\nlong clock_read(void) { return 1; }\n',
    "net/engine/engine.h": "/* Called by engines. */\nvoid stream_received(int length);\nstruct stream_ops { int (*start)(int); };\n",
    "net/engine/stream.c": """\
        #include "net/engine/engine.h"
        void stream_start(void);
        void stream_start(void) { stream_received(1); }
        """,
    "net/loop/queue.h": "int queue_push(int task);\n",
    "net/loop/loop.h": "#include <jinduo/house.h>\nint loop_wake(void);\n",
    "net/loop/loop.c": """\
        #include "net/loop/loop.h"
        #include "net/loop/queue.h"
        #include "net/engine/engine.h"
        #include "base/brick.h"
        #include <sys/uio.h>
        int64_t jd_loop_now(void) { return 1; }
        int jd_loop_run(void) { return brick_twice(2) + brick_count; }
        int queue_push(int task) { return task; }
        int loop_wake(void) { return 1; }
        void stream_received(int length) { queue_push(length); }
        """,
    "net/pool/pool.c": """\
        #include "net/loop/queue.h"
        #include <jinduo/house.h>
        int jd_pool_submit(void) { return queue_push((int)jd_loop_now()); }
        """,
    "net/server/server.h": "int server_accept(void);\n",
    "net/server/server.c": """\
        #include "net/server/server.h"
        #include "net/loop/loop.h"
        int server_accept(void) { return loop_wake(); }
        int jd_server_start(int backlog) { return jd_loop_run() + backlog; }
        """,
    "proactor/backend.h": "struct backend { int (*submit)(void); };\n",
    "proactor/ring/ring.c": '#include "proactor/backend.h"\n#include <sys/epoll.h>\n',
    "examples/echo.h": "int echo_parse(void);\n",
    "examples/echo.c": """\
        #include "examples/echo.h"
        #include <jinduo/house.h>
        #include <unistd.h>
        int echo_parse(void) { return jd_server_start(1) + jd_loop_run(); }
        """,
}


def put(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(re.sub(r"^ {8}", "", text, flags=re.M), encoding="utf-8")


def compile_into(root, build):
    """Compiles all sources with one call; each object has the base name of its source."""
    build.mkdir()
    sources = sorted(root.rglob("*.c"))
    subprocess.run([*CC, "-std=gnu11", "-Wall", "-Werror", "-c", f"-I{root}", f"-I{root}/include", *sources], cwd=build, check=True,
                   timeout=60)
    # Paths relative to the build directory, as meson writes them.
    (build / "compile_commands.json").write_text(json.dumps([
        {"directory": str(build), "file": os.path.relpath(source, build), "output": f"{source.stem}.o", "command": ""}
        for source in sources]), encoding="utf-8")


@contextlib.contextmanager
def tree(changes=None, appended=None):
    """Yields the small tree, with files replaced or added (changes) and text appended to files (appended)."""
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory).resolve()
        put(root, {**FILES, **(changes or {})})
        for name, text in (appended or {}).items():
            with open(root / name, "a", encoding="utf-8") as file:
                file.write(text)
        yield root


def run(root, *arguments):
    return subprocess.run([sys.executable, SCRIPT, "--root", root, *arguments], capture_output=True, text=True, timeout=60,
                          check=False)


def errors_of(changes=None, appended=None, with_objects=True):
    """The script's errors for the changed tree; checks that the exit status matches."""
    with tree(changes, appended) as root:
        arguments = []
        if with_objects:
            compile_into(root, root / "build")
            arguments = [root / "build"]
        result = run(root, *arguments)
    assert result.stderr == "", result.stderr
    *errors, summary = result.stdout.splitlines()
    assert re.fullmatch(rf"layers: \d+ files.*, {len(errors)} errors?", summary), result.stdout
    assert result.returncode == (1 if errors else 0), result
    return errors


def expect(errors, *expected):
    """Checks that the errors are the expected ones, in any order; "…" matches any text."""
    assert len(errors) == len(expected), errors
    for text in expected:
        pattern = ".*".join(map(re.escape, text.split("…")))
        assert any(re.fullmatch(pattern, error) for error in errors), f"{text!r} is not in {errors}"


def without_row(name):
    lines = TABLE.splitlines(keepends=True)
    return {"docs/architecture.md": "".join(line for line in lines if not line.startswith(f"| `{name}`"))}


def with_table(old, new):
    assert TABLE.count(old) == 1, old
    return {"docs/architecture.md": TABLE.replace(old, new)}


# ---- allowed uses ----

@tap.test
def the_unchanged_tree_has_no_error():
    expect(errors_of())


@tap.test
def includes_are_checked_without_a_build_directory():
    expect(errors_of(with_objects=False))
    expect(errors_of(appended={"base/brick.c": '#include "net/loop/loop.h"\n'}, with_objects=False), "base/brick.c:7: includes …")


@tap.test
def text_in_comments_and_strings_is_neither_include_nor_declaration():
    expect(errors_of(appended={"base/brick.c": '/*\n#include <unistd.h>\n*/\n// #include "net/loop/loop.h"\n'
                                               'const char *brick_text(void);\n'
                                               'const char *brick_text(void) { return "#include <poll.h> /*"; }\n'}))


@tap.test
def explain_prints_what_a_file_may_use():
    with tree() as root:
        result = run(root, "--explain", "net/loop/new.c")
        assert result.returncode == 0, result
        for text in ("net/loop/new.c is in the layer net/loop/", "base/, base/platform/, net/engine/", "<sys/uio.h>"):
            assert text in result.stdout, result.stdout


# ---- includes ----

@tap.test
def an_include_of_a_higher_room_fails():
    expect(errors_of(appended={"net/loop/loop.c": '#include "net/server/server.h"\n'}),
           'net/loop/loop.c:11: includes "net/server/server.h"; the row net/loop/ (docs/architecture.md:12) allows base/, '
           "base/platform/, net/engine/")


@tap.test
def an_include_under_an_if_fails():
    expect(errors_of(appended={"net/loop/loop.c": '#if 0\n#  include "net/server/server.h"\n#endif\n'}),
           'net/loop/loop.c:12: includes "net/server/server.h"; …')


@tap.test
def a_folder_does_not_include_subfolders_with_rows_of_their_own():
    expect(errors_of(appended={"net/server/server.c": '#include "base/platform/clock.h"\n'}),
           'net/server/server.c:5: includes "base/platform/clock.h"; the row net/server/ … allows base/, net/loop/')


@tap.test
def a_row_that_names_one_header_of_a_room_does_not_allow_another():
    expect(errors_of(appended={"net/pool/pool.c": '#include "net/loop/loop.h"\n'}),
           'net/pool/pool.c:4: includes "net/loop/loop.h"; the row net/pool/ … allows net/loop/queue.h, jd_loop_now')


@tap.test
def a_glob_matches_the_files_of_one_folder():
    expect(errors_of(changes={"proactor/ring/other.h": "\n", "proactor/ring/ring.c": '#include "proactor/ring/other.h"\n'}))
    expect(errors_of(changes={"proactor/backend.h": '#include "proactor/ring/other.h"\n', "proactor/ring/other.h": "\n"}),
           'proactor/backend.h:1: includes "proactor/ring/other.h"; the row proactor/*.h …')


@tap.test
def an_include_of_a_missing_header_fails():
    expect(errors_of(appended={"net/loop/loop.c": '#include "loop.h"\n#include <jinduo/mouse.h>\n#include HEADER\n'},
                     with_objects=False),
           'net/loop/loop.c:11: includes "loop.h", which does not exist; …',
           "net/loop/loop.c:12: includes <jinduo/mouse.h>, which does not exist",
           "net/loop/loop.c:13: includes HEADER: …")


@tap.test
def a_POSIX_header_in_a_portable_room_fails():
    expect(errors_of(appended={"net/loop/loop.c": "#include <pthread.h>\n"}),
           "net/loop/loop.c:11: includes the system's <pthread.h>; the row net/loop/ (docs/architecture.md:12) allows C11 headers, "
           "<sys/uio.h>, <jinduo/…> only")
    expect(errors_of(appended={"include/jinduo/house.h": "#include <sys/uio.h>\n"}),
           "include/jinduo/house.h:7: includes the system's <sys/uio.h>; …")


@tap.test
def a_POSIX_function_in_a_portable_layer_fails():
    call = "extern int close(int file);\nint loop_close(void);\nint loop_close(void) { return close(3); }\n"
    expect(errors_of(appended={"net/loop/loop.c": call}),
           "net/loop/loop.c:11: calls close, which is no function of C11; the row net/loop/ (docs/architecture.md:12) allows those, "
           "and calls through base/platform/ only")
    expect(errors_of(appended={"base/posix/clock.c": call.replace("loop_", "clock_")}))


@tap.test
def a_POSIX_function_behind_a_platform_header_is_allowed():
    inline = "extern int close(int file);\nstatic inline int clock_close(void) { return close(3); }\n"
    expect(errors_of(appended={"base/platform/clock.h": inline,
                               "net/loop/loop.c": '#include "base/platform/clock.h"\n'
                               "int loop_close(void);\nint loop_close(void) { return clock_close(); }\n"}))


@tap.test
def a_macro_of_an_operating_system_is_allowed_only_where_systems_differ():
    code = "#ifdef _WIN32\n#endif\n/* __linux__ */\n"
    expect(errors_of(appended={"net/loop/loop.c": code}),
           "net/loop/loop.c:11: _WIN32: what differs between operating systems belongs in base/ or include/jinduo/platform.h")
    expect(errors_of(appended={"base/brick.c": code, "base/platform/clock.h": code}))
    expect(errors_of(changes={"include/jinduo/platform.h": code}))


# ---- symbols ----

@tap.test
def a_call_of_a_higher_room_fails_without_an_include():
    expect(errors_of(appended={"net/loop/loop.c": "int server_accept(void);\nint loop_accept(void);\n"
                                                  "int loop_accept(void) { return server_accept(); }\n"}),
           "net/loop/loop.c:11: uses server_accept, which net/server/server.h:1 declares; the row net/loop/ …")


@tap.test
def an_object_of_another_room_is_forbidden_as_a_function_is():
    expect(errors_of(changes={"net/server/server.h": "extern int server_count;\nint server_accept(void);\n"},
                     appended={"net/server/server.c": "int server_count;\n",
                               "net/loop/loop.c": "extern int server_count;\nint loop_count(void);\n"
                                                  "int loop_count(void) { return server_count; }\n"}),
           "net/loop/loop.c:11: uses server_count, which net/server/server.h:1 declares; the row net/loop/ …")


@tap.test
def a_public_function_of_a_higher_room_fails():
    expect(errors_of(appended={"net/loop/loop.c": "int loop_start(void);\nint loop_start(void) { return jd_server_start(1); }\n"}),
           "net/loop/loop.c:12: uses jd_server_start, a public function that net/server/server.c:4 defines; the row net/loop/ …")


@tap.test
def a_row_that_names_one_public_function_does_not_allow_another():
    expect(errors_of(appended={"net/pool/pool.c": "int pool_run(void);\nint pool_run(void) { return jd_loop_run(); }\n"}),
           "net/pool/pool.c:5: uses jd_loop_run, a public function that net/loop/loop.c:7 defines; the row net/pool/ …")


@tap.test
def a_call_in_an_inline_function_counts_for_its_includers():
    expect(errors_of(changes={"net/engine/engine.h": '#include "base/brick.h"\nvoid stream_received(int length);\n'
                                                     "static inline int stream_lay(void) { return brick_twice(1); }\n"},
                     appended={"net/pool/pool.c": '#include "net/engine/engine.h"\nint pool_lay(void);\n'
                                                  "int pool_lay(void) { return stream_lay(); }\n"}),
           'net/pool/pool.c:4: includes "net/engine/engine.h"; …',
           "net/pool/pool.c:4 (by base/brick.h:2): uses brick_lay, which base/brick.h:2 declares; the row net/pool/ …")


@tap.test
def a_symbol_that_no_header_declares_fails():
    expect(errors_of(appended={"base/posix/clock.c": "int clock_hidden(void);\nint clock_hidden(void) { return 1; }\n",
                               "base/brick.c": "extern int clock_hidden(void);\nint brick_hidden(void);\n"
                                               "int brick_hidden(void) { return clock_hidden(); }\n"}),
           "base/brick.c:7: uses clock_hidden, which no header declares; base/posix/clock.c:4 defines it")


@tap.test
def a_room_that_declares_a_function_of_a_higher_room_itself_fails():
    expect(errors_of(appended={"net/loop/loop.h": "void loop_settle_servers(void);\n",
                               "net/loop/loop.c": "void loop_turn(void);\nvoid loop_turn(void) { loop_settle_servers(); }\n",
                               "net/server/server.c": "void loop_settle_servers(void) {}\n"}),
           "net/loop/loop.h:3: declares loop_settle_servers, which net/server/server.c:5 defines; the row net/loop/ "
           "(docs/architecture.md:12) allows definitions in net/loop/ only")


@tap.test
def a_source_that_is_not_compiled_is_named():
    with tree() as root:
        compile_into(root, root / "build")
        put(root, {"net/loop/extra.c": "\n"})
        result = run(root, root / "build")
        assert result.returncode == 0 and "only includes are checked: net/loop/extra.c\n" in result.stdout, result


# ---- the table ----

@tap.test
def a_file_without_a_row_fails():
    expect(errors_of(changes={**without_row("proactor/ring/")}),
           "proactor/ring/ring.c:1: no row of docs/architecture.md covers this file")


@tap.test
def a_row_without_a_file_fails():
    expect(errors_of(changes=with_table("| `proactor/ring/` |", "| `proactor/ring/`, `proactor/port/` |")),
           "docs/architecture.md:16: the row proactor/port/ covers no file")


@tap.test
def a_token_of_the_table_that_names_nothing_fails():
    expect(errors_of(changes=with_table("`net/loop/queue.h`, `jd_loop_now`",
                                        "`net/loop/queue.h`, `jd_loop_now`, `net/loops/`, `net/loop/no.h`, `jd_loop_then`")),
           *(f"docs/architecture.md:13: {name}, in the row net/pool/, is no layer, file or symbol"
             for name in ("net/loops/", "net/loop/no.h", "jd_loop_then")))


@tap.test
def a_row_of_the_wrong_form_fails():
    expect(errors_of(changes=with_table("| bricks | `base/platform/` | | C11 |", "| bricks | `base/platform/` | | some |")),
           "docs/architecture.md:8: a row must have five cells, …")


@tap.test
def a_page_without_the_table_fails():
    expect(errors_of(changes={"docs/architecture.md": TABLE.replace("## Who may use whom", "## Who may not")}),
           "docs/architecture.md:1: the table below … is missing")


@tap.test
def a_build_directory_whose_objects_are_missing_fails():
    with tree() as root:
        compile_into(root, root / "build")
        (root / "build" / "loop.o").unlink()
        result = run(root, root / "build")
        assert result.returncode == 1 and "loop.o has not been built" in result.stderr, result


# ---- jinduo itself ----

@tap.test
def the_tree_and_its_objects_follow_the_table():
    result = run(ROOT, BUILD)
    assert result.returncode == 0, result.stdout + result.stderr
    # Checks that the script has read the objects: each build has those of base/, net/ and the Proactor.
    assert int(re.search(r" files, (\d+) objects' sources, 0 errors$", result.stdout.strip())[1]) > 50, result.stdout


tap.main()
