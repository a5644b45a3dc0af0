"""OpenAI's SDK, unmodified, with models of providers whose own API is another: they are asked at their
OpenAI-compatible sides. The truth is what the demo provider says it served."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest

from demo import answer_text, count_tokens
from llm import CHAT, chat_body, events
from providers import answered_by
from stack import KeyInForce, Stack
from waiting import eventually

ASKED = "What does a gateway dream of?"
MESSAGES = [{"role": "user", "content": ASKED}]
SONNET, FLASH, COMMAND = "claude-sonnet-5", "gemini-2.5-flash", "command-a-03-2025"
# A provider, a model of it, and where it serves OpenAI's chat completions.
SIDES = [
    ("anthropic", SONNET, "/v1/chat/completions"),
    ("gemini", FLASH, "/v1beta/openai/chat/completions"),
    ("cohere", COMMAND, "/compatibility/v1/chat/completions"),
]
sides = pytest.mark.parametrize(("provider", "model", "path"), SIDES)
CREDENTIALS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")


@pytest.fixture
def key(stack: Stack) -> KeyInForce:
    configs = [{"provider": name, "allowed_models": [model]} for name, model, _ in SIDES]
    configs.append({"provider": "bedrock", "allowed_models": ["*"]})
    return stack.key(provider_configs=configs, budget={"max_limit": 100, "reset_duration": "1M"})


@pytest.fixture
def client(stack: Stack, key: KeyInForce) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=key.value) as client:
        yield client


def credentials(stack: Stack) -> dict[str, list[str]]:
    """Those of the last request that arrived."""
    headers = stack.demo.last_headers()
    return {name: headers[name] for name in CREDENTIALS if name in headers}


def assert_charged(
    stack: Stack, key: KeyInForce, provider: str, model: str, *, streamed: bool = False
) -> None:
    """There is one record, and it says and costs what the provider served, by its own prices."""
    record = stack.admin.one_usage(key.id)
    served = stack.demo.served(model)
    assert served["requests"] == 1
    assert record.input_tokens == served["input_tokens"] > 0
    assert record.output_tokens == served["output_tokens"] > 0
    price = stack.admin.price(provider, model)
    expected = price.cost(uncached=served["input_tokens"], output=served["output_tokens"])
    assert record.cost == expected > 0
    assert (record.provider, record.model) == (provider, model)
    assert (record.streamed, record.estimated) == (streamed, False)
    assert (record.status, record.outcome) == (200, "complete")


# ---- one provider


@sides
def test_a_completion_is_answered_and_charged_by_the_providers_own_prices(
    stack: Stack, key: KeyInForce, client: openai.OpenAI, provider: str, model: str, path: str
) -> None:
    completion = client.chat.completions.create(model=f"{provider}/{model}", messages=MESSAGES)
    text = answer_text(model, ASKED)
    assert completion.choices[0].message.content == text
    assert completion.model == model
    assert completion.usage.prompt_tokens == count_tokens(ASKED)
    assert completion.usage.completion_tokens == count_tokens(text)
    arrived = stack.demo.last()
    assert arrived["path"] == path
    assert json.loads(arrived["body"])["model"] == model
    # In OpenAI's header, and in no other.
    (name, (value,)) = next(iter(credentials(stack).items()))
    assert (name, len(credentials(stack))) == ("authorization", 1)
    assert value.startswith("Bearer ") and key.value not in value
    assert_charged(stack, key, provider, model)


@sides
def test_a_stream_shows_usage_when_asked_and_is_charged_either_way(
    stack: Stack, key: KeyInForce, client: openai.OpenAI, provider: str, model: str, path: str
) -> None:
    named = f"{provider}/{model}"
    said = list(client.chat.completions.create(model=named, messages=MESSAGES, stream=True))
    text = answer_text(model, ASKED)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said) == text
    assert [chunk for chunk in said if not chunk.choices or chunk.usage] == []
    assert stack.demo.last()["path"] == path
    assert_charged(stack, key, provider, model, streamed=True)

    stack.demo.reset()
    other = stack.key(allow_all_providers=True)
    with client.with_options(api_key=other.value) as client:
        *said, last = client.chat.completions.create(
            model=named, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said) == text
    assert last.usage.completion_tokens == count_tokens(text)
    assert_charged(stack, other, provider, model, streamed=True)


WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


@sides
@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_called(
    stack: Stack,
    key: KeyInForce,
    client: openai.OpenAI,
    provider: str,
    model: str,
    path: str,
    streamed: bool,
) -> None:
    asked = {
        "model": f"{provider}/{model}",
        "messages": MESSAGES,
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
    }
    if streamed:
        with client.chat.completions.stream(**asked) as stream:
            completion = stream.get_final_completion()
    else:
        completion = client.chat.completions.create(**asked)
    (choice,) = completion.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"text": answer_text(model, ASKED)}
    assert json.loads(stack.demo.last()["body"])["tools"] == [WEATHER]
    assert_charged(stack, key, provider, model, streamed=streamed)


@sides
def test_what_was_read_from_a_cache_costs_what_the_provider_charges_for_that(
    stack: Stack, key: KeyInForce, client: openai.OpenAI, provider: str, model: str, path: str
) -> None:
    steering = {"x-demo-cached-tokens": "5", "x-demo-reasoning-tokens": "3"}
    client.chat.completions.create(
        model=f"{provider}/{model}", messages=MESSAGES, extra_headers=steering
    )
    record = stack.admin.one_usage(key.id)
    served = stack.demo.served(model)
    assert (record.cache_read_tokens, record.input_tokens) == (5, served["input_tokens"] - 5)
    price = stack.admin.price(provider, model)
    shown, thoughts = served["output_tokens"] - 3, 3
    assert record.cost == price.cost(
        uncached=served["input_tokens"] - 5, cached=5, output=shown, reasoning=thoughts
    )


def test_an_abandoned_stream_is_charged_for_what_was_seen(
    stack: Stack, key: KeyInForce, client: openai.OpenAI
) -> None:
    steering = {"x-demo-output-tokens": "400", "x-demo-chunk-delay-ms": "10"}
    with client.chat.completions.create(
        model=f"anthropic/{SONNET}", messages=MESSAGES, stream=True, extra_headers=steering
    ) as stream:
        for _, _ in zip(range(20), stream, strict=False):
            pass
    record = stack.admin.one_usage(key.id)
    assert record.estimated and record.provider == "anthropic"
    assert 0 < record.output_tokens < 400


def test_a_bare_model_finds_the_vendor_that_the_catalogue_knows_it_of(stack: Stack) -> None:
    configs = [
        {"provider": name, "allowed_models": ["*"], "weight": 1}
        for name in ("openai", "anthropic", "gemini")
    ]
    key = stack.key(provider_configs=configs)
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=key.value) as client:
        for model, provider in ((SONNET, "anthropic"), ("gpt-4o", "openai")) * 4:
            answer = client.chat.completions.with_raw_response.create(
                model=model, messages=MESSAGES
            )
            assert answer.headers["x-reeve-provider"] == provider
    assert stack.demo.served("gpt-4o")["requests"] == stack.demo.served(SONNET)["requests"] == 4


@pytest.mark.parametrize(
    ("base", "model"),
    [("/anthropic/v1", SONNET), ("/cohere/compatibility/v1", COMMAND)],
)
def test_the_sdk_may_be_pointed_at_the_vendors_own_paths(
    stack: Stack, key: KeyInForce, base: str, model: str
) -> None:
    provider = base.split("/")[1]
    with openai.OpenAI(base_url=stack.url + base, api_key=key.value) as client:
        completion = client.chat.completions.create(model=model, messages=MESSAGES)
    assert completion.choices[0].message.content == answer_text(model, ASKED)
    assert_charged(stack, key, provider, model)


# ---- the native side of the same provider


def test_on_its_own_side_a_provider_gets_its_key_as_ever(stack: Stack, key: KeyInForce) -> None:
    caller = stack.caller(key.value)
    message = {"model": SONNET, "max_tokens": 50, "messages": MESSAGES}
    assert caller.post("/v1/messages", message).status_code == 200
    assert list(credentials(stack)) == ["x-api-key"]
    # With a query, it is the same side.
    assert caller.post("/v1/messages?beta=true", message).status_code == 200
    assert list(credentials(stack)) == ["x-api-key"]
    contents = {"contents": [{"parts": [{"text": ASKED}]}]}
    path = f"/v1beta/models/{FLASH}:generateContent"
    assert caller.post(path, contents).status_code == 200
    assert list(credentials(stack)) == ["x-goog-api-key"]


def test_a_rotated_key_is_in_force_on_both_sides(new_stack) -> None:
    stack = new_stack()
    caller = stack.caller(stack.key(allow_all_providers=True).value)
    message = {"model": SONNET, "max_tokens": 50, "messages": MESSAGES}

    def carried() -> tuple[list[str], list[str]]:
        assert caller.post("/v1/messages", message).status_code == 200
        own = credentials(stack)["x-api-key"]
        assert caller.chat(f"anthropic/{SONNET}").status_code == 200
        return own, credentials(stack)["authorization"]

    for new in ("sk-rotated-1", "sk-rotated-2"):
        stack.admin.rotate_provider_key("anthropic", new)
        eventually(lambda new=new: carried() == ([new], [f"Bearer {new}"]), what="the new key")


def test_a_key_bound_to_a_provider_key_uses_that_one_on_both_sides(new_stack) -> None:
    """R-32."""
    stack = new_stack()
    path = "/api/providers/anthropic/keys"
    made = stack.admin.post(path, {"name": "dev", "value": "sk-dev", "weight": 0.5})["key"]
    config = {"provider": "anthropic", "allowed_models": ["*"], "key_ids": [made["id"]]}
    caller = stack.caller(stack.key(provider_configs=[config]).value)
    message = {"model": SONNET, "max_tokens": 50, "messages": MESSAGES}
    eventually(lambda: caller.post("/v1/messages", message).status_code == 200, what="the cluster")
    assert credentials(stack) == {"x-api-key": ["sk-dev"]}
    assert caller.chat(f"anthropic/{SONNET}").status_code == 200
    assert credentials(stack) == {"authorization": ["Bearer sk-dev"]}


# ---- refusals


def test_what_the_key_may_not_use_raises_the_sdks_own_errors(
    stack: Stack, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.PermissionDeniedError) as denied:
        client.chat.completions.create(model="anthropic/claude-haiku-4-5", messages=MESSAGES)
    assert denied.value.code == "model_blocked"
    with pytest.raises(openai.PermissionDeniedError) as denied:
        client.chat.completions.create(model="openai/gpt-4o", messages=MESSAGES)
    assert denied.value.code == "provider_blocked"
    for call in (
        lambda: client.responses.create(model=f"anthropic/{SONNET}", input=ASKED),
        lambda: client.chat.completions.create(
            model="bedrock/amazon.nova-lite-v1:0", messages=MESSAGES
        ),
        lambda: client.embeddings.create(model=f"anthropic/{SONNET}", input=ASKED),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            call()
        assert refused.value.param == "model"
        assert "name a model of another provider" in refused.value.message
    assert stack.demo.nothing_arrived()


def test_limits_hold_and_what_the_provider_refuses_reaches_the_sdk(stack: Stack) -> None:
    poor = stack.key(
        allow_all_providers=True, budget={"max_limit": 0.000001, "reset_duration": "1M"}
    )
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=poor.value, max_retries=0) as client:
        with pytest.raises(openai.APIStatusError) as denied:
            client.chat.completions.create(model=f"anthropic/{SONNET}", messages=MESSAGES)
        assert (denied.value.status_code, denied.value.code) == (402, "budget_exceeded")
        assert stack.demo.nothing_arrived()
    key = stack.key(allow_all_providers=True)
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=key.value, max_retries=0) as client:
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            client.chat.completions.create(
                model=f"anthropic/{SONNET}",
                messages=MESSAGES,
                extra_headers={"x-demo-fault": "demo=422"},
            )
        assert "x-demo-fault" in refused.value.message
    record = stack.admin.one_usage(key.id)
    assert (record.provider, record.status, record.cost) == ("anthropic", 422, 0)


# ---- chains of several formats


class Mixed:
    """OpenAI, and Anthropic and Gemini on servers of their own."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.demos = {"openai": stack.demo}
        for name, base in (("anthropic", "/v1"), ("gemini", "/v1beta")):
            self.demos[name] = stack.another_demo(name)
            network = {"base_url": f"{self.demos[name].url}{base}"}
            stack.admin.put(f"/api/providers/{name}", {"network_config": network})


