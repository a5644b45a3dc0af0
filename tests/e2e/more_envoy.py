"""An Envoy of a stack beside the stack's own."""

from __future__ import annotations

import json

import httpx

from bare_envoy import Json
from llm import CHAT, Caller
from process import Process
from stack import KeyInForce, Stack, stats
from waiting import eventually


class MoreEnvoy:
    """With the control plane and the providers of the stack; it ends with the stack."""

    def __init__(self, stack: Stack, kind: str) -> None:
        self.stack = stack
        self.port = stack.ports.take()
        self.admin_port = stack.ports.take()
        self.url = f"http://127.0.0.1:{self.port}"
        name = f"{kind}-{self.port}"
        self.directory = stack.directory / name
        self.directory.mkdir()
        self._bootstrap = self.directory / "bootstrap.json"
        command = list(stack.envoy.command)
        command[command.index("--config-path") + 1] = str(self._bootstrap)
        self.process = Process(name, command, stack.environment, stack.logs / f"{name}.log")
        stack.more_processes.append(self.process)
        self.envoy_admin = httpx.Client(
            base_url=f"http://127.0.0.1:{self.admin_port}", timeout=10, trust_env=False
        )

    def bootstrap(self) -> Json:
        """What it reads."""
        raise NotImplementedError

    def start(self) -> None:
        self.start_without_policy()

        def judges() -> bool:
            return Caller(self.url).post(CHAT, {}).status_code != 503

        eventually(judges, what=f"policy in {self.process.name}")

    def start_without_policy(self) -> None:
        self._bootstrap.write_text(json.dumps(self.bootstrap()))
        self.process.start()

        def ready() -> bool:
            self.process.assert_alive()
            try:
                return self.envoy_admin.get("/ready").status_code == 200
            except httpx.TransportError:
                return False

        eventually(ready, what=self.process.name)

    def kill(self) -> None:
        self.process.kill()

    def caller(self, key: KeyInForce | None, **headers: str) -> Caller:
        return Caller(self.url, key and key.value, headers)

    def await_key(self, key: KeyInForce) -> KeyInForce:
        caller = self.caller(key)
        eventually(lambda: caller.post(CHAT, {}).status_code == 400, what="the key in force")
        return key

    def stats(self, of: str = "") -> dict[str, int]:
        """As the stack's own."""
        return stats(self.envoy_admin, of)
