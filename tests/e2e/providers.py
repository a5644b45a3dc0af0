"""Several providers that can be made to fail, behind one Envoy."""

from __future__ import annotations

import socket

import httpx

from demo import Demo
from recorder import Recorder
from stack import KeyInForce, Stack

MODEL = "gpt-4o"
# How long Envoy waits for the head of an answer where the whole chain has such a timeout, as these two have.
PATIENCE_MS = 3_000
IMPATIENT = ("impatient", "impatient-too")


class Providers:
    """OpenAI's demo and four more, one that refuses connections, one that writes down all."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.demos = {"openai": stack.demo}
        for name in ("second", "third", *IMPATIENT):
            self.demos[name] = stack.another_demo(name)
            stack.admin.create_provider(name, self.demos[name].url, key=f"sk-{name}")
        # Bound and not listening: whoever connects is refused.
        self._refusing = socket.socket()
        self._refusing.bind(("127.0.0.1", 0))
        stack.admin.create_provider(
            "refusing", f"http://127.0.0.1:{self._refusing.getsockname()[1]}"
        )
        port = stack.ports.take()
        self.outside = Recorder(port)
        stack.admin.create_provider("outside", self.outside.url)
        for name in IMPATIENT:
            self.set(name, per_try_timeout_ms=PATIENCE_MS)

    def set(self, name: str, **network) -> None:
        self.stack.admin.put(f"/api/providers/{name}", {"network_config": network})

    def close(self) -> None:
        self._refusing.close()
        self.outside.close()
        for demo in self.demos.values():
            demo.close()

    def reset(self) -> None:
        self.outside.take()
        for demo in self.demos.values():
            demo.reset()

    def __getitem__(self, name: str) -> Demo:
        return self.demos[name]

    def requests(self) -> dict[str, int]:
        """Of each that has had any."""
        counts = {name: demo.requests() for name, demo in self.demos.items()}
        return {name: count for name, count in counts.items() if count}

    def fault(self, name: str, kind: str) -> str:
        """The header's value that makes one of them fail."""
        return f"{self[name].name}={kind}"

    def key(self, *names: str, **fields) -> KeyInForce:
        """A key that draws the first; the others follow in this order. `more` is for the settings of one."""
        more = fields.pop("more", {})
        return self.stack.key(provider_configs=in_order(*names, **more), **fields)

    def assert_charged_as_served(self, key: KeyInForce, *names: str) -> None:
        """Each answer has one record, with the tokens that its provider counted."""
        served = {name: self[name].served(MODEL) for name in names}
        count = sum(of["requests"] for of in served.values())
        usage = self.stack.admin.usage(key.id, count)
        for name, of in served.items():
            own = [record for record in usage if record.provider == name]
            assert len(own) == of["requests"], name
            assert sum(record.input_tokens for record in own) == of["input_tokens"], name
            assert sum(record.output_tokens for record in own) == of["output_tokens"], name
        assert not [record for record in usage if record.estimated]


def in_order(*names: str, **more) -> list[dict]:
    """The first is drawn; the others follow in this order. `more` is for the settings of one."""
    weights = [1.0, *[0.0] * (len(names) - 1)]
    return [
        {"provider": name, "weight": weight, "allowed_models": ["*"], **more.get(name, {})}
        for name, weight in zip(names, weights, strict=True)
    ]


def answered_by(response: httpx.Response) -> tuple[str, int, int]:
    """The provider, the number of attempts, and its place in the chain."""
    assert response.status_code == 200, response.text
    headers = response.headers
    return (
        headers["x-reeve-provider"],
        int(headers["x-reeve-attempts"]),
        int(headers["x-reeve-fallback-index"]),
    )
