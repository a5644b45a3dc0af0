"""What is charged is what the provider served, however it says so, and at least that where it
doesn't say it usably.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from demo import answer_text, count_tokens
from llm import Caller, chat_body, events
from stack import KeyInForce, Stack
from surfaces import ASKED, CLAUDE, MOUNTS, Call, Charged, Surface, reservation, surface

CHAT = surface("POST", "/v1/chat/completions")
WHOLE, STREAM = CHAT.calls()
MODEL = "gpt-4o"
# The mounts without a prefix: every API once.
APIS = [
    (surface, call)
    for mount in MOUNTS
    if mount.base in ("", "/v1", "/v1beta")
    for surface in mount.surfaces()
    if surface.is_served
    for call in surface.calls()
    if "by-tokens" not in surface.model(call)
]


def named(case: object) -> str:
    match case:
        case Surface():
            return case.template.strip("/").replace("/", "-")
        case Call():
            how = "stream" if case.streamed else "whole"
            return "-".join([how, case.query, case.model or ""]).strip("-")
    return ""


@pytest.fixture
def key(stack: Stack) -> KeyInForce:
    return stack.key(allow_all_providers=True)


@pytest.fixture
def caller(stack: Stack, key: KeyInForce) -> Caller:
    return stack.caller(key.value)


def truth(stack: Stack, model: str = MODEL, provider: str = "openai") -> int:
    """What the demo provider served, in nano-dollars."""
    served = stack.demo.served(model)
    price = stack.admin.price(provider, model)
    return price.cost(uncached=served["input_tokens"], output=served["output_tokens"])


# ---- compressed answers


@pytest.mark.parametrize("call", [WHOLE, STREAM], ids=named)
@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_a_compressed_answer_is_read_and_charged_exactly(
    stack: Stack, key: KeyInForce, caller: Caller, call: Call, encoding: str
) -> None:
    response = CHAT.send(caller, call, {"x-demo-encoding": encoding})
    assert response.status_code == 200, response.text
    assert "content-encoding" not in response.headers, "it arrives decompressed"
    record = stack.admin.one_usage(key.id)
    assert (record.cost, record.estimated) == (truth(stack), False)


@pytest.mark.parametrize("call", [WHOLE, STREAM], ids=named)
def test_an_answer_in_a_coding_that_nobody_reads_is_charged_what_was_reserved(
    stack: Stack, key: KeyInForce, caller: Caller, call: Call
) -> None:
    response = CHAT.send(caller, call, {"x-demo-encoding": "deflate"})
    assert response.headers["content-encoding"] == "deflate"
    assert ASKED[:20] in response.text or call.streamed, "the caller's client decodes it"
    record = stack.admin.one_usage(key.id)
    assert record.estimated
    assert record.cost == reservation(stack, CHAT, call) > truth(stack)


def test_a_provider_is_not_asked_to_compress(stack: Stack, caller: Caller) -> None:
    CHAT.send(caller, WHOLE, {"accept-encoding": "gzip, deflate, br, zstd"})
    assert "accept-encoding" not in stack.demo.last_headers()


# ---- the usage of a stream, at six providers of OpenAI's format


# What each says at the end of a stream, by its own reference, and how that is charged: 100 tokens
# of prompt and 20 of answer, and what each has besides.
SHAPES: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "mistral": (
        "mistral-large-latest",
        {"prompt_tokens": 100, "total_tokens": 120, "completion_tokens": 20},
        {"uncached": 100, "output": 20},
    ),
    "groq": (
        "openai/gpt-oss-120b",
        {"queue_time": 0.07, "prompt_tokens": 100, "prompt_time": 0.002, "completion_tokens": 20,
         "completion_time": 0.1, "total_tokens": 120, "total_time": 0.102},
        {"uncached": 100, "output": 20},
    ),
    "deepseek": (
        "deepseek-chat",
        {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
         "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36},
        {"uncached": 36, "cached": 64, "output": 20},
    ),
    "xai": (
        "grok-4.20",
        # What it thought is in the total only.
        {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150,
         "prompt_tokens_details": {"text_tokens": 100, "audio_tokens": 0, "image_tokens": 0,
                                   "cached_tokens": 64},
         "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 0,
                                       "accepted_prediction_tokens": 0,
                                       "rejected_prediction_tokens": 0},
         "num_sources_used": 0},
        {"uncached": 36, "cached": 64, "output": 20, "reasoning": 30},
    ),
    "together": (
        "MiniMaxAI/MiniMax-M2.7",
        {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "cached_tokens": 64},
        {"uncached": 36, "cached": 64, "output": 20},
    ),
    "perplexity": (
        "sonar-deep-research",
        {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
         "search_context_size": "low", "completion_tokens_details": {"reasoning_tokens": 15}},
        {"uncached": 100, "output": 5, "reasoning": 15},
    ),
}  # fmt: skip
ASKING: dict[str, Any] = {
    "nothing": {},
    "null": {"stream_options": None},
    "false": {"stream_options": {"include_usage": False}},
    "something else": {"stream_options": {"include_obfuscation": False}},
    "true": {"stream_options": {"include_usage": True}},
}


@pytest.fixture(scope="module")
def presets(_shared: Stack) -> Iterator[None]:
    for name in SHAPES:
        _shared.admin.create_preset(name, f"{_shared.demo.url}/v1")
    yield
    for name in SHAPES:
        _shared.admin.delete(f"/api/providers/{name}")


@pytest.mark.parametrize("provider", SHAPES)
def test_a_stream_is_asked_for_its_usage_and_shows_it_only_to_who_asked(
    stack: Stack, presets: None, provider: str, key: KeyInForce, caller: Caller
) -> None:
    """R-42."""
    model, usage, kinds = SHAPES[provider]
    for asked in ASKING.values():
        body = chat_body(f"{provider}/{model}", **asked)
        with caller.stream(body, x_demo_usage=json.dumps(usage)) as response:
            assert response.headers["x-reeve-provider"] == provider
            said = list(events(response))
        received = json.loads(stack.demo.last()["body"])
        options = asked.get("stream_options") or {}
        assert received["stream_options"] == {**options, "include_usage": True}
        assert received["model"] == model
        wanted = bool(options.get("include_usage"))
        shown = [event["usage"] for event in said[:-1] if event["choices"] == []]
        assert shown == [usage] * wanted
        assert said[-1] == "[DONE]"
        text = "".join(
            e["choices"][0]["delta"].get("content") or "" for e in said[:-1] if e["choices"]
        )
        assert text == answer_text(model, "Hello")
    price = stack.admin.price(provider, model)
    for record in stack.admin.usage(key.id, len(ASKING)):
        assert (record.cost, record.estimated, record.streamed) == (
            price.cost(**kinds),
            False,
            True,
        )


# ---- usage that cannot be right


BAD_COUNTS = {
    "negative": '{"prompt_tokens": -1, "completion_tokens": -5}',
    "2^64": '{"prompt_tokens": 18446744073709551616, "completion_tokens": 1}',
    "2^63": '{"prompt_tokens": 1, "completion_tokens": 9223372036854775808}',
    "a string": '{"prompt_tokens": "8", "completion_tokens": "1"}',
    "a fraction": '{"prompt_tokens": 0.5, "completion_tokens": 0.5}',
    "an exponent": '{"prompt_tokens": 1e0, "completion_tokens": 1e-9}',
    "a list": '{"prompt_tokens": [], "completion_tokens": [1]}',
    "a part above its whole": '{"prompt_tokens": 1, "completion_tokens": 1,'
    ' "prompt_tokens_details": {"cached_tokens": 2}}',
    "no object": "0",
}
BAD_JSON = {
    "said twice": '{"prompt_tokens": 9, "prompt_tokens": 0, "completion_tokens": 0}',
    "NaN": '{"prompt_tokens": NaN, "completion_tokens": NaN}',
    "cut": '{"prompt_tokens": 1, "completion_tokens":',
    "two of them": '{"prompt_tokens": 9, "completion_tokens": 9}, "usage": {}',
}
MISSING = {
    "absent": "absent",
    "null": "null",
    "empty": "{}",
    "a half": '{"completion_tokens": null}',
}
MOST = 40


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("usage", BAD_COUNTS.values(), ids=BAD_COUNTS)
def test_a_count_that_is_none_is_charged_what_was_reserved(
    stack: Stack, key: KeyInForce, caller: Caller, usage: str, streamed: bool
) -> None:
    """R-45."""
    response = caller.chat(MODEL, ASKED, x_demo_usage=usage, max_tokens=MOST, stream=streamed)
    assert response.status_code == 200, response.text
    record = stack.admin.one_usage(key.id)
    assert record.estimated
    assert record.cost >= stack.admin.price("openai", MODEL).most(
        input=len(response.request.content), output=MOST
    )
    assert record.cost >= truth(stack)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "usage", [*BAD_JSON.values(), *MISSING.values()], ids=[*BAD_JSON, *MISSING]
)
def test_usage_that_is_missing_or_unreadable_is_estimated_and_never_less_than_served(
    stack: Stack, key: KeyInForce, caller: Caller, usage: str, streamed: bool
) -> None:
    """R-45."""
    response = caller.chat(MODEL, ASKED, x_demo_usage=usage, max_tokens=MOST, stream=streamed)
    assert response.status_code == 200, response.text
    record = stack.admin.one_usage(key.id)
    assert record.estimated
    assert record.cost >= truth(stack) > 0


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("provider", ["anthropic", "gemini", "bedrock", "cohere"])
def test_every_format_refuses_counts_that_are_none(
    stack: Stack, key: KeyInForce, caller: Caller, provider: str, streamed: bool
) -> None:
    """R-45, in the words of the other vendors."""
    names, whole, stream, model = OTHERS[provider]
    at = stream if streamed else whole
    call = at.calls()[1 if streamed and len(at.calls()) > 1 and provider != "gemini" else 0]
    bad = '{"billed_units": %s}' if provider == "cohere" else "%s"
    bad %= json.dumps({name: -1 for name in names})
    response = at.send(caller, call, {"x-demo-usage": bad})
    assert response.status_code == 200, response.text
    record = stack.admin.one_usage(key.id)
    assert record.estimated and record.streamed == streamed
    assert record.cost == reservation(stack, at, call) > truth(stack, model, provider)


OTHERS = {
    "anthropic": (
        ("input_tokens", "output_tokens"),
        surface("POST", "/v1/messages"),
        surface("POST", "/v1/messages"),
        "claude-sonnet-5",
    ),
    "gemini": (
        ("promptTokenCount", "candidatesTokenCount", "totalTokenCount"),
        surface("POST", "/v1beta/models/{model}:generateContent"),
        surface("POST", "/v1beta/models/{model}:streamGenerateContent"),
        "gemini-2.5-flash",
    ),
    "bedrock": (
        ("inputTokens", "outputTokens", "totalTokens"),
        surface("POST", "/model/{model}/converse"),
        surface("POST", "/model/{model}/converse-stream"),
        CLAUDE,
    ),
    "cohere": (
        ("input_tokens", "output_tokens"),
        surface("POST", "/v2/chat"),
        surface("POST", "/v2/chat"),
        "command-a-03-2025",
    ),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("reported", [True, False], ids=["beside the true one", "alone"])
def test_usage_in_what_was_said_is_not_believed(
    stack: Stack, key: KeyInForce, caller: Caller, reported: bool, streamed: bool
) -> None:
    """R-45: the answer quotes the prompt, which says what usage would say."""
    free = '{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}'
    said = (
        f'"}}}}],"usage":{free}}}\r\n\r\ndata: {{"choices":[],"usage":{free}}}\r\n\r\ndata: [DONE]'
    )
    headers = {} if reported else {"x_demo_usage": "absent"}
    response = caller.chat(MODEL, said, stream=streamed, **headers)
    assert response.status_code == 200, response.text
    record = stack.admin.one_usage(key.id)
    assert record.estimated == (not reported)
    assert record.cost == truth(stack) if reported else record.cost >= truth(stack) > 0


# ---- every kind of token at its own price


def steered(**headers: int) -> dict[str, str]:
    return {f"x-demo-{name.replace('_', '-')}": str(tokens) for name, tokens in headers.items()}


# The prompt has eight tokens.
CACHES = steered(cached_tokens=3, cache_write_tokens=2, cache_write_1h_tokens=1, output_tokens=12)
CACHED = {"uncached": 2, "cached": 3, "cache_write_5m": 2, "cache_write_1h": 1, "output": 12}
THOUGHT = steered(cached_tokens=3, reasoning_tokens=5, output_tokens=12)
THOUGHTS = {"uncached": 5, "cached": 3, "output": 7, "reasoning": 5}
AUDIO = {
    "x-demo-usage": json.dumps(
        {
            "prompt_tokens": 100,
            "completion_tokens": 60,
            "total_tokens": 160,
            "prompt_tokens_details": {"cached_tokens": 10, "audio_tokens": 30},
            "completion_tokens_details": {"reasoning_tokens": 8, "audio_tokens": 40},
        }
    )
}
GEMINIS = {
    "x-demo-usage": json.dumps(
        {
            "promptTokenCount": 100,
            "cachedContentTokenCount": 10,
            "candidatesTokenCount": 50,
            "thoughtsTokenCount": 9,
            "toolUsePromptTokenCount": 5,
            "totalTokenCount": 164,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 50},
                {"modality": "AUDIO", "tokenCount": 30},
                {"modality": "IMAGE", "tokenCount": 20},
            ],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 40}],
        }
    )
}
GEMINIS_KINDS = {
    "uncached": 45, "cached": 10, "audio_input": 30, "image_input": 20,
    "output": 10, "image_output": 40, "reasoning": 9,
}  # fmt: skip
KINDS: list[tuple[str, str, dict[str, str], dict[str, int], str | None]] = [
    ("/v1/messages", "anthropic", CACHES, CACHED, None),
    ("/model/{model}/converse", "bedrock", CACHES, CACHED, None),
    ("/model/{model}/converse-stream", "bedrock", CACHES, CACHED, None),
    ("/model/{model}/invoke", "bedrock", CACHES, CACHED, None),
    ("/model/{model}/invoke-with-response-stream", "bedrock", CACHES, CACHED, None),
    ("/v1/chat/completions", "openai", THOUGHT, THOUGHTS, None),
    ("/v1/responses", "openai", THOUGHT, THOUGHTS, None),
    (
        "/v1/chat/completions",
        "openai",
        AUDIO,
        {"uncached": 60, "cached": 10, "audio_input": 30, "output": 12, "reasoning": 8,
         "audio_output": 40},
        "gpt-audio",
    ),
    ("/v1beta/models/{model}:generateContent", "gemini", GEMINIS, GEMINIS_KINDS, None),
    ("/v1beta/models/{model}:streamGenerateContent", "gemini", GEMINIS, GEMINIS_KINDS, None),
    (
        "/v1beta/models/{model}:generateContent",
        "gemini",
        GEMINIS,
        GEMINIS_KINDS,
        "gemini-2.5-flash-image",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("template", "provider", "headers", "kinds", "model"),
    KINDS,
    ids=[f"{template.strip('/')}-{model or ''}".strip("-") for template, *_, model in KINDS],
)
def test_every_kind_of_token_is_charged_at_its_own_price(
    stack: Stack,
    key: KeyInForce,
    caller: Caller,
    template: str,
    provider: str,
    headers: dict[str, str],
    kinds: dict[str, int],
    model: str | None,
) -> None:
    """R-44: reasoning, reads and writes of caches, audio, images; whole and streamed."""
    at = surface("POST", template)
    calls = [replace(call, model=model) for call in at.calls() if call.model is None]
    for call in calls:
        response = at.send(caller, call, headers)
        assert response.status_code == 200, response.text
    model = at.model(calls[0])
    price = stack.admin.price(provider, model)
    for record in stack.admin.usage(key.id, len(calls)):
        assert not record.estimated
        assert record.cost == price.cost(**kinds), record.record
        used = record.record["usage"]
        told = {
            "cached": used["cache_read_tokens"],
            "cache_write_5m": used["cache_write_5m_tokens"],
            "cache_write_1h": used["cache_write_1h_tokens"],
            "reasoning": used["reasoning_tokens"],
            "audio_input": used["audio_input_tokens"],
            "audio_output": used["audio_output_tokens"],
            "image_input": used["image_input_tokens"],
            "image_output": used["image_output_tokens"],
        }
        for kind, tokens in kinds.items():
            assert told.get(kind, tokens) == tokens, (kind, record.record)


def test_several_answers_to_one_request_are_all_paid(
    stack: Stack, key: KeyInForce, caller: Caller
) -> None:
    """R-44: `n`."""
    for fields in ({"n": 3}, {"n": 3, "stream": True}):
        assert caller.chat(MODEL, ASKED, **fields).status_code == 200
    served = stack.demo.served(MODEL)
    assert served["output_tokens"] == 6 * count_tokens(answer_text(MODEL, ASKED))
    records = stack.admin.usage(key.id, 2)
    assert sum(record.cost for record in records) == truth(stack)
    assert not any(record.estimated for record in records)


# ---- answers that break off, and calls that are made again


def test_an_answer_that_the_provider_breaks_off_is_paid_for(
    stack: Stack, key: KeyInForce, caller: Caller
) -> None:
    """R-43, from the provider's side: of every API, and never less than was served."""

    def break_off(case: tuple[Surface, Call]) -> str:
        at, call = case
        # A picture comes in one chunk.
        chunks = 0 if at.api.operation == "generate_image" else 5
        headers = {"x-demo-fault": f"demo=cut:{chunks}"}
        with at.opened(caller, call, headers) as response:
            try:
                response.read()
                # Of no use before its end, so nothing of it has been passed on.
                assert response.status_code == 502 and not call.streamed, (at, response.text)
            except httpx.RemoteProtocolError:
                assert response.status_code == 200, at
            return response.headers["x-request-id"]

    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(break_off, APIS))
    records = {r.record["request_id"]: r for r in stack.admin.usage(key.id, len(APIS))}
    charged: Counter[tuple[str, str]] = Counter()
    kinds: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for (at, call), request_id in zip(APIS, ids, strict=True):
        record = records[request_id]
        assert record.outcome == "upstream_reset", at
        if call.charged is Charged.FREE:
            assert record.cost == 0, at
            continue
        assert record.cost > 0, at
        # Unless the headers say it all, as some of Bedrock's do.
        assert record.estimated or at.template.endswith("/invoke"), at
        charged[record.provider, record.model] += record.cost
        kinds[record.provider, record.model].update(call.kinds)
    for (provider, model), cost in charged.items():
        served, parts = stack.demo.served(model), kinds[provider, model]
        true_cost = stack.admin.price(provider, model).cost(
            uncached=served["input_tokens"] - parts.total(), output=served["output_tokens"], **parts
        )
        assert cost >= true_cost > 0, model


class FailFirst(httpx.BaseTransport):
    """Asks the provider to fail the first attempt only."""

    def __init__(self, status: int) -> None:
        self.fault = f"demo={status}"
        self.attempts = 0
        self.inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.attempts == 0:
            request.headers["x-demo-fault"] = self.fault
        self.attempts += 1
        return self.inner.handle_request(request)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_of_an_sdks_attempts_only_those_that_were_served_cost_anything(
    stack: Stack, key: KeyInForce, status: int
) -> None:
    """R-53: one charge for each attempt that produced usage, none for the others."""
    transport = FailFirst(status)
    with openai.OpenAI(
        base_url=f"{stack.url}/v1", api_key=key.value, http_client=httpx.Client(transport=transport)
    ) as client:
        messages = [{"role": "user", "content": ASKED}]
        client.chat.completions.create(model=MODEL, messages=messages)
    assert transport.attempts == stack.demo.requests() == 2
    failed, served = stack.admin.usage(key.id, 2)
    assert (failed.status, failed.cost, failed.estimated) == (status, 0, False)
    assert (served.status, served.cost) == (200, truth(stack))
