#!/usr/bin/env python3
"""What jd-http says about itself: metrics, which promtool (in Debian's package prometheus) checks, and events.

Argument: the path of jd-http.
"""

import re
import subprocess
import sys

import clients
import tap
from http_client import HOST, Client
from server import Server, available_engines

HTTP = sys.argv[1]
SETUPS = {f"{engine}, threads {threads}": ("--engine", engine, "--threads", str(threads))
          for engine in available_engines(HTTP) for threads in (0, 2)}


def serve(setup, *options):
    return Server(HTTP, "--listen", "127.0.0.1:0", *setup, *options)


def samples(text):
    return {name: float(value) for name, value in re.findall(r"^(?:data: )?(\w+\{.*\}) (\S+)$", text, re.MULTILINE)}


@tap.test_for_each(SETUPS)
def metrics_count_the_answers(setup):
    with serve(setup) as server, Client(server.endpoint) as client:
        for _ in range(3):
            client.ask("GET /")
        client.ask("GET /nothing")
        client.ask("HEAD /")
        answer = client.ask("GET /metrics")
        assert answer.fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8", answer.fields
        values = samples(answer.body.decode())
        # The answer that carries them is not counted yet.
        assert values['jd_http_answers_total{status="200"}'] == 4, values
        assert values['jd_http_answers_total{status="404"}'] == 1, values
        assert sum(value for name, value in values.items() if name.startswith("jinduo_connections_open{")) == 1, values
        loops = {re.search(r'loop="(\w+)"', name).group(1) for name in values if name.startswith("jinduo_turns_total")}
        assert loops == ({"0", "1", "accept"} if "2" in setup else {"0"}), loops
        server.stop()


@tap.test_for_each(SETUPS)
def promtool_finds_nothing_to_complain_about(setup):
    clients.require("promtool")
    with serve(setup, "--measure") as server, Client(server.endpoint) as client:
        client.ask("GET /nothing")
        done = subprocess.run(["promtool", "check", "metrics"], input=client.ask("GET /metrics").body, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done
        server.stop()


@tap.test_for_each(SETUPS)
def events_tell_the_metrics_again_and_again_and_what_the_client_sends_is_dropped(setup):
    with serve(setup) as server, Client(server.endpoint) as client, Client(server.endpoint) as other:
        client.send(b"GET /status/events HTTP/1.1\r\n" + HOST + b"\r\n")
        head = client.head()
        assert head.fields["content-type"] == "text/event-stream" and head.closes, head
        counted = []
        for _ in range(3):
            client._until(lambda: b"\n\n" in client.pending)
            event = client._take(client.pending.index(b"\n\n") + 2).decode()
            assert all(line.startswith("data: ") for line in event.splitlines()[:-1]), event
            counted.append(samples(event)['jd_http_answers_total{status="200"}'])
            other.ask("GET /")
            client.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert counted[0] < counted[1] < counted[2], counted
        server.stop()


@tap.test_for_each(SETUPS)
def a_client_that_leaves_ends_its_events(setup):
    with serve(setup) as server, Client(server.endpoint) as other:
        for _ in range(10):
            with Client(server.endpoint) as client:
                client.send(b"GET /status/events HTTP/1.1\r\n" + HOST + b"\r\n")
                client.head()
        deadline = 200
        while (values := samples(other.ask("GET /metrics").body.decode())) and deadline > 0 and sum(
                value for name, value in values.items() if name.startswith("jinduo_connections_open{")) > 1:
            deadline -= 1
        assert deadline > 0, values
        server.stop()


@tap.test_for_each(SETUPS)
def the_page_needs_nothing_else(setup):
    with serve(setup) as server, Client(server.endpoint) as client:
        answer = client.ask("GET /status")
        page = answer.body.decode()
        assert answer.fields["content-type"] == "text/html; charset=utf-8" and page.startswith("<!doctype html>"), answer.fields
        assert "viewport" in page and re.findall(r'(?:src|href)\s*=|url\(|@import|https?:|fetch\(', page) == [], page
        assert client.ask("HEAD /status").fields["content-length"] == str(len(answer.body))
        server.stop()


tap.main()
