"""A control plane that is killed at random moments, with callers and an administrator at work."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import httpx

from admin import Admin
from llm import Caller
from stack import Stack
from waiting import PATIENCE

MODEL = "gpt-4o"
# The longest from one kill to the next.
LONGEST_LIFE = 0.4
# How often one is killed before it is ready.
STILLBORN = 0.1


class Callers:
    """So many at once, each with the next request when it has the last answer."""

    def __init__(self, caller: Caller, count: int = 4) -> None:
        self.statuses: Counter[int] = Counter()
        self._caller = caller
        self._end = threading.Event()
        self._pool = ThreadPoolExecutor(count)
        self._running = [self._pool.submit(self._call) for _ in range(count)]

    def _call(self) -> None:
        while not self._end.is_set():
            self.statuses[self._caller.chat(MODEL, max_tokens=50).status_code] += 1

    def stop(self) -> None:
        self._end.set()
        self._pool.shutdown()
        for finished in self._running:
            finished.result()


class Administrator:
    """Makes teams and renames one, and remembers what was acknowledged."""

    def __init__(self, url: str) -> None:
        self.made: dict[str, str] = {}
        """Ids by name."""
        self.tried: set[str] = set()
        self._admin = Admin(url)
        self._renamed = self._admin.create_team(name="name-0")["id"]
        self._acknowledged = self._asked = 0
        self._end = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[None] = self._pool.submit(self._work)

    def _work(self) -> None:
        number = 0
        while not self._end.is_set():
            number += 1
            name = f"made-{number}"
            try:
                self.tried.add(name)
                self.made[name] = self._admin.create_team(name=name)["id"]
                self._asked = number
                path = f"/api/governance/teams/{self._renamed}"
                self._admin.put(path, {"name": f"name-{number}"})
                self._acknowledged = number
            except httpx.TransportError:
                # It is down: whether it was done, nobody has said.
                time.sleep(0.002)

    def stop(self) -> None:
        self._end.set()
        self._pool.shutdown()
        self._running.result()

    def assert_nothing_is_lost(self) -> None:
        teams: list[tuple[str, str]] = []
        while True:
            path = f"/api/governance/teams?limit=1000&offset={len(teams)}"
            page = self._admin.get(path)["teams"]
            teams += [(team["name"], team["id"]) for team in page]
            if not page:
                break
        names = Counter(name for name, _ in teams)
        assert set(names.values()) == {1}, "a change was made twice"
        there = dict(teams)
        lost = {name for name, made in self.made.items() if there.get(name) != made}
        assert not lost, f"acknowledged, and gone: {lost}"
        (name,) = (name for name, made in teams if made == self._renamed)
        last = int(name.removeprefix("name-"))
        assert self._acknowledged <= last <= self._asked, "an acknowledged change was undone"
        unasked = [name for name in there if name.startswith("made-") and name not in self.tried]
        assert not unasked


def kill_and_start(stack: Stack, chance: random.Random) -> float:
    """Kills the control plane after a random time; gives how long until one is ready again."""
    time.sleep(chance.uniform(0, LONGEST_LIFE))
    stack.control_plane.kill()
    if chance.random() < STILLBORN:
        stack.control_plane.start()
        time.sleep(chance.uniform(0, 0.1))
        stack.control_plane.kill()
    killed = time.monotonic()
    stack.control_plane.start()
    while not is_ready(stack):
        assert time.monotonic() - killed < PATIENCE, stack.control_plane.tail()
        time.sleep(0.002)
    return time.monotonic() - killed


def is_ready(stack: Stack) -> bool:
    stack.control_plane.assert_alive()
    connection = http.client.HTTPConnection("127.0.0.1", stack.http_port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def distribution(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(seconds)

    def at(part: float) -> float:
        return round(ordered[round(part * (len(ordered) - 1))] * 1000, 1)

    return {"min": at(0), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1)}
