"""An HTTP/2 client (RFC 9113, prior knowledge) that sends exactly the frames it is given.

A library would refuse to send what an attacker would send, and put right what a careless client
gets wrong.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

import raw
from waiting import PATIENCE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Fields = list[tuple[bytes, bytes]]

# Types and flags of frames: RFC 9113, section 6.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
# The error codes of RFC 9113, section 7.
PROTOCOL_ERROR = 0x1
FLOW_CONTROL_ERROR = 0x3
STREAM_CLOSED = 0x5
FRAME_SIZE_ERROR = 0x6
COMPRESSION_ERROR = 0x9
ENHANCE_YOUR_CALM = 0xB


def request(
    headers: Fields | None = None,
    path: bytes = b"/v1/chat/completions",
    method: bytes = b"POST",
    content_type: bytes | None = b"application/json",
) -> Fields:
    """The header fields of a request."""
    fields = [
        (b":method", method),
        (b":scheme", b"http"),
        (b":authority", b"localhost"),
        (b":path", path),
    ]
    if content_type is not None:
        fields.append((b"content-type", content_type))
    return fields + (headers or [])


def block(fields: Fields) -> bytes:
    """A header block. Literals only: it depends on nothing sent before and changes nothing."""
    encoder = hpack.Encoder()
    # (The third item keeps a field out of the compression table.)
    return encoder.encode([(name, value, True) for name, value in fields], huffman=False)


def headers_frame(
    stream: int, fields: Fields | bytes, *flags: str, end_headers: bool = True
) -> HeadersFrame:
    frame = HeadersFrame(stream, fields if isinstance(fields, bytes) else block(fields))
    for flag in (*flags, *(["END_HEADERS"] if end_headers else [])):
        frame.flags.add(flag)
    return frame


def data_frame(stream: int, data: bytes, end: bool = True) -> DataFrame:
    frame = DataFrame(stream, data)
    if end:
        frame.flags.add("END_STREAM")
    return frame


def raw_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Any frame, the impossible ones included."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


@dataclass
class Stream:
    """What came back on one stream."""

    status: int | None = None
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None
    """The error code of an RST_STREAM."""

    def answer(self) -> raw.Answer | None:
        """None: there was none."""
        if self.status is None:
            return None
        headers = [(name.decode(), value) for name, value in self.headers]
        return raw.Answer(self.status, headers, self.body)


class Connection:
    """One connection. It answers SETTINGS and PING, and opens the windows again."""

    def __init__(
        self,
        port: int,
        *,
        preface: bytes = PREFACE,
        settings: dict[int, int] | None = None,
        timeout: float = PATIENCE,
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.streams: dict[int, Stream] = {}
        self.settings: dict[int, int] = {}
        """Those of the server."""
        self.gone_away: int | None = None
        """The error code of a GOAWAY."""
        self.closed = False
        self.opens_windows = True
        self.pings = 0
        """How many of this side's were answered."""
        self._decoder = hpack.Decoder()
        self._buffer = b""
        if preface:
            self.send(preface, SettingsFrame(0, settings=settings or {}))

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *frames: Frame | bytes) -> None:
        """Sends; that the other side has hung up already is for `read` to tell."""
        data = b"".join(f if isinstance(f, bytes) else f.serialize() for f in frames)
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def ask(self, stream: int, fields: Fields, body: bytes | None) -> None:
        """A whole request, as it should be."""
        if body is None:
            self.send(headers_frame(stream, fields, "END_STREAM"))
        else:
            self.send(headers_frame(stream, fields), data_frame(stream, body))

    def stream(self, number: int) -> Stream:
        return self.streams.setdefault(number, Stream())

    def until_over(self, number: int) -> Stream:
        """Reads until the stream is answered or reset, or the connection is over."""
        stream = self.stream(number)
        while not (stream.ended or stream.reset is not None or self.closed):
            self.read()
        return stream

    def until_closed(self) -> None:
        while not self.closed:
            self.read()

    def is_alive(self) -> bool:
        """Does it still answer a PING?"""
        answered = self.pings
        self.send(PingFrame(0, b"\0" * 8))
        while self.pings == answered and not self.closed:
            self.read()
        return not self.closed

    def read(self) -> None:
        """Reads what has arrived, at least a frame, or finds that the connection is over."""
        while not self._frame():
            try:
                more = self.socket.recv(65_536)
            except ConnectionResetError:
                more = b""
            if not more:
                self.closed = True
                return
            self._buffer += more

    def _frame(self) -> bool:
        if len(self._buffer) < 9:
            return False
        frame, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
        if len(self._buffer) < 9 + length:
            return False
        frame.parse_body(memoryview(self._buffer[9 : 9 + length]))
        self._buffer = self._buffer[9 + length :]
        self._take(frame)
        return True

    def _take(self, frame: Frame) -> None:
        stream = self.stream(frame.stream_id)
        match frame:
            case SettingsFrame() if "ACK" not in frame.flags:
                self.settings |= frame.settings
                acknowledged = SettingsFrame(0)
                acknowledged.flags.add("ACK")
                self.send(acknowledged)
            case PingFrame():
                if "ACK" in frame.flags:
                    self.pings += 1
                else:
                    pong = PingFrame(0, frame.opaque_data)
                    pong.flags.add("ACK")
                    self.send(pong)
            case HeadersFrame():
                assert "END_HEADERS" in frame.flags, "answers of this size fit into a frame"
                stream.headers = self._decoder.decode(frame.data, raw=True)
                stream.status = int(dict(stream.headers).get(b":status", b"0"))
            case ContinuationFrame():
                raise AssertionError("answers of this size fit into a frame")
            case DataFrame():
                stream.body += frame.data
                if self.opens_windows and frame.flow_controlled_length:
                    opened = frame.flow_controlled_length
                    self.send(WindowUpdateFrame(0, opened))
                    self.send(WindowUpdateFrame(frame.stream_id, opened))
            case RstStreamFrame():
                stream.reset = frame.error_code
            case GoAwayFrame():
                self.gone_away = frame.error_code
        if "END_STREAM" in frame.flags:
            stream.ended = True


def exchange(port: int, fields: Fields, body: bytes | None) -> raw.Answer | None:
    """One request on a connection of its own. None: it was reset, or the connection closed."""
    with Connection(port) as connection:
        connection.ask(1, fields, body)
        return connection.until_over(1).answer()
