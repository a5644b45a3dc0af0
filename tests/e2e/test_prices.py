"""What an answer costs: tiers of service, long prompts, versions of prices, models without one.

Costs are worked out anew from the built-in catalogue's own file and from what the demo provider says it
served.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llm import chat_body, denial
from stack import KeyInForce, Stack
from waiting import eventually

CATALOGUE = Path(__file__).parents[2] / "control-plane" / "catalogue" / "models.jsonl"


@cache
def listed(provider: str, model: str) -> dict[str, Any]:
    lines = CATALOGUE.read_text().splitlines()[1:]
    (found,) = (
        entry
        for entry in map(json.loads, lines)
        if (entry["p"], entry["m"]) == (provider, model)
    )
    return found


def cost(rates: dict[str, int], served: dict[str, int]) -> int:
    """Nano-dollars, rounded up once. `rates` are nano-dollars per million tokens."""
    millionths = served["input_tokens"] * rates["in"] + served["output_tokens"] * rates["out"]
    return -(-millionths // 1_000_000)


def rates(provider: str, model: str, card: str | None = None) -> dict[str, int]:
    entry = listed(provider, model)
    return entry["$"] | (entry["x"][card] if card else {})


def cost_of_one(stack: Stack, key: KeyInForce, **body: Any) -> tuple[int, dict[str, Any]]:
    """What a chat with gpt-5 is charged, and its record."""
    answer = stack.caller(key.value).chat("gpt-5", **body)
    assert answer.status_code == 200, answer.text
    usage = stack.admin.one_usage(key.id)
    return usage.cost, usage.record


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("asked", "served", "card"),
    [
        (None, None, None),
        ("flex", None, "flex"),
        ("priority", None, "priority"),
        # The provider has no room in the tier, or gives more than was asked for.
        ("priority", "default", None),
        ("flex", "default", None),
        ("auto", "priority", "priority"),
        (None, "priority", "priority"),
    ],
)
def test_the_tier_that_the_answer_names_is_charged(
    stack: Stack, asked: str | None, served: str | None, card: str | None, stream: bool
) -> None:
    key = stack.key()
    body: dict[str, Any] = {"max_completion_tokens": 1_000, "stream": stream}
    if asked:
        body["service_tier"] = asked
    if served:
        body["x_demo_service_tier"] = served
    charged, record = cost_of_one(stack, key, x_demo_output_tokens="777", **body)
    assert charged == cost(rates("openai", "gpt-5", card), stack.demo.served("gpt-5"))
    assert record["service_tier"] == (card or "standard")


def test_the_dearest_tier_that_a_request_may_be_served_in_is_reserved(stack: Stack) -> None:
    """Money for the ordinary price is not enough for a request that may cost twice as much."""
    most = {"input_tokens": 400, "output_tokens": 1_000}
    room = cost(rates("openai", "gpt-5"), most)
    key = stack.key(budget={"max_limit": room / 10**9, "reset_duration": "1M"})
    body = {"max_completion_tokens": 1_000, "x_demo_output_tokens": "1"}
    caller = stack.caller(key.value)
    for tier in ("priority", "auto", "unheard-of"):
        refused = caller.chat("gpt-5", service_tier=tier, **body)
        assert denial(refused) == (402, "budget_exceeded"), tier
    for tier in ("default", "flex"):
        assert caller.chat("gpt-5", service_tier=tier, **body).status_code == 200, tier


@pytest.mark.parametrize(("input_tokens", "card"), [(200_000, None), (200_001, ">200000")])
def test_a_long_prompt_costs_the_prices_for_long_prompts_as_a_whole(
    stack: Stack, input_tokens: int, card: str | None
) -> None:
    key = stack.key(provider_configs=[{"provider": "gemini", "allowed_models": ["*"]}])
    # Four bytes of text are a token to the demo provider.
    body = {
        "contents": [{"role": "user", "parts": [{"text": "word" * input_tokens}]}],
        "generationConfig": {"maxOutputTokens": 100},
    }
    path = "/v1beta/models/gemini-2.5-pro:generateContent"
    answer = stack.caller(key.value).post(path, body)
    assert answer.status_code == 200, answer.text
    served = stack.demo.served("gemini-2.5-pro")
    assert served["input_tokens"] == input_tokens
    charged = stack.admin.one_usage(key.id).cost
    assert charged == cost(rates("gemini", "gemini-2.5-pro", card), served)


def test_a_record_carries_the_version_of_the_price_that_it_was_reserved_at(new_stack) -> None:
    """A price that changes while an answer is on its way is that of the next request."""
    stack = new_stack()
    stack.admin.set_price("openai", "changing", input=1, output=10)
    before = stack.admin.get("/api/models/openai/changing")["model"]["price_version"]
    key = stack.key()
    caller = stack.caller(key.value)
    body = chat_body("changing", max_tokens=100)
    steering = {"x_demo_output_tokens": "20", "x_demo_chunk_delay_ms": "50"}
    with caller.stream(body, **steering) as answer:
        lines = answer.iter_lines()
        next(lines)
        stack.admin.put(
            "/api/models/openai/changing", {"output_cost_per_million_tokens": 1_000}
        )
        after = stack.admin.get("/api/models/openai/changing")["model"]["price_version"]
        assert "[DONE]" in "".join(lines)
    assert caller.chat("changing", max_tokens=100, x_demo_output_tokens="20").status_code == 200
    first, second = stack.admin.usage(key.id, 2)
    assert first.record["price_version"] == before < after == second.record["price_version"]
    assert first.cost == first.input_tokens * 1_000 + 20 * 10_000
    assert second.cost == second.input_tokens * 1_000 + 20 * 1_000_000


def test_a_builtin_price_has_the_version_of_the_catalogue(stack: Stack) -> None:
    header = json.loads(CATALOGUE.read_text().splitlines()[0])
    key = stack.key()
    _, record = cost_of_one(stack, key, max_completion_tokens=10)
    assert record["price_version"] == header["price_version"]


def test_a_model_without_a_price_costs_the_ceiling_if_there_is_one(new_stack) -> None:
    stack = new_stack()
    key = stack.key()

    def ask():
        return stack.caller(key.value).chat("unheard-of", max_tokens=50)

    assert denial(ask()) == (402, "price_unknown")
    assert stack.demo.nothing_arrived()
    ceiling = {"input_cost_per_million_tokens": 20, "output_cost_per_million_tokens": 100}
    stack.admin.put("/api/config", {"client_config": {"unpriced_model_ceiling": ceiling}})
    assert ask().status_code == 200
    usage = stack.admin.one_usage(key.id)
    served = stack.demo.served("unheard-of")
    assert usage.cost == served["input_tokens"] * 20_000 + served["output_tokens"] * 100_000
    assert usage.record["price_version"] > 10**12
    stack.admin.put("/api/config", {"client_config": {"unpriced_model_ceiling": None}})
    assert denial(eventually(lambda: [ask()], what="an answer")[0]) == (402, "price_unknown")


def per_unit(provider: str, model: str, meter: str) -> int:
    """Nano-dollars of one unit."""
    price = listed(provider, model)["$"][meter]
    assert price % 1_000_000 == 0
    return price // 1_000_000


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
@pytest.mark.parametrize(("documents", "searches"), [(1, 1), (100, 1), (101, 2)])
def test_a_ranking_costs_its_searches(
    stack: Stack, path: str, documents: int, searches: int
) -> None:
    key = stack.key(provider_configs=[{"provider": "cohere", "allowed_models": ["*"]}])
    body = {"model": "rerank-v3.5", "query": "q", "documents": ["a"] * documents}
    answer = stack.caller(key.value).post(path, body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["meta"]["billed_units"]["search_units"] == searches
    usage = stack.admin.one_usage(key.id)
    assert usage.cost == searches * per_unit("cohere", "rerank-v3.5", "queries")
    assert not usage.estimated


def test_speech_costs_its_characters_and_no_budget_is_overdrawn(stack: Stack) -> None:
    text = "Gr\u00fc\u00dfe aus M\u00fcnchen \U0001f30d"
    one = len(text) * per_unit("openai", "tts-1", "chars_in")
    key = stack.key(budget={"max_limit": 2 * one / 10**9, "reset_duration": "1M"})
    body = {"model": "tts-1", "input": text, "voice": "alloy"}

    def speak():
        return stack.caller(key.value).post("/v1/audio/speech", body)

    assert [speak().status_code for _ in range(2)] == [200, 200]
    assert denial(speak()) == (402, "budget_exceeded")
    assert [usage.cost for usage in stack.admin.usage(key.id, 2)] == [one, one]


def test_a_recording_costs_its_seconds(stack: Stack) -> None:
    key = stack.key()
    # 16,000 bytes of a recording last a second, to the demo provider.
    files = {"file": ("a.mp3", b"s" * 16_000 * 7)}
    path = "/v1/audio/transcriptions"
    answer = stack.caller(key.value).request("POST", path, data={"model": "whisper-1"}, files=files)
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"] == {"type": "duration", "seconds": 7}
    usage = stack.admin.one_usage(key.id)
    assert usage.cost == 7 * per_unit("openai", "whisper-1", "seconds_in")
    assert not usage.estimated


def test_the_most_specific_override_is_charged_and_pinned(new_stack) -> None:
    stack = new_stack()
    path = "/api/governance/pricing-overrides"
    mine, other = stack.key(), stack.key()

    def override(pattern: str, dollars: int, **scope: str) -> dict[str, Any]:
        prices = {
            "input_cost_per_million_tokens": dollars,
            "output_cost_per_million_tokens": dollars,
        }
        fields = {"name": stack.unique("override"), "pattern": pattern, **prices, **scope}
        return stack.admin.post(path, fields)["pricing_override"]

    def charged(key: KeyInForce, count: int) -> tuple[int, int]:
        """Nano-dollars for a token, and the version of the price."""
        answer = stack.caller(key.value).chat("gpt-5", service_tier="priority")
        assert answer.status_code == 200, answer.text
        last = stack.admin.usage(key.id, count)[-1]
        each, rest = divmod(last.cost, last.input_tokens + last.output_tokens)
        assert rest == 0
        return each, last.record["price_version"]

    everywhere = override("gpt-*", 1)
    assert charged(mine, 1) == (1_000, everywhere["price_version"])
    exact = override("gpt-5", 2, provider="openai")
    assert charged(mine, 2) == (2_000, exact["price_version"])
    for_mine = override("*", 3, virtual_key_id=mine.id)
    assert charged(mine, 3) == (3_000, for_mine["price_version"])
    assert charged(other, 1) == (2_000, exact["price_version"])
    for own in (for_mine, exact, everywhere):
        stack.admin.delete(f"{path}/{own['id']}")
    assert stack.caller(mine.value).chat("gpt-5").status_code == 200
    header = json.loads(CATALOGUE.read_text().splitlines()[0])
    last = stack.admin.usage(mine.id, 4)[-1]
    assert last.record["price_version"] == header["price_version"]
