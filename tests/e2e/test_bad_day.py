"""Processes die, hang and lose each other. Nothing is free, nothing is charged twice, nothing opens.

The ledger is compared with what the demo provider says it served: sums of tokens, and the number
of records.
"""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

import raw
from demo import answer_text, count_tokens
from llm import CHAT, chat_body, denial, events
from stack import KeyInForce, Stack
from waiting import eventually, stays

MODEL = "gpt-4o"
# Until a lost stream is noticed and another context has taken the role: lease, then a tick.
TAKEOVER = 8.0


def records(stack: Stack, key: KeyInForce) -> int:
    path = f"/api/governance/usage/records?virtual_key_id={key.id}&limit=1"
    return stack.admin.get(path)["total_count"]


def assert_ledger_is_the_truth(stack: Stack, key: KeyInForce) -> None:
    """Each request that was served has one record, and the tokens are those that were served."""
    served = stack.demo.served(MODEL)
    usage = stack.admin.usage(key.id, served["requests"], within=15)
    assert sum(record.input_tokens for record in usage) == served["input_tokens"]
    assert sum(record.output_tokens for record in usage) == served["output_tokens"]
    assert not [record for record in usage if record.estimated]
    # What is sent again must not count again.
    stays(lambda: records(stack, key) == served["requests"], 1.5, "the number of records")


# ---- the control plane dies


def test_envoy_serves_without_its_control_plane_and_usage_arrives_afterwards_once(
    new_stack,
) -> None:
    stack = new_stack()
    key = stack.key(rate_limit={"request_max_limit": 30, "request_reset_duration": "1h"})
    blocked = stack.key(is_active=False)
    caller = stack.caller(key.value)
    assert [caller.chat(MODEL).status_code for _ in range(10)] == [200] * 10
    stack.control_plane.kill()
    # From its snapshot: what was allowed still is, what was not still is not, limits still count.
    assert [caller.chat(MODEL).status_code for _ in range(20)] == [200] * 20
    assert denial(caller.chat(MODEL)) == (429, "request_limited")
    assert stack.caller(blocked.value).chat(MODEL).status_code == 403
    assert stack.caller("sk-bf-unknown").chat(MODEL).status_code == 401
    stack.start_control_plane()
    assert_ledger_is_the_truth(stack, key)
    assert stack.demo.requests() == 30
    assert denial(caller.chat(MODEL)) == (429, "request_limited"), "nothing was forgotten"


def test_a_control_plane_killed_again_and_again_under_load_counts_everything_once(
    new_stack,
) -> None:
    stack = new_stack()
    key = stack.key()
    caller = stack.caller(key.value)
    enough = threading.Event()

    def load() -> None:
        while not enough.is_set():
            assert caller.chat(MODEL, max_tokens=50).status_code == 200

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load) for _ in range(4)]
        try:
            for _ in range(4):
                # Somewhere between receiving usage, writing it and acknowledging it.
                more = stack.demo.requests() + 20
                eventually(lambda: stack.demo.requests() >= more, 10, "some requests")
                stack.control_plane.kill()
                stack.start_control_plane()
        finally:
            enough.set()
        for finished in loads:
            finished.result()
    assert_ledger_is_the_truth(stack, key)


def test_a_control_plane_that_hangs_is_left_and_found_again(new_stack) -> None:
    """Its connections stay open; only silence tells."""
    stack = new_stack()
    key = stack.key()
    caller = stack.caller(key.value)
    stack.control_plane.suspend()
    for _ in range(10):
        assert caller.chat(MODEL).status_code == 200
    # Longer than either side's patience with a silent stream.
    stays(lambda: caller.chat(MODEL).status_code == 200, 6.5, "service")
    stack.control_plane.resume()
    assert_ledger_is_the_truth(stack, key)
    stack.admin.delete_key(key.id)
    eventually(lambda: caller.chat(MODEL).status_code == 401, TAKEOVER, "pushes after the pause")


def test_a_control_plane_stopped_in_order_ends_quickly_with_envoy_connected(new_stack) -> None:
    stack = new_stack()
    assert stack.control_plane.terminate(within=5) == 0
    assert stack.caller("sk-bf-unknown").chat(MODEL).status_code == 401


def test_envoy_that_starts_without_a_control_plane_refuses_until_policy_comes(new_stack) -> None:
    stack = new_stack()
    key = stack.key()
    stack.envoy.terminate()
    stack.control_plane.kill()
    stack.start_envoy_without_policy()
    for value in (key.value, None, "sk-bf-unknown"):
        refused = stack.caller(value).chat(MODEL)
        assert denial(refused) == (503, "policy_unavailable")
        assert refused.headers["retry-after"] == "1"
    assert stack.demo.requests() == 0
    stack.start_control_plane()
    stack.await_policy()
    assert stack.caller(key.value).chat(MODEL).status_code == 200
    assert stack.caller().chat(MODEL).status_code == 401


# ---- Envoy dies


