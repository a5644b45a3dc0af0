"""Paths and methods: each is judged as what it is, and only as that does it reach a provider.

Rows R-20, R-21, R-23, R-24, R-51 of the red team.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import pytest

import raw
import raw_http2
from llm import CHAT
from raw import Answer
from recorder import Received, RecordingStack

GEMINI = "gemini-2.5-flash"
NOVA = "amazon.nova-2-lite-v1:0"
SONNET = "claude-sonnet-5"


@dataclass(frozen=True)
class Surface:
    """An API at one of its paths."""

    path: str
    model: str
    body: dict
    endpoint: str
    """Its name in the access log."""
    upstream: str
    """Its path at the provider."""

    def spelling(self) -> str:
        return self.path.format(model=self.model)

    def is_at(self, path: bytes) -> bool:
        """Is this its path, the model's name encoded at will?"""
        before, placeholder, after = self.path.partition("{model}")
        if not placeholder:
            return path == before.encode()
        pattern = re.escape(before.encode()) + rb"([^/]*)" + re.escape(after.encode())
        found = re.fullmatch(pattern, path)
        return found is not None and unquote_to_bytes(found[1]) == self.model.encode()


def talk(model: str, **more) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], **more}


TURNS = {"contents": [{"parts": [{"text": "Hello"}]}]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}
GENERATE = "/v1beta/models/{model}:generateContent"
OPENAI = ("/v1", "/openai/v1", "/openai", "/litellm/v1", "/langchain")
PROMPT = {"model": "gpt-4o", "prompt": "Hello"}
SURFACES = [
    *(
        Surface(f"{base}/{path}", "gpt-4o", body, endpoint, f"/v1/{path}")
        for base in OPENAI
        for path, body, endpoint in (
            ("chat/completions", talk("gpt-4o"), "chat_completions"),
            # A part of the path above is enough for this one.
            ("completions", PROMPT, "completions"),
        )
    ),
    Surface("/v1/messages", SONNET, talk(SONNET, max_tokens=9), "messages", "/v1/messages"),
    Surface(
        "/anthropic/v1/messages", SONNET, talk(SONNET, max_tokens=9), "messages", "/v1/messages"
    ),
    Surface(GENERATE, GEMINI, TURNS, "generate_content", GENERATE),
    Surface("/genai" + GENERATE, GEMINI, TURNS, "generate_content", GENERATE),
    Surface("/model/{model}/converse", NOVA, CONVERSE, "converse", "/model/{model}/converse"),
    Surface(
        "/bedrock/model/{model}/converse", NOVA, CONVERSE, "converse", "/model/{model}/converse"
    ),
    Surface("/v2/chat", "command-a-03-2025", talk("command-a-03-2025"), "cohere_chat", "/v2/chat"),
]
UPSTREAM = {surface.endpoint: surface.upstream for surface in SURFACES}

# ---- spellings of a path, made by twists that some server somewhere undoes

Twist = Callable[[random.Random, str], str]


def at_a_slash(*instead: str) -> Twist:
    """Replaces a slash."""

    def twist(chance: random.Random, path: str) -> str:
        slashes = [index for index, letter in enumerate(path) if letter == "/"]
        if not slashes:
            return path
        index = chance.choice(slashes)
        return path[:index] + chance.choice(instead) + path[index + 1 :]

    return twist


def at_a_letter(change: Callable[[random.Random, str], str]) -> Twist:
    """Replaces a letter."""

    def twist(chance: random.Random, path: str) -> str:
        index = chance.randrange(len(path))
        return path[:index] + change(chance, path[index]) + path[index + 1 :]

    return twist


def before(*prefixes: str) -> Twist:
    return lambda chance, path: chance.choice(prefixes) + path


def behind(*suffixes: str) -> Twist:
    return lambda chance, path: path + chance.choice(suffixes)


def encoded(chance: random.Random, letter: str) -> str:
    return chance.choice(("%{:02x}", "%{:02X}")).format(ord(letter))


