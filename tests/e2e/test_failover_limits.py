"""A provider without room under its own limits, and what attempts that failed had reserved."""

from __future__ import annotations

from llm import chat_body, denial
from providers import MODEL, Providers, answered_by, in_order
from waiting import eventually


def test_a_provider_whose_own_limit_is_full_is_passed_over(providers: Providers) -> None:
    one = {"rate_limit": {"request_max_limit": 1, "request_reset_duration": "1h"}}
    key = providers.key("openai", "second", more={"openai": one})
    caller = providers.stack.caller(key.value)
    answers = [answered_by(caller.chat(MODEL)) for _ in range(4)]
    assert answers == [("openai", 1, 0)] + [("second", 1, 1)] * 3
    providers.assert_charged_as_served(key, "openai", "second")
    # By its name there is no other one.
    assert denial(caller.chat(f"openai/{MODEL}")) == (429, "request_limited")
    explained = providers.stack.admin.post(
        "/api/governance/explain",
        {"path": "/v1/chat/completions", "virtual_key_id": key.id, "body": chat_body(MODEL)},
    )
    assert explained["decision"] == "forward"
    assert [it["provider"] for it in explained["attempts"]] == ["second"]
    assert [(it["provider"], it["type"]) for it in explained["left_out"]] == [
        ("openai", "request_limited")
    ]


def test_when_nobody_has_room_the_first_choices_limit_is_told(providers: Providers) -> None:
    one = {"rate_limit": {"request_max_limit": 1, "request_reset_duration": "1h"}}
    key = providers.key("openai", "second", more={"openai": one, "second": one})
    caller = providers.stack.caller(key.value)
    assert [answered_by(caller.chat(MODEL))[0] for _ in range(2)] == ["openai", "second"]
    response = caller.chat(MODEL)
    assert denial(response) == (429, "request_limited")
    configs = providers.stack.admin.key(key.id)["provider_configs"]
    (openai,) = [config for config in configs if config["provider"] == "openai"]
    assert response.json()["owner_id"] == openai["id"]
    assert sum(providers.requests().values()) == 2


def test_a_fallback_whose_limit_cannot_be_asked_for_refuses_nobody(new_stack) -> None:
    """Of a limit of ten nothing is held before it was asked for, and the control plane is gone."""
    stack = new_stack()
    second = stack.another_demo("second")
    stack.admin.create_provider("second", second.url, key="sk-second")
    ten = {"rate_limit": {"request_max_limit": 10, "request_reset_duration": "1h"}}
    key = stack.key(provider_configs=in_order("openai", "second", second=ten))
    stack.control_plane.kill()
    caller = stack.caller(key.value)
    for _ in range(3):
        assert answered_by(caller.chat(MODEL)) == ("openai", 1, 0)
    # Who has no other choice is refused.
    assert denial(caller.chat(f"second/{MODEL}")) == (503, "limits_unavailable")
    assert second.requests() == 0
    second.close()


def test_what_was_reserved_for_others_is_given_back(providers: Providers) -> None:
    """A budget that one answer fits into a few times is not used up by attempts that failed."""
    price = providers.stack.admin.price("openai", MODEL)
    dollars = price.cost(output=1_000) * 3 / 1e9
    budget = {"budget": {"max_limit": dollars, "reset_duration": "1M"}}
    key = providers.key("openai", "second", more={"openai": budget, "second": budget})
    caller = providers.stack.caller(key.value)
    for _ in range(12):
        response = caller.chat(
            MODEL, max_tokens=1_000, x_demo_output_tokens="5", x_demo_fault="demo=503"
        )
        assert answered_by(response) == ("second", 2, 1)
    providers.assert_charged_as_served(key, "second")

    def used() -> dict[str, int]:
        found = providers.stack.admin.key(key.id)["provider_configs"]
        return {it["provider"]: it["budgets"][0]["current_usage"] for it in found}

    usage = providers.stack.admin.usage(key.id, 12)
    charged = sum(record.cost for record in usage)
    eventually(lambda: int(used()["second"] * 10**9) == charged, what="the charge to the second")
    assert used()["openai"] == 0
