"""What stands on every answer and refusal: limits, cost, request id, in the caller's dialect."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest

import raw
from llm import chat_body, denial
from money import nanos
from stack import Stack
from surfaces import Call, Surface, surface
from waiting import eventually

HOUR = 3_600


@dataclass(frozen=True)
class Dialect:
    """An API of each vendor's, and what else is below the same roof."""

    name: str
    at: Surface
    unknown: str
    """A path that a lost SDK of this vendor's may ask for."""

    @property
    def provider(self) -> str:
        return self.at.mount.provider

    @property
    def whole(self) -> Call:
        return self.at.calls()[0]

    @property
    def model(self) -> str:
        return self.at.model(self.whole)

    def __str__(self) -> str:
        return self.name


DIALECTS = [
    Dialect("openai", surface("POST", "/v1/chat/completions"), "/v1/nothing"),
    Dialect("anthropic", surface("POST", "/v1/messages"), "/anthropic/v1/nothing"),
    Dialect("gemini", surface("POST", "/v1beta/models/{model}:generateContent"), "/v1beta/nothing"),
    Dialect("bedrock", surface("POST", "/model/{model}/converse"), "/model/x/nothing"),
    Dialect("cohere", surface("POST", "/v2/chat"), "/v2/nothing"),
]
each_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=str)


def openai_duration(text: str) -> int:
    """`1h2m3s` in seconds."""
    seconds = 0
    for unit, factor in (("h", HOUR), ("m", 60), ("s", 1)):
        number, found, rest = text.partition(unit)
        if found:
            seconds, text = seconds + int(number) * factor, rest
    return seconds


@each_dialect
def test_an_answer_says_who_gave_it_what_it_cost_and_what_is_left(
    stack: Stack, dialect: Dialect
) -> None:
    key = stack.key(
        allow_all_providers=True,
        budget={"max_limit": 2, "reset_duration": "1h"},
        rate_limit={
            "request_max_limit": 10,
            "request_reset_duration": "1h",
            "token_max_limit": 1_000_000,
            "token_reset_duration": "1h",
        },
    )
    caller = stack.caller(key.value)
    first, second = (dialect.at.send(caller, dialect.whole) for _ in range(2))
    record, _ = stack.admin.usage(key.id, 2)
    headers = second.headers
    assert headers["x-reeve-provider"] == dialect.provider
    assert headers["x-reeve-model"] == dialect.model
    assert nanos(Decimal(first.headers["x-reeve-cost"])) == record.cost > 0
    assert first.headers["x-request-id"] == record.record["request_id"]
    # Of the two rate limits the one of which less is left.
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("10", "8")
    assert 0 < int(headers["x-ratelimit-reset"]) <= HOUR
    assert headers["x-reeve-budget-limit"] == "2"
    left = nanos(Decimal(headers["x-reeve-budget-remaining"]))
    # The first is paid, the second reserved.
    assert 0 < left < nanos(2) - record.cost
    assert 0 < int(headers["x-reeve-budget-reset"]) <= HOUR
    for kind, limit, remaining in (("requests", 10, 8), ("tokens", 1_000_000, None)):
        told = headers.get(f"x-ratelimit-limit-{kind}")
        if dialect.name != "openai":
            assert told is None, "OpenAI's headers mean nothing to others"
            continue
        assert told == str(limit)
        assert int(headers[f"x-ratelimit-remaining-{kind}"]) <= (remaining or limit - 1)
        assert 0 < openai_duration(headers[f"x-ratelimit-reset-{kind}"]) <= HOUR
    assert "x-reeve-denied" not in headers


def test_a_stream_cannot_say_what_it_will_cost(stack: Stack) -> None:
    response = stack.caller(stack.key().value).chat(stream=True)
    assert response.headers["x-reeve-provider"] == "openai"
    assert "x-reeve-cost" not in response.headers


def test_without_limits_nothing_is_said_of_them_and_the_providers_own_are_not_passed_on(
    stack: Stack,
) -> None:
    response = stack.caller(stack.key().value).chat()
    told = [name for name in response.headers if "ratelimit" in name or "budget" in name]
    assert told == []


def test_the_tightest_of_all_levels_is_told(stack: Stack) -> None:
    """Of a customer's, a team's, a key's and a provider config's."""

    def limits(requests: int, dollars: float) -> dict[str, Any]:
        return {
            "budget": {"max_limit": dollars, "reset_duration": "1d"},
            "rate_limit": {"request_max_limit": requests, "request_reset_duration": "1d"},
        }

    mark = stack.unique("tight")
    customer = stack.admin.create_customer(name=mark, budget=limits(1, 900)["budget"])
    team = stack.admin.create_team(name=mark, customer_id=customer["id"], **limits(3, 800))
    config = {"provider": "openai", "allowed_models": ["*"], **limits(50, 0.4)}
    key = stack.key(team_id=team["id"], provider_configs=[config], **limits(20, 700))
    headers = stack.caller(key.value).chat(max_tokens=10).headers
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("3", "2")
    assert headers["x-reeve-budget-limit"] == "0.4"


