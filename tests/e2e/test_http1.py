"""HTTP/1 at its edges: a request that could end in two places, and callers that take their time.

Row R-34 of the red team. Whatever is sent, a provider gets exactly the requests that were judged and
answered, each whole. (What the provider got is written down byte by byte, see recorder.py.)
"""

from __future__ import annotations

import json
import random
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

import raw
from llm import chat_body
from recorder import Received, RecordingStack
from served import Json, Served, connection_manager, with_own_routes
from stack import Stack
from waiting import eventually

BODY = json.dumps(chat_body("gpt-4o")).encode()
LENGTH = b"%d" % len(BODY)
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
TO_CHUNKS = b"transfer-encoding: chunked"
EVERY_ENVOY = pytest.mark.parametrize("envoy", ["recording", "bare_recording"])
REFUSED = r"(400|404|408|413|417|426|431|501)"
SERVED = "200"


@dataclass
class Case:
    """What is sent, and the statuses of the answers to it."""

    name: str
    expected: str
    """A regular expression."""
    framing: bytes
    """The last header lines, and whatever follows the empty line."""
    start: bytes = b"POST /v1/chat/completions HTTP/1.1"
    more: list[bytes] = field(default_factory=list)
    """Header lines before those."""

    def data(self, key: str) -> bytes:
        lines = [self.start, b"host: localhost", *usual(self.name, key), *self.more]
        return b"\r\n".join([*lines, self.framing])


def usual(name: str, key: str) -> list[bytes]:
    return [
        b"content-type: application/json",
        b"x-bf-vk: " + key.encode(),
        b"x-case: " + name.encode(),
    ]


def whole(name: str, key: str, *more: bytes) -> bytes:
    """A request with nothing wrong with it."""
    lines = [b"POST /v1/chat/completions HTTP/1.1", b"host: localhost", *usual(name, key), *more]
    return b"\r\n".join([*lines, b"content-length: " + LENGTH, b"", BODY])


