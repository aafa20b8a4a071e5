"""The library as a user uses it: install it, then build programs with pkg-config, statically, as a Meson subproject and in
C++, and open it at run time. All files are in a temporary directory that is removed at the end.

Arguments: the source directory, the C compiler.
"""

import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import tap

SOURCE, CC = pathlib.Path(sys.argv[1]), sys.argv[2:]
PROGRAMS = SOURCE / "tests" / "install"
COMMAND_SECONDS = 110
WARNINGS = ("-Wall", "-Wextra", "-Werror")
COMPILERS = {"gcc": "g++", "clang": "clang++"}
C_DIALECTS = (("-std=gnu17",), ("-std=c11", "-pedantic-errors"))
CPP_DIALECTS = (("-std=c++11", "-pedantic-errors"), ("-std=c++17", "-pedantic-errors"))
LIBDIR = "lib"
OUTPUT_LINES = 40  # printed of a failed command, at most
CAME_BACK = r"came back, jinduo \S+, memory malloc, 0 bytes left\n"

scratch = pathlib.Path(tempfile.mkdtemp(prefix="jinduo-install-"))
PREFIX, STAGE = scratch / "usr", scratch / "stage"

# The engine io_uring is built in if liburing is found (meson_options.txt); then the library needs liburing.
HAS_LIBURING = subprocess.run(["pkg-config", "--atleast-version=2.3", "liburing"], check=False).returncode == 0
LIBURING_FLAGS = ["-luring"] if HAS_LIBURING else []


def run(*command, **environment):
    """Runs a command without the inherited variables that affect building and installing. Returns its standard output."""
    inherited = {name: value for name, value in os.environ.items()
                 if name not in ("DESTDIR", "JINDUO_ENGINE", "LD_LIBRARY_PATH", "LD_PRELOAD", "CFLAGS", "LDFLAGS")
                 and not name.startswith(("PKG_CONFIG", "MESON"))}
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace", check=False, timeout=COMMAND_SECONDS,
                          env={**inherited, **environment})
    if done.returncode != 0:
        output = "\n".join((done.stdout + done.stderr).splitlines()[-OUTPUT_LINES:])
        raise AssertionError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{output}")
    return done.stdout


@functools.cache
def build():
    """Builds in a build directory of this test; returns it."""
    directory = scratch / "build"
    run("meson", "setup", directory, SOURCE, "--buildtype=release", f"--libdir={LIBDIR}", f"--prefix={PREFIX}",
        "-Dtests=disabled", "-Dbenchmarks=disabled", "-Ddocs=disabled", "-Djemalloc=disabled", CC=" ".join(CC))
    run("ninja", "-C", directory)
    return directory


@functools.cache
def prefix():
    run("meson", "install", "-C", build(), "--no-rebuild")
    return PREFIX


@functools.cache
def staged():
    """Installs with DESTDIR, as packages are made. Returns the prefix below it."""
    run("meson", "install", "-C", build(), "--no-rebuild", DESTDIR=str(STAGE))
    return STAGE / PREFIX.relative_to("/")


def version():
    return re.search(r"version: '([^']+)'", (SOURCE / "meson.build").read_text(encoding="utf-8"))[1]


SONAME = "libjinduo.so." + version().rpartition(".")[0]   # until 1.0 each minor version may change the API


