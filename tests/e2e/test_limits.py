"""Rate limits and budgets: exact under load, at every level, and charged everywhere at once.

Rows R-40, R-41, R-50 and R-52 of the red team, as far as one Envoy goes.
"""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import raw
from llm import chat_body, denial, events
from money import Price, nanos
from stack import KeyInForce, Stack
from waiting import eventually

MODEL = "gpt-4o"
# The most output of these requests, and what they ask for: exactly as much.
TOKENS = 1_000
# Requests at one time, where a test has many.
PARALLEL = 16
LEVELS = ("customer", "team", "virtual_key", "provider_config")
AMPLE = {"max_limit": 1_000, "reset_duration": "1M"}


def spend(stack: Stack, key: KeyInForce, **options) -> httpx.Response:
    """A request that costs a little more than a cent."""
    return stack.caller(key.value).chat(
        MODEL, max_tokens=TOKENS, x_demo_output_tokens=str(TOKENS), **options
    )


def in_parallel(count: int, call) -> list[httpx.Response]:
    with ThreadPoolExecutor(PARALLEL) as pool:
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
    """R-40, R-41: from many connections at once, so on both workers, and with a fresh key."""
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

    eventually(counted, what="25 requests in the ledger")


def test_a_budget_is_never_overspent_under_load(stack: Stack, price: Price) -> None:
    """R-40, R-41: room for seven requests and a half."""
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
def test_the_first_500_requests_of_a_family_get_no_more_than_its_budget(
    stack: Stack, price: Price, level: str
) -> None:
    """R-40, R-41. All at once, none of them the first to be counted; there is room for ten."""
    body = json.dumps(chat_body(MODEL, max_tokens=TOKENS)).encode()
    room = 10 * price.cost(uncached=len(body), output=TOKENS)
    limit = {"max_limit": room / 10**9, "reset_duration": "1M"}
    family = Family(stack, **{level: limit})
    headers = [
        (b"x-bf-vk", family.key.value.encode()),
        (b"x-demo-output-tokens", b"%d" % TOKENS),
        # Until all of them are there.
        (b"x-demo-delay-ms", b"1000"),
    ]
    request = raw.request(headers=headers, body=body)
    answers = raw.exchange_at_once(stack.port, request, 500)
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) == {200, 402}
    assert 9 <= statuses[200] == stack.demo.requests() <= 10
    # What two workers held a part of each, so that neither could use it, is there for the next.
    for _ in range(10 - statuses[200]):
        assert raw.exchange(stack.port, request).status == 200
    assert raw.exchange(stack.port, request).status == 402
    assert stack.demo.requests() == 10
    assert sum(r.cost for r in stack.admin.usage(family.key.id, 10)) == truth(stack, price) <= room


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

    eventually(charged, what="the charges at every level")


def test_an_exhausted_team_blocks_all_of_its_keys_and_nobody_else(stack: Stack) -> None:
    """R-50."""
    mark = stack.unique("team")
    team = stack.admin.create_team(name=mark, budget={"max_limit": 0.015, "reset_duration": "1M"})
    first, second = stack.key(team_id=team["id"]), stack.key(team_id=team["id"])
    stranger = stack.key()
    assert spend(stack, first).status_code == 200
    assert denial(spend(stack, first)) == (402, "budget_exceeded")
    assert denial(spend(stack, second)) == (402, "budget_exceeded")
    assert spend(stack, stranger).status_code == 200


