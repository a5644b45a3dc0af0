"""Routing rules: where conditions on a request send it, and where they cannot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from demo import Demo
from llm import CHAT, chat_body, denial
from stack import KeyInForce, Stack
from waiting import eventually

RULES = "/api/governance/routing-rules"
BOTH = [
    {"provider": "openai", "allowed_models": ["*"], "weight": 1},
    {"provider": "spare", "allowed_models": ["*"], "weight": None},
]
CHEAP = "gpt-4o-mini"


class Rules:
    """Made through the API, and gone after the test."""

    def __init__(self, stack: Stack, spare: Demo) -> None:
        self.stack = stack
        self.spare = spare
        self.made: list[str] = []

    def create(self, expression: str, *targets: dict[str, Any], **fields: Any) -> str:
        """Gives the rule's path."""
        rule = {"name": self.stack.unique("rule"), "cel_expression": expression, **fields}
        made = self.stack.admin.post(RULES, rule | {"targets": list(targets)})["rule"]
        self.made.append(f"{RULES}/{made['id']}")
        return self.made[-1]

    def delete(self, path: str) -> None:
        self.stack.admin.delete(path)
        self.made.remove(path)

    def place(self, key: KeyInForce, model: str = "gpt-4o", **fields: Any) -> tuple[str, str]:
        """Provider and model that answered."""
        answer = self.stack.caller(key.value).chat(model, max_tokens=1_000, **fields)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-reeve-provider"], answer.headers["x-reeve-model"]


@pytest.fixture(scope="module")
def _routed() -> Iterator[tuple[Stack, Demo]]:
    with Stack("routing-rules") as stack:
        stack.admin.enable_governance()
        spare = stack.another_demo("spare")
        stack.admin.create_provider("spare", spare.url)
        caller = stack.caller(stack.key(provider_configs=BOTH).value)

        def answers() -> bool:
            return caller.chat("spare/gpt-4o").status_code == 200

        eventually(answers, what="Envoy to know the second provider")
        yield stack, spare


@pytest.fixture
def rules(_routed: tuple[Stack, Demo]) -> Iterator[Rules]:
    stack, spare = _routed
    for demo in (stack.demo, spare):
        demo.reset()
    rules = Rules(stack, spare)
    yield rules
    for path in list(rules.made):
        rules.delete(path)


def test_a_header_sends_a_request_elsewhere_and_every_change_is_in_force_at_once(
    rules: Rules,
) -> None:
    key = rules.stack.key(provider_configs=BOTH)
    premium = {"x_tier": "premium"}
    assert rules.place(key, **premium) == ("openai", "gpt-4o")
    path = rules.create("headers['x-tier'] == 'premium'", {"provider": "spare"})
    assert rules.place(key, **premium) == ("spare", "gpt-4o")
    assert rules.place(key, x_tier="free") == ("openai", "gpt-4o")
    assert rules.place(key) == ("openai", "gpt-4o"), "no such header"
    # What the caller names is what rules begin with.
    assert rules.place(key, "openai/gpt-4o", **premium) == ("spare", "gpt-4o")
    admin = rules.stack.admin
    admin.put(path, {"cel_expression": "headers['x-tier'] == 'free'"})
    assert rules.place(key, x_tier="free") == ("spare", "gpt-4o")
    assert rules.place(key, **premium) == ("openai", "gpt-4o")
    admin.put(path, {"targets": [{"model": CHEAP}]})
    assert rules.place(key, x_tier="free") == ("openai", CHEAP)
    admin.put(path, {"enabled": False})
    assert rules.place(key, x_tier="free") == ("openai", "gpt-4o")
    admin.put(path, {"enabled": True})
    assert rules.place(key, x_tier="free") == ("openai", CHEAP)
    rules.delete(path)
    assert rules.place(key, x_tier="free") == ("openai", "gpt-4o")


def test_a_rule_does_not_see_credentials_and_may_not_ask_for_them(rules: Rules) -> None:
    rule = {"name": "spy", "targets": [{"provider": "spare"}]}
    for name in ("authorization", "x-bf-vk", "x-api-key", "cookie", "x_api_key"):
        rule["cel_expression"] = f"'{name}' in headers"
        answer = rules.stack.admin.request("POST", RULES, rule)
        assert answer.status_code == 400, answer.text
        assert answer.json()["field"] == "cel_expression", answer.text


