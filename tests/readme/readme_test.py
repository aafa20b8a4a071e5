#!/usr/bin/env python3
"""The README's server is examples/smallest.c, and it does what the README says. Speaks TAP."""

import os
import re
import socket
import subprocess
import sys
import time

CONNECT_SECONDS = 10
POLL_SECONDS = 0.02


def readme_shows_the_smallest_server(root, _):
    with open(os.path.join(root, "README.md"), encoding="utf-8") as readme:
        shown = re.findall(r"^```c\n(.*?)^```$", readme.read(), re.MULTILINE | re.DOTALL)
    with open(os.path.join(root, "examples", "smallest.c"), encoding="utf-8") as source:
        return source.read() in shown


def readme_names_only_files_that_exist(root, _):
    with open(os.path.join(root, "README.md"), encoding="utf-8") as readme:
        links = re.findall(r"\]\(([^)#:]+)\)", readme.read())
    missing = [link for link in links if not os.path.exists(os.path.join(root, link))]
    print("# missing:", missing)
    return len(links) > 0 and not missing


def connect(name):
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(CONNECT_SECONDS)
        try:
            client.connect("\0" + name)
            return client
        except ConnectionRefusedError:
            client.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)


def the_smallest_server_echoes(_, program):
    name = f"jinduo-readme-{os.getpid()}"
    with subprocess.Popen([program, f"unix:@{name}"]) as server:
        try:
            with connect(name) as client:
                client.sendall(b"hello\n")
                return client.makefile("rb").readline() == b"hello\n"
        finally:
            server.terminate()


def main():
    tests = (readme_shows_the_smallest_server, readme_names_only_files_that_exist, the_smallest_server_echoes)
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        try:
            passed = test(*sys.argv[1:])
        except OSError as error:
            print("#", error)
            passed = False
        print("ok" if passed else "not ok", number, "-", test.__name__, flush=True)


if __name__ == "__main__":
    main()
