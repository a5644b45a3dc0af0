"""Cohere's SDK, unmodified but for `base_url` and the key."""

from __future__ import annotations

from collections.abc import Iterator

import cohere
import httpx
import pytest
from cohere.core.api_error import ApiError

from demo import answer_text, count_tokens
from stack import KeyInForce, Stack

ASKED = "What does a gateway dream of?"
MODEL, EMBEDDER = "command-a-03-2025", "embed-v4.0"
MESSAGES = [{"role": "user", "content": ASKED}]


def connect(stack: Stack, key: str) -> cohere.ClientV2:
    http = httpx.Client(trust_env=False, timeout=20)
    return cohere.ClientV2(api_key=key, base_url=f"{stack.url}/cohere", httpx_client=http)


@pytest.fixture
def key(stack: Stack) -> KeyInForce:
    return stack.key(
        provider_configs=[{"provider": "cohere", "allowed_models": [MODEL, EMBEDDER]}],
        budget={"max_limit": 100, "reset_duration": "1M"},
    )


@pytest.fixture
def client(stack: Stack, key: KeyInForce) -> Iterator[cohere.ClientV2]:
    with connect(stack, key.value) as client:
        yield client


def assert_charged(
    stack: Stack, key: KeyInForce, model: str = MODEL, *, streamed: bool = False
) -> None:
    """There is one record, and it says and costs what the provider served."""
    record = stack.admin.one_usage(key.id)
    served = stack.demo.served(model)
    assert served["requests"] == 1
    used = (record.input_tokens, record.output_tokens)
    assert used == (served["input_tokens"], served["output_tokens"])
    price = stack.admin.price("cohere", model)
    expected = price.cost(uncached=served["input_tokens"], output=served["output_tokens"])
    assert record.cost == expected > 0
    assert (record.streamed, record.estimated) == (streamed, False)


def test_a_chat_is_answered_and_charged(
    stack: Stack, key: KeyInForce, client: cohere.ClientV2
) -> None:
    answer = client.chat(model=MODEL, messages=MESSAGES)
    text = answer_text(MODEL, ASKED)
    assert answer.message.content[0].text == text
    assert answer.usage.billed_units.input_tokens == count_tokens(ASKED)
    assert answer.usage.billed_units.output_tokens == count_tokens(text)
    assert_charged(stack, key)


def test_a_streamed_chat_is_answered_and_charged(
    stack: Stack, key: KeyInForce, client: cohere.ClientV2
) -> None:
    events = list(client.chat_stream(model=MODEL, messages=MESSAGES))
    said = [e.delta.message.content.text for e in events if e.type == "content-delta"]
    assert "".join(said) == answer_text(MODEL, ASKED)
    assert events[-1].delta.usage.billed_units.output_tokens == len(said)
    assert_charged(stack, key, streamed=True)


def test_embeddings_are_made_and_charged(
    stack: Stack, key: KeyInForce, client: cohere.ClientV2
) -> None:
    made = client.embed(
        model=EMBEDDER, texts=[ASKED], input_type="search_query", embedding_types=["float"]
    )
    assert len(made.embeddings.float_[0]) == 1536
    assert_charged(stack, key, EMBEDDER)


def test_a_reranking_is_charged_by_its_searches(stack: Stack, client: cohere.ClientV2) -> None:
    ranker = stack.key(provider_configs=[{"provider": "cohere", "allowed_models": ["rerank-v3.5"]}])
    with connect(stack, ranker.value) as client:
        ranking = client.rerank(model="rerank-v3.5", query=ASKED, documents=["a", "b"])
    assert len(ranking.results) == 2
    # Two dollars for a thousand searches.
    assert stack.admin.one_usage(ranker.id).cost == 2_000_000


def test_denials_raise_the_sdks_own_errors(stack: Stack, client: cohere.ClientV2) -> None:
    with pytest.raises(cohere.ForbiddenError) as denied:
        client.chat(model="command-r-plus", messages=MESSAGES)
    assert denied.value.body["type"] == "model_blocked"
    assert "command-r-plus" in denied.value.body["message"]
    with connect(stack, "sk-bf-nobody-has-this") as stranger:
        with pytest.raises(cohere.UnauthorizedError) as denied:
            stranger.chat(model=MODEL, messages=MESSAGES)
    assert denied.value.body["type"] == "virtual_key_not_found"
    assert stack.demo.requests() == 0


def test_limits_raise_the_sdks_own_errors(stack: Stack) -> None:
    configs = [{"provider": "cohere", "allowed_models": [MODEL]}]
    poor = stack.key(
        provider_configs=configs, budget={"max_limit": 0.000001, "reset_duration": "1M"}
    )
    with connect(stack, poor.value) as client:
        with pytest.raises(ApiError) as denied:
            client.chat(model=MODEL, messages=MESSAGES)
    assert (denied.value.status_code, denied.value.body["type"]) == (402, "budget_exceeded")
    slow = stack.key(
        provider_configs=configs,
        rate_limit={"request_max_limit": 1, "request_reset_duration": "1h"},
    )
    with connect(stack, slow.value) as client:
        client.chat(model=MODEL, messages=MESSAGES)
        with pytest.raises(cohere.TooManyRequestsError) as denied:
            client.chat(model=MODEL, messages=MESSAGES, request_options={"max_retries": 0})
    assert denied.value.body["type"] == "request_limited"
    assert 0 < int(denied.value.headers["retry-after"]) <= 3600
    assert stack.demo.requests() == 1
