#!/usr/bin/env python3
"""Bad input for jd-redis: each input gets the protocol's error, or its connection is closed; others are served, and no memory or
descriptor is kept.

Of ten thousand mutated requests a run tries one block, which the commit selects; with JD_TEST_MUTATIONS=all it tries all.

Arguments: the path of jd-redis.
"""

import os
import random
import subprocess
import sys
import time

import tap
from resp import Client, bulk, received_until_end, request
from server import DEADLINE_SECONDS, Server, available_engines, connect, descriptors_of

REDIS = sys.argv[1]
MUTATIONS, BLOCKS = 10_000, 20
MAX_BULK = 65536
KIBIBYTE = 1 << 10

ENGINES = available_engines(REDIS)


class Hostile:
    """A server and a connection that must be served whatever others send."""

    def __init__(self, engine, threads=0):
        self.server = Server(REDIS, "--engine", engine, "--listen", "127.0.0.1:0", "--threads", str(threads),
                             "--max-bulk", str(MAX_BULK), "--max-memory", "1000000")

    def __enter__(self):
        self.server.__enter__()
        self.other = Client(self.server.endpoint)
        self.other.ask(request("PING"), b"+PONG\r\n")
        self.descriptors = descriptors_of(self.server)
        return self

    def answer(self, data, ends=True):
        """What a connection gets that sends these bytes and, if ends, a FIN; up to the server's FIN."""
        client = connect(self.server.endpoint)
        try:
            try:
                client.sendall(data)
                if ends:
                    client.shutdown(1)
            except OSError:
                pass  # closed while it was sending
            return received_until_end(client)
        finally:
            client.close()

    def assert_serves(self):
        self.other.ask(request("PING"), b"+PONG\r\n")

    def assert_keeps_nothing(self, memory):
        self.other.ask(request("FLUSHALL"), b"+OK\r\n")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while descriptors_of(self.server) > self.descriptors or self.memory() > memory:
            assert time.monotonic() < deadline, (f"{descriptors_of(self.server)} descriptors, before {self.descriptors}; "
                                                 f"{self.memory()} bytes, before {memory}")
            time.sleep(0.02)

    def memory(self):
        information = self.other.information("memory")
        return int(information["used_memory"]) + int(information["used_memory_library"])

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.other.close()
            self.server.signal()
            status, errors = self.server.wait()
            assert status == 0, f"exit status {status}; standard error: {errors}"
        self.server.__exit__(kind, value, trace)


# Real requests, in the forms that clients send.
REQUESTS = [
    request("PING"), request("ECHO", "hello"), request("SET", "key", "value"), request("GET", "key"),
    request("SET", "key", "x" * 100, "EX", "10", "NX"), request("MSET", "a", "1", "b", "2", "c", "3"), request("MGET", "a", "b", "c"),
    request("INCR", "n"), request("DECRBY", "n", "12"), request("APPEND", "key", "more"), request("DEL", "a", "b"),
    request("EXPIRE", "key", "100"), request("TTL", "key"), request("SUBSCRIBE", "news", "sport"), request("UNSUBSCRIBE"),
    request("PUBLISH", "news", "x"), request("INFO"), request("COMMAND"), request("CONFIG", "GET", "*"), request("SELECT", "0"),
    b"PING\r\n", b"set key 'a value'\r\n", b'echo "\\x41\\n"\r\n', request("FLUSHALL"), request("EXISTS", "a", "b"),
]

ANSWERED = {  # the whole stream and its answer
    "array": (request("SET", "k", "v" * 40) + request("GET", "k") + request("SET", "n", 1) + request("MGET", "k", "n") + request("DEL", "n"),
              [b"+OK\r\n", bulk(b"v" * 40), b"+OK\r\n", b"*2\r\n" + bulk(b"v" * 40) + bulk(b"1"), b":1\r\n"]),
    "inline": (b"SET k 'a b'\r\nGET k\r\nECHO \"\\x41\"\r\nPING\n", [b"+OK\r\n", bulk(b"a b"), bulk(b"A"), b"+PONG\r\n"]),
}