@pytest.fixture(scope="module")
def _mixed() -> Iterator[Mixed]:
    with Stack("mixed") as stack:
        stack.admin.enable_governance()
        mixed = Mixed(stack)
        yield mixed
        for demo in mixed.demos.values():
            demo.close()


@pytest.fixture
def mixed(_mixed: Mixed) -> Mixed:
    for demo in _mixed.demos.values():
        demo.reset()
    return _mixed


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("fault", "provider", "model", "index"),
    [("demo=503", "anthropic", SONNET, 1), ("demo=429,anthropic=529", "gemini", FLASH, 2)],
)
def test_when_openai_fails_the_next_ones_are_asked_at_their_openai_sides(
    mixed: Mixed, fault: str, provider: str, model: str, index: int, streamed: bool
) -> None:
    admin, demo = mixed.stack.admin, mixed.demos[provider]
    key = mixed.stack.key(allow_all_providers=True)
    caller = mixed.stack.caller(key.value)
    body = chat_body("openai/gpt-4o", ASKED, fallbacks=[f"anthropic/{SONNET}", f"gemini/{FLASH}"])
    if streamed:
        with caller.stream(body, x_demo_fault=fault) as response:
            said = [event for event in events(response) if event != "[DONE]"]
        text = "".join(event["choices"][0]["delta"].get("content", "") for event in said)
    else:
        response = caller.post(CHAT, body, x_demo_fault=fault)
        text = response.json()["choices"][0]["message"]["content"]
    assert answered_by(response) == (provider, index + 1, index)
    assert text == answer_text(model, ASKED, provider)
    headers = demo.last_headers()
    assert [name for name in CREDENTIALS if name in headers] == ["authorization"]
    sent = json.loads(demo.last()["body"])
    assert sent["model"] == model and "fallbacks" not in sent
    record = admin.one_usage(key.id)
    served = demo.served(model)
    assert (record.provider, record.model, record.estimated) == (provider, model, False)
    tokens = {"uncached": served["input_tokens"], "output": served["output_tokens"]}
    assert record.cost == admin.price(provider, model).cost(**tokens) > 0
    # What was left served nothing.
    assert {name: of.served(model)["requests"] for name, of in mixed.demos.items()} == {
        "openai": 0,
        "anthropic": 0,
        "gemini": 0,
        provider: 1,
    }


