#!/usr/bin/env python3
"""jd-http beside nginx: the server's CPU time for each request, and requests per second.

A server has one thread on one core; wrk has another. nginx has no access log and no limit on the requests of a connection. Its
head has a field more, "Connection: keep-alive", and with a file an ETag; the column says how many bytes each answer has. The rows:
  hello            50 connections, one request after the other; nginx: return 200
  pipelined        50 connections, 16 requests at a time; nginx: return 200
  1 KiB file       50 connections; nginx: sendfile, and once more with open_file_cache
  1 MB file        10 connections
The sides take turns; the median of the rounds is printed, and its ratio to nginx with the limit of the project. Exit status 0 if
all ratios are within their limits, 1 if not, 3 if something is missing."""

import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

MISSING, OVER = 3, 1
SERVER_CORE, LOAD_CORE = 0, 1
CONF = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; server_tokens off; sendfile on; keepalive_requests 1000000000; keepalive_timeout 600; default_type text/plain; {cache}
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    root {folder}/root;
    location = / {{ return 200 "{hello}"; }}
  }}
}}
"""
PIPELINE = 'init = function(args) local all = {} for i = 1, 16 do all[i] = wrk.format("GET", "/") end joined = table.concat(all) end\n' \
           'request = function() return joined end\n'
ROWS = {  # path, connections, pipelined; limits of CPU per request on the Reactor and io_uring; least requests/s
    "hello": ("/", 50, False, {"reactor": 0.85, "io_uring": 0.72}, None),
    "pipelined": ("/", 50, True, {}, 5.0),
    "1 KiB file": ("/1k.bin", 50, False, {"reactor": 0.8, "io_uring": 0.6}, None),
    "1 MB file": ("/1m.bin", 10, False, {"reactor": 0.7}, None),
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answer_bytes(port, path):
    """Of an answer on a connection that stays: nginx's has a field Connection more."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += client.recv(1 << 16)
    return received.index(b"\r\n\r\n") + 4 + int(re.search(rb"Content-Length: (\d+)", received).group(1))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


@contextlib.contextmanager
def serving(build, side, folder, hello):
    port = free_port()
    if side.startswith("nginx"):
        conf = os.path.join(folder, f"{side}.conf")
        with open(conf, "w", encoding="ascii") as file:
            cache = "open_file_cache max=100;" if side.endswith("cache") else ""
            file.write(CONF.format(folder=folder, port=port, cache=cache, hello=hello))
        command = ["nginx", "-c", conf, "-e", "stderr", "-p", folder]
    else:
        command = [f"{build}/examples/jd-http", "--engine", side, "--listen", f"127.0.0.1:{port}"]
        if hello is None:
            command += ["--root", f"{folder}/root"]
    with subprocess.Popen(["taskset", "-c", str(SERVER_CORE), *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if time.monotonic() > deadline or server.poll() is not None:
                        raise
                    time.sleep(0.02)
            yield server.pid, port
        finally:
            server.terminate()


def measure(build, side, row, folder, seconds, hello):
    path, connections, pipelined = ROWS[row][:3]
    with serving(build, side, folder, hello if path == "/" else None) as (pid, port):
        size = answer_bytes(port, path)
        command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
        if pipelined:
            command += ["--script", os.path.join(folder, "pipeline.lua")]
        before = cpu_seconds(pid)
        output = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True).stdout
        used = cpu_seconds(pid) - before
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"{side}, {row}: {output}")
    requests = int(re.search(r"(\d+) requests in", output).group(1))
    return 1e6 * used / requests, float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1)), size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", default="build/release", help="the build directory (default build/release)")
    parser.add_argument("--rounds", type=int, default=5, help="of each row and side (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement (default 3)")
    parser.add_argument("--row", action="append", choices=ROWS, help="a row (default: all); may be given again")
    arguments = parser.parse_args()
    missing = [name for name in ("nginx", "wrk", "taskset", f"{arguments.build}/examples/jd-http") if shutil.which(name) is None]
    if missing:
        print(f"missing: {', '.join(missing)}", file=sys.stderr)
        return MISSING
    sides, over = ["nginx", "reactor", "io_uring"], False
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/root")
        for name, size in (("1k", 1024), ("1m", 1_000_000)):
            with open(f"{folder}/root/{name}.bin", "wb") as file:
                file.write(os.urandom(size))
        with open(f"{folder}/pipeline.lua", "w", encoding="ascii") as file:
            file.write(PIPELINE)
        hello = "Hello, World!"
        print(f"load average at the begin: {os.getloadavg()[0]:.1f}")
        print(f"{'row':<12}{'side':<14}{'CPU µs/request':>15}{'ratio':>7}{'limit':>7}{'requests/s':>12}{'ratio':>7}{'bytes':>9}")
        for row in arguments.row or ROWS:
            of_row = sides + (["nginx-cache"] if row == "1 KiB file" else [])
            taken = {side: [] for side in of_row}
            for _ in range(arguments.rounds):
                for side in of_row:
                    taken[side].append(measure(arguments.build, side, row, folder, arguments.seconds, hello))
            middle = {side: [statistics.median(column) for column in zip(*values)] for side, values in taken.items()}
            for side, (cpu, rate, size) in middle.items():
                limit = ROWS[row][3].get(side)
                ratio, more = cpu / middle["nginx"][0], rate / middle["nginx"][1]
                least = ROWS[row][4] if side in ("reactor", "io_uring") else None
                misses = (limit is not None and ratio > limit) or (least is not None and more < least)
                over |= misses
                print(f"{row:<12}{side:<14}{cpu:>15.2f}{ratio:>7.2f}{limit or '':>7}{rate:>12.0f}{more:>7.2f}{size:>9.0f}"
                      f"{'  MISSED' if misses else ''}", flush=True)
    return OVER if over else 0


if __name__ == "__main__":
    sys.exit(main())
