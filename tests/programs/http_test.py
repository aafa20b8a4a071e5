#!/usr/bin/env python3
"""jd-http: requests and answers, on each engine, on the accepting loop and on two others.

Argument: the path of jd-http.
"""

import email.utils
import os
import subprocess
import sys
import tempfile
import time

import tap
from http_client import HOST, Client
from server import DEADLINE_SECONDS, Server, available_engines, run_to_end

HTTP = sys.argv[1]
THREADS = (0, 2)
SETUPS = {f"{engine}, threads {threads}": ("--engine", engine, "--threads", str(threads))
          for engine in available_engines(HTTP) for threads in THREADS}
ONE_LOOP = {engine: ("--engine", engine) for engine in available_engines(HTTP)}
HELLO = b"Hello, World!"
BODY_LIMIT = 1 << 20
MAX_BODY_MAX = 1 << 26   # of the option --max-body
HEAD_LIMIT = 16384
TARGET_LIMIT = 8192


def serve(setup, *options):
    return Server(HTTP, "--listen", "127.0.0.1:0", *setup, *options)


def request(target="/", *fields, method="GET", version="HTTP/1.1"):
    return f"{method} {target} {version}\r\n".encode() + HOST + b"".join(f"{field}\r\n".encode() for field in fields) + b"\r\n"


@tap.test_for_each(SETUPS)
def a_connection_answers_one_request_after_the_other(setup):
    with serve(setup) as server, Client(server.endpoint) as client:
        for _ in range(3):
            answer = client.ask("GET /")
            assert (answer.status, answer.reason, answer.body) == (200, "OK", HELLO), answer
            assert answer.fields["content-type"] == "text/plain", answer
            date = email.utils.parsedate_to_datetime(answer.fields["date"]).timestamp()
            assert abs(date - time.time()) < DEADLINE_SECONDS, answer
        server.stop()


@tap.test_for_each(SETUPS)
def requests_sent_together_are_answered_in_their_order(setup):
    with serve(setup) as server, Client(server.endpoint) as client:
        count = 500
        client.send(b"".join(request("/") + request("/echo", f"Content-Length: {number % 7}", method="POST") + b"x" * (number % 7)
                             for number in range(count)))
        for number in range(count):
            assert client.answer().body == HELLO
            assert client.answer().body == b"x" * (number % 7)
        server.stop()