@each_dialect
def test_a_rate_limit_says_when_to_come_back(stack: Stack, dialect: Dialect) -> None:
    key = stack.key(
        allow_all_providers=True,
        rate_limit={"request_max_limit": 1, "request_reset_duration": "1h"},
    )
    caller = stack.caller(key.value)
    assert dialect.at.send(caller, dialect.whole).status_code == 200
    refused = dialect.at.send(caller, dialect.whole)
    assert denial(refused, dialect.name) == (429, "request_limited")
    headers = refused.headers
    assert 0 < int(headers["retry-after"]) <= HOUR
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("1", "0")
    assert headers["x-ratelimit-reset"] == headers["retry-after"]
    assert "x-should-retry" not in headers
    body = refused.json()
    assert (body["level"], body["limit"], body["used"]) == ("virtual_key", 1, 1)
    assert body["owner_id"] == key.id and body["resets_at"].endswith("Z")


@each_dialect
def test_a_budget_says_not_to_try_again(stack: Stack, dialect: Dialect) -> None:
    key = stack.key(
        allow_all_providers=True, budget={"max_limit": 0.000001, "reset_duration": "1h"}
    )
    refused = dialect.at.send(stack.caller(key.value), dialect.whole)
    assert denial(refused, dialect.name) == (402, "budget_exceeded")
    headers = refused.headers
    assert headers["x-should-retry"] == "false"
    assert headers["x-reeve-budget-limit"] == headers["x-reeve-budget-remaining"] == "0.000001"
    assert headers["x-reeve-budget-reset"] == headers["retry-after"]
    assert refused.json()["unit"] == "nano_usd"


@each_dialect
def test_every_refusal_is_in_the_callers_dialect(stack: Stack, dialect: Dialect) -> None:
    """R-04, R-21, R-29: status, type, message, request id, and what the vendor's SDK reads."""
    anyone = stack.key(allow_all_providers=True)
    nobody = stack.key(provider_configs=[])
    barred = stack.key(provider_configs=[{"provider": dialect.provider, "allowed_models": ["x"]}])
    inactive = stack.key(allow_all_providers=True, is_active=False)
    spent = stack.key(
        allow_all_providers=True, rate_limit={"token_max_limit": 1, "token_reset_duration": "1h"}
    )
    at, whole = dialect.at, dialect.whole
    assert at.send(stack.caller(spent.value), whole).status_code == 200
    eventually(lambda: at.send(stack.caller(spent.value), whole).status_code == 429, what="429")
    stack.demo.reset()
    caller = stack.caller(anyone.value)
    path, content = at.path(whole), at.content(whole)["json"]
    ambiguous = {"authorization": f"Bearer {nobody.value}"}

    def send(body: Any = content, path: str = path, method: str = "POST", **headers: str):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return lambda: caller.request(
            method, path, content=data, headers={"content-type": "application/json", **names}
        )

    def by(key: str | None) -> Callable[[], httpx.Response]:
        return lambda: at.send(stack.caller(key), whole)

    unpriced = Call(whole.body, model="never-heard-of")
    cases: list[tuple[int, str, Callable[[], httpx.Response]]] = [
        (400, "ambiguous_credentials", send(**ambiguous)),
        (401, "virtual_key_required", by(None)),
        (401, "virtual_key_not_found", by("sk-bf-nobody-has-this")),
        (403, "virtual_key_blocked", by(inactive.value)),
        (403, "model_blocked", by(barred.value)),
        (402, "price_unknown", lambda: send_priced(stack, dialect, unpriced)),
        (429, "token_limited", by(spent.value)),
        (400, "invalid_request", send(b"{")),
        (400, "invalid_request", send(b"")),
        (415, "unsupported_media_type", send(content_type="text/plain")),
        (415, "unsupported_media_type", send(content_encoding="gzip")),
        (405, "method_not_allowed", send(method="PUT")),
        (404, "not_found", send(path=dialect.unknown)),
        (400, "model_conflict", send(path=f"{path}?model=another")),
        (400, "invalid_request", send(path=f"{path}?unknown=1")),
    ]
    for status, kind, call in cases:
        assert denial(call(), dialect.name) == (status, kind)
    by_nobody = by(nobody.value)()
    # Where the path doesn't say the provider, there is just no model for the key.
    assert denial(by_nobody, dialect.name)[0] == 403
    assert stack.demo.nothing_arrived()


