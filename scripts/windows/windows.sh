#!/usr/bin/env bash
# Builds for Windows with mingw-w64 and runs the tests with Wine: ./dev windows, which installs the packages. The last line is the
# number of passed and failed tests.
#
#   build/windows-check   Check for Windows, built once from the source package of the distribution
#   build/windows         the build
#   build/wine            Wine's directory (WINEPREFIX), made once
#   windows.sh            build, then test
#   windows.sh --package  build, then make build/jinduo-windows.zip, and build and run the program of its readme with it
#   windows.sh --native   on Windows itself, in a shell of MSYS2: build with its compiler and its Check, then test without Wine
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

root=$PWD
check=$root/build/windows-check
build=$root/build/windows
cross=scripts/windows/mingw64.ini
jobs=${JOBS:-$(nproc)}

export WINEPREFIX=$root/build/wine WINEARCH=win64 WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml='

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Runs a command and prints its output only if it fails.
quietly() {
    "$@" >"$log" 2>&1 </dev/null && return
    tail -n 50 "$log" >&2
    echo "windows: failed: $*" >&2
    return 1
}

# ---- Check ----

# Fetches the source package with lists of its own: the system's need not name source packages. apt verifies it.
fetch_check() {
    local work=$1 options
    mkdir -p "$work/lists/partial"
    # shellcheck disable=SC2016
    apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        sort -u >"$work/sources.list"
    options=(-q -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$work/lists"
        -o "Dir::Cache=$work" -o Debug::NoLocking=1)
    quietly apt-get "${options[@]}" update
    (cd "$work" && quietly apt-get "${options[@]}" source --download-only check)
    mkdir "$work/source"
    tar -xf "$work"/check_*.orig.tar.gz -C "$work/source" --strip-components=1
}

