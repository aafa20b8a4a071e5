#!/usr/bin/env python3
"""jd-chat: what one says, all get.

Arguments: the paths of the programs, jd-chat the third.
"""

import re
import sys

import tap
from server import Server, connect

CHAT = sys.argv[3]
THREADS = (0, 3)


class Guest:
    """Connected, greeted, and told of its own coming."""

    def __init__(self, endpoint):
        self.socket = connect(endpoint)
        self.lines = self.socket.makefile("rb")
        greeting = re.fullmatch(r"\* You are (guest-\d+)\. /nick NAME changes that, /quit leaves\.", self.line())
        assert greeting, "no greeting"
        self.name = greeting.group(1)
        self.line_until(f"* {self.name} has come")

    def say(self, text):
        self.socket.sendall(text.encode() + b"\n")

    def line(self):
        return self.lines.readline().decode().removesuffix("\n")

    def line_until(self, wanted):
        """Skips lines up to the one that is wanted; those of others may come in between."""
        while (line := self.line()) != wanted:
            assert line, f"ended before {wanted!r}"

    def close(self):
        self.lines.close()
        self.socket.close()


class Room:
    """with Room(guests, threads) as (server, guests)"""

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
def all_get_what_one_says_and_the_one_too(threads):
    with Room(5, threads) as (_, guests):
        guests[2].say("hello, all")
        for guest in guests:
            guest.line_until(f"{guests[2].name}: hello, all")


@tap.test_for_each(THREADS)
def each_gets_the_lines_of_each_in_the_order_they_were_said(threads):
    count = 300
    with Room(4, threads) as (_, guests):
        for number in range(count):
            for guest in guests:
                guest.say(f"line {number}")
        for guest in guests:
            heard = {other.name: [] for other in guests}
            while sum(map(len, heard.values())) < count * len(guests):
                name, _, text = guest.line().partition(": ")
                if name in heard:
                    heard[name].append(text)
            for name, lines in heard.items():
                assert lines == [f"line {number}" for number in range(count)], (name, lines[:5])


@tap.test_for_each(THREADS)
def coming_and_going_is_told(threads):
    with Room(2, threads) as (server, guests):
        newcomer = Guest(server.endpoint)
        for guest in guests:
            guest.line_until(f"* {newcomer.name} has come")
        newcomer.say("/quit")
        newcomer.lines.read()
        newcomer.close()
        for guest in guests:
            guest.line_until(f"* {newcomer.name} has gone")


@tap.test_for_each(THREADS)
def a_name_can_be_changed(threads):
    with Room(2, threads) as (_, (one, other)):
        one.say("/nick Ada-1")
        one.say("it is me")
        other.line_until(f"* {one.name} is now Ada-1")
        other.line_until("Ada-1: it is me")


@tap.test_for_each({name or "none": name for name in ("", "two words", "x" * 21, "na\x1bme", "\u00e4")})
def a_name_that_is_none_is_refused(name):
    with Room(1, 0) as (_, (guest,)):
        guest.say(f"/nick {name}")
        guest.line_until("* A name has 1 to 20 letters, digits, - and _.")
        guest.say("still here")
        guest.line_until(f"{guest.name}: still here")


@tap.test
def a_command_that_is_none_is_answered_to_the_one_who_gave_it():
    with Room(2, 0) as (_, (one, other)):
        one.say("/dance")
        one.line_until("* There are /nick NAME and /quit.")
        one.say("hm")
        assert other.line() == f"{one.name}: hm"


@tap.test
def control_characters_do_not_reach_others_terminals():
    with Room(2, 0) as (_, (one, other)):
        one.say("red \x1b[31m and \x00 bell \x07\r")
        other.line_until(f"{one.name}: red ?[31m and ? bell ?")


@tap.test
def a_line_that_is_too_long_ends_its_connection_only():
    with Room(2, 0) as (_, (one, other)):
        one.say("x" * 2000)
        one.lines.read()
        other.line_until(f"* {one.name} has gone")
        other.say("good riddance")
        other.line_until(f"{other.name}: good riddance")


tap.main()