def send_priced(stack: Stack, dialect: Dialect, call: Call) -> httpx.Response:
    """By a key that may use models that nobody has listed."""
    configs = [{"provider": dialect.provider, "allowed_models": ["*"]}]
    return dialect.at.send(stack.caller(stack.key(provider_configs=configs).value), call)


def test_every_answer_carries_the_request_id_of_its_record(stack: Stack) -> None:
    """R-35: what a caller or a provider calls it is not believed."""
    key = stack.key()
    caller = stack.caller(key.value, **{"x-request-id": "chosen-by-the-caller"})
    responses = [caller.chat(), caller.chat(stream=True), caller.chat(x_demo_fault="demo=500")]
    ids = [response.headers["x-request-id"] for response in responses]
    assert len(set(ids)) == 3 and "chosen-by-the-caller" not in ids
    assert not any(request_id.startswith("req-demo") for request_id in ids)
    records = stack.admin.usage(key.id, 3)
    assert {record.record["request_id"] for record in records} == set(ids)


# ---- large bodies


MIB = 1 << 20


def test_a_body_of_32_mb_passes_where_the_limit_allows_it_and_not_by_default(new_stack) -> None:
    """R-27. JSON and forms."""
    stack = new_stack()
    key = stack.key(allow_all_providers=True)
    caller = stack.caller(key.value)
    text = "a" * 32_000_000
    assert denial(caller.chat("openai/gpt-4o-mini", text)) == (413, "payload_too_large")
    assert stack.demo.nothing_arrived()
    stack.admin.put("/api/config", {"client_config": {"max_request_body_size_mb": 32}})

    def passes() -> bool:
        response = caller.chat("openai/gpt-4o-mini", text, max_tokens=5)
        assert response.status_code == 200, response.text[:500]
        return True

    eventually(passes, what="32 MB to pass")
    assert stack.demo.served("gpt-4o-mini")["input_tokens"] == 8_000_000
    spoken = {"data": {"model": "openai/gpt-4o-transcribe"}, "files": {"file": text.encode()}}
    response = caller.request("POST", "/v1/audio/transcriptions", **spoken)
    assert response.status_code == 200, response.text
    assert stack.demo.served("gpt-4o-transcribe")["input_tokens"] == 8_000_000
    chat, form = stack.admin.usage(key.id, 2)
    assert (chat.input_tokens, chat.output_tokens) == (8_000_000, 5)
    assert form.input_tokens == 8_000_000
    assert denial(caller.chat("openai/gpt-4o-mini", "a" * 32 * MIB))[0] == 413


def test_a_body_above_the_limit_is_413_in_every_dialect_however_it_is_framed(new_stack) -> None:
    stack = new_stack()
    key = stack.key(allow_all_providers=True)
    caller = stack.caller(key.value)
    stack.admin.put("/api/config", {"client_config": {"max_request_body_size_mb": 1}})
    eventually(
        lambda: caller.chat("openai/gpt-4o", "a" * 1_200_000).status_code == 413,
        what="the new limit in force",
    )
    stack.demo.reset()
    for dialect in DIALECTS:
        large = Call({**dialect.whole.body, "metadata": {"padding": "a" * MIB}})
        refused = dialect.at.send(caller, large)
        assert denial(refused, dialect.name) == (413, "payload_too_large")
    body = json.dumps(chat_body(text="a" * 1_200_000)).encode()
    head = [(b"x-bf-vk", key.value.encode())]
    announced = raw.request(headers=head, length=len(body))
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(part), part)
        for part in (body[i : i + 65_536] for i in range(0, len(body), 65_536))
    )
    chunked = raw.request(headers=head).replace(b"content-length: 0", b"transfer-encoding: chunked")
    for data in (announced, chunked + chunks + b"0\r\n\r\n"):
        answer = raw.exchange(stack.port, data)
        assert answer is not None
        assert (answer.status, answer.json()["type"]) == (413, "payload_too_large")
    assert stack.demo.nothing_arrived()
    # httpx writes JSON without spaces.
    empty = len(json.dumps(chat_body(text=""), separators=(",", ":")))
    assert caller.chat(text="a" * (MIB - empty)).status_code == 200
    assert caller.chat(text="a" * (MIB - empty + 1)).status_code == 413
    assert caller.chat("openai/gpt-4o", "a" * 500_000).status_code == 200