def test_when_anthropic_fails_openai_is_asked_with_its_own_key(mixed: Mixed) -> None:
    key = mixed.stack.key(allow_all_providers=True)
    body = chat_body(f"anthropic/{SONNET}", ASKED, fallbacks=["openai/gpt-4o"])
    caller = mixed.stack.caller(key.value)
    response = caller.post(CHAT, body, x_demo_fault="anthropic=503")
    assert answered_by(response) == ("openai", 2, 1)
    assert mixed.stack.demo.last()["path"] == CHAT
    assert list(credentials(mixed.stack)) == ["authorization"]


def test_a_fallback_that_cannot_be_asked_so_is_left_out_and_explained(stack: Stack) -> None:
    key = stack.key(allow_all_providers=True)
    fallbacks = [f"anthropic/{SONNET}", "bedrock/amazon.nova-lite-v1:0", f"gemini/{FLASH}"]
    body = chat_body("openai/gpt-4o", ASKED, fallbacks=fallbacks)
    explained = stack.admin.post(
        "/api/governance/explain", {"path": CHAT, "virtual_key_id": key.id, "body": body}
    )
    chain = [(attempt["provider"], attempt["upstream_path"]) for attempt in explained["attempts"]]
    assert chain == [
        ("openai", "/chat/completions"),
        ("anthropic", "/chat/completions"),
        ("gemini", "/openai/chat/completions"),
    ]
    (left_out,) = explained["left_out"]
    assert left_out["provider"] == "bedrock"
    assert "/model/{model}/converse" in left_out["reason"]