TWISTS: list[Twist] = [
    at_a_slash("//", "///", "/./", "/%2e/", "/%2E/", "/x/../", "/x/%2e%2e/", "/x/.%2E/", "/..;/"),
    at_a_slash("%2f", "%2F", "%5c", "%5C", "\\", "%c0%af", "%ef%bc%8f", "\xef\xbc\x8f", "%252f"),
    at_a_letter(encoded),
    at_a_letter(lambda chance, letter: "%25" + encoded(chance, letter)[1:]),
    at_a_letter(lambda _, letter: letter.swapcase()),
    at_a_letter(lambda _, letter: letter * 2),
    at_a_letter(lambda _, letter: ""),
    at_a_letter(lambda chance, letter: letter + chance.choice("\t\x80\xff\x7f;:%+ ")),
    before("/..", "/.", "/api/..", "/api/%2e%2e", "/healthz/..", "/readyz/%2e%2e/.", "/%c0%ae%c0%ae"),
    before("http://localhost", "http://evil.example", "https://localhost:1", "//evil.example"),
    behind("/", "//", "/.", "/..", "/x/..", "/%2e", ";", ";x=1", "%00", "%20", "%0d%0a", ".json", ":"),
    behind("?", "?api-version=1", "?key=sk-of-nobody", "?model=gpt-4o-mini", "?x", "#", "#x", "%3fx", "%23"),
]  # fmt: skip


def spellings(count: int) -> Iterator[tuple[Surface, bytes]]:
    """The same ones in every run."""
    chance = random.Random("spellings")
    for number in range(count):
        surface = SURFACES[number % len(SURFACES)]
        path = surface.spelling()
        for _ in range(chance.choice((0, 1, 1, 1, 1, 2, 2, 3))):
            path = chance.choice(TWISTS)(chance, path)
        # Their letters stand for bytes.
        yield surface, path.encode("latin-1")


UNRESERVED = re.compile(rb"[0-9A-Za-z._~-]")


def normal_form(path: bytes) -> bytes:
    """A path by RFC 3986, 6.2.2, with no slash doubled, as Envoy sees it: a backslash is a slash, and
    a dot with parameters is a dot."""

    def decoded(escape: re.Match[bytes]) -> bytes:
        byte = bytes.fromhex(escape[1].decode())
        return byte if UNRESERVED.fullmatch(byte) else escape[0]

    path = re.sub(rb"(?<=/)(\.\.?);[^/]*", rb"\1", path.replace(b"\\", b"/"))
    path = re.sub(rb"%([0-9A-Fa-f]{2})", decoded, path)
    path = re.sub(rb"/+", b"/", path)
    segments: list[bytes] = []
    for segment in path.split(b"/")[1:]:
        if segment == b"..":
            segments = segments[:-1]
        elif segment != b".":
            segments.append(segment)
    if path.endswith((b"/.", b"/..")):
        segments.append(b"")
    return b"/" + b"/".join(segments)


class Sender:
    """Sends over HTTP/2 every second time, if HTTP/2 can carry the path."""

    def __init__(self, stack: RecordingStack, headers: list[raw.Header]) -> None:
        self.stack = stack
        self.headers = headers
        self.http2: raw_http2.Connection | None = None
        self.number = 0

    def send(self, path: bytes, body: dict) -> Answer | None:
        self.number += 1
        content = json.dumps(body).encode()
        if self.number % 2 or not re.fullmatch(rb"/[\x21-\x7e]*", path):
            return raw.exchange(self.stack.port, raw.request(path, self.headers, content))
        if self.http2 is None or self.http2.closed:
            self.http2 = raw_http2.Connection(self.stack.port)
        stream = 2 * self.number + 1
        self.http2.ask(stream, raw_http2.request(self.headers, path), content)
        return self.http2.until_over(stream).answer()


EVERY_ENVOY = pytest.mark.parametrize("envoy", ["recording", "bare_recording"])


@EVERY_ENVOY
def test_no_spelling_of_a_path_is_served_without_a_key(
    envoy: str, request: pytest.FixtureRequest
) -> None:
    """R-20."""
    stack = request.getfixturevalue(envoy)
    sender = Sender(stack, [])
    for surface, path in spellings(600):
        answer = sender.send(path, surface.body)
        assert answer is None or 400 <= answer.status < 500, (path, answer)
    assert not stack.recorder.take()


