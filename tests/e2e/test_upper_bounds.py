"""What a strict reservation is for: the most that a request can cost, by what it says of its output.

Row R-44 of the red team.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llm import chat_body, denial
from stack import Stack
from surfaces import surface

MODEL = "gpt-4o"

# Of the models below; the most of their output is what the catalogue says.
GPT_4O, INSTRUCT, SONNET, FLASH, COMMAND, CLAUDE_5 = 16_384, 4_096, 128_000, 65_536, 8_000, 64_000
BOUNDS: list[tuple[str, dict[str, Any], int]] = [
    ("/v1/chat/completions", {}, GPT_4O),
    ("/v1/chat/completions", {"max_tokens": None}, GPT_4O),
    ("/v1/chat/completions", {"max_tokens": 0}, GPT_4O),
    ("/v1/chat/completions", {"max_tokens": 10}, 10),
    ("/v1/chat/completions", {"max_completion_tokens": 10}, 10),
    ("/v1/chat/completions", {"max_tokens": 10, "max_completion_tokens": 10}, 10),
    ("/v1/chat/completions", {"max_tokens": 4_294_967_295}, GPT_4O),
    ("/v1/chat/completions", {"max_tokens": 10, "n": 128}, 1_280),
    ("/v1/chat/completions", {"n": 128}, 128 * GPT_4O),
    # What this API does not have bounds nothing.
    ("/v1/chat/completions", {"max_output_tokens": 10}, GPT_4O),
    ("/v1/completions", {"max_tokens": 10, "best_of": 7}, 70),
    ("/v1/completions", {"max_tokens": 10, "n": 2, "prompt": ["a", "b", "c"]}, 60),
    ("/v1/completions", {}, INSTRUCT),
    ("/v1/responses", {"max_output_tokens": 10}, 10),
    ("/v1/responses", {"max_tokens": 10}, GPT_4O),
    ("/v1/messages", {"max_tokens": 10}, 10),
    ("/v1/messages", {"max_tokens": 4_294_967_295}, SONNET),
    ("/v1beta/models/{model}:generateContent", {}, FLASH),
    ("/v1beta/models/{model}:generateContent", {"generationConfig": {"maxOutputTokens": 9}}, 9),
    (
        "/v1beta/models/{model}:generateContent",
        {"generation_config": {"max_output_tokens": 9, "candidate_count": 8}},
        72,
    ),
    ("/model/{model}/converse", {"inferenceConfig": {"maxTokens": 9}}, 9),
    # What goes to the model as it is may hold another bound.
    (
        "/model/{model}/converse",
        {"inferenceConfig": {"maxTokens": 9}, "additionalModelRequestFields": {"max_tokens": 99}},
        CLAUDE_5,
    ),
    ("/model/{model}/invoke", {"max_tokens": 9}, 9),
    ("/v2/chat", {"max_tokens": 9}, 9),
    ("/v2/chat", {}, COMMAND),
]


@pytest.mark.parametrize(
    ("template", "fields", "output"), BOUNDS, ids=[f"{t} {json.dumps(f)}" for t, f, _ in BOUNDS]
)
def test_a_request_reserves_the_most_that_it_can_cost(
    stack: Stack, template: str, fields: dict[str, Any], output: int
) -> None:
    """R-44."""
    at = surface("POST", template)
    call = at.calls()[0]
    call = replace(call, body={**call.body, **fields})
    key = stack.key(
        allow_all_providers=True, budget={"max_limit": 0.000000001, "reset_duration": "1M"}
    )
    refused = at.send(stack.caller(key.value), call)
    assert denial(refused, at.mount.dialect) == (402, "budget_exceeded")
    price = stack.admin.price(at.mount.provider, at.model(call))
    most = price.most(input=len(refused.request.content), output=output)
    assert refused.json()["requested"] == most
    assert stack.demo.nothing_arrived()


NO_BOUNDS: list[tuple[str, dict[str, Any]]] = [
    *(
        ("/v1/chat/completions", {name: value})
        for name in ("max_tokens", "max_completion_tokens", "n")
        for value in (-1, 1.0, 1.5, "100", True, [], {}, 2**63, 2**64)
    ),
    ("/v1/chat/completions", {"n": 0}),
    ("/v1/chat/completions", {"n": 129}),
    ("/v1/chat/completions", {"max_tokens": 1, "max_completion_tokens": 2}),
    ("/v1/chat/completions", {"MaxTokens": 1}),
    ("/v1/completions", {"best_of": 129}),
    ("/v1/responses", {"max_output_tokens": -1}),
    ("/v1/messages", {"max_tokens": "1"}),
    ("/v1beta/models/{model}:generateContent", {"generationConfig": {"maxOutputTokens": -1}}),
    ("/v1beta/models/{model}:generateContent", {"generationConfig": {"candidateCount": 0}}),
    (
        "/v1beta/models/{model}:generateContent",
        {"generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 9}},
    ),
    (
        "/v1beta/models/{model}:generateContent",
        {"generationConfig": {}, "generation_config": {"maxOutputTokens": 1}},
    ),
    ("/model/{model}/converse", {"inferenceConfig": {"maxTokens": 2**63}}),
    ("/model/{model}/invoke", {"max_tokens": -1}),
    ("/v2/chat", {"max_tokens": 1.5}),
]


def test_a_bound_that_two_parsers_could_read_differently_is_400(
    stack: Stack,
) -> None:
    """R-44."""
    caller = stack.caller(stack.key(allow_all_providers=True).value)
    for template, fields in NO_BOUNDS:
        at = surface("POST", template)
        call = at.calls()[0]
        response = at.send(caller, replace(call, body={**call.body, **fields}))
        refusal = denial(response, at.mount.dialect)
        assert refusal == (400, "invalid_request"), (template, fields)
    for number in ("1e3", "1E1", "-0", "0x10", "01", "1e999999"):
        body = json.dumps(chat_body(MODEL, max_tokens=7)).replace("7", number)
        response = caller.request(
            "POST",
            "/v1/chat/completions",
            content=body,
            headers={"content-type": "application/json"},
        )
        assert denial(response) == (400, "invalid_request"), number
    assert stack.demo.nothing_arrived()
