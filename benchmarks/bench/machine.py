"""The machine table: what the figures depend on. And whether the machine is quiet."""

import hashlib
import json
import os
import platform
import resource
import subprocess
import time

VULNERABILITIES = "/sys/devices/system/cpu/vulnerabilities"
QUIET_BUSY_PERCENT = 10    # of all cores, by other processes: above it the machine is not quiet
LOOK_SECONDS = 0.5


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def said_by(*command):
    """The first line that a command prints, or None."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0].strip() if lines and done.returncode == 0 else None


def cpu_model():
    lines = (read("/proc/cpuinfo") or "").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def mitigations():
    if not os.path.isdir(VULNERABILITIES):
        return None
    states = {name: read(os.path.join(VULNERABILITIES, name)) for name in sorted(os.listdir(VULNERABILITIES))}
    return "; ".join(f"{name}: {state}" for name, state in states.items() if state and state != "Not affected") or "none needed"


def limits():
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    locked = "unlimited" if locked == resource.RLIM_INFINITY else f"{locked // 1024} KiB"
    return f"{files} descriptors a process, {locked} of locked memory, somaxconn {read('/proc/sys/net/core/somaxconn')}"


def build_options(build):
    """Buildtype, optimization and compiler of the build, as meson knows them."""
    def read_json(name, nothing):
        try:
            return json.loads(read(os.path.join(build, "meson-info", name)) or "")
        except ValueError:
            return nothing
    options = {option["name"]: option["value"] for option in read_json("intro-buildoptions.json", [])}
    targets = read_json("intro-targets.json", [])
    commands = {tuple(source["compiler"]) for target in targets for source in target["target_sources"]
                if source.get("compiler") and source.get("language") in ("c", "cpp")}
    names = {said_by(*command, "--version") for command in commands} - {None}
    flags = " ".join(f"{name}={options[name]}" for name in ("buildtype", "optimization", "b_ndebug", "b_lto", "c_args")
                     if options.get(name) not in (None, [], ""))
    return {"compiler": ", ".join(sorted(names)) or None, "compiler flags": flags or None}


def versions():
    packages = {"liburing": "liburing", "libevent": "libevent", "libuv": "libuv", "jemalloc": "jemalloc"}
    found = {name: said_by("pkg-config", "--modversion", package) for name, package in packages.items()}
    found["libc"] = " ".join(platform.libc_ver()) or None
    asio = said_by("dpkg-query", "-W", "-f", "${Version}\n", "libasio-dev")
    found.update({"Asio": asio, "gnuplot": said_by("gnuplot", "--version"), "nginx": said_by("nginx", "-v"),
                  "redis-server": said_by("redis-server", "--version")})
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)


def commit(source):
    head = said_by("git", "-C", source, "rev-parse", "HEAD")
    if head is None:
        return None
    changed = said_by("git", "-C", source, "status", "--porcelain", "--untracked-files=no")
    return head + (" and uncommitted changes" if changed else "")


def hash_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def identity():
    """What must be the same for all rows of a run."""
    return {"CPU": cpu_model(), "kernel": f"{platform.system()} {platform.release()} {platform.version()}"}


def facts(source, build, binaries, cores):
    """binaries: the paths of the programs that take part."""
    network = "/proc/sys/net/ipv4"
    governor = read(f"/sys/devices/system/cpu/cpu{cores[0]}/cpufreq/scaling_governor")
    memory = (read("/proc/meminfo") or "").splitlines()[:1]
    return {
        "table": {
            **identity(),
            "cores": f"{len(os.sched_getaffinity(0))} available; the server has core {cores[0]}, the load core {cores[1]}",
            "memory": memory[0].split(":", 1)[1].strip() if memory else None,
            "virtualization": said_by("systemd-detect-virt") or ("yes" if "hypervisor" in (read("/proc/cpuinfo") or "") else "not seen"),
            "mitigations": mitigations(), "governor": governor or "not shown by this system",
            "congestion control": read(f"{network}/tcp_congestion_control"), "loopback MTU": read("/sys/class/net/lo/mtu"),
            "TCP buffers": f"receive {read(f'{network}/tcp_rmem')}; send {read(f'{network}/tcp_wmem')}".replace("\t", " "),
            "limits": limits(), "versions": versions(), **build_options(build), "commit": commit(source),
        },
        "binaries": {os.path.relpath(path, build) if path.startswith(os.path.abspath(build)) else path: hash_of(path)
                     for path in sorted(binaries)},
    }


# ---- the quiet machine ----

def busy_ticks():
    """All ticks and busy ticks of all cores (proc(5), /proc/stat)."""
    words = [int(word) for word in read("/proc/stat").splitlines()[0].split()[1:9]]
    return sum(words), sum(words) - words[3] - words[4]


def busy_percent(seconds=LOOK_SECONDS):
    """How busy the cores are while this process sleeps: by other processes, and by the host (steal time)."""
    all_before, busy_before = busy_ticks()
    time.sleep(seconds)
    all_after, busy_after = busy_ticks()
    return 100 * (busy_after - busy_before) / max(all_after - all_before, 1)


def wait_until_quiet(limit_seconds, show):
    """Waits until other processes leave the cores alone, at most limit_seconds. Returns the load that it saw last: {"quiet",
    "busy_percent", "load_average", "waited_seconds"}."""
    begun = time.monotonic()
    while True:
        busy = busy_percent()
        waited = time.monotonic() - begun
        quiet = busy <= QUIET_BUSY_PERCENT
        if quiet or waited >= limit_seconds:
            return {"quiet": quiet, "busy_percent": round(busy, 1), "load_average": os.getloadavg()[0],
                    "waited_seconds": round(waited, 1)}
        show(f"waiting for a quiet machine: others use {busy:.0f} % of the cores, load average {os.getloadavg()[0]:.1f}; "
             f"goes on after {max(0, limit_seconds - waited):.0f} s (--wait)")