@EVERY_ENVOY
def test_no_path_reaches_a_provider_under_another_spelling_than_the_judged_one(
    envoy: str, request: pytest.FixtureRequest
) -> None:
    """R-20. 2,000 spellings, with Envoy's normalisation and without it.

    The filter says what it has judged (access log), the provider what it got, and this test what the
    path means.
    """
    stack = request.getfixturevalue(envoy)
    sender = Sender(stack, [(b"x-bf-vk", stack.open_key.encode())])
    passed: list[tuple[bytes, Answer, Received]] = []
    statuses: Counter[int | None] = Counter()
    for surface, path in spellings(2_000):
        answer = sender.send(path, surface.body)
        received = stack.recorder.take()
        statuses[answer and answer.status] += 1
        if answer is not None and answer.status == 200:
            assert len(received) == 1, path
            passed.append((path, answer, received[0]))
        else:
            assert answer is None or 400 <= answer.status < 500, (path, answer)
            assert not received, path
    # Both kinds are there in numbers, or the twists are no good.
    assert len(passed) >= 300 and statuses[404] >= 300, statuses
    stack.access_log(passed[-1][1].header("x-request-id").decode())
    judged = {line["request_id"]: line for line in stack.access_log_lines() if "request_id" in line}
    for path, answer, received in passed:
        line = judged[answer.header("x-request-id").decode()]
        model = line["gen_ai.request.model"]
        assert answer.header("x-reeve-model") == model.encode()
        assert received.target == UPSTREAM[line["reeve.endpoint"]].format(model=model), path
        seen = path.partition(b"?")[0]
        if envoy == "recording":
            seen = normal_form(seen)
        else:
            # There Envoy accepts the absolute form, of which the filter sees the path.
            seen = re.sub(rb"(?i)https?://[^/]*", b"", seen)
        meant = [s for s in SURFACES if s.is_at(seen) and s.model == model]
        assert [s for s in meant if s.endpoint == line["reeve.endpoint"]], path


def send(
    stack: RecordingStack,
    path: str,
    body: dict | None = None,
    method: str = "POST",
    key: str | None = None,
    headers: list[raw.Header] | None = None,
) -> Answer:
    """One request, byte for byte."""
    key = key or stack.open_key
    data = raw.request(
        path.encode(),
        [(b"x-bf-vk", key.encode()), *(headers or [])],
        b"" if body is None else json.dumps(body).encode(),
        method.encode(),
    )
    answer = raw.exchange(stack.port, data)
    assert answer is not None, path
    return answer


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v3/chat/completions", "/api", "/metrics"])  # fmt: skip
def test_an_unknown_path_is_404(recording: RecordingStack, path: str) -> None:
    answer = send(recording, path, talk("gpt-4o"))
    assert (answer.status, answer.json()["type"]) == (404, "not_found")
    assert not recording.recorder.take()


# ---- methods


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"])  # fmt: skip
@pytest.mark.parametrize("body", [None, talk("gpt-4o")], ids=["without a body", "with a body"])
def test_a_wrong_method_is_405_and_says_which_is_right(
    recording: RecordingStack, method: str, body: dict | None
) -> None:
    """R-21. Nobody is talked into another one by a header either."""
    overrides = [b"x-http-method-override", b"x-http-method", b"x-method-override"]
    data = raw.request(
        CHAT.encode(),
        [(b"x-bf-vk", recording.open_key.encode()), *((name, b"POST") for name in overrides)],
        b"" if body is None else json.dumps(body).encode(),
        method.encode(),
    )
    with raw.Connection(recording.port) as connection:
        connection.send(data)
        answer = connection.read_head() if method == "HEAD" else connection.read()
    assert answer is not None and answer.status == 405
    assert answer.header("allow") == b"POST"
    assert not recording.recorder.take()


@pytest.mark.parametrize(
    "method", [b"CONNECT", b"P\xd6ST", b"PO ST", b"", b"POST\x00", b"post", b"BREW"]
)
def test_what_is_no_method_reaches_nobody(recording: RecordingStack, method: bytes) -> None:
    """R-21."""
    headers = [(b"x-bf-vk", recording.open_key.encode())]
    body = json.dumps(talk("gpt-4o")).encode()
    answer = raw.exchange(recording.port, raw.request(CHAT.encode(), headers, body, method))
    assert answer is None or 400 <= answer.status < 500
    assert not recording.recorder.take()


