#!/usr/bin/env python3
"""Bad input for jd-http: whatever a client sends, it gets answers of HTTP and its connection ends; others are served, and no memory
or descriptor is kept.

Of ten thousand mutated requests a run tries one block, which the commit selects; with JD_TEST_MUTATIONS=all it tries all.

Argument: the path of jd-http.
"""

import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

import tap
from http_client import HOST, Client
from server import DEADLINE_SECONDS, Server, available_engines, connect, descriptors_of

HTTP = sys.argv[1]
MUTATIONS, BLOCKS = 10_000, 20
STATUSES = {100, 200, 206, 301, 304, 400, 403, 404, 405, 413, 414, 416, 417, 431, 501, 505}
GROUP = 50

# Real requests, in the forms that clients send. No HEAD: what follows its answer could not be told from a body.
REQUESTS = [
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /file.txt HTTP/1.1\r\n" + HOST + b"Range: bytes=2-5\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
    b"GET /file.txt?query HTTP/1.1\r\n" + HOST + b"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nAccept: */*\r\n\r\n",
    b"GET /folder HTTP/1.1\r\n" + HOST + b"Connection: keep-alive\r\n\r\n",
    b"GET /%66ile.txt HTTP/1.1\r\n" + HOST + b"User-Agent: curl/7.88.1\r\nAccept-Encoding: gzip, deflate, br\r\n\r\n",
    b"GET http://test/file.txt HTTP/1.1\r\n" + HOST + b"Cookie: a=b; c=d\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Type: text/plain\r\nContent-Length: 11\r\n\r\nhello there",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;name=\"value\"\r\n there\r\n0\r\nTrailer: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    b"DELETE /file.txt HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nhi",
]
WORDS = [b"\r\n", b"\n", b"\r", b"\0", b":", b" ", b"\t", b"\xff", b"0", b"-1", b"99999999999999999999", b"%", b"%2e", b"/../", b"HTTP/1.1",
         b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Host: x\r\n", b"chunked", b"\r\n\r\n", b"bytes=-1"]


def mutated(number):
    """Some real requests with a few changes; the same for each number."""
    chance = random.Random(number)
    stream = bytearray(b"".join(chance.choices(REQUESTS, k=chance.randint(1, 4))))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(stream) + 1)
        kind = chance.randrange(5)
        if kind == 0 and place < len(stream):
            stream[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del stream[place:place + chance.randint(1, 8)]
        elif kind == 2:
            stream[place:place] = chance.choice(WORDS)
        elif kind == 3:
            word = chance.choice(WORDS)
            stream[place:place + len(word)] = word
        else:
            begin = chance.randrange(len(stream) + 1)
            stream[place:place] = stream[begin:begin + chance.randint(1, 60)]
        if not stream:
            stream = bytearray(b"G")
    return bytes(stream)


def received_until_end(client):
    received = bytearray()
    try:
        while piece := client.recv(1 << 16):
            received += piece
    except ConnectionResetError:
        pass
    return bytes(received)


def statuses(text):
    """Those of the answers in text, which must be answers and nothing else."""
    found = []
    while text:
        head, end, text = text.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.1 (\d{3}) [A-Za-z0-9 ]+(\r\n|$)", head)
        assert match and end, head[:200]
        found.append(int(match.group(1)))
        length = re.search(rb"\r\nContent-Length: (\d+)(\r\n|$)", head)
        assert length or found[-1] in (100, 304), head
        body = int(length.group(1)) if length else 0
        assert len(text) >= body, (head, len(text))
        text = text[body:]
    return found


class Hostile:
    """A server and a connection that must be served whatever others send."""

    def __init__(self, engine):
        self.folder = tempfile.TemporaryDirectory()
        root = pathlib.Path(self.folder.name)
        (root / "file.txt").write_bytes(b"0123456789")
        os.utime(root / "file.txt", (784111777, 784111777))
        (root / "folder").mkdir()
        (root / "index.html").write_text("<p>index")
        self.server = Server(HTTP, "--engine", engine, "--listen", "127.0.0.1:0", "--threads", "1", "--root", str(root))

    def __enter__(self):
        self.server.__enter__()
        self.other = Client(self.server.endpoint)
        self.assert_serves()
        self.before = self.kept()
        return self

    def answers(self, data):
        client = connect(self.server.endpoint)
        try:
            try:
                client.sendall(data)
                client.shutdown(1)
            except OSError:
                pass  # refused while it was sending
            return statuses(received_until_end(client))
        finally:
            client.close()

    def assert_serves(self):
        assert self.other.ask("GET /file.txt").body == b"0123456789"

    def kept(self):
        """Descriptors, connections and blocks."""
        text = self.other.ask("GET /metrics").body.decode()

        def total(name):
            return sum(int(value) for value in re.findall(rf"^{name}\{{.*\}} (\d+)$", text, re.MULTILINE))
        return descriptors_of(self.server), total("jinduo_connections_open"), total("jinduo_pool_blocks_used")

    def assert_keeps_nothing(self):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while any(now > before for now, before in zip(self.kept(), self.before)):
            assert time.monotonic() < deadline, (self.kept(), self.before)
            time.sleep(0.02)

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.other.socket.close()
            self.server.signal()
            status, errors = self.server.wait()
            assert status == 0, f"exit status {status}; standard error: {errors}"
        self.server.__exit__(kind, value, trace)
        self.folder.cleanup()


def blocks():
    if os.environ.get("JD_TEST_MUTATIONS") == "all":
        return range(BLOCKS)
    done = subprocess.run(["git", "rev-parse", "--short=8", "HEAD"], capture_output=True, check=False, text=True,
                          cwd=os.path.dirname(os.path.abspath(__file__)))
    return [int(done.stdout.strip() or "0", 16) % BLOCKS]


@tap.test_for_each({f"{engine}, block {block} of {BLOCKS}": (engine, block) for engine in available_engines(HTTP) for block in blocks()})
def mutated_requests_get_answers_of_http_and_end_only_their_own_connection(parameters):
    engine, block = parameters
    size = MUTATIONS // BLOCKS
    with Hostile(engine) as hostile:
        seen = set()
        for number in range(block * size, (block + 1) * size):
            found = hostile.answers(mutated(number))
            assert set(found) <= STATUSES, (number, found)
            seen.update(found)
            if number % GROUP == 0:
                hostile.assert_serves()
        assert {200, 400} <= seen, seen
        hostile.assert_keeps_nothing()


@tap.test_for_each(available_engines(HTTP))
def requests_cut_off_at_any_byte_are_answered_as_far_as_they_are_complete(engine):
    with Hostile(engine) as hostile:
        for request in REQUESTS:
            whole = [status for status in hostile.answers(request) if status != 100]
            assert len(whole) == 1, (request, whole)
            for length in range(len(request)):
                assert set(hostile.answers(request[:length])) <= {100}, request[:length]
        hostile.assert_serves()
        hostile.assert_keeps_nothing()


tap.main()