def framed(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([*lines, b"", body])


CORRECT = framed(b"content-length: " + LENGTH, body=BODY)
CASES = [
    # Nothing wrong: the cases would notice if all were refused.
    Case("a length", SERVED, CORRECT),
    Case("chunks", SERVED, framed(TO_CHUNKS, body=CHUNKED)),
    Case("a length with zeros before it", SERVED, framed(b"content-length: 000" + LENGTH, body=BODY)),
    Case("chunks by another name", SERVED, framed(b"Transfer-Encoding:\tChunked", body=CHUNKED)),
    Case("an extension of a chunk", SERVED, framed(TO_CHUNKS, body=CHUNKED.replace(b"\r\n{", b";a=b\r\n{"))),
    Case("a long extension", SERVED, framed(TO_CHUNKS, body=CHUNKED.replace(b"\r\n{", b";" + b"a" * 9_000 + b"\r\n{"))),
    Case("continue", "100 200", CORRECT, more=[b"expect: 100-continue"]),
    Case("empty lines first", SERVED, CORRECT, start=b"\r\n\r\nPOST /v1/chat/completions HTTP/1.1"),
    # Two ends.
    Case("a length and chunks", REFUSED, framed(b"content-length: 5", TO_CHUNKS, body=b"0\r\n\r\n")),
    Case("chunks and a length", REFUSED, framed(TO_CHUNKS, b"content-length: 5", body=CHUNKED)),
    Case("chunks and the right length", REFUSED, framed(TO_CHUNKS, b"content-length: " + LENGTH, body=CHUNKED)),
    Case("two lengths", REFUSED, framed(b"content-length: 4", b"content-length: " + LENGTH, body=BODY)),
    Case("the same length twice", REFUSED, framed(*[b"content-length: " + LENGTH] * 2, body=BODY)),
    Case("a list of lengths", REFUSED, framed(b"content-length: " + LENGTH + b", " + LENGTH, body=BODY)),
    Case("chunks twice", REFUSED, framed(TO_CHUNKS, TO_CHUNKS, body=CHUNKED)),
    Case("chunks of chunks", REFUSED, framed(TO_CHUNKS + b", chunked", body=CHUNKED)),
    Case("chunks, then themselves", REFUSED, framed(TO_CHUNKS + b", identity", body=CHUNKED)),
    Case("themselves, then chunks", REFUSED, framed(b"transfer-encoding: identity, chunked", body=CHUNKED)),
    Case("two codings in two lines", REFUSED, framed(TO_CHUNKS, b"transfer-encoding: identity", body=CHUNKED)),
    # Lengths and codings that two readers take differently.
    Case("a plus", REFUSED, framed(b"content-length: +" + LENGTH, body=BODY)),
    Case("a minus", REFUSED, framed(b"content-length: -" + LENGTH, body=BODY)),
    Case("hexadecimal", REFUSED, framed(b"content-length: 0x%x" % len(BODY), body=BODY)),
    Case("a fraction", REFUSED, framed(b"content-length: " + LENGTH + b".0", body=BODY)),
    Case("an exponent", REFUSED, framed(b"content-length: 7e1", body=BODY)),
    Case("an underscore", REFUSED, framed(b"content-length: 7_1", body=BODY)),
    Case("words", REFUSED, framed(b"content-length: many", body=BODY)),
    Case("no length in the length", REFUSED, framed(b"content-length: ", body=BODY)),
    Case("a length beyond 64 bits", REFUSED, framed(b"content-length: 18446744073709551687", body=BODY)),
    Case("a length in another name", REFUSED, framed(b"content_length: 4", CORRECT)),
    Case("a coding in another name", REFUSED, framed(b"transfer_encoding: chunked", CORRECT)),
    Case("a space before the colon of the length", REFUSED, framed(b"content-length : " + LENGTH, body=BODY)),
    Case("a space before the colon of the coding", REFUSED, framed(b"transfer-encoding : chunked", CORRECT)),
    Case("an unknown coding", REFUSED, framed(b"transfer-encoding: xchunked", body=CHUNKED)),
    Case("a compressed coding", REFUSED, framed(b"transfer-encoding: gzip, chunked", body=CHUNKED)),
    Case("themselves as coding", REFUSED, framed(b"transfer-encoding: identity", CORRECT)),
    Case("no coding", REFUSED, framed(b"transfer-encoding: ", CORRECT)),
    Case("a vertical tab before the coding", REFUSED, framed(b"transfer-encoding: \x0bchunked", body=CHUNKED)),
    Case("a NUL behind the coding", REFUSED, framed(TO_CHUNKS + b"\0", body=CHUNKED)),
    # Chunks that two readers take differently.
    Case("a chunk in 0x", REFUSED, framed(TO_CHUNKS, body=b"0x" + CHUNKED)),
    Case("a signed chunk", REFUSED, framed(TO_CHUNKS, body=b"+" + CHUNKED)),
    Case("a negative chunk", REFUSED, framed(TO_CHUNKS, body=b"-" + CHUNKED)),
    Case("a chunk beyond 64 bits", REFUSED, framed(TO_CHUNKS, body=b"1" + b"0" * 16 + CHUNKED)),
    Case("a chunk of no length", REFUSED, framed(TO_CHUNKS, body=b"\r\n" + CHUNKED)),
    Case("no chunks", REFUSED, framed(TO_CHUNKS, body=BODY)),
    Case("a line feed behind the size", REFUSED, framed(TO_CHUNKS, body=CHUNKED.replace(b"\r\n{", b"\n{"))),
    Case("a line feed in an extension", REFUSED, framed(TO_CHUNKS, body=CHUNKED.replace(b"\r\n{", b";a\nb\r\n{"))),
    Case("a return in an extension", REFUSED, framed(TO_CHUNKS, body=CHUNKED.replace(b"\r\n{", b";a\rb\r\n{"))),
    Case("a chunk that is longer than it says", REFUSED, framed(TO_CHUNKS, body=CHUNKED.replace(b"\r\n0", b"xx0"))),
    # (Envoy reads to the end of the line, and sends on the chunk.)
    Case("a letter behind a chunk", SERVED, framed(TO_CHUNKS, body=CHUNKED.replace(b"\r\n0", b"x\r\n0"))),
    Case("a trailer that is no field", REFUSED, framed(TO_CHUNKS, body=CHUNKED[:-2] + b"x\r\n\r\n")),
    # Trailers: whatever they say, they are not there for anybody.
    Case("a key in a trailer", SERVED, framed(TO_CHUNKS, body=CHUNKED[:-2] + b"x-bf-vk: sk-bf-other\r\n\r\n")),
    Case("a length in a trailer", SERVED, framed(TO_CHUNKS, body=CHUNKED[:-2] + b"content-length: 4\r\n\r\n")),
    # Lines.
    Case("a return in a name", REFUSED, framed(b"x-a\rb: c", CORRECT)),
    Case("a return in a value", SERVED, framed(b"x-a: b\rx-evil: c", CORRECT)),
    Case("a line feed alone", SERVED, framed(b"x-a: b\nx-c: d", CORRECT)),
    Case("a NUL in a value", REFUSED, framed(b"x-a: b\0c", CORRECT)),
    Case("a NUL in a name", REFUSED, framed(b"x-a\0: b", CORRECT)),
    Case("a space in a name", REFUSED, framed(b"x a: b", CORRECT)),
    Case("no name", REFUSED, framed(b": b", CORRECT)),
    Case("no colon", REFUSED, framed(b"x-a", CORRECT)),
    Case("a folded line", SERVED, framed(b"x-a: b\r\n c", CORRECT)),
    Case("a folded length", SERVED, framed(b"content-length:\r\n " + LENGTH, body=BODY)),
    Case("only returns", REFUSED, CORRECT.replace(b"\r\n", b"\r")),
    Case("too many fields", REFUSED, CORRECT, more=[b"x-%d: a" % number for number in range(101)]),
    Case("too large a field", REFUSED, CORRECT, more=[b"x-a: " + b"a" * 62_000]),
    # Start lines.
    Case("HTTP/1.0", REFUSED, CORRECT, start=b"POST /v1/chat/completions HTTP/1.0"),
    Case("HTTP/2.0", REFUSED, CORRECT, start=b"POST /v1/chat/completions HTTP/2.0"),
    Case("HTTP/1.10", REFUSED, CORRECT, start=b"POST /v1/chat/completions HTTP/1.10"),
    Case("no version", REFUSED, CORRECT, start=b"POST /v1/chat/completions"),
    Case("a path of two words", REFUSED, CORRECT, start=b"POST /v1/chat/completions x HTTP/1.1"),
    Case("a tab in the start line", SERVED, CORRECT, start=b"POST\t/v1/chat/completions HTTP/1.1"),
    Case("two spaces in the start line", SERVED, CORRECT, start=b"POST  /v1/chat/completions HTTP/1.1"),
    Case("a space before it", REFUSED, CORRECT, start=b" POST /v1/chat/completions HTTP/1.1"),
    Case("another host in the start line", REFUSED, CORRECT, start=b"POST http://evil.example/v1/chat/completions HTTP/1.1"),
    Case("a tunnel", REFUSED, CORRECT, start=b"CONNECT localhost:80 HTTP/1.1"),
    # Hosts and hops.
    Case("two hosts", "404", CORRECT, more=[b"host: evil.example"]),
    Case("a host that is none", REFUSED, CORRECT, more=[b"host: a b"]),
    Case("an expectation of another kind", SERVED, CORRECT, more=[b"expect: the-best"]),
    Case("an upgrade to HTTP/2", SERVED, CORRECT, more=[b"connection: upgrade, http2-settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAAQAAP__"]),
]  # fmt: skip


@dataclass
class Outcome:
    statuses: list[int]
    received: list[Received]


def run(stack: RecordingStack, cases: list[Case]) -> dict[str, Outcome]:
    """Each case on a connection of its own, all at once, with a correct request behind it."""

    def statuses(case: Case) -> list[int]:
        key = stack.open_key
        data = case.data(key) + whole(case.name, key, b"connection: close")
        with raw.Connection(stack.port) as connection:
            try:
                connection.send(data)
            except (BrokenPipeError, ConnectionResetError):
                # Refused before all of it was read; the answer is still there.
                pass
            # Envoy closes when it has refused a request, or answered the last one.
            return [answer.status for answer in iter(connection.read, None)]

    stack.recorder.take()
    with ThreadPoolExecutor(len(cases)) as pool:
        answered = list(pool.map(statuses, cases))
    received = stack.recorder.take()
    assert all(request.values("x-case") for request in received)
    return {
        case.name: Outcome(
            found, [r for r in received if r.values("x-case") == [case.name.encode()]]
        )
        for case, found in zip(cases, answered, strict=True)
    }


def problem(case: Case, outcome: Outcome) -> str | None:
    if len(outcome.received) != outcome.statuses.count(200):
        return f"{len(outcome.received)} requests reached a provider"
    if any(request.body != BODY for request in outcome.received):
        return "something else than the judged body reached a provider"
    # A refusal ends the connection.
    expected = case.expected if case.expected == REFUSED else f"{case.expected} 200"
    said = " ".join(map(str, outcome.statuses))
    return None if re.fullmatch(expected, said) else f"expected {expected}"


def test_a_provider_gets_exactly_the_requests_that_were_judged(recording: RecordingStack) -> None:
    """R-34. Ambiguous framings, each with a correct request behind it."""
    assert len({case.name for case in CASES}) == len(CASES)
    outcomes = run(recording, CASES)
    problems = [
        f"{case.name}: {found}: {outcomes[case.name].statuses}"
        for case in CASES
        if (found := problem(case, outcomes[case.name]))
    ]
    assert not problems, "\n".join(problems)


def test_a_request_inside_a_refused_ones_body_is_no_request(recording: RecordingStack) -> None:
    """R-34. What follows a refusal is not read, whether it is a body or the next request."""
    key = recording.open_key
    hidden = whole("hidden", key)
    wrong = b"sk-bf-" + b"0" * 50
    starts = {
        401: whole("refused", wrong.decode()),
        404: whole("refused", key).replace(b"/v1/chat", b"/v1/nothing"),
        405: whole("refused", key).replace(b"POST", b"PUT"),
        415: whole("refused", key).replace(b"application/json", b"text/plain"),
    }
    framings = [
        b"content-length: %d\r\n\r\n%s" % (len(hidden), hidden),
        b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden),
        # Announced, and never sent: what follows is the body.
        b"content-length: 100000\r\n\r\n" + hidden,
    ]

    def answered(start: bytes, framing: bytes) -> list[int]:
        head = start.partition(b"\r\n\r\n")[0]
        with raw.Connection(recording.port) as connection:
            connection.send(head.replace(b"content-length: " + LENGTH, framing))
            return [answer.status for answer in iter(connection.read, None)]

    with ThreadPoolExecutor(len(starts) * len(framings)) as pool:
        sent = {
            (status, framing): pool.submit(answered, start, framing)
            for status, start in starts.items()
            for framing in framings
        }
        for (status, framing), statuses in sent.items():
            assert statuses.result() == [status], framing
    assert not recording.recorder.take()


