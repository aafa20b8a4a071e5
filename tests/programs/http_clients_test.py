#!/usr/bin/env python3
"""jd-http and clients written elsewhere: wrk, ab, h2load, slowhttptest and Chromium, on each engine.

Arguments: the path of jd-http; "all", or "quick": without the clients that take seconds.
"""

import contextlib
import http.server
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

import clients
import tap
from http_client import HOST, Client
from server import DEADLINE_SECONDS, Server, available_engines

HTTP, EXTENT = sys.argv[1:3]
SETUPS = {engine: ("--engine", engine) for engine in available_engines(HTTP)}
HELLO = b"Hello, World!"
PICTURES = 100
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><rect width="20" height="20" fill="hsl({0},80%,50%)"/></svg>'
PIPELINE = """
init = function(args)
  local requests = {}
  for i = 1, 16 do requests[i] = wrk.format("GET", "/") end
  all = table.concat(requests)
end
request = function() return all end
"""


def serve(setup, *options):
    return Server(HTTP, "--listen", "127.0.0.1:0", *setup, *options)


def test_of_a_slow_client(parameters):
    """Of clients that take seconds: not under a sanitizer."""
    return tap.test_for_each(parameters if EXTENT == "all" else {})


def run(*command, timeout=2 * DEADLINE_SECONDS, **more):
    clients.require(command[0])
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout, **more)
    assert done.returncode == 0, (command[0], done.returncode, done.stdout[-500:], done.stderr[-500:])
    return done.stdout


def answers(client):
    """The answers of each status that the server has counted."""
    text = client.ask("GET /metrics").body.decode()
    return {int(status): int(count) for status, count in re.findall(r'jd_http_answers_total\{status="(\d+)"\} (\d+)', text)}


@tap.test_for_each(SETUPS)
def wrk_gets_only_right_answers_also_when_it_pipelines(setup):
    with serve(setup) as server, tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(PIPELINE)
        script.flush()
        for more in ((), ("--script", script.name)):
            output = run("wrk", "--threads", "1", "--connections", "50", "--duration", "1s", *more, f"http://{server.endpoint}/")
            assert int(re.search(r"(\d+) requests in", output).group(1)) > 0, output
            assert "Non-2xx" not in output and "Socket errors" not in output, output
        server.stop()


@tap.test_for_each(SETUPS)
def ab_gets_only_right_answers_with_and_without_keep_alive(setup):
    with serve(setup) as server:
        for more in (("-k",), ()):
            output = run("ab", "-q", "-n", "2000", "-c", "20", *more, f"http://{server.endpoint}/")
            assert re.search(r"^Complete requests:\s+2000$", output, re.MULTILINE), output
            assert re.search(r"^Failed requests:\s+0$", output, re.MULTILINE) and "Non-2xx" not in output, output
            assert not more or re.search(r"^Keep-Alive requests:\s+2000$", output, re.MULTILINE), output
        server.stop()


@tap.test_for_each(SETUPS)
def h2load_gets_only_right_answers(setup):
    with serve(setup) as server:
        output = run("h2load", "--h1", "--requests", "5000", "--clients", "20", f"http://{server.endpoint}/")
        assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in output, output
        server.stop()


@contextlib.contextmanager
def attack(*options):
    """slowhttptest with 200 connections, for five seconds."""
    command = [clients.require("slowhttptest"), "-c", "200", "-r", "200", "-l", "5", "-p", "2", *options]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.kill()


SLOW = {
    "headers": ("-H", "-i", "1", "-x", "10"),
    "body": ("-B", "-i", "1", "-s", "8192", "-x", "10"),
    "reading": ("-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3"),
}


@test_of_a_slow_client({f"{how}, {engine}": (how, setup) for how in SLOW for engine, setup in SETUPS.items()})
def others_are_served_while_slow_clients_are_and_deadlines_are_kept(parameters):
    how, setup = parameters
    target = {"headers": "/", "body": "/echo", "reading": "/big"}[how]
    with tempfile.TemporaryDirectory() as root:
        pathlib.Path(root, "big").write_bytes(bytes(1 << 20))
        with serve(setup, "--root", root, "--request-seconds", "2") as server:
            with attack(*SLOW[how], "-u", f"http://{server.endpoint}{target}") as process, Client(server.endpoint) as other:
                served = 0
                while process.poll() is None:
                    assert other.ask("GET /health").status == 200
                    served += 1
                    time.sleep(0.02)
                assert served > 0
                counted = answers(other)
                assert how == "reading" or counted.get(408, 0) > 0, counted
            server.stop()


# ---- Chromium ----

def chromium(folder, url, *options):
    return run("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile",
               *options, url, timeout=100)


@test_of_a_slow_client(SETUPS)
def chromium_shows_a_page_of_a_hundred_pictures(setup):
    clients.require("chromium")
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder, "root")
        root.mkdir()
        for number in range(PICTURES):
            (root / f"{number}.svg").write_text(PICTURE.format(number))
        (root / "index.html").write_text(
            "<!doctype html><title>pictures</title><body><script>onload = () => { const all = [...document.images];"
            "document.body.append(`shown: ${all.filter(one => one.naturalWidth === 20).length}`); }</script>"
            + "".join(f'<img src="{number}.svg">' for number in range(PICTURES)))
        with serve(setup, "--root", str(root)) as server:
            assert f"shown: {PICTURES}" in chromium(folder, f"http://{server.endpoint}/", "--dump-dom")
            with Client(server.endpoint) as client:
                assert answers(client)[200] >= PICTURES + 1, answers(client)
            server.stop()


class LatePage(http.server.BaseHTTPRequestHandler):
    """The status page, whose loading takes as long as a picture does that comes late: Chromium dumps a page when it is loaded."""

    SECONDS = 4

    def do_GET(self):
        with Client(self.server.endpoint) as client:
            if self.path == "/":
                self._send("text/html", client.ask("GET /status").body + b'<img src="/late">')
            elif self.path == "/late":
                time.sleep(self.SECONDS)
                self._send("text/plain", b"")
            elif self.path == "/status/events":
                client.send(b"GET /status/events HTTP/1.1\r\n" + HOST + b"\r\n")
                with contextlib.suppress(OSError):
                    while piece := client.socket.recv(1 << 16):
                        self.wfile.write(piece)
        self.close_connection = True

    def _send(self, content_type, body):
        self.wfile.write(f"HTTP/1.0 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def log_message(self, *arguments):
        pass


@test_of_a_slow_client(SETUPS)
def the_status_page_shows_what_happens(setup):
    clients.require("chromium")
    wrk = clients.require("wrk")
    with tempfile.TemporaryDirectory() as folder, serve(setup) as server, \
            http.server.ThreadingHTTPServer(("127.0.0.1", 0), LatePage) as pages:
        pages.daemon_threads = True
        pages.endpoint = server.endpoint
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        with subprocess.Popen([wrk, "-t1", "-c10", "-d60", f"http://{server.endpoint}/"], stdout=subprocess.DEVNULL) as load:
            try:
                page = chromium(folder, f"http://127.0.0.1:{pages.server_port}/", "--dump-dom", "--window-size=390,844")
            finally:
                load.kill()
        pages.shutdown()
        tiles = dict((label, value) for value, label in re.findall(r"<b>([^<]*)</b><span>([^<]*)</span>", page))
        assert '<p id="state" class="">live</p>' in page and setup[1] in page, page
        assert tiles["answers/s"].strip() not in ("", "0", "–") and "s" in tiles["CPU per answer"], tiles
        assert float(tiles["connections"].split()[0]) >= 10, tiles
        server.stop()


tap.main()
