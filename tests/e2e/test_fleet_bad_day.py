"""A fleet that spends one budget while callers leave, an Envoy is killed, and its control plane dies and
hangs: never more than the budget, and what was served is in the ledger.

Fault rows F-01 to F-14 as far as limits go; what is held by whom: docs/limits.md.
"""

from __future__ import annotations

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from fleet import Fleet
from llm import Caller, chat_body, denial
from money import nanos
from served import Json, Served, with_own_governance
from test_limits import LEVELS, MODEL, Family, truth
from waiting import eventually, stays

TOKENS = 100
# So many can be paid for.
ROOM = 600
# As long as the control plane hangs.
PAUSE = 20.0


class Load:
    """Callers of a fleet, one of ten of which leaves in the middle of its answer."""

    def __init__(self, callers: list[Caller], threads: int = 8) -> None:
        self.callers = callers
        self.statuses: list[tuple[float, int, str]] = []
        self._end = threading.Event()
        self._pool = ThreadPoolExecutor(threads)
        self._running = [self._pool.submit(self._call, number) for number in range(threads)]

    def _call(self, number: int) -> None:
        chance = random.Random(number)
        body = chat_body(MODEL, max_tokens=TOKENS)
        steering = {"x_demo_output_tokens": str(TOKENS), "x_demo_chunk_delay_ms": "1"}
        while not self._end.is_set():
            caller = chance.choice(self.callers)
            leaves = chance.random() < 0.1
            begun = time.monotonic()
            try:
                with caller.stream(body, **steering) as response:
                    if response.status_code == 200:
                        for count, _ in enumerate(response.iter_raw()):
                            if leaves and count == 1:
                                break
                        why = ""
                    else:
                        response.read()
                        why = denial(response)[1]
                    self.statuses.append((begun, response.status_code, why))
            except httpx.TransportError:
                # Its Envoy is gone.
                self.statuses.append((begun, 0, ""))
            self._end.wait(0.2)

    def since(self, moment: float) -> list[tuple[int, str]]:
        return [(status, why) for at, status, why in list(self.statuses) if at >= moment]

    def stop(self) -> None:
        self._end.set()
        for running in self._running:
            running.result()
        self._pool.shutdown()


@pytest.mark.timeout(400)
def test_no_death_and_no_silence_overspends_a_budget(new_stack) -> None:
    stack = new_stack()
    fleet = Fleet(stack, 4)
    price = stack.admin.price("openai", MODEL)
    room = ROOM * price.cost(uncached=50, output=TOKENS)
    family = Family(stack, team={"max_limit": room / 10**9, "reset_duration": "1M"})
    key = fleet.await_key(family.key)
    load = Load(fleet.callers(key))
    try:
        served = lambda: stack.demo.requests()  # noqa: E731
        eventually(lambda: served() >= 100, what="some requests")

        fleet.more[-1].kill()
        load.callers = load.callers[:-1]
        more = served() + 100
        eventually(lambda: served() >= more, what="requests without one of the Envoys")

        more = served() + 5
        stack.control_plane.kill()
        eventually(lambda: served() >= more, what="requests without a control plane")
        stack.start_control_plane()
        more = served() + 50
        eventually(lambda: served() >= more, what="requests with a new control plane")

        began = time.monotonic()
        stack.control_plane.suspend()
        stays(lambda: truth(stack, price) <= room, PAUSE, "the budget")
        stack.control_plane.resume()
        # Served while there was something to spend; then it was said that there is not.
        during = load.since(began)
        assert (200, "") in during
        assert {status for status, _ in during} <= {0, 200, 402, 503}
        assert {why for status, why in during if status == 503} <= {"limits_unavailable"}

        eventually(lambda: (402, "budget_exceeded") in load.since(time.monotonic() - 2), 60, "the end")
    finally:
        load.stop()
    assert truth(stack, price) <= room

    def told() -> bool:
        used = family.used()
        assert len(set(used.values())) == 1, used
        (spent,) = set(used.values())
        records = stack.admin.records_of(key.id)
        assert sum(record.cost for record in records) == spent <= room
        return True

    eventually(told, what="one sum at every level")
    spent = family.used()[LEVELS[0]]
    # All but what the killed one held is spent, and what it had served and not reported.
    unreported = truth(stack, price) - spent
    assert unreported <= room - spent

    def at_rest() -> bool:
        (budget,) = stack.admin.team(family.team["id"])["budgets"]
        usage = {name: nanos(budget["usage"][name]) for name in ("reserved", "suspense", "used")}
        assert usage["reserved"] == 0, usage
        # What the killed one held: nobody knows whether it was used.
        assert unreported <= usage["suspense"] <= room - usage["used"]
        assert usage["suspense"] > 0
        return True

    eventually(at_rest, 60, "nothing reserved where nothing is under way")


def test_no_request_waits_for_the_control_plane_while_its_lease_lasts(new_stack) -> None:
    stack = new_stack()
    fleet = Fleet(stack, 2)
    key = fleet.await_key(Family(stack).key)
    callers = fleet.callers(key)
    # Every worker has seen the key.
    for caller in callers * 8:
        assert caller.chat(MODEL).status_code == 200
    waits = lease_waits(fleet)
    stack.control_plane.suspend()
    load = Load(callers, threads=4)
    try:
        stays(lambda: {status for _, status, _ in list(load.statuses)} <= {200}, 10, "service")
    finally:
        load.stop()
        stack.control_plane.resume()
    assert {status for _, status, _ in load.statuses} == {200}
    assert lease_waits(fleet) == waits


def lease_waits(fleet: Fleet) -> int:
    """Requests that waited for the control plane, at any Envoy."""
    stats = [envoy.stats("reeve_lease_waits_total") for envoy in (fleet.stack, *fleet.more)]
    return sum(count for of_one in stats for count in of_one.values())


def test_an_envoy_that_hears_nothing_for_too_long_refuses_until_it_does(new_stack) -> None:
    """What it holds is lent to others an hour later; by then it must have stopped for long."""

    def impatient(bootstrap: Json, served: Served) -> None:
        governance = with_own_governance(bootstrap, served)["config"]
        (service,) = bootstrap["bootstrap_extensions"]
        for plugin in (governance, service["typed_config"]["config"]):
            given = json.loads(plugin["configuration"]["value"])
            plugin["configuration"]["value"] = json.dumps(given | {"max_silence_s": 3})

    stack = new_stack(edit_served=impatient)
    key = stack.key(budget={"max_limit": 100, "reset_duration": "1M"})
    caller = stack.caller(key.value)
    stays(lambda: caller.chat(MODEL).status_code == 200, 4, "service by a control plane that beats")
    stack.control_plane.suspend()
    assert caller.chat(MODEL).status_code == 200, "a moment is no silence"
    eventually(lambda: caller.chat(MODEL).status_code == 503, what="the end of service")
    assert denial(caller.chat(MODEL)) == (503, "policy_stale")
    # A process that sleeps has heard nothing either, and knows before anybody tells it.
    stack.envoy.suspend()
    stack.envoy.resume()
    assert denial(caller.chat(MODEL)) == (503, "policy_stale")
    stack.control_plane.resume()
    eventually(lambda: caller.chat(MODEL).status_code == 200, what="service again")
