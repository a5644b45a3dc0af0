"""Which providers and models a key may use, and where a request without a provider goes."""

from __future__ import annotations

import json
from collections import Counter

import pytest

import raw
from demo import answer_text
from llm import CHAT, MESSAGES, chat_body, denial
from stack import Stack

SONNET = "claude-sonnet-5"


def configs(*models: str, **more) -> list[dict]:
    return [{"provider": "openai", "allowed_models": list(models), **more}]


def test_a_listed_model_passes_and_every_other_is_403(stack: Stack) -> None:
    caller = stack.caller(stack.key(provider_configs=configs("gpt-4o")).value)
    assert caller.chat("gpt-4o").status_code == 200
    assert caller.chat("openai/gpt-4o").status_code == 200
    for other in ("gpt-4o-mini", "openai/gpt-4o-mini", "gpt-4o-2024-08-06", "GPT-4o", "gpt-4"):
        assert denial(caller.chat(other)) == (403, "model_blocked"), other
    assert stack.demo.requests() == 2


def test_a_key_without_providers_may_use_none(stack: Stack) -> None:
    caller = stack.caller(stack.key(provider_configs=[]).value)
    assert denial(caller.chat("openai/gpt-4o")) == (403, "provider_blocked")
    assert caller.chat("gpt-4o").status_code == 403
    assert stack.demo.requests() == 0


