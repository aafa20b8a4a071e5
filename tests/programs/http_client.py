"""A client that sends bytes as they are, and reads answers of HTTP/1.1 as RFC 9112 says."""

import dataclasses

from server import DEADLINE_SECONDS, connect

HOST = b"Host: test\r\n"


@dataclasses.dataclass
class Answer:
    status: int
    reason: str
    fields: dict   # by their names in small letters
    body: bytes

    @property
    def closes(self):
        return self.fields.get("connection") == "close"


class Client:
    """with Client(endpoint) as client: one connection."""

    def __init__(self, endpoint):
        self.socket = connect(endpoint)
        self.socket.settimeout(DEADLINE_SECONDS)
        self.pending = b""

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        piece = self.socket.recv(1 << 16)
        self.pending += piece
        return piece

    def _until(self, found):
        while not found():
            assert self._more(), f"the connection ended; received: {self.pending[:200]!r}"

    def _take(self, length):
        taken, self.pending = self.pending[:length], self.pending[length:]
        return taken

    def head(self):
        """Reads a head: an answer without its body."""
        self._until(lambda: b"\r\n\r\n" in self.pending)
        lines = self._take(self.pending.index(b"\r\n\r\n") + 4).decode("latin-1").split("\r\n")[:-2]
        version, status, reason = lines[0].split(" ", 2)
        assert version == "HTTP/1.1", lines[0]
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            assert name.lower() not in fields, f"two fields {name}"
            fields[name.lower()] = value
        return Answer(int(status), reason, fields, b"")

    def body(self, length):
        """Reads the body of an answer whose head has been read."""
        self._until(lambda: len(self.pending) >= length)
        return self._take(length)

    def answer(self, to_head=False):
        """Reads an answer; to_head: to a HEAD, which has no body."""
        answer = self.head()
        if not to_head and answer.status != 304 and answer.status >= 200:
            answer.body = self.body(int(answer.fields["content-length"]))
        return answer

    def ask(self, head, *fields, body=b"", host=HOST):
        """Sends a request: head is "GET /"."""
        lines = b"".join(field.encode() + b"\r\n" for field in fields)
        self.send(head.encode() + b" HTTP/1.1\r\n" + host + lines + b"\r\n" + body)
        return self.answer(to_head=head.startswith("HEAD "))

    def expect_end(self):
        """Nothing but the server's FIN may come."""
        assert self.pending == b"", self.pending[:200]
        received = self.socket.recv(1 << 16)
        assert received == b"", received[:200]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.socket.close()
