"""Whatever comes in: a 4xx in the caller's dialect that says why, and everything stays alive.

After each test the filter's VM must be the one from before, and the provider must have seen
nothing that was refused.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest

import raw
from llm import CHAT, MESSAGES, chat_body, denial
from raw import Answer
from stack import KeyInForce, Stack
from waiting import eventually

BODY = json.dumps(chat_body()).encode()
# As a client may send them; each is read by somebody between the caller and the provider.
HEADERS = (
    "x-bf-vk",
    "authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "content-type",
    "content-encoding",
    "accept",
    "accept-encoding",
    "user-agent",
    "cookie",
    "traceparent",
    "x-request-id",
    "x-forwarded-for",
    "x-reeve-cluster",
    "x-envoy-original-path",
    "openai-organization",
    "anthropic-version",
    "x-anything",
)
HOSTILE = {
    "latin-1": b"caf\xe9",
    "invalid UTF-8": b"\xc3\x28",
    "overlong": b"\xc0\xaf",
    "high bytes": bytes(range(0x80, 0x100)),
    "emoji": "🔑".encode(),
    "8 kB": b"a" * 8_192,
    "8 kB of high bytes": b"\xff" * 8_192,
}


@pytest.fixture(scope="module")
def _key(_shared: Stack) -> KeyInForce:
    return _shared.key()


@pytest.fixture
def key(stack: Stack, _key: KeyInForce) -> Iterator[str]:
    """A key that works, before and after; and no VM died in between."""
    reloads = stack.vm_reloads()
    yield _key.value
    assert stack.vm_reloads() == reloads == 0
    for _ in range(4):  # both workers, most likely
        assert stack.caller(_key.value).chat().status_code == 200


def send(
    stack: Stack, key: str | None, headers: list[raw.Header] | None = None, **request
) -> Answer:
    """One request, byte for byte, with the key."""
    credential = [(b"x-bf-vk", key.encode())] if key else []
    request.setdefault("body", BODY)
    answer = raw.exchange(stack.port, raw.request(headers=credential + (headers or []), **request))
    assert answer is not None, "the connection was closed without an answer"
    return answer


def assert_refused(answer: Answer, status: int, kind: str | None = None) -> None:
    """In OpenAI's dialect; the message is there and echoes no byte that could do harm."""
    assert answer.status == status, answer.body
    assert answer.header("content-type") == b"application/json"
    body = answer.json()
    assert body["status_code"] == status
    assert body["error"]["message"]
    if kind:
        assert body["type"] == kind


# ---- bytes in headers


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("name", HEADERS)
def test_hostile_bytes_in_a_header_kill_nothing(
    stack: Stack, key: str, name: str, value: bytes
) -> None:
    credential = None if name == "x-bf-vk" else key
    content_type = None if name == "content-type" else b"application/json"
    answer = send(stack, credential, [(name.encode(), value)], content_type=content_type)
    # A header that nobody reads may hold anything; one that is read must be right.
    assert answer.status == 200 or 400 <= answer.status < 500
    must_be_right = {"x-bf-vk": 401, "content-type": 415, "content-encoding": 415}
    assert answer.status == must_be_right.get(name, answer.status)
    if answer.status != 200:
        assert stack.demo.requests() == 0
        assert answer.json()["error"]["message"].isascii()


@pytest.mark.parametrize("prefix", [b"sk-bf-", b"Bearer sk-bf-"], ids=["bare", "bearer"])
@pytest.mark.parametrize(
    "name", ["x-bf-vk", "authorization", "x-api-key", "x-goog-api-key", "api-key"]
)
def test_every_byte_that_http_allows_is_survived_in_a_credential(
    stack: Stack, key: str, name: str, prefix: bytes
) -> None:
    for byte in (0x09, *range(0x20, 0x7F), *range(0x80, 0x100)):
        value = prefix + b"a" + bytes([byte]) + b"b"
        answer = raw.exchange(stack.port, raw.request(headers=[(name.encode(), value)], body=BODY))
        assert answer is not None and answer.status in (400, 401), (hex(byte), answer)
    assert stack.demo.requests() == 0


@pytest.mark.parametrize("byte", [0x00, 0x01, 0x0A, 0x0D, 0x1F, 0x7F])
def test_a_control_byte_in_a_header_is_400_or_ends_the_connection(
    stack: Stack, key: str, byte: int
) -> None:
    data = raw.request(headers=[(b"x-bf-vk", b"sk-bf-a" + bytes([byte]) + b"b")], body=BODY)
    answer = raw.exchange(stack.port, data)
    assert answer is None or answer.status in (400, 401)
    assert stack.demo.requests() == 0


