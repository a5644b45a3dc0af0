"""What a key's holder may know of its limits, through Envoy, with the key alone."""

from __future__ import annotations

import httpx

from admin import parse
from llm import chat_body
from money import nanos
from stack import Stack
from waiting import eventually

PATH = "/api/governance/virtual-keys/quota"
MODEL = "gpt-4o"


def quota(stack: Stack, value: str) -> dict:
    answer = httpx.get(stack.url + PATH, headers={"x-bf-vk": value}, trust_env=False)
    assert answer.status_code == 200, answer.text
    return parse(answer.text)


def test_a_key_sees_what_is_left_to_it_at_every_level(stack: Stack) -> None:
    mark = stack.unique("quota")
    budget = {"max_limit": 5, "reset_duration": "1M"}
    customer = stack.admin.create_customer(name=f"c-{mark}", budget=budget)
    team = stack.admin.create_team(name=f"t-{mark}", customer_id=customer["id"], budget=budget)
    key = stack.key(
        team_id=team["id"],
        budget=budget,
        rate_limit={"request_max_limit": 100, "request_reset_duration": "1h"},
        provider_configs=[{"provider": "openai", "allowed_models": ["*"], "budgets": [budget]}],
    )
    for _ in range(3):
        assert stack.caller(key.value).chat(MODEL, max_tokens=100).status_code == 200
    spent = sum(record.cost for record in stack.admin.usage(key.id, 3))
    assert spent > 0

    def told() -> bool:
        answer = quota(stack, key.value)
        (config,) = answer["provider_configs"]
        found = [*answer["budgets"], *config["budgets"]]
        sources = [budget["source"] for budget in answer["budgets"]]
        assert sources == ["customer", "team", "virtual_key"]
        for entry in found:
            usage = {name: nanos(entry["usage"][name]) for name in AMOUNTS}
            assert usage["limit"] == 5 * 10**9 and usage["used"] == spent
            committed = usage["used"] + usage["reserved"] + usage["suspense"]
            assert usage["remaining"] == usage["limit"] - committed
            assert usage["suspense"] == 0 and entry["usage"]["resets_at"]
        (requests,) = answer["rate_limits"]
        assert requests["request_usage"]["used"] == 3
        return True

    eventually(told, what="the quota to tell what was used")


AMOUNTS = ("limit", "used", "reserved", "suspense", "remaining")


def test_a_wrong_key_is_told_nothing(stack: Stack) -> None:
    key = stack.key()
    last = "a" if key.value[20] != "a" else "b"
    wrong = key.value[:20] + last + key.value[21:]
    for headers in ({}, {"x-bf-vk": wrong}, {"authorization": "Bearer sk-rv-admin-x"}):
        answer = httpx.get(stack.url + PATH, headers=headers, trust_env=False)
        assert answer.status_code == 401, answer.text
        assert "budgets" not in answer.text
    both = {"x-bf-vk": key.value, "x-api-key": wrong}
    assert httpx.get(stack.url + PATH, headers=both, trust_env=False).status_code == 400


def test_who_guesses_waits_whatever_address_it_claims_to_have(new_stack) -> None:
    """R-11."""
    stack = new_stack()
    key = stack.key()

    def ask(value: str, claim: str) -> int:
        headers = {"x-bf-vk": value, "x-forwarded-for": claim}
        return httpx.get(stack.url + PATH, headers=headers, trust_env=False).status_code

    # What is no key is no guess.
    assert {ask("of-a-client-that-is-set-up-wrong", "192.0.2.1") for _ in range(40)} == {401}
    assert ask(key.value, "192.0.2.1") == 200
    statuses = [ask(f"sk-bf-guess-{number}", f"192.0.2.{number}") for number in range(31)]
    assert statuses == [401] * 30 + [429]
    assert ask(key.value, "192.0.2.200") == 429


def test_a_key_that_is_out_of_budget_can_still_ask(stack: Stack) -> None:
    key = stack.key(budget={"max_limit": 0.001, "reset_duration": "1h"})
    body = chat_body(MODEL, max_tokens=10_000)
    assert stack.caller(key.value).post("/v1/chat/completions", body).status_code == 402
    (budget,) = quota(stack, key.value)["budgets"]
    assert nanos(budget["usage"]["used"]) == 0