def test_each_of_many_pipelined_requests_is_judged(recording: RecordingStack) -> None:
    """R-34. In order, and by its own key."""
    good = whole("good", recording.open_key)
    with raw.Connection(recording.port) as connection:
        connection.send(good * 20 + whole("bad", "sk-bf-unknown") + good)
        assert [connection.read().status for _ in range(20)] == [200] * 20
        assert connection.read().status == 401
        assert connection.read() is None
    received = recording.recorder.take()
    assert [request.values("x-case") for request in received] == [[b"good"]] * 20


def test_a_body_in_single_bytes_is_put_together(recording: RecordingStack) -> None:
    """R-34."""
    data = whole("bytes", recording.open_key)
    with raw.Connection(recording.port) as connection:
        for index in range(len(data)):
            connection.send(data[index : index + 1])
        assert connection.read().status == 200
    (received,) = recording.recorder.take()
    assert received.body == BODY


@pytest.mark.parametrize("sent", [0, 1, len(BODY) // 2, len(BODY) - 1])
@pytest.mark.parametrize("ending", ["close", "half-close", "reset"])
def test_a_body_cut_in_the_middle_reaches_nobody(
    recording: RecordingStack, sent: int, ending: str
) -> None:
    """R-34."""
    data = whole("cut", recording.open_key)
    with raw.Connection(recording.port) as connection:
        connection.send(data[: len(data) - len(BODY) + sent])
        match ending:
            case "half-close":
                connection.finish_sending()
                answer = connection.read()
                assert answer is None or 400 <= answer.status < 500
            case "reset":
                connection.reset()
    assert not recording.recorder.take()


PIECES = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b"%2f", b"%00", b"..", b"//", b"\xff", b'"', b"{", b"}",
    b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b"0\r\n\r\n", b"POST ", b"HTTP/1.1", b"host: a\r\n",
    b"connection: ", b"x-bf-vk: ", b"x-reeve-cluster: provider_openai\r\n", b"\\u0000", b"model",
]  # fmt: skip


def damaged(chance: random.Random, data: bytes) -> bytes:
    for _ in range(chance.choice((1, 1, 2, 3, 5))):
        at = chance.randrange(len(data))
        somewhere = chance.randrange(len(data))
        length = chance.choice((1, 5, 20, 60))
        data = chance.choice(
            (
                data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :],
                data[:at] + chance.choice(PIECES) + data[at:],
                data[:at] + chance.choice(PIECES) + data[at + 1 :],
                data[:at] + data[somewhere : somewhere + length] + data[at:],
                data[:at] + data[at + length :] or data,
            )
        )
    return data