@tap.test_for_each({f"{name}, {engine}": (engine, name) for engine in ENGINES for name in ANSWERED})
def requests_cut_off_at_any_byte_are_answered_as_far_as_they_are_complete(parameters):
    engine, name = parameters
    stream, answers = ANSWERED[name]
    possible = [b"".join(answers[:count]) for count in range(len(answers) + 1)]
    with Hostile(engine) as hostile:
        last = 0
        for length in range(1, len(stream) + 1):
            got = hostile.answer(stream[:length])
            assert got in possible, f"{stream[:length]!r}: {got!r}"
            assert possible.index(got) in (last, last + 1), f"{stream[:length]!r}: {got!r}"
            last = possible.index(got)
        assert last == len(answers)
        hostile.assert_serves()


def error(text):
    return b"-ERR Protocol error: " + text + b"\r\n"


COUNT = error(b"invalid multibulk length")
LENGTH = error(b"invalid bulk length")
LINE = 64 * KIBIBYTE

LIMITS = [  # what is sent, without a FIN if the server closes; the whole answer
    (b"*2147483648\r\n", COUNT), (b"*9223372036854775808\r\n", COUNT), (b"*99999999999999999999999\r\n", COUNT),
    (b"*\r\n", COUNT), (b"*x\r\n", COUNT), (b"*+1\r\n", COUNT), (b"*01\r\n", COUNT), (b"* 1\r\n", COUNT), (b"*1 \r\n", COUNT),
    (b"*1\n$4\nPING\r\n", COUNT), (b"*1x\r\n", COUNT), (b"*-\r\n", COUNT),
    (b"*1\r\n$-1\r\n", LENGTH), (b"*1\r\n$\r\n", LENGTH), (b"*1\r\n$04\r\n", LENGTH), (b"*1\r\n$4x\r\n", LENGTH),
    (b"*1\r\n$%d\r\n" % (MAX_BULK + 1), LENGTH), (b"*1\r\n$9223372036854775808\r\n", LENGTH),
    (b"*1\r\n+4\r\n", error(b"expected '$', got '+'")), (b"*1\r\n:4\r\n", error(b"expected '$', got ':'")),
    (b"*2\r\n$4\r\nPING\r\nx", error(b"expected '$', got 'x'")), (b"*1\r\n\r\n", error(b"expected '$', got ' '")),
    (b"*" + b"1" * (LINE + 1), error(b"too big mbulk count string")),
    (b"*1\r\n$" + b"1" * (LINE + 1), error(b"too big bulk count string")),
    (b"a" * (LINE + 1), error(b"too big inline request")),
    (b"set k \"v\r\n", error(b"unbalanced quotes in request")), (b"set k 'v'x\r\n", error(b"unbalanced quotes in request")),
    (request("PING") + b"*x\r\n", b"+PONG\r\n" + COUNT),
    (b"POST / HTTP/1.1\r\n", b""), (b"Host: x\r\n", b""),
]

AT_LIMITS = [  # with a FIN behind it
    (b"*2147483647\r\n", b""), (b"*0\r\n", b""), (b"*-1\r\n", b""), (b"*-9\r\n", b""), (b"*1\r\n$%d\r\n" % MAX_BULK, b""),
    (request("ECHO", b"x" * MAX_BULK), bulk(b"x" * MAX_BULK)), (b"*" + b"1" * (LINE - 1), b""), (b"a" * LINE, b""),
    (b"echo " + b"a" * (LINE - 7) + b"\r\n", bulk(b"a" * (LINE - 7))), (b"*1\r\n$4\r\nPINGxx", b"+PONG\r\n"),
    (request("MGET", *["k"] * 10_000), b"*10000\r\n" + b"$-1\r\n" * 10_000),
]


