"""The official OpenAI SDK, unmodified but for `base_url` and the key."""

from __future__ import annotations

import asyncio

import openai
import pytest

from demo import answer_text, count_tokens
from stack import KeyInForce, Stack

ASKED = "What does a gateway dream of?"
MESSAGES = [{"role": "user", "content": ASKED}]
MODEL = "gpt-4o"
EMBEDDER = "text-embedding-3-small"
# As users of Bifrost have them; LangChain and LiteLLM use this SDK, with a version and without.
BASES = ("/v1", "/openai/v1", "/langchain/v1", "/langchain", "/litellm/v1", "/litellm")


@pytest.fixture
def key(stack: Stack) -> KeyInForce:
    models = [MODEL, EMBEDDER]
    return stack.key(
        provider_configs=[{"provider": "openai", "allowed_models": models}],
        budget={"max_limit": 100, "reset_duration": "1M"},
    )


@pytest.fixture
def client(stack: Stack, key: KeyInForce) -> openai.OpenAI:
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=key.value) as client:
        yield client


def assert_charged(stack: Stack, key: KeyInForce, model: str, *, streamed: bool = False) -> None:
    """There is one record, and it says and costs what the provider served."""
    record = stack.admin.one_usage(key.id)
    served = stack.demo.served(model)
    assert served["requests"] == 1
    assert record.input_tokens == served["input_tokens"] > 0
    assert record.output_tokens == served["output_tokens"]
    price = stack.admin.price("openai", model)
    expected = price.cost(uncached=served["input_tokens"], output=served["output_tokens"])
    assert record.cost == expected > 0
    assert (record.provider, record.model) == ("openai", model)
    assert (record.streamed, record.estimated) == (streamed, False)
    assert (record.status, record.outcome) == (200, "complete")


@pytest.mark.parametrize("base", BASES)
def test_a_chat_completion_is_answered_and_charged(
    stack: Stack, key: KeyInForce, base: str
) -> None:
    with openai.OpenAI(base_url=stack.url + base, api_key=key.value) as client:
        completion = client.chat.completions.create(model=MODEL, messages=MESSAGES)
    text = answer_text(MODEL, ASKED)
    assert completion.choices[0].message.content == text
    assert completion.usage.prompt_tokens == count_tokens(ASKED)
    assert completion.usage.completion_tokens == count_tokens(text)
    assert_charged(stack, key, MODEL)


def test_the_provider_prefix_of_a_model_is_accepted_and_not_sent_on(
    stack: Stack, key: KeyInForce, client: openai.OpenAI
) -> None:
    completion = client.chat.completions.create(model=f"openai/{MODEL}", messages=MESSAGES)
    assert completion.model == MODEL
    assert_charged(stack, key, MODEL)


def test_tokens_read_from_the_providers_cache_cost_what_the_catalogue_says(
    stack: Stack, key: KeyInForce, client: openai.OpenAI
) -> None:
    client.chat.completions.create(
        model=MODEL, messages=MESSAGES, extra_headers={"x-demo-cached-tokens": "5"}
    )
    record = stack.admin.one_usage(key.id)
    served = stack.demo.served(MODEL)
    assert (record.cache_read_tokens, record.input_tokens) == (5, served["input_tokens"] - 5)
    price = stack.admin.price("openai", MODEL)
    assert price.cache_read < price.input
    assert record.cost == price.cost(
        uncached=served["input_tokens"] - 5, cached=5, output=served["output_tokens"]
    )


