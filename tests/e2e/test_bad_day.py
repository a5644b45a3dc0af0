"""Processes die, hang and lose each other. Nothing is free, nothing is charged twice, nothing opens.

The ledger is compared with what the demo provider says it served: sums of tokens, and the number
of records.
"""

from __future__ import annotations

import json
import os
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

import kills
import ledger
import raw
from demo import answer_text, count_tokens
from llm import chat_body, denial, events
from report import report
from stack import Stack
from test_limits import LEVELS, Family, truth
from waiting import eventually, stays

MODEL = "gpt-4o"
# `make bench` takes 200.
KILLS = int(os.environ.get("REEVE_KILLS", "5"))


# ---- the control plane dies


def test_envoy_serves_without_its_control_plane_from_what_it_holds_and_usage_arrives_once(
    new_stack,
) -> None:
    stack = new_stack()
    ample = stack.key(rate_limit={"request_max_limit": 3_000, "request_reset_duration": "1h"})
    scarce = stack.key(rate_limit={"request_max_limit": 30, "request_reset_duration": "1h"})
    blocked = stack.key(is_active=False)
    callers = [stack.caller(key.value) for key in (ample, scarce)]
    for caller in callers:
        assert [caller.chat(MODEL).status_code for _ in range(10)] == [200] * 10
    stack.control_plane.kill()
    # From its snapshot: what was allowed still is, what was not still is not.
    assert [callers[0].chat(MODEL).status_code for _ in range(20)] == [200] * 20
    assert stack.caller(blocked.value).chat(MODEL).status_code == 403
    assert stack.caller("sk-bf-unknown").chat(MODEL).status_code == 401
    # From what it was lent: no more, as nobody can say what others have used.
    answers = [callers[1].chat(MODEL) for _ in range(30)]
    meanwhile = [answer.status_code for answer in answers].count(200)
    assert meanwhile < 20
    assert {denial(answer) for answer in answers if answer.status_code != 200} == {
        (503, "limits_unavailable")
    }
    assert answers[-1].headers["retry-after"] == "1"
    stack.start_control_plane()
    eventually(lambda: callers[1].chat(MODEL).status_code == 200, what="more of the limit")
    rest = [callers[1].chat(MODEL).status_code for _ in range(21 - meanwhile)]
    assert rest == [200] * (19 - meanwhile) + [429] * 2, "nothing was forgotten"
    assert stack.demo.requests() == 60
    usage = [record for key in (ample, scarce) for record in stack.admin.usage(key.id, 30)]
    served = stack.demo.served(MODEL)
    assert sum(record.output_tokens for record in usage) == served["output_tokens"]


@pytest.mark.timeout(180 + 6 * KILLS)
def test_a_control_plane_killed_again_and_again_under_load_counts_everything_once(
    new_stack,
) -> None:
    """No acknowledged write is lost, and nothing is charged twice."""
    stack = new_stack()
    price = stack.admin.price("openai", MODEL)
    family = Family(stack)
    callers = kills.Callers(stack.caller(family.key.value))
    administrator = kills.Administrator(f"http://127.0.0.1:{stack.http_port}")
    chance = random.Random(1)
    try:
        # Somewhere between receiving usage or a change, writing it and acknowledging it.
        to_ready = [kills.kill_and_start(stack, chance) for _ in range(KILLS)]
    finally:
        callers.stop()
        administrator.stop()
    assert set(callers.statuses) == {200}
    served = stack.demo.requests()
    assert callers.statuses[200] == served

    def counted() -> bool:
        assert family.used() == dict.fromkeys(LEVELS, truth(stack, price))
        return True

    eventually(counted, what="everything charged at every level")
    # What is sent again must not count again.
    stays(lambda: ledger.records(stack, family.key) == served, 1.5, "the number of records")
    assert counted()
    administrator.assert_nothing_is_lost()
    figures = {
        "kills": KILLS,
        "requests": served,
        "admin_changes": len(administrator.made),
        "kill_to_ready_ms": kills.distribution(to_ready),
    }
    report("kills", figures)


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
    ledger.assert_is_the_truth(stack, key, MODEL)
    stack.admin.delete_key(key.id)
    eventually(lambda: caller.chat(MODEL).status_code == 401, what="pushes after the pause")


def test_a_control_plane_stopped_in_order_waits_for_no_envoy(new_stack) -> None:
    stack = new_stack()
    assert stack.control_plane.terminate() == 0
    assert "did not finish in time" not in stack.control_plane.text()
    assert stack.caller("sk-bf-unknown").chat(MODEL).status_code == 401


def test_envoy_that_starts_without_a_control_plane_refuses_until_policy_comes(new_stack) -> None:
    stack = new_stack()
    key = stack.key()
    stack.envoy.terminate()
    stack.control_plane.kill()
    stack.write_bootstrap()
    stack.envoy.start()

    def closed() -> bool:
        stack.envoy.assert_alive()
        for value in (key.value, None, "sk-bf-unknown"):
            with pytest.raises(httpx.ConnectError):
                stack.caller(value).chat(MODEL)
        return True

    # Longer than Envoy waits for its configuration by default.
    stays(closed, 17, "a closed door")
    assert stack.demo.requests() == 0
    stack.start_control_plane()
    stack.await_envoy()
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
    ledger.assert_is_the_truth(stack, key, MODEL)
    budget = stack.admin.key(key.id)["budgets"][0]["current_usage"]
    assert budget == sum(record.record["cost"] for record in stack.admin.usage(key.id, 12))


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
        time.sleep(0.5)
        return stack.demo.served(MODEL)["output_tokens"] == before

    eventually(stopped, what="the end of the provider's answer")
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
        eventually(lambda: stack.demo.requests() == 1, what="the request at the provider")
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
    # Nothing of it has been passed on yet, so the caller gets an error that its SDK understands.
    response = stack.caller(key.value).chat(MODEL, x_demo_fault="demo=cut:3")
    assert response.status_code == 502
    assert response.json()["type"] == "provider_unavailable"
    record = stack.admin.one_usage(key.id)
    assert (record.outcome, record.estimated) == ("upstream_reset", True)
    assert record.output_tokens > 0
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
    eventually(lambda: caller.chat(MODEL).status_code == 200, what="the provider again")


def test_a_provider_that_hangs_blocks_nobody_else(stack: Stack) -> None:
    key = stack.key()
    caller = stack.caller(key.value)
    body = json.dumps(chat_body(MODEL)).encode()
    headers = [(b"x-bf-vk", key.value.encode()), (b"x-demo-fault", b"demo=hang")]
    hanging = [raw.Connection(stack.port) for _ in range(8)]
    try:
        for connection in hanging:
            connection.send(raw.request(headers=headers, body=body))
        eventually(lambda: stack.demo.requests() == 8, what="the hanging requests")
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
        eventually(lambda: stack.demo.served(MODEL)["requests"] == 4, what="the streams")
        stack.admin.delete_key(key.id)
        caller = stack.caller(key.value)
        eventually(lambda: caller.chat(MODEL).status_code == 401, what="the change")
        texts = [future.result() for future in streams]
    assert [count_tokens(text) for text in texts] == [60] * 4
    assert all(text.startswith(answer_text(MODEL, "Hello")) for text in texts)
    usage = stack.admin.usage(key.id, 4)
    assert sum(record.output_tokens for record in usage) == 240
