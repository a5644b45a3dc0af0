"""Every kind of token is charged at its own price. Row R-44 of the red team."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from demo import answer_text, count_tokens
from ledger import truth
from llm import Caller
from stack import KeyInForce, Stack
from surfaces import ASKED, surface

MODEL = "gpt-4o"


@pytest.fixture
def key(stack: Stack) -> KeyInForce:
    return stack.key(allow_all_providers=True)


@pytest.fixture
def caller(stack: Stack, key: KeyInForce) -> Caller:
    return stack.caller(key.value)


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
