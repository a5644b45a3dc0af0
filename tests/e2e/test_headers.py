"""Header fields: whatever they hold, it kills nothing; whatever they steer elsewhere, not here.

Rows R-07 and R-35 of the red team. (Credentials have a file of their own.)
"""

from __future__ import annotations

import json
import re

import pytest

import raw
import raw_http2
from llm import CHAT, chat_body
from recorder import RecordingStack
from stack import Stack

BODY = json.dumps(chat_body("gpt-4o")).encode()
EVERY_ENVOY = pytest.mark.parametrize("envoy", ["recording", "bare_recording"])
# What a provider gets of a request that has nothing special, whoever asks.
FORWARDED = {"host", "content-type", "content-length", "authorization", "x-request-id"}

# Fields that somebody reads between the caller and the provider, and what stands there before the
# byte of the sweep.
READ = {
    "x-bf-vk": b"sk-bf-",
    "authorization": b"Bearer sk-bf-",
    "x-api-key": b"sk-bf-",
    "x-goog-api-key": b"sk-bf-",
    "api-key": b"sk-bf-",
    "proxy-authorization": b"Basic ",
    "content-type": b"application/json",
    "content-encoding": b"identity",
    "host": b"localhost",
    "x-required": b"value",
    "accept": b"*/*",
    "accept-encoding": b"gzip",
    "user-agent": b"curl/8",
    "cookie": b"a=b",
    "te": b"trailers",
    "connection": b"close",
    "upgrade": b"websocket",
    "expect": b"100",
    "origin": b"http://localhost",
    "via": b"1.1 a",
    "forwarded": b"for=1",
    "traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "x-request-id": b"1",
    "x-forwarded-for": b"10.0.0.1",
    "x-forwarded-proto": b"http",
    "x-forwarded-host": b"localhost",
    "x-reeve-try-1": b"provider_openai",
    "x-envoy-original-path": b"/",
    "x-envoy-attempt-count": b"1",
    "x-http-method-override": b"PUT",
    "anthropic-version": b"2023-06-01",
    "openai-organization": b"org",
    "x-amz-date": b"2026",
    "x-anything": b"a",
}


CREDENTIALS = ("x-bf-vk", "authorization", "x-api-key", "x-goog-api-key", "api-key")
# With anything else in them a request is not served.
MUST_BE_RIGHT = ("x-bf-vk", "content-type", "content-encoding", "host")
TEXTS = [
    b"",
    b"caf\xe9",
    b"\xc3\x28",
    b"\xc0\xaf",
    bytes(range(0x80, 0x100)),
    "🔑".encode(),
    b"a" * 8_192,
    b"\xff" * 8_192,
]


def head(fields: dict[str, bytes], path: bytes = CHAT.encode()) -> bytes:
    """A chat completion with these fields, byte for byte."""
    lines = [name.encode() + b": " + value for name, value in fields.items()]
    lines.append(b"content-length: %d" % len(BODY))
    return b"POST " + path + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + BODY


def usual(stack: RecordingStack) -> dict[str, bytes]:
    return {
        "host": b"localhost",
        "content-type": b"application/json",
        "x-bf-vk": stack.open_key.encode(),
    }


def assert_harmless(answer: raw.Answer | None) -> bool:
    """Served, or refused in words that do no harm. Gives whether it was served."""
    if answer is None:
        return False
    assert answer.status == 200 or 400 <= answer.status < 500, answer
    for name, value in answer.headers:
        assert re.fullmatch(rb"[\x20-\x7e]*", value), (name, value)
    if answer.status != 200 and answer.header("content-type") == b"application/json":
        # A request that Envoy could not read has no dialect.
        assert answer.json()["error"]["message"].isascii()
    return answer.status == 200


@pytest.mark.parametrize("name", READ)
def test_nothing_in_a_header_does_harm(recording: RecordingStack, name: str) -> None:
    """R-07. Each of the 256 bytes, and texts that somebody may stumble over."""
    values = [READ[name] + bytes([byte]) + b"b" for byte in range(256)]
    served = 0
    for value in (*values, *TEXTS):
        answer = raw.exchange(recording.port, head(usual(recording) | {name: value}))
        served += assert_harmless(answer)
    if name in MUST_BE_RIGHT:
        assert served == 0
    assert len(recording.recorder.take()) == served


