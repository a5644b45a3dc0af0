"""Envoy gets its configuration from the control plane: at once, in order, and without losing a request."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from fleet import Fleet
from llm import Caller, chat_body
from served import Json
from stack import Stack
from waiting import eventually

MODEL = "gpt-4o"
CALLERS = 8


class Load:
    """Callers that ask as fast as they can, each on its own connection."""

    def __init__(self, callers: list[Caller], model: str) -> None:
        self.statuses: Counter[int] = Counter()
        self.enough = threading.Event()
        self._pool = ThreadPoolExecutor(len(callers))
        self._running = [self._pool.submit(self._ask, caller, model) for caller in callers]
        self.started = time.monotonic()

    def _ask(self, caller: Caller, model: str) -> None:
        while not self.enough.is_set():
            self.statuses[caller.chat(model, max_tokens=1).status_code] += 1

    def end(self) -> float:
        """Requests a second."""
        self.enough.set()
        for running in self._running:
            running.result()
        self._pool.shutdown()
        return sum(self.statuses.values()) / (time.monotonic() - self.started)


@contextmanager
def under_load(stack: Stack, key: str, model: str = MODEL) -> Iterator[Load]:
    """No request fails meanwhile."""
    load = Load([stack.caller(key) for _ in range(CALLERS)], model)
    try:
        time.sleep(0.5)
        yield load
        time.sleep(0.5)
    finally:
        rate = load.end()
    print(f"{sum(load.statuses.values())} requests, {rate:.0f} a second")
    assert set(load.statuses) == {200}, load.statuses
    assert load.statuses[200] > 100


def timed(change: Any) -> float:
    start = time.monotonic()
    change()
    return time.monotonic() - start


def configuration(stack: Stack) -> Json:
    nodes = stack.admin.get("/api/nodes")["nodes"]
    assert len(nodes) == 1, nodes
    return nodes[0]["configuration"]


def told(what: str, took: list[float]) -> None:
    print(what, "in force after", ", ".join(f"{seconds * 1000:.0f} ms" for seconds in sorted(took)))


def test_a_change_is_in_force_when_it_is_answered(new_stack) -> None:
    """How soon that is, `make bench` measures."""
    stack = new_stack()
    key = stack.key(allow_all_providers=True)
    spare, other = stack.another_demo("spare"), stack.another_demo("other")
    moved = {"network_config": {"base_url": f"{other.url}/v1"}}
    took: dict[str, list[float]] = {"added": [], "rotated": [], "moved": [], "removed": []}
    for _ in range(8):
        for what, change in (
            ("added", lambda: stack.admin.create_provider("spare", spare.url, key="sk-1")),
            ("rotated", lambda: stack.admin.rotate_provider_key("spare", "sk-2")),
            ("moved", lambda: stack.admin.put("/api/providers/spare", moved)),
            ("removed", lambda: stack.admin.delete("/api/providers/spare")),
        ):
            took[what].append(timed(change))
            status = stack.caller(key.value).chat(f"spare/{MODEL}").status_code
            assert (status == 200) == (what != "removed"), (what, status)
        assert other.last_headers()["authorization"] == ["Bearer sk-2"]
    for what, times in took.items():
        told(what, times)


def test_a_provider_comes_and_goes_under_load_and_no_request_fails(new_stack) -> None:
    """The key may use any provider, so requests go to the new one as soon as it is there."""
    stack = new_stack()
    key = stack.key(allow_all_providers=True)
    spare = stack.another_demo("spare")
    came, went = [], []
    with under_load(stack, key.value):
        for number in range(5):
            name = f"spare-{number}"
            before = spare.requests()
            came.append(timed(lambda: stack.admin.create_provider(name, spare.url, key="sk-1")))
            # In force with the answer: the very next request is served.
            assert stack.caller(key.value).chat(f"{name}/{MODEL}").status_code == 200
            assert spare.requests() > before
            went.append(timed(lambda: stack.admin.delete(f"/api/providers/{name}")))
            assert stack.caller(key.value).chat(f"{name}/{MODEL}").status_code != 200
    told("added", came)
    told("removed", went)
    clusters = stack.envoy_admin.get("/clusters").text
    assert "provider_openai" in clusters and "provider_spare" not in clusters


def test_a_provider_key_is_rotated_under_load_and_no_request_fails(new_stack) -> None:
    stack = new_stack()
    spare = stack.another_demo("spare")
    stack.admin.create_provider("spare", spare.url, key="sk-0")
    key = stack.key(provider_configs=[{"provider": "spare", "allowed_models": [MODEL]}])
    took = []
    with under_load(stack, key.value, f"spare/{MODEL}") as load:
        for number in range(1, 6):
            value = f"sk-{number}"
            took.append(timed(lambda: stack.admin.rotate_provider_key("spare", value)))
            after = sum(load.statuses.values()) + 2 * CALLERS
            # Whoever was on its way has arrived.
            eventually(lambda: sum(load.statuses.values()) >= after, 5, "requests after it")
            assert spare.last_headers()["authorization"] == [f"Bearer {value}"]
    told("rotated", took)


def test_a_provider_moves_under_load_and_its_key_never_goes_to_the_old_place(new_stack) -> None:
    stack = new_stack()
    old, new = stack.another_demo("old"), stack.another_demo("new")
    stack.admin.create_provider("moving", old.url, key="sk-1")
    key = stack.key(provider_configs=[{"provider": "moving", "allowed_models": [MODEL]}])
    with under_load(stack, key.value, f"moving/{MODEL}"):
        for place, other in ((new, old), (old, new)):
            stack.admin.put("/api/providers/moving", {"network_config": {"base_url": f"{place.url}/v1"}})
            time.sleep(0.3)
            gone = other.requests()
            time.sleep(0.3)
            assert other.requests() == gone, "nothing more goes to the old place"
            assert place.requests()


def test_a_stream_that_is_on_its_way_survives_the_end_of_its_provider(new_stack) -> None:
    stack = new_stack()
    spare = stack.another_demo("spare")
    stack.admin.create_provider("spare", spare.url, key="sk-1")
    key = stack.key(allow_all_providers=True)
    body = chat_body(f"spare/{MODEL}", "Tell me a story")
    delays = {"x_demo_output_tokens": "100", "x_demo_chunk_delay_ms": "20"}
    with stack.caller(key.value).stream(body, **delays) as response:
        lines = response.iter_lines()
        next(lines)
        stack.admin.delete("/api/providers/spare")
        assert [line for line in lines if line][-1] == "data: [DONE]"


def test_a_control_plane_that_restarts_disturbs_nobody(new_stack) -> None:
    stack = new_stack()
    key = stack.key()
    updates = "cluster_manager.cluster_modified"
    before = stack.stats(updates)[updates]
    with under_load(stack, key.value):
        for _ in range(3):
            stack.control_plane.kill()
            stack.start_control_plane()
            eventually(lambda: (configuration(stack) or {}).get("accepted_version"), 10, "Envoy back")
    assert stack.stats(updates)[updates] == before, "the same again is no change"
    stack.admin.create_provider("late", stack.demo.url, key="sk-1")
    assert configuration(stack)["lag_ms"] == 0


def test_envoy_takes_every_kind_of_provider(new_stack) -> None:
    """By name and by address, of both families, with and without TLS, with and without a key."""
    stack = new_stack()
    for name, url in (
        ("by-name", "https://api.example.com"),
        ("by-address", "https://127.0.0.1:8443"),
        ("by-long-address", "https://[::1]"),
        ("in-the-clear", "http://127.0.0.1:8080"),
    ):
        stack.admin.create_provider(name, url, key="sk-1")
        keyless = {"base_provider_type": "openai", "is_key_less": True}
        network = {"base_url": url}
        body = {"name": f"{name}-keyless", "custom_provider_config": keyless}
        stack.admin.post("/api/providers", body | {"network_config": network})
    seen = configuration(stack)
    assert seen["rejected"] == [] and seen["lag_ms"] == 0
    published = stack.admin.get("/api/nodes")["published_configuration_version"]
    assert seen["accepted_version"] == published
    assert "deprecated" not in stack.envoy.text().lower()


def test_a_second_envoy_joins_by_itself_and_gets_the_same(new_stack) -> None:
    stack = new_stack()
    key = stack.key(allow_all_providers=True)
    fleet = Fleet(stack, 2)
    nodes = stack.admin.get("/api/nodes")["nodes"]
    assert [node["node_id"] for node in nodes] == [f"envoy-{stack.port}", fleet.more[0].process.name]
    spare = stack.another_demo("spare")
    took = timed(lambda: stack.admin.create_provider("spare", spare.url, key="sk-1"))
    print(f"in force in both after {took * 1000:.0f} ms")
    for caller in fleet.callers(key):
        assert caller.chat(f"spare/{MODEL}").status_code == 200
    nodes = stack.admin.get("/api/nodes")["nodes"]
    assert all(node["up_to_date"] for node in nodes), nodes
    assert len({node["configuration"]["accepted_version"] for node in nodes}) == 1
    # One that hangs holds nobody up for long, and does not count as up to date.
    fleet.more[0].process.suspend()
    assert timed(lambda: stack.admin.rotate_provider_key("spare", "sk-2")) < 15
    (first, second) = stack.admin.get("/api/nodes")["nodes"]
    assert first["configuration"]["lag_ms"] == 0
    assert second["configuration"]["lag_ms"] > 0
    fleet.more[0].process.resume()
    stack.admin.rotate_provider_key("spare", "sk-3")
    eventually(
        lambda: all(node["up_to_date"] for node in stack.admin.get("/api/nodes")["nodes"]),
        15,
        "both up to date",
    )
