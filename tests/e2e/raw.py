"""An HTTP/1.1 client that sends exactly the bytes it is given.

The other clients refuse to send what an attacker would send.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass
from typing import Any

from waiting import PATIENCE


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, bytes]]
    body: bytes

    def header(self, name: str) -> bytes | None:
        for candidate, value in self.headers:
            if candidate == name:
                return value
        return None

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One connection. `read` may be called once per request sent."""

    def __init__(self, port: int, timeout: float = PATIENCE) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._buffer = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def finish_sending(self) -> None:
        """Half-closes: nothing more will come from this side."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Closes so that the other side sees a reset instead of an end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def read_head(self) -> Answer | None:
        """The next answer without its body: all there is after HEAD."""
        head = self._until(b"\r\n\r\n")
        if head is None:
            return None
        lines = head.split(b"\r\n")
        status = int(lines[0].split(b" ", 2)[1])
        headers = []
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            headers.append((name.decode("latin-1").lower(), value.strip()))
        return Answer(status, headers, b"")

    def read(self) -> Answer | None:
        """The next answer; None when the connection ends before one begins."""
        answer = self.read_head()
        if answer is None:
            return None
        status = answer.status
        length = answer.header("content-length")
        if answer.header("transfer-encoding") == b"chunked":
            answer.body = self._chunks()
        elif length is not None:
            answer.body = self._exactly(int(length))
        elif status >= 200 and status not in (204, 304):
            answer.body = self._rest()
        return answer

    def read_some(self) -> bytes:
        """Whatever has arrived, at least a byte; empty at the end of the connection."""
        if self._buffer:
            some, self._buffer = self._buffer, b""
            return some
        return self._receive()

    def _receive(self) -> bytes:
        try:
            return self.socket.recv(65_536)
        except ConnectionResetError:
            return b""

    def _until(self, end: bytes) -> bytes | None:
        while end not in self._buffer:
            more = self._receive()
            if not more:
                return None
            self._buffer += more
        part, _, self._buffer = self._buffer.partition(end)
        return part

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            more = self._receive()
            if not more:
                break
            self._buffer += more
        part, self._buffer = self._buffer[:count], self._buffer[count:]
        return part

    def _chunks(self) -> bytes:
        body = b""
        while True:
            size = self._until(b"\r\n")
            if size is None:
                return body
            count = int(size.split(b";")[0], 16)
            body += self._exactly(count)
            self._until(b"\r\n")
            if count == 0:
                return body

    def _rest(self) -> bytes:
        body, self._buffer = self._buffer, b""
        while more := self._receive():
            body += more
        return body


Header = tuple[bytes, bytes]


def request(
    path: bytes = b"/v1/chat/completions",
    headers: list[Header] | None = None,
    body: bytes = b"",
    method: bytes = b"POST",
    content_type: bytes | None = b"application/json",
    length: int | None = None,
) -> bytes:
    """The bytes of one request. `length` overrides the true length of the body."""
    lines = [method + b" " + path + b" HTTP/1.1", b"host: localhost"]
    if content_type is not None:
        lines.append(b"content-type: " + content_type)
    lines.append(b"content-length: %d" % (len(body) if length is None else length))
    lines += [name + b": " + value for name, value in headers or []]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def exchange(port: int, data: bytes, timeout: float = PATIENCE) -> Answer | None:
    """Sends `data` on a connection of its own and reads one answer."""
    with Connection(port, timeout) as connection:
        try:
            connection.send(data)
        except (BrokenPipeError, ConnectionResetError):
            # Refused before all of it was read; the answer is still there.
            pass
        return connection.read()


def exchange_at_once(port: int, data: bytes, connections: int = 8) -> list[Answer | None]:
    """The same on several connections that are open together, so that each worker has some."""
    opened = [Connection(port) for _ in range(connections)]
    try:
        for connection in opened:
            connection.send(data)
        return [connection.read() for connection in opened]
    finally:
        for connection in opened:
            connection.close()
