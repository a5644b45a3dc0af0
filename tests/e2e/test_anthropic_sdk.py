"""The official Anthropic SDK, unmodified but for `base_url` and the key."""

from __future__ import annotations

import asyncio

import anthropic
import pytest

from demo import answer_text, count_tokens
from stack import KeyInForce, Stack

ASKED = "What does a gateway dream of?"
CALL = {
    "model": "claude-sonnet-5",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": ASKED}],
}
MODEL = CALL["model"]


@pytest.fixture
def key(stack: Stack) -> KeyInForce:
    return stack.key(
        provider_configs=[{"provider": "anthropic", "allowed_models": [MODEL]}],
        budget={"max_limit": 100, "reset_duration": "1M"},
    )


@pytest.fixture
def client(stack: Stack, key: KeyInForce) -> anthropic.Anthropic:
    with anthropic.Anthropic(base_url=f"{stack.url}/anthropic", api_key=key.value) as client:
        yield client


def assert_charged(stack: Stack, key: KeyInForce, *, streamed: bool = False) -> None:
    """There is one record, and it says and costs what the provider served."""
    record = stack.admin.one_usage(key.id)
    served = stack.demo.served(MODEL)
    assert served["requests"] == 1
    assert record.input_tokens == served["input_tokens"] > 0
    assert record.output_tokens == served["output_tokens"] > 0
    price = stack.admin.price("anthropic", MODEL)
    expected = price.cost(uncached=served["input_tokens"], output=served["output_tokens"])
    assert record.cost == expected > 0
    assert (record.provider, record.model) == ("anthropic", MODEL)
    assert (record.streamed, record.estimated) == (streamed, False)
    assert (record.status, record.outcome) == (200, "complete")


@pytest.mark.parametrize("base", ["/anthropic", "", "/langchain", "/litellm"])
def test_a_message_is_answered_and_charged(stack: Stack, key: KeyInForce, base: str) -> None:
    with anthropic.Anthropic(base_url=stack.url + base, api_key=key.value) as client:
        message = client.messages.create(**CALL)
    text = answer_text(MODEL, ASKED)
    assert message.content[0].text == text
    assert message.usage.input_tokens == count_tokens(ASKED)
    assert message.usage.output_tokens == count_tokens(text)
    assert_charged(stack, key)


def test_an_auth_token_works_as_an_api_key_does(stack: Stack, key: KeyInForce) -> None:
    base = f"{stack.url}/anthropic"
    with anthropic.Anthropic(base_url=base, auth_token=key.value) as client:
        message = client.messages.create(**CALL)
    assert message.content[0].text == answer_text(MODEL, ASKED)
    assert_charged(stack, key)


def test_a_streamed_message_is_answered_and_charged(
    stack: Stack, key: KeyInForce, client: anthropic.Anthropic
) -> None:
    with client.messages.stream(**CALL) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == answer_text(MODEL, ASKED) == message.content[0].text
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == count_tokens(text)
    assert_charged(stack, key, streamed=True)


def test_tokens_read_from_the_providers_cache_cost_what_the_catalogue_says(
    stack: Stack, key: KeyInForce, client: anthropic.Anthropic
) -> None:
    client.messages.create(**CALL, extra_headers={"x-demo-cached-tokens": "5"})
    record = stack.admin.one_usage(key.id)
    served = stack.demo.served(MODEL)
    assert (record.cache_read_tokens, record.input_tokens) == (5, served["input_tokens"] - 5)
    price = stack.admin.price("anthropic", MODEL)
    assert price.cache_read < price.input
    assert record.cost == price.cost(
        uncached=served["input_tokens"] - 5, cached=5, output=served["output_tokens"]
    )


def test_the_async_client_gets_the_same_answers(stack: Stack, key: KeyInForce) -> None:
    async def converse() -> tuple[str, str]:
        base = f"{stack.url}/anthropic"
        async with anthropic.AsyncAnthropic(base_url=base, api_key=key.value) as client:
            whole = await client.messages.create(**CALL)
            async with client.messages.stream(**CALL) as stream:
                streamed = await stream.get_final_text()
            return whole.content[0].text, streamed

    assert asyncio.run(converse()) == (answer_text(MODEL, ASKED),) * 2
    first, second = stack.admin.usage(key.id, 2)
    assert first.cost == second.cost > 0


def test_a_denied_model_raises_permission_denied(stack: Stack, client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.PermissionDeniedError) as denied:
        client.messages.create(**CALL | {"model": "claude-opus-5"})
    body = denied.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "permission_error"
    assert (body["error_type"], body["status_code"]) == ("model_blocked", 403)
    assert stack.demo.requests() == 0


def test_an_unknown_key_raises_authentication_error(stack: Stack) -> None:
    base = f"{stack.url}/anthropic"
    with anthropic.Anthropic(base_url=base, api_key="sk-bf-nobody-has-this") as client:
        with pytest.raises(anthropic.AuthenticationError) as denied:
            client.messages.create(**CALL)
    assert denied.value.body["error"]["type"] == "authentication_error"
    assert denied.value.body["error_type"] == "virtual_key_not_found"
    assert stack.demo.requests() == 0


def test_an_exhausted_budget_raises_402_at_once(stack: Stack) -> None:
    key = stack.key(
        provider_configs=[{"provider": "anthropic", "allowed_models": [MODEL]}],
        budget={"max_limit": 0.000001, "reset_duration": "1M"},
    )
    base = f"{stack.url}/anthropic"
    with anthropic.Anthropic(base_url=base, api_key=key.value) as client:
        with pytest.raises(anthropic.APIStatusError) as denied:
            client.messages.create(**CALL)
    assert denied.value.status_code == 402
    assert denied.value.body["error_type"] == "budget_exceeded"
    assert stack.demo.requests() == 0


def test_a_rate_limit_raises_rate_limit_error(stack: Stack) -> None:
    key = stack.key(
        provider_configs=[{"provider": "anthropic", "allowed_models": [MODEL]}],
        rate_limit={"request_max_limit": 1, "request_reset_duration": "1h"},
    )
    base = f"{stack.url}/anthropic"
    with anthropic.Anthropic(base_url=base, api_key=key.value, max_retries=0) as client:
        client.messages.create(**CALL)
        with pytest.raises(anthropic.RateLimitError) as denied:
            client.messages.create(**CALL)
    assert denied.value.body["error"]["type"] == "rate_limit_error"
    assert denied.value.body["error_type"] == "request_limited"
    assert stack.demo.requests() == 1