def files_below(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def flags(*options, **environment):
    environment = environment or {"PKG_CONFIG_PATH": str(prefix() / LIBDIR / "pkgconfig")}
    return run("pkg-config", *options, "jinduo", **environment).split()


def compile_program(name, *words, compiler=None):
    program = scratch / name
    run(*(compiler or CC), *WARNINGS, "-D_GNU_SOURCE", "-o", program, *words)
    return program


def assert_comes_back(program, **environment):
    printed = run(program, **environment)
    assert re.fullmatch(CAME_BACK, printed), printed


def available(programs):
    return [program for program in programs if shutil.which(program)]


@tap.test
def exactly_the_expected_files_are_installed():
    headers = {f"include/jinduo/{path.name}" for path in (SOURCE / "include" / "jinduo").glob("*.h")}
    expected = headers | {
        "bin/jd-async-file", "bin/jd-chat", "bin/jd-echo", "bin/jd-frame-echo", "bin/jd-http", "bin/jd-info", "bin/jd-io-models",
        "bin/jd-redis", "bin/jd-tally",
        "lib/libjinduo.a", "lib/libjinduo.so", f"lib/{SONAME}",
        f"lib/libjinduo.so.{version()}", "lib/pkgconfig/jinduo.pc"}
    documents = {f"docs/{path.relative_to(SOURCE / 'docs')}" for form in ("*.md", "benchmarks/*.svg", "benchmarks/*.html")
                 for path in (SOURCE / "docs").glob(form)}
    expected |= {f"share/doc/jinduo/{name}" for name in {"LICENSE", "README.md", "README.zh-CN.md", "CHANGELOG.md"} | documents}
    assert files_below(prefix()) == expected, sorted(files_below(prefix()) ^ expected)


@tap.test
def staging_installs_the_same_files_and_none_contains_the_stage_path():
    assert files_below(staged()) == files_below(prefix()), sorted(files_below(staged()) ^ files_below(prefix()))
    revealing = [name for name in files_below(staged()) if str(STAGE).encode() in (staged() / name).read_bytes()]
    assert not revealing, revealing


@tap.test
def a_program_is_built_against_the_shared_library_by_pkg_config():
    program = compile_program("shared", PROGRAMS / "round_trip.c", *flags("--cflags", "--libs"))
    assert SONAME in run("readelf", "--dynamic", program)
    assert_comes_back(program, LD_LIBRARY_PATH=str(prefix() / LIBDIR))


@tap.test
def a_program_is_built_against_the_staged_files():
    places = [str(staged() / LIBDIR / "pkgconfig")]
    if HAS_LIBURING:
        places.append(run("pkg-config", "--variable=pcfiledir", "liburing").strip())
    found = flags("--cflags", "--libs", PKG_CONFIG_SYSROOT_DIR=str(STAGE), PKG_CONFIG_LIBDIR=":".join(places))
    assert f"-I{staged() / 'include'}" in found and f"-L{staged() / LIBDIR}" in found, found
    assert_comes_back(compile_program("staged", PROGRAMS / "round_trip.c", *found), LD_LIBRARY_PATH=str(staged() / LIBDIR))


@tap.test
def a_program_is_built_statically_by_pkg_config():
    found = flags("--cflags", "--libs", "--static")
    assert "-pthread" in found and ("-luring" in found) == HAS_LIBURING and "-ljemalloc" not in found, found
    program = compile_program("static", "-static", PROGRAMS / "round_trip.c", *found)
    assert_comes_back(program)


@tap.test
def a_program_may_define_names_that_the_static_library_uses_internally():
    inside = run("nm", "--defined-only", prefix() / LIBDIR / "libjinduo.a").split()
    sources = (PROGRAMS / "round_trip.c", PROGRAMS / "own_names.c")
    own = run("nm", "--extern-only", "--defined-only", "--format=posix", compile_object(sources[1])).splitlines()
    strange = [line.split()[0] for line in own if line.split()[0] not in inside]
    assert len(own) > 4 and not strange, f"the library no longer uses these names: {strange}"
    assert_comes_back(compile_program("own_names", *sources, *flags("--cflags"), prefix() / LIBDIR / "libjinduo.a",
                                      *LIBURING_FLAGS))


def compile_object(source):
    run(*CC, "-c", "-o", scratch / "own_names.o", source)
    return scratch / "own_names.o"


def build_with(compiler, *options):
    """Sets up a quick build of the library with another compiler. Returns the build directory."""
    directory = scratch / f"build-{compiler}"
    run("meson", "setup", directory, SOURCE, "--buildtype=plain", "-Dbenchmarks=disabled", "-Ddocs=disabled",
        "-Djemalloc=disabled", *options, CC=compiler)
    return directory


def assert_no_internal_names(library):
    names = run("nm", "--extern-only", "--defined-only", "--format=posix", library).splitlines()[1:]
    strangers = [line for line in names if not line.startswith("jd_")]
    assert len(names) > 80 and not strangers, strangers


@tap.test_for_each(available(COMPILERS))
def the_static_library_built_with_this_compiler_exports_no_internal_name(compiler):
    if [compiler] == CC:
        library, linked = prefix() / LIBDIR / "libjinduo.a", LIBURING_FLAGS
    else:
        directory = build_with(compiler, "-Dtests=disabled", "-Dexamples=disabled")
        run("ninja", "-C", directory, "libjinduo.a")
        library, linked = directory / "libjinduo.a", LIBURING_FLAGS
    assert_no_internal_names(library)
    assert_comes_back(compile_program(f"own_names-{compiler}", PROGRAMS / "round_trip.c", PROGRAMS / "own_names.c",
                                      f"-I{SOURCE / 'include'}", library, *linked, compiler=[compiler]))


@functools.cache
def build_without_io_uring():
    """Builds as on a distribution without liburing."""
    directory = scratch / "build-without"
    run("meson", "setup", directory, SOURCE, "--buildtype=plain", "-Dio_uring=disabled", "-Dtests=enabled",
        "-Dbenchmarks=disabled", "-Ddocs=disabled", "-Djemalloc=disabled", CC=" ".join(CC))
    run("ninja", "-C", directory, f"libjinduo.so.{version()}", "libjinduo.a", "examples/jd-info",
        "tests/behaviour/messages_behaviour", "tests/unit/event_loop_creation_test")
    return directory


@tap.test
def without_io_uring_the_library_needs_no_liburing_and_has_the_same_functions():
    directory = build_without_io_uring()
    assert needed_by(directory / "libjinduo.so") == [], needed_by(directory / "libjinduo.so")
    assert_no_internal_names(directory / "libjinduo.a")
    assert exported_by(directory / "libjinduo.so") == exported_by(prefix() / LIBDIR / "libjinduo.so")
    assert "liburing" not in (directory / "meson-private" / "jinduo.pc").read_text(encoding="utf-8")


@tap.test
def without_io_uring_the_tests_pass_on_the_other_engines():
    directory = build_without_io_uring()
    suites = ["messages reactor", "messages simulated", "event_loop_creation"]
    known = run("meson", "test", "-C", directory, "--list")
    assert "messages io_uring" not in known, known
    run("meson", "test", "-C", directory, "--no-rebuild", *suites)


@tap.test
def without_io_uring_jd_info_reports_it_and_proactor_selects_simulated():
    printed = run(build_without_io_uring() / "examples" / "jd-info")
    assert re.search(r"^  io_uring +not available: not built in$", printed, re.MULTILINE), printed
    assert re.search(r"^  proactor +available: selects simulated$", printed, re.MULTILINE), printed


def make_user_project(name, place):
    project = scratch / name
    shutil.copytree(PROGRAMS / "subproject_user", project)
    shutil.copy(PROGRAMS / "round_trip.c", project)
    (project / "subprojects").mkdir()
    place(project / "subprojects" / "jinduo")
    return project


def copy_tree(destination):
    shutil.copytree(SOURCE, destination, ignore=shutil.ignore_patterns(".git", "build*"))


def link_tree(destination):
    destination.symlink_to(SOURCE)


@tap.test_for_each({"a copy": copy_tree, "a link": link_tree})
def another_meson_project_uses_it_as_a_subproject(place):
    project = make_user_project(f"user-{place.__name__}", place)
    run("meson", "setup", project / "build", project, "--buildtype=plain", CC=" ".join(CC),
        PKG_CONFIG_LIBDIR="/nonexistent")
    run("ninja", "-C", project / "build")
    assert_comes_back(project / "build" / "user")
    programs = [path.name for path in (project / "build").rglob("*") if path.name.startswith(("jd-", "raw-"))]
    assert not programs, f"the subproject built programs: {programs}"


@tap.test
def another_meson_project_finds_the_installed_library():
    project = make_user_project("user-installed", lambda path: None)
    run("meson", "setup", project / "build", project, "--wrap-mode=nofallback", CC=" ".join(CC),
        PKG_CONFIG_PATH=str(prefix() / LIBDIR / "pkgconfig"))
    run("ninja", "-C", project / "build")
    assert_comes_back(project / "build" / "user")


def sources_with_one_header_each(suffix):
    directory = scratch / f"headers-{suffix}"
    directory.mkdir(exist_ok=True)
    headers = sorted((prefix() / "include" / "jinduo").glob("*.h"))
    assert len(headers) > 10, headers
    for header in headers:
        # Twice, to check the include guard.
        line = f"#include <jinduo/{header.name}>\n"
        (directory / f"{header.stem}.{suffix}").write_text(2 * line + "int not_empty;\n", encoding="utf-8")
    return sorted(directory.glob(f"*.{suffix}"))


@tap.test_for_each({f"{compiler} {' '.join(dialect)}": (compiler, dialect)
                    for compiler in available(COMPILERS) for dialect in C_DIALECTS})
def every_header_compiles_alone_in_c(setup):
    compiler, dialect = setup
    run(compiler, "-fsyntax-only", *dialect, *WARNINGS, "-Wshadow", "-Wstrict-prototypes", "-Wundef",
        *flags("--cflags"), *sources_with_one_header_each("c"))


@tap.test_for_each({f"{compiler} {' '.join(dialect)}": (compiler, dialect)
                    for compiler in available(COMPILERS.values()) for dialect in CPP_DIALECTS})
def every_header_compiles_alone_in_cpp(setup):
    compiler, dialect = setup
    run(compiler, "-fsyntax-only", *dialect, *WARNINGS, "-Wshadow", "-Wundef", *flags("--cflags"),
        *sources_with_one_header_each("cc"))


@tap.test_for_each({f"{compiler} {' '.join(dialect)}": (compiler, dialect)
                    for compiler in available(COMPILERS.values()) for dialect in CPP_DIALECTS})
def a_cpp_program_is_built_and_runs(setup):
    compiler, dialect = setup
    program = compile_program(f"{compiler}{dialect[0]}", *dialect, "-x", "c++", PROGRAMS / "round_trip.c",
                              *flags("--cflags", "--libs"), compiler=[compiler])
    assert_comes_back(program, LD_LIBRARY_PATH=str(prefix() / LIBDIR))


def needed_by(library):
    """The libraries that a library needs besides the C library. libpthread was separate before glibc 2.34; on some machines
    thread-local variables need the dynamic linker."""
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "--dynamic", library))
    assert needed, "the library needs no other library"
    return [name for name in needed if not re.match(r"libc\.|libpthread\.|ld-linux", name)]


def exported_by(library):
    names = run("nm", "--dynamic", "--extern-only", "--defined-only", "--format=posix", library).splitlines()
    return {line.split()[0] for line in names}


@tap.test
def the_shared_library_needs_only_the_c_library_and_liburing():
    library = prefix() / LIBDIR / "libjinduo.so"
    needed = [name.partition(".so")[0] for name in needed_by(library)]
    assert needed == (["liburing"] if HAS_LIBURING else []), needed
    assert f"[{SONAME}]" in re.search(r"\(SONAME\).*", run("readelf", "--dynamic", library))[0]


@tap.test
def the_shared_library_may_be_opened_and_closed_at_run_time():
    program = compile_program("open_library", PROGRAMS / "open_library.c", *flags("--cflags"), "-ldl")
    assert "libjinduo" not in run("readelf", "--dynamic", program)
    assert run(program, prefix() / LIBDIR / "libjinduo.so").startswith("opened ")


if __name__ == "__main__":
    try:
        tap.main()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
