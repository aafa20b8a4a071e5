#!/usr/bin/env python3
"""jd-tally adds up what each connection sends.

Argument: the path of jd-tally.
"""

import sys

import tap
from server import Server, connect

TALLY = sys.argv[1]
THREADS = (0, 3)


def answer_to(client, sent, count):
    """The next count lines after these bytes."""
    client.sendall(sent)
    with client.makefile("rb") as lines:
        return [lines.readline().decode() for _ in range(count)]


@tap.test_for_each(THREADS)
def each_connection_has_a_sum_of_its_own(threads):
    with Server(TALLY, "--listen", "127.0.0.1:0", "--threads", str(threads)) as server:
        first, second = connect(server.endpoint), connect(server.endpoint)
        assert answer_to(first, b"5\n7\r\n", 2) == ["5\n", "12\n"]
        assert answer_to(second, b"-1\n", 1) == ["-1\n"]
        assert answer_to(first, b"10\n", 1) == ["22\n"]
        first.close()
        second.close()
        server.stop()


@tap.test_for_each(THREADS)
def a_body_is_counted_by_its_bytes_and_lines_go_on_behind_it(threads):
    with Server(TALLY, "--listen", "127.0.0.1:0", "--threads", str(threads)) as server:
        client = connect(server.endpoint)
        assert answer_to(client, b"body 3\n\n\n\n1\nbody 1\n\x022\n", 4) == ["30\n", "31\n", "33\n", "35\n"]
        body = bytes(range(256)) * 1000
        assert answer_to(client, b"body 256000\n" + body + b"0\n", 2) == [f"{35 + sum(body)}\n"] * 2
        client.close()
        server.stop()


@tap.test_for_each(("x", "", "body 0", "body x", "body 1073741825", "9223372036854775808"))
def what_is_no_number_changes_nothing(line):
    with Server(TALLY, "--listen", "127.0.0.1:0") as server:
        client = connect(server.endpoint)
        answers = answer_to(client, f"1\n{line}\n1\n".encode(), 3)
        if line == "9223372036854775808":   # saturated by strtoll(3): the sum would overflow
            assert answers[1] == "no number\n", answers
        else:
            assert (answers[0], answers[1][:3], answers[2]) == ("1\n", "no ", "2\n"), answers
        client.close()
        server.stop()


tap.main()
