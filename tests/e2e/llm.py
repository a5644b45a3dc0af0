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
# for all, because making one costs more than a whole exchange. It says that it will close: its pool
# offers a connection that rests to one thread while another closes it.
_client = httpx.Client(
    headers={"connection": "close"},
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

    def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        """Anything else: `options` are httpx's."""
        with self.opened(method, path, headers=headers, **options) as response:
            response.read()
            return response

    @contextmanager
    def opened(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Iterator[httpx.Response]:
        """The same, with the answer's body still to be read."""
        every = self.headers | dict(headers or {})
        with _client.stream(method, self.url + path, headers=every, **options) as response:
            yield response

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


def denial(response: httpx.Response, dialect: str = "openai") -> tuple[int, str]:
    """Status and type of a denial, checked against each other and for what an SDK of the dialect
    looks at."""
    body, status = response.json(), response.status_code
    assert response.headers["content-type"] == "application/json"
    assert body["status_code"] == status, body
    assert body["request_id"] == response.headers["x-request-id"] != "", body
    match dialect:
        case "openai":
            kind, message = body["type"], body["error"]["message"]
            assert body["error"]["type"] == body["error"]["code"] == kind, body
        case "anthropic":
            kind, message = body["error_type"], body["error"]["message"]
            assert body["type"] == "error", body
            assert body["error"]["type"] == ANTHROPIC_TYPES[status], body
        case "gemini":
            kind, message = body["type"], body["error"]["message"]
            assert body["error"]["code"] == status, body
            assert body["error"]["status"] == GOOGLE_STATUSES[status], body
            assert body["error"]["details"][0]["reason"] == kind, body
        case "bedrock":
            kind, message = body["type"], body["message"]
            assert response.headers["x-amzn-errortype"] == BEDROCK_EXCEPTIONS[status], body
        case "cohere":
            kind, message = body["type"], body["message"]
            assert body["id"] == body["request_id"], body
        case _:
            raise ValueError(dialect)
    assert message, body
    assert response.headers["x-reeve-denied"] == kind, body
    return status, kind


# What the vendors' references call an error of a status.
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
}
GOOGLE_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "INVALID_ARGUMENT",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
}
BEDROCK_EXCEPTIONS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    402: "ServiceQuotaExceededException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    405: "ValidationException",
    413: "ValidationException",
    415: "ValidationException",
    429: "ThrottlingException",
}
