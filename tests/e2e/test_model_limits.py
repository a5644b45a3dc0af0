"""Limits of models and providers: whoever asks, and for one key."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from llm import denial
from money import nanos
from stack import Stack
from waiting import eventually

CONFIGS = "/api/governance/model-configs"
PROVIDER = "/api/governance/providers/openai"
ONE = {"request_max_limit": 1, "request_reset_duration": "1d"}


class Limits:
    """Made through the API, and gone after the test: they are about everyone."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.made: list[str] = []

    def create(self, **fields) -> dict:
        config = self.stack.admin.post(CONFIGS, fields)["model_config"]
        self.made.append(f"{CONFIGS}/{config['id']}")
        return config

    def provider(self, **fields) -> dict:
        self.made.append(PROVIDER)
        return self.stack.admin.put(PROVIDER, fields)["provider"]


@pytest.fixture
def limits(stack: Stack) -> Iterator[Limits]:
    limits = Limits(stack)
    yield limits
    for path in limits.made:
        stack.admin.delete(path)


def test_a_limit_of_a_model_is_shared_by_all_keys(stack: Stack, limits: Limits) -> None:
    keys = [stack.key() for _ in range(4)]
    config = limits.create(
        model_name="gpt-4o", rate_limit={"request_max_limit": 10, "request_reset_duration": "1d"}
    )
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda number: stack.caller(keys[number % 4].value).chat("gpt-4o"), range(40))
        )
    assert [answer.status_code for answer in answers].count(200) == 10
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert denial(refused) == (429, "request_limited")
    body = refused.json()
    assert (body["level"], body["owner_id"], body["limit"]) == ("model", config["id"], 10)
    # Another model is another matter.
    assert stack.caller(keys[0].value).chat("gpt-4o-mini").status_code == 200

    def counted() -> bool:
        shown = stack.admin.get(f"{CONFIGS}/{config['id']}")["model_config"]
        return shown["rate_limit"]["request_current_usage"] == 10

    eventually(counted, what="ten requests in the ledger")


def test_a_budget_of_a_provider_pays_for_everyone(stack: Stack, limits: Limits) -> None:
    key = stack.key()
    limits.provider(budget={"max_limit": 1_000, "reset_duration": "1M"})
    assert stack.caller(key.value).chat("gpt-4o").status_code == 200
    cost = stack.admin.one_usage(key.id).cost
    assert cost > 0

    def charged() -> bool:
        (budget,) = stack.admin.get(PROVIDER)["provider"]["budgets"]
        return nanos(budget["current_usage"]) == cost

    eventually(charged, what="the provider's budget is charged what the request cost")
    limits.provider(budget={"max_limit": 0, "reset_duration": "1d"})
    refused = stack.caller(key.value).chat("gpt-4o")
    assert denial(refused) == (402, "budget_exceeded")
    assert refused.json()["level"] == "provider"
    stack.admin.delete(PROVIDER)
    assert stack.caller(key.value).chat("gpt-4o").status_code == 200


def test_a_model_at_a_provider_can_be_limited_alone(stack: Stack, limits: Limits) -> None:
    key = stack.key()
    caller = stack.caller(key.value)
    limits.create(model_name="gpt-4o", provider="anthropic", rate_limit=ONE)
    assert [caller.chat("gpt-4o").status_code for _ in range(2)] == [200, 200]
    limits.create(model_name="gpt-4o", provider="openai", rate_limit=ONE)
    # Named by its provider or not, it is the same.
    statuses = [caller.chat(name).status_code for name in ("openai/gpt-4o", "gpt-4o")]
    assert statuses == [200, 429]


def test_a_limit_of_a_key_and_a_model_leaves_others_alone(stack: Stack, limits: Limits) -> None:
    key, other = stack.key(), stack.key()
    limits.create(model_name="gpt-4o", scope="virtual_key", scope_id=key.id, rate_limit=ONE)
    caller = stack.caller(key.value)
    assert caller.chat("gpt-4o").status_code == 200
    refused = caller.chat("gpt-4o")
    assert denial(refused) == (429, "request_limited")
    assert refused.json()["level"] == "virtual_key_model"
    assert caller.chat("gpt-4o-mini").status_code == 200
    assert stack.caller(other.value).chat("gpt-4o").status_code == 200


def test_what_a_model_config_used_stays_used_when_it_is_edited(
    stack: Stack, limits: Limits
) -> None:
    caller = stack.caller(stack.key().value)
    config = limits.create(model_name="gpt-4o", rate_limit=ONE)
    assert caller.chat("gpt-4o").status_code == 200
    two = {"rate_limits": [{"metric": "requests", "max_limit": 2, "reset_duration": "1d"}]}
    stack.admin.put(f"{CONFIGS}/{config['id']}", two)
    assert [caller.chat("gpt-4o").status_code for _ in range(2)] == [200, 429]


def test_nobody_is_too_anonymous_for_the_limit_of_a_provider(
    stack: Stack, limits: Limits
) -> None:
    limits.provider(rate_limit=ONE)
    stack.admin.enable_governance(False)
    try:
        answers = [stack.caller(None).chat("gpt-4o") for _ in range(2)]
    finally:
        stack.admin.enable_governance(True)
    assert [answer.status_code for answer in answers] == [200, 429]
