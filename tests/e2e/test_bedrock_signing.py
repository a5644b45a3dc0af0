"""Requests to Bedrock are signed by Envoy with the provider's access key, and by nothing of the caller's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import pytest
from botocore.exceptions import ClientError

from amazon import REGION, Amazon
from demo import answer_text
from stack import Stack
from test_bedrock_sdk import ASKED, CLAUDES, MESSAGES, MODEL, connect, with_bearer_token, with_signature

PROFILE = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-v1:0"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack("signing") as own:
        own.admin.enable_governance()
        yield own


@pytest.fixture
def amazon(stack: Stack) -> Iterator[Amazon]:
    stack.demo.reset()
    fake = Amazon(stack.ports.take(), stack.demo_port)
    yield fake
    fake.close()


@pytest.fixture
def provider(stack: Stack, amazon: Amazon) -> str:
    """Its name, and its key is the fake's first."""
    name = stack.unique("aws")
    create(stack, amazon, name, amazon.key(1, token="planted-session-token"))
    return name


def create(stack: Stack, amazon: Amazon, name: str, config: dict[str, str]) -> None:
    stack.admin.post(
        "/api/providers",
        {
            "name": name,
            "custom_provider_config": {"base_provider_type": "bedrock"},
            "network_config": {"base_url": amazon.url},
            "aliases": {"fast": MODEL, "profile": PROFILE},
            "keys": [{"bedrock_key_config": config}],
        },
    )


def client_of(stack: Stack, *providers: str, present: Any = with_bearer_token) -> Any:
    weights = [1.0, *[0.0] * (len(providers) - 1)]
    configs = [
        {"provider": name, "weight": weight, "allowed_models": ["*"]}
        for name, weight in zip(providers, weights, strict=True)
    ]
    return connect(stack, stack.key(provider_configs=configs).value, "", present)


