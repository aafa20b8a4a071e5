#!/usr/bin/env python3
"""jd-chat sends each line to all connections.

Arguments: the paths of jd-echo, jd-frame-echo and jd-chat; only the last is used.
"""

import re
import sys

import tap
from server import Server, connect

CHAT = sys.argv[3]
THREADS = (0, 3)


class Guest:
    """A client that has received its greeting and the line that it has joined."""

    def __init__(self, endpoint):
        self.socket = connect(endpoint)
        self.lines = self.socket.makefile("rb")
        greeting = re.fullmatch(r"\* You are (guest-\d+)\. Commands: /nick NAME, /quit\.", self.line())
        assert greeting, "no greeting"
        self.name = greeting.group(1)
        self.line_until(f"* {self.name} has joined")

    def say(self, text):
        self.socket.sendall(text.encode() + b"\n")

    def line(self):
        return self.lines.readline().decode().removesuffix("\n")

    def line_until(self, wanted):
        """Reads lines until the wanted one; lines of other guests may come before it."""
        while (line := self.line()) != wanted:
            assert line, f"end of file before {wanted!r}"

    def close(self):
        self.lines.close()
        self.socket.close()


class Room:
    """with Room(count, threads) as (server, guests): count guests are connected."""

    def __init__(self, count, threads):
        self.server = Server(CHAT, "--listen", "127.0.0.1:0", "--threads", str(threads))
        self.guests = []
        try:
            for _ in range(count):
                self.guests.append(Guest(self.server.endpoint))
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise

    def __enter__(self):
        return self.server, self.guests

    def __exit__(self, kind, value, trace):
        for guest in self.guests:
            guest.close()
        if kind is None:
            self.server.stop()
        self.server.__exit__(kind, value, trace)


@tap.test_for_each(THREADS)
def a_line_is_sent_to_all_guests_and_to_its_sender(threads):
    with Room(5, threads) as (_, guests):
        guests[2].say("hello, all")
        for guest in guests:
            guest.line_until(f"{guests[2].name}: hello, all")


@tap.test_for_each(THREADS)
def every_guest_receives_the_lines_of_each_guest_in_order(threads):
    count = 300
    with Room(4, threads) as (_, guests):
        for number in range(count):
            for guest in guests:
                guest.say(f"line {number}")
        for guest in guests:
            received = {other.name: [] for other in guests}
            while sum(map(len, received.values())) < count * len(guests):
                name, _, text = guest.line().partition(": ")
                if name in received:
                    received[name].append(text)
            for name, lines in received.items():
                assert lines == [f"line {number}" for number in range(count)], (name, lines[:5])


@tap.test_for_each(THREADS)
def joining_and_leaving_is_announced(threads):
    with Room(2, threads) as (server, guests):
        newcomer = Guest(server.endpoint)
        for guest in guests:
            guest.line_until(f"* {newcomer.name} has joined")
        newcomer.say("/quit")
        newcomer.lines.read()
        newcomer.close()
        for guest in guests:
            guest.line_until(f"* {newcomer.name} has left")


@tap.test_for_each(THREADS)
def a_name_can_be_changed(threads):
    with Room(2, threads) as (_, (one, other)):
        one.say("/nick Ada-1")
        one.say("it is me")
        other.line_until(f"* {one.name} is now Ada-1")
        other.line_until("Ada-1: it is me")


@tap.test_for_each({name or "none": name for name in ("", "two words", "x" * 21, "na\x1bme", "\u00e4")})
def an_invalid_name_is_refused(name):
    with Room(1, 0) as (_, (guest,)):
        guest.say(f"/nick {name}")
        guest.line_until("* /nick: a name is 1 to 20 characters from a-z, A-Z, 0-9, - and _.")
        guest.say("still here")
        guest.line_until(f"{guest.name}: still here")


@tap.test
def an_unknown_command_is_answered_only_to_its_sender():
    with Room(2, 0) as (_, (one, other)):
        one.say("/dance")
        one.line_until("* Unknown command. Commands: /nick NAME, /quit.")
        one.say("hm")
        assert other.line() == f"{one.name}: hm"


@tap.test
def control_characters_are_replaced_in_the_lines_sent_to_others():
    with Room(2, 0) as (_, (one, other)):
        one.say("red \x1b[31m and \x00 bell \x07\r")
        other.line_until(f"{one.name}: red ?[31m and ? bell ?")


@tap.test
def a_line_that_is_too_long_closes_only_its_connection():
    with Room(2, 0) as (_, (one, other)):
        one.say("x" * 2000)
        one.lines.read()
        other.line_until(f"* {one.name} has left")
        other.say("good riddance")
        other.line_until(f"{other.name}: good riddance")


tap.main()
