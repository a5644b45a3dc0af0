"""Several Envoys, each a process of its own, with one control plane."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import raw
from bare_envoy import Json
from llm import Caller
from more_envoy import MoreEnvoy
from stack import KeyInForce, Stack

T = TypeVar("T")


class FleetEnvoy(MoreEnvoy):
    """One with the configuration of the stack's own, on other ports and under another name."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack, "fleet")

    def bootstrap(self) -> Json:
        text = (self.stack.data / "envoy" / "bootstrap.json").read_text()
        # The node's name is in the plugins' configurations too.
        text = text.replace(f"envoy-{self.stack.port}", self.process.name)
        ports = {self.stack.port: self.port, self.stack.envoy_admin_port: self.admin_port}
        return renumbered(json.loads(text), ports)


def renumbered(value: Any, ports: dict[int, int]) -> Any:
    """The same configuration with other ports."""
    if isinstance(value, dict):
        return {
            name: ports.get(inner, inner)
            if name == "port_value" and isinstance(inner, int)
            else renumbered(inner, ports)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [renumbered(inner, ports) for inner in value]
    return value


class Fleet:
    """A stack and its further Envoys."""

    def __init__(self, stack: Stack, count: int) -> None:
        self.stack = stack
        self.more = [FleetEnvoy(stack) for _ in range(count - 1)]
        for envoy in self.more:
            envoy.start()

    @property
    def ports(self) -> list[int]:
        return [self.stack.port, *(envoy.port for envoy in self.more)]

    def callers(self, key: KeyInForce) -> list[Caller]:
        """One for each Envoy."""
        return [Caller(f"http://127.0.0.1:{port}", key.value) for port in self.ports]

    def key(self, **fields: Any) -> KeyInForce:
        """A virtual key that every Envoy knows."""
        return self.await_key(self.stack.key(**fields))

    def await_key(self, key: KeyInForce) -> KeyInForce:
        for envoy in self.more:
            envoy.await_key(key)
        return key

    def on_each(self, act: Callable[[int], T]) -> list[T]:
        """The same on every Envoy's port, at once."""
        with ThreadPoolExecutor(len(self.ports)) as pool:
            return list(pool.map(act, self.ports))

    def exchange_at_once(self, data: bytes, count: int) -> list[int]:
        """The statuses of so many requests, spread over the fleet, all at once."""
        share, rest = divmod(count, len(self.ports))
        assert rest == 0
        answers = self.on_each(lambda port: raw.exchange_at_once(port, data, share))
        return [answer.status if answer else 0 for of_one in answers for answer in of_one]