def test_what_envoy_reported_is_kept_when_envoy_is_killed(new_stack) -> None:
    stack = new_stack()
    key = stack.key(
        rate_limit={"request_max_limit": 12, "request_reset_duration": "1h"},
        budget={"max_limit": 100, "reset_duration": "1M"},
    )
    caller = stack.caller(key.value)
    assert [caller.chat(MODEL).status_code for _ in range(7)] == [200] * 7
    stack.admin.usage(key.id, 7)
    stack.envoy.kill()
    stack.start_envoy()
    # The new process has no memory of its own: the control plane tells it what has been used.
    statuses = [caller.chat(MODEL).status_code for _ in range(8)]
    assert statuses == [200] * 5 + [429] * 3
    assert stack.demo.requests() == 12
    assert_ledger_is_the_truth(stack, key)
    budget = stack.admin.key(key.id)["budgets"][0]["current_usage"]
    assert budget == sum(record.record["cost"] for record in stack.admin.usage(key.id, 12))


# ---- a VM dies


@pytest.fixture
def fragile(new_stack) -> Stack:
    """A stack whose filter traps when a request tells it to."""
    stack = new_stack(filter_wasm="REEVE_FILTER_FAULT_WASM")
    stack.reloads_expected = True
    return stack


def trap(stack: Stack, key: KeyInForce, which: str) -> httpx.Response:
    return stack.caller(key.value, **{"x-fault-injection": which}).chat(MODEL)


def test_when_the_vm_of_the_stream_traps_another_takes_its_place(fragile: Stack) -> None:
    """Envoy never starts a trapped service again, and its stream stays open behind it."""
    stack = fragile
    key = stack.key()
    doomed = stack.key()
    caller = stack.caller(key.value)
    assert trap(stack, key, "trap-sync").status_code == 200, "requests don't notice"
    eventually(lambda: "trapped on request" in stack.envoy.text(), 3, "the trap")
    assert [caller.chat(MODEL).status_code for _ in range(10)] == [200] * 10
    # Usage goes up again, and policy comes down again, through the new holder.
    assert_ledger_is_the_truth(stack, key)
    stack.admin.delete_key(doomed.id)
    eventually(
        lambda: stack.caller(doomed.value).chat(MODEL).status_code == 401, TAKEOVER, "a push"
    )
    # A second time: the role moves between workers, too.
    trap(stack, key, "trap-sync")
    eventually(lambda: stack.envoy.text().count("trapped on request") >= 2, TAKEOVER, "the trap")
    assert_ledger_is_the_truth(stack, key)


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

    eventually(recovered, 3, "the reloaded VM")
    assert stack.vm_reloads() > 0, "what every other test asserts to be zero does count"
    assert "sk-bf-" not in refused.text
    statuses = [caller.chat(MODEL).status_code for _ in range(8)]
    assert statuses == [200] * 6 + [429] * 2, "the limit counts on where it was"
    assert stack.caller().chat(MODEL).status_code == 401
    assert_ledger_is_the_truth(stack, key)


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
    eventually(lambda: stack.caller(key.value).chat(MODEL).status_code == 200, 5, "recovery")


# ---- callers and providers that leave early


def test_a_caller_that_leaves_in_the_middle_of_a_stream_pays_for_what_was_sent(
    stack: Stack,
) -> None:
    key = stack.key()
    body = chat_body(MODEL, "Tell me a long story")
    caller = stack.caller(key.value)
    with caller.stream(body, x_demo_output_tokens="10000", x_demo_chunk_delay_ms="5") as response:
        arrived = 0
        for event in events(response):
            arrived += bool(event["choices"][0]["delta"].get("content"))
            if arrived == 20:
                break
    record = stack.admin.one_usage(key.id)
    assert (record.outcome, record.streamed, record.status) == ("downstream_disconnect", True, 200)
    assert record.estimated

    def stopped() -> bool:
        before = stack.demo.served(MODEL)["output_tokens"]
        time.sleep(0.1)
        return stack.demo.served(MODEL)["output_tokens"] == before

    eventually(stopped, 5, "the end of the provider's answer")
    served = stack.demo.served(MODEL)["output_tokens"]
    assert 20 <= record.output_tokens
    # The estimate covers what was on its way, and is no fantasy.
    assert record.output_tokens <= 2 * served + 20
    assert record.input_tokens >= count_tokens("Tell me a long story")
    price = stack.admin.price("openai", MODEL)
    assert record.cost == price.cost(uncached=record.input_tokens, output=record.output_tokens)


def test_a_caller_that_leaves_before_the_answer_pays_for_its_input(stack: Stack) -> None:
    key = stack.key()
    data = json.dumps(chat_body(MODEL)).encode()
    headers = [(b"x-bf-vk", key.value.encode()), (b"x-demo-delay-ms", b"60000")]
    with raw.Connection(stack.port) as connection:
        connection.send(raw.request(headers=headers, body=data))
        eventually(lambda: stack.demo.requests() == 1, 5, "the request at the provider")
    record = stack.admin.one_usage(key.id)
    assert (record.outcome, record.status, record.estimated) == (
        "downstream_disconnect",
        None,
        True,
    )
    assert record.input_tokens >= count_tokens("Hello")
    assert record.cost > 0


