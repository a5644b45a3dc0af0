"""Rate limits and budgets: exact under load, at every level, and charged everywhere at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from llm import denial, events
from money import Price, nanos
from stack import KeyInForce, Stack
from waiting import eventually

MODEL = "gpt-4o"
# The most output of these requests, and what they ask for: exactly as much.
TOKENS = 1_000
LEVELS = ("customer", "team", "virtual_key", "provider_config")
AMPLE = {"max_limit": 1_000, "reset_duration": "1M"}


def spend(stack: Stack, key: KeyInForce, **options) -> httpx.Response:
    """A request that costs a little more than a cent."""
    return stack.caller(key.value).chat(
        MODEL, max_tokens=TOKENS, x_demo_output_tokens=str(TOKENS), **options
    )


def in_parallel(count: int, call) -> list[httpx.Response]:
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda _: call(), range(count)))


@pytest.fixture
def price(stack: Stack) -> Price:
    return stack.admin.price("openai", MODEL)


def truth(stack: Stack, price: Price) -> int:
    """What the demo provider served, in nano-dollars. (A multiple of a nano-dollar per token, so
    that rounding each exchange changes nothing.)"""
    assert price.input % 1_000_000 == 0 and price.output % 1_000_000 == 0
    served = stack.demo.served(MODEL)
    return price.cost(uncached=served["input_tokens"], output=served["output_tokens"])


class Family:
    """A customer, its team, the team's key and the key's provider config, each with a budget."""

    def __init__(self, stack: Stack, **tight: dict) -> None:
        self.stack = stack
        budget = {level: tight.get(level, AMPLE) for level in LEVELS}
        mark = stack.unique("family")
        self.customer = stack.admin.create_customer(name=mark, budget=budget["customer"])
        self.team = stack.admin.create_team(
            name=mark, customer_id=self.customer["id"], budget=budget["team"]
        )
        self.key = stack.key(
            name=mark,
            team_id=self.team["id"],
            budget=budget["virtual_key"],
            provider_configs=[
                {
                    "provider": "openai",
                    "allowed_models": ["*"],
                    "budget": budget["provider_config"],
                }
            ],
        )

    def used(self) -> dict[str, int]:
        """Nano-dollars charged to each level."""
        admin = self.stack.admin
        key = admin.key(self.key.id)
        owners = {
            "customer": admin.customer(self.customer["id"]),
            "team": admin.team(self.team["id"]),
            "virtual_key": key,
            "provider_config": key["provider_configs"][0],
        }
        return {
            level: sum(nanos(budget["current_usage"]) for budget in owner["budgets"])
            for level, owner in owners.items()
        }


def test_exactly_as_many_requests_as_the_limit_are_admitted_under_load(stack: Stack) -> None:
    """From many connections at once, so on both workers."""
    key = stack.key(rate_limit={"request_max_limit": 25, "request_reset_duration": "1h"})
    answers = in_parallel(80, lambda: stack.caller(key.value).chat())
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 25
    assert statuses.count(429) == 55
    assert stack.demo.requests() == 25
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert denial(refused) == (429, "request_limited")
    body = refused.json()
    assert (body["level"], body["limit"], body["unit"]) == ("virtual_key", 25, "requests")
    assert 0 < int(refused.headers["retry-after"]) <= 3600

    def counted() -> bool:
        return stack.admin.key(key.id)["rate_limit"]["request_current_usage"] == 25

    eventually(counted, 5, "25 requests in the ledger")


def test_a_budget_is_never_overspent_under_load(stack: Stack, price: Price) -> None:
    """Room for seven requests and a half."""
    one = price.cost(uncached=2, output=TOKENS)
    limit = one * 15 // 2
    dollars = f"{limit // 10**9}.{limit % 10**9:09d}"
    key = stack.key(budget={"max_limit": float(dollars), "reset_duration": "1M"})
    answers = in_parallel(40, lambda: spend(stack, key))
    admitted = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 402]
    assert len(admitted) + len(refused) == 40
    assert 1 <= len(admitted) <= 7
    stack.admin.usage(key.id, len(admitted))
    assert truth(stack, price) <= limit
    # A reservation is for the worst case and is given back: what is left is spent to the end.
    while spend(stack, key).status_code == 200:
        assert truth(stack, price) <= limit
    assert limit - truth(stack, price) < 2 * one
    records = stack.admin.usage(key.id, stack.demo.requests())
    assert sum(record.cost for record in records) == truth(stack, price)


@pytest.mark.parametrize("level", LEVELS)
def test_an_exhausted_budget_blocks_at_each_level(stack: Stack, price: Price, level: str) -> None:
    tight = {"max_limit": 0.025, "reset_duration": "1M"}
    family = Family(stack, **{level: tight})
    assert [spend(stack, family.key).status_code for _ in range(2)] == [200, 200]
    refused = spend(stack, family.key)
    assert denial(refused) == (402, "budget_exceeded")
    body = refused.json()
    assert (body["level"], body["limit"], body["unit"]) == (level, 25_000_000, "nano_usd")
    assert body["used"] == truth(stack, price)
    assert refused.headers["x-should-retry"] == "false"
    assert stack.demo.requests() == 2

    def charged() -> bool:
        used = family.used()
        assert used == dict.fromkeys(LEVELS, truth(stack, price)), "a refusal charges nobody"
        return True

    eventually(charged, 5, "the charges at every level")


def test_an_exhausted_team_blocks_all_of_its_keys_and_nobody_else(stack: Stack) -> None:
    mark = stack.unique("team")
    team = stack.admin.create_team(name=mark, budget={"max_limit": 0.015, "reset_duration": "1M"})
    first, second = stack.key(team_id=team["id"]), stack.key(team_id=team["id"])
    stranger = stack.key()
    assert spend(stack, first).status_code == 200
    assert denial(spend(stack, first)) == (402, "budget_exceeded")
    assert denial(spend(stack, second)) == (402, "budget_exceeded")
    assert spend(stack, stranger).status_code == 200


def test_every_level_is_charged_what_the_provider_served(stack: Stack, price: Price) -> None:
    """Whole answers and streams, from both workers, at the same time."""
    family = Family(stack)

    def stream() -> None:
        caller = stack.caller(family.key.value)
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me"}]}
        with caller.stream(body, x_demo_output_tokens="37") as response:
            assert list(events(response))[-1] == "[DONE]"

    with ThreadPoolExecutor(8) as pool:
        whole = [pool.submit(spend, stack, family.key) for _ in range(12)]
        streamed = [pool.submit(stream) for _ in range(12)]
        assert [call.result().status_code for call in whole] == [200] * 12
        for call in streamed:
            call.result()
    records = stack.admin.usage(family.key.id, 24)
    served = stack.demo.served(MODEL)
    assert served["requests"] == 24
    assert served["output_tokens"] == 12 * TOKENS + 12 * 37
    assert sum(record.input_tokens for record in records) == served["input_tokens"]
    assert sum(record.output_tokens for record in records) == served["output_tokens"]
    assert sum(record.cost for record in records) == truth(stack, price)
    assert family.used() == dict.fromkeys(LEVELS, truth(stack, price))


def test_a_request_that_is_refused_takes_nothing_from_any_limit(stack: Stack) -> None:
    """The request limit has room for one; what a full budget refuses must not take it."""
    key = stack.key(
        rate_limit={"request_max_limit": 1, "request_reset_duration": "1h"},
        provider_configs=[
            {
                "provider": "openai",
                "allowed_models": ["*"],
                "budget": {"max_limit": 0.005, "reset_duration": "1M"},
            }
        ],
    )
    for _ in range(3):
        assert denial(spend(stack, key)) == (402, "budget_exceeded")
    caller = stack.caller(key.value)
    assert caller.chat("gpt-unheard-of").status_code == 402
    assert caller.post("/v1/chat/completions", {}).status_code == 400
    assert caller.chat(MODEL, max_tokens=10).status_code == 200
    assert denial(caller.chat(MODEL, max_tokens=10)) == (429, "request_limited")


def test_an_error_of_the_provider_costs_nothing_and_frees_the_reservation(stack: Stack) -> None:
    """Room for one request at a time: a reservation that stays would block the next."""
    key = stack.key(budget={"max_limit": 0.012, "reset_duration": "1M"})
    for _ in range(3):
        assert spend(stack, key, x_demo_fault="demo=503").status_code == 503
    assert spend(stack, key).status_code == 200
    assert denial(spend(stack, key)) == (402, "budget_exceeded")
    *failed, served = stack.admin.usage(key.id, 4)
    assert [(record.status, record.cost) for record in failed] == [(503, 0)] * 3
    assert served.cost > 0


def test_a_limit_starts_afresh_when_its_window_is_over(stack: Stack) -> None:
    key = stack.key(rate_limit={"request_max_limit": 1, "request_reset_duration": "1s"})
    caller = stack.caller(key.value)
    # Three requests in a row meet two windows at most.
    statuses = [caller.chat().status_code for _ in range(3)]
    assert 429 in statuses and 200 in statuses, statuses
    eventually(lambda: caller.chat().status_code == 200, 2.5, "room in the next window")


def test_a_budget_starts_afresh_when_its_window_is_over(stack: Stack) -> None:
    key = stack.key(budget={"max_limit": 0.015, "reset_duration": "2s"})
    statuses = [spend(stack, key).status_code for _ in range(4)]
    assert 402 in statuses and 200 in statuses, statuses
    eventually(lambda: spend(stack, key).status_code == 200, 4, "room in the next window")


def test_a_token_limit_is_charged_what_was_used_and_then_blocks(stack: Stack) -> None:
    key = stack.key(rate_limit={"token_max_limit": 1_500, "token_reset_duration": "1h"})
    assert spend(stack, key).status_code == 200
    assert spend(stack, key).status_code == 200
    assert denial(spend(stack, key)) == (429, "token_limited")
    served = stack.demo.served(MODEL)

    def counted() -> bool:
        used = stack.admin.key(key.id)["rate_limit"]["token_current_usage"]
        return used == served["input_tokens"] + served["output_tokens"]

    eventually(counted, 5, "the tokens in the ledger")


def test_raising_a_budget_lets_requests_through_and_forgets_no_usage(
    stack: Stack, price: Price
) -> None:
    key = stack.key(budget={"max_limit": 0.015, "reset_duration": "1M"})
    assert spend(stack, key).status_code == 200
    assert spend(stack, key).status_code == 402
    stack.admin.usage(key.id, 1)
    raised = {"max_limit": 0.025, "reset_duration": "1M"}
    stack.admin.update_key(key.id, budget=raised)
    eventually(lambda: spend(stack, key).status_code == 200, 1, "room under the raised budget")
    refused = spend(stack, key)
    assert denial(refused) == (402, "budget_exceeded")
    assert refused.json()["used"] == truth(stack, price)