@EVERY_ENVOY
def test_damaged_requests_are_refused_or_reach_a_provider_whole(
    envoy: str, request: pytest.FixtureRequest
) -> None:
    """R-34. 1,500 of them, the same in every run."""
    stack = request.getfixturevalue(envoy)
    key = stack.open_key
    chunked = whole("damaged", key).replace(b"content-length: " + LENGTH, TO_CHUNKS)
    seeds = [whole("damaged", key), chunked.replace(BODY, CHUNKED)]
    chance = random.Random("damage")
    for _ in range(1_500):
        data = damaged(chance, chance.choice(seeds))
        with raw.Connection(stack.port) as connection:
            try:
                connection.send(data)
                # More will not come, so Envoy need not wait for it.
                connection.finish_sending()
                answer = connection.read()
            except (BrokenPipeError, ConnectionResetError):
                continue
        if answer is not None:
            assert answer.status in (100, 200, 501) or 400 <= answer.status < 500, data
    for received in stack.recorder.take():
        assert received.values("authorization") == [b"Bearer demo"]
        assert key.encode() not in received.wire
        assert json.loads(received.body)["model"], "it is a body that could be judged"


# ---- callers that take their time


def impatient(bootstrap: Json, served: Served) -> None:
    """What Envoy waits for is a minute or five as shipped."""
    manager = connection_manager(bootstrap)
    manager |= {
        "request_headers_timeout": "0.3s",
        "request_timeout": "0.5s",
        "stream_idle_timeout": "0.5s",
        "delayed_close_timeout": "0.1s",
    }
    *_, providers = with_own_routes(bootstrap, served)["virtual_hosts"][0]["routes"]
    providers["route"]["idle_timeout"] = "0.5s"


