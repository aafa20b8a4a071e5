"""One measurement: starts a server, loads it, and returns figures. KINDS has a function for each kind of scenario.

The result of each: {"figures": {name: number}, "machine": {...}, "checks": {...}} and, in an explaining round, in which the
calls into the kernel are counted, "explained". Explaining rounds are not compared, so that counting costs nobody anything.
"""

import contextlib
import functools
import http.client as http_client
import json
import os
import pathlib
import re
import resource
import socket
import statistics
import tempfile
import time
from dataclasses import dataclass

from bench import scenarios
from bench.programs import Failure, NothingAnswered, WrongAnswer, errors_of

WARMUP_SECONDS = 0.2
SPARE_DESCRIPTORS = 64
IDLE_FIRST = 1000          # opened first, to measure the memory of each further connection
IDLE_SETTLE_SECONDS = 0.5
HOLD_SECONDS = 600         # idle connections are held at most so long
TICKS = os.sysconf("SC_CLK_TCK")
TRIES = 3
DISK = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None   # /tmp may be in memory, and its pages cannot be dropped
HELD = 0.99                # of the offered rate


@dataclass
class Task:
    programs: object
    scenario: object
    contestant: object
    seconds: float
    counts: object = None       # CallCounts: an explaining round
    histogram: str = None       # the file for the latencies
    rate: float = None          # offered messages/s, instead of the scenario's
    connections: int = None     # instead of the scenario's, where the limit of descriptors is too low

    def environment(self):
        return {**self.contestant.environment, **(self.counts.environment if self.counts else {})}

    def program(self):
        name, options = self.contestant.programs[self.scenario.role]
        return name, (*options, *(self.scenario.server if self.contestant.kind == "ours" else ()))


