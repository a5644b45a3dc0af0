"""`fail_open_capped`: how far Envoys go beyond what they hold while their control plane is away, and that all
of it is in the ledger when it is back. Bounds: docs/limits.md.
"""

from __future__ import annotations

from fleet import Fleet
from llm import Caller, denial
from money import nanos
from test_limits import MODEL, TOKENS, truth
from waiting import eventually

MAX = 32
PERCENT = 25
ALLOWANCE = 8


def until_unavailable(caller: Caller, **fields: object) -> int:
    """How many requests pass until it is said that the control plane is away."""
    for passed in range(1_000):
        response = caller.chat(MODEL, **fields)
        if response.status_code != 200:
            assert denial(response) == (503, "limits_unavailable")
            return passed
    raise AssertionError("there is no cap")


def allow(fleet: Fleet, when: str) -> None:
    config = {"when_unreachable": when, "emergency_allowance_percent": PERCENT}
    answer = fleet.stack.admin.put("/api/config", {"client_config": config})
    assert answer["client_config"]["when_unreachable"] == when


def test_without_a_control_plane_each_envoy_goes_as_far_as_its_allowance_and_no_further(
    new_stack,
) -> None:
    stack = new_stack()
    fleet = Fleet(stack, 2)
    allow(fleet, "fail_open_capped")
    limit = {"request_max_limit": MAX, "request_reset_duration": "1h"}
    key = fleet.key(rate_limit=limit)
    one, other = fleet.callers(key)
    assert [one.chat(MODEL).status_code for _ in range(MAX)] == [200] * MAX
    # It says no, and that is no silence.
    assert denial(one.chat(MODEL)) == (429, "request_limited")

    def all_counted() -> bool:
        usage = stack.admin.key(key.id)["rate_limit"]["request_usage"]
        assert (usage["used"], usage["max_overspend"]) == (MAX, 2 * ALLOWANCE)
        return True

    eventually(all_counted, what="what was used")
    stack.control_plane.kill()
    # What it said a moment ago still stands.
    eventually(lambda: one.chat(MODEL).status_code == 200, what="the allowance")
    assert until_unavailable(one) == ALLOWANCE - 1
    assert until_unavailable(other) == ALLOWANCE
    assert stack.demo.requests() == MAX + 2 * ALLOWANCE

    stack.start_control_plane()

    def told() -> bool:
        usage = stack.admin.key(key.id)["rate_limit"]["request_usage"]
        assert usage["used"] == MAX + 2 * ALLOWANCE
        return True

    eventually(told, what="what was used beyond the limit")
    for caller in (one, other):
        eventually(lambda c=caller: denial(c.chat(MODEL)) == (429, "request_limited"), what="a no")
    # A second time in the same window there is nothing left of it.
    stack.control_plane.kill()
    for caller in (one, other):
        eventually(lambda c=caller: denial(c.chat(MODEL))[0] == 503, what="nothing")
        assert until_unavailable(caller) == 0
    assert stack.demo.requests() == MAX + 2 * ALLOWANCE


def test_money_beyond_a_budget_is_charged_to_the_nano_dollar(new_stack) -> None:
    """And with `fail_closed`, the default, there is none."""
    stack = new_stack()
    fleet = Fleet(stack, 2)
    price = stack.admin.price("openai", MODEL)
    body = 90
    cost = price.cost(uncached=body, output=TOKENS)
    budget = {"max_limit": 20 * cost / 10**9, "reset_duration": "1M"}
    key = fleet.key(budget=budget)
    fields = {"max_tokens": TOKENS, "x_demo_output_tokens": str(TOKENS)}
    stack.control_plane.kill()
    held = [until_unavailable(caller, **fields) for caller in fleet.callers(key)]
    assert truth(stack, price) <= 20 * cost
    stack.start_control_plane()
    allow(fleet, "fail_open_capped")
    key = fleet.key(budget=budget)
    stack.control_plane.kill()
    alone = [until_unavailable(caller, **fields) for caller in fleet.callers(key)]
    assert all(more > before for more, before in zip(alone, held))
    allowance = 20 * cost * PERCENT // 100
    served = truth(stack, price)
    stack.start_control_plane()

    def counted() -> bool:
        (shown,) = stack.admin.key(key.id)["budgets"]
        records = stack.admin.records_of(key.id)
        used = nanos(shown["current_usage"])
        assert len(records) == sum(alone)
        assert used == sum(record.cost for record in records)
        assert used <= 20 * cost + 2 * allowance
        assert nanos(shown["usage"]["max_overspend"]) == 2 * allowance
        assert stack.demo.requests() == sum(held) + sum(alone)
        return True

    eventually(counted, what="all of it in the ledger")
    assert served == truth(stack, price)
