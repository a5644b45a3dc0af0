"""HTTP/2, frame by frame: malformed requests, impossible frames. (Floods are in test_http2_floods.py.)

Row R-34 of the red team. The cases follow the sections of RFC 9113 and RFC 7541. Where the
RFC asks for an error, Envoy may end the whole connection instead; what counts is that nothing but a
judged request reaches a provider (see recorder.py), and that nobody else notices. (`h2spec`, the usual
tool for this, is in none of the registries that these tests are installed from, so the cases are ours.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hyperframe.frame import Frame, PingFrame, RstStreamFrame, WindowUpdateFrame

import raw_http2
from llm import CHAT, chat_body
from raw_http2 import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Connection,
    Fields,
    block,
    data_frame,
    headers_frame,
    raw_frame,
)
from recorder import RecordingStack

BODY = json.dumps(chat_body("gpt-4o")).encode()


@dataclass
class Served:
    """It is a request like any other."""


@dataclass
class Answered:
    """It is refused by an answer."""

    status: int


@dataclass
class Ignored:
    """It has no effect, not even on its own stream."""


@dataclass
class StreamError:
    """Its stream is reset, and the connection goes on."""

    codes: tuple[int, ...]


@dataclass
class ConnectionError:
    """The connection ends; if its end is explained, then by this error."""

    code: int = PROTOCOL_ERROR


Expected = Served | Answered | Ignored | StreamError | ConnectionError
Act = Callable[[Connection, Fields], None]
CASES: dict[str, tuple[Act, Expected]] = {}


def whole(c: Connection, fields: Fields, body: bytes | None = BODY) -> None:
    c.ask(1, fields, body)


def changed(change: Callable[[Fields], Fields], body: bytes | None = BODY) -> Act:
    """A whole request with other fields."""
    return lambda c, fields: whole(c, change(fields), body)


def with_field(name: bytes, value: bytes) -> Act:
    return changed(lambda fields: [*fields, (name, value)])


def with_pseudo(name: bytes, value: bytes) -> Act:
    """Sets a pseudo-header field, or adds it in front."""

    def change(fields: Fields) -> Fields:
        if name in dict(fields):
            return [(field, value if field == name else old) for field, old in fields]
        return [(name, value), *fields]

    return changed(change)


def without(name: bytes) -> Act:
    return changed(lambda fields: [field for field in fields if field[0] != name])


def sending(*frames: Frame | bytes) -> Act:
    return lambda c, _: c.send(*frames)


def frames(make: Callable[[Fields, bytes], Sequence[Frame | bytes]]) -> Act:
    """Frames made from the fields of a request and their block."""
    return lambda c, fields: c.send(*make(fields, block(fields)))


LENGTH = b"%d" % len(BODY)
CASES |= {
    # Nothing wrong: the cases would notice if all were refused.
    "a request": (whole, Served()),
    "8.1.1 its length": (with_field(b"content-length", LENGTH), Served()),
    "8.1 in many parts": (
        frames(lambda f, b: [
            raw_frame(HEADERS, 0, 1, b[:10]), raw_frame(CONTINUATION, 0, 1, b[10:20]),
            raw_frame(CONTINUATION, END_HEADERS, 1, b[20:]),
            *[data_frame(1, BODY[i : i + 1], end=i == len(BODY) - 1) for i in range(len(BODY))],
        ]),
        Served(),
    ),
    "6.1 padded": (
        frames(lambda f, b: [
            raw_frame(HEADERS, PADDED | END_HEADERS, 1, b"\x05" + b + b"\0" * 5),
            raw_frame(DATA, PADDED | END_STREAM, 1, b"\x05" + BODY + b"\0" * 5),
        ]),
        Served(),
    ),
    "8.2.2 te: trailers": (with_field(b"te", b"trailers"), Served()),
    "8.3.1 another host": (with_field(b"host", b"evil.example"), Served()),
    "8.1 no body": (lambda c, f: whole(c, f, None), Answered(400)),
    "8.1 trailers": (
        frames(lambda f, _: [headers_frame(1, f), data_frame(1, BODY, end=False),
                             headers_frame(1, [(b"x-bf-vk", b"sk-bf-a")], "END_STREAM")]),
        Answered(400),
    ),
    # Lengths that are not true.
    "8.1.1 a length too short": (with_field(b"content-length", b"4"), StreamError((PROTOCOL_ERROR,))),
    "8.1.1 a length too long": (with_field(b"content-length", b"4000"), StreamError((PROTOCOL_ERROR,))),
    "8.1.1 a length and no body": (
        changed(lambda f: [*f, (b"content-length", LENGTH)], None), ConnectionError(),
    ),
    "8.1.1 two lengths": (
        changed(lambda f: [*f, (b"content-length", b"4"), (b"content-length", LENGTH)]), ConnectionError(),
    ),
    "8.1.1 a signed length": (with_field(b"content-length", b"+" + LENGTH), ConnectionError()),
    # Fields that would be something else in HTTP/1.
    **{
        f"8.2.1 {byte:#04x} in a value": (with_field(b"x-a", b"a" + bytes([byte]) + b"b"), ConnectionError())
        for byte in (*range(0x09), *range(0x0A, 0x20), 0x7F)
    },
    "8.2.1 a header in a value": (with_field(b"x-a", b"a\r\nx-evil: 1"), ConnectionError()),
    "8.2.1 a request in a value": (
        with_field(b"x-a", b"a\r\n\r\nPOST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n\r\n"), ConnectionError(),
    ),
    **{
        f"8.2.1 the name {name!r}": (with_field(name, b"a"), ConnectionError())
        for name in (b"", b"X-Upper", b"x a", b"x:a", b"x\r\na", b"x\0", b"x\xe9", b"x\x7f", b"x(", b"x\ta")
    },
    "8.2.1 an underscore": (with_field(b"x_api_key", b"a"), StreamError((2,))),
    **{
        f"8.2.2 {name.decode()}": (with_field(name, value), ConnectionError())
        for name, value in (
            (b"connection", b"close"), (b"keep-alive", b"1"), (b"proxy-connection", b"close"),
            (b"transfer-encoding", b"chunked"), (b"upgrade", b"websocket"), (b"te", b"gzip"),
        )
    },
    # Pseudo-header fields.
    **{
        f"8.3.1 no {name.decode()}": (without(name), ConnectionError())
        for name in (b":method", b":scheme", b":path", b":authority")
    },
    **{
        f"8.3.1 {name.decode()} twice": (changed(lambda f, name=name: [(name, dict(f)[name]), *f]), ConnectionError())
        for name in (b":method", b":scheme", b":path", b":authority")
    },
    "8.3 one behind the others": (changed(lambda f: [*f[:3], *f[4:], f[3]]), ConnectionError()),
    "8.3 an unknown one": (with_pseudo(b":evil", b"1"), ConnectionError()),
    "8.3 one of an answer": (with_pseudo(b":status", b"200"), ConnectionError()),
    "8.3 one in the trailers": (
        frames(lambda f, _: [headers_frame(1, f), data_frame(1, BODY, end=False),
                             headers_frame(1, [(b":path", b"/")], "END_STREAM")]),
        ConnectionError(),
    ),
    "8.1 trailers that are not the end": (
        frames(lambda f, _: [headers_frame(1, f), data_frame(1, BODY, end=False),
                             headers_frame(1, [(b"x-a", b"1")])]),
        ConnectionError(),
    ),
    **{
        f"8.3.1 the path {path!r}": (with_pseudo(b":path", path), ConnectionError())
        for path in (b"", b"*", b"v1/chat/completions", b"http://localhost" + CHAT.encode(),
                     CHAT.encode() + b" HTTP/1.1\r\nx-evil: 1", CHAT.encode() + b" x",
                     CHAT.encode() + b"\tx", CHAT.encode() + b"\0", CHAT.encode() + b"\n")
    },
    **{
        f"8.3.1 the method {method!r}": (with_pseudo(b":method", method), ConnectionError())
        for method in (b"", b"PO ST", b"POST\r\n", b"POST /x HTTP/1.1\r\nx: ", b"P\0", b"CONNECT")
    },
    **{
        f"8.3.1 the authority {name!r}": (with_pseudo(b":authority", name), ConnectionError())
        for name in (b"", b"user@localhost", b"a b", b"a\r\nx: y", b"a/b")
    },
    "8.3.1 a strange scheme": (with_pseudo(b":scheme", b"a b"), ConnectionError()),
    "8.5 a tunnel": (
        changed(lambda f: [(b":method", b"CONNECT"), (b":authority", b"localhost:80"), *f[4:]], None), Answered(404),
    ),
    # RFC 8441, and R-33.
    "an extended CONNECT": (
        changed(lambda f: [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *f[1:]]), ConnectionError(),
    ),
    "a protocol without CONNECT": (with_pseudo(b":protocol", b"websocket"), ConnectionError()),
    # The preface and the states of a stream.
    "3.4 no settings first": (
        lambda c, f: c.send(headers_frame(1, f), data_frame(1, BODY)), ConnectionError(),
    ),
    "5.1 DATA, idle": (sending(data_frame(1, BODY)), ConnectionError()),
    "5.1 RST_STREAM, idle": (sending(RstStreamFrame(1, 8)), ConnectionError()),
    "5.1 WINDOW_UPDATE, idle": (sending(WindowUpdateFrame(1, 8)), ConnectionError()),
    "5.1 CONTINUATION, idle": (
        frames(lambda _, b: [raw_frame(CONTINUATION, END_HEADERS, 1, b)]), ConnectionError(),
    ),
    "5.1 DATA, half-closed": (
        frames(lambda f, _: [headers_frame(1, f, "END_STREAM"), data_frame(1, BODY)]),
        ConnectionError(STREAM_CLOSED),
    ),
    "5.1 DATA, closed": (
        frames(lambda f, _: [headers_frame(1, f), RstStreamFrame(1, 8), data_frame(1, BODY)]), Ignored(),
    ),
    "5.1 HEADERS, closed": (
        frames(lambda f, _: [headers_frame(1, f), RstStreamFrame(1, 8), headers_frame(1, f)]), Ignored(),
    ),
    "5.1.1 an even stream": (lambda c, f: c.ask(2, f, BODY), ConnectionError()),
    "5.1.1 a stream out of order": (
        lambda c, f: (c.send(headers_frame(5, f), RstStreamFrame(5, 8)), c.ask(3, f, BODY)), Ignored(),
    ),
    "5.3 a dependency on itself": (
        frames(lambda f, b: [raw_frame(HEADERS, WITH_PRIORITY | END_HEADERS, 1, b"\0\0\0\x01\x10" + b),
                             data_frame(1, BODY)]),
        ConnectionError(),
    ),
    "5.5 a frame of no known type": (
        lambda c, f: (c.send(raw_frame(0xBB, 0xFF, 0, b"?")), whole(c, f)), Served(),
    ),
    # Frames.
    "4.2 too large DATA": (
        frames(lambda f, _: [headers_frame(1, f), data_frame(1, b"a" * 16_385)]),
        ConnectionError(FRAME_SIZE_ERROR),
    ),
    "4.2 too large HEADERS": (sending(raw_frame(HEADERS, 4, 1, b"a" * 16_385)), ConnectionError(FRAME_SIZE_ERROR)),
    **{
        f"4.3 {what} in a block": (
            frames(lambda f, b, between=between: [raw_frame(HEADERS, 0, 1, b[:10]), between,
                                                  raw_frame(CONTINUATION, END_HEADERS, 1, b[10:]),
                                                  data_frame(1, BODY)]),
            ConnectionError(),
        )
        for what, between in (
            ("a PING", PingFrame(0, b"\0" * 8)), ("an unknown frame", raw_frame(0xBB, 0, 0, b"?")),
            ("DATA", data_frame(1, BODY)), ("another stream", raw_frame(CONTINUATION, 0, 3, b"")),
        )
    },
    "6.1 DATA, stream 0": (sending(raw_frame(DATA, END_STREAM, 0, BODY)), ConnectionError()),
    "6.1 too much padding of DATA": (
        frames(lambda f, _: [headers_frame(1, f), raw_frame(DATA, PADDED, 1, b"\xff" + BODY)]), ConnectionError(),
    ),
    "6.2 HEADERS, stream 0": (frames(lambda _, b: [raw_frame(HEADERS, END_HEADERS, 0, b)]), ConnectionError()),
    "6.2 too much padding of HEADERS": (
        sending(raw_frame(HEADERS, PADDED | END_HEADERS, 1, b"\xff" + b"a" * 10)), ConnectionError(),
    ),
    "6.3 a short PRIORITY": (sending(raw_frame(PRIORITY, 0, 1, b"\0" * 4)), ConnectionError(FRAME_SIZE_ERROR)),
    "6.4 RST_STREAM, stream 0": (sending(raw_frame(RST_STREAM, 0, 0, b"\0" * 4)), ConnectionError()),
    "6.4 a short RST_STREAM": (
        frames(lambda f, _: [headers_frame(1, f), raw_frame(RST_STREAM, 0, 1, b"\0" * 3)]),
        ConnectionError(FRAME_SIZE_ERROR),
    ),
    "6.5 SETTINGS, stream 1": (sending(raw_frame(SETTINGS, 0, 1)), ConnectionError()),
    "6.5 short SETTINGS": (sending(raw_frame(SETTINGS, 0, 0, b"\0" * 3)), ConnectionError(FRAME_SIZE_ERROR)),
    "6.5 an acknowledgement with settings": (
        sending(raw_frame(SETTINGS, ACK, 0, b"\0" * 6)), ConnectionError(FRAME_SIZE_ERROR),
    ),
    "6.5.2 a push that is neither on nor off": (
        sending(raw_frame(SETTINGS, 0, 0, b"\0\x02\0\0\0\x02")), ConnectionError(),
    ),
    "6.5.2 too large a window": (
        sending(raw_frame(SETTINGS, 0, 0, b"\0\x04\x80\0\0\0")), ConnectionError(FLOW_CONTROL_ERROR),
    ),
    "6.5.2 too small a frame size": (sending(raw_frame(SETTINGS, 0, 0, b"\0\x05\0\0\0\x01")), ConnectionError()),
    "6.5.2 an unknown setting": (
        lambda c, f: (c.send(raw_frame(SETTINGS, 0, 0, b"\0\xff\0\0\0\x01")), whole(c, f)), Served(),
    ),
    "6.6 a promise by a client": (
        frames(lambda f, b: [headers_frame(1, f), raw_frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02" + b)]),
        ConnectionError(),
    ),
    "6.7 a short PING": (sending(raw_frame(PING, 0, 0, b"\0" * 7)), ConnectionError(FRAME_SIZE_ERROR)),
    "6.7 PING, stream 1": (sending(raw_frame(PING, 0, 1, b"\0" * 8)), ConnectionError()),
    "6.8 GOAWAY, stream 1": (sending(raw_frame(GOAWAY, 0, 1, b"\0" * 8)), ConnectionError()),
    "6.9 a short WINDOW_UPDATE": (
        sending(raw_frame(WINDOW_UPDATE, 0, 0, b"\0" * 3)), ConnectionError(FRAME_SIZE_ERROR),
    ),
    "6.9 a window of nothing": (sending(raw_frame(WINDOW_UPDATE, 0, 0, b"\0" * 4)), ConnectionError()),
    "6.9 a window of nothing for a stream": (
        frames(lambda f, _: [headers_frame(1, f), raw_frame(WINDOW_UPDATE, 0, 1, b"\0" * 4)]), ConnectionError(),
    ),
    "6.9.1 a window that is too wide": (
        sending(WindowUpdateFrame(0, 2**31 - 1)), ConnectionError(FLOW_CONTROL_ERROR),
    ),
    "6.9.1 a window that is too wide for a stream": (
        frames(lambda f, _: [headers_frame(1, f), WindowUpdateFrame(1, 2**31 - 1)]),
        ConnectionError(FLOW_CONTROL_ERROR),
    ),
    "6.9.1 more than the window": (
        frames(lambda f, _: [headers_frame(1, f), *[data_frame(1, b"a" * 16_384, end=False)] * 6]),
        StreamError((FLOW_CONTROL_ERROR,)),
    ),
    # RFC 7541, and bombs.
    "7541 6.1 the entry 0": (sending(raw_frame(HEADERS, 4, 1, b"\x80")), ConnectionError(COMPRESSION_ERROR)),
    "7541 2.3.3 an entry that is not there": (
        sending(raw_frame(HEADERS, 4, 1, b"\xff\x80\x01")), ConnectionError(COMPRESSION_ERROR),
    ),
    "7541 4.2 too large a table": (
        frames(lambda _, b: [raw_frame(HEADERS, 4, 1, b"\x3f\xe1\xff\x03" + b)]), ConnectionError(COMPRESSION_ERROR),
    ),
    "7541 4.2 a size behind a field": (
        frames(lambda _, b: [raw_frame(HEADERS, 4, 1, b + b"\x20")]), ConnectionError(COMPRESSION_ERROR),
    ),
    "7541 5.1 a number without end": (
        sending(raw_frame(HEADERS, 4, 1, b"\xff" * 12)), ConnectionError(COMPRESSION_ERROR),
    ),
    "7541 5.2 a Huffman code of the end": (
        frames(lambda _, b: [raw_frame(HEADERS, 4, 1, b + b"\0\x01a\x84\xff\xff\xff\xff")]),
        ConnectionError(COMPRESSION_ERROR),
    ),
    "7541 half a field": (
        frames(lambda _, b: [raw_frame(HEADERS, 5, 1, b[:-3])]), ConnectionError(COMPRESSION_ERROR),
    ),
    "a field that is repeated 3,000 times by a byte each": (
        frames(lambda _, b: [raw_frame(HEADERS, 4, 1, b + b"\x40\x01a\x7f\x81\x1e" + b"b" * 4_000 + b"\xbe" * 3_000)]),
        StreamError((2,)),
    ),
    "101 fields": (changed(lambda f: [*f, *[(b"x-a", b"b")] * 101]), StreamError((2,))),
}  # fmt: skip
WITHOUT_SETTINGS = {"3.4 no settings first"}


def fields_of(stack: RecordingStack, name: str) -> Fields:
    return raw_http2.request([(b"x-bf-vk", stack.open_key.encode()), (b"x-case", name.encode())])


def happened(stack: RecordingStack, name: str) -> str | None:
    """What is wrong with what becomes of a case."""
    act, expected = CASES[name]
    fields = fields_of(stack, name)
    preface = raw_http2.PREFACE
    with Connection(stack.port, preface=b"" if name in WITHOUT_SETTINGS else preface) as c:
        if name in WITHOUT_SETTINGS:
            c.send(preface)
        act(c, fields)
        if isinstance(expected, ConnectionError):
            c.until_closed()
            stream = c.stream(1)
            explained = c.gone_away in (None, expected.code)
            return None if stream.status is None and explained else f"{stream}, {c.gone_away}"
        if not isinstance(expected, Ignored):
            stream = c.until_over(1)
            as_expected = {
                Served: stream.status == 200,
                Answered: stream.status == getattr(expected, "status", None),
                StreamError: stream.reset in getattr(expected, "codes", ()),
            }
            if not as_expected[type(expected)]:
                return str(stream)
        c.ask(99, fields_of(stack, "the next of " + name), BODY)
        next_one = c.until_over(99)
        return None if next_one.status == 200 else f"the next one: {next_one}"


def test_frames_that_are_wrong_reach_no_provider(recording: RecordingStack) -> None:
    """R-33, R-34. Each case on a connection of its own, all at once."""
    assert len(CASES) >= 100
    recording.recorder.take()
    with ThreadPoolExecutor(len(CASES)) as pool:
        problems = list(pool.map(lambda name: happened(recording, name), CASES))
    wrong = [f"{name}: {what}" for name, what in zip(CASES, problems, strict=True) if what]
    assert not wrong, "\n".join(wrong)
    received = recording.recorder.take()
    assert all(request.target == CHAT and request.body == BODY for request in received)
    arrived = sorted(request.values("x-case")[0].decode() for request in received)
    fine = [name for name, (_, expected) in CASES.items() if isinstance(expected, Served)]
    open_afterwards = [n for n, (_, e) in CASES.items() if not isinstance(e, ConnectionError)]
    assert arrived == sorted([*fine, *(f"the next of {name}" for name in open_afterwards)])


def test_a_request_of_http2_is_one_of_http1_behind_it(recording: RecordingStack) -> None:
    """R-34. With its length or in chunks, never both, and with one host, which is the provider's."""
    for more in ([], [(b"content-length", LENGTH)], [(b"host", b"evil.example")]):
        fields = raw_http2.request([(b"x-bf-vk", recording.open_key.encode()), *more])
        assert raw_http2.exchange(recording.port, fields, BODY).status == 200
        (received,) = recording.recorder.take()
        framing = {name for name, _ in received.headers} & {"content-length", "transfer-encoding"}
        assert len(framing) == 1
        assert [recording.recorder.url] == [f"http://{h.decode()}" for h in received.values("host")]


def test_a_request_after_the_answer_to_another_is_judged_by_itself(
    recording: RecordingStack,
) -> None:
    """R-34. What one stream was allowed, the next one of the connection is not."""
    key = recording.open_key.encode()
    with Connection(recording.port) as connection:
        for number in range(60):
            good = number % 3 == 0
            fields = raw_http2.request([(b"x-bf-vk", key)] if good else [])
            connection.ask(2 * number + 1, fields, BODY)
        streams = [connection.until_over(2 * number + 1) for number in range(60)]
    assert [stream.status for stream in streams] == [200, 401, 401] * 20
    assert len(recording.recorder.take()) == 20
