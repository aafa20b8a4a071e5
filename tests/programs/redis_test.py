#!/usr/bin/env python3
"""jd-redis by its bytes: what the commands answer, over one loop and several, on each engine.

Arguments: the path of jd-redis.
"""

import contextlib
import sys
import time

import tap
from resp import Client, bulk, received_until_end, request
from server import DEADLINE_SECONDS, Server, available_engines, descriptors_of, run_to_end

REDIS = sys.argv[1]
MEBIBYTE = 1 << 20
OK = b"+OK\r\n"
NULL = b"$-1\r\n"
NOT_A_NUMBER = b"-ERR value is not an integer or out of range\r\n"
SYNTAX = b"-ERR syntax error\r\n"
INVALID_EXPIRY = b"-ERR invalid expire time in 'set' command\r\n"

SETUPS = {f"{engine} threads {threads}": (engine, threads) for engine in available_engines(REDIS) for threads in (0, 2)}


def serve(setup, *options, listen="127.0.0.1:0"):
    engine, threads = setup
    return Server(REDIS, "--engine", engine, "--threads", str(threads), "--listen", listen, *options)


@contextlib.contextmanager
def serving(setup, *options):
    with serve(setup, *options) as server, Client(server.endpoint) as client:
        yield server, client
        client.close()
        server.stop()


def check(client, *steps):
    """Each step is a command, as words in one string or a tuple, and its answer."""
    for command, answer in steps:
        client.ask(request(*(command.split() if isinstance(command, str) else command)), answer)


@tap.test_for_each(SETUPS)
def commands_answer_as_redis_does(setup):
    with serving(setup) as (_, client):
        check(client,
              ("PING", b"+PONG\r\n"), ("ping hello", bulk(b"hello")), (("ECHO", ""), bulk(b"")),
              ("PING a b", b"-ERR wrong number of arguments for 'ping' command\r\n"),
              ("GET k", NULL), ("SET k v", OK), ("GET k", bulk(b"v")), ("EXISTS k k none", b":2\r\n"), ("STRLEN k", b":1\r\n"),
              ("SET k w NX", NULL), ("SET none w XX", NULL), ("GET k", bulk(b"v")), ("SET k w XX", OK), ("GET k", bulk(b"w")),
              ("SET k v NX XX", SYNTAX), ("SET k v EX", SYNTAX), ("SET k v FOO", SYNTAX), ("SET k v EX 1 PX 1", SYNTAX),
              ("SET k v EX a", NOT_A_NUMBER), ("SET k v EX 0", INVALID_EXPIRY), ("SET k v PX -1", INVALID_EXPIRY),
              ("SET k v EX 9223372036854775807", INVALID_EXPIRY), ("GET k", bulk(b"w")),
              ("DEL k none", b":1\r\n"), ("EXISTS k", b":0\r\n"),
              ("APPEND a x", b":1\r\n"), ("APPEND a yz", b":3\r\n"), ("GET a", bulk(b"xyz")),
              ("MSET a 1 b 2 a 3", OK), ("MGET a none b", b"*3\r\n" + bulk(b"3") + NULL + bulk(b"2")),
              ("MSET a 1 b", b"-ERR wrong number of arguments for 'mset' command\r\n"),
              ("DBSIZE", b":2\r\n"), ("FLUSHALL", OK), ("DBSIZE", b":0\r\n"), ("FLUSHALL foo", SYNTAX),
              ("SELECT 0", OK), ("SELECT 1", b"-ERR DB index is out of range\r\n"), ("SELECT x", NOT_A_NUMBER),
              ("CONFIG GET save", b"*2\r\n" + bulk(b"save") + bulk(b"")), ("CONFIG GET nope", b"*0\r\n"),
              ("CONFIG nope", b"-ERR unknown subcommand 'nope'. Try CONFIG HELP.\r\n"),
              ("foo a b", b"-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n"),
              (("f\r\no",), b"-ERR unknown command 'f  o', with args beginning with: \r\n"),
              ("COMMAND INFO get nope", b"*2\r\n*6\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*-1\r\n"),
              ("QUIT", OK))
        assert client.socket.recv(1) == b""


