"""A plain client of the LLM APIs, for what the SDKs hide: statuses, headers, single chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"


def chat_body(model: str = "openai/gpt-4o", text: str = "Hello", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


# Every call is on a connection of its own, so that Envoy spreads them over its workers. One client
# for all, because making one costs more than a whole exchange.
_client = httpx.Client(
    limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
    timeout=20,
    trust_env=False,
)


class Caller:
    """A caller of the LLM APIs."""

    def __init__(
        self, url: str, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.url = url
        self.headers = dict(headers or {})
        if key is not None:
            self.headers["x-bf-vk"] = key

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return _client.post(self.url + path, json=body, headers=self.headers | headers)

    def chat(
        self, model: str = "openai/gpt-4o", text: str = "Hello", **fields: Any
    ) -> httpx.Response:
        """A chat completion. Fields whose name begins with `x_` are headers."""
        headers = {name: fields.pop(name) for name in list(fields) if name.startswith("x_")}
        return self.post(CHAT, chat_body(model, text, **fields), **headers)

    @contextmanager
    def stream(self, body: Any, path: str = CHAT, **headers: str) -> Iterator[httpx.Response]:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        with _client.stream(
            "POST", self.url + path, json=body | {"stream": True}, headers=self.headers | headers
        ) as response:
            yield response


def events(response: httpx.Response) -> Iterator[Any]:
    """The data of each server-sent event; `[DONE]` comes as the string it is."""
    for line in response.iter_lines():
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
            yield data if data == "[DONE]" else json.loads(data)


def denial(response: httpx.Response) -> tuple[int, str]:
    """Status and type of a denial in OpenAI's dialect, checked against each other."""
    body = response.json()
    assert body["status_code"] == response.status_code, body
    assert body["error"]["type"] == body["type"], body
    assert body["error"]["message"], body
    assert body["request_id"], body
    return response.status_code, body["type"]