# ---- models in the path


@pytest.fixture(scope="module")
def two_models(_recording: RecordingStack) -> str:
    """A key for one model of Gemini's and one of Bedrock's."""
    return _recording.key(
        provider_configs=[
            {"provider": "gemini", "allowed_models": [GEMINI]},
            {"provider": "bedrock", "allowed_models": [NOVA]},
        ]
    ).value


ARN = "arn:aws:bedrock:us-east-1:123456789012"
PATH_MODELS = [
    # Gemini (any name at all may be asked about: GET)
    (GENERATE.format(model=GEMINI), 200),
    (GENERATE.format(model=GEMINI.replace("-", "%2D")), 200),
    (GENERATE.format(model="gemini/" + GEMINI), 405),
    (GENERATE.format(model="gemini-2.5-pro"), 403),
    (GENERATE.format(model=GEMINI + "-lite"), 403),
    (GENERATE.format(model=GEMINI.upper()), 403),
    (GENERATE.format(model=GEMINI + "."), 403),
    (GENERATE.format(model=GEMINI + "%20"), 400),
    (GENERATE.format(model=GEMINI.replace("-", "%252D")), 400),
    (GENERATE.format(model=""), 405),
    (GENERATE.format(model=GEMINI + ":streamGenerateContent"), 403),
    (f"/v1beta/models/{GEMINI}%3AgenerateContent", 405),
    (f"/v1beta/models/{GEMINI}:predict", 405),
    (f"/v1beta/models/{GEMINI}:batchGenerateContent", 403),
    (f"/v1beta/tunedModels/{GEMINI}:generateContent", 403),
    (f"/v1beta/publishers/google/models/{GEMINI}:generateContent", 404),
    (f"/v1/projects/p/locations/l/publishers/google/models/{GEMINI}:generateContent", 404),
    # Bedrock
    (f"/model/{NOVA}/converse", 200),
    (f"/model/{NOVA.replace(':', '%3A')}/converse", 200),
    (f"/model/us.{NOVA}/converse", 403),
    (f"/model/{NOVA.removesuffix(':0')}/converse", 403),
    (f"/model/{ARN}:provisioned-model/converse", 403),
    (f"/model/{ARN}:inference-profile%2Fus.{NOVA}/converse", 400),
    (f"/model/{ARN}:inference-profile/us.{NOVA}/converse", 404),
    (f"/model/{NOVA}%00/converse", 400),
    (f"/model/{NOVA}/x/../converse", 200),
    # Azure, which is not configured.
    ("/openai/deployments/gpt-4o/chat/completions?api-version=2025-04-01-preview", 403),
]


@pytest.mark.parametrize(("path", "status"), PATH_MODELS)
def test_the_model_in_a_path_is_judged_or_refused(
    recording: RecordingStack, two_models: str, path: str, status: int
) -> None:
    """R-23, R-24. An alias, a profile or an ARN is another model than the one it stands for."""
    body = TURNS if ":" in path.rpartition("/")[2] else CONVERSE
    answer = send(recording, path, body, key=two_models)
    assert answer.status == status, answer.body
    received = [request.target for request in recording.recorder.take()]
    if status == 200:
        expected = GENERATE.format(model=GEMINI) if body is TURNS else f"/model/{NOVA}/converse"
        assert received == [expected]
    else:
        assert not received


TWO_MODELS = [
    (GENERATE.format(model=GEMINI), TURNS | {"model": "gemini-2.5-pro"}),
    (GENERATE.format(model=GEMINI), TURNS | {"model": "models/gemini-2.5-pro"}),
    (GENERATE.format(model=GEMINI) + "?model=gemini-2.5-pro", TURNS),
    (f"/model/{NOVA}/converse", CONVERSE | {"model": "other"}),
    (f"/model/{NOVA}/converse", CONVERSE | {"modelId": "other"}),
    (f"/model/{NOVA}/invoke", CONVERSE | {"model": "other"}),
    ("/openai/deployments/gpt-4o/chat/completions", talk("gpt-4o-mini")),
    (CHAT + "?model=gpt-4o-mini", talk("gpt-4o")),
    (CHAT + "?MODEL=gpt-4o-mini", talk("gpt-4o")),
    (CHAT + "?%6dodel=gpt-4o-mini", talk("gpt-4o")),
    ("/anthropic/v1/messages?model=x", talk(SONNET, max_tokens=9)),
]