@tap.test_for_each(SETUPS)
def a_request_may_come_byte_by_byte(setup):
    with serve(setup) as server, Client(server.endpoint) as client:
        for data in (request("/"), request("/echo", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n"):
            for byte in range(len(data)):
                client.send(data[byte:byte + 1])
            assert client.answer().body in (HELLO, b"abc")
        server.stop()


@tap.test_for_each(SETUPS)
def head_gets_what_get_would_get_without_the_body(setup):
    with serve(setup) as server, Client(server.endpoint) as client:
        for target in ("/", "/health", "/nothing"):
            with_body, without = client.ask(f"GET {target}"), client.ask(f"HEAD {target}")
            assert (without.status, without.fields["content-length"]) == (with_body.status, str(len(with_body.body)))
        server.stop()


@tap.test_for_each(SETUPS)
def a_body_comes_back_by_length_and_chunked(setup):
    with serve(setup) as server, Client(server.endpoint) as client:
        for length in (0, 1, 1000, 100_000, BODY_LIMIT):
            body = os.urandom(length)
            answer = client.ask("POST /echo", f"Content-Length: {length}", "Content-Type: a/b", body=body)
            assert (answer.body, answer.fields["content-type"]) == (body, "a/b"), len(answer.body)
            chunks = b"".join(f"{len(body[at:at + 5000]):x};name=\"value\"\r\n".encode() + body[at:at + 5000] + b"\r\n"
                              for at in range(0, length, 5000))
            answer = client.ask("POST /echo", "Transfer-Encoding: chunked", body=chunks + b"0\r\nTrailer: field\r\n\r\n")
            assert answer.body == body, len(answer.body)
        server.stop()


@tap.test_for_each(SETUPS)
def the_connection_ends_when_the_client_says_so(setup):
    with serve(setup) as server:
        for version, field, closes in (("HTTP/1.1", "Connection: close", True), ("HTTP/1.0", "X: y", True),
                                       ("HTTP/1.0", "Connection: keep-alive", False), ("HTTP/1.1", "X: y", False)):
            with Client(server.endpoint) as client:
                client.send(request("/", field, version=version))
                answer = client.answer()
                assert answer.closes == closes and answer.body == HELLO, answer
                assert version != "HTTP/1.0" or closes or answer.fields["connection"] == "keep-alive", answer
                if closes:
                    client.expect_end()
                else:
                    assert client.ask("GET /").status == 200
        server.stop()


@tap.test_for_each(SETUPS)
def a_client_that_expects_100_continue_gets_it_before_it_sends_the_body(setup):
    with serve(setup) as server:
        with Client(server.endpoint) as client:
            client.send(request("/echo", "Expect: 100-continue", "Content-Length: 3", method="POST"))
            assert client.head().status == 100
            client.send(b"abc")
            assert client.answer().body == b"abc"
        for target, fields, status in (("/nothing", ("Expect: 100-continue",), 404), ("/health", ("Expect: 100-continue",), 405),
                                       ("/echo", ("Expect: gold",), 417)):
            with Client(server.endpoint) as client:
                client.send(request(target, *fields, "Content-Length: 3", method="POST"))
                answer = client.answer()
                assert answer.status == status and answer.closes, answer
                client.expect_end()
        with Client(server.endpoint) as client:
            client.send(request("/echo", "Expect: 100-continue", f"Content-Length: {BODY_LIMIT + 1}", method="POST"))
            assert client.answer().status == 413
            client.expect_end()
        server.stop()


def chunked(*chunks):
    return request("/echo", "Transfer-Encoding: chunked", method="POST") + b"".join(chunks)


def posted(*fields, body=b"hello"):
    return request("/echo", *fields, method="POST") + body


# What the answer's status must be; the connection ends behind it. "smuggling": two servers in a row could disagree where such
# a request ends.
REFUSED = {
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (request("/", "Host: other"), 400),
    "no version": (b"GET /\r\n\r\n", 505),
    "HTTP/2.0": (request("/", version="HTTP/2.0"), 505),
    "HTTP/2 itself": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "TLS": (bytes.fromhex("1603010200010001fc0303"), 400),
    "another protocol": (b"DESCRIBE / RTSP/1.0\r\n\r\n", 400),
    "another protocol's version": (b"GET / RTSP/1.0\r\nHost: x\r\n\r\n", 400),
    "unknown method": (request("/", method="BREW"), 501),
    "unknown method in small letters": (request("/", method="get"), 501),
    "no method": (b"{}\r\n\r\n", 400),
    "CONNECT": (b"CONNECT host:80 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no target": (b"GET HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "control character in the target": (request("/a\x01b"), 400),
    "zero byte in a value": (request("/", "X: a\0b"), 400),
    "line end of LF": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "last line end of LF": (b"GET / HTTP/1.1\r\nHost: x\r\n\n", 400),
    "CR in a value": (request("/", "X: a\rY: b"), 400),
    "folded value": (request("/", "X: a\r\n b"), 400),
    "space before the colon": (request("/", "X : a"), 400),
    "space before the name": (b"GET / HTTP/1.1\r\n X: a\r\n" + HOST + b"\r\n", 400),
    "no name": (request("/", ": a"), 400),
    "no colon": (request("/", "X"), 400),
    "smuggling: two lengths": (posted("Content-Length: 5", "Content-Length: 6"), 400),
    "smuggling: the same length twice": (posted("Content-Length: 5", "Content-Length: 5"), 400),
    "smuggling: a list of lengths": (posted("Content-Length: 5, 5"), 400),
    "smuggling: length with a sign": (posted("Content-Length: +5"), 400),
    "smuggling: negative length": (posted("Content-Length: -5"), 400),
    "smuggling: hexadecimal length": (posted("Content-Length: 0x5"), 400),
    "smuggling: length with a space": (posted("Content-Length: 5 5"), 400),
    "smuggling: length of more than 64 bits": (posted("Content-Length: 18446744073709551621"), 400),
    "smuggling: folded length": (posted("Content-Length:\r\n 5"), 400),
    "smuggling: length, then chunked": (posted("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "smuggling: chunked, then length": (posted("Transfer-Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n"), 400),
    "smuggling: chunked twice": (posted("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "smuggling: chunked, chunked": (posted("Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), 400),
    "smuggling: chunked, then gzip": (posted("Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"), 400),
    "smuggling: vertical tab before chunked": (posted("Transfer-Encoding: \vchunked", body=b"0\r\n\r\n"), 400),
    "smuggling: folded chunked": (posted("Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"), 400),
    "smuggling: space before the colon of Transfer-Encoding": (posted("Transfer-Encoding : chunked", body=b"0\r\n\r\n"), 400),
    "smuggling: chunked in HTTP/1.0": (request("/echo", "Transfer-Encoding: chunked", method="POST", version="HTTP/1.0"), 400),
    "another expectation": (request("/", "Expect: gold"), 417),
    "unknown coding": (posted("Transfer-Encoding: gzip", body=b""), 501),
    "unknown coding, chunked": (posted("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
    "chunk: line end of LF": (chunked(b"5\nhello\r\n0\r\n\r\n"), 400),
    "chunk: extension that ends with LF": (chunked(b"5;a\nhello\r\n0\r\n\r\n"), 400),
    "chunk: longer than it says": (chunked(b"5\r\nhello!\r\n0\r\n\r\n"), 400),
    "chunk: 0x": (chunked(b"0x5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk: space behind the length": (chunked(b"5 \r\nhello\r\n0\r\n\r\n"), 400),
    "chunk: negative": (chunked(b"-5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk: length of more than 64 bits": (chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n"), 400),
    "target one byte too long": (request("/" + "a" * TARGET_LIMIT), 414),
    "head one byte too long": (request("/", "X: " + "a" * (HEAD_LIMIT + 1 - len(request("/", "X: ")))), 431),
    "head without an end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 2 * HEAD_LIMIT, 431),
    "one field too many": (request("/", *["X: y"] * 100), 431),
    "one field too many behind the body": (chunked(b"0\r\n", b"X: y\r\n" * 99, b"\r\n"), 431),
    "body one byte too long": (posted(f"Content-Length: {BODY_LIMIT + 1}", body=b""), 413),
    "chunks one byte too long": (chunked(b"%x\r\n" % BODY_LIMIT, b"a" * BODY_LIMIT, b"\r\n1\r\na\r\n0\r\n\r\n"), 413),
    "framing without an end": (chunked(b"1;" + b"a" * 4 * BODY_LIMIT), 413),
}
ALLOWED = {
    "target as long as allowed": (request("/" + "a" * (TARGET_LIMIT - 1)), 404),
    "head as long as allowed": (request("/", "X: " + "a" * (HEAD_LIMIT - len(request("/", "X: ")))), 200),
    "as many fields as allowed": (request("/", *["X: y"] * 99), 200),
    "as many fields as allowed behind the body": (chunked(b"0\r\n", b"X: y\r\n" * 98, b"\r\n"), 200),
    "end of the connection behind the body": (chunked(b"0\r\nConnection: close\r\n\r\n"), 200),
    "upgrade behind the body": (chunked(b"0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), 200),
    "empty lines before the request": (b"\r\n\r\n" + request("/"), 200),
    "target with a host": (request("http://test/?query"), 200),
    "target of a host alone": (request("http://test"), 200),
    "names and codings in any case": (b"POST /echo HTTP/1.1\r\nhOST: x\r\ntransfer-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n", 200),
    "empty value": (request("/", "X:"), 200),
    "spaces behind a coding": (posted("Transfer-Encoding: chunked  ", body=b"0\r\n\r\n"), 200),
    "a list on two lines": (request("/", 'If-None-Match: "a"', 'If-None-Match: "b"'), 200),
    "upgrade": (request("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), 200),
    "upgrade with a body": (posted("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 5"), 200),
    "method that is not allowed": (request("/", method="DELETE"), 405),
    "nothing at the target": (request("/nothing"), 404),
}


def send_in_pieces(client, data, size):
    try:
        for at in range(0, len(data), size):
            client.send(data[at:at + size])
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused already


@tap.test_for_each(ONE_LOOP)
def what_is_not_a_request_is_refused_and_ends_only_its_own_connection(setup):
    with serve(setup) as server, Client(server.endpoint) as other:
        for name, (data, status) in REFUSED.items():
            for size in (len(data), 1 if len(data) < 500 else 1000):
                with Client(server.endpoint) as client:
                    send_in_pieces(client, data, size)
                    answer = client.answer()
                    assert (answer.status, answer.closes) == (status, True), f"{name}, {size}: {answer}"
                    client.expect_end()
        assert other.ask("GET /").body == HELLO
        server.stop()


@tap.test_for_each(ONE_LOOP)
def what_is_unusual_but_allowed_is_answered_and_the_next_request_too(setup):
    with serve(setup) as server:
        for name, (data, status) in ALLOWED.items():
            for size in (len(data), 1 if len(data) < 500 else 1000):
                with Client(server.endpoint) as client:
                    send_in_pieces(client, data + request("/"), size)
                    answer = client.answer()
                    assert (answer.status, answer.closes) == (status, False), f"{name}, {size}: {answer}"
                    assert client.answer().body == HELLO, name
        server.stop()


@tap.test_for_each(ONE_LOOP)
def the_longest_body_of_the_largest_limit_comes_back(setup):
    body = os.urandom(MAX_BODY_MAX)
    with serve(setup, "--max-body", str(MAX_BODY_MAX)) as server:
        with Client(server.endpoint) as client:
            client.send(request("/echo", f"Content-Length: {len(body)}", method="POST") + body)
            assert client.answer().body == body
        server.stop()


@tap.test_for_each(ONE_LOOP)
def a_request_cut_off_at_any_byte_gets_no_answer_but_those_before_it(setup):
    whole = posted("Content-Length: 5") + chunked(b"5;x=y\r\nhello\r\n0\r\nT: x\r\n\r\n")
    ends = (len(posted("Content-Length: 5")), len(whole))
    with serve(setup) as server:
        for length in range(len(whole) + 1):
            with Client(server.endpoint) as client:
                client.send(whole[:length])
                client.socket.shutdown(1)
                for _ in range(sum(length >= end for end in ends)):
                    assert client.answer().body == b"hello", length
                client.expect_end()
        server.stop()


@tap.test_for_each(ONE_LOOP)
def a_request_that_does_not_arrive_whole_in_time_gets_408(setup):
    with serve(setup, "--request-seconds", "1") as server, Client(server.endpoint) as idle:
        parts = (b"G", request("/")[:-1], posted("Content-Length: 6"), chunked(b"5\r\nhello\r\n"))
        clients = [Client(server.endpoint) for _ in parts]
        for client, part in zip(clients, parts):
            client.send(part)
        for client in clients:
            answer = client.answer()
            assert (answer.status, answer.closes) == (408, True), answer
            client.expect_end()
            client.socket.close()
        assert idle.ask("GET /").body == HELLO  # no request had begun there
        server.stop()


@tap.test_for_each(ONE_LOOP)
def a_connection_without_requests_is_closed_in_time(setup):
    with serve(setup, "--idle-seconds", "1") as server, Client(server.endpoint) as silent, Client(server.endpoint) as asked:
        assert asked.ask("GET /").status == 200
        silent.expect_end()
        asked.expect_end()
        server.stop()


@tap.test_for_each(ONE_LOOP)
def an_old_connection_ends_behind_an_answer_that_says_so(setup):
    with serve(setup, "--max-age", "1") as server, Client(server.endpoint) as client:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (answer := client.ask("GET /")).closes:
            assert answer.body == HELLO and time.monotonic() < deadline, answer
        assert answer.body == HELLO, answer
        client.expect_end()
        server.stop()


@tap.test_for_each(SETUPS)
def health_is_asked_by_the_program_itself(setup):
    with serve(setup) as server:
        port = server.endpoint.rpartition(":")[2]
        for endpoint in (server.endpoint, f"*:{port}"):
            status, output, errors = run_to_end(HTTP, "--health", "--listen", endpoint, *setup[:2])
            assert (status, output, errors) == (0, "", ""), (status, errors)
        server.stop()
    for listen, *options in (("[::]:0",), ("127.0.0.1:0", "--proxy-protocol")):
        with Server(HTTP, *setup, "--listen", listen, *options) as elsewhere:
            status, output, errors = run_to_end(HTTP, "--health", *setup[:2], "--listen", elsewhere.endpoint, *options)
            assert (status, output, errors) == (0, "", ""), (listen, status, errors)
            elsewhere.stop()
    status, _, errors = run_to_end(HTTP, "--health", "--listen", server.endpoint)
    assert status == 1 and errors == f"jd-http: {server.endpoint}: connection refused\n", (status, errors)


def curl(server, target, *options):
    done = subprocess.run(["curl", "--silent", "--show-error", "--max-time", str(DEADLINE_SECONDS), *options,
                           f"http://{server.endpoint}{target}"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@tap.test_for_each(SETUPS)
def curl_is_served(setup):
    with serve(setup) as server, tempfile.NamedTemporaryFile() as body:
        data = os.urandom(BODY_LIMIT)
        body.write(data)
        body.flush()
        assert curl(server, "/") == HELLO
        assert curl(server, "/", "--http2") == HELLO   # asks for an upgrade
        assert curl(server, "/", "--http1.0") == HELLO
        assert curl(server, "/echo", "--data-binary", f"@{body.name}") == data   # with Expect: 100-continue
        assert curl(server, "/echo", "--data-binary", f"@{body.name}", "--header", "Transfer-Encoding: chunked") == data
        body.truncate(20 * BODY_LIMIT)
        for header in ("Expect:", "Transfer-Encoding: chunked"):
            code = curl(server, "/echo", "--data-binary", f"@{body.name}", "--header", header, "--output", "/dev/null",
                        "--write-out", "%{http_code}")
            assert code == b"413", code
        server.stop()


tap.main()