def test_a_new_key_or_another_team_is_no_new_budget(stack: Stack) -> None:
    """R-50. What was spent is the team's, whatever becomes of its keys."""
    budget = {"max_limit": 0.015, "reset_duration": "1M"}
    mark = stack.unique("team")
    team = stack.admin.create_team(name=mark, budget=budget)
    other = stack.admin.create_team(name=f"{mark}-other")
    key = stack.key(name=mark, team_id=team["id"])
    assert spend(stack, key).status_code == 200
    assert denial(spend(stack, key)) == (402, "budget_exceeded")
    # Away, and back again.
    stack.admin.update_key(key.id, team_id=other["id"])
    assert spend(stack, key).status_code == 200, "the other team has no limit"
    stack.admin.update_key(key.id, team_id=team["id"])
    assert denial(spend(stack, key)) == (402, "budget_exceeded")
    # Deleted, and made anew with the same name.
    stack.admin.delete_key(key.id)
    again = stack.key(name=mark, team_id=team["id"])
    assert denial(spend(stack, again)) == (402, "budget_exceeded")
    # Rotated.
    path = f"/api/governance/virtual-keys/{again.id}/rotate"
    rotated = stack.admin.post(path, {})["virtual_key"]
    assert denial(stack.caller(rotated["value"]).chat(MODEL)) == (402, "budget_exceeded")


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
    key = stack.key(rate_limit={"request_max_limit": 1, "request_reset_duration": "4s"})
    caller = stack.caller(key.value)
    # Three requests in a row meet two windows at most.
    statuses = [caller.chat().status_code for _ in range(3)]
    assert 429 in statuses and 200 in statuses, statuses
    eventually(lambda: caller.chat().status_code == 200, what="room in the next window")


def test_a_budget_starts_afresh_when_its_window_is_over(stack: Stack) -> None:
    key = stack.key(budget={"max_limit": 0.015, "reset_duration": "5s"})
    statuses = [spend(stack, key).status_code for _ in range(4)]
    assert 402 in statuses and 200 in statuses, statuses
    eventually(lambda: spend(stack, key).status_code == 200, what="room in the next window")


def test_a_token_limit_is_charged_what_was_used_and_then_blocks(stack: Stack) -> None:
    key = stack.key(rate_limit={"token_max_limit": 1_500, "token_reset_duration": "1h"})
    assert spend(stack, key).status_code == 200
    assert spend(stack, key).status_code == 200
    assert denial(spend(stack, key)) == (429, "token_limited")
    served = stack.demo.served(MODEL)

    def counted() -> bool:
        used = stack.admin.key(key.id)["rate_limit"]["token_current_usage"]
        return used == served["input_tokens"] + served["output_tokens"]

    eventually(counted, what="the tokens in the ledger")


def test_raising_a_budget_lets_requests_through_and_forgets_no_usage(
    stack: Stack, price: Price
) -> None:
    key = stack.key(budget={"max_limit": 0.015, "reset_duration": "1M"})
    assert spend(stack, key).status_code == 200
    assert spend(stack, key).status_code == 402
    stack.admin.usage(key.id, 1)
    raised = {"max_limit": 0.025, "reset_duration": "1M"}
    stack.admin.update_key(key.id, budget=raised)
    eventually(lambda: spend(stack, key).status_code == 200, what="room under the raised budget")
    refused = spend(stack, key)
    assert denial(refused) == (402, "budget_exceeded")
    assert refused.json()["used"] == truth(stack, price)


def test_amounts_at_the_edge_of_what_can_be_counted_neither_wrap_nor_pass_for_nothing(
    stack: Stack,
) -> None:
    """R-52, R-44."""
    # The largest budget there is, in nano-dollars just below 2^63.
    rich = stack.key(budget={"max_limit": 9_000_000_000, "reset_duration": "1M"})
    assert stack.caller(rich.value).chat(MODEL).status_code == 200
    poor = stack.key(budget={"max_limit": 0.000001, "reset_duration": "1M"})
    for fields in (
        {"max_tokens": 2**31},
        {"max_tokens": 2**63 - 1},
        {"max_tokens": 2**63},
        {"max_tokens": 2**64},
        {"max_tokens": 10**30},
        {"max_tokens": 16_384, "n": 128},
        {"max_completion_tokens": 2**63 - 1, "n": 128},
        {"n": 2**32},
        {"n": 2**64 + 1},
    ):
        assert stack.caller(poor.value).chat(MODEL, **fields).status_code in (400, 402), fields
    assert stack.demo.requests() == 1
    assert stack.admin.usage(poor.id, 0) == []


