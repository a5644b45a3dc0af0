"""Names that callers use for a provider's models, and names that only look as if they named a provider."""

from __future__ import annotations

import pytest

from llm import CHAT, denial
from stack import Stack
from waiting import eventually

ALIASES = {"fast": "gpt-4o-mini", "team/smart": "gpt-4o", "tomorrow": "gpt-9"}


@pytest.fixture
def named(new_stack) -> Stack:
    """A stack whose OpenAI has other names for its models."""
    stack = new_stack()
    stack.admin.put("/api/providers/openai", {"aliases": ALIASES})
    return stack


def test_an_alias_is_served_priced_and_recorded_as_the_model_it_stands_for(named: Stack) -> None:
    stack = named
    key = stack.key()
    caller = stack.caller(key.value)
    for asked, alias, model in (
        ("openai/fast", "fast", "gpt-4o-mini"),
        ("fast", "fast", "gpt-4o-mini"),
        ("team/smart", "team/smart", "gpt-4o"),
        ("gpt-4o", None, "gpt-4o"),
    ):
        served = stack.demo.served(model)["requests"]
        answer = caller.chat(asked)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-reeve-model"] == model
        assert stack.demo.served(model)["requests"] == served + 1
        explained = stack.admin.post(
            "/api/governance/explain",
            {"path": CHAT, "virtual_key_id": key.id, "body": {"model": asked, "messages": []}},
        )
        assert (explained["plan"]["alias"], explained["plan"]["model"]) == (alias, model)
    records = stack.admin.usage(key.id, 4)
    assert sorted((record.record["alias"] or "", record.model) for record in records) == [
        ("", "gpt-4o"),
        ("fast", "gpt-4o-mini"),
        ("fast", "gpt-4o-mini"),
        ("team/smart", "gpt-4o"),
    ]
    for record in records:
        price = stack.admin.price("openai", record.model)
        assert record.cost == price.cost(uncached=record.input_tokens, output=record.output_tokens)


def test_a_key_may_use_an_alias_by_either_name_and_is_refused_by_either(named: Stack) -> None:
    stack = named

    def statuses(**lists: list[str]) -> list[int]:
        key = stack.key(provider_configs=[{"provider": "openai", **lists}])
        caller = stack.caller(key.value)
        return [caller.chat(model).status_code for model in ("fast", "gpt-4o-mini", "team/smart")]

    assert statuses(allowed_models=["fast"]) == [200, 403, 403]
    assert statuses(allowed_models=["gpt-4o-mini"]) == [200, 200, 403]
    assert statuses(allowed_models=[]) == [200, 200, 200]
    assert statuses(allowed_models=["*"], blacklisted_models=["fast"]) == [403, 200, 200]
    assert statuses(allowed_models=["*"], blacklisted_models=["gpt-4o"]) == [200, 200, 403]


def test_the_list_of_models_has_the_aliases_that_the_key_may_use(named: Stack) -> None:
    stack = named

    def listed(**lists: list[str]) -> set[str]:
        key = stack.key(provider_configs=[{"provider": "openai", **lists}])
        answer = stack.caller(key.value).request("GET", "/v1/models").json()
        ids = [model["id"] for model in answer["data"]]
        assert len(ids) == len(set(ids))
        return {name for name in ids if name.removeprefix("openai/") in (*ALIASES, "gpt-4o")}

    assert listed(allowed_models=["fast", "tomorrow"]) == {"openai/fast", "openai/tomorrow"}
    # What an alias stands for is in the catalogue, or not.
    assert listed(allowed_models=[]) == {"openai/fast", "openai/team/smart", "openai/gpt-4o"}
    assert listed(allowed_models=["*"], blacklisted_models=["gpt-4o"]) == {
        "openai/fast",
        "openai/tomorrow",
    }


def test_a_change_of_an_alias_is_in_force_when_it_is_answered(named: Stack) -> None:
    stack = named
    caller = stack.caller(stack.key().value)
    assert caller.chat("fast").headers["x-reeve-model"] == "gpt-4o-mini"
    stack.admin.put("/api/providers/openai", {"aliases": {"fast": "gpt-4o"}})
    assert caller.chat("fast").headers["x-reeve-model"] == "gpt-4o"
    stack.admin.put("/api/providers/openai", {"aliases": None})
    assert denial(caller.chat("fast")) == (402, "price_unknown")


def test_a_name_with_a_slash_that_names_no_provider_goes_whole_to_the_provider(new_stack) -> None:
    stack = new_stack()
    ceiling = {"input_cost_per_million_tokens": 20, "output_cost_per_million_tokens": 100}
    stack.admin.put("/api/config", {"client_config": {"unpriced_model_ceiling": ceiling}})
    key = stack.key()
    for asked in ("meta-llama/Llama-3.3-70B", "openai/meta-llama/Llama-3.3-70B"):
        answer = stack.caller(key.value).chat(asked)
        assert answer.status_code == 200, answer.text
    assert stack.demo.served("meta-llama/Llama-3.3-70B")["requests"] == 2
    models = {record.model for record in stack.admin.usage(key.id, 2)}
    assert models == {"meta-llama/Llama-3.3-70B"}
    # A provider of that name changes what the prefix means.
    stack.admin.create_provider("meta-llama", stack.demo.url)
    refused = eventually(
        lambda: [
            it
            for it in [stack.caller(key.value).chat("meta-llama/Llama-3.3-70B")]
            if it.status_code == 403
        ],
        what="the provider in force",
    )
    assert denial(refused[0]) == (403, "provider_blocked")