def test_a_provider_that_is_not_listed_is_403(stack: Stack) -> None:
    caller = stack.caller(stack.key(provider_configs=configs("*")).value)
    message = {"model": SONNET, "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    for path in (MESSAGES, "/anthropic/v1/messages"):
        response = caller.post(path, message)
        assert response.status_code == 403, path
        assert response.json()["type"] == "error"
    assert denial(caller.chat(f"anthropic/{SONNET}")) == (403, "provider_blocked")
    assert stack.demo.requests() == 0


def test_every_provider_is_open_to_a_key_that_allows_all(stack: Stack) -> None:
    caller = stack.caller(stack.key(allow_all_providers=True).value)
    message = {"model": SONNET, "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    assert caller.chat("gpt-4o").status_code == 200
    assert caller.chat("openai/gpt-4o-mini").status_code == 200
    assert caller.post(MESSAGES, message).status_code == 200


def test_no_list_of_models_means_the_catalogues(stack: Stack) -> None:
    for key in (
        stack.key(provider_configs=configs()),
        stack.key(provider_configs=[{"provider": "openai"}]),
    ):
        caller = stack.caller(key.value)
        assert caller.chat("gpt-4o").status_code == 200
        assert denial(caller.chat("gpt-unheard-of")) == (403, "model_blocked")


def test_a_model_without_a_price_is_refused_rather_than_free(stack: Stack) -> None:
    caller = stack.caller(stack.key(provider_configs=configs("*")).value)
    assert denial(caller.chat("gpt-unheard-of")) == (402, "price_unknown")
    assert stack.demo.requests() == 0


def test_a_pattern_must_match_the_whole_name(stack: Stack) -> None:
    caller = stack.caller(stack.key(provider_configs=configs("regex:gpt-4o(-mini)?")).value)
    assert caller.chat("gpt-4o").status_code == 200
    assert caller.chat("gpt-4o-mini").status_code == 200
    assert denial(caller.chat("gpt-4o-2024-08-06")) == (403, "model_blocked")


def test_the_blacklist_wins(stack: Stack) -> None:
    blacklisted = configs("*", blacklisted_models=["gpt-4o-mini"])
    caller = stack.caller(stack.key(provider_configs=blacklisted).value)
    assert caller.chat("gpt-4o").status_code == 200
    assert denial(caller.chat("gpt-4o-mini")) == (403, "model_blocked")
    assert denial(caller.chat("openai/gpt-4o-mini")) == (403, "model_blocked")


def test_an_api_that_a_provider_lacks_is_refused_and_the_refusal_says_what_to_call(stack: Stack) -> None:
    caller = stack.caller(stack.key(allow_all_providers=True).value)
    for path, body, instead in (
        ("/v1/responses", {"model": f"anthropic/{SONNET}", "input": "Hi"}, "/v1/chat/completions"),
        ("/v1/embeddings", {"model": "cohere/embed-v4.0", "input": "Hi"}, "/v2/embed"),
        (CHAT, chat_body("bedrock/amazon.nova-lite-v1:0"), "/model/{model}/converse"),
    ):
        response = caller.post(path, body)
        assert denial(response) == (400, "invalid_request"), path
        error = response.json()["error"]
        assert error["param"] == "model"
        assert f"call `POST {instead}`" in error["message"], error
    assert stack.demo.nothing_arrived()


def test_a_name_that_is_no_providers_is_part_of_the_model(stack: Stack) -> None:
    caller = stack.caller(stack.key(provider_configs=configs("meta-llama/llama-3")).value)
    assert denial(caller.chat("meta-llama/llama-3")) == (402, "price_unknown")
    assert denial(caller.chat("meta-llama/llama-2")) == (403, "model_blocked")


def test_a_bare_model_is_drawn_by_weight_among_the_keys_providers(new_stack) -> None:
    stack = new_stack()
    spare = stack.another_demo("spare")
    stack.admin.create_provider("spare", spare.url)
    weighted = stack.key(
        provider_configs=[
            {"provider": "openai", "allowed_models": ["gpt-4o"], "weight": 0.7},
            {"provider": "spare", "allowed_models": ["gpt-4o"], "weight": 0.3},
        ]
    )
    caller = stack.caller(weighted.value)
    answered = Counter(
        caller.chat("gpt-4o").json()["choices"][0]["message"]["content"] for _ in range(60)
    )
    first, second = answer_text("gpt-4o", "Hello"), answer_text("gpt-4o", "Hello", "spare")
    assert set(answered) == {first, second}
    # 60 draws with 0.7: outside of 23..58 once in 9,000,000 runs.
    assert 23 <= answered[first] <= 58, answered

    unweighted = stack.key(
        provider_configs=[
            {"provider": "openai", "allowed_models": ["gpt-4o"], "weight": 1},
            {"provider": "spare", "allowed_models": ["gpt-4o"], "weight": None},
        ]
    )
    caller = stack.caller(unweighted.value)
    spare.reset()
    assert [caller.chat("gpt-4o").status_code for _ in range(20)] == [200] * 20
    assert spare.requests() == 0, "a provider without a weight is never drawn"
    assert caller.chat("spare/gpt-4o").status_code == 200
    assert spare.requests() == 1, "but can be addressed"


@pytest.mark.parametrize("active", [True, False])
def test_an_inactive_key_is_403(stack: Stack, active: bool) -> None:
    key = stack.key(is_active=active)
    response = stack.caller(key.value).chat()
    if active:
        assert response.status_code == 200
    else:
        assert denial(response) == (403, "virtual_key_blocked")
        assert "inactive" in response.json()["error"]["message"]


def test_required_headers_are_required_of_every_request(new_stack) -> None:
    """R-36: by name in any case, and by the form of every value."""
    stack = new_stack()
    key = stack.key()
    required = ["X-Team", "x-trace", "X-Env: prod|dev-[0-9]+"]
    stack.admin.put("/api/config", {"client_config": {"required_headers": required}})
    refused = stack.eventually_refused(key, 400)
    assert denial(refused) == (400, "missing_required_headers")
    message = refused.json()["error"]["message"]
    assert "missing required headers: x-team, x-trace, x-env" in message
    body = json.dumps(chat_body()).encode()
    team, trace, env = (b"x-team", b"a"), (b"x-trace", b"b"), (b"x-env", b"prod")
    missing, invalid = "missing_required_headers", "invalid_required_headers"
    for headers, refusal in (
        ([team], missing),
        ([team, (b"x-trace", b""), env], missing),
        ([team, (b"x-trace", b" \t "), env], missing),
        ([team, trace, env, (b"X-Trace", b"")], missing),
        ([team, trace, (b"x-env", b"")], missing),
        ([team, trace, (b"x-env", b"test")], invalid),
        ([team, trace, (b"x-env", b"production")], invalid),
        ([team, trace, (b"x-env", b"PROD")], invalid),
        ([team, trace, (b"x-env", b"dev-")], invalid),
        ([team, trace, env, (b"x-env", b"test")], invalid),
        ([trace, (b"x-env", b"test")], missing),
        ([team, trace, env], None),
        ([(b"X-TEAM", b"a"), (b"X-trace", b"caf\xe9"), (b"X-ENV", b" dev-12 ")], None),
        ([team, trace, env, (b"x-env", b"dev-1")], None),
        ([team, (b"x-trace", b"b" * 32_768), env], None),
    ):
        credential = (b"x-bf-vk", key.value.encode())
        answer = raw.exchange(stack.port, raw.request(headers=[credential, *headers], body=body))
        assert answer.status == (400 if refusal else 200), headers
        assert answer.json().get("type") == refusal, headers
    assert stack.demo.requests() == 4
    # In the dialect of the caller, and before anybody is asked who they are.
    response = stack.caller().post(MESSAGES, {})
    assert denial(response, "anthropic") == (400, missing)
    response = stack.caller(**{"x-team": "a", "x-trace": "b", "x-env": "no"}).post(MESSAGES, {})
    assert denial(response, "anthropic") == (400, invalid)
    assert "x-env" in response.json()["error"]["message"]
