#!/usr/bin/env python3
"""./dev chaos, scripts/chaos.py, on small servers of this file that fail in the ways it has to detect, and on one that does not.

Arguments: the paths of chaos.py and of the program chaos.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import tap

CHAOS, CLIENT = map(os.path.abspath, sys.argv[1:])

# A server with a thread for each connection. FAULT is what it does wrong.
SERVER = """#!{python}
import os, signal, socket, sys, threading, time
if "--help" in sys.argv:
    print("  -e, --engine NAME         auto (default), reactor")
    sys.exit()
FAULT = "{fault}"
listener = socket.create_server(("127.0.0.1", 0), backlog=256)
kept = []
served = 0

def serve(client):
    global served
    served += 1
    try:
        if FAULT == "loses one" and served % 8 == 0:
            return
        while data := client.recv(65536):
            client.sendall(bytes(reversed(data)) if FAULT == "wrong answers" else data)
    except OSError:
        pass
    finally:
        if FAULT == "keeps descriptors" and served > 20:
            kept.append(client)
        else:
            client.close()
        if FAULT == "keeps memory":
            kept.append(bytearray(os.urandom(1)) * (1 << 18))

def spin():
    while True:
        if served > 20:
            sum(range(10000))
        else:
            time.sleep(0.05)

def end(number, frame):
    if FAULT != "does not end" or served == 0:
        os._exit(3 if FAULT == "ends with another status" and served > 0 else 0)

signal.signal(signal.SIGTERM, end)
if FAULT == "does not sleep":
    threading.Thread(target=spin, daemon=True).start()
host, port = listener.getsockname()
print(f"listening on {{host}}:{{port}} engine=reactor threads=0", flush=True)
while True:
    client, _ = listener.accept()
    if FAULT == "crashes" and served > 100:
        os._exit(4)
    threading.Thread(target=serve, args=(client,), daemon=True).start()
"""

FAULTS = {
    "wrong answers": "an honest client: byte",
    "loses one": "an honest client: no answer",
    "keeps descriptors": "descriptors, not",
    "keeps memory": "MiB of memory after the run",
    "does not sleep": "% of a core",
    "does not end": "s after SIGTERM",
    "ends with another status": "exit status 3 after SIGTERM",
    "crashes": "honest client: ",
}


def chaos(fault, *options):
    """Returns the exit status and the output of a run."""
    with tempfile.TemporaryDirectory() as folder:
        build = pathlib.Path(folder)
        (build / "examples").mkdir()
        (build / "tests" / "chaos").mkdir(parents=True)
        (build / "tests" / "chaos" / "chaos").symlink_to(CLIENT)
        program = build / "examples" / "jd-echo"
        program.write_text(SERVER.format(python=sys.executable, fault=fault), encoding="utf-8")
        program.chmod(0o755)
        done = subprocess.run([sys.executable, CHAOS, folder, "--server", "jd-echo", "--seconds", "2", "--connections", "40",
                               "--seed", "1", "--calm", "3", *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False)
        return done.returncode, done.stdout + done.stderr


@tap.test
def a_server_that_serves_all_and_keeps_nothing_passes():
    status, output = chaos("")
    assert status == 0 and "\nok jd-echo reactor default: " in "\n" + output.replace("1 of 1: ", "\n"), (status, output)


@tap.test_for_each({fault: (fault, text) for fault, text in FAULTS.items()})
def a_fault_is_detected_and_the_command_that_repeats_it_is_printed(case):
    fault, expected = case
    status, output = chaos(fault)
    assert status == 1 and "FAILED jd-echo reactor default: " in output and expected in output, (status, output)
    assert "./dev chaos --server jd-echo --engine reactor --options default --seconds 2 --connections 40 --seed 1" in output, output


@tap.test
def one_combination_is_picked_by_a_hash():
    chosen = {chaos("", "--pick", hexadecimal, "--list")[1] for hexadecimal in ("0", "1", "2", "a9")}
    assert len(chosen) == 4 and all(len(lines.splitlines()) == 1 for lines in chosen), chosen


tap.main()
