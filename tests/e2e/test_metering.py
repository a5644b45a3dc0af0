"""What is charged is what the provider served: of compressed answers, of streams, of answers that break
off and of calls that are made again. (Usage that cannot be right: test_unusable_usage.py.)
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from demo import answer_text
from ledger import truth
from llm import Caller, chat_body, events
from stack import KeyInForce, Stack
from surfaces import ASKED, MOUNTS, Call, Charged, Surface, reservation, surface

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
