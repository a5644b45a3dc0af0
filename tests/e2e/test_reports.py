"""Cost reports: every grouping adds up to the ledger, and the ledger to what was served."""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Callable
from decimal import Decimal

import pytest

from money import nanos
from stack import KeyInForce, Stack
from waiting import eventually

MODELS = ("gpt-4o", "gpt-4o-mini")
DIMENSIONS = ("customer", "team", "virtual_key", "provider", "model", "day")
# Where a record of the ledger has what a report is grouped by.
FIELDS = {
    "customer": "customer_id",
    "team": "team_id",
    "virtual_key": "virtual_key_id",
    "provider": "provider",
    "model": "model",
}


@pytest.fixture
def own_stack(new_stack: Callable[..., Stack]) -> Stack:
    """A ledger that nobody else writes to."""
    return new_stack()


@pytest.fixture
def keys(own_stack: Stack) -> list[KeyInForce]:
    """Two teams of one customer with a key each, and a key of nobody."""
    stack = own_stack
    customer = stack.admin.create_customer(name="acme")
    teams = [stack.admin.create_team(name=name, customer_id=customer["id"]) for name in "ab"]
    keys = [stack.key(team_id=team["id"]) for team in teams]
    return [*keys, stack.key()]


def test_every_grouping_adds_up_to_the_ledger_and_to_what_was_served(
    own_stack: Stack, keys: list[KeyInForce]
) -> None:
    stack = own_stack
    stack.demo.reset()
    counts = {}
    for number, (key, model) in enumerate(itertools.product(keys, MODELS)):
        for _ in range(number + 1):
            answer = stack.caller(key.value).chat(
                model, max_tokens=200, x_demo_output_tokens=str(37 + number)
            )
            assert answer.status_code == 200
        counts[key.id] = counts.get(key.id, 0) + number + 1
    records = [record for id, count in counts.items() for record in stack.admin.usage(id, count)]

    # The demo provider's own count, priced apart from the product.
    for model in MODELS:
        price, served = stack.admin.price("openai", model), stack.demo.served(model)
        of_model = [record for record in records if record.model == model]
        assert served["requests"] == len(of_model)
        assert served["input_tokens"] == sum(record.input_tokens for record in of_model)
        assert served["output_tokens"] == sum(record.output_tokens for record in of_model)
        costs = [price.cost(uncached=r.input_tokens, output=r.output_tokens) for r in of_model]
        assert sum(record.cost for record in of_model) == sum(costs)

    whole = sum(record.cost for record in records)
    assert whole > 0
    for size in range(len(DIMENSIONS) + 1):
        for by in itertools.combinations(DIMENSIONS, size):
            query = f"?group_by={','.join(by)}" if by else ""
            report = stack.admin.get(f"/api/governance/usage{query}")
            assert nanos(report["total"]["cost"]) == whole, by
            assert sum(nanos(group["cost"]) for group in report["usage"]) == whole, by
            expected: Counter = Counter()
            for record in records:
                expected[group_of(record.record, by)] += record.cost
            found = {
                tuple(group[FIELDS.get(d, d)] for d in by): nanos(group["cost"])
                for group in report["usage"]
            }
            assert found == expected, by


def group_of(record: dict, by: tuple[str, ...]) -> tuple:
    value = {**{d: record[field] for d, field in FIELDS.items()}, "day": record["admitted_at"][:10]}
    return tuple(value[dimension] for dimension in by)


def test_a_spreadsheet_gets_the_same_sums(own_stack: Stack, keys: list[KeyInForce]) -> None:
    stack = own_stack
    for key in keys:
        assert stack.caller(key.value).chat("gpt-4o", max_tokens=10).status_code == 200
        stack.admin.one_usage(key.id)
    path = "/api/governance/usage?group_by=team,virtual_key"
    report = stack.admin.get(path)
    answer = stack.admin.request("GET", path, headers={"accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    of_csv = [(row["team_id"], row["team_name"], row["virtual_key_id"], row["cost"]) for row in rows]
    of_json = [
        (g["team_id"] or "", g["team_name"] or "", g["virtual_key_id"], str(g["cost"]))
        for g in report["usage"]
    ]
    assert len(rows) == 3
    assert [row[:3] for row in of_csv] == [row[:3] for row in of_json]
    assert [nanos_of(row[3]) for row in of_csv] == [nanos_of(row[3]) for row in of_json]


def nanos_of(text: str) -> int:
    return nanos(Decimal(text))


def test_what_a_killed_envoy_held_is_in_suspense_until_it_is_released(own_stack: Stack) -> None:
    stack = own_stack
    key = stack.key(budget={"max_limit": 5, "reset_duration": "1M"})
    assert stack.caller(key.value).chat("gpt-4o", max_tokens=1_000).status_code == 200
    cost = stack.admin.one_usage(key.id).cost

    def usage() -> dict[str, int]:
        (budget,) = stack.admin.key(key.id)["budgets"]
        shown = budget["usage"]
        return {name: nanos(shown[name]) for name in ("used", "reserved", "suspense", "remaining")}

    eventually(lambda: usage()["used"] == cost, what="the cost in the ledger")
    held = usage()["reserved"]
    assert held > 0 and usage()["suspense"] == 0
    (session,) = stack.admin.get("/api/governance/sessions")["sessions"]
    release = f"/api/governance/sessions/{session['session_id']}/release"
    assert stack.admin.request("POST", release, {}).status_code == 409

    stack.envoy.kill()
    eventually(lambda: usage()["suspense"] == held, 45, "what it held in suspense")
    assert usage()["reserved"] == 0 and usage()["used"] == cost
    assert stack.admin.post(release, {})["released"] > 0
    after = usage()
    assert after["suspense"] == 0 and after["remaining"] == 5 * 10**9 - cost
    # One that has come back holds what it is lent as if nothing had been.
    stack.start_envoy()
    assert stack.caller(key.value).chat("gpt-4o", max_tokens=1_000).status_code == 200
