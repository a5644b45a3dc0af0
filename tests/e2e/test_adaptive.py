"""Shares of providers that fail are lowered, and rise again: docs/routing.md, "Adaptive shares"."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llm import Caller
from providers import MODEL, answered_by
from stack import Stack
from waiting import eventually, stays

# Seconds over which a share is measured.
SPAN = 3.0


class Traffic:
    """Callers of one key, some fifty requests a second. While `fault` is set, every other request carries it."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.fault = ""
        self.failures: list[str] = []
        # When, and whether the provider `second` was asked first.
        self.asked: list[tuple[float, bool]] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(4)]

    def _call(self) -> None:
        number = 0
        while not self._stop.wait(0.05):
            number += 1
            fault = self.fault if number % 2 else ""
            headers = {"x_demo_fault": fault} if fault else {}
            try:
                response = self.caller.chat(MODEL, max_tokens=9, **headers)
                provider, attempts, _ = answered_by(response)
            except Exception as error:  # whatever it is, the test fails with it
                self.failures.append(repr(error))
                continue
            self.asked.append((time.monotonic(), (provider == "second") == (attempts == 1)))

    @contextmanager
    def flowing(self) -> Iterator[Traffic]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()
        assert not self.failures, self.failures[:3]

    def share(self) -> float:
        """Of `second`, in the last seconds."""
        since = time.monotonic() - SPAN
        last = [first for when, first in list(self.asked) if when >= since]
        assert len(last) >= 20, "too few to measure"
        return sum(last) / len(last)

    def until(self, holds: Callable[[float], bool], what: str, within: float = 30) -> float:
        """How long it took until the share is so, of which `SPAN` is the measuring."""
        began = time.monotonic()
        eventually(lambda: holds(self.share()), within, what)
        return time.monotonic() - began


def start(stack: Stack, *names: str) -> Traffic:
    """Providers of equal weight."""
    for name in names:
        if name != "openai":
            stack.admin.create_provider(name, stack.another_demo(name).url)
    key = stack.key(
        provider_configs=[
            {"provider": name, "weight": 1, "allowed_models": ["*"]} for name in names
        ]
    )
    return Traffic(stack.caller(key.value))


def told(stack: Stack, name: str) -> dict[str, Any]:
    """What the control plane says about a provider."""
    shares = stack.admin.get("/api/governance/provider-shares")["providers"]
    of = [share for share in shares if share["provider"] == name]
    assert len(of) == 1, f"{name} was not asked yet"
    return of[0]


def switch(stack: Stack, on: bool) -> None:
    stack.admin.put("/api/config", {"client_config": {"adaptive_routing": on}})


def is_even(share: float) -> bool:
    return 0.35 <= share <= 0.65


def test_the_share_of_one_that_fails_half_falls_and_returns(
    new_stack: Callable[..., Stack], record_property: Callable[[str, object], None]
) -> None:
    """No caller notices: what fails is asked of the other one."""
    stack = new_stack()
    with start(stack, "openai", "second").flowing() as traffic:
        traffic.until(is_even, "an even split")
        assert eventually(lambda: told(stack, "second"))["factor"] == 1

        traffic.fault = "second=503"
        fell = traffic.until(lambda share: share <= 0.25, "a share that falls")
        of = told(stack, "second")
        assert of["factor"] <= 0.5 and of["failed"] > 0, of
        assert of["reason"] in ("errors", "recovering"), of
        (of_key,) = of["keys"]
        assert of_key["factor"] <= 0.5
        assert told(stack, "openai")["reason"] == "healthy"
        # Who names it gets it all the same.
        assert answered_by(traffic.caller.chat(f"second/{MODEL}")) == ("second", 1, 0)
        time.sleep(SPAN)
        assert 0 < traffic.share() <= 0.3, "it stays low, and is asked now and then"

        switch(stack, False)
        traffic.until(is_even, "the configured split while it is off")
        switch(stack, True)
        traffic.until(lambda share: share <= 0.25, "a share that falls again")

        traffic.fault = ""
        rose = traffic.until(is_even, "a share that returns", 60)
        eventually(lambda: told(stack, "second")["factor"] == 1, 60)
        assert told(stack, "second")["reason"] == "healthy"
    record_property("fell_within_s", round(fell, 1))
    record_property("rose_within_s", round(rose, 1))
    print(f"share fell within {fell:.1f} s and returned within {rose:.1f} s")


def test_each_failure_is_seen_for_what_it_is(new_stack: Callable[..., Stack]) -> None:
    """Also of attempts that another provider's answer hides."""
    stack = new_stack()
    traffic = start(stack, "openai", "failing", "refusing", "closing")
    traffic.fault = "failing=529,refusing=429,closing=close"
    with traffic.flowing():

        def seen() -> bool:
            counts = {name: told(stack, name) for name in ("failing", "refusing", "closing")}
            assert counts["failing"]["failed"] > 0
            assert counts["refusing"]["rate_limited"] > 0
            assert counts["closing"]["unanswered"] > 0
            for name, of in counts.items():
                others = {"failed", "rate_limited", "unanswered", "broken_off", "key_refused"}
                assert sum(of[kind] for kind in others) == max(of[kind] for kind in others), name
                assert of["factor"] < 1, name
            assert "429" in counts["refusing"]["message"]
            return counts["refusing"]["reason"] == "rate_limited"

        eventually(seen, what="a reason for each")
        good = told(stack, "openai")
        assert (good["factor"], good["reason"]) == (1, "healthy")
        assert good["average_first_byte_ms"] is not None


def test_shares_outlive_the_control_plane_and_are_learnt_anew_from_the_next(
    new_stack: Callable[..., Stack],
) -> None:
    stack = new_stack()
    with start(stack, "openai", "second").flowing() as traffic:
        traffic.fault = "second=503"
        traffic.until(lambda share: share <= 0.25, "a share that falls")
        stack.control_plane.kill()
        traffic.fault = ""
        time.sleep(SPAN)
        stays(lambda: traffic.share() <= 0.4, 3, "the last share while nobody judges")
        stack.start_control_plane()
        traffic.until(is_even, "the whole share after a new start")
