"""Callers that leave, at every moment and in every way, pay for what the provider made for them."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.errors
import h2.events

import raw
from money import nanos
from stack import Stack
from surfaces import Call, Surface, surface
from waiting import eventually

# Every framing of a stream that there is.
STREAMS = [
    (at, call)
    for template in (
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1beta/models/{model}:streamGenerateContent",
        "/model/{model}/converse-stream",
        "/model/{model}/invoke-with-response-stream",
        "/v2/chat",
    )
    for at in [surface("POST", template)]
    for call in at.calls()
    if call.streamed
]
STEERING = [(b"x-demo-output-tokens", b"60"), (b"x-demo-chunk-delay-ms", b"1")]
# Longer than the longest of these answers.
LONGEST = 16_000
WAYS = ("close", "reset", "half-close", "RST_STREAM", "close of HTTP/2")
CUTS = 600


@dataclass(frozen=True)
class Leaving:
    """A caller that leaves when it has so many bytes of an answer; 0: as soon as it has asked."""

    at: Surface
    call: Call
    way: str
    after: int


def leavings() -> list[Leaving]:
    """Always the same ones, half of them early in the answer."""
    chance = random.Random(43)
    return [
        Leaving(
            *chance.choice(STREAMS),
            chance.choice(WAYS),
            0 if chance.random() < 0.1 else int(chance.random() ** 2 * LONGEST),
        )
        for _ in range(CUTS)
    ]


class Http1:
    """One exchange over a connection of its own."""

    def __init__(
        self, stack: Stack, key: str, leaving: Leaving, steering: list[raw.Header]
    ) -> None:
        self.leaving = leaving
        body = json.dumps(leaving.at.content(leaving.call)["json"]).encode()
        headers = [(b"x-bf-vk", key.encode()), (b"connection", b"close"), *steering]
        path = leaving.at.path(leaving.call).encode()
        self.connection = raw.Connection(stack.port)
        self.connection.send(raw.request(path=path, headers=headers, body=body))

    def read(self) -> None:
        arrived = 0
        while arrived < self.leaving.after:
            some = self.connection.read_some()
            if not some:
                break
            arrived += len(some)

    def leave(self) -> None:
        match self.leaving.way:
            case "reset":
                self.connection.reset()
            case "half-close":
                self.connection.finish_sending()
                while self.connection.read_some():
                    pass
        self.connection.close()


class Http2:
    """Likewise, with prior knowledge."""

    def __init__(
        self, stack: Stack, key: str, leaving: Leaving, steering: list[raw.Header]
    ) -> None:
        self.leaving = leaving
        self.ended = False
        self.http2 = h2.connection.H2Connection(h2.config.H2Configuration())
        self.http2.initiate_connection()
        headers = [(b":method", b"POST"), (b":path", leaving.at.path(leaving.call).encode())]
        headers += [(b":scheme", b"http"), (b":authority", b"localhost")]
        headers += [(b"content-type", b"application/json"), (b"x-bf-vk", key.encode()), *steering]
        self.http2.send_headers(1, headers)
        body = json.dumps(leaving.at.content(leaving.call)["json"]).encode()
        self.http2.send_data(1, body, end_stream=True)
        self.connection = raw.Connection(stack.port)
        self.connection.send(self.http2.data_to_send())

    def events(self) -> list[h2.events.Event]:
        some = self.connection.read_some()
        assert some, "the connection ended before the answer did"
        events = self.http2.receive_data(some)
        self.connection.send(self.http2.data_to_send())
        return events

    def read(self) -> None:
        arrived = 0
        while arrived < self.leaving.after and not self.ended:
            for event in self.events():
                match event:
                    case h2.events.DataReceived():
                        arrived += len(event.data)
                        self.http2.acknowledge_received_data(event.flow_controlled_length, 1)
                    case h2.events.StreamEnded():
                        self.ended = True

    def leave(self) -> None:
        if self.leaving.way == "RST_STREAM" and not self.ended:
            self.http2.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
            # The connection lives on, and so does whatever else is on it.
            self.http2.ping(b"12345678")
            self.connection.send(self.http2.data_to_send())
            while not any(isinstance(event, h2.events.PingAckReceived) for event in self.events()):
                pass
        self.connection.close()


def ask(
    stack: Stack, key: str, leaving: Leaving, steering: list[raw.Header] = STEERING
) -> Http1 | Http2:
    is_http2 = leaving.way in ("RST_STREAM", "close of HTTP/2")
    return (Http2 if is_http2 else Http1)(stack, key, leaving, steering)


def ask_and_leave(stack: Stack, key: str, leaving: Leaving) -> None:
    exchange = ask(stack, key, leaving)
    try:
        exchange.read()
    finally:
        exchange.leave()


def exchanges(stack: Stack) -> int:
    """Exchanges with providers that have ended, by Envoy's count."""
    return sum(stack.stats("reeve_exchanges_total").values())


