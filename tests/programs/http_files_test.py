#!/usr/bin/env python3
"""The files that jd-http serves (--root), on each engine.

Argument: the path of jd-http.
"""

import contextlib
import email.utils
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import tap
from http_client import Client
from server import DEADLINE_SECONDS, Server, available_engines, descriptors_of, is_for_windows, run_to_end

HTTP = sys.argv[1]
ONE_LOOP = {engine: ("--engine", engine) for engine in available_engines(HTTP)}
SETUPS = {f"{engine}, threads {threads}": ("--engine", engine, "--threads", str(threads))
          for engine in available_engines(HTTP) for threads in (0, 2)}
# 900 000 bytes: more than the kernel holds for a Unix-domain client that does not read, less than the high watermark.
UNREAD = 900_000
SIZES = (0, 1, 1000, 8192, 8193, 100_000, UNREAD, 5_000_000)
SECRET = b"secret"


@contextlib.contextmanager
def serve(setup, *options, listen="127.0.0.1:0"):
    """A server of a folder beside which there is another one."""
    with tempfile.TemporaryDirectory() as top:
        root = pathlib.Path(top, "root")
        root.mkdir()
        pathlib.Path(top, "outside").mkdir()
        pathlib.Path(top, "outside", "secret.txt").write_bytes(SECRET)
        for size in SIZES:
            (root / f"{size}.bin").write_bytes(os.urandom(size))
        (root / "index.html").write_text("<p>top")
        (root / "folder").mkdir()
        (root / "folder" / "index.html").write_text("<p>folder")
        (root / "folder" / "white space.txt").write_text("white")
        (root / "empty").mkdir()
        (root / "link").symlink_to("../outside")
        (root / "link.txt").symlink_to("../outside/secret.txt")
        (root / "inner.txt").symlink_to("index.html")
        os.mkfifo(root / "pipe")
        (root / "closed.txt").write_text("closed")
        (root / "closed.txt").chmod(0)
        with Server(HTTP, "--listen", listen, "--root", str(root), *setup, *options) as server:
            yield server, root
            server.stop()


