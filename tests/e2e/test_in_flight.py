"""`max_in_flight`: how many requests of a key are under way at once, over workers and Envoys, and how a
slot comes back whatever ends. Bounds: docs/limits.md.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import raw
from fleet import Fleet
from llm import CHAT, Caller, chat_body, denial
from stack import KeyInForce, Stack
from waiting import PATIENCE, eventually, stays

MODEL = "gpt-4o"
# From the last renewal until an Envoy ends what it has under way, and until its slots are free for others
# (`crates/policy/src/lease/term.rs`): not sooner, and on a slow machine later.
ENDS = 30.0
FREED = 40.0
# An answer that comes after all requests of a large burst, in milliseconds.
AFTER_ALL = 8_000


@pytest.fixture(scope="module")
def _fleet() -> Iterator[Fleet]:
    with Stack("in-flight") as stack:
        stack.admin.enable_governance()
        yield Fleet(stack, 2)


@pytest.fixture
def fleet(_fleet: Fleet) -> Fleet:
    _fleet.stack.demo.reset()
    return _fleet


def asking(key: KeyInForce, **steering: int | str) -> bytes:
    stream = "x_demo_delay_ms" not in steering
    headers = [(b"x-bf-vk", key.value.encode())]
    headers += [(n.replace("_", "-").encode(), str(v).encode()) for n, v in steering.items()]
    return raw.request(headers=headers, body=json.dumps(chat_body(MODEL, stream=stream)).encode())


def slow(key: KeyInForce, delay_ms: int = 4_000) -> bytes:
    """A request whose answer takes its time."""
    return asking(key, x_demo_delay_ms=delay_ms)


def statuses(port: int, data: bytes, count: int) -> Counter[int]:
    answers = raw.exchange_at_once(port, data, count)
    return Counter(answer.status if answer else 0 for answer in answers)


class Streams:
    """Answers that go on for minutes, each on a connection of its own."""

    def __init__(self, port: int, key: KeyInForce, count: int) -> None:
        data = asking(key, x_demo_output_tokens=3_000, x_demo_chunk_delay_ms=50)
        self.open: list[raw.Connection] = []

        def opened() -> bool:
            connection = raw.Connection(port)
            connection.send(data)
            head = connection.read_head()
            if head is not None and head.status == 200:
                self.open.append(connection)
                return True
            # One that was there before may not have been seen to leave yet.
            connection.close()
            return False

        for _ in range(count):
            eventually(opened, what="a stream")

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.open:
            connection.close()

    def leave(self, how: Callable[[raw.Connection], None]) -> None:
        how(self.open.pop())

    def until_ended(self) -> None:
        """Reads on until every one of them is over."""

        def drain(connection: raw.Connection) -> None:
            while connection.read_some():
                pass

        with ThreadPoolExecutor(len(self.open)) as pool:
            list(pool.map(drain, self.open))


def assert_all_come_back(stack: Stack, key: KeyInForce, slots: int) -> None:
    """As many as there are slots are admitted at once again, and not one more."""

    def admitted() -> bool:
        assert statuses(stack.port, slow(key, 1_500), slots) == {200: slots}
        return True

    eventually(admitted, what="every slot")
    counted = statuses(stack.port, slow(key), slots + 4)
    assert counted == {200: slots, 429: 4}


@pytest.mark.parametrize("slots", [1, 5])
def test_never_more_are_under_way_than_the_key_may_have(fleet: Fleet, slots: int) -> None:
    """On one Envoy of two workers, and again when they have ended."""
    key = fleet.key(max_in_flight=slots)
    for served in (slots, 2 * slots):
        counted = statuses(fleet.stack.port, slow(key, AFTER_ALL), slots + 40)
        assert counted == {200: slots, 429: 40}
        assert fleet.stack.demo.requests() == served


def test_a_hundred_slots_are_filled_by_whoever_asks_on(fleet: Fleet) -> None:
    """In a burst some are refused for a slot that is on its way to somebody else; the next has it."""
    stack = fleet.stack
    key = fleet.key(max_in_flight=100)
    refused_before = refused(stack)

    def all_judged() -> bool:
        return stack.demo.requests() + refused(stack) - refused_before == 150

    with ThreadPoolExecutor(4) as pool:
        bursts = [pool.submit(statuses, stack.port, slow(key, 2 * AFTER_ALL), 50) for _ in range(3)]
        eventually(all_judged, what="a judgement of each")
        bursts += [pool.submit(statuses, stack.port, slow(key, AFTER_ALL), 50)]
        counted = sum((burst.result() for burst in bursts), Counter[int]())
    assert counted == {200: 100, 429: 100}
    assert stack.demo.requests() == 100


def refused(stack: Stack) -> int:
    return sum(stack.stats("reeve_denials_total.error_type.concurrency_limited").values())


def test_two_envoys_share_the_slots_and_pass_on_what_becomes_free(fleet: Fleet) -> None:
    key = fleet.key(max_in_flight=6)
    counted = Counter(fleet.exchange_at_once(slow(key, AFTER_ALL), 60))
    assert counted == {200: 6, 429: 54}
    assert fleet.stack.demo.requests() == 6
    # Wherever they were used last: the other one can have all of them.
    one, other = fleet.ports
    for port in (one, other, one):
        assert statuses(port, slow(key, 1_500), 6) == {200: 6}


def test_a_refusal_says_how_many_there_may_be_and_are(fleet: Fleet) -> None:
    stack = fleet.stack
    key = fleet.key(max_in_flight=2, allow_all_providers=True)
    with Streams(stack.port, key, 1), Streams(fleet.ports[1], key, 1):
        caller = stack.caller(key.value)
        message = {"model": "claude-sonnet-5", "max_tokens": 10, "messages": chat_body()["messages"]}
        gemini = "/v1beta/models/gemini-2.5-flash:generateContent"
        contents = {"contents": [{"parts": [{"text": "Hello"}]}]}
        refused = {
            "openai": caller.chat(MODEL),
            "anthropic": caller.post("/v1/messages", message),
            "gemini": caller.post(gemini, contents),
        }
        for dialect, response in refused.items():
            assert denial(response, dialect) == (429, "concurrency_limited")
            assert response.headers["retry-after"] == "1"
            assert "x-should-retry" not in response.headers
            body = response.json()
            assert (body["limit"], body["used"], body["unit"]) == (2, 2, "requests_in_flight")
            assert (body["level"], body["owner_id"]) == ("virtual_key", key.id)
        assert stack.admin.key(key.id)["in_flight"] == 2
    assert fleet.stack.demo.requests() == 2


def test_a_slot_comes_back_however_the_exchange_ends(fleet: Fleet) -> None:
    stack = fleet.stack
    key = fleet.key(max_in_flight=3)
    caller = stack.caller(key.value)
    for leave in (raw.Connection.close, raw.Connection.reset, raw.Connection.finish_sending):
        with Streams(stack.port, key, 3) as streams:
            assert denial(caller.chat(MODEL)) == (429, "concurrency_limited")
            streams.leave(leave)
            eventually(lambda: caller.chat(MODEL).status_code == 200, what="the slot of who left")
    assert_all_come_back(stack, key, 3)
    # The provider closes, breaks off, refuses; a request is refused by another limit, or by its body.
    for fault in ("close", "cut:1", "500", "429"):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: fault_of(stack, key, fault), range(6)))
    for _ in range(6):
        assert caller.post(CHAT, {}).status_code == 400
        assert caller.chat("no-such-model").status_code in (200, 402, 403, 404)
    assert_all_come_back(stack, key, 3)


def fault_of(stack: Stack, key: KeyInForce, fault: str) -> None:
    raw.exchange(stack.port, asking(key, x_demo_fault=f"demo={fault}"))


def test_who_is_refused_by_another_limit_takes_no_slot(fleet: Fleet) -> None:
    limit = {"request_max_limit": 3, "request_reset_duration": "1h"}
    key = fleet.key(max_in_flight=2, rate_limit=limit)
    caller = fleet.stack.caller(key.value)
    assert [caller.chat(MODEL).status_code for _ in range(3)] == [200] * 3
    for _ in range(5):
        assert denial(caller.chat(MODEL)) == (429, "request_limited")
    fleet.stack.admin.update_key(key.id, rate_limit=None)
    eventually(lambda: caller.chat(MODEL).status_code == 200, what="the change")
    assert_all_come_back(fleet.stack, key, 2)


def test_a_change_of_the_number_holds_for_the_next_request(fleet: Fleet) -> None:
    stack = fleet.stack
    key = fleet.key(max_in_flight=8)
    caller = stack.caller(key.value)
    with Streams(stack.port, key, 6) as streams:
        stack.admin.update_key(key.id, max_in_flight=3)
        eventually(lambda: caller.chat(MODEL).status_code == 429, what="the lower number")
        assert len(streams.open) == 6
        for _ in range(3):
            streams.leave(raw.Connection.close)
        # What runs counts: with three of them there is still no room.
        stays(lambda: caller.chat(MODEL).status_code == 429, 1.5, "the lower number")
        streams.leave(raw.Connection.close)
        eventually(lambda: caller.chat(MODEL).status_code == 200, what="the fourth that has left")
    assert_all_come_back(stack, key, 3)
    # Without the number nothing is counted, and with it again what runs is not forgotten.
    with Streams(stack.port, key, 3):
        stack.admin.update_key(key.id, max_in_flight=None)
        eventually(lambda: caller.chat(MODEL).status_code == 200, what="no number")
        stack.admin.update_key(key.id, max_in_flight=3)
        eventually(lambda: caller.chat(MODEL).status_code == 429, what="the number again")


def test_an_envoy_that_is_killed_gives_its_slots_back_in_the_stated_time(new_stack) -> None:
    stack = new_stack()
    fleet = Fleet(stack, 2)
    key = fleet.key(max_in_flight=4)
    with Streams(fleet.ports[1], key, 3), Streams(stack.port, key, 1):
        caller = stack.caller(key.value)
        assert caller.chat(MODEL).status_code == 429
        fleet.more[0].kill()
        # Nobody can know that it is dead. (Its last renewal was at most five seconds ago.)
        stays(lambda: caller.chat(MODEL).status_code == 429, FREED - 10, "its slots")
        eventually(lambda: caller.chat(MODEL).status_code == 200, 10 + PATIENCE, "its slots")
        assert statuses(stack.port, slow(key), 6) == {200: 3, 429: 3}


def test_without_a_control_plane_slots_are_used_for_half_a_minute_and_not_longer(
    new_stack,
) -> None:
    """It might have lent them to others by then. What is under way is ended; nothing else is."""
    stack = new_stack()
    key = stack.key(max_in_flight=4)
    free = stack.key()
    caller = stack.caller(key.value)
    with Streams(stack.port, key, 3) as streams, Streams(stack.port, free, 1) as others:
        assert caller.chat(MODEL).status_code == 200
        stack.control_plane.kill()
        began = time.monotonic()
        stays(lambda: caller.chat(MODEL).status_code == 200, 10, "the slots that are held")
        streams.until_ended()
        assert time.monotonic() - began > ENDS - 7
        assert denial(caller.chat(MODEL)) == (503, "limits_unavailable")
        assert stack.caller(free.value).chat(MODEL).status_code == 200
        assert others.open[0].read_some(), "a key without the limit"
        stack.start_control_plane()
        eventually(lambda: caller.chat(MODEL).status_code == 200, what="a renewal")
        assert_all_come_back(stack, key, 4)
        # What had a slot is charged like everything that is cut off.
        records = stack.admin.records_of(key.id)
        assert sum(record.outcome != "complete" for record in records) == 3


def test_a_control_plane_that_is_restarted_or_hangs_for_a_while_ends_nothing(new_stack) -> None:
    stack = new_stack()
    key = stack.key(max_in_flight=3)
    with Streams(stack.port, key, 3) as streams:
        stack.control_plane.kill()
        stack.start_control_plane()
        stack.control_plane.suspend()
        stays(lambda: all(stream.read_some() for stream in streams.open), 15, "the streams")
        stack.control_plane.resume()
        caller = stack.caller(key.value)
        eventually(lambda: denial(caller.chat(MODEL)) == (429, "concurrency_limited"), what="a no")
        stays(lambda: caller.chat(MODEL).status_code == 429, ENDS - 10, "the slots")
        assert all(connection.read_some() for connection in streams.open)
    assert_all_come_back(stack, key, 3)


def test_what_a_vm_that_traps_had_in_slots_comes_back(new_stack) -> None:
    stack = new_stack(filter_wasm="REEVE_FILTER_FAULT_WASM")
    stack.reloads_expected = True
    key = stack.key(max_in_flight=6)
    trapping = asking(key, x_fault_injection="trap")
    with Streams(stack.port, key, 5) as streams:
        raw.exchange_at_once(stack.port, trapping)
        streams.until_ended()
    assert_all_come_back(stack, key, 6)
    # On its way, when its answer comes, and behind it.
    caller: Caller = stack.caller(key.value)
    for place in ("trap-attempt", "trap-answer", "trap-end"):
        caller.chat(MODEL, x_fault_injection=place)
        eventually(lambda: caller.post(CHAT, {}).status_code == 400, what="the reloaded VM")
    assert_all_come_back(stack, key, 6)