@tap.test_for_each(SETUPS)
def numbers_are_of_64_bits(setup):
    most, least = 2**63 - 1, -2**63
    overflow = b"-ERR increment or decrement would overflow\r\n"
    with serving(setup) as (_, client):
        check(client,
              ("INCR n", b":1\r\n"), ("INCRBY n 41", b":42\r\n"), ("DECR n", b":41\r\n"), ("DECRBY n 50", b":-9\r\n"),
              (f"SET n {most}", OK), ("INCR n", overflow), ("DECR n", b":%d\r\n" % (most - 1)),
              (f"SET n {least}", OK), ("DECR n", overflow), ("GET n", bulk(b"%d" % least)),
              (f"DECRBY n {least}", b"-ERR decrement would overflow\r\n"), (f"INCRBY n {most + 1}", NOT_A_NUMBER),
              *((("SET", "n", text), OK) if even else ("INCR n", NOT_A_NUMBER)
                for text in ("", " 1", "1 ", "01", "+1", "1.0", "-0", "x", f"{most + 1}", "1" * 100) for even in (1, 0)))


@tap.test_for_each(SETUPS)
def inline_commands_are_split_as_redis_splits_them(setup):
    with serving(setup) as (_, client):
        client.ask(b"PING\r\n", b"+PONG\r\n")
        client.ask(b"\r\n  \n*0\r\n*-1\r\n  ping \t hello\n", bulk(b"hello"))
        client.ask(b'echo "a\\x41\\n\\"\\z"\r\n', bulk(b'aA\n"z'))
        client.ask(b"echo 'it\\'s \\n'\r\n", bulk(b"it's \\n"))
        client.ask(b"set k ''\r\nget k\r\n", OK + bulk(b""))


@tap.test_for_each(SETUPS)
def keys_expire_when_they_are_asked_for_and_by_themselves(setup):
    with serving(setup) as (_, client):
        check(client,
              ("SET k v EX 100", OK), ("TTL k", b":100\r\n"), ("APPEND k w", b":2\r\n"), ("TTL k", b":100\r\n"),
              ("SET k v KEEPTTL", OK), ("TTL k", b":100\r\n"), ("SET k v", OK), ("TTL k", b":-1\r\n"), ("TTL none", b":-2\r\n"),
              ("EXPIRE k 50", b":1\r\n"), ("TTL k", b":50\r\n"), ("EXPIRE none 1", b":0\r\n"), ("EXPIRE k x", NOT_A_NUMBER),
              ("EXPIRE k -1", b":1\r\n"), ("EXISTS k", b":0\r\n"))
        check(client, *((f"SET long-{i} v EX 1000", OK) for i in range(100)))
        check(client, *((f"SET short-{i} v PX {1 + i % 50}", OK) for i in range(1000)))
        deadline = time.monotonic() + DEADLINE_SECONDS
        while client.answer(request("GET", "short-49")) != NULL:
            assert time.monotonic() < deadline, "it does not expire"
        while client.information("keyspace")["db0"] != "keys=100,expires=100,avg_ttl=0":
            assert time.monotonic() < deadline, client.information("keyspace")
            time.sleep(0.02)


