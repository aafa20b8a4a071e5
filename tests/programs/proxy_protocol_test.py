#!/usr/bin/env python3
"""jd-echo --proxy-protocol behind real proxies: haproxy, with each version of the protocol, and curl. The server's peer is the
proxy's client.

Argument: the path of jd-echo.
"""

import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import tap
from server import DEADLINE_SECONDS, Server, assert_echo, available_engines, connect, is_for_windows, run_to_end

ECHO = sys.argv[1]

CLIENT_ADDRESS = "127.0.0.5"  # all of 127.0.0.0/8 is this host (RFC 1122, 3.2.1.3); the proxy's own address is 127.0.0.1
MEBIBYTE = 1 << 20
CONFIGURATION = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect {seconds}s
    timeout client {seconds}s
    timeout server {seconds}s
listen echo
    bind fd@{descriptor}
    server echo {server} {options}
"""


def client_program(name):
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")  # haproxy is there (Debian)
    if path is None:
        raise tap.Skip(f"{name} is not installed")
    return path


class Haproxy:
    """with Haproxy(server_endpoint, options) as proxy: proxy.address is where it listens. It inherits a socket that listens
    already, so that nobody has to wait for it, or to choose a port."""

    def __init__(self, server, options, host="127.0.0.1"):
        program = client_program("haproxy")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._directory = tempfile.TemporaryDirectory()
        path = os.path.join(self._directory.name, "haproxy.cfg")
        with socket.create_server((host, 0), family=family) as listener:
            self.address = listener.getsockname()[:2]
            with open(path, "w", encoding="utf-8") as file:
                file.write(CONFIGURATION.format(seconds=DEADLINE_SECONDS, descriptor=listener.fileno(), options=options,
                                                server=server.replace("unix:", "unix@")))
            self.process = subprocess.Popen([program, "-db", "-q", "-f", path], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                            pass_fds=(listener.fileno(),))

    def connect(self, source=None):
        client = socket.create_connection(self.address, DEADLINE_SECONDS, source and (source, 0))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.process.kill()
        errors = self.process.communicate(timeout=DEADLINE_SECONDS)[1].decode()
        self._directory.cleanup()
        if kind is not None and errors:
            print("# standard error of haproxy:", *errors.splitlines(), sep="\n# ")


def read_line(stream):
    """The next line that a program prints."""
    line = b""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([stream], [], [], max(0, deadline - time.monotonic()))
        byte = os.read(stream.fileno(), 1) if ready else b""
        assert byte, f"only {line!r}"
        line += byte
    return line.decode().rstrip("\r\n")


def text_of(address):
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serve(engine, threads, listen="127.0.0.1:0", sources=""):
    return Server(ECHO, "--engine", engine, "--listen", listen, "--threads", str(threads), "--verbose",
                  f"--proxy-protocol{sources}")


VERSIONS = {
    "version 1": "send-proxy",
    "version 2": "send-proxy-v2",
    "version 2 with TLVs and a checksum": "send-proxy-v2 proxy-v2-options crc32c,authority,ssl,unique-id",
}
SETUPS = {f"{version}, {engine} threads {threads}": (options, engine, threads)
          for version, options in VERSIONS.items() for engine in available_engines(ECHO) for threads in (0, 2)}


def assert_client_is_seen(server, proxy, source):
    with proxy.connect(source) as client:
        own = text_of(client.getsockname())
        assert_echo(client, b"hello")
        assert read_line(server.process.stdout) == f"up {own}"
        assert_echo(client, bytes(MEBIBYTE // 16))
    assert read_line(server.process.stdout) == f"down {own}"


@tap.test_for_each(SETUPS)
def the_peer_is_the_client_of_haproxy(setup):
    options, engine, threads = setup
    with serve(engine, threads) as server, Haproxy(server.endpoint, options) as proxy:
        for _ in range(3):
            assert_client_is_seen(server, proxy, CLIENT_ADDRESS)
        server.stop()


@tap.test_for_each(SETUPS)
def the_peer_is_the_ipv6_client_of_haproxy(setup):
    options, engine, threads = setup
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        raise tap.Skip(f"no IPv6 on loopback: {error}") from error
    with serve(engine, threads) as server, Haproxy(server.endpoint, options, host="::1") as proxy:
        assert_client_is_seen(server, proxy, None)
        server.stop()


@tap.test_for_each(SETUPS)
def the_peer_is_the_client_of_haproxy_over_a_unix_domain_socket(setup):
    if is_for_windows(ECHO):
        raise tap.Skip("Unix-domain endpoints are not supported on Windows")
    options, engine, threads = setup
    with tempfile.TemporaryDirectory() as directory, serve(engine, threads, f"unix:{directory}/socket") as server:
        with Haproxy(server.endpoint, options) as proxy:
            assert_client_is_seen(server, proxy, CLIENT_ADDRESS)
            server.stop()


@tap.test_for_each(available_engines(ECHO))
def a_check_of_haproxy_comes_from_haproxy_itself(engine):
    """It sends LOCAL, and no address, and resets the connection at once."""
    if is_for_windows(ECHO):
        raise tap.Skip("on Windows a connection that was reset before it was accepted is not seen (docs/engines.md)")
    with serve(engine, 0) as server, Haproxy(server.endpoint, "send-proxy-v2 check inter 50ms"):
        for _ in range(3):
            up, down = read_line(server.process.stdout), read_line(server.process.stdout)
            assert re.fullmatch(r"up 127\.0\.0\.1:\d+", up), up
            assert down == up.replace("up", "down"), (up, down)
        server.stop()


@tap.test_for_each(available_engines(ECHO))
def haproxy_is_refused_where_it_is_not_trusted(engine):
    with serve(engine, 0, sources="=10.0.0.0/8,::1") as server, Haproxy(server.endpoint, "send-proxy") as proxy:
        with proxy.connect() as client:
            client.sendall(b"hello")
            try:
                assert client.recv(1) == b"", "an answer"
            except ConnectionResetError:
                pass
        server.signal()
        status, errors = server.wait()
        assert (status, "not one of proxy_sources" in errors) == (0, True), (status, errors)


@tap.test_for_each(available_engines(ECHO))
def a_client_without_a_header_is_closed_and_the_log_says_why(engine):
    with serve(engine, 0) as server:
        with connect(server.endpoint) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            try:
                assert client.recv(1) == b"", "an answer"
            except ConnectionResetError:
                pass
        server.signal()
        status, errors = server.wait()
        assert (status, "PROXY header refused" in errors) == (0, True), (status, errors)


@tap.test_for_each(available_engines(ECHO))
def curl_is_seen_by_its_own_header(engine):
    """Its answer is the echo of its request, which counts as HTTP/0.9; the server's end ends curl."""
    program = client_program("curl")
    with serve(engine, 0) as server:
        command = [program, "--silent", "--no-buffer", "--noproxy", "*", "--http0.9", "--haproxy-protocol", "--max-time",
                   str(DEADLINE_SECONDS), "--write-out", "%{local_port}\n", f"http://{server.endpoint}/path"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as client:
            try:
                up = read_line(server.process.stdout)
                assert read_line(client.stdout).startswith("GET /path HTTP/1.1"), "not the echo of the request"
                server.stop()
                rest = client.stdout.read().decode()
                assert client.wait(timeout=DEADLINE_SECONDS) == 0, client.returncode
                assert up == f"up 127.0.0.1:{rest.splitlines()[-1]}", (up, rest)
            finally:
                client.kill()


@tap.test
def sources_that_are_none_are_refused_with_the_reason():
    status, output, errors = run_to_end(ECHO, "--proxy-protocol=10.0.0.1/8")
    assert (status, output) == (1, ""), (status, output)
    assert "proxy_sources '10.0.0.1/8'" in errors and "bits behind its prefix" in errors, errors


tap.main()