def test_a_line_break_in_a_header_cannot_add_a_header_or_an_answer(stack: Stack, key: str) -> None:
    """Echoed, it would split the response."""
    for name in (b"x-request-id", b"x-bf-vk", b"traceparent"):
        for attack in (
            b"a%0d%0aset-cookie: evil=1",
            b"a\\r\\nset-cookie: evil=1",
            b"a\rset-cookie: evil=1",
        ):
            answer = raw.exchange(stack.port, raw.request(headers=[(name, attack)], body=BODY))
            if answer is not None:
                assert 400 <= answer.status < 500
                assert answer.header("set-cookie") is None
                assert b"evil" not in (answer.header("x-request-id") or b"")
    body = json.dumps(chat_body('gpt-4o"\r\nset-cookie: evil=1')).encode()
    answer = send(stack, key, body=body)
    assert_refused(answer, 400, "invalid_request")
    assert answer.header("set-cookie") is None
    assert b"evil" not in answer.body
    assert stack.demo.requests() == 0


@pytest.mark.parametrize(
    "name",
    ["x-reeve-cluster", "X-Reeve-Anything", "x-envoy-original-path", "x-envoy-attempt-count",
     "x-envoy-upstream-rq-timeout-ms", "x-envoy-retry-on", "x-forwarded-for", "x-http-method-override"],
)  # fmt: skip
def test_headers_that_steer_a_gateway_are_ignored_and_removed(
    stack: Stack, key: str, name: str
) -> None:
    answer = send(stack, key, [(name.encode(), b"control_plane_http")])
    assert answer.status == 200, "it neither chose the cluster nor did anything else"
    received = stack.demo.last_headers()
    assert "control_plane_http" not in json.dumps(received)
    assert not [header for header in received if header.startswith("x-reeve-")]
    refused = send(stack, None, [(name.encode(), b"provider_openai")])
    assert refused.status == 401
    assert stack.demo.requests() == 1


# ---- bodies


def test_a_body_of_20_mb_is_413_by_default_and_passes_where_the_limit_allows_it(new_stack) -> None:
    stack = new_stack()
    key = stack.key()
    caller = stack.caller(key.value)
    text = "a" * 20_000_000
    refused = caller.chat("gpt-4o-mini", text)
    assert denial(refused) == (413, "payload_too_large")
    assert stack.demo.requests() == 0
    stack.admin.put("/api/config", {"client_config": {"max_request_body_size_mb": 21}})

    def passes() -> bool:
        return caller.chat("gpt-4o-mini", text, max_tokens=5).status_code == 200

    eventually(passes, 5, "20 MB to pass")
    assert stack.demo.served("gpt-4o-mini")["input_tokens"] == 5_000_000
    record = stack.admin.one_usage(key.id)
    assert (record.input_tokens, record.output_tokens) == (5_000_000, 5)


def test_a_body_above_the_limit_is_413_however_it_is_framed(new_stack) -> None:
    stack = new_stack()
    key = stack.key()
    stack.admin.put("/api/config", {"client_config": {"max_request_body_size_mb": 1}})
    large = json.dumps(chat_body(text="a" * 1_200_000)).encode()
    caller = stack.caller(key.value)
    eventually(
        lambda: caller.chat(text="a" * 1_200_000).status_code == 413, 1, "the new limit in force"
    )
    stack.demo.reset()
    announced = send(stack, key.value, body=b"", length=len(large))
    assert_refused(announced, 413, "payload_too_large")
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(part), part)
        for part in (large[i : i + 65_536] for i in range(0, len(large), 65_536))
    )
    head = raw.request(headers=[(b"x-bf-vk", key.value.encode())]).replace(
        b"content-length: 0", b"transfer-encoding: chunked"
    )
    chunked = raw.exchange(stack.port, head + chunks + b"0\r\n\r\n")
    assert chunked is not None
    assert_refused(chunked, 413, "payload_too_large")
    assert stack.demo.requests() == 0
    assert caller.chat(text="a" * 500_000).status_code == 200


def test_a_body_beyond_every_limit_is_413(stack: Stack, key: str) -> None:
    answer = send(stack, key, body=b"", length=1 << 40)
    assert answer.status == 413
    assert stack.demo.requests() == 0


