"""Whatever a body holds: a 4xx in the caller's dialect that says why, and everything stays alive.

After each test the filter's VM must be the one from before, and the provider must have seen
nothing that was refused. Rows R-25 to R-30 and R-32 of the red team. (Headers, paths and framing have
files of their own, and the pure crates are tested with far more bodies than these.)
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest

import raw
from llm import CHAT, MESSAGES, chat_body, denial
from raw import Answer
from recorder import RecordingStack
from stack import KeyInForce, Stack

BODY = json.dumps(chat_body()).encode()


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


# ---- bodies


def test_a_body_beyond_every_limit_is_413(stack: Stack, key: str) -> None:
    answer = send(stack, key, body=b"", length=1 << 40)
    assert answer.status == 413
    assert stack.demo.requests() == 0


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
    "UTF-7": BODY.replace(b"{", b"+AHs-"),
    "30,000 brackets": b'{"model": "gpt-4o", "messages": ' + b"[" * 30_000,
    "30,000 brackets, closed": b'{"model": "gpt-4o", "messages": '
    + b"[" * 30_000
    + b"]" * 30_000
    + b"}",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_not_one_json_object_is_400(stack: Stack, key: str, body: bytes) -> None:
    """R-26, R-27."""
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
    """R-25."""
    answer = send(stack, key, body=body)
    assert_refused(answer, 400, "invalid_request")
    assert stack.demo.requests() == 0


def repeated(item: bytes, count: int, between: bytes = b",") -> bytes:
    return between.join([item] * count)


def with_member(value: bytes) -> bytes:
    """A chat completion with a member that nobody governs."""
    return BODY[:-1] + b', "x": ' + value + b"}"


def members(count: int, name: str) -> bytes:
    return b"{" + b",".join(b'"%s": 1' % (name % number).encode() for number in range(count)) + b"}"


BOMBS = {
    "500,000 members": (with_member(members(500_000, "%d")), 400),
    "500,000 members of a length": (with_member(members(500_000, "%07d")), 400),
    "500,000 members at the top": (BODY[:-1] + b"," + members(500_000, "k%d")[1:], 400),
    "9,000 members": (with_member(members(9_000, "%d")), 200),
    "30,000 objects in each other": (
        with_member(repeated(b'{"a":', 30_000, b"") + b"1" + b"}" * 30_000),
        400,
    ),
    "60 objects in each other": (with_member(repeated(b'{"a":', 60, b"") + b"1" + b"}" * 60), 200),
    "a number of 5,000,000 digits": (with_member(b"1" * 5_000_000), 400),
    "a number beyond all numbers": (with_member(b"1e999999"), 400),
    "a million zeros": (with_member(b"[" + repeated(b"0", 1_000_000) + b"]"), 200),
    "a million escapes": (with_member(b'"' + repeated(b"\\u0061", 1_000_000, b"") + b'"'), 200),
    "a string of 9 MB": (with_member(b'"' + b"a" * 9_000_000 + b'"'), 200),
    "9 MB of spaces": (BODY + b" " * 9_000_000, 200),
    "the model behind 9 MB": (
        b'{"x": "' + b"a" * 9_000_000 + b'", "model": "gpt-4o-unheard-of", "messages": []}',
        403,
    ),
    "a second model behind 9 MB": (
        BODY[:-1] + b', "x": "' + b"a" * 9_000_000 + b'", "model": "gpt-4o-mini"}',
        400,
    ),
}


@pytest.mark.parametrize(("body", "status"), BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_one_more_body(recording: RecordingStack, body: bytes, status: int) -> None:
    """R-27, R-25. Read in one go, or refused; what is read goes on as it came."""
    answer = send(recording, recording.open_key, body=body)
    assert answer.status == status, answer.body
    received = [request.body for request in recording.recorder.take()]
    # (The provider's name in front of the model is for this gateway.)
    assert received == [body.replace(b"openai/", b"", 1)] * (status == 200)


GOVERNED = {
    "api_base": "https://evil.example", "base_url": "https://evil.example", "api_key": "sk-of-nobody",
    "custom_llm_provider": "anthropic", "provider": {"order": ["anthropic"]}, "models": ["gpt-4o-mini"],
    "fallbacks": ["gpt-4o-mini"], "route": "fallback", "extra_body": {"model": "gpt-4o-mini"},
    "tools": [{"type": "function", "model": "gpt-4o-mini", "function": {"name": "f"}}],
    "previous_response_id": "resp_of_another_key", "conversation": "conv_of_another_key",
}  # fmt: skip


@pytest.mark.parametrize("name", GOVERNED)
def test_a_body_that_names_another_model_provider_key_or_callers_object_is_400(
    stack: Stack, key: str, name: str
) -> None:
    """R-32."""
    for value in (GOVERNED[name], None, ""):
        body = json.dumps(chat_body(**{name: value})).encode()
        answer = send(stack, key, body=body)
        if value == GOVERNED[name]:
            assert_refused(answer, 400, "invalid_request")
        else:
            assert answer.status in (200, 400)
    responses = {"model": "gpt-4o", "input": "Hello", name: GOVERNED[name]}
    answer = send(stack, key, path=b"/v1/responses", body=json.dumps(responses).encode())
    assert_refused(answer, 400, "invalid_request")


@pytest.mark.parametrize(
    "content_type",
    [None, b"", b"text/plain", b"multipart/form-data; boundary=x", b"application/json; charset=utf-16",
     b"application/json; charset=utf-7", b"application/json; charset=utf-8; charset=utf-16",
     b"application/json; boundary=x", b"application/json;", b"text/json", b"*/*",
     b"application/x-www-form-urlencoded", b"application/jsonx", b"application/json, text/plain",
     b"application/json\r\ncontent-type: application/json"],
)  # fmt: skip
def test_a_wrong_content_type_is_415(stack: Stack, key: str, content_type: bytes | None) -> None:
    """R-26, R-29. Twice the right one is a wrong one."""
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
    "encodings",
    [[b"gzip"], [b"deflate"], [b"br"], [b"zstd"], [b"x-gzip"], [b"gzip, identity"], [b"GZIP"],
     [b"gzip, gzip"], [b"identity, gzip"], [b"identity", b"gzip"], [b"aws-chunked"], [b"utf-8"], [b""]],
)  # fmt: skip
def test_an_encoded_body_is_415(stack: Stack, key: str, encodings: list[bytes]) -> None:
    """R-28. It is not even unpacked, so a bomb is as good as any other."""
    headers = [(b"content-encoding", encoding) for encoding in encodings]
    for body in (gzip.compress(BODY), gzip.compress(b"a" * 20_000_000), BODY):
        assert_refused(send(stack, key, headers, body=body), 415, "unsupported_media_type")
    assert stack.demo.requests() == 0


@pytest.mark.parametrize("encoding", [b"identity", b"Identity"])
def test_a_body_encoded_as_itself_is_a_body(stack: Stack, key: str, encoding: bytes) -> None:
    """R-28."""
    assert send(stack, key, [(b"content-encoding", encoding)]).status == 200
    assert (
        send(stack, key, [(b"content-encoding", encoding)], body=gzip.compress(BODY)).status == 400
    )
    assert stack.demo.requests() == 1


# ---- forms


def part(name: str, value: bytes, more: str = "", disposition: str | None = None) -> bytes:
    disposition = disposition or f'form-data; name="{name}"'
    return f"--x\r\ncontent-disposition: {disposition}\r\n{more}\r\n".encode() + value + b"\r\n"


NAMED = part("model", b"gpt-4o-transcribe")
OTHER = part("model", b"gpt-4o-mini-transcribe")
FILE = part(
    "file", b"RIFF", "content-type: audio/wav\r\n", 'form-data; name="file"; filename="a.wav"'
)
END = b"--x--\r\n"
FORM = NAMED + FILE + END
TRANSCRIPTIONS = b"/v1/audio/transcriptions"
FORMS = {
    "two models": NAMED + OTHER + FILE + END,
    "two models around the file": NAMED + FILE + OTHER + END,
    "the same model twice": NAMED + NAMED + FILE + END,
    "no model": FILE + END,
    "Model": part("Model", b"gpt-4o-mini-transcribe") + FORM,
    "model[]": part("model[]", b"gpt-4o-mini-transcribe") + FORM,
    "model, a file": part("model", b"gpt-4o-transcribe", disposition='form-data; name="model"; filename="m"') + FILE + END,
    "a file name and no name": part("", b"a", disposition='form-data; filename="model"') + FORM,
    "name*": part("", b"gpt-4o-transcribe", disposition="form-data; name*=utf-8''model") + FILE + END,
    "a name and name*": part("", b"a", disposition="form-data; name=\"a\"; name*=utf-8''model") + FORM,
    "filename*": FORM.replace(b'filename="a.wav"', b"filename*=utf-8''a.wav"),
    "two names": part("", b"a", disposition='form-data; name="a"; name="model"') + FORM,
    "a name without quotes": FORM.replace(b'"model"', b"model"),
    "an escape in a name": part("mo\\del", b"a") + FORM,
    "two dispositions": part("a", b"a", 'content-disposition: form-data; name="model"\r\n') + FORM,
    "an attachment": FORM.replace(b'form-data; name="model"', b'attachment; name="model"'),
    "line feeds": FORM.replace(b"\r\n", b"\n"),
    "a return alone": FORM.replace(b"\r\n\r\ngpt", b"\r\r\ngpt"),
    "something before it": b"--y\r\n" + FORM,
    "a line before it": b"\r\n" + FORM,
    "something behind it": FORM + OTHER + END,
    "no end": NAMED + FILE,
    "a space behind a boundary": FORM.replace(b"--x\r\n", b"--x \r\n"),
    "the boundary in a value": part("prompt", b"--x") + FORM,
    "a model in the file": NAMED + FILE.replace(b"RIFF", b"\r\n" + OTHER) + END,
    "a form in the form": part("a", b"a", "content-type: multipart/mixed; boundary=y\r\n") + FORM,
    "base64": part("model", b"Z3B0LTRv", "content-transfer-encoding: base64\r\n") + FILE + END,
    "quoted-printable": part("model", b"gpt=2D4o", "content-transfer-encoding: quoted-printable\r\n") + FILE + END,
    "another charset": FORM.replace(b'"model"\r\n', b'"model"\r\ncontent-type: text/plain; charset=utf-16\r\n'),
    "a long header": part("a", b"a", f"x-a: {'a' * 5_000}\r\n") + FORM,
    "300 parts": b"".join(part(f"a{number}", b"a") for number in range(300)) + FORM,
    "a space in the model": FORM.replace(b"transcribe\r", b"transcribe \r"),
    "a NUL in the model": FORM.replace(b"transcribe\r", b"transcribe\0\r"),
    "a look-alike model": FORM.replace(b"gpt-4o", "gрt-4o".encode()),
    "JSON": BODY,
}  # fmt: skip


def send_form(stack: Stack, key: str, body: bytes, content_type: bytes) -> Answer:
    return send(stack, key, path=TRANSCRIPTIONS, body=body, content_type=content_type)


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS.keys())
def test_a_form_that_two_readers_could_read_differently_is_400(
    stack: Stack, key: str, body: bytes
) -> None:
    """R-30."""
    answer = send_form(stack, key, body, b"multipart/form-data; boundary=x")
    assert_refused(answer, 400, "invalid_request")
    assert stack.demo.requests() == 0


def test_a_form_as_clients_write_it_passes_with_its_file_first_or_last(
    stack: Stack, key: str
) -> None:
    """R-30. Or no form would."""
    large = FILE.replace(b"RIFF", b"a" * 3_000_000)
    for body in (FORM, FILE + NAMED + END, large + NAMED + END):
        assert send_form(stack, key, body, b'multipart/form-data; boundary="x"').status == 200
    assert stack.demo.requests() == 3


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (b"multipart/form-data", 415),
        (b"multipart/form-data; boundary=", 415),
        (b"multipart/form-data; boundary=" + b"x" * 71, 415),
        (b"multipart/form-data; boundary=x; boundary=y", 415),
        (b"multipart/form-data; boundary=x; charset=utf-16", 415),
        (b'multipart/form-data; boundary="x', 415),
        (b"multipart/form-data, boundary=x", 415),
        (b"multipart/mixed; boundary=x", 415),
        (b"application/json", 415),
        (b"application/x-www-form-urlencoded", 415),
        (b"multipart/form-data; boundary='x'", 400),
        (b"multipart/form-data; boundary=y", 400),
    ],
)
def test_a_boundary_that_two_readers_could_read_differently_is_refused(
    stack: Stack, key: str, content_type: bytes, status: int
) -> None:
    """R-29, R-30."""
    assert_refused(send_form(stack, key, FORM, content_type), status)
    assert stack.demo.requests() == 0


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