@contextmanager
def all_over(stack: Stack) -> Iterator[Counter[str]]:
    """Waits until everything that was begun inside is over, in Envoy and at the provider; then
    `["exchanges"]` is how many there were."""
    counted: Counter[str] = Counter()
    before = exchanges(stack)
    yield counted

    def over() -> bool:
        active = stack.stats("http.*downstream_rq_active")
        streams = {name: count for name, count in active.items() if ".admin." not in name}
        return streams != {} and not any(streams.values())

    eventually(over, what="the end of every request")

    def still() -> bool:
        first = stack.demo.stats(), exchanges(stack)
        time.sleep(0.2)
        return first == (stack.demo.stats(), exchanges(stack))

    eventually(still, what="the end of every answer")
    counted["exchanges"] = exchanges(stack) - before


def test_who_leaves_pays_for_what_was_made(stack: Stack) -> None:
    """R-43: at random moments, in every format; closes, resets, half-closes, RST_STREAM."""
    key = stack.key(allow_all_providers=True, budget={"max_limit": 1_000, "reset_duration": "1M"})
    with all_over(stack) as counted, ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(ask_and_leave, stack, key.value, it) for it in leavings()]:
            done.result()
    assert counted["exchanges"] >= stack.demo.requests() > CUTS * 8 // 10
    records = stack.admin.usage(key.id, counted["exchanges"])
    outcomes = Counter(record.outcome for record in records)
    assert outcomes["downstream_disconnect"] > CUTS // 2, outcomes
    assert outcomes["upstream_reset"] == 0, outcomes
    charged: Counter[tuple[str, str]] = Counter()
    for record in records:
        assert record.cost > 0, record
        assert record.estimated == (record.outcome != "complete"), record
        charged[record.provider, record.model] += record.cost
    assert len(charged) == 7, "every format was left"
    for (provider, model), cost in charged.items():
        served = stack.demo.served(model)
        true_cost = stack.admin.price(provider, model).cost(
            uncached=served["input_tokens"], output=served["output_tokens"]
        )
        assert cost >= true_cost > 0, (model, outcomes)

    def booked() -> bool:
        (budget,) = stack.admin.key(key.id)["budgets"]
        return nanos(budget["current_usage"]) == sum(charged.values())

    eventually(booked, what="all of it in the budget")


def test_who_leaves_before_the_first_byte_pays_for_the_input(stack: Stack) -> None:
    """R-43: the provider has accepted and thinks; whole answers and streams, in every way."""
    key = stack.key()
    at = surface("POST", "/v1/chat/completions")
    leavings = [Leaving(at, call, way, 0) for call in at.calls() for way in WAYS]
    thinking = [(b"x-demo-delay-ms", b"60000")]
    exchanges = [ask(stack, key.value, leaving, thinking) for leaving in leavings]
    eventually(
        lambda: stack.demo.served("gpt-4o")["requests"] == len(leavings), what="all at the provider"
    )
    for exchange in exchanges:
        exchange.leave()
    served = stack.demo.served("gpt-4o")
    price = stack.admin.price("openai", "gpt-4o")
    for record in stack.admin.usage(key.id, len(leavings)):
        assert (record.outcome, record.status) == ("downstream_disconnect", None)
        assert record.estimated
        assert record.cost >= price.cost(uncached=served["input_tokens"] // len(leavings)) > 0