@tap.test_for_each(SETUPS)
def values_of_every_length_come_back(setup):
    lengths = [0, 1, 2, 255, 256, 257, 1000, *range(1020, 1030), 4096, 16384, 65535, 65536, 1 << 20]
    with serving(setup) as (_, client):
        for length in lengths:
            value = bytes(i * 7 % 251 for i in range(251)) * (length // 251 + 1)
            value = value[:length]
            client.ask(request("SET", "k", value), OK)
            client.ask(request("GET", "k"), bulk(value))
            client.ask(request("APPEND", "k", b"!"), b":%d\r\n" % (length + 1))
            client.ask(request("GET", "k"), bulk(value + b"!"))
            client.ask(request("ECHO", value), bulk(value))


@tap.test_for_each(SETUPS)
def a_value_may_grow_and_go_while_it_is_being_sent(setup):
    piece, pieces = b"0123456789abcdef" * 4096, 50  # more than the kernel's buffers hold
    with serving(setup) as (server, client), Client(server.endpoint, receive_buffer_bytes=4096) as slow:
        for i in range(pieces):
            client.ask(request("APPEND", "k", piece), b":%d\r\n" % ((i + 1) * len(piece)))
        slow.ask(request("GET", "k"), b"$%d\r\n" % (pieces * len(piece)))
        for i in range(pieces, 2 * pieces):
            client.ask(request("APPEND", "k", piece), b":%d\r\n" % ((i + 1) * len(piece)))
        client.ask(request("SET", "k", b"y" * 2000) + request("DEL", "k"), OK + b":1\r\n")
        slow.expect(piece * pieces + b"\r\n")


@tap.test_for_each(SETUPS)
def sixteen_pipelined_values_of_10_mib_arrive_whole(setup):
    value = bytes(range(256)) * (10 * MEBIBYTE // 256)
    with serving(setup) as (_, client):
        client.ask(request("SET", "k", value), OK)
        client.send(request("GET", "k") * 16)
        for _ in range(16):
            client.expect(bulk(value))
        client.send(request("MGET", *["k"] * 16))
        client.expect(b"*16\r\n")
        for _ in range(16):
            client.expect(bulk(value))


@tap.test_for_each(SETUPS)
def all_loops_share_the_keys(setup):
    clients, increments = 8, 500
    with serving(setup) as (server, first), contextlib.ExitStack() as stack:
        others = [stack.enter_context(Client(server.endpoint)) for _ in range(clients)]
        for other in others:
            other.send(request("INCR", "n") * increments)
        for other in others:
            other.answer(b"")
        first.ask(request("GET", "n"), bulk(b"%d" % (clients * increments)))


def change(word, channel, count):
    """The answer to SUBSCRIBE and UNSUBSCRIBE."""
    return b"*3\r\n" + bulk(word) + (bulk(channel) if channel else NULL) + b":%d\r\n" % count


def message(channel, text):
    return b"*3\r\n" + bulk(b"message") + bulk(channel) + bulk(text)


@tap.test_for_each(SETUPS)
def messages_reach_the_subscribers_on_all_loops(setup):
    with serving(setup) as (server, publisher), contextlib.ExitStack() as stack:
        subscribers = [stack.enter_context(Client(server.endpoint)) for _ in range(4)]
        for subscriber in subscribers:
            subscriber.ask(request("SUBSCRIBE", "a", "b", "a"), change(b"subscribe", b"a", 1) +
                           change(b"subscribe", b"b", 2) + change(b"subscribe", b"a", 2))
        large = b"x" * 100_000
        publisher.ask(request("PUBLISH", "a", "one") + request("PUBLISH", "none", "x") + request("PUBLISH", "b", large),
                      b":4\r\n:0\r\n:4\r\n")
        for subscriber in subscribers:
            subscriber.expect(message(b"a", b"one") + message(b"b", large))
            subscriber.ask(request("GET", "k"), b"-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / "
                           b"QUIT / RESET are allowed in this context\r\n")
            subscriber.ask(request("PING"), b"*2\r\n" + bulk(b"pong") + bulk(b""))
        subscribers[0].ask(request("UNSUBSCRIBE", "a", "none"),
                           change(b"unsubscribe", b"a", 1) + change(b"unsubscribe", b"none", 1))
        subscribers[1].ask(request("UNSUBSCRIBE"), change(b"unsubscribe", b"a", 1) + change(b"unsubscribe", b"b", 0))
        subscribers[1].ask(request("UNSUBSCRIBE") + request("GET", "k"), change(b"unsubscribe", b"", 0) + NULL)
        publisher.ask(request("PUBLISH", "a", "two"), b":2\r\n")
        subscribers[2].expect(message(b"a", b"two"))
        subscribers[2].close()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while publisher.answer(request("PUBLISH", "a", "three")) != b":1\r\n":
            assert time.monotonic() < deadline, "a connection that is closed is still subscribed"


@tap.test_for_each(SETUPS)
def messages_keep_their_order_and_none_follows_the_answer_to_unsubscribe(setup):
    count = 5000
    stream = [message(b"a", b"%d" % number) for number in range(count)]
    with serving(setup) as (server, publisher), contextlib.ExitStack() as stack:
        subscribers = [stack.enter_context(Client(server.endpoint)) for _ in range(4)]
        for subscriber in subscribers:
            subscriber.ask(request("SUBSCRIBE", "a"), change(b"subscribe", b"a", 1))
        publisher.send(b"".join(request("PUBLISH", "a", number) for number in range(count)))
        for subscriber in subscribers[1:]:
            subscriber.expect(stream[0])
            got = subscriber.answer(request("UNSUBSCRIBE", "a"))
            end = change(b"unsubscribe", b"a", 0)
            assert got.endswith(end) and b"".join(stream[1:]).startswith(got[:-len(end)]), got[:200]
        subscribers[0].expect(b"".join(stream))
        publisher.answer(b"")


MESSAGES_OF_A_MEBIBYTE = 48  # more than the server queues for a subscriber, and its system for the socket


@tap.test_for_each(SETUPS)
def a_subscriber_that_does_not_read_is_closed_and_the_others_get_every_message(setup):
    text = b"x" * MEBIBYTE
    with serving(setup) as (server, publisher), Client(server.endpoint) as reader:
        reader.ask(request("SUBSCRIBE", "a"), change(b"subscribe", b"a", 1))
        descriptors = descriptors_of(server)
        with Client(server.endpoint, receive_buffer_bytes=4096) as stuck:
            stuck.ask(request("SUBSCRIBE", "a"), change(b"subscribe", b"a", 1))
            published, deadline, receivers = 0, time.monotonic() + DEADLINE_SECONDS, b":2\r\n"
            while receivers == b":2\r\n":
                assert time.monotonic() < deadline, "it is not closed"
                receivers = publisher.answer(request("PUBLISH", "a", text if published < MESSAGES_OF_A_MEBIBYTE else b"x"))
                reader.expect(message(b"a", text if published < MESSAGES_OF_A_MEBIBYTE else b"x"))
                published += 1
            assert receivers == b":1\r\n" and published > 32, (receivers, published)
            got = received_until_end(stuck.socket)
            assert len(got) < published * len(text) and (message(b"a", text) * 2).startswith(got[:2 * MEBIBYTE]), len(got)
        while descriptors_of(server) > descriptors:
            assert time.monotonic() < deadline, "a descriptor is left"


@tap.test_for_each(SETUPS)
def an_idle_connection_is_closed_in_time_but_not_a_subscriber(setup):
    with serve(setup, "--idle-seconds", "1") as server, Client(server.endpoint) as subscriber, Client(server.endpoint) as idle:
        subscriber.ask(request("SUBSCRIBE", "a"), change(b"subscribe", b"a", 1))
        idle.ask(request("CONFIG", "GET", "timeout"), b"*2\r\n" + bulk(b"timeout") + bulk(b"1"))
        assert idle.socket.recv(1) == b""
        with Client(server.endpoint) as publisher:
            publisher.ask(request("PUBLISH", "a", "x"), b":1\r\n")
            subscriber.expect(message(b"a", b"x"))
        subscriber.ask(request("UNSUBSCRIBE"), change(b"unsubscribe", b"a", 0))
        assert subscriber.socket.recv(1) == b""
        server.stop()


def timer_of_server(client):
    """The kernel's timer of the server's end of the connection (proc_net_tcp.rst, "tr"): 0 none, 2 keepalive."""
    ends = [f"0100007F:{address[1]:04X}" for address in (client.socket.getpeername(), client.socket.getsockname())]
    with open("/proc/net/tcp", encoding="ascii") as file:
        return next(int(words[5].split(":")[0]) for words in map(str.split, file) if words[1:3] == ends)


@tap.test_for_each(SETUPS)
def the_system_probes_silent_clients_unless_that_is_switched_off(setup):
    for options, seconds, timer in ((), 300, 2), (("--keepalive-seconds", "7"), 7, 2), (("--keepalive-seconds", "0"), 0, 0):
        with serving(setup, *options) as (_, client):
            check(client, ("CONFIG GET tcp-keepalive", b"*2\r\n" + bulk(b"tcp-keepalive") + bulk(b"%d" % seconds)))
            deadline = time.monotonic() + DEADLINE_SECONDS
            while (actual := timer_of_server(client)) != timer:  # at first that of the answer's acknowledgement
                assert time.monotonic() < deadline, actual


@tap.test_for_each(SETUPS)
def memory_has_a_limit_and_is_returned(setup):
    refused = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
    with serving(setup, "--max-memory", "1000000") as (_, client):
        check(client, ("CONFIG GET maxmemory", b"*2\r\n" + bulk(b"maxmemory") + bulk(b"1000000")))
        value = b"x" * 600_000
        client.ask(request("SET", "a", value), OK)
        client.ask(request("SET", "b", value), refused)
        client.ask(request("APPEND", "a", value), refused)
        client.ask(request("SET", "a", value[1:]), OK)
        client.ask(request("GET", "a"), bulk(value[1:]))
        check(client, ("SET small v", OK), ("DEL a", b":1\r\n"))
        client.ask(request("SET", "b", value), OK)
        check(client, ("SET b v", OK), ("SET small v EX 10", OK), ("INCR n", b":1\r\n"))
        assert 0 < int(client.information("memory")["used_memory"]) < 1000
        check(client, ("DEL b small n", b":3\r\n"))
        assert client.information("memory")["used_memory"] == "0"


@tap.test
def wrong_options_are_refused_with_one_line():
    for options, reason in {("--max-bulk", "1023"): "--max-bulk '1023': must be a whole number from 1024 to 1073741824",
                            ("--idle-seconds", "86401"): "--idle-seconds '86401': must be a whole number from 0 to 86400",
                            ("--keepalive-seconds", "-1"): "--keepalive-seconds '-1': must be a whole number from 0 to 32767",
                            ("--max-memory", "x"): "--max-memory 'x': must be a whole number from 0 to",
                            ("--processes", "2"): "--processes '2': must be 1"}.items():
        status, output, errors = run_to_end(REDIS, *options)
        assert (status, output) == (2, ""), (status, output)
        assert errors.startswith(f"jd-redis: {reason}") and errors.count("\n") == 1, errors


tap.main()