@pytest.mark.parametrize("sent", [0, 1, len(BODY) // 2, len(BODY) - 1])
@pytest.mark.parametrize("ending", ["close", "half-close", "reset"])
def test_a_body_cut_in_the_middle_reaches_nobody(
    stack: Stack, key: str, sent: int, ending: str
) -> None:
    headers = [(b"x-bf-vk", key.encode())]
    with raw.Connection(stack.port) as connection:
        connection.send(raw.request(headers=headers, body=BODY[:sent], length=len(BODY)))
        match ending:
            case "half-close":
                connection.finish_sending()
                answer = connection.read()
                assert answer is None or 400 <= answer.status < 500
            case "reset":
                connection.reset()
    assert stack.caller(key).chat().status_code == 200
    assert stack.demo.requests() == 1


def test_a_body_in_single_bytes_is_put_together(stack: Stack, key: str) -> None:
    data = raw.request(headers=[(b"x-bf-vk", key.encode())], body=BODY)
    with raw.Connection(stack.port) as connection:
        for index in range(len(data)):
            connection.send(data[index : index + 1])
        assert connection.read().status == 200


NOT_JSON = {
    "nothing": b"",
    "a word": b"hello",
    "an open object": b'{"model": "gpt-4o"',
    "two objects": BODY + BODY,
    "something after it": BODY + b" x",
    "an array": b"[" + BODY + b"]",
    "a number": b"12",
    "null": b"null",
    "a byte order mark": b"\xef\xbb\xbf" + BODY,
    "UTF-16": BODY.decode().encode("utf-16"),
    "UTF-32": BODY.decode().encode("utf-32"),
    "invalid UTF-8": BODY.replace(b"Hello", b"caf\xe9"),
    "an overlong slash": BODY.replace(b"Hello", b"\xc0\xaf"),
    "a lone surrogate": BODY.replace(b"Hello", b"\\ud800"),
    "a raw control character": BODY.replace(b"Hello", b"\x01"),
    "NaN": BODY.replace(b"}]", b'}], "temperature": NaN'),
    "a comment": b"/* */" + BODY,
    "a trailing comma": BODY[:-1] + b",}",
    "single quotes": BODY.replace(b'"', b"'"),
    "30,000 brackets": b'{"model": "gpt-4o", "messages": ' + b"[" * 30_000,
    "30,000 brackets, closed": b'{"model": "gpt-4o", "messages": '
    + b"[" * 30_000
    + b"]" * 30_000
    + b"}",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_not_one_json_object_is_400(stack: Stack, key: str, body: bytes) -> None:
    assert_refused(send(stack, key, body=body), 400, "invalid_request")
    assert stack.demo.requests() == 0


AMBIGUOUS = {
    "model twice": b'{"model": "gpt-4o", "model": "gpt-4o-mini", "messages": []}',
    "model twice, equal": b'{"model": "gpt-4o", "model": "gpt-4o", "messages": []}',
    "model escaped": b'{"model": "gpt-4o", "\\u006dodel": "gpt-4o-mini", "messages": []}',
    "Model": b'{"model": "gpt-4o", "Model": "gpt-4o-mini", "messages": []}',
    "MODEL alone": b'{"MODEL": "gpt-4o", "messages": []}',
    "full-width model": '{"model": "gpt-4o", "ｍodel": "gpt-4o-mini", "messages": []}'.encode(),
    "stream twice": b'{"model": "gpt-4o", "stream": true, "stream": false, "messages": []}',
    "max_tokens twice": b'{"model": "gpt-4o", "max_tokens": 1, "max_tokens": 9, "messages": []}',
    "no model": b'{"messages": []}',
    "model null": b'{"model": null, "messages": []}',
    "model number": b'{"model": 4, "messages": []}',
    "model array": b'{"model": ["gpt-4o"], "messages": []}',
    "model object": b'{"model": {"a": 1}, "messages": []}',
    "model empty": b'{"model": "", "messages": []}',
    "model with NUL": b'{"model": "gpt-4o\\u0000", "messages": []}',
    "model with a space": b'{"model": "gpt-4o ", "messages": []}',
    "model homoglyph": '{"model": "gрt-4o", "messages": []}'.encode(),
    "model too long": b'{"model": "' + b"a" * 200 + b'", "messages": []}',
    "stream a string": b'{"model": "gpt-4o", "stream": "true", "messages": []}',
    "max_tokens negative": b'{"model": "gpt-4o", "max_tokens": -1, "messages": []}',
    "max_tokens a fraction": b'{"model": "gpt-4o", "max_tokens": 1.5, "messages": []}',
    "max_tokens huge": b'{"model": "gpt-4o", "max_tokens": 1e999999, "messages": []}',
    "n a million": b'{"model": "gpt-4o", "n": 1000000, "messages": []}',
}


@pytest.mark.parametrize("body", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_what_two_parsers_could_read_differently_is_400(
    stack: Stack, key: str, body: bytes
) -> None:
    answer = send(stack, key, body=body)
    assert_refused(answer, 400, "invalid_request")
    assert stack.demo.requests() == 0


@pytest.mark.parametrize("name", ["api_base", "base_url", "api_key", "custom_llm_provider"])
def test_a_body_that_names_another_provider_or_key_is_400(
    stack: Stack, key: str, name: str
) -> None:
    body = json.dumps(chat_body(**{name: "https://evil.example"})).encode()
    assert_refused(send(stack, key, body=body), 400, "invalid_request")
    assert stack.demo.requests() == 0


@pytest.mark.parametrize(
    "content_type",
    [None, b"", b"text/plain", b"multipart/form-data; boundary=x", b"application/json; charset=utf-16",
     b"application/x-www-form-urlencoded", b"application/jsonx", b"application/json, text/plain"],
)  # fmt: skip
def test_a_wrong_content_type_is_415(stack: Stack, key: str, content_type: bytes | None) -> None:
    answer = send(stack, key, content_type=content_type)
    assert_refused(answer, 415, "unsupported_media_type")
    assert stack.demo.requests() == 0


@pytest.mark.parametrize("content_type", [b"application/json", b"application/json; charset=utf-8",
                                          b"Application/JSON;charset=UTF-8"])  # fmt: skip
def test_json_in_utf_8_is_accepted_however_it_is_spelt(
    stack: Stack, key: str, content_type: bytes
) -> None:
    assert send(stack, key, content_type=content_type).status == 200


@pytest.mark.parametrize(
    "encoding", [b"gzip", b"deflate", b"br", b"zstd", b"gzip, identity", b"GZIP"]
)
def test_an_encoded_body_is_415(stack: Stack, key: str, encoding: bytes) -> None:
    answer = send(stack, key, [(b"content-encoding", encoding)], body=gzip.compress(BODY))
    assert_refused(answer, 415, "unsupported_media_type")
    assert stack.demo.requests() == 0


# ---- methods, paths, framing


@pytest.mark.parametrize(
    "path",
    [b"/", b"/v1", b"/v1/nothing", b"/v1/files", b"/v2/chat/completions", b"/api", b"/metrics"],
)
def test_an_unknown_path_is_404(stack: Stack, key: str, path: bytes) -> None:
    assert_refused(send(stack, key, path=path), 404, "not_found")
    assert stack.demo.requests() == 0


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"PATCH", b"HEAD", b"OPTIONS"])
def test_a_wrong_method_is_405_and_says_which_is_right(
    stack: Stack, key: str, method: bytes
) -> None:
    data = raw.request(headers=[(b"x-bf-vk", key.encode())], method=method)
    with raw.Connection(stack.port, timeout=3) as connection:
        connection.send(data)
        answer = connection.read_head() if method == b"HEAD" else connection.read()
    assert answer.status == 405
    assert answer.header("allow") == b"POST"
    assert stack.demo.requests() == 0


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE", b"BREW", b"P\xd6ST"])
def test_a_strange_method_reaches_nobody(stack: Stack, key: str, method: bytes) -> None:
    answer = raw.exchange(
        stack.port, raw.request(headers=[(b"x-bf-vk", key.encode())], method=method, body=BODY)
    )
    assert answer is None or 400 <= answer.status < 500
    assert stack.demo.requests() == 0


SPELLINGS = [
    b"//v1/chat/completions", b"/v1//chat/completions", b"/v1/./chat/completions",
    b"/openai/../v1/chat/completions", b"/v1/chat/../chat/completions", b"/v1/chat/completions/",
    b"/v1/chat%2fcompletions", b"/v1/chat%2Fcompletions", b"/v1%5cchat/completions",
    b"/v1\\chat\\completions", b"/v1/chat/completions;x=1", b"/v1/chat/completions%00",
    b"/v1/ch%61t/completions", b"/%2e%2e/v1/chat/completions", b"/v1/%252e%252e/chat/completions",
    b"/V1/chat/completions", b"/v1/Chat/Completions", b"/v1/chat/completions#x",
    b"/v1/chat/completions%20", b"/%c0%ae%c0%ae/v1/chat/completions", b"/v1/chat/completions%0d%0a",
    b"/api/../v1/chat/completions", b"/api/%2e%2e/v1/chat/completions", b"/healthz/../v1/chat/completions",
    b"http://evil.example/v1/chat/completions", b"http://localhost/v1/chat/completions",
    b"/v1/chat/completions?model=gpt-4o-mini", b"/v1/caf\xe9", b"*", b"",
]  # fmt: skip


@pytest.mark.parametrize("path", SPELLINGS, ids=[repr(path)[2:-1] for path in SPELLINGS])
def test_a_path_in_disguise_is_judged_as_what_it_is_or_refused(
    stack: Stack, key: str, path: bytes
) -> None:
    without_key = raw.exchange(stack.port, raw.request(path=path, body=BODY))
    assert without_key is None or 400 <= without_key.status < 500, "never unjudged"
    assert stack.demo.requests() == 0
    answer = raw.exchange(
        stack.port, raw.request(path=path, headers=[(b"x-bf-vk", key.encode())], body=BODY)
    )
    if answer is not None and answer.status == 200:
        assert stack.demo.last()["path"].split("?")[0] == "/v1/chat/completions"
    else:
        assert answer is None or 400 <= answer.status < 500
        assert stack.demo.requests() == 0


SMUGGLED = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n\r\n"
FRAMINGS = {
    "two lengths": b"content-length: 4\r\ncontent-length: 5\r\n",
    "length and chunked": b"content-length: 4\r\ntransfer-encoding: chunked\r\n",
    "a signed length": b"content-length: +4\r\n",
    "a negative length": b"content-length: -4\r\n",
    "a length in words": b"content-length: four\r\n",
    "two codings": b"transfer-encoding: chunked, identity\r\n",
    "an unknown coding": b"transfer-encoding: xchunked\r\n",
    "a space before the colon": b"transfer-encoding : chunked\r\n",
    "a bad chunk": b"transfer-encoding: chunked\r\n",
}


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS.keys())
def test_a_request_with_two_possible_ends_is_refused(
    stack: Stack, key: str, framing: bytes
) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    data = head + b"x-bf-vk: " + key.encode() + b"\r\n" + framing + b"\r\nzzzz\r\n" + SMUGGLED
    answer = raw.exchange(stack.port, data)
    assert answer is None or 400 <= answer.status <= 501
    assert stack.demo.requests() == 0


def test_trailers_are_refused(stack: Stack, key: str) -> None:
    head = raw.request(headers=[(b"x-bf-vk", key.encode()), (b"trailer", b"x-bf-vk")]).replace(
        b"content-length: 0", b"transfer-encoding: chunked"
    )
    chunks = b"%x\r\n%s\r\n0\r\nx-bf-vk: sk-bf-other\r\n\r\n" % (len(BODY), BODY)
    answer = raw.exchange(stack.port, head + chunks)
    # Envoy drops the trailers of HTTP/1 unless it is told to keep them.
    assert answer.status == 200 or 400 <= answer.status < 500
    if answer.status == 200:
        assert "sk-bf-other" not in json.dumps(stack.demo.last())


def test_each_of_two_pipelined_requests_is_judged(stack: Stack, key: str) -> None:
    good = raw.request(headers=[(b"x-bf-vk", key.encode())], body=BODY)
    bad = raw.request(body=BODY)
    with raw.Connection(stack.port) as connection:
        connection.send(good + bad)
        assert [connection.read().status, connection.read().status] == [200, 401]
    assert stack.demo.requests() == 1


# ---- dialects


def test_an_anthropic_caller_is_refused_in_its_own_dialect(stack: Stack, key: str) -> None:
    for path in (MESSAGES, "/anthropic/v1/messages"):
        for body in ({}, {"model": 1}, {"model": "claude-sonnet-5"}):
            response = stack.caller(key).post(path, body)
            assert 400 <= response.status_code < 500
            answer = response.json()
            assert answer["type"] == "error"
            assert answer["error"]["type"] in ("invalid_request_error", "permission_error")
            assert answer["status_code"] == response.status_code
            assert answer["error_type"] and answer["error"]["message"] and answer["request_id"]
    unknown = stack.caller(key).post("/anthropic/v1/nothing", {})
    assert unknown.status_code == 404
    assert unknown.json()["error"]["type"] == "not_found_error"
    assert stack.demo.requests() == 0


def test_a_refusal_carries_the_request_id_that_the_header_has(stack: Stack, key: str) -> None:
    response = stack.caller(key).post(CHAT, {}, x_request_id="chosen-by-the-caller")
    assert denial(response) == (400, "invalid_request")
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert response.headers["x-request-id"] != "chosen-by-the-caller"
    assert response.headers["x-reeve-denied"] == "invalid_request"
