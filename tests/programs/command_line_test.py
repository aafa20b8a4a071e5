#!/usr/bin/env python3
"""The command lines of jd-echo, jd-frame-echo and jd-chat: accepted options, error lines, ready lines, exit on signals.

Arguments: the paths of jd-echo, jd-frame-echo and jd-chat.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import tap
from server import (DEADLINE_SECONDS, Barrier, Server, assert_echo, available_engines, connect, receive, refuse_rings,
                    run_to_end)

ECHO, FRAME_ECHO, CHAT = sys.argv[1:4]

COMMON_OPTIONS = {"--engine", "--listen", "--threads", "--load-balance", "--reuse-port", "--processes", "--busy-poll",
                  "--zero-copy", "--proxy-protocol", "--statistics", "--help"}
FRAME_OPTIONS = {"--header-bytes", "--little-endian", "--max-frame", "--work-us", "--pool", "--own-codec"}
OPTIONS = {ECHO: COMMON_OPTIONS | {"--discard", "--verbose"}, FRAME_ECHO: COMMON_OPTIONS | FRAME_OPTIONS, CHAT: COMMON_OPTIONS}
SHORT_OPTIONS = {"-e", "-l", "-t", "-b", "-s", "-h"}

FAILED, USAGE = 1, 2
THREADS = (0, 2)
DRAIN_SECONDS = 5
STARTS = 20  # the signal arrives at a different moment of each start
NOBODY_ID = 65534  # user and group nobody
MEBIBYTE = 1 << 20


def program_name(program):
    return os.path.basename(program)


def assert_refused(program, options, status, *parts, **more):
    """Checks for one line on standard error that contains all parts, an empty standard output, and the exit status."""
    actual, output, errors = run_to_end(program, *options, **more)
    assert errors.count("\n") == 1 and errors.endswith("\n"), f"not one line: {errors!r}"
    assert errors.startswith(program_name(program) + ": "), errors
    for part in parts:
        assert part in errors, f"{part!r} is not in {errors!r}"
    assert output == "", output
    assert actual == status, f"exit status {actual}"


@tap.test_for_each({f"{program_name(program)} {option}": (program, option)
                    for program in OPTIONS for option in ("--help", "-h")})
def help_names_every_option_and_no_other(setup):
    program, option = setup
    status, output, errors = run_to_end(program, option)
    assert (status, errors) == (0, ""), (status, errors)
    assert output.startswith(f"Usage: {program_name(program)} "), output
    assert set(re.findall(r"--[a-z-]+", output)) == OPTIONS[program], output
    assert set(re.findall(r"(?<![\w-])-[a-z]\b", output)) == SHORT_OPTIONS, output
    assert max(map(len, output.splitlines())) <= 120, "a line is too long for a terminal"


@tap.test
def help_is_printed_even_if_an_unknown_option_follows():
    status, _, errors = run_to_end(ECHO, "--help", "--no-such-option")
    assert (status, errors) == (0, ""), (status, errors)


BAD_INPUT = (
    (["--no-such-option"], "'--no-such-option'", "unknown option"),
    (["-x"], "'-x'", "unknown option"),
    (["-xh"], "'-x'", "unknown option"),
    (["--threads", "1", "-x"], "'-x'", "unknown option"),
    (["--engine"], "'--engine'", "needs a value"),
    (["-e"], "'-e'", "needs a value"),
    (["--help=yes"], "'--help=yes'", "takes no value"),
    (["8000"], "'8000'", "unexpected argument"),
    (["--threads", "1", "--", "more"], "'more'", "unexpected argument"),
    (["--engine", "kqueue"], "'kqueue'", "must be auto, reactor, proactor, io_uring, simulated or iocp"),
    (["--engine", ""], "''", "must be auto, reactor, proactor, io_uring, simulated or iocp"),
    (["--engine=Reactor"], "'Reactor'", "must be auto, reactor, proactor, io_uring, simulated or iocp"),
    (["--listen", ""], "''", "endpoint is empty"),
    (["--listen", "127.0.0.1"], "'127.0.0.1'", "port is missing"),
    (["--listen", "127.0.0.1:"], "'127.0.0.1:'", "port is missing"),
    (["--listen", "127.0.0.1:x"], "'127.0.0.1:x'", "port is not a decimal number"),
    (["--listen", "127.0.0.1:-1"], "'127.0.0.1:-1'", "port is not a decimal number"),
    (["--listen", "127.0.0.1:65536"], "'127.0.0.1:65536'", "port out of range (0 to 65535)"),
    (["-l", "127.0.0.1:99999999999999999999"], "'127.0.0.1:99999999999999999999'", "port out of range"),
    (["--listen", "localhost:80"], "'localhost:80'", "not an IPv4 address"),
    (["--listen", "1.2.3:80"], "'1.2.3:80'", "not an IPv4 address"),
    (["--listen", "::1:80"], "'::1:80'", "needs brackets"),
    (["--listen", "[::1:80"], "'[::1:80'", "bracket is not closed"),
    (["--listen", "[::g]:80"], "'[::g]:80'", "not an IPv6 address"),
    (["--listen", ":80"], "':80'", "address is missing"),
    (["--listen", "unix:"], "'unix:'", "path is empty"),
    (["--listen", "unix:@"], "'unix:@'", "abstract name is empty"),
    (["--listen", "unix:/" + "p" * 200], "'unix:/" + "p" * 200 + "'", "path is too long"),
    (["--listen", "127.0.0.1:0"] * 17, "'127.0.0.1:0'", "at most 16 endpoints"),
    (["--threads", "many"], "'many'", "must be a whole number from 0 to 128"),
    (["--threads", ""], "''", "must be a whole number from 0 to 128"),
    (["--threads", "-1"], "'-1'", "must be a whole number from 0 to 128"),
    (["--threads", "129"], "'129'", "must be a whole number from 0 to 128"),
    (["--threads", "1x"], "'1x'", "must be a whole number from 0 to 128"),
    (["--threads", "99999999999999999999"], "'99999999999999999999'", "must be a whole number from 0 to 128"),
    (["--load-balance", "most"], "'most'", "must be round-robin, least or peer"),
    (["--load-balance", ""], "''", "must be round-robin, least or peer"),
    (["--load-balance"], "'--load-balance'", "needs a value"),
    (["--reuse-port=yes"], "'--reuse-port=yes'", "takes no value"),
    (["--processes", "0"], "'0'", "must be a whole number from 1 to 64"),
    (["--processes", "65"], "'65'", "must be a whole number from 1 to 64"),
    (["--processes", "2", "--listen", "127.0.0.1:0"], "'127.0.0.1:0'", "needs an IP address with a port other than 0"),
    (["--listen", "unix:@name", "--processes", "2"], "'unix:@name'", "needs an IP address with a port other than 0"),
    (["--busy-poll", "1000001"], "'1000001'", "must be a whole number from 0 to 1000000"),
    (["--busy-poll", "0.5"], "'0.5'", "must be a whole number from 0 to 1000000"),
)


def short_text(options):
    text = " ".join(options)
    return text if len(text) <= 50 else text[:47] + "..."


@tap.test_for_each({f"{program_name(program)} {short_text(options)}": (program, options, *parts)
                    for program in OPTIONS for options, *parts in BAD_INPUT})
def a_wrong_option_is_refused_with_one_line_that_names_the_value_and_the_reason(setup):
    program, options, value, reason = setup
    assert_refused(program, options, USAGE, value, reason, "--help")


FRAME_BAD_INPUT = (
    (["--header-bytes", "0"], "'0'", "must be 1, 2, 3, 4, 8 or varint"),
    (["--header-bytes", "5"], "'5'", "must be 1, 2, 3, 4, 8 or varint"),
    (["--header-bytes", "04"], "'04'", "must be 1, 2, 3, 4, 8 or varint"),
    (["--header-bytes", "16"], "'16'", "must be 1, 2, 3, 4, 8 or varint"),
    (["--header-bytes", "wide"], "'wide'", "must be 1, 2, 3, 4, 8 or varint"),
    (["--header-bytes"], "'--header-bytes'", "needs a value"),
    (["--little-endian=yes"], "'--little-endian=yes'", "takes no value"),
    (["--little-endian", "-x"], "'-x'", "unknown option"),
    (["--max-frame", "0"], "'0'", "must be a whole number from 1"),
    (["--max-frame", "9223372036854775808"], "'9223372036854775808'", "must be a whole number from 1"),
    (["--work-us", "1000001"], "'1000001'", "must be a whole number from 0 to 1000000"),
    (["--pool", "1025"], "'1025'", "must be a whole number from 0 to 1024"),
    (["--pool", "-1"], "'-1'", "must be a whole number from 0 to 1024"),
    (["--own-codec", "--header-bytes", "2"], "--own-codec", "must not be combined"),
    (["--own-codec", "--little-endian"], "--own-codec", "must not be combined"),
    (["--max-frame", "3"], "'3'", "must not be shorter than the length field"),
    (["--max-frame", "7", "--header-bytes", "8"], "'7'", "must not be shorter than the length field"),
)


@tap.test_for_each({short_text(options): (options, *parts) for options, *parts in FRAME_BAD_INPUT})
def a_wrong_frame_option_is_refused_with_one_line_that_names_the_value_and_the_reason(setup):
    options, value, reason = setup
    assert_refused(FRAME_ECHO, options, USAGE, value, reason, "--help")


@tap.test_for_each(("kqueue", "Reactor", " reactor"))
def an_unknown_engine_in_the_environment_is_refused_with_one_line(engine):
    for program in OPTIONS:
        assert_refused(program, ["--listen", "127.0.0.1:0"], USAGE, f"JINDUO_ENGINE '{engine}'", "must be auto",
                       environment={"JINDUO_ENGINE": engine})


@tap.test_for_each(("reactor", "auto", ""))
def the_environment_variable_selects_the_engine(engine):
    with Server(ECHO, "--listen", "127.0.0.1:0", environment={"JINDUO_ENGINE": engine}) as server:
        assert server.ready[0].group(2) == "reactor", server.ready
        server.stop()


@tap.test
def the_engine_option_overrides_the_environment_variable():
    with Server(ECHO, "--listen", "127.0.0.1:0", "-e", "reactor", environment={"JINDUO_ENGINE": "kqueue"}) as server:
        server.stop()


@tap.test_for_each(("--engine", "JINDUO_ENGINE"))
def an_unknown_engine_is_refused_with_the_names_of_all_engines(way):
    options, environment = ((["--engine", "kqueue"], {}) if way == "--engine" else ([], {"JINDUO_ENGINE": "kqueue"}))
    for program in OPTIONS:
        assert_refused(program, options, USAGE, "must be auto, reactor, proactor, io_uring, simulated or iocp;",
                       environment=environment)


# ---- errors of the system ----

@tap.test_for_each(("--engine", "JINDUO_ENGINE"))
def io_uring_refused_by_the_system_is_one_line_with_the_reason(way):
    options, environment = (["--engine", "io_uring"], {}) if way == "--engine" else ([], {"JINDUO_ENGINE": "io_uring"})
    for program in OPTIONS:
        status, _, errors = run_to_end(program, "--listen", "127.0.0.1:0", *options, environment=environment,
                                       preexec_fn=refuse_rings)
        assert status == FAILED and errors.count("\n") == 1, (status, errors)
        assert re.search("io_uring is not available: (refused by a seccomp filter|not built in|.*io_uring_disabled)",
                         errors), errors


def has_io_uring(program):
    """Whether io_uring is built in. Without it proactor selects simulated and logs nothing."""
    errors = run_to_end(program, "--engine", "io_uring", "--listen", "127.0.0.1:0", preexec_fn=refuse_rings)[2]
    return "not built in" not in errors


@tap.test_for_each({"auto": ("auto", "reactor"), "proactor": ("proactor", "simulated")})
def where_io_uring_is_refused_auto_and_proactor_select_another_engine(setup):
    requested, used = setup
    with Server(ECHO, "--listen", "127.0.0.1:0", "--engine", requested, preexec_fn=refuse_rings) as server:
        assert server.ready[0].group(2) == used, server.ready
        with connect(server.endpoint) as client:
            assert_echo(client, b"hello")
        server.signal()
        status, errors = server.wait()
        logged = errors.count("proactor: using simulated; ")
        assert status == 0 and logged == (requested == "proactor" and has_io_uring(ECHO)), (status, errors)


@tap.test
def a_port_in_use_is_one_line_with_the_endpoint_and_the_reason():
    with socket.create_server(("127.0.0.1", 0)) as holder:
        endpoint = f"127.0.0.1:{holder.getsockname()[1]}"
        for program in OPTIONS:
            assert_refused(program, ["--listen", endpoint], FAILED, endpoint, "address already in use")


@tap.test
def the_error_names_the_endpoint_in_use_among_several():
    with socket.create_server(("127.0.0.1", 0)) as holder:
        endpoint = f"127.0.0.1:{holder.getsockname()[1]}"
        options = ["--listen", "127.0.0.1:0", "--listen", endpoint, "--listen", "127.0.0.1:0"]
        assert_refused(ECHO, options, FAILED, endpoint, "address already in use")
        assert_refused(ECHO, [*options, "--threads", "2"], FAILED, endpoint, "address already in use")


@tap.test
def an_address_of_another_host_is_one_line_with_the_endpoint_and_the_reason():
    # TEST-NET-1 (RFC 5737): assigned to no host.
    assert_refused(ECHO, ["--listen", "192.0.2.1:0"], FAILED, "192.0.2.1:0", "address not available on this host")


@tap.test
def a_path_in_a_directory_that_does_not_exist_is_one_line_with_the_endpoint_and_the_reason():
    with tempfile.TemporaryDirectory() as directory:
        endpoint = f"unix:{directory}/none/socket"
        assert_refused(ECHO, ["--listen", endpoint], FAILED, endpoint, "not found")


def without_privileges(program):
    """Arguments for subprocess that run the program without privileges: as user nobody if this test runs as root."""
    if os.geteuid() != 0:
        return {}
    unprivileged = {"user": NOBODY_ID, "group": NOBODY_ID, "extra_groups": []}
    try:
        run_to_end(program, "--help", **unprivileged)
    except PermissionError as refusal:
        raise tap.Skip(f"user nobody cannot run {program}") from refusal
    return unprivileged


@tap.test
def a_path_in_a_directory_without_permission_is_one_line_with_the_endpoint_and_the_reason():
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o500)
        endpoint = f"unix:{directory}/socket"
        assert_refused(ECHO, ["--listen", endpoint], FAILED, endpoint, "permission denied", **without_privileges(ECHO))


@tap.test
def a_privileged_port_is_one_line_with_the_endpoint_and_the_reason():
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as setting:
        first_unprivileged = int(setting.read())
    if first_unprivileged <= 1:
        raise tap.Skip("this system has no privileged ports")
    assert_refused(ECHO, ["--listen", "127.0.0.1:1"], FAILED, "127.0.0.1:1", "permission denied",
                   **without_privileges(ECHO))


@tap.test
def a_path_of_a_file_that_is_not_a_socket_is_one_line_with_the_endpoint_and_the_reason_and_the_file_is_kept():
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"precious")
        file.flush()
        endpoint = f"unix:{file.name}"
        assert_refused(ECHO, ["--listen", endpoint], FAILED, endpoint, "address already in use")
        with open(file.name, "rb") as again:
            assert again.read() == b"precious"


# ---- listening ----

def has_ipv6_loopback():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@tap.test_for_each(THREADS)
def each_endpoint_has_a_ready_line_in_order_and_is_served(threads):
    with tempfile.TemporaryDirectory() as directory:
        wanted = ["127.0.0.1:0", f"unix:{directory}/socket", f"unix:@jinduo-test-{os.getpid()}", "127.0.0.1:0"]
        options = [part for endpoint in wanted for part in ("--listen", endpoint)]
        with Server(ECHO, *options, "--threads", str(threads), endpoints=len(wanted)) as server:
            assert server.endpoints[1:3] == wanted[1:3], server.endpoints
            assert len(set(server.endpoints)) == len(wanted), server.endpoints
            for endpoint, match in zip(server.endpoints, server.ready):
                assert not endpoint.endswith(":0"), endpoint
                assert match.groups()[1:] == ("reactor", str(threads)), match.groups()
                with connect(endpoint) as client:
                    assert_echo(client, b"hello " + endpoint.encode())
            server.stop()


@tap.test_for_each(("[::1]:0", "*:0"))
def an_ipv6_endpoint_is_served(endpoint):
    if not has_ipv6_loopback():
        raise tap.Skip("this system has no IPv6 loopback")
    with Server(ECHO, "--listen", endpoint) as server:
        host, _, port = server.endpoint.rpartition(":")
        assert host == endpoint.rpartition(":")[0] and int(port) > 0, server.endpoint
        with connect(f"[::1]:{port}") as client:
            assert_echo(client, b"hello")
        if host == "*":
            with connect(f"127.0.0.1:{port}") as client:
                assert_echo(client, b"hello")
        server.stop()


@tap.test
def short_options_may_be_joined_to_their_values():
    with Server(ECHO, "-l127.0.0.1:0", "-t2", "-b10", "-ereactor") as server:
        assert server.ready[0].group(3) == "2"
        with connect(server.endpoint) as client:
            assert_echo(client, b"hello")
        server.stop()


# ---- exit on signals ----

SIGNALS = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM}


@tap.test_for_each({f"{name}, threads {threads}": (number, threads)
                    for name, number in SIGNALS.items() for threads in THREADS})
def a_signal_closes_idle_connections_and_the_program_exits_with_status_0(setup):
    number, threads = setup
    with Server(ECHO, "--listen", "127.0.0.1:0", "--threads", str(threads)) as server:
        clients = [connect(server.endpoint) for _ in range(5)]
        try:
            for client in clients:
                assert_echo(client, b"hello")
            server.signal(number)
            for client in clients:
                assert client.recv(1) == b"", "more than the end"
            assert server.wait() == (0, ""), server.process.returncode
        finally:
            for client in clients:
                client.close()


@tap.test_for_each(SIGNALS)
def a_program_without_connections_exits_with_status_0_on_a_signal(number):
    for program in OPTIONS:
        with Server(program, "--listen", "127.0.0.1:0") as server:
            server.signal(number)
            assert server.wait() == (0, ""), server.process.returncode


@tap.test_for_each(available_engines(ECHO))
def a_signal_sent_right_after_the_ready_line_ends_the_program(engine):
    """Does not use class Server: it reads the ready line byte by byte, so the signal would be sent later."""
    command = [ECHO, "--engine", engine, "--listen", "127.0.0.1:0"]
    for _ in range(STARTS):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                assert process.stdout.readline()
                process.terminate()
                _, errors = process.communicate(timeout=DEADLINE_SECONDS)
            finally:
                process.kill()
            assert (process.returncode, errors) == (0, b""), (process.returncode, errors)


def send_more_than_the_kernel_buffers(server, client, threads):
    """Sends until the responses fill the kernel's buffers and the server's output reaches its high watermark, so that the server
    stops reading. Returns the sent bytes."""
    data = b"0123456789abcdef" * (MEBIBYTE // 16)
    sent = b""
    stuck = 0
    client.setblocking(False)
    with Barrier(server.endpoint, threads, b"barrier") as barrier:
        while stuck < 50:
            try:
                count = client.send(data[len(sent) % 16:])
            except BlockingIOError:
                count = 0
            sent += data[len(sent) % 16:][:count]
            stuck = 0 if count else stuck + 1
            barrier.pass_through()  # at least one turn of each loop
    client.settimeout(DEADLINE_SECONDS)
    return sent


def wait_until_refused(endpoint):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            connect(endpoint).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            pass  # the listener was closed with this connection in its queue
    raise AssertionError(f"{endpoint} still accepts connections")


@tap.test_for_each(THREADS)
def queued_output_is_sent_after_the_signal_before_the_program_exits(threads):
    with Server(ECHO, "--listen", "127.0.0.1:0", "--threads", str(threads)) as server:
        with connect(server.endpoint, receive_buffer_bytes=4096) as client:
            sent = send_more_than_the_kernel_buffers(server, client, threads)
            server.signal()
            wait_until_refused(server.endpoint)
            received = receive(client, len(sent) + 1)
            # The server echoes the bytes that it had read. The rest stays in its kernel buffer and is not read after the signal.
            assert sent.startswith(received) and len(received) > MEBIBYTE, f"{len(received)} of {len(sent)} bytes"
        assert server.wait() == (0, ""), server.process.returncode


@tap.test_for_each(THREADS)
def a_second_signal_ends_the_program_at_once(threads):
    with Server(ECHO, "--listen", "127.0.0.1:0", "--threads", str(threads)) as server:
        with connect(server.endpoint, receive_buffer_bytes=4096) as client:
            send_more_than_the_kernel_buffers(server, client, threads)
            first = time.monotonic()
            server.signal()
            wait_until_refused(server.endpoint)
            assert server.process.poll() is None, "the server did not wait for the connection to drain"
            server.signal()
            status, _ = server.wait()
            assert status == 0, status
            assert time.monotonic() - first < DRAIN_SECONDS, "the server waited until the deadline of the drain"


@tap.test
def the_socket_file_is_removed_at_exit():
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/socket"
        with Server(ECHO, "--listen", f"unix:{path}") as server:
            assert os.path.exists(path)
            server.stop()
        assert not os.path.exists(path)


tap.main()
