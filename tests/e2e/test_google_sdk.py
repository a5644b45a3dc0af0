"""Google's Gen AI SDK, unmodified but for `base_url` and the key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google import genai
from google.genai import errors, types

from demo import answer_text, count_tokens
from stack import KeyInForce, Stack

ASKED = "What does a gateway dream of?"
MODEL = "gemini-2.5-flash"
EMBEDDER = "gemini-embedding-001"


def connect(stack: Stack, key: str, base: str = "/genai", **options) -> genai.Client:
    return genai.Client(
        api_key=key,
        vertexai=False,
        http_options=types.HttpOptions(base_url=stack.url + base, **options),
    )


@pytest.fixture
def key(stack: Stack) -> KeyInForce:
    return stack.key(
        provider_configs=[{"provider": "gemini", "allowed_models": [MODEL, EMBEDDER]}],
        budget={"max_limit": 100, "reset_duration": "1M"},
    )


@pytest.fixture
def client(stack: Stack, key: KeyInForce) -> Iterator[genai.Client]:
    with connect(stack, key.value) as client:
        yield client


def assert_charged(stack: Stack, key: KeyInForce, *, streamed: bool = False) -> None:
    """There is one record, and it says and costs what the provider served."""
    record = stack.admin.one_usage(key.id)
    served = stack.demo.served(MODEL)
    assert served["requests"] == 1
    used = (record.input_tokens, record.output_tokens)
    assert used == (served["input_tokens"], served["output_tokens"])
    price = stack.admin.price("gemini", MODEL)
    expected = price.cost(uncached=served["input_tokens"], output=served["output_tokens"])
    assert record.cost == expected > 0
    assert (record.streamed, record.estimated) == (streamed, False)


@pytest.mark.parametrize("base", ["/genai", "", "/langchain", "/litellm"])
@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_content_is_generated_and_charged(
    stack: Stack, key: KeyInForce, base: str, version: str
) -> None:
    with connect(stack, key.value, base, api_version=version) as client:
        answer = client.models.generate_content(model=MODEL, contents=ASKED)
    text = answer_text(MODEL, ASKED)
    assert answer.text == text
    assert answer.usage_metadata.prompt_token_count == count_tokens(ASKED)
    assert answer.usage_metadata.candidates_token_count == count_tokens(text)
    assert_charged(stack, key)


def test_streamed_content_is_generated_and_charged(
    stack: Stack, key: KeyInForce, client: genai.Client
) -> None:
    chunks = list(client.models.generate_content_stream(model=MODEL, contents=ASKED))
    assert "".join(chunk.text or "" for chunk in chunks) == answer_text(MODEL, ASKED)
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert_charged(stack, key, streamed=True)


def test_thoughts_are_charged_though_they_are_not_shown(
    stack: Stack, key: KeyInForce, client: genai.Client
) -> None:
    headers = {"x-demo-reasoning-tokens": "7", "x-demo-output-tokens": "20"}
    config = types.GenerateContentConfig(
        http_options=types.HttpOptions(base_url=f"{stack.url}/genai", headers=headers)
    )
    answer = client.models.generate_content(model=MODEL, contents=ASKED, config=config)
    assert answer.usage_metadata.thoughts_token_count == 7
    assert stack.demo.served(MODEL)["output_tokens"] == 20
    assert_charged(stack, key)


def test_counting_tokens_is_free(stack: Stack, key: KeyInForce, client: genai.Client) -> None:
    counted = client.models.count_tokens(model=MODEL, contents=ASKED)
    assert counted.total_tokens == count_tokens(ASKED)
    assert stack.admin.one_usage(key.id).cost == 0


def test_embeddings_are_charged_though_nothing_reports_them(
    stack: Stack, key: KeyInForce, client: genai.Client
) -> None:
    made = client.models.embed_content(model=EMBEDDER, contents=[ASKED, "another"])
    assert [len(one.values) for one in made.embeddings] == [3072, 3072]
    record = stack.admin.one_usage(key.id)
    assert record.estimated
    assert record.input_tokens >= stack.demo.served(EMBEDDER)["input_tokens"] > 0
    assert record.cost > 0


def test_the_list_of_models_is_what_the_key_may_use(client: genai.Client) -> None:
    listed = {model.name for model in client.models.list()}
    assert listed == {f"models/{MODEL}", f"models/{EMBEDDER}"}


def test_a_denied_model_raises_a_client_error(stack: Stack, client: genai.Client) -> None:
    for call in (
        lambda: client.models.generate_content(model="gemini-2.5-pro", contents=ASKED),
        lambda: list(client.models.generate_content_stream(model="gemini-2.5-pro", contents=ASKED)),
    ):
        with pytest.raises(errors.ClientError) as denied:
            call()
        assert (denied.value.code, denied.value.status) == (403, "PERMISSION_DENIED")
        assert "gemini-2.5-pro" in denied.value.message
    assert stack.demo.requests() == 0


def test_an_unknown_key_raises_a_client_error(stack: Stack) -> None:
    with connect(stack, "sk-bf-nobody-has-this") as client:
        with pytest.raises(errors.ClientError) as denied:
            client.models.generate_content(model=MODEL, contents=ASKED)
    assert (denied.value.code, denied.value.status) == (401, "UNAUTHENTICATED")
    assert "virtual key not found" in denied.value.message


def test_limits_raise_client_errors_that_say_which(stack: Stack) -> None:
    configs = [{"provider": "gemini", "allowed_models": [MODEL]}]
    poor = stack.key(
        provider_configs=configs, budget={"max_limit": 0.000001, "reset_duration": "1M"}
    )
    with connect(stack, poor.value) as client:
        with pytest.raises(errors.ClientError) as denied:
            client.models.generate_content(model=MODEL, contents=ASKED)
    assert (denied.value.code, denied.value.status) == (402, "RESOURCE_EXHAUSTED")
    assert "budget exceeded" in denied.value.message
    slow = stack.key(
        provider_configs=configs,
        rate_limit={"request_max_limit": 1, "request_reset_duration": "1h"},
    )
    with connect(stack, slow.value) as client:
        client.models.generate_content(model=MODEL, contents=ASKED)
        with pytest.raises(errors.ClientError) as denied:
            client.models.generate_content(model=MODEL, contents=ASKED)
    assert (denied.value.code, denied.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert "request limit exceeded" in denied.value.message
    assert 0 < int(denied.value.response.headers["retry-after"]) <= 3600
    assert stack.demo.requests() == 1


def test_files_and_caches_raise_client_errors_that_say_why(
    stack: Stack, client: genai.Client
) -> None:
    """R-31, R-32."""
    for call, why in (
        (lambda: list(client.files.list()), "files are not served"),
        (lambda: list(client.caches.list()), "objects kept at the provider are not served"),
        (lambda: list(client.batches.list()), "batches are not served"),
    ):
        with pytest.raises(errors.ClientError) as denied:
            call()
        assert denied.value.code == 403
        assert why in denied.value.message
    assert stack.demo.nothing_arrived()
