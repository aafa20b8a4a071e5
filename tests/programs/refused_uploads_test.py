#!/usr/bin/env python3
"""A server that refuses uploads: curl and a raw socket get the answer each time, however much they send.

Arguments: the paths of refuse_upload and jd-echo.
Environment: JD_TEST_UPLOADS, how many uploads of each size (default: 10).
"""

import os
import shutil
import subprocess
import sys
import tempfile

import tap
from server import DEADLINE_SECONDS, Server, available_engines, connect

REFUSE_UPLOAD, ECHO = sys.argv[1:3]
UPLOADS = int(os.environ.get("JD_TEST_UPLOADS", "10"))
STATUS = b"HTTP/1.1 413 "
CASES = {f"{engine}, {size / 1e6:.1f} MB": (engine, size)
         for engine in available_engines(ECHO) for size in (200_000, 3_000_000, 20_000_000)}


def serve(engine):
    return Server(REFUSE_UPLOAD, environment={"JINDUO_ENGINE": engine})


@tap.test_for_each(CASES)
def a_raw_socket_gets_the_answer(case):
    engine, size = case
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
    with serve(engine) as server:
        for _ in range(UPLOADS):
            with connect(server.endpoint) as client:
                client.settimeout(DEADLINE_SECONDS)
                client.sendall(head + bytes(size))
                answer = b""
                while received := client.recv(65536):
                    answer += received
            assert answer.startswith(STATUS), answer[:100]
        server.stop()


@tap.test_for_each(CASES)
def curl_gets_the_answer(case):
    engine, size = case
    if shutil.which("curl") is None:
        raise tap.Skip("curl is not installed")
    with serve(engine) as server, tempfile.NamedTemporaryFile() as body:
        body.truncate(size)
        for _ in range(UPLOADS):
            done = subprocess.run(["curl", "--silent", "--show-error", "--max-time", str(DEADLINE_SECONDS), "--output",
                                   "/dev/null", "--header", "Expect:", "--write-out", "%{http_code}", "--data-binary",
                                   f"@{body.name}", f"http://{server.endpoint}/"], capture_output=True, check=False)
            assert done.stdout == b"413", (done.returncode, done.stdout, done.stderr)
        server.stop()


tap.main()