@pytest.mark.parametrize(("path", "body"), TWO_MODELS)
def test_a_second_model_elsewhere_is_a_conflict(
    recording: RecordingStack, path: str, body: dict
) -> None:
    """R-22."""
    answer = send(recording, path, body)
    assert answer.status == 400, answer.body
    assert b"model_conflict" in answer.body
    assert not recording.recorder.take()


def test_a_second_model_in_a_form_or_a_header_is_not_believed(recording: RecordingStack) -> None:
    """R-22."""
    form = b"".join(
        b'--x\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part
        for part in ((b"model", b"whisper-1"), (b"model", b"gpt-4o-transcribe"), (b"file", b"."))
    )
    path = b"/v1/audio/transcriptions"
    key = (b"x-bf-vk", recording.open_key.encode())
    multipart = b"multipart/form-data; boundary=x"
    twice = raw.request(path, [key], form + b"--x--\r\n", content_type=multipart)
    assert raw.exchange(recording.port, twice).status == 400
    assert not recording.recorder.take()
    for name in (b"azureml-model-deployment", b"x-bf-model", b"x-reeve-model"):
        answer = send(recording, CHAT, talk("gpt-4o"), headers=[(name, b"gpt-4o-mini")])
        assert answer.header("x-reeve-model") == b"gpt-4o"
        (received,) = recording.recorder.take()
        assert not received.values(name.decode()), name
        assert b"gpt-4o-mini" not in received.wire


# ---- what is not served


UNSERVED = [
    # OpenAI
    "/v1/files", "/v1/files/file-1/content", "/v1/uploads", "/v1/batches", "/v1/realtime",
    "/v1/realtime/sessions", "/v1/assistants", "/v1/threads/t/runs", "/v1/vector_stores",
    "/v1/fine_tuning/jobs", "/v1/responses/r", "/v1/responses/r/cancel", "/v1/chat/completions/c",
    "/v1/conversations", "/v1/containers", "/v1/evals", "/v1/videos", "/v1/organization/api_keys",
    "/v1/usage", "/v1/engines/davinci/completions", "/v1/edits", "/dashboard/billing/usage",
    # Azure
    "/openai/deployments", "/openai/files", "/openai/batches", "/openai/assistants",
    # Anthropic
    "/v1/messages/batches", "/v1/complete", "/v1/skills", "/v1/organizations/me", "/anthropic/v1/files",
    # Gemini
    "/v1beta/files", "/upload/v1beta/files", "/v1beta/cachedContents", "/v1beta/batches",
    "/v1beta/corpora", "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
    # Bedrock
    f"/model/{NOVA}/invoke-with-bidirectional-stream", "/async-invoke", "/model-invocation-job",
    "/guardrail/g/version/1/apply", "/agents/a/sessions/s/text", "/foundation-models",
    # Cohere
    "/v1/chat", "/v1/generate", "/v1/classify", "/v1/embed-jobs", "/v1/datasets", "/cohere/v1/embed-jobs",
    # Ours
    "/mcp", "/_demo/stats", "/_demo/reset", "/admin", "/stats", "/config_dump", "/quitquitquit",
]  # fmt: skip


def test_a_key_with_a_budget_reaches_no_path_that_is_not_governed(
    recording: RecordingStack,
) -> None:
    """R-51. Whatever the vendors have, and the places where this gateway keeps things."""
    budget = {"max_limit": 1, "reset_duration": "1d"}
    key = recording.key(allow_all_providers=True, budget=budget)
    for path in UNSERVED:
        for method in ("GET", "POST", "DELETE"):
            answer = send(recording, path, talk("gpt-4o"), method, key=key.value)
            assert answer.status in (403, 404, 405), f"{method} {path}: {answer.status}"
            assert answer.header("x-reeve-denied"), "it was the filter that refused"
    assert not recording.recorder.take()
    assert recording.admin.usage(key.id, 0) == []