def test_a_stream_without_include_usage_shows_no_usage_and_is_charged(
    stack: Stack, key: KeyInForce, client: openai.OpenAI
) -> None:
    chunks = list(client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == answer_text(MODEL, ASKED)
    assert [chunk for chunk in chunks if not chunk.choices or chunk.usage] == []
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert_charged(stack, key, MODEL, streamed=True)


def test_a_stream_with_include_usage_shows_it_and_is_charged(
    stack: Stack, key: KeyInForce, client: openai.OpenAI
) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    *said, last = chunks
    text = "".join(chunk.choices[0].delta.content or "" for chunk in said)
    assert text == answer_text(MODEL, ASKED)
    assert last.choices == []
    assert last.usage.prompt_tokens == count_tokens(ASKED)
    assert last.usage.completion_tokens == count_tokens(text)
    assert_charged(stack, key, MODEL, streamed=True)


def test_a_response_is_answered_and_charged(
    stack: Stack, key: KeyInForce, client: openai.OpenAI
) -> None:
    response = client.responses.create(model=MODEL, input=ASKED)
    assert response.output_text == answer_text(MODEL, ASKED)
    assert_charged(stack, key, MODEL)


def test_a_streamed_response_is_answered_and_charged(
    stack: Stack, key: KeyInForce, client: openai.OpenAI
) -> None:
    with client.responses.stream(model=MODEL, input=ASKED) as stream:
        response = stream.get_final_response()
    assert response.output_text == answer_text(MODEL, ASKED)
    assert response.usage.output_tokens == count_tokens(response.output_text)
    assert_charged(stack, key, MODEL, streamed=True)


def test_embeddings_are_made_and_charged(
    stack: Stack, key: KeyInForce, client: openai.OpenAI
) -> None:
    made = client.embeddings.create(model=EMBEDDER, input=["one", "another one"])
    assert [len(entry.embedding) for entry in made.data] == [1536, 1536]
    assert made.data[0].embedding != made.data[1].embedding
    assert_charged(stack, key, EMBEDDER)
    assert stack.admin.one_usage(key.id).operation == "embeddings"


def test_the_async_client_gets_the_same_answers(stack: Stack, key: KeyInForce) -> None:
    async def converse() -> tuple[str, str, str]:
        async with openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=key.value) as client:
            whole = client.chat.completions.create(model=MODEL, messages=MESSAGES)
            stream = await client.chat.completions.create(
                model=MODEL, messages=MESSAGES, stream=True
            )
            streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            response = await client.responses.create(model=MODEL, input=ASKED)
            return (await whole).choices[0].message.content, streamed, response.output_text

    assert asyncio.run(converse()) == (answer_text(MODEL, ASKED),) * 3
    assert [record.cost for record in stack.admin.usage(key.id, 3)] == [
        stack.admin.price("openai", MODEL).cost(
            uncached=count_tokens(ASKED), output=count_tokens(answer_text(MODEL, ASKED))
        )
    ] * 3


def test_a_denied_model_raises_permission_denied(stack: Stack, client: openai.OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as denied:
        client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert denied.value.code == "model_blocked"
    assert "gpt-4o-mini" in denied.value.message
    assert stack.demo.requests() == 0


def test_a_denied_stream_raises_permission_denied(stack: Stack, client: openai.OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True)
    assert stack.demo.requests() == 0


def test_a_denied_provider_raises_permission_denied(stack: Stack, client: openai.OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as denied:
        client.chat.completions.create(model="anthropic/claude-sonnet-5", messages=MESSAGES)
    assert denied.value.code == "provider_blocked"
    assert stack.demo.requests() == 0


def test_an_unknown_key_raises_authentication_error(stack: Stack) -> None:
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key="sk-bf-nobody-has-this") as client:
        with pytest.raises(openai.AuthenticationError) as denied:
            client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert denied.value.code == "virtual_key_not_found"
    assert stack.demo.requests() == 0


def test_a_key_of_the_provider_is_not_a_virtual_key(stack: Stack) -> None:
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key="sk-proj-of-the-provider") as client:
        with pytest.raises(openai.AuthenticationError) as denied:
            client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert denied.value.code == "virtual_key_required"
    assert stack.demo.requests() == 0


def test_an_exhausted_budget_raises_402_at_once(stack: Stack) -> None:
    """The SDK would repeat a 429 or a 5xx; a budget is not worth the wait, and is not repeated."""
    key = stack.key(budget={"max_limit": 0.000001, "reset_duration": "1M"})
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=key.value) as client:
        with pytest.raises(openai.APIStatusError) as denied:
            client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert denied.value.status_code == 402
    assert denied.value.code == "budget_exceeded"
    assert denied.value.response.headers["x-should-retry"] == "false"
    assert stack.demo.requests() == 0


def test_a_rate_limit_raises_rate_limit_error(stack: Stack) -> None:
    key = stack.key(rate_limit={"request_max_limit": 1, "request_reset_duration": "1h"})
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=key.value, max_retries=0) as client:
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
        with pytest.raises(openai.RateLimitError) as denied:
            client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert denied.value.code == "request_limited"
    assert 0 < int(denied.value.response.headers["retry-after"]) <= 3600
    assert stack.demo.requests() == 1


def test_the_sdks_own_retry_succeeds_when_a_short_window_is_over(stack: Stack) -> None:
    """Its retries wait as long as `retry-after` says, which must be long enough."""
    key = stack.key(rate_limit={"request_max_limit": 1, "request_reset_duration": "2s"})
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=key.value) as client:
        for _ in range(3):
            client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert stack.demo.requests() == 3


def test_what_the_provider_refuses_reaches_the_sdk_as_it_is(
    stack: Stack, key: KeyInForce, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.chat.completions.create(
            model=MODEL, messages=MESSAGES, extra_headers={"x-demo-fault": "demo=422"}
        )
    assert "x-demo-fault" in refused.value.message
    record = stack.admin.one_usage(key.id)
    assert (record.status, record.cost) == (422, 0)
