"""Amazon's SDK for Bedrock, unmodified but for the endpoint and the key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from demo import answer_text, count_tokens
from stack import KeyInForce, Stack

ASKED = "What does a gateway dream of?"
Presents = Callable[[Any, str], None]
MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"
MESSAGES = [{"role": "user", "content": [{"text": ASKED}]}]
CLAUDES = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": ASKED}],
}


def with_signature(headers: Any, key: str) -> None:
    """As a user of long-term credentials does it: they sign, and the virtual key stands beside."""
    headers["x-bf-vk"] = key


def with_bearer_token(headers: Any, key: str) -> None:
    """What the SDK does itself with AWS_BEARER_TOKEN_BEDROCK, but over TLS only."""
    del headers["Authorization"]
    headers["Authorization"] = f"Bearer {key}"


def connect(
    stack: Stack, key: str, base: str = "/bedrock", present: Presents = with_bearer_token
) -> Any:
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=stack.url + base,
        region_name="us-east-1",
        aws_access_key_id="AKIAOFNOBODY",
        aws_secret_access_key="of-nobody",
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )
    client.meta.events.register("before-send", lambda request, **_: present(request.headers, key))
    return client


@pytest.fixture
def key(stack: Stack) -> KeyInForce:
    return stack.key(
        provider_configs=[{"provider": "bedrock", "allowed_models": [MODEL]}],
        budget={"max_limit": 100, "reset_duration": "1M"},
    )


@pytest.fixture
def client(stack: Stack, key: KeyInForce) -> Any:
    return connect(stack, key.value)


def assert_charged(stack: Stack, key: KeyInForce, *, streamed: bool = False) -> None:
    """There is one record, and it says and costs what the provider served."""
    record = stack.admin.one_usage(key.id)
    served = stack.demo.served(MODEL)
    assert served["requests"] == 1
    used = (record.input_tokens, record.output_tokens)
    assert used == (served["input_tokens"], served["output_tokens"])
    price = stack.admin.price("bedrock", MODEL)
    expected = price.cost(uncached=served["input_tokens"], output=served["output_tokens"])
    assert record.cost == expected > 0
    assert (record.streamed, record.estimated) == (streamed, False)


@pytest.mark.parametrize("present", [with_bearer_token, with_signature])
@pytest.mark.parametrize("base", ["/bedrock", "", "/langchain", "/litellm"])
def test_a_conversation_is_answered_and_charged(
    stack: Stack, key: KeyInForce, base: str, present: Presents
) -> None:
    client = connect(stack, key.value, base, present)
    answer = client.converse(modelId=MODEL, messages=MESSAGES)
    text = answer_text(MODEL, ASKED)
    assert answer["output"]["message"]["content"] == [{"text": text}]
    assert answer["usage"]["inputTokens"] == count_tokens(ASKED)
    assert answer["usage"]["outputTokens"] == count_tokens(text)
    assert_charged(stack, key)
    assert "AKIAOFNOBODY" not in json.dumps(stack.demo.last()), "the caller's signature stays here"


def test_a_streamed_conversation_is_answered_and_charged(
    stack: Stack, key: KeyInForce, client: Any
) -> None:
    events = list(client.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"])
    deltas = [event["contentBlockDelta"] for event in events if "contentBlockDelta" in event]
    said = [delta["delta"]["text"] for delta in deltas]
    assert "".join(said) == answer_text(MODEL, ASKED)
    assert events[-1]["metadata"]["usage"]["outputTokens"] == len(said)
    assert_charged(stack, key, streamed=True)


def test_a_model_that_is_invoked_answers_and_is_charged(
    stack: Stack, key: KeyInForce, client: Any
) -> None:
    answer = client.invoke_model(modelId=MODEL, body=json.dumps(CLAUDES))
    body = json.loads(answer["body"].read())
    assert body["content"][0]["text"] == answer_text(MODEL, ASKED)
    assert_charged(stack, key)


def test_a_model_that_is_invoked_with_a_stream_answers_and_is_charged(
    stack: Stack, key: KeyInForce, client: Any
) -> None:
    answer = client.invoke_model_with_response_stream(modelId=MODEL, body=json.dumps(CLAUDES))
    events = [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
    said = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(said) == answer_text(MODEL, ASKED)
    assert_charged(stack, key, streamed=True)


@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
def test_a_denied_model_raises_access_denied(stack: Stack, client: Any, operation: str) -> None:
    with pytest.raises(client.exceptions.AccessDeniedException) as denied:
        getattr(client, operation)(modelId="amazon.nova-micro-v1:0", messages=MESSAGES)
    assert "amazon.nova-micro-v1:0" in denied.value.response["Error"]["Message"]
    assert stack.demo.requests() == 0


def test_an_unknown_key_raises_unrecognized_client(stack: Stack) -> None:
    client = connect(stack, "sk-bf-nobody-has-this")
    with pytest.raises(ClientError) as denied:
        client.converse(modelId=MODEL, messages=MESSAGES)
    error = denied.value.response
    assert error["Error"]["Code"] == "UnrecognizedClientException"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 401
    assert "virtual key not found" in error["Error"]["Message"]


def test_limits_raise_the_exceptions_of_bedrock(stack: Stack) -> None:
    configs = [{"provider": "bedrock", "allowed_models": [MODEL]}]
    poor = stack.key(
        provider_configs=configs, budget={"max_limit": 0.000001, "reset_duration": "1M"}
    )
    client = connect(stack, poor.value)
    with pytest.raises(ClientError) as denied:
        client.converse(modelId=MODEL, messages=MESSAGES)
    error = denied.value.response
    assert error["Error"]["Code"] == "ServiceQuotaExceededException"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 402
    assert "budget exceeded" in error["Error"]["Message"]
    slow = stack.key(
        provider_configs=configs,
        rate_limit={"request_max_limit": 1, "request_reset_duration": "1h"},
    )
    client = connect(stack, slow.value)
    client.converse(modelId=MODEL, messages=MESSAGES)
    with pytest.raises(client.exceptions.ThrottlingException) as denied:
        client.converse(modelId=MODEL, messages=MESSAGES)
    error = denied.value.response
    assert "request limit exceeded" in error["Error"]["Message"]
    assert 0 < int(error["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) <= 3600
    assert stack.demo.requests() == 1
