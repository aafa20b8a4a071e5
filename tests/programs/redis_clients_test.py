#!/usr/bin/env python3
"""jd-redis with the clients of redis: redis-benchmark, redis-cli, hiredis, redis-py.

Arguments: the path of jd-redis; of the client on hiredis, or "" without hiredis; "quick" for fewer commands.
"""

import subprocess
import sys

import clients
import tap
from resp import request
from server import Server, available_engines

REDIS, HIREDIS_CLIENT = sys.argv[1:3]
QUICK = "quick" in sys.argv[3:]
CLIENT_SECONDS = 100
SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's packages belong to it

SETUPS = {f"{engine} threads {threads}": (engine, threads) for engine in available_engines(REDIS) for threads in (0, 2)}


def serve(setup, *options):
    engine, threads = setup
    return Server(REDIS, "--engine", engine, "--threads", str(threads), "--listen", "127.0.0.1:0", *options)


def run(server, program, *arguments, data=b""):
    """Runs a client to its end; its arguments host and port are named HOST and PORT. Returns its standard output."""
    host, port = server.endpoint.rsplit(":", 1)
    command = [program, *[{"HOST": host, "PORT": port}.get(argument, argument) for argument in arguments]]
    done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=CLIENT_SECONDS)
    assert done.returncode == 0, f"{command}: exit status {done.returncode}: {done.stdout[-500:]!r} {done.stderr[-500:]!r}"
    return done.stdout


LOADS = {"50 clients": ("-c", "50", "-n", "10000"), "500 clients": ("-c", "500", "-n", "10000"),
         "50 clients, 16 pipelined": ("-c", "50", "-n", "100000", "-P", "16")}


@tap.test_for_each({f"{load}, {name}": (load, setup) for load in LOADS for name, setup in SETUPS.items()})
def redis_benchmark_runs_to_its_end(parameters):
    load, setup = parameters
    program = clients.require("redis-benchmark")
    names = "ping,set,get" if QUICK else "ping,set,get,incr,mset"
    count = ("-n", "2000") if QUICK else ()
    with serve(setup) as server:
        output = run(server, program, "-h", "HOST", "-p", "PORT", *LOADS[load], *count, "-r", "1000", "-t", names, "--csv")
        rows = [line for line in output.decode().splitlines() if line.startswith('"') and not line.startswith('"test"')]
        assert len(rows) == len(names.split(",")) + 1, output  # ping is measured in both forms
        assert b"rror" not in output, output
        server.stop()


@tap.test_for_each(SETUPS)
def redis_cli_shows_what_it_shows_of_redis(setup):
    program = clients.require("redis-cli")
    with serve(setup) as server:
        for arguments, expected in {
                ("SET", "key", "a value"): b"OK\n", ("GET", "key"): b"a value\n", ("GET", "none"): b"\n",
                ("INCR", "n"): b"1\n", ("MGET", "key", "n"): b"a value\n1\n", ("DBSIZE",): b"2\n",
                ("GET",): b"ERR wrong number of arguments for 'get' command\n\n"}.items():
            got = run(server, program, "-h", "HOST", "-p", "PORT", *arguments)
            assert got == expected, f"{arguments}: {got!r}"
        large = b"x" * (10 << 20)
        assert run(server, program, "-h", "HOST", "-p", "PORT", "-x", "SET", "large", data=large) == b"OK\n"
        assert run(server, program, "-h", "HOST", "-p", "PORT", "GET", "large") == large + b"\n"
        assert b"# Server" in run(server, program, "-h", "HOST", "-p", "PORT", "INFO")
        server.stop()


@tap.test_for_each(SETUPS)
def redis_cli_pipes_a_hundred_thousand_commands(setup):
    program = clients.require("redis-cli")
    count = 5_000 if QUICK else 100_000
    data = b"".join(request("SET", f"key-{i}", f"value-{i}") for i in range(count))
    with serve(setup) as server:
        output = run(server, program, "-h", "HOST", "-p", "PORT", "--pipe", data=data)
        assert f"errors: 0, replies: {count}".encode() in output, output
        assert run(server, program, "-h", "HOST", "-p", "PORT", "DBSIZE") == b"%d\n" % count
        assert run(server, program, "-h", "HOST", "-p", "PORT", "GET", f"key-{count - 1}") == b"value-%d\n" % (count - 1)
        server.stop()


@tap.test_for_each(SETUPS)
def hiredis_gets_the_answers_of_redis(setup):
    if not HIREDIS_CLIENT:
        clients.missing("libhiredis-dev")
    with serve(setup) as server:
        run(server, HIREDIS_CLIENT, "HOST", "PORT")
        server.stop()


REDIS_PY = """
import sys, redis
server = redis.Redis(sys.argv[1], int(sys.argv[2]))
assert server.ping()
assert server.set("key", b"\\0\\r\\n", ex=100) and server.get("key") == b"\\0\\r\\n" and server.ttl("key") == 100
assert server.set("key", "other", nx=True) is None and server.set("none", "x", xx=True) is None
assert server.incr("n") == 1 and server.decrby("n", 5) == -4 and server.append("text", "abc") == 3
assert server.mset({"a": 1, "b": 2}) and server.mget("a", "none", "b") == [b"1", None, b"2"]
assert server.exists("a", "b", "none") == 2 and server.delete("a", "b") == 2
try:
    server.incr("text")
    raise SystemExit("no error")
except redis.ResponseError as error:
    assert str(error) == "value is not an integer or out of range", error
with server.pipeline(transaction=False) as pipeline:
    for i in range(1000):
        pipeline.incr("counter")
    assert pipeline.execute() == list(range(1, 1001))
assert server.info("memory")["maxmemory"] == 0 and server.config_get("save") == {"save": ""}
listener = server.pubsub()
listener.subscribe("news")
assert listener.get_message(timeout=30)["type"] == "subscribe"
assert server.publish("news", "hello") == 1
assert listener.get_message(timeout=30)["data"] == b"hello"
listener.unsubscribe()
assert listener.get_message(timeout=30)["type"] == "unsubscribe"
listener.close()
assert server.flushall() and server.dbsize() == 0
"""


@tap.test_for_each(SETUPS)
def redis_py_gets_the_answers_of_redis(setup):
    if subprocess.run([SYSTEM_PYTHON, "-c", "import redis"], capture_output=True, check=False).returncode != 0:
        clients.missing("python3-redis")
    with serve(setup) as server:
        run(server, SYSTEM_PYTHON, "-c", REDIS_PY, "HOST", "PORT")
        server.stop()


tap.main()