@pytest.mark.parametrize("name", [*CREDENTIALS, "content-type", "x-request-id", "x-anything"])
def test_nothing_in_a_header_of_http2_does_harm(recording: RecordingStack, name: str) -> None:
    """R-07. Each byte that can be a part of a field; for the others see test_http2.py."""
    served = 0
    with raw_http2.Connection(recording.port) as connection:
        for number, byte in enumerate([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)]):
            fields = usual(recording) | {name: READ[name] + bytes([byte]) + b"b"}
            del fields["host"]
            listed = [(field.encode(), value) for field, value in fields.items()]
            stream = 2 * number + 1
            connection.ask(stream, raw_http2.request(listed, content_type=None), BODY)
            served += assert_harmless(connection.until_over(stream).answer())
        assert not connection.closed
    if name in MUST_BE_RIGHT:
        assert served == 0
    assert len(recording.recorder.take()) == served


@pytest.mark.parametrize("place", [b"/v1/chat/%scompletions", CHAT.encode() + b"?x=%s"])
def test_no_byte_in_a_path_or_a_query_does_harm(recording: RecordingStack, place: bytes) -> None:
    """R-07."""
    for byte in range(256):
        answer = raw.exchange(recording.port, head(usual(recording), place % bytes([byte])))
        served = assert_harmless(answer)
        # What it makes of the path or the query is nothing that is known.
        assert not served or byte in b"./\\", hex(byte)
        assert len(recording.recorder.take()) == served


def test_no_byte_in_a_required_header_does_harm(recording: RecordingStack) -> None:
    """R-07, R-36. A value that is there counts, whatever it is made of."""
    config = {"client_config": {"required_headers": ["x-required"]}}
    recording.admin.put("/api/config", config)
    try:
        for byte in range(256):
            fields = usual(recording) | {"x-required": bytes([byte])}
            answer = raw.exchange(recording.port, head(fields))
            served = assert_harmless(answer)
            assert served == (0x20 < byte != 0x7F), hex(byte)
            assert len(recording.recorder.take()) == served
    finally:
        recording.admin.put("/api/config", {"client_config": {"required_headers": []}})


def test_a_line_break_in_a_header_cannot_add_a_header_or_an_answer(
    recording: RecordingStack,
) -> None:
    """R-35. Echoed, it would split the response."""
    for name in ("x-request-id", "x-bf-vk", "traceparent"):
        for attack in (
            b"a%0d%0aset-cookie: evil=1",
            b"a\\r\\nset-cookie: evil=1",
            b"a\rset-cookie: evil=1",
            b"a\r\n set-cookie: evil=1",
        ):
            fields = usual(recording) | {name: attack}
            answer = raw.exchange(recording.port, head(fields))
            assert_harmless(answer)
            if answer is not None:
                assert answer.header("set-cookie") is None
                assert b"evil" not in (answer.header("x-request-id") or b"")
    recording.recorder.take()
    body = json.dumps(chat_body('gpt-4o"\r\nset-cookie: evil=1')).encode()
    key = (b"x-bf-vk", recording.open_key.encode())
    answer = raw.exchange(recording.port, raw.request(headers=[key], body=body))
    assert answer.status == 400
    assert answer.header("set-cookie") is None
    assert b"evil" not in answer.body
    assert not recording.recorder.take()


# ---- fields that steer a gateway, a framework or a vendor


STEERING = [
    "x-reeve-cluster", "x-reeve-provider", "x-reeve-anything", "x-bf-model",
    "x-envoy-original-path", "x-envoy-original-host", "x-envoy-attempt-count", "x-envoy-retry-on",
    "x-envoy-max-retries", "x-envoy-retry-grpc-on", "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-upstream-alt-stat-name", "x-envoy-internal",
    "x-envoy-force-trace", "x-envoy-decorator-operation", "x-envoy-external-address",
    "x-envoy-hedge-on-per-try-timeout", "x-envoy-ip-tags", "x-envoy-downstream-service-cluster",
    "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port",
    "x-forwarded-client-cert", "forwarded", "proxy-authorization", "cookie",
    "x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url",
    "openai-organization", "openai-project", "x-goog-user-project", "azureml-model-deployment",
    "x-amz-security-token", "x-amz-date", "x-amz-content-sha256",
]  # fmt: skip


def assert_forwarded_alone(stack: RecordingStack, fields: dict[str, bytes]) -> None:
    """The request is served as if it had the usual fields only, and refused without a key."""
    answer = raw.exchange(stack.port, head(fields))
    assert answer is not None and answer.status == 200, (fields, answer)
    assert answer.header("x-reeve-provider") == b"openai"
    (received,) = stack.recorder.take()
    assert received.target == CHAT
    assert {name for name, _ in received.headers} == FORWARDED, fields
    refused = raw.exchange(stack.port, head(fields | {"x-bf-vk": b"sk-of-nobody"}))
    assert refused is not None and refused.status == 401
    assert not stack.recorder.take()