@contextmanager
def dribbling(stack: Stack, data: bytes, callers: int) -> Iterator[list[raw.Connection]]:
    """So many callers have sent a part of a request, and send nothing more."""
    connections = [raw.Connection(stack.port) for _ in range(callers)]
    try:
        for connection in connections:
            connection.send(data)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def test_slow_callers_are_sent_away_and_hold_nobody_up(new_stack) -> None:
    """R-34. Slow headers, slow bodies, slow readers: Envoy's timeouts end them all."""
    stack = new_stack(edit_served=impatient)
    key = stack.key()
    caller = stack.caller(key.value)
    data = whole("slow", key.value)
    head = data.removesuffix(BODY)
    for part in (head[:1], head[:-2], head, data[:-1]):
        with dribbling(stack, part, 150) as connections:
            assert caller.chat().status_code == 200
            statuses = {
                answer and answer.status for answer in map(raw.Connection.read, connections)
            }
            assert statuses == {408}
    # A byte now and then does not help.
    for start, rest in ((head[:20], head[20:]), (head, BODY)):
        with raw.Connection(stack.port) as connection:
            connection.send(start)
            more = iter(rest)

            def is_sent_away() -> bool:
                try:
                    connection.send(bytes([next(more)]))
                except (BrokenPipeError, ConnectionResetError):
                    return True
                return False

            eventually(is_sent_away, what="the end of Envoy's patience")
    assert stack.demo.requests() == 4, "those of the patient caller"


def test_a_caller_that_does_not_read_is_sent_away_and_pays(new_stack) -> None:
    """R-34, R-43."""
    stack = new_stack(edit_served=impatient)
    key = stack.key()
    long_answer = raw.request(
        headers=[(b"x-bf-vk", key.value.encode()), (b"x-demo-output-tokens", b"500000")],
        body=json.dumps(chat_body("gpt-4o-mini", stream=True)).encode(),
    )
    with socket.socket() as small:
        # Little of the answer fits between Envoy and this caller.
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        small.connect(("127.0.0.1", stack.port))
        small.sendall(long_answer)
        record = stack.admin.one_usage(key.id)
        assert (record.status, record.estimated) == (200, True)
        read = 0
        while some := small.recv(65_536):
            read += len(some)
    # Each token comes in an event of its own.
    served = stack.demo.served("gpt-4o-mini")["output_tokens"]
    assert served < 500_000, "the provider was told to stop"
    assert 0 < record.output_tokens <= served
    assert record.output_tokens * 4 <= read
    assert record.cost > 0
    eventually(lambda: stack.stats("rq_active")["http.reeve.downstream_rq_active"] == 0)
