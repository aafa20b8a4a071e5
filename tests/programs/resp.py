"""The redis protocol (RESP2), as much as the tests of jd-redis need."""

import itertools

from server import connect, receive


def request(*arguments):
    """An array of bulk strings."""
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def bulk(value):
    return b"$%d\r\n%s\r\n" % (len(value), value)


def received_until_end(client):
    """All bytes up to the peer's FIN; a reset counts as one."""
    received = bytearray()
    try:
        while piece := client.recv(1 << 20):
            received += piece
    except ConnectionError:
        pass
    return bytes(received)


class Client:
    """A connection whose answers are compared byte for byte."""

    _markers = itertools.count()

    def __init__(self, endpoint, **more):
        self.socket = connect(endpoint, **more)

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, data, expected):
        self.send(data)
        self.expect(expected)

    def expect(self, expected):
        got = receive(self.socket, len(expected))
        assert got == expected, f"{got[:200]!r}, not {expected[:200]!r}"

    def answer(self, data):
        """The answer to a request, whatever its length: everything before the echo that is asked for behind it."""
        marker = bulk(b"marker %d" % next(self._markers))
        self.send(data + b"*2\r\n$4\r\nECHO\r\n" + marker)
        got = bytearray()
        while not got.endswith(marker):
            piece = self.socket.recv(1 << 16)
            assert piece, f"closed behind {bytes(got)[-200:]!r}"
            got += piece
        return bytes(got[:-len(marker)])

    def information(self, section):
        """INFO as a dictionary."""
        text = self.answer(request("INFO", section)).decode()
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()