def test_a_budget_that_is_nearly_used_up_sends_to_a_cheaper_model(rules: Rules) -> None:
    stack = rules.stack
    budget = {"max_limit": 0.02, "reset_duration": "1M"}
    team = stack.admin.create_team(name=stack.unique("team"), budget=budget)
    key = stack.key(team_id=team["id"], provider_configs=BOTH)
    rules.create(
        "budget['team/1M'] > 40", {"model": CHEAP}, scope="team", scope_id=team["id"]
    )
    # 900 tokens of output cost 0.009 dollars: 45 percent.
    assert rules.place(key, x_demo_output_tokens="900") == ("openai", "gpt-4o")
    for _ in range(6):
        # On whichever worker.
        assert rules.place(key) == ("openai", CHEAP)
    assert rules.place(stack.key(provider_configs=BOTH)) == ("openai", "gpt-4o"), "not theirs"
    # A new Envoy process is told what was spent before it.
    stack.admin.usage(key.id, 7)
    stack.envoy.stop()
    stack.start_envoy()
    stack.await_key(key.value)
    assert rules.place(key) == ("openai", CHEAP)


def test_a_rule_cannot_send_a_request_where_its_key_may_not_go(rules: Rules) -> None:
    stack = rules.stack
    key = stack.key()
    path = rules.create("true", {"provider": "spare"}, scope="virtual_key", scope_id=key.id)
    assert denial(stack.caller(key.value).chat("gpt-4o")) == (403, "provider_blocked")
    narrow = [{"provider": "openai", "allowed_models": ["gpt-4o"]}]
    stack.admin.update_key(key.id, provider_configs=narrow)
    stack.admin.put(path, {"targets": [{"model": CHEAP}]})
    assert denial(stack.caller(key.value).chat("gpt-4o")) == (403, "model_blocked")
    assert rules.spare.nothing_arrived()
    assert stack.demo.nothing_arrived()
    # Of several targets, those that the key may use are drawn.
    targets = [
        {"provider": "spare", "weight": 0.9},
        {"provider": "openai", "weight": 0.1},
    ]
    stack.admin.put(path, {"targets": targets})
    assert {rules.place(key) for _ in range(10)} == {("openai", "gpt-4o")}
    assert rules.spare.nothing_arrived()


def test_a_rule_cannot_send_a_request_past_a_limit(rules: Rules) -> None:
    stack = rules.stack
    one = {"request_max_limit": 1, "request_reset_duration": "1d"}
    key = stack.key(provider_configs=[BOTH[0], BOTH[1] | {"rate_limit": one}])
    rules.create("true", {"provider": "spare"}, scope="virtual_key", scope_id=key.id)
    assert rules.place(key) == ("spare", "gpt-4o")
    assert denial(stack.caller(key.value).chat("gpt-4o")) == (429, "request_limited")
    assert rules.spare.requests() == 1


def test_targets_are_drawn_by_weight(rules: Rules) -> None:
    key = rules.stack.key(provider_configs=BOTH)
    rules.create(
        "model == 'gpt-4o'",
        {"provider": "openai", "weight": 0.3},
        {"provider": "spare", "weight": 0.7},
    )
    for _ in range(100):
        rules.place(key)
    # 100 draws with 0.7: outside of 45..91 once in 7,000,000 runs.
    assert 45 <= rules.spare.requests() <= 91
    assert rules.stack.demo.requests() + rules.spare.requests() == 100