def descriptors_left(scenario):
    """The connections that the limit of descriptors allows, if the scenario wants more; else None."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    allowed = limit - SPARE_DESCRIPTORS
    return allowed if scenario.kind in ("load", "idle", "beside_idle") and scenario.connections > allowed else None


@contextlib.contextmanager
def served(task, *options):
    """Runs the server. Gives its process and endpoints, and after the end its counters in process.counted."""
    name, words = task.program()
    process, endpoints = task.programs.start_server(name, "--listen", "127.0.0.1:0", *options, *words,
                                                    environment=task.environment())
    process.counted = {}
    try:
        yield process, endpoints
    finally:
        process.counted = task.programs.stop_server(process)


def without_connections(load):
    """The options of a load without --connections N."""
    place = load.index("--connections")
    return (*load[:place], *load[place + 2:])


def load_options(task, pid, *more):
    load = task.scenario.load
    if task.connections is not None and task.scenario.kind == "load":
        load = (*without_connections(load), "--connections", str(task.connections))
    rate = () if task.rate is None else ("--rate", f"{task.rate:.3f}")
    histogram = ("--histogram", task.histogram) if task.histogram else ()
    counted = ("--call-counts", task.counts.path) if task.counts else ()
    return ("--json", "--verify", "sample", "--server-pid", str(pid), "--seconds", str(task.seconds), "--warmup",
            str(WARMUP_SECONDS), *load, *rate, *histogram, *counted, *more)


def jd_load(task, process, endpoint, *more):
    return task.programs.figures(task.programs.load_core, "jd-load", endpoint, *load_options(task, process.pid, *more),
                                 seconds=task.seconds + WARMUP_SECONDS)


# ---- figures from the report of a load ----

def machine_of(task, data):
    """What both cores did in the measured time."""
    cores = data["machine"]["cores"]
    chosen = [cores[core] for core in (task.programs.server_core, task.programs.load_core) if core < len(cores)]
    return {"cores_busy_percent": [core["busy_percent"] for core in chosen],
            "stolen_percent": max((core["stolen_percent"] for core in chosen), default=0.0),
            "retransmits": data["machine"]["retransmits"]}


def units_of(scenario, data):
    """How many messages, transfers or megabytes were measured."""
    if scenario.unit == "MB":
        return data["sent_bytes_per_second"] * data["seconds"] / 1e6
    return data["messages"]


def figures_of(scenario, data, rate=None):
    units, usage, seconds = units_of(scenario, data), data["usage"], data["seconds"]
    if units <= 0:
        raise NothingAnswered("nothing was answered in the measured time")
    figures = {
        "per_second": units / seconds, "cpu_us": usage["cpu_seconds"] * 1e6 / units,
        "user_us": usage["user_seconds"] * 1e6 / units, "kernel_us": usage["kernel_seconds"] * 1e6 / units,
        "server_percent": 100 * usage["cpu_seconds"] / seconds, "load_percent": data["cpu_percent"],
        "switches": (usage["waits"] + usage["preemptions"]) / units,
    }
    latency = data.get("latency_us")
    if latency and latency.get("count"):
        figures.update({f"{name}_us": latency[name] for name in ("p50", "p90", "p99", "p999", "max", "mean")})
        figures["samples"] = latency["count"]
    if rate is not None:
        figures["offered"] = rate
        figures["held"] = figures["per_second"] / rate
    return figures


def checks_of(data, counted):
    return {"wrong_replies": data.get("verify_errors", 0), "failed_connects": data.get("connect_errors", 0),
            "lost_connections": data.get("io_errors", 0), "receive_pauses": counted.get("receive_pauses"),
            "queue_overflows": counted.get("queue_overflows"), "block_overflows": counted.get("block_overflows")}


def bytes_a_unit(scenario):
    """Received bytes for each unit; None: they say nothing about the units."""
    if scenario.unit == "MB":
        return 1e6
    if scenario.role == "broadcast":
        return scenario.size / scenario.connections
    return scenario.size if scenario.role in ("echo", "frames") else None


def explain(scenario, data, counted):
    """The calls into the kernel for each unit: those of the C library's functions, and those that enter a ring, which the
    server counts itself over its whole run."""
    calls = data["usage"].get("calls")
    units = units_of(scenario, data)
    if calls is None or units <= 0:
        return {}
    each = {name: number / units for name, number in calls.items()}
    enters, completions = None, counted.get("completions", counted.get("events"))
    received, size = counted.get("bytes_received"), bytes_a_unit(scenario)
    if counted.get("enters") and received and size and not calls["wait"]:
        enters = counted["enters"] / (received / size)
        each["enter"] = enters
    waits = enters if enters is not None else each["wait"]
    return {"calls_a_unit": sum(each.values()), "calls": each, "units_a_wait": 1 / waits if waits else None,
            "completions_an_enter": completions / counted["enters"] if enters is not None and completions else None}


def result_of(task, data, process, rate=None):
    result = {"figures": figures_of(task.scenario, data, rate), "machine": machine_of(task, data),
              "checks": checks_of(data, process.counted)}
    if task.counts:
        result["explained"] = explain(task.scenario, data, process.counted)
    return result


# ---- servers under load ----

def offered(task):
    return task.rate if task.rate is not None else task.scenario.rate


def load(task):
    with served(task) as (process, endpoints):
        data = jd_load(task, process, endpoints[0])
    return result_of(task, data, process, offered(task))


def small_load(task, process, endpoint, *more):
    counted = ("--call-counts", task.counts.path) if task.counts else ()
    return task.programs.figures(
        task.programs.load_core, task.scenario.load[0], endpoint, "--server-pid", str(process.pid), "--seconds", str(task.seconds),
        "--warmup", str(WARMUP_SECONDS), *task.scenario.load[1:], *counted, *more, seconds=task.seconds + WARMUP_SECONDS)


def small(task):
    with served(task) as (process, endpoints):
        data = small_load(task, process, endpoints[0])
    return result_of(task, data, process)


@functools.cache
def file_to_send(size):
    """One file for all contestants and rounds: the cost of sending depends on where its pages are in memory."""
    file = tempfile.NamedTemporaryFile(prefix="jinduo-bench-", dir=DISK)
    for begin in range(0, size, 1 << 20):
        file.write(os.urandom(min(1 << 20, size - begin)))
    file.flush()
    os.fsync(file.fileno())   # not during a measurement; only written pages can be dropped
    return file


def file_server(task, size):
    """The server's program with the file in its options."""
    name, options = task.program()
    path = file_to_send(size).name
    words = (*options, path) if task.contestant.kind == "ours" else (*options[:-1], f"{options[-1]}:{path}")
    return name, words, path