@EVERY_ENVOY
@pytest.mark.parametrize("name", STEERING)
def test_a_header_that_steers_something_stays_here(
    envoy: str, name: str, request: pytest.FixtureRequest
) -> None:
    """R-35. It chooses nothing, and the provider does not see it."""
    stack = request.getfixturevalue(envoy)
    for spelling in (name, name.title()):
        for value in (
            b"control_plane_http",
            b"provider_anthropic",
            b"1",
            b"5xx",
            b"/v1/embeddings",
        ):
            assert_forwarded_alone(stack, usual(stack) | {spelling: value})


def test_a_private_header_stays_here_with_underscores_too(bare_recording: RecordingStack) -> None:
    """R-05, R-35. Where Envoy lets them pass, and a server behind reads them as hyphens."""
    for name in (*STEERING, *CREDENTIALS):
        spellings = {name.replace("-", "_"), name.replace("-", "_", 1)} - {name}
        for spelling in spellings:
            fields = usual(bare_recording) | {spelling: b"sk-of-somebody-else"}
            assert_forwarded_alone(bare_recording, fields)


@EVERY_ENVOY
def test_a_caller_cannot_have_a_header_removed_that_counts(
    envoy: str, request: pytest.FixtureRequest
) -> None:
    """R-35. `connection` names fields of one hop only, and proxies remove what it names."""
    stack = request.getfixturevalue(envoy)
    for name, statuses in {
        "x-bf-vk": {400, 401},
        "content-type": {400, 415},
        "authorization": {200},
        "x-reeve-cluster": {200, 400},
        "content-length": {200, 400},
        "transfer-encoding": {200},
        "host": {400},
        ":path": {400},
        ":authority": {400},
        "x-request-id": {200, 400},
        "x-forwarded-proto": {200, 400},
    }.items():
        for value in (name, f"close, {name}", f"{name}, keep-alive", name.upper()):
            fields = usual(stack) | {"connection": value.encode()}
            answer = raw.exchange(stack.port, head(fields))
            assert answer is not None and answer.status in statuses, (value, answer)
            received = stack.recorder.take()
            assert len(received) == (answer.status == 200)
            for only in received:
                # Without a length the body goes on in chunks.
                names = {field for field, _ in only.headers} - {"transfer-encoding"}
                assert names | {"content-length"} == FORWARDED, value


def test_a_caller_cannot_make_envoy_try_again_or_give_up(stack: Stack) -> None:
    """R-35. Each attempt would be paid for by whoever owns the provider's key."""
    steering = {
        "x-envoy-retry-on": "5xx",
        "x-envoy-max-retries": "5",
        "x-envoy-hedge-on-per-try-timeout": "true",
    }
    key = stack.key()
    caller = stack.caller(key.value, **steering)
    assert caller.chat(x_demo_fault="demo=503").status_code == 503
    assert stack.demo.requests() == 1
    impatient = stack.caller(key.value, **{"x-envoy-upstream-rq-timeout-ms": "1"})
    assert impatient.chat(x_demo_delay_ms="100").status_code == 200


def test_the_id_of_a_request_is_this_gateways(recording: RecordingStack) -> None:
    """R-35. A caller that chose it could hide among the records of another."""
    for wanted in (b"mine", b"0af76519-16cd-43dd-8448-eb211c80319c", b"a" * 1_000, b"\xff"):
        answer = raw.exchange(recording.port, head(usual(recording) | {"x-request-id": wanted}))
        given = answer.header("x-request-id")
        assert re.fullmatch(rb"[0-9a-f-]{36}", given) and given != wanted
        (received,) = recording.recorder.take()
        assert received.values("x-request-id") == [given]


def test_an_id_that_somebody_else_gave_is_made_harmless(bare_recording: RecordingStack) -> None:
    """R-35. Where Envoy keeps it, it is the filter's to repeat."""
    for wanted in (b"caf\xe9", b"a" * 5_000, b'"},{"', b"\xff" * 100):
        fields = usual(bare_recording) | {"x-request-id": wanted, "x-bf-vk": b"sk-of-nobody"}
        answer = raw.exchange(bare_recording.port, head(fields))
        assert answer.status == 401
        assert re.fullmatch(r"[\x20-\x7e]{1,256}", answer.json()["request_id"])