@tap.test_for_each(SETUPS)
def files_of_all_sizes_come_whole_and_in_parts(setup):
    with serve(setup) as (server, root), Client(server.endpoint) as client:
        for size in SIZES:
            data = (root / f"{size}.bin").read_bytes()
            answer = client.ask(f"GET /{size}.bin")
            assert (answer.status, answer.body == data) == (200, True), (size, answer.status, len(answer.body))
            assert answer.fields["accept-ranges"] == "bytes" and answer.fields["content-type"] == "application/octet-stream"
            assert client.ask(f"HEAD /{size}.bin").fields["content-length"] == str(size)
            for text, first, last in (("0-0", 0, 0), (f"{size // 2}-", size // 2, size - 1), (f"-{size // 3 + 1}", size - size // 3 - 1, size - 1),
                                      (f"0-{size * 2}", 0, size - 1), ("-99999999999999999999999", 0, size - 1)):
                answer = client.ask(f"GET /{size}.bin", f"Range: bytes={text}")
                if size == 0:
                    assert (answer.status, answer.fields["content-range"]) == (416, "bytes */0"), (text, answer)
                    continue
                assert answer.status == 206 and answer.body == data[first:last + 1], (size, text, answer.status, len(answer.body))
                assert answer.fields["content-range"] == f"bytes {first}-{last}/{size}", answer.fields


@tap.test_for_each(SETUPS)
def ranges_that_are_none_give_the_whole_file_and_those_behind_its_end_416(setup):
    with serve(setup) as (server, _), Client(server.endpoint) as client:
        for text in ("bytes=5-2", "bytes=a-b", "bytes=", "bytes=-", "bytes=1", "bytes=0-0,2-3", "lines=0-1", "bytes=0-1x", "bytes 0-1", "-"):
            answer = client.ask("GET /1000.bin", f"Range: {text}")
            assert (answer.status, len(answer.body)) == (200, 1000), (text, answer.status)
        for text in ("bytes=1000-", "bytes=1000-2000", "bytes=99999999999999999999999-", "bytes=-0"):
            answer = client.ask("GET /1000.bin", f"Range: {text}")
            assert (answer.status, answer.fields["content-range"]) == (416, "bytes */1000"), (text, answer)


@tap.test_for_each(SETUPS)
def a_file_that_has_not_changed_is_not_sent_again(setup):
    with serve(setup) as (server, root), Client(server.endpoint) as client:
        answer = client.ask("GET /1000.bin")
        modified = answer.fields["last-modified"]
        seconds = int(email.utils.parsedate_to_datetime(modified).timestamp())
        assert seconds == int((root / "1000.bin").stat().st_mtime)
        earlier, later = (email.utils.formatdate(seconds + more, usegmt=True) for more in (-1, 1))
        for date, status in ((modified, 304), (later, 304), (earlier, 200), ("nonsense", 200), ("", 200), ("x" * 1000, 200)):
            answer = client.ask("GET /1000.bin", f"If-Modified-Since: {date}")
            assert (answer.status, len(answer.body)) == (status, 0 if status == 304 else 1000), (date, answer.status)
        answer = client.ask("GET /1000.bin", 'If-None-Match: "tag"', f"If-Modified-Since: {modified}")
        assert (answer.status, len(answer.body)) == (200, 1000), answer.status   # the date does not count beside a tag
        for date, status in ((modified, 206), (earlier, 200), ('"tag"', 200)):
            assert client.ask("GET /1000.bin", "Range: bytes=0-9", f"If-Range: {date}").status == status, date
        for date in ("Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"):   # the older forms
            os.utime(root / "1000.bin", (784111777, 784111777))
            answer = client.ask("GET /1000.bin", f"If-Modified-Since: {date}")
            assert answer.status == 304 and answer.fields["last-modified"] == "Sun, 06 Nov 1994 08:49:37 GMT", answer


@tap.test_for_each(SETUPS)
def a_folder_is_its_index(setup):
    with serve(setup) as (server, _), Client(server.endpoint) as client:
        assert client.ask("GET /").body == b"<p>top"
        answer = client.ask("GET /folder/?query")
        assert (answer.body, answer.fields["content-type"]) == (b"<p>folder", "text/html; charset=utf-8"), answer
        for target in ("/folder", "//folder", "///folder"):   # "//folder/" would be another server
            answer = client.ask(f"GET {target}")
            assert (answer.status, answer.fields["location"]) == (301, "/folder/"), answer
        assert client.ask("GET /empty/").status == 404
        assert client.ask("GET /folder/white%20space.txt").body == b"white"


@tap.test_for_each(SETUPS)
def there_is_no_way_out_of_the_folder(setup):
    with serve(setup) as (server, root), Client(server.endpoint) as client:
        outside = "outside/secret.txt"
        # Wine follows the links of this system: its programs do not see them.
        links = () if is_for_windows(HTTP) else ("/link/secret.txt", "/link.txt", "/link/", "/inner.txt", "/pipe")
        for target in (f"/../{outside}", f"/folder/../../{outside}", f"/%2e%2e/{outside}", f"/..%2f{outside}", f"/%2e%2e%2f{outside}",
                       f"//..//{outside}", f"/./../{outside}", *links,
                       str(root.parent / outside), "/" + str(root.parent / outside), f"/..\\{outside}", "/..", "/../",
                       "/" + "../" * 100 + "etc/passwd", "/" + "folder/../" * 100 + f"../{outside}"):
            answer = client.ask(f"GET {target}")
            assert answer.status == 404 and SECRET not in answer.body, (target, answer)
        for target in ("/%00", "/%", "/%4", "/%zz", "/1000.bin%00.txt"):
            assert client.ask(f"GET {target}").status == 400, target
        assert client.ask("GET /" + "a" * 4096).status in (400, 404)
        assert client.ask("GET /folder/../1000.bin").status == 200   # stays inside
        if os.geteuid() != 0:
            assert client.ask("GET /closed.txt").status == 403


@tap.test_for_each(SETUPS)
def a_client_that_leaves_during_a_file_leaves_no_descriptor_open(setup):
    with serve(setup) as (server, _), Client(server.endpoint) as other:
        assert other.ask("GET /1.bin").status == 200
        before = descriptors_of(server)
        for _ in range(20):
            with Client(server.endpoint) as client:
                client.send(b"GET /5000000.bin HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
                client.head()
        for _ in range(1000):
            if descriptors_of(server) <= before:
                break
            assert other.ask("GET /1.bin").status == 200
        assert descriptors_of(server) <= before, (descriptors_of(server), before)


@tap.test_for_each(SETUPS)
def twenty_files_asked_for_at_once_come_in_their_order(setup):
    with serve(setup) as (server, root), Client(server.endpoint) as client:
        sizes = [size for size in SIZES[:-1]] * 20
        client.send(b"".join(f"GET /{size}.bin HTTP/1.1\r\nHost: x\r\n\r\n".encode() for size in sizes))
        for size in sizes:
            assert client.answer().body == (root / f"{size}.bin").read_bytes(), size


@tap.test_for_each(SETUPS)
def curl_continues_a_download(setup):
    if shutil.which("curl") is None:
        raise tap.Skip("curl is not installed")
    with serve(setup) as (server, root), tempfile.TemporaryDirectory() as folder:
        data = (root / "5000000.bin").read_bytes()
        part = pathlib.Path(folder, "part")
        part.write_bytes(data[:1_234_567])
        subprocess.run(["curl", "--silent", "--show-error", "--fail", "--max-time", str(DEADLINE_SECONDS), "--continue-at", "-",
                        "--output", str(part), f"http://{server.endpoint}/5000000.bin"], check=True)
        assert part.read_bytes() == data


@tap.test
def a_folder_that_cannot_be_opened_is_reported():
    for path, reason in (("/nothing", "not found"), (__file__, "not a directory")):
        status, _, errors = run_to_end(HTTP, "--root", path)
        assert status == 1 and errors.lower() == f"jd-http: --root '{path}': {reason}\n", errors


# What follows a request whose answer is still being sent, in pieces that arrive one after the other; the status of its own answer.
FOLLOWING = {
    "a refused body": ((b"POST /health HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",), 405),
    "a refused body whose head comes in two pieces": ((b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: ",
                                                      b"100-continue\r\n\r\n"), 405),
    "a bad request that comes in two pieces": ((b"GET / HTTP/1.1\r\nHost: x\r\nX", b": a\0\r\n\r\n"), 400),
    "a request that stays incomplete": ((b"GET / HTTP/1.1\r\nHost: x\r\n",), 408),
}


def wait_for_a_later_deadline(endpoint):
    """The loop's earlier deadlines have passed, too."""
    with Client(endpoint) as client:
        client.send(b"GET")
        assert client.answer().status == 408
        client.expect_end()


@tap.test_for_each({f"{name}, {engine}": (setup, pieces, status) for engine, setup in ONE_LOOP.items()
                    for name, (pieces, status) in FOLLOWING.items()})
def a_deadline_does_not_cut_off_an_answer_that_is_being_sent(parameters):
    setup, (first, *more), status = parameters
    if is_for_windows(HTTP):
        raise tap.Skip("Unix-domain endpoints are not supported on Windows")
    with serve(setup, "--request-seconds", "1", listen=f"unix:@jd-http-{os.getpid()}") as (server, root), \
            Client(server.endpoint) as client:
        client.send(f"GET /{UNREAD}.bin HTTP/1.1\r\nHost: x\r\n\r\n".encode() + first)
        length = int(client.head().fields["content-length"])
        for piece in more:
            client.send(piece)
        wait_for_a_later_deadline(server.endpoint)
        assert client.body(length) == (root / f"{UNREAD}.bin").read_bytes()
        answer = client.answer()
        assert (answer.status, answer.closes) == (status, True), answer
        client.expect_end()


tap.main()