def file_load(task, process, endpoint, path, *more):
    counted = ("--call-counts", task.counts.path) if task.counts else ()
    return task.programs.figures(
        task.programs.load_core, "peers/file-load", endpoint, "--server-pid", str(process.pid), "--seconds", str(task.seconds),
        "--warmup", str(WARMUP_SECONDS), "--file", path, *task.scenario.load, *counted, *more, seconds=task.seconds)


def file_result(task, data, process):
    result = result_of(task, data, process)
    result["figures"]["megabytes"] = result["figures"]["per_second"] * task.scenario.size / 1e6
    return result


def file(task):
    name, words, path = file_server(task, task.scenario.size)
    process, endpoints = task.programs.start_server(name, "--listen", "127.0.0.1:0", *words, environment=task.environment())
    process.counted = {}
    try:
        data = file_load(task, process, endpoints[0], path)
    finally:
        process.counted = task.programs.stop_server(process)
    return file_result(task, data, process)


def mixed(task):
    """An echo at a fixed rate, on a loop that also sends a large file again and again: its second endpoint."""
    name, words = task.program()
    path = file_to_send(scenarios.FILE_BYTES).name
    listen = ("--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0")
    process, endpoints = task.programs.start_server(name, *listen, *words, "--file", path, environment=task.environment())
    process.counted = {}
    transfer = None
    try:
        transfer = task.programs.start(
            task.programs.load_core, "peers/file-load", endpoints[1], "--server-pid", str(process.pid), "--seconds",
            str(task.seconds + WARMUP_SECONDS), "--file", path, *task.scenario.load)
        echo = ("--mode", "ping-pong", "--no-frames", "--size", str(task.scenario.size), "--connections",
                str(task.scenario.connections), "--rate", str(task.scenario.rate))
        histogram = ("--histogram", task.histogram) if task.histogram else ()
        counted = ("--call-counts", task.counts.path) if task.counts else ()
        data = task.programs.figures(
            task.programs.load_core, "jd-load", endpoints[0], "--json", "--server-pid", str(process.pid), "--seconds",
            str(task.seconds), "--warmup", str(WARMUP_SECONDS), *echo, *histogram, *counted, seconds=task.seconds)
        text, _ = transfer.communicate(timeout=task.seconds + 60)
        if transfer.returncode != 0:
            raise WrongAnswer(f"peers/file-load: {errors_of(transfer) or f'exit status {transfer.returncode}'}")
        sent = json.loads(text)
    finally:
        if transfer is not None:
            task.programs.stop(transfer)
        process.counted = task.programs.stop_server(process)
    result = result_of(task, data, process, task.scenario.rate)
    result["figures"]["megabytes"] = sent["messages_per_second"] * scenarios.FILE_BYTES / 1e6
    return result


def beside_idle(task):
    """One busy connection beside many idle ones."""
    held = task.connections or task.scenario.connections
    with served(task) as (process, endpoints):
        idle = task.programs.start(task.programs.load_core, "jd-load", endpoints[0], "--mode", "idle", "--no-frames", "--size", "64",
                                   "--connections", str(held), "--seconds", str(HOLD_SECONDS))
        try:
            task.programs.wait_line(idle, "jd-load")
            data = jd_load(task, process, endpoints[0])
        finally:
            task.programs.stop(idle)
    return result_of(task, data, process)


# ---- memory ----

