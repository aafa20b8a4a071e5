#!/usr/bin/env bash
# Builds for Windows with mingw-w64 and runs the tests with Wine: ./dev windows, which installs the packages.
#
#   build/windows-check   Check for Windows, built once from the source package of the distribution
#   build/windows         the build
#   build/wine            Wine's directory (WINEPREFIX), made once
#   windows.sh            build, then test
#   windows.sh --package  build, then make build/jinduo-windows.zip
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

# While the server process runs, a program starts in a fraction of the time. -k ends the server of this directory only.
test_all() {
    local status=0
    echo "windows: testing with Wine"
    [[ -d $WINEPREFIX/drive_c ]] || quietly /usr/lib/wine/wine64 wineboot --init
    quietly /usr/lib/wine/wineserver64 -p
    meson test -C "$build" --no-rebuild --num-processes $((2 * jobs)) >"$log" 2>&1 </dev/null || status=$?
    /usr/lib/wine/wineserver64 -k || true
    if ((status != 0)); then
        grep -vE '^[ 0-9]+/[0-9]+ .* OK ' "$log" >&2 || true
        grep -aE '^(not ok|# )' "$build/meson-logs/testlog.txt" | grep -aB 3 '^not ok' >&2 || true
    fi
    awk '/^(Ok|Expected Fail|Fail|Timeout):/ { count[$1] = $NF }
        END { printf "windows: %d suites passed, %d failed\n", count["Ok:"], count["Fail:"] + count["Timeout:"] }' "$log"
    return "$status"
}

# ---- the package ----

make_package() {
    local stage=$root/build/windows-package
    rm -rf "$stage" "$root/build/jinduo-windows.zip"
    DESTDIR=$stage quietly meson install -C "$build" --no-rebuild
    mv "$stage"/usr/local "$stage/jinduo"
    cp scripts/windows/README.txt "$stage/jinduo/"
    find "$stage/jinduo" \( -name '*.exe' -o -name '*.dll' \) -exec x86_64-w64-mingw32-strip {} +
    python3 -c 'import shutil, sys; shutil.make_archive(sys.argv[1], "zip", sys.argv[2], "jinduo")' \
        "$root/build/jinduo-windows" "$stage"
    echo "build/jinduo-windows.zip"
}

[[ -f $check/lib/libcheck.a ]] || build_check
build_all enabled
case ${1-} in
--package) make_package ;;
*) test_all ;;
esac