def test_an_exchange_costs_what_was_in_force_when_it_began(stack: Stack) -> None:
    """R-52. And a model whose price is nothing costs nothing."""
    model = stack.unique("model")
    priced = {"input_cost_per_million_tokens": 1, "output_cost_per_million_tokens": 1_000}
    stack.admin.post("/api/models", {"provider": "openai", "model": model, **priced})
    key = stack.key()
    caller = stack.caller(key.value)
    with caller.stream(
        chat_body(model), x_demo_output_tokens="100", x_demo_chunk_delay_ms="5"
    ) as response:
        assert response.status_code == 200
        free = dict.fromkeys(priced, 0)
        stack.admin.put(f"/api/models/openai/{model}", free)
        assert list(events(response))[-1] == "[DONE]"
    assert caller.chat(model).status_code == 200
    before, after = stack.admin.usage(key.id, 2)
    assert before.cost == 2 * 1_000 + 100 * 1_000_000
    assert (after.cost, after.estimated) == (0, False)
    stack.admin.delete(f"/api/models/openai/{model}")


def test_an_override_admits_what_is_larger_than_the_configured_limit(stack: Stack) -> None:
    key = stack.key(budget={"max_limit": 0.005, "reset_duration": "1M"})
    (budget,) = key.made["budgets"]
    path = f"/api/governance/virtual-keys/{key.id}/budgets/{budget['id']}/override"
    assert denial(spend(stack, key)) == (402, "budget_exceeded")
    told = stack.admin.put(path, {"amount": 0.02, "mode": "forever"})
    assert nanos(told["effective_max_limit"]) == nanos(told["budget"]["usage"]["limit"]) == 25_000_000
    # The override is in force in Envoy when it is answered.
    served = spend(stack, key)
    assert (served.status_code, served.headers["x-reeve-budget-limit"]) == (200, "0.025")
    assert spend(stack, key).status_code == 200
    refused = spend(stack, key)
    assert (denial(refused), refused.json()["limit"]) == ((402, "budget_exceeded"), 25_000_000)
    stack.admin.delete(path)
    refused = spend(stack, key)
    assert (denial(refused), refused.json()["limit"]) == ((402, "budget_exceeded"), 5_000_000)
    assert stack.demo.requests() == 2


def test_an_override_for_one_window_lapses_when_that_is_over(stack: Stack) -> None:
    key = stack.key(rate_limit={"request_max_limit": 1, "request_reset_duration": "10s"})
    (limit,) = stack.admin.key(key.id)["rate_limits"]
    path = f"/api/governance/limits/{limit['id']}/override"
    caller = stack.caller(key.value)

    def statuses() -> list[int]:
        return [caller.chat(MODEL).status_code for _ in range(4)]

    def at_the_start_of_a_window() -> str:
        eventually(lambda: caller.chat(MODEL).status_code == 429, what="the end of the limit")
        eventually(lambda: caller.chat(MODEL).status_code == 200, what="a new window")
        return stack.admin.key(key.id)["rate_limits"][0]["last_reset"]

    window = at_the_start_of_a_window()
    stack.admin.put(path, {"amount": 2, "mode": "cycles", "cycles": 1})
    assert statuses() == [200, 200, 429, 429]
    assert at_the_start_of_a_window() > window
    assert statuses() == [429] * 4
    (limit,) = stack.admin.key(key.id)["rate_limits"]
    assert (limit["usage"]["limit"], limit["override_mode"]) == (1, None)


def test_a_top_up_and_a_reset_let_requests_through_and_leave_what_was_used(
    stack: Stack, price: Price
) -> None:
    key = stack.key(budget={"max_limit": 0.025, "reset_duration": "1M"})
    (budget,) = key.made["budgets"]
    path = f"/api/governance/limits/{budget['id']}"
    assert [spend(stack, key).status_code for _ in range(3)] == [200, 200, 402]
    stack.admin.usage(key.id, 2)
    # A worker remembers for a moment that there was nothing.
    stack.admin.post(f"{path}/top-up", {"amount": 0.01})
    eventually(lambda: spend(stack, key).status_code == 200, what="what was added")
    assert denial(spend(stack, key)) == (402, "budget_exceeded")
    stack.admin.usage(key.id, 3)
    stack.admin.post(f"{path}/reset", {})
    eventually(lambda: spend(stack, key).status_code == 200, what="what was forgiven")
    records = stack.admin.usage(key.id, 4)
    (budget,) = stack.admin.key(key.id)["budgets"]
    assert nanos(budget["current_usage"]) == sum(record.cost for record in records)
    assert nanos(budget["current_usage"]) == truth(stack, price)