def slab_bytes():
    with open("/proc/meminfo", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Slab:"))


def idle_load(task, process, endpoint, connections):
    data = task.programs.figures(
        task.programs.load_core, "jd-load", endpoint, "--json", "--server-pid", str(process.pid), "--mode", "idle", "--no-frames",
        "--size", "64", "--connections", str(connections), "--seconds", str(IDLE_SETTLE_SECONDS), seconds=5)
    return data["server_anonymous_bytes_per_connection"]


def idle(task):
    """Measures the memory of one more connection in two ways, as each hides a cost that the other shows:
      - a new server that already has connections: no memory of closed connections can be reused;
      - a server without connections that had as many before: memory that is allocated only once does not count."""
    connections = task.connections or task.scenario.connections
    if connections <= IDLE_FIRST:
        raise Failure(f"the limit of descriptors is too low: {IDLE_FIRST + SPARE_DESCRIPTORS + 1} are needed")
    with served(task) as (process, endpoints):
        before = slab_bytes()
        first = task.programs.start(task.programs.load_core, "jd-load", endpoints[0], "--mode", "idle", "--no-frames", "--size", "64",
                                    "--connections", str(IDLE_FIRST), "--seconds", str(HOLD_SECONDS))
        task.programs.wait_line(first, "jd-load")
        kernel = (slab_bytes() - before) / IDLE_FIRST
        on_top = idle_load(task, process, endpoints[0], connections - IDLE_FIRST)
        task.programs.stop(first)
        idle_load(task, process, endpoints[0], connections)
        again = idle_load(task, process, endpoints[0], connections)
    return {"figures": {"bytes": max(on_top, again), "bytes_on_top": on_top, "bytes_again": again, "kernel_bytes": kernel},
            "machine": {}, "checks": {"connections": connections}}


# ---- programs that measure themselves ----

def measured_by_itself(task, cores, *options):
    name, words = task.program()
    before = cores_now()
    data = task.programs.figures(cores, name, *words, *options, environment=task.environment(), seconds=30)
    return data, machine_between(task, before, cores_now())


def timers(task):
    data, machine = measured_by_itself(task, task.programs.server_core, *task.scenario.load)
    return {"figures": {"start_ns": data["start_ns"], "cancel_ns": data["cancel_ns"], "expire_ns": data["expire_ns"],
                        "timer_bytes": data["bytes_each"], "timer_ns": data["start_ns"] + data["cancel_ns"]},
            "machine": machine, "checks": {}}


def both_cores(task):
    return {task.programs.server_core, task.programs.load_core}, (str(task.programs.server_core), str(task.programs.load_core))


def tasks(task):
    cores, words = both_cores(task)
    data, machine = measured_by_itself(task, cores, *words)
    return {"figures": {"task_ns": data["cpu_ns"], "per_second": data["tasks_per_second"], "post_ns": data["post_cpu_ns"],
                        "run_ns": data["run_cpu_ns"]}, "machine": machine, "checks": {}}


def wakeup(task):
    cores, words = both_cores(task)
    data, machine = measured_by_itself(task, cores, *words)
    return {"figures": {name: data[name] for name in ("p50_us", "p99_us", "mean_us", "samples")}, "machine": machine, "checks": {}}


def pipes(task):
    data, machine = measured_by_itself(task, task.programs.server_core, *task.scenario.load)
    return {"figures": {"turn_us": data["round_us"]}, "machine": machine, "checks": {}}


# ---- usage, for programs whose load does not read it ----

def cores_now():
    """Ticks of each core: all, idle, stolen (proc(5), /proc/stat)."""
    with open("/proc/stat", encoding="ascii") as lines:
        words = [line.split() for line in lines if re.match(r"cpu\d", line)]
    return {int(line[0][3:]): (sum(map(int, line[1:9])), int(line[4]) + int(line[5]), int(line[8])) for line in words}


def machine_between(task, before, after):
    busy, stolen = [], [0.0]
    for core in (task.programs.server_core, task.programs.load_core):
        total, idle_ticks, host = (b - a for a, b in zip(before[core], after[core]))
        busy.append(round(100 * (1 - idle_ticks / total), 1) if total else 0.0)
        stolen.append(round(100 * host / total, 1) if total else 0.0)
    return {"cores_busy_percent": busy, "stolen_percent": max(stolen), "retransmits": 0}


def process_seconds(pid):
    """CPU time of a process: user, kernel."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for_port(port, process, name):
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise Failure(f"{name}: does not accept connections: {errors_of(process) or 'no reason given'}")


def outside_load(task, process, command, units):
    """Runs a load that is not ours. units(text): the units that it counted, and more figures; raises WrongAnswer."""
    cores, cpu, begun = cores_now(), process_seconds(process.pid), time.monotonic()
    load_process, text = task.programs.output(task.programs.load_core, *command, seconds=task.seconds * 3)
    seconds = time.monotonic() - begun
    if load_process.returncode != 0:
        raise Failure(f"{os.path.basename(command[0])}: {errors_of(load_process) or f'exit status {load_process.returncode}'}")
    user, kernel = (b - a for a, b in zip(cpu, process_seconds(process.pid)))
    count, more = units(text)
    if count <= 0:
        raise NothingAnswered("nothing was answered in the measured time")
    return {"figures": {"per_second": count / seconds, "cpu_us": (user + kernel) * 1e6 / count, "user_us": user * 1e6 / count,
                        "kernel_us": kernel * 1e6 / count, "server_percent": 100 * (user + kernel) / seconds, **more},
            "machine": machine_between(task, cores, cores_now()), "checks": {}}


NGINX = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 600; server_tokens off; default_type text/plain;
  {cache}
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  server {{ listen 127.0.0.1:{port}; root {directory}/root; {hello} }} }}
"""
HELLO = "Hello, World!"   # the answer of jd-http without --root

WRK_PIPELINE = """
init = function(args)
  local one, all = wrk.format("GET", wrk.path), {}
  for i = 1, %d do all[i] = one end
  requests = table.concat(all)
end
request = function() return requests end
"""


def wrk_units(text):
    found = re.search(r"(\d+) requests in", text)
    bad = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", text)
    if bad:
        raise WrongAnswer(f"wrk: {bad.group(0)}")
    return (int(found.group(1)) if found else 0), {}


@functools.cache
def site(size):
    """A folder with root/index.html of size bytes, the same for all contestants."""
    directory = tempfile.TemporaryDirectory(prefix="jinduo-bench-", dir=DISK)
    os.mkdir(os.path.join(directory.name, "root"))
    with open(os.path.join(directory.name, "root", "index.html"), "wb") as page:
        for begin in range(0, size, 1 << 20):
            page.write(os.urandom(min(1 << 20, size - begin)))
        page.flush()
        os.fsync(page.fileno())
    return directory


@contextlib.contextmanager
def http_server(task, directory):
    """Runs a server of the folder's root, or one that answers HELLO. Gives its process and port."""
    name, words = task.program()
    port, load = free_port(), task.scenario.load
    if task.contestant.kind == "server":
        path = os.path.join(directory, "nginx.conf")
        with open(path, "w", encoding="ascii") as config:
            config.write(NGINX.format(directory=directory, port=port, cache="" if "--no-cache" in load else "open_file_cache max=16;",
                                      hello=f'location = / {{ return 200 "{HELLO}"; }}' if "--hello" in load else ""))
        process = task.programs.start(task.programs.server_core, which(name), "-c", path, "-e", "stderr", "-p", directory,
                                      environment=task.environment())
    else:
        root = () if "--hello" in load else ("--root", os.path.join(directory, "root"))
        process = task.programs.start(task.programs.server_core, name, "--listen", f"127.0.0.1:{port}", *words, *root,
                                      environment=task.environment())
    process.counted = {}
    try:
        wait_for_port(port, process, name)
        yield process, port
    finally:
        process.counted = task.programs.stop_server(process)


def check_page(port, path, wanted):
    """wrk does not look at the bodies: the first is compared here."""
    connection = http_client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200 or body != wanted:
        raise WrongAnswer(f"GET {path}: status {answer.status}, {len(body)} bytes instead of the {len(wanted)} expected")


def http(task):
    directory = site(task.scenario.size).name
    path, wanted = "/", HELLO.encode()
    if "--hello" not in task.scenario.load:
        path, wanted = "/index.html", pathlib.Path(directory, "root", "index.html").read_bytes()
    with http_server(task, directory) as (process, port):
        check_page(port, path, wanted)
        command = [which("wrk"), "-t1", f"-c{task.scenario.connections}", f"-d{max(1, round(task.seconds))}s"]
        if "--pipeline" in task.scenario.load:
            script = os.path.join(directory, "pipeline.lua")
            with open(script, "w", encoding="ascii") as lua:
                lua.write(WRK_PIPELINE % int(task.scenario.load[-1]))
            command += ["-s", script]
        return outside_load(task, process, [*command, f"http://127.0.0.1:{port}{path}"], wrk_units)


def http_file(task):
    """A file by HTTP, with a connection for each transfer."""
    directory = site(task.scenario.size).name
    with http_server(task, directory) as (process, port):
        data = file_load(task, process, f"127.0.0.1:{port}", os.path.join(directory, "root", "index.html"), "--http", "/index.html")
    return file_result(task, data, process)


def redis_units(text):
    """The requests a second of redis-benchmark's last line in CSV form."""
    rates = re.findall(r'^"[^"]+","([\d.]+)"', text, re.MULTILINE)
    return float(rates[-1]) if rates else 0.0


def check_keys(port):
    """redis-benchmark does not look at the values: one is compared here."""
    request = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
    wanted, answer = b"+OK\r\n$5\r\nvalue\r\n", b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
        one.sendall(request)
        while len(answer) < len(wanted):
            part = one.recv(4096)
            if not part:
                break
            answer += part
    if answer != wanted:
        raise WrongAnswer(f"SET and GET: {answer[:80]!r} instead of {wanted!r}")


REDIS_KEYS = 100_000
REDIS_OPTIONS = ("--save", "", "--appendonly", "no", "--latency-tracking", "no", "--slowlog-log-slower-than", "-1")


def redis(task):
    name, words = task.program()
    command, pipeline = task.scenario.load
    port = free_port()
    if task.contestant.kind == "server":
        process = task.programs.start(task.programs.server_core, which(name), "--port", str(port), "--bind", "127.0.0.1", *REDIS_OPTIONS)
    else:
        process = task.programs.start(task.programs.server_core, name, "--listen", f"127.0.0.1:{port}", *words,
                                      environment=task.environment())
    try:
        wait_for_port(port, process, name)
        check_keys(port)
        requests = int(max(task.seconds, 0.2) * 60000 * (1 if pipeline == "1" else 8))
        to = (which("redis-benchmark"), "-p", str(port), "-c", str(task.scenario.connections), "-r", str(REDIS_KEYS), "--csv")
        run = (*to, "-P", pipeline)
        task.programs.output(task.programs.load_core, *to, "-P", "16", "-n", str(2 * REDIS_KEYS), "-t", "set")   # keys to get
        return outside_load(task, process, [*run, "-n", str(requests), "-t", command], lambda text: (requests, {"reported_per_second": redis_units(text)}))
    finally:
        task.programs.stop(process)


def which(name):
    paths = (os.path.join(directory, name) for directory in (*os.environ.get("PATH", "").split(":"), "/usr/sbin"))
    return next((path for path in paths if os.access(path, os.X_OK)), None)


KINDS = {function.__name__: function for function in (load, small, file, mixed, beside_idle, idle, timers, tasks, wakeup, pipes, http,
                                                      http_file, redis)}
LOADS = {"small": "peers/broadcast-load", "file": "peers/file-load", "mixed": "peers/file-load", "http_file": "peers/file-load"}
OUTSIDE_LOADS = {"http": ("wrk", "wrk"), "redis": ("redis-benchmark", "redis-tools")}   # with their packages


def explains(scenario):
    """Whether an explaining round shows something: where the load reads the server's counts."""
    return scenario.kind in ("load", "small", "file", "mixed", "beside_idle", "http_file")


def measure(task):
    """One measurement. It is made again if nothing was answered in its time, as on a machine that stands still meanwhile; the
    result says how often."""
    for tries in range(1, TRIES + 1):
        if task.counts:
            task.counts.reset()
        try:
            result = KINDS[task.scenario.kind](task)
            result["checks"]["tries"] = tries
            return result
        except NothingAnswered:
            if tries == TRIES:
                raise
    raise AssertionError("not reached")


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None
