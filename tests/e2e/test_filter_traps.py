"""VMs of the filter that die: nothing passes unjudged, nothing is free, nothing stays reserved.

Row R-47 of the red team. The module is the one with faults built in: it traps where a request says
so, as a bug would that an attacker has found.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import ledger
import raw
from admin import Usage
from llm import CHAT, chat_body, denial
from money import nanos
from stack import KeyInForce, Stack
from waiting import eventually, stays

MODEL = "gpt-4o"
# Until a VM without a heartbeat is taken for dead, and what it had in flight is reported.
BURIAL = 15.0


@pytest.fixture
def fragile(new_stack) -> Stack:
    """A stack whose filter traps when a request tells it to."""
    stack = new_stack(filter_wasm="REEVE_FILTER_FAULT_WASM")
    stack.reloads_expected = True
    return stack


def trap(stack: Stack, key: KeyInForce, which: str) -> httpx.Response:
    return stack.caller(key.value, **{"x-fault-injection": which}).chat(MODEL)


def trap_each_worker(stack: Stack, key: KeyInForce) -> None:
    headers = [(b"x-bf-vk", key.value.encode()), (b"x-fault-injection", b"trap")]
    body = json.dumps(chat_body(MODEL)).encode()
    answers = raw.exchange_at_once(stack.port, raw.request(headers=headers, body=body))
    assert all(answer is None or answer.status == 503 for answer in answers)


def serves_again(stack: Stack, key: KeyInForce) -> bool:
    """Every worker sends a request on, for which another plugin of its VM has to be there again."""
    headers = [(b"x-bf-vk", key.value.encode())]
    request = raw.request(headers=headers, body=json.dumps(chat_body(MODEL)).encode())
    answers = raw.exchange_at_once(stack.port, request)
    return {answer and answer.status for answer in answers} == {200}


def judges_again(stack: Stack, key: KeyInForce) -> bool:
    """Every worker says 400 to a body that is wrong, 401 to whoever has no key."""
    wrong = raw.request(headers=[(b"x-bf-vk", key.value.encode())], body=b"{}")
    unknown = raw.request(body=b"{}")
    for data, status in ((wrong, 400), (unknown, 401)):
        answers = raw.exchange_at_once(stack.port, data)
        assert {answer and answer.status for answer in answers} == {status}
    return True


def assert_little_is_stranded(
    stack: Stack, spender: KeyInForce, records: list[Usage], traps: int
) -> None:
    """What counts against the budget is what the records say, and what trapped VMs held ready: each at
    most a block of 16 requests (docs/limits.md).

    `spender` has a budget that is just enough for one such request, were nothing used of it.
    """

    def told() -> bool:
        refused = stack.caller(spender.value).chat(MODEL, max_tokens=16_384, n=122)
        assert denial(refused) == (402, "budget_exceeded")
        body = refused.json()
        charged = sum(record.cost for record in records)
        assert body["used"] - body["reserved"] == charged
        assert body["reserved"] <= traps * 16 * max(record.cost for record in records)
        return True

    eventually(told, what="what is stranded")


def test_when_the_vm_of_the_stream_traps_another_takes_its_place(fragile: Stack) -> None:
    """Envoy never starts a trapped service again, and its stream stays open behind it."""
    stack = fragile
    key = stack.key()
    doomed = stack.key()
    caller = stack.caller(key.value)
    assert trap(stack, key, "trap-sync").status_code == 200, "requests don't notice"
    eventually(lambda: "trapped on request" in stack.envoy.text(), what="the trap")
    assert [caller.chat(MODEL).status_code for _ in range(10)] == [200] * 10
    # Usage goes up again, and policy comes down again, through the new holder.
    ledger.assert_is_the_truth(stack, key, MODEL)
    stack.admin.delete_key(doomed.id)
    eventually(lambda: stack.caller(doomed.value).chat(MODEL).status_code == 401, what="a push")
    # A second time: the role moves between workers, too. Asked by a request that is refused, as one that is
    # on its way in the worker that traps would be charged by estimate.
    assert stack.caller(**{"x-fault-injection": "trap-sync"}).chat(MODEL).status_code == 401
    eventually(lambda: stack.envoy.text().count("trapped on request") >= 2, what="the trap")
    ledger.assert_is_the_truth(stack, key, MODEL)


def test_a_trap_in_a_worker_refuses_that_request_and_spares_the_next(fragile: Stack) -> None:
    """The policy and the counters are in shared data; the new VM finds them there."""
    stack = fragile
    key = stack.key(rate_limit={"request_max_limit": 10, "request_reset_duration": "1h"})
    caller = stack.caller(key.value)
    assert [caller.chat(MODEL).status_code for _ in range(4)] == [200] * 4
    served = stack.demo.requests()
    refused = trap(stack, key, "trap")
    assert refused.status_code == 503
    assert stack.demo.requests() == served, "a request that nobody judged reaches nobody"

    def recovered() -> bool:
        return all(stack.caller(key.value).post(CHAT, {}).status_code == 400 for _ in range(4))

    eventually(recovered, what="the reloaded VM")
    assert stack.vm_reloads() > 0, "what every other test asserts to be zero does count"
    assert "sk-bf-" not in refused.text
    statuses = [caller.chat(MODEL).status_code for _ in range(8)]
    assert statuses == [200] * 6 + [429] * 2, "the limit counts on where it was"
    assert stack.caller().chat(MODEL).status_code == 401
    ledger.assert_is_the_truth(stack, key, MODEL)


def test_a_worker_that_keeps_trapping_never_lets_a_request_through_unjudged(
    fragile: Stack,
) -> None:
    stack = fragile
    key = stack.key()
    stack.demo.reset()
    for _ in range(10):
        assert trap(stack, key, "trap").status_code == 503
        # Whatever state the VM is in: without a key there is no way.
        assert stack.caller().chat(MODEL).status_code in (401, 503)
    assert stack.demo.requests() == 0
    eventually(lambda: stack.caller(key.value).chat(MODEL).status_code == 200, what="recovery")


# ---- what the dead VM had in flight


def test_streams_in_flight_are_charged_when_their_vm_traps(fragile: Stack) -> None:
    """R-47. Crashing the filter is no way to an answer for free; and the next one is governed."""
    stack = fragile
    key = stack.key(budget={"max_limit": 20, "reset_duration": "1M"})
    headers = [
        (b"x-bf-vk", key.value.encode()),
        (b"x-demo-output-tokens", b"10000"),
        (b"x-demo-chunk-delay-ms", b"5"),
    ]
    body = json.dumps(chat_body(MODEL, max_tokens=10_000, stream=True)).encode()
    streams = [raw.Connection(stack.port) for _ in range(6)]
    for stream in streams:
        stream.send(raw.request(headers=headers, body=body))
        assert stream.read_head().status == 200
    eventually(lambda: stack.demo.served(MODEL)["output_tokens"] >= 60, what="something to pay for")
    trap_each_worker(stack, key)
    for stream in streams:
        while stream.read_some():
            pass
        stream.close()
    eventually(lambda: judges_again(stack, key), what="the reloaded VMs")
    served = stack.demo.served(MODEL)
    assert served["requests"] == 6

    records = stack.admin.usage(key.id, 6)
    assert {record.outcome for record in records} == {"filter_trap"}
    assert all(record.estimated for record in records)
    # Nobody knows how much of it was seen: the most that it can have cost, which was reserved.
    price = stack.admin.price("openai", MODEL)
    most = price.cost(uncached=len(body), output=10_000)
    least = price.cost(uncached=2, output=10_000)
    assert all(least <= record.cost <= most for record in records)
    truth = price.cost(uncached=served["input_tokens"], output=served["output_tokens"])
    assert sum(record.cost for record in records) >= truth
    assert_little_is_stranded(stack, key, records, traps=2)
    # Once.
    stays(lambda: len(stack.admin.usage(key.id, 6)) == 6, 1.5, "the number of records")


def test_a_request_that_traps_its_own_vm_on_its_way_is_charged(fragile: Stack) -> None:
    """R-47. Before it leaves, when its answer comes, and when that has been passed on."""
    stack = fragile
    key = stack.key(budget={"max_limit": 20, "reset_duration": "1M"})
    others = stack.key()
    # What the caller gets, and what the provider; behind the trap nothing is sent on.
    for place, status, reached in (
        ("trap-attempt", 503, 0),
        ("trap-answer", 503, 1),
        ("trap-end", 200, 1),
    ):
        before = stack.demo.requests()
        assert trap(stack, key, place).status_code == status, place
        assert stack.demo.requests() - before == reached, place
        eventually(lambda: serves_again(stack, others), what="the reloaded VM")
    records = stack.admin.usage(key.id, 3)
    assert {record.outcome for record in records} == {"filter_trap"}
    assert all(record.estimated and record.cost > 0 for record in records)
    assert_little_is_stranded(stack, key, records, traps=3)


def test_traps_again_and_again_under_load_lose_and_leak_nothing(fragile: Stack) -> None:
    """R-47. Workers, and the holder of the stream too, while requests come from all sides."""
    stack = fragile
    budget = {"max_limit": 20, "reset_duration": "1M"}
    team = stack.admin.create_team(name=stack.unique("team"), budget=budget)
    limit = {"request_max_limit": 900, "request_reset_duration": "1h"}
    key = stack.key(team_id=team["id"], rate_limit=limit)
    spender = stack.key(team_id=team["id"])
    caller = stack.caller(key.value)
    full = threading.Event()

    def load() -> None:
        while not full.is_set():
            try:
                status = caller.chat(MODEL, max_tokens=10).status_code
            except httpx.TransportError:
                # Its stream was cut.
                continue
            assert status in (200, 429, 503)
            if status == 429:
                full.set()

    with ThreadPoolExecutor(6) as pool:
        loads = [pool.submit(load) for _ in range(6)]
        try:
            for number in range(5):
                more = stack.demo.requests() + 15
                eventually(lambda more=more: stack.demo.requests() >= more, what="some requests")
                if number == 2:
                    stack.caller(spender.value, **{"x-fault-injection": "trap-sync"}).post(CHAT, {})
                trap_each_worker(stack, spender)
                # A VM that dies at once again is not what is meant here.
                eventually(lambda: judges_again(stack, spender), what="the reloaded VMs")
            eventually(full.is_set, what="the limit")
        finally:
            full.set()
        for finished in loads:
            finished.result()
    # As many as the limit admits have been admitted, but for what the trapped VMs held; each has its record,
    # whether it was served, cut off or never sent.

    def recorded() -> int:
        refused = caller.chat(MODEL, max_tokens=10)
        assert denial(refused) == (429, "request_limited")
        stranded = refused.json()["reserved"]
        assert stranded <= 11 * 16
        assert ledger.records(stack, key) == 900 - stranded
        return 900 - stranded

    # What a trapped VM had on its way is recorded when it has been silent for long enough.
    stays(lambda: ledger.records(stack, key) <= 900, BURIAL, "the limit")
    count = eventually(recorded, what="a record of each request")
    records = stack.admin.usage(key.id, count)
    outcomes = {record.outcome for record in records}
    assert outcomes <= {"complete", "filter_trap", "downstream_disconnect", "upstream_reset"}
    served = [record for record in records if (record.outcome, record.status) == ("complete", 200)]
    assert 75 < len(served) <= stack.demo.requests() <= 900
    assert_little_is_stranded(stack, spender, records, traps=11)
    (charged,) = stack.admin.team(team["id"])["budgets"]
    assert nanos(charged["current_usage"]) == sum(record.cost for record in records)
