"""A small test framework that prints TAP. A test is a function; its name states the behaviour."""

import signal
import sys
import traceback

TEST_SECONDS = 120

_tests = []


class Skip(Exception):
    """Raised by a test that cannot run on this system; its text is the reason."""


def test(function):
    """Registers a test."""
    _tests.append((function.__name__.replace("_", " "), function, ()))
    return function


def test_for_each(parameters):
    """Registers a test once for each parameter. The parameters are a dictionary, whose keys are appended to the test's name, or
    a sequence of values, which are appended themselves."""
    named = parameters if isinstance(parameters, dict) else {str(parameter): parameter for parameter in parameters}

    def register(function):
        for name, parameter in named.items():
            _tests.append((f"{function.__name__.replace('_', ' ')}: {name}", function, (parameter,)))
        return function
    return register


def _on_alarm(number, frame):
    raise TimeoutError(f"not done after {TEST_SECONDS} s")


def _on_terminate(number, frame):
    # An exception, so that with-statements end the programs that they started.
    sys.exit("terminated")


def _comment(text):
    for line in text.splitlines():
        print(f"# {line}")


def _run(number, name, function, arguments):
    signal.alarm(TEST_SECONDS)
    try:
        function(*arguments)
        print(f"ok {number} - {name}", flush=True)
        return True
    except Skip as reason:
        print(f"ok {number} - {name} # SKIP {reason}", flush=True)
        return True
    except Exception:  # any failure: the other tests still run
        print(f"not ok {number} - {name}")
        _comment(traceback.format_exc())
        sys.stdout.flush()
        return False
    finally:
        signal.alarm(0)


def main():
    """Runs all registered tests."""
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.signal(signal.SIGTERM, _on_terminate)
    print(f"1..{len(_tests)}")
    passed = [_run(number, *test) for number, test in enumerate(_tests, 1)]
    sys.exit(0 if all(passed) else 1)