@pytest.mark.parametrize("present", [with_bearer_token, with_signature])
def test_what_the_sdk_asks_is_signed_anew(
    stack: Stack, amazon: Amazon, provider: str, present: Any
) -> None:
    """The SDK's own signature, with `x-amz-*` headers of its own, stays here."""
    client = client_of(stack, provider, present=present)
    said = answer_text(MODEL, ASKED)
    answer = client.converse(modelId=MODEL, messages=MESSAGES)
    assert answer["output"]["message"]["content"] == [{"text": said}]
    events = list(client.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"])
    deltas = [event["contentBlockDelta"] for event in events if "contentBlockDelta" in event]
    assert "".join(delta["delta"]["text"] for delta in deltas) == said
    answer = client.invoke_model(modelId=MODEL, body=json.dumps(CLAUDES))
    assert json.loads(answer["body"].read())["content"][0]["text"] == said
    streamed = client.invoke_model_with_response_stream(modelId=MODEL, body=json.dumps(CLAUDES))
    assert list(streamed["body"])
    assert amazon.refused == []
    assert amazon.accepted == {"AKIAIOSFODNN7EXAM001": 4}


@pytest.mark.parametrize("name", [MODEL, MODEL.replace(":", "%3A"), "fast", "profile"])
def test_a_path_is_signed_as_it_is_sent_however_it_is_written(
    stack: Stack, amazon: Amazon, provider: str, name: str
) -> None:
    """What is signed has each `%3A` escaped once more, and each `:` once."""
    stack.admin.set_price(provider, PROFILE, input=1, output=1)
    key = stack.key(provider_configs=[{"provider": provider, "allowed_models": ["*"]}])
    path = f"/model/{name}/converse"
    response = stack.caller(key.value).post(path, {"messages": MESSAGES})
    assert response.status_code == 200, response.text
    assert amazon.refused == []
    (target,) = amazon.targets
    model = {"fast": MODEL, "profile": PROFILE}.get(name, unquote(name))
    assert unquote(target) == f"/model/{model}/converse"


def test_the_whole_body_is_under_the_signature(stack: Stack, amazon: Amazon, provider: str) -> None:
    client = client_of(stack, provider)
    long = CLAUDES | {"messages": [{"role": "user", "content": "word " * 1_000_000}]}
    client.invoke_model(modelId=MODEL, body=json.dumps(long))
    assert amazon.refused == [] and len(amazon.targets) == 1


def test_a_wrong_secret_is_amazons_own_refusal(stack: Stack, amazon: Amazon) -> None:
    name = stack.unique("aws")
    config = amazon.key(1)
    create(stack, amazon, name, config | {"secret_key": "planted-wrong"})
    client = client_of(stack, name)
    with pytest.raises(ClientError) as refused:
        client.converse(modelId=MODEL, messages=MESSAGES)
    error = refused.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert error["Error"]["Code"] == "InvalidSignatureException"
    assert amazon.refused == ["another signature"]
    # Put right, without a restart, and in force with the answer.
    (key,) = stack.admin.get(f"/api/providers/{name}/keys")["keys"]
    stack.admin.put(f"/api/providers/{name}/keys/{key['id']}", {"bedrock_key_config": config})
    client.converse(modelId=MODEL, messages=MESSAGES)
    assert len(amazon.refused) == 1


def test_a_key_is_rotated_under_load_and_no_request_fails(
    stack: Stack, amazon: Amazon, provider: str
) -> None:
    key = stack.key(provider_configs=[{"provider": provider, "allowed_models": ["*"]}])
    (of_it,) = stack.admin.get(f"/api/providers/{provider}/keys")["keys"]
    path = f"/api/providers/{provider}/keys/{of_it['id']}"
    enough = False
    statuses: list[int] = []

    def ask() -> None:
        caller = stack.caller(key.value)
        while not enough:
            response = caller.post(f"/model/{MODEL}/converse", {"messages": MESSAGES})
            statuses.append(response.status_code)

    took = []
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(ask) for _ in range(4)]
        try:
            for number in range(2, 6):
                time.sleep(0.4)
                config = amazon.key(number, token=f"planted-token-{number}" if number % 2 else None)
                start = time.monotonic()
                stack.admin.put(path, {"bedrock_key_config": config})
                took.append(time.monotonic() - start)
                # Those that were on their way may still have the old one.
                time.sleep(0.3)
                before = amazon.accepted.copy()
                time.sleep(0.3)
                used = set(amazon.accepted - before)
                assert used == {config["access_key"]}
        finally:
            enough = True
        for one in running:
            one.result()
    print(f"{len(statuses)} requests, in force after {[round(it * 1000) for it in took]} ms")
    assert set(statuses) == {200} and amazon.refused == []
    assert len(statuses) > 100


def test_another_key_signs_after_a_failure_and_nothing_of_the_first_signature_is_left(
    stack: Stack, amazon: Amazon, provider: str
) -> None:
    """All attempts share one set of headers. R-32."""
    other = Amazon(stack.ports.take(), stack.demo_port)
    name = stack.unique("aws")
    create(stack, other, name, other.key(7))
    amazon.failing = True
    client_of(stack, provider, name).converse(modelId=MODEL, messages=MESSAGES)
    assert (sum(amazon.accepted.values()), sum(other.accepted.values())) == (1, 1)
    # And from one that signs to one with a bearer token.
    client_of(stack, provider, "bedrock").converse(modelId=MODEL, messages=MESSAGES)
    headers = stack.demo.last_headers()
    assert headers["authorization"] == ["Bearer demo"]
    assert not [name for name in headers if name.startswith("x-amz-")]
    assert amazon.refused == other.refused == []
    other.close()


def test_the_secrets_are_nowhere_to_be_seen(stack: Stack, amazon: Amazon, provider: str) -> None:
    """Not in what Envoy says of its configuration, in no log, and in no answer of the admin API."""
    client_of(stack, provider).converse(modelId=MODEL, messages=MESSAGES)
    dump = stack.envoy_admin.get("/config_dump", params={"include_eds": "true"}).text
    assert f'"region": "{REGION}"' in dump and '"[redacted]"' in dump
    answers = [stack.admin.request("GET", f"/api/providers/{provider}{path}").text for path in ("", "/keys")]
    logs = [stack.envoy.text(), stack.control_plane.text()]
    for text in (dump, *answers, *logs):
        assert "planted" not in text
