"""An upstream that writes down every byte that reaches it.

The demo provider shows a request as its HTTP server understood it, and only the last one. What must
not reach a provider at all, such as half of somebody's body taken for a request, it would refuse
without a word. This one keeps everything, and is strict about what a request is.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from dataclasses import dataclass

from stack import Stack

# What a request of Envoy's looks like; anything else did not come from a request that was judged.
REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (/[\x21-\x7e]*) HTTP/1\.1")
HEADER_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9a-z]+): ?([^\r\n\0]*)")

# A chat completion that any reader of usage is content with.
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "any",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
    }
).encode()


@dataclass(frozen=True)
class Received:
    """A request, byte for byte."""

    method: str
    target: str
    headers: list[tuple[str, bytes]]
    body: bytes
    wire: bytes
    """Head and body as they came."""

    def values(self, name: str) -> list[bytes]:
        return [value for header, value in self.headers if header == name]


class Recorder:
    """Listens on a port of this machine until it is closed."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self._broken: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self._connections: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                connection.close()

    def take(self) -> list[Received]:
        """What has arrived since the last time. Bytes that are no request are an error."""
        with self._lock:
            received, self._received = self._received, []
            broken, self._broken = self._broken, []
        assert not broken, f"bytes that are no request reached a provider: {broken}"
        return received

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = _Reader(connection)
        try:
            while received := reader.request():
                with self._lock:
                    self._received.append(received)
                head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d"
                connection.sendall(head % len(ANSWER) + b"\r\n\r\n" + ANSWER)
        except NoRequest as problem:
            with self._lock:
                self._broken.append(problem.args[0])
        except OSError:
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()


class NoRequest(Exception):
    """Bytes that are not exactly one request."""


class _Reader:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self._wire = b""

    def request(self) -> Received | None:
        """The next request; None when the connection ends before one begins."""
        self._wire = b""
        try:
            head = self._line_end(b"\r\n\r\n")
        except NoRequest:
            if self._buffer:
                raise
            return None
        first, *lines = head.split(b"\r\n")
        request_line = REQUEST_LINE.fullmatch(first)
        matches = [HEADER_LINE.fullmatch(line) for line in lines]
        if request_line is None or None in matches:
            raise NoRequest(head)
        headers = [(match[1].decode(), match[2]) for match in matches if match]
        lengths = [value for name, value in headers if name == "content-length"]
        codings = [value for name, value in headers if name == "transfer-encoding"]
        if len(lengths) + len(codings) > 1:
            raise NoRequest(head)
        body = b""
        if lengths:
            body = self._exactly(int(lengths[0]))
        elif codings == [b"chunked"]:
            body = self._chunks()
        elif codings:
            raise NoRequest(head)
        method, target = request_line[1].decode(), request_line[2].decode()
        return Received(method, target, headers, body, self._wire)

    def _chunks(self) -> bytes:
        body = b""
        while True:
            size = self._line_end(b"\r\n")
            if not re.fullmatch(rb"[0-9a-fA-F]+", size):
                raise NoRequest(self._wire)
            body += self._exactly(int(size, 16))
            # After the last chunk this is the end of the trailers, of which there must be none.
            if self._exactly(2) != b"\r\n":
                raise NoRequest(self._wire)
            if int(size, 16) == 0:
                return body

    def _line_end(self, end: bytes) -> bytes:
        while end not in self._buffer:
            self._receive()
        line, _, self._buffer = self._buffer.partition(end)
        self._wire += line + end
        return line

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._receive()
        part, self._buffer = self._buffer[:count], self._buffer[count:]
        self._wire += part
        return part

    def _receive(self) -> None:
        try:
            more = self._connection.recv(65_536)
        except ConnectionResetError:
            more = b""
        if not more:
            raise NoRequest(self._wire + self._buffer)
        self._buffer += more


class RecordingStack(Stack):
    """A stack in which a recorder is all of the providers."""

    recorder: Recorder
    open_key: str
    """A virtual key for all of them."""

    def start(self) -> None:
        super().start()
        self.admin.enable_governance()
        self.open_key = self.key(allow_all_providers=True).value

    def start_demo(self) -> None:
        self.recorder = Recorder(self.demo_port)

    def stop(self) -> None:
        super().stop()
        self.recorder.close()