def try_limits(hostile):
    for data, expected in LIMITS:
        got = hostile.answer(data, ends=False)
        assert got == expected, f"{data[:60]!r}: {got[:200]!r}, not {expected[:200]!r}"
        hostile.assert_serves()
    for data, expected in AT_LIMITS:
        got = hostile.answer(data)
        assert got == expected, f"{data[:60]!r}: {len(got)} bytes: {got[:200]!r}, not {expected[:200]!r}"
        hostile.assert_serves()


@tap.test_for_each(ENGINES)
def each_field_beyond_its_limit_is_answered_with_redis_s_error(engine):
    with Hostile(engine) as hostile:
        try_limits(hostile)  # the loop keeps some blocks for later
        memory = hostile.memory()
        try_limits(hostile)
        hostile.assert_keeps_nothing(memory + 64 * KIBIBYTE)


@tap.test_for_each(ENGINES)
def a_request_that_is_too_long_as_a_whole_is_refused(engine):
    with Hostile(engine) as hostile:
        got = hostile.answer(request("MSET", *(["k", b"v" * MAX_BULK] * 8)), ends=False)
        assert got in (b"", error(b"frame too long")), got[:200]  # b"": the client sent on, and was reset
        hostile.assert_serves()


@tap.test_for_each(ENGINES)
def an_announced_array_costs_no_memory(engine):
    with Hostile(engine) as hostile:
        memory = hostile.memory()
        clients = [Client(hostile.server.endpoint) for _ in range(20)]
        for client in clients:
            client.ask(request("PING") + b"*2147483647\r\n$3\r\nDEL\r\n$1\r\nk\r\n", b"+PONG\r\n")
        hostile.assert_serves()
        assert hostile.memory() < memory + 512 * KIBIBYTE
        for client in clients:
            client.close()
        hostile.assert_keeps_nothing(memory + 256 * KIBIBYTE)


def mutated(number):
    """Some real requests with a few changes; the same for each number."""
    chance = random.Random(number)
    stream = bytearray(b"".join(chance.choices(REQUESTS, k=chance.randint(1, 6))))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(stream) + 1)
        kind = chance.randrange(5)
        if kind == 0 and place < len(stream):
            stream[place] ^= 1 << chance.randrange(8)
        elif kind == 1 and place < len(stream):
            stream[place] = chance.choice(b"*$+-:0123456789 \r\n\0\xff\"'\\")
        elif kind == 2:
            del stream[place:place + chance.randint(1, 8)]
        elif kind == 3:
            stream[place:place] = bytes(chance.choices(b"*$+-:0123456789\r\n\0\xff\"'", k=chance.randint(1, 8)))
        else:
            begin = chance.randrange(len(stream) + 1)
            stream[place:place] = stream[begin:begin + chance.randint(1, 40)]
        if not stream:
            stream = bytearray(b"*")
    return bytes(stream)


def blocks():
    if os.environ.get("JD_TEST_MUTATIONS") == "all":
        return range(BLOCKS)
    done = subprocess.run(["git", "rev-parse", "--short=8", "HEAD"], capture_output=True, check=False, text=True,
                          cwd=os.path.dirname(os.path.abspath(__file__)))
    return [int(done.stdout.strip() or "0", 16) % BLOCKS]


@tap.test_for_each({f"{engine}, block {block} of {BLOCKS}": (engine, block) for engine in ENGINES for block in blocks()})
def mutated_requests_are_answered_or_end_their_connection(parameters):
    engine, block = parameters
    size = MUTATIONS // BLOCKS
    with Hostile(engine, threads=1) as hostile:
        first = block * size
        for number in range(first, first + 100):
            hostile.answer(mutated(number))
        memory = hostile.memory()
        for number in range(first, first + size):
            hostile.answer(mutated(number))  # up to the server's FIN: a hang is a time-out
            if number % 50 == 0:
                hostile.assert_serves()
        hostile.assert_serves()
        hostile.assert_keeps_nothing(memory + 256 * KIBIBYTE)


tap.main()