def test_a_provider_that_cuts_its_stream_is_paid_for_what_it_sent(stack: Stack) -> None:
    key = stack.key()
    caller = stack.caller(key.value)
    seen = 0
    with pytest.raises(httpx.RemoteProtocolError):
        with caller.stream(chat_body(MODEL), x_demo_fault="demo=cut:7") as response:
            for event in events(response):
                seen += bool(event["choices"][0]["delta"].get("content"))
    assert seen <= 7
    record = stack.admin.one_usage(key.id)
    assert (record.outcome, record.estimated, record.status) == ("upstream_reset", True, 200)
    assert 7 <= record.output_tokens <= 20
    assert record.cost > 0


def test_a_provider_that_cuts_its_answer_is_paid_at_least_for_the_input(stack: Stack) -> None:
    key = stack.key()
    with pytest.raises(httpx.RemoteProtocolError):
        stack.caller(key.value).chat(MODEL, x_demo_fault="demo=cut:3")
    record = stack.admin.one_usage(key.id)
    assert (record.outcome, record.estimated) == ("upstream_reset", True)
    assert record.cost > 0


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503, 529])
def test_an_error_of_the_provider_reaches_the_caller_and_costs_nothing(
    stack: Stack, status: int
) -> None:
    key = stack.key()
    response = stack.caller(key.value).chat(MODEL, x_demo_fault=f"demo={status}")
    assert response.status_code == status
    assert "x-demo-fault" in response.json()["error"]["message"]
    record = stack.admin.one_usage(key.id)
    assert (record.status, record.cost, record.outcome) == (status, 0, "complete")


def test_a_provider_that_closes_the_connection_is_503_and_frees_the_reservation(
    stack: Stack,
) -> None:
    """Room for one reservation at a time."""
    key = stack.key(budget={"max_limit": 0.012, "reset_duration": "1M"})
    caller = stack.caller(key.value)
    for _ in range(2):
        response = caller.chat(MODEL, max_tokens=1000, x_demo_fault="demo=close")
        assert response.status_code == 503
        assert response.json()["error"]["message"]
    assert caller.chat(MODEL, max_tokens=1000).status_code == 200


def test_a_provider_that_is_not_there_is_503_and_reaches_no_other(new_stack) -> None:
    stack = new_stack()
    key = stack.key()
    caller = stack.caller(key.value)
    stack.demo_process.kill()
    response = caller.chat(MODEL)
    assert response.status_code == 503
    assert response.json()["error"]["message"]
    stack.start_demo()
    eventually(lambda: caller.chat(MODEL).status_code == 200, 5, "the provider again")


def test_a_provider_that_hangs_blocks_nobody_else(stack: Stack) -> None:
    key = stack.key()
    caller = stack.caller(key.value)
    body = json.dumps(chat_body(MODEL)).encode()
    headers = [(b"x-bf-vk", key.value.encode()), (b"x-demo-fault", b"demo=hang")]
    hanging = [raw.Connection(stack.port) for _ in range(8)]
    try:
        for connection in hanging:
            connection.send(raw.request(headers=headers, body=body))
        eventually(lambda: stack.demo.requests() == 8, 5, "the hanging requests")
        for _ in range(4):
            assert caller.chat(MODEL).status_code == 200
    finally:
        for connection in hanging:
            connection.close()
    usage = stack.admin.usage(key.id, 12)
    left = [record for record in usage if record.outcome == "downstream_disconnect"]
    assert len(left) == 8
    assert all(record.estimated and record.cost > 0 for record in left)


def test_streams_in_flight_survive_changes_of_policy(stack: Stack) -> None:
    """A change holds for the next request; what was admitted is finished and charged."""
    key = stack.key()

    def stream() -> str:
        said = ""
        caller = stack.caller(key.value)
        with caller.stream(
            chat_body(MODEL), x_demo_output_tokens="60", x_demo_chunk_delay_ms="20"
        ) as response:
            assert response.status_code == 200
            for event in events(response):
                if event != "[DONE]":
                    said += event["choices"][0]["delta"].get("content") or ""
        return said

    with ThreadPoolExecutor(4) as pool:
        streams: list[Future[str]] = [pool.submit(stream) for _ in range(4)]
        eventually(lambda: stack.demo.served(MODEL)["requests"] == 4, 5, "the streams")
        stack.admin.delete_key(key.id)
        eventually(lambda: stack.caller(key.value).chat(MODEL).status_code == 401, 1, "the change")
        texts = [future.result() for future in streams]
    assert [count_tokens(text) for text in texts] == [60] * 4
    assert all(text.startswith(answer_text(MODEL, "Hello")) for text in texts)
    usage = stack.admin.usage(key.id, 4)
    assert sum(record.output_tokens for record in usage) == 240
