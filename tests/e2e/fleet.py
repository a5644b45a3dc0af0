"""Several Envoys, each a process of its own, with one control plane."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx

import raw
from llm import CHAT, Caller
from process import Process
from stack import KeyInForce, Stack
from waiting import eventually

T = TypeVar("T")


class Envoy:
    """One more Envoy of a stack, with the configuration of the first on ports of its own."""

    def __init__(self, stack: Stack, number: int) -> None:
        self.stack = stack
        self.port = stack.ports.take()
        self.admin_port = stack.ports.take()
        self.node_id = f"fleet-{number}"
        self.url = f"http://127.0.0.1:{self.port}"
        self._bootstrap = stack.directory / f"{self.node_id}.json"
        command = list(stack.envoy.command)
        command[command.index("--config-path") + 1] = str(self._bootstrap)
        log = stack.logs / f"{self.node_id}.log"
        self.process = Process(self.node_id, command, stack.environment, log)
        stack.more_processes.append(self.process)

    def start(self) -> None:
        text = (self.stack.data / "envoy" / "bootstrap.json").read_text()
        # Ports stand alone; the node's name is in the plugins' configurations too.
        bootstrap = renumbered(
            json.loads(text),
            {self.stack.port: self.port, self.stack.envoy_admin_port: self.admin_port},
        )
        text = json.dumps(bootstrap).replace(f"envoy-{self.stack.port}", self.node_id)
        self._bootstrap.write_text(text)
        self.process.start()

        def judges() -> bool:
            self.process.assert_alive()
            try:
                return Caller(self.url).post(CHAT, {}).status_code != 503
            except httpx.TransportError:
                return False

        eventually(judges, 30, f"policy in {self.node_id}")

    def kill(self) -> None:
        self.process.kill()


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
        self.more = [Envoy(stack, number) for number in range(2, count + 1)]
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
        for caller in self.callers(key):
            eventually(
                lambda caller=caller: caller.post(CHAT, {}).status_code == 400, 5, "the key in force"
            )
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