def test_rules_chain_and_the_narrowest_scope_is_asked_first(rules: Rules) -> None:
    stack = rules.stack
    team = stack.admin.create_team(name=stack.unique("team"))
    key = stack.key(team_id=team["id"], provider_configs=BOTH)
    rules.create("model == 'gpt-4o'", {"model": "o3"}, priority=-5)
    assert rules.place(key) == ("openai", "o3")
    of_team = rules.create(
        "model == 'gpt-4o'", {"model": CHEAP}, scope="team", scope_id=team["id"], chain_rule=True
    )
    # The team's rule, then, at what it made of the request, one of everyone's.
    rules.create(f"model == '{CHEAP}'", {"provider": "spare"}, priority=7)
    assert rules.place(key) == ("spare", CHEAP)
    stack.admin.put(of_team, {"chain_rule": False})
    assert rules.place(key) == ("openai", CHEAP)
    rules.create("true", {"model": "o4-mini"}, scope="virtual_key", scope_id=key.id)
    assert rules.place(key) == ("openai", "o4-mini")


def test_rules_that_chain_in_a_circle_come_to_an_end(rules: Rules) -> None:
    key = rules.stack.key(provider_configs=BOTH)
    rules.create("model == 'gpt-4o'", {"model": CHEAP}, chain_rule=True)
    rules.create(f"model == '{CHEAP}'", {"model": "gpt-4o"}, chain_rule=True)
    assert rules.place(key) == ("openai", "gpt-4o")


def test_a_rule_that_cannot_be_evaluated_is_passed_over_and_counted(rules: Rules) -> None:
    key = rules.stack.key(provider_configs=BOTH)
    path = rules.create("int(headers['x-rank']) > 5", {"provider": "spare"})

    def counted() -> int:
        stats = rules.stack.stats("reeve_routing_rule_errors_total")
        return sum(stats.values())

    assert rules.place(key, x_rank="6") == ("spare", "gpt-4o")
    assert rules.place(key) == ("openai", "gpt-4o")
    assert counted() == 0, "a header that is not there is no error"
    assert rules.place(key, x_rank="high") == ("openai", "gpt-4o")
    assert counted() == 1
    # Also when the request is refused after that.
    refused = rules.stack.caller(key.value).chat("elsewhere", x_rank="high")
    assert denial(refused) == (402, "price_unknown")
    assert counted() == 2
    rule_id = path.rsplit("/", 1)[1]
    assert any(rule_id in name for name in rules.stack.stats("reeve_routing_rule"))


def test_the_fallbacks_of_a_rule_answer_when_its_target_fails(rules: Rules) -> None:
    key = rules.stack.key(provider_configs=BOTH)
    rules.create("model == 'gpt-4o'", {"provider": "spare"}, fallbacks=["openai/" + CHEAP])
    answer = rules.stack.caller(key.value).chat("gpt-4o", x_demo_fault="spare=503")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-reeve-provider"] == "openai"
    assert answer.headers["x-reeve-model"] == CHEAP
    assert answer.headers["x-reeve-attempts"] == "2"


def test_what_is_explained_is_what_happens(rules: Rules) -> None:
    stack = rules.stack
    key = stack.key(provider_configs=BOTH)
    first = rules.create("headers['x-tier'] == 'gold'", {"provider": "spare"})
    second = rules.create("request_type == 'chat_completion'", {"model": CHEAP}, priority=1)
    for headers, place, results in [
        ({}, ("openai", CHEAP), ["missing", "matched"]),
        ({"x-tier": "silver"}, ("openai", CHEAP), ["not_matched", "matched"]),
        ({"x-tier": "gold"}, ("spare", "gpt-4o"), ["matched"]),
    ]:
        asked = {
            "path": CHAT,
            "body": chat_body("gpt-4o"),
            "virtual_key_id": key.id,
            "headers": headers,
        }
        told = stack.admin.post("/api/governance/explain", asked)
        looked = [(rule["id"], rule["result"]) for rule in told["routing_rules"]]
        ids = [path.rsplit("/", 1)[1] for path in (first, second)]
        assert looked == list(zip(ids, results, strict=False))
        plan = told["plan"]
        assert (plan["provider"], plan["model"]) == place
        assert plan["routing_rule_id"] == looked[-1][0]
        answer = stack.caller(key.value, **headers).chat("gpt-4o", max_tokens=100)
        assert (answer.headers["x-reeve-provider"], answer.headers["x-reeve-model"]) == place
        line = stack.access_log(answer.headers["x-request-id"])
        assert line["reeve.routing_rule.id"] == plan["routing_rule_id"]
