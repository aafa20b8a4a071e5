#!/usr/bin/env python3
"""jd-frame-echo and jd-echo over sockets: the same frames come back, however the bytes are split into segments.

Arguments: the paths of jd-echo and jd-frame-echo.
"""

import random
import socket
import sys
import threading

import tap
from server import DEADLINE_SECONDS, Barrier, Server, assert_echo, connect, receive

ECHO, FRAME_ECHO = sys.argv[1:3]

HEADERS = ("1", "2", "3", "4", "8", "2 little", "3 little", "4 little", "8 little", "varint")
THREADS = (0, 2)
DEFAULT_HEADER = "4"
MEBIBYTE = 1 << 20


def varint(value):
    field = bytearray()
    while value >= 0x80:
        field.append(value & 0x7F | 0x80)
        value >>= 7
    field.append(value)
    return bytes(field)


def frame(body, header=DEFAULT_HEADER):
    if header == "varint":
        return varint(len(body)) + body
    width, _, little = header.partition(" ")
    return len(body).to_bytes(int(width), "little" if little else "big") + body


def body_of(length):
    """Bytes in which a shift by a few bytes is detected."""
    return bytes((i * 7 + i // 251) & 0xFF for i in range(length))


def frame_server(header=DEFAULT_HEADER, threads=0, *options):
    width, _, little = header.partition(" ")
    return Server(FRAME_ECHO, "--listen", "127.0.0.1:0", "--threads", str(threads), "--header-bytes", width,
                  *(["--little-endian"] if little else []), *options)


def echo_server(threads=0):
    return Server(ECHO, "--listen", "127.0.0.1:0", "--threads", str(threads))


def assert_echo_in_two(client, barrier, batch, cut):
    """Sends the batch in two parts; the server has read the first part before the second is sent."""
    client.sendall(batch[:cut])
    barrier.pass_through()
    assert_echo(client, batch[cut:], batch)


def batch_of(header):
    return b"".join(frame(body_of(length), header) for length in (0, 1, 12, 0, 130, 5))


@tap.test_for_each({f"{header}, threads {threads}": (header, threads) for header in HEADERS for threads in THREADS})
def a_batch_of_frames_split_at_any_byte_comes_back_complete(setup):
    header, threads = setup
    batch = batch_of(header)
    with frame_server(header, threads) as server, connect(server.endpoint) as client:
        with Barrier(server.endpoint, threads, frame(b"barrier", header)) as barrier:
            for cut in range(1, len(batch)):
                assert_echo_in_two(client, barrier, batch, cut)
        server.stop()


@tap.test_for_each(HEADERS)
def a_single_frame_split_at_any_byte_comes_back_complete(header):
    single = frame(b"HELLO, WORLD", header)
    with frame_server(header) as server, connect(server.endpoint) as client:
        with Barrier(server.endpoint, 0, frame(b"barrier", header)) as barrier:
            for cut in range(1, len(single)):
                assert_echo_in_two(client, barrier, single, cut)
        server.stop()


@tap.test_for_each(HEADERS)
def a_batch_of_frames_sent_byte_by_byte_comes_back_complete(header):
    batch = batch_of(header)
    with frame_server(header) as server, connect(server.endpoint) as client:
        with Barrier(server.endpoint, 0, frame(b"barrier", header)) as barrier:
            for byte in batch[:-1]:
                client.sendall(bytes([byte]))
                barrier.pass_through()
            assert_echo(client, batch[-1:], batch)
        server.stop()


@tap.test_for_each(HEADERS)
def frames_of_many_lengths_come_back_complete(header):
    longest = 255 if header == "1" else 65535 if header.startswith("2") else 300000
    edges = (126, 127, 128, 129, 255, 256, 4096, 16383, 16384, 16385, 65519, 65520, 65535, 65536, 65537, 262144, 300000)
    lengths = [*range(70), *edges]
    with frame_server(header) as server, connect(server.endpoint) as client:
        for length in lengths:
            if length <= longest:
                assert_echo(client, frame(body_of(length), header))
        server.stop()


@tap.test_for_each(THREADS)
def two_frames_in_one_segment_are_two_frames(threads):
    with frame_server(DEFAULT_HEADER, threads) as server, connect(server.endpoint) as client:
        for _ in range(100):
            assert_echo(client, frame(b"one") + frame(b"another"))
        server.stop()


@tap.test_for_each(THREADS)
def thousands_of_pipelined_frames_come_back_in_order(threads):
    batch = b"".join(frame(b"%d" % number) for number in range(20000))
    with frame_server(DEFAULT_HEADER, threads) as server, connect(server.endpoint) as client:
        assert_sent_and_received_at_once(client, batch)
        server.stop()


@tap.test_for_each({f"{piece} bytes, threads {threads}": (piece, threads)
                    for piece in (1009, 4093, 65537, 262147) for threads in THREADS})
def a_frame_of_one_mebibyte_in_pieces_of_odd_size_comes_back_complete(setup):
    piece, threads = setup
    long_frame = frame(body_of(MEBIBYTE))
    with frame_server(DEFAULT_HEADER, threads) as server, connect(server.endpoint) as client:
        for start in range(0, len(long_frame), piece):
            client.sendall(long_frame[start:start + piece])
        received = receive(client, len(long_frame))
        assert received == long_frame, f"{len(received)} bytes"
        server.stop()


@tap.test_for_each(THREADS)
def frames_sent_byte_by_byte_on_many_connections_do_not_mix(threads):
    with frame_server(DEFAULT_HEADER, threads) as server:
        clients = [connect(server.endpoint) for _ in range(40)]
        try:
            frames = [frame(b"connection %d says hello" % number) for number in range(len(clients))]
            for position in range(max(map(len, frames))):
                for client, message in zip(clients, frames):
                    client.sendall(message[position:position + 1])
            for client, message in zip(clients, frames):
                received = receive(client, len(message))
                assert received == message, received
        finally:
            for client in clients:
                client.close()
        server.stop()


@tap.test_for_each(THREADS)
def a_frame_of_the_maximum_comes_back_and_one_byte_more_closes_only_its_connection(threads):
    with frame_server(DEFAULT_HEADER, threads, "--max-frame", "1000") as server:
        others = [connect(server.endpoint) for _ in range(4)]
        try:
            with connect(server.endpoint) as client:
                assert_echo(client, frame(body_of(996)))
                client.sendall((997).to_bytes(4, "big"))
                assert client.recv(1) == b"", "bytes instead of end of file"
            for other in others:
                assert_echo(other, frame(b"still here"))
            with connect(server.endpoint) as newcomer:
                assert_echo(newcomer, frame(b"me too"))
        finally:
            for other in others:
                other.close()
        server.stop()


@tap.test_for_each(("2147483648", "4294967295"))
def a_length_field_of_a_huge_frame_closes_its_connection_at_once(length):
    with frame_server() as server, connect(server.endpoint) as client:
        client.sendall(int(length).to_bytes(4, "big"))
        assert client.recv(1) == b"", "bytes instead of end of file"
        server.stop()


@tap.test
def a_varint_of_more_than_ten_bytes_closes_its_connection():
    with frame_server("varint") as server, connect(server.endpoint) as client:
        client.sendall(b"\x80" * 10)
        assert client.recv(1) == b"", "bytes instead of end of file"
        server.stop()


@tap.test
def a_frame_before_an_invalid_one_in_the_same_segment_is_answered_before_the_close():
    with frame_server(DEFAULT_HEADER, 0, "--max-frame", "1000") as server, connect(server.endpoint) as client:
        client.sendall(frame(b"good") + (997).to_bytes(4, "big"))
        received = receive(client, MEBIBYTE)
        assert received == frame(b"good"), received
        server.stop()


@tap.test
def a_client_that_closes_within_a_frame_does_not_affect_others():
    with frame_server() as server:
        for cut in range(1, 16):
            with connect(server.endpoint) as client:
                client.sendall(frame(b"HELLO, WORLD")[:cut])
        with connect(server.endpoint) as client:
            assert_echo(client, frame(b"HELLO, WORLD"))
        server.stop()


@tap.test_for_each(THREADS)
def a_client_that_half_closes_gets_all_responses_before_end_of_file(threads):
    batch = b"".join(frame(body_of(length)) for length in range(0, 3000, 7))
    with frame_server(DEFAULT_HEADER, threads) as server, connect(server.endpoint) as client:
        assert_sent_and_received_at_once(client, batch, to_the_end=True)
        server.stop()


def assert_sent_and_received_at_once(client, data, to_the_end=False, pieces=None):
    """Sends and receives at the same time, because the data does not fit into the buffers of both sides."""
    failures = []

    def send():
        try:
            position = 0
            while position < len(data):
                piece = pieces() if pieces else len(data)
                client.sendall(data[position:position + piece])
                position += piece
            if to_the_end:
                client.shutdown(socket.SHUT_WR)
        except OSError as failure:
            failures.append(failure)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    received = receive(client, len(data))
    sender.join(DEADLINE_SECONDS)
    assert not failures and not sender.is_alive(), failures
    assert received == data, f"{len(received)} of {len(data)} bytes"
    if to_the_end:
        assert client.recv(1) == b"", "bytes instead of end of file"


@tap.test_for_each(THREADS)
def raw_bytes_in_pieces_of_any_size_come_back_in_order(threads):
    seed = random.randrange(1 << 32)
    print(f"# seed {seed}")
    generator = random.Random(seed)
    data = generator.randbytes(8 * MEBIBYTE)
    with echo_server(threads) as server, connect(server.endpoint) as client:
        assert_sent_and_received_at_once(client, data, to_the_end=True,
                                         pieces=lambda: generator.choice((1, 2, 100, 1500, 65536, 300000)))
        server.stop()


@tap.test_for_each(THREADS)
def raw_bytes_on_many_connections_do_not_mix(threads):
    with echo_server(threads) as server:
        clients = [connect(server.endpoint) for _ in range(100)]
        try:
            for _ in range(5):
                for number, client in enumerate(clients):
                    client.sendall(b"%04d" % number)
            for number, client in enumerate(clients):
                received = receive(client, 20)
                assert received == b"%04d" % number * 5, received
        finally:
            for client in clients:
                client.close()
        server.stop()


@tap.test
def a_reset_connection_does_not_affect_others():
    with echo_server() as server, connect(server.endpoint) as witness:
        for _ in range(20):
            client = connect(server.endpoint)
            client.sendall(b"x" * 1000)
            # A linger time of zero: close sends RST (socket(7)).
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            assert_echo(witness, b"still here")
        server.stop()


tap.main()
