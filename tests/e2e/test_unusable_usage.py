"""Usage that cannot be right, cannot be read or is not there: at least what was served is charged.

Row R-45 of the red team.
"""

from __future__ import annotations

import json

import pytest

from ledger import truth
from llm import Caller
from stack import KeyInForce, Stack
from surfaces import ASKED, CLAUDE, reservation, surface

MODEL = "gpt-4o"
BAD_COUNTS = {
    "negative": '{"prompt_tokens": -1, "completion_tokens": -5}',
    "2^64": '{"prompt_tokens": 18446744073709551616, "completion_tokens": 1}',
    "2^63": '{"prompt_tokens": 1, "completion_tokens": 9223372036854775808}',
    "a string": '{"prompt_tokens": "8", "completion_tokens": "1"}',
    "a fraction": '{"prompt_tokens": 0.5, "completion_tokens": 0.5}',
    "an exponent": '{"prompt_tokens": 1e0, "completion_tokens": 1e-9}',
    "a list": '{"prompt_tokens": [], "completion_tokens": [1]}',
    "a part above its whole": '{"prompt_tokens": 1, "completion_tokens": 1,'
    ' "prompt_tokens_details": {"cached_tokens": 2}}',
    "no object": "0",
}
BAD_JSON = {
    "said twice": '{"prompt_tokens": 9, "prompt_tokens": 0, "completion_tokens": 0}',
    "NaN": '{"prompt_tokens": NaN, "completion_tokens": NaN}',
    "cut": '{"prompt_tokens": 1, "completion_tokens":',
    "two of them": '{"prompt_tokens": 9, "completion_tokens": 9}, "usage": {}',
}
MISSING = {
    "absent": "absent",
    "null": "null",
    "empty": "{}",
    "a half": '{"completion_tokens": null}',
}
MOST = 40


@pytest.fixture
def key(stack: Stack) -> KeyInForce:
    return stack.key(allow_all_providers=True)


@pytest.fixture
def caller(stack: Stack, key: KeyInForce) -> Caller:
    return stack.caller(key.value)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("usage", BAD_COUNTS.values(), ids=BAD_COUNTS)
def test_a_count_that_is_none_is_charged_what_was_reserved(
    stack: Stack, key: KeyInForce, caller: Caller, usage: str, streamed: bool
) -> None:
    """R-45."""
    response = caller.chat(MODEL, ASKED, x_demo_usage=usage, max_tokens=MOST, stream=streamed)
    assert response.status_code == 200, response.text
    record = stack.admin.one_usage(key.id)
    assert record.estimated
    assert record.cost >= stack.admin.price("openai", MODEL).most(
        input=len(response.request.content), output=MOST
    )
    assert record.cost >= truth(stack)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "usage", [*BAD_JSON.values(), *MISSING.values()], ids=[*BAD_JSON, *MISSING]
)
def test_usage_that_is_missing_or_unreadable_is_estimated_and_never_less_than_served(
    stack: Stack, key: KeyInForce, caller: Caller, usage: str, streamed: bool
) -> None:
    """R-45."""
    response = caller.chat(MODEL, ASKED, x_demo_usage=usage, max_tokens=MOST, stream=streamed)
    assert response.status_code == 200, response.text
    record = stack.admin.one_usage(key.id)
    assert record.estimated
    assert record.cost >= truth(stack) > 0


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("provider", ["anthropic", "gemini", "bedrock", "cohere"])
def test_every_format_refuses_counts_that_are_none(
    stack: Stack, key: KeyInForce, caller: Caller, provider: str, streamed: bool
) -> None:
    """R-45, in the words of the other vendors."""
    names, whole, stream, model = OTHERS[provider]
    at = stream if streamed else whole
    call = at.calls()[1 if streamed and len(at.calls()) > 1 and provider != "gemini" else 0]
    bad = '{"billed_units": %s}' if provider == "cohere" else "%s"
    bad %= json.dumps({name: -1 for name in names})
    response = at.send(caller, call, {"x-demo-usage": bad})
    assert response.status_code == 200, response.text
    record = stack.admin.one_usage(key.id)
    assert record.estimated and record.streamed == streamed
    assert record.cost == reservation(stack, at, call) > truth(stack, model, provider)


OTHERS = {
    "anthropic": (
        ("input_tokens", "output_tokens"),
        surface("POST", "/v1/messages"),
        surface("POST", "/v1/messages"),
        "claude-sonnet-5",
    ),
    "gemini": (
        ("promptTokenCount", "candidatesTokenCount", "totalTokenCount"),
        surface("POST", "/v1beta/models/{model}:generateContent"),
        surface("POST", "/v1beta/models/{model}:streamGenerateContent"),
        "gemini-2.5-flash",
    ),
    "bedrock": (
        ("inputTokens", "outputTokens", "totalTokens"),
        surface("POST", "/model/{model}/converse"),
        surface("POST", "/model/{model}/converse-stream"),
        CLAUDE,
    ),
    "cohere": (
        ("input_tokens", "output_tokens"),
        surface("POST", "/v2/chat"),
        surface("POST", "/v2/chat"),
        "command-a-03-2025",
    ),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("reported", [True, False], ids=["beside the true one", "alone"])
def test_usage_in_what_was_said_is_not_believed(
    stack: Stack, key: KeyInForce, caller: Caller, reported: bool, streamed: bool
) -> None:
    """R-45: the answer quotes the prompt, which says what usage would say."""
    free = '{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}'
    said = (
        f'"}}}}],"usage":{free}}}\r\n\r\ndata: {{"choices":[],"usage":{free}}}\r\n\r\ndata: [DONE]'
    )
    headers = {} if reported else {"x_demo_usage": "absent"}
    response = caller.chat(MODEL, said, stream=streamed, **headers)
    assert response.status_code == 200, response.text
    record = stack.admin.one_usage(key.id)
    assert record.estimated == (not reported)
    assert record.cost == truth(stack) if reported else record.cost >= truth(stack) > 0
