"""What is explained is what happens: the same request is explained, and then sent."""

from __future__ import annotations

from typing import Any

import pytest

from llm import CHAT, chat_body
from money import nanos
from stack import KeyInForce, Stack
from waiting import eventually

EXPLAIN = "/api/governance/explain"


def explain(stack: Stack, key: KeyInForce | None, **fields: Any) -> dict:
    asked = {"path": CHAT, "body": chat_body("gpt-4o", max_tokens=100)} | fields
    if key is not None:
        asked["virtual_key_id"] = key.id
    return stack.admin.post(EXPLAIN, asked)


CASES = {
    "passes": {},
    "unknown path": {"path": "/v1/nothing"},
    "model not allowed": {"body": chat_body("o1")},
    "provider not allowed": {"body": chat_body("anthropic/claude-3-5-haiku-20241022")},
    "no model": {"body": {"messages": []}},
    "two models": {"body": '{"model": "gpt-4o", "model": "gpt-4o-mini"}'},
    "media type": {"headers": {"content-type": "text/plain"}},
    "too dear": {"body": chat_body("gpt-4o", max_tokens=16_000, n=100)},
    "list of models": {"method": "GET", "path": "/v1/models", "body": None},
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_explained_is_what_happens(stack: Stack, case: str) -> None:
    key = stack.key(
        budget={"max_limit": 1, "reset_duration": "1M"},
        provider_configs=[{"provider": "openai", "allowed_models": ["gpt-4o"]}],
    )
    asked = {"method": "POST", "path": CHAT, "body": chat_body("gpt-4o"), "headers": {}}
    asked |= CASES[case]
    told = explain(stack, key, **asked)
    body = asked["body"]
    options = {"content": body} if isinstance(body, str) else {"json": body}
    headers = {"content-type": "application/json"} | asked["headers"]
    caller = stack.caller(key.value)
    if body is None:
        options = {}
    answer = caller.request(asked["method"], asked["path"], headers=headers, **options)
    if told["decision"] == "deny":
        denial = told["denial"]
        happened = answer.json()
        assert answer.status_code == denial["status"]
        assert answer.headers["x-reeve-denied"] == denial["type"]
        expected = denial["body"]
        # An explanation is no request, and what is reserved changes while the filter works.
        for name in ("request_id", "used", "reserved"):
            expected.pop(name, None)
            happened.pop(name, None)
        if "limit_id" in expected:
            # The message tells the same numbers.
            expected.pop("error"), happened.pop("error")
        assert happened == expected
        assert denial["message"] and [s for s in told["steps"] if s["result"] == "failed"]
    else:
        assert told["decision"] == ("answer" if body is None else "forward")
        assert answer.status_code == 200, answer.text
    if told["plan"] and told["decision"] == "forward":
        assert answer.headers["x-reeve-provider"] == told["plan"]["provider"]
        assert answer.headers["x-reeve-model"] == told["plan"]["model"]
        last = stack.demo.last()
        assert last["path"].endswith(told["plan"]["upstream_path"])
        used = stack.admin.one_usage(key.id)
        assert 0 < used.cost <= nanos(told["plan"]["most_cost"])


def test_explaining_reserves_and_sends_nothing(stack: Stack) -> None:
    key = stack.key(rate_limit={"request_max_limit": 1, "request_reset_duration": "1h"})
    for _ in range(5):
        told = explain(stack, key)
        assert told["decision"] == "forward"
        assert told["limits"][0]["usage"]["used"] == 0
    assert stack.demo.nothing_arrived()
    assert stack.caller(key.value).chat("gpt-4o").status_code == 200

    def exhausted() -> bool:
        told = explain(stack, key)
        assert told["decision"] == "deny" and told["denial"]["type"] == "request_limited"
        (limit,) = told["limits"]
        assert (limit["level"], limit["room"]) == ("virtual_key", "no")
        return True

    eventually(exhausted, what="the request in the ledger")
    assert stack.caller(key.value).chat("gpt-4o").status_code == 429


def test_the_key_itself_may_be_among_the_headers_and_is_not_told(stack: Stack) -> None:
    key = stack.key()
    body = {"path": CHAT, "body": chat_body("gpt-4o"), "headers": {"x-bf-vk": key.value}}
    answer = stack.admin.request("POST", EXPLAIN, body)
    assert answer.json()["virtual_key"]["id"] == key.id
    assert "sk-bf-" not in answer.text