build_check() {
    local work=$check.work
    echo "windows: building Check for Windows"
    rm -rf "$work" "$check"
    fetch_check "$work"
    quietly cmake -S "$work/source" -B "$work/build" -DCMAKE_SYSTEM_NAME=Windows \
        -DCMAKE_C_COMPILER=x86_64-w64-mingw32-gcc-posix -DCMAKE_FIND_ROOT_PATH=/usr/x86_64-w64-mingw32 \
        -DCMAKE_FIND_ROOT_PATH_MODE_PROGRAM=NEVER -DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY \
        -DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY -DCHECK_ENABLE_SUBUNIT=OFF -DCHECK_ENABLE_TESTS=OFF \
        -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$work/installed"
    quietly cmake --build "$work/build" --parallel "$jobs" --target install
    # Programs are linked with the archive only.
    rm -f "$work"/installed/lib/*.dll.a
    mv "$work/installed" "$check"
    sed -i "s|^prefix=.*|prefix=$check|" "$check/lib/pkgconfig/check.pc"
    rm -rf "$work"
}

# ---- the build ----

build_all() {
    local tests=$1
    echo "windows: building"
    if [[ ! -f $build/build.ninja || $(cat "$build/dev-options" 2>/dev/null) != "$tests" ]]; then
        rm -rf "$build"
        quietly meson setup "$build" --cross-file "$cross" --prefix=/usr/local --buildtype=release -Dwerror=true -Dtests="$tests" \
            -Ddocs=disabled -Dpkg_config_path="$check/lib/pkgconfig"
        echo "$tests" >"$build/dev-options"
    fi
    quietly ninja --quiet -k 0 -C "$build" -j "$jobs"
}

# ---- the tests ----

# Prints a table of the suites, failures, and the number of tests. Skipped tests (tests/windows/suites.txt) are no failures here,
# also where CI is set.
run_tests() {
    local passed failed tally=$build/tally
    rm -f "$tally" "$build/unstable.txt"
    env -u CI PYTHONDONTWRITEBYTECODE=1 python3 scripts/run_tests.py --label windows --tally "$tally" \
        --unstable "$build/unstable.txt" --jobs $((2 * jobs)) -- "$build" '*' </dev/null
    read -r passed failed _ <"$tally"
    echo "$passed passed, $failed failed"
    ((failed == 0 && passed > 0))
}

# While the server process runs, a program starts in a fraction of the time. One that wineboot has started ends by itself, also while
# tests begin to use it, which then hang: it is awaited (-w), and one that stays (-p) takes its place. The first program starts
# Wine's services; another one that starts meanwhile may hang. -k ends the server of this directory only.
make_wine() {
    if [[ ! -d $WINEPREFIX/drive_c ]]; then
        quietly /usr/lib/wine/wine64 wineboot --init
        /usr/lib/wine/wineserver64 -w
    fi
    /usr/lib/wine/wineserver64 -p 2>/dev/null || true # one is running already
    trap 'rm -f "$log"; end_wine' EXIT
    quietly timeout 60 /usr/lib/wine/wine64 cmd /c exit
}

end_wine() {
    /usr/lib/wine/wineserver64 -k || true # it has ended already
}

test_with_wine() {
    echo "windows: testing with Wine"
    make_wine
    run_tests
}

# ---- the package ----

make_package() {
    local stage=$root/build/windows-package
    rm -rf "$stage" "$root/build/jinduo-windows.zip"
    DESTDIR=$stage quietly meson install -C "$build" --no-rebuild
    mv "$stage"/usr/local "$stage/jinduo"
    cp scripts/windows/README.txt "$stage/jinduo/"
    # Wherever it is unpacked; and what the documentation refers to.
    # shellcheck disable=SC2016
    sed -i 's|^prefix=.*|prefix=${pcfiledir}/../..|' "$stage/jinduo/lib/pkgconfig/jinduo.pc"
    cp -r examples CONTRIBUTING.md SECURITY.md "$stage/jinduo/share/doc/jinduo/"
    cp -r docs/notes "$stage/jinduo/share/doc/jinduo/docs/"
    find "$stage/jinduo" \( -name '*.exe' -o -name '*.dll' \) -exec x86_64-w64-mingw32-strip {} +
    python3 -c 'import shutil, sys; shutil.make_archive(sys.argv[1], "zip", sys.argv[2], "jinduo")' \
        "$root/build/jinduo-windows" "$stage"
    echo "build/jinduo-windows.zip"
}

# The program of the readme, built with what is in the zip only, in each way that it names, must run and name its engine.
check_package() {
    local work=$root/build/windows-package-check folder way output
    folder=$work/jinduo
    rm -rf "$work"
    mkdir -p "$work"
    python3 -m zipfile -e "$root/build/jinduo-windows.zip" "$work"
    sed -n '/^  #include/,/^  }/s/^  //p' "$folder/README.txt" >"$folder/program.c"
    make_wine
    while read -r way; do
        rm -f "$folder/program.exe"
        (cd "$folder" && quietly bash -c "$way")
        output=$(cd "$folder" && WINEPATH=bin timeout 60 /usr/lib/wine/wine64 program.exe) || output="failed: $output"
        [[ $output == "jinduo "*" iocp"* ]] || { echo "windows: $way: '$output'" >&2 && return 1; }
    done < <(sed -n 's/^  \(x86_64-w64-mingw32-gcc .*\)/\1/p' "$folder/README.txt")
    [[ -n ${output-} ]]
    output=$(timeout 60 /usr/lib/wine/wine64 "$folder/bin/jd-echo.exe" --help </dev/null)
    [[ $output == Usage:* ]]
    output=$(PKG_CONFIG_PATH=$folder/lib/pkgconfig pkg-config --cflags jinduo)
    [[ $output == *$folder/lib/pkgconfig/../../include* ]] || { echo "windows: jinduo.pc: '$output'" >&2 && return 1; }
    rm -rf "$work"
    echo "the program of its readme has been built and run: ok"
}

# On Windows itself: the compiler of MSYS2's environment.
build_native() {
    rm -rf "$build"
    quietly meson setup "$build" --buildtype=release -Dwerror=true -Dtests=enabled -Ddocs=disabled -Dhttp=disabled
    quietly ninja --quiet -k 0 -C "$build" -j "$jobs"
}

if [[ ${1-} == --native ]]; then
    build_native
    run_tests
    exit
fi
[[ -f $check/lib/libcheck.a ]] || build_check
build_all enabled
case ${1-} in
--package)
    make_package
    check_package
    ;;
*) test_with_wine ;;
esac
