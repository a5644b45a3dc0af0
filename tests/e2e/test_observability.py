"""What an operator sees of each request: Envoy's access log and its metrics, without any secret."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from llm import denial
from money import nanos
from stack import KeyInForce, Stack
from surfaces import ASKED, SURFACES, surface
from waiting import eventually

Line = dict[str, Any]


def access_log(stack: Stack) -> Iterator[Line]:
    for line in stack.envoy.text().splitlines():
        if line.startswith("{") and line.endswith("}"):
            yield json.loads(line, parse_float=str)


def logged(stack: Stack, request_id: str) -> Line:
    """The one line of a request."""

    def found() -> list[Line]:
        return [line for line in access_log(stack) if line.get("request_id") == request_id]

    (line,) = eventually(found, what=f"request {request_id} in the access log")
    return line


@pytest.fixture(scope="module")
def family(_shared: Stack) -> tuple[dict[str, Any], dict[str, Any], KeyInForce]:
    mark = _shared.unique("observed")
    customer = _shared.admin.create_customer(name=mark)
    team = _shared.admin.create_team(name=mark, customer_id=customer["id"])
    return customer, team, _shared.key(team_id=team["id"], allow_all_providers=True)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_the_access_log_says_who_asked_whom_for_what_and_what_it_cost(
    stack: Stack, family: tuple, streamed: bool
) -> None:
    customer, team, key = family
    caller = stack.caller(key.value)
    response = caller.chat("openai/gpt-4o", ASKED, stream=streamed)
    request_id = response.headers["x-request-id"]
    line = logged(stack, request_id)
    served = stack.demo.served("gpt-4o")
    price = stack.admin.price("openai", "gpt-4o")
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": str(served["input_tokens"]),
        "gen_ai.usage.output_tokens": str(served["output_tokens"]),
        "reeve.endpoint": "chat_completions",
        "reeve.outcome": "complete",
        "reeve.virtual_key.id": key.id,
        "reeve.team.id": team["id"],
        "reeve.customer.id": customer["id"],
        "method": "POST",
        "status": 200,
        "protocol": "HTTP/1.1",
    }
    assert {name: line.get(name) for name in expected} == expected
    cost = price.cost(uncached=served["input_tokens"], output=served["output_tokens"])
    assert nanos(line["reeve.cost_usd"]) == cost > 0
    assert line["bytes_received"] > 0 and line["bytes_sent"] > 0 and line["duration_ms"] >= 0
    assert line["cluster"] and line["time"] and line["client"]
    assert "reeve.denied" not in line and "reeve.estimated" not in line


def test_the_access_log_says_why_a_request_was_refused(stack: Stack) -> None:
    barred = stack.key(provider_configs=[{"provider": "openai", "allowed_models": ["x"]}])
    for key, model, status, kind in (
        (None, "gpt-4o", 401, "virtual_key_required"),
        (barred.value, "openai/gpt-4o", 403, "model_blocked"),
    ):
        refused = stack.caller(key).chat(model)
        assert denial(refused) == (status, kind)
        line = logged(stack, refused.headers["x-request-id"])
        assert (line["status"], line["reeve.denied"]) == (status, kind)
        assert line["details"] == f"reeve.{kind}"
        assert "reeve.cost_usd" not in line and "gen_ai.request.model" not in line


def test_the_access_log_says_when_a_cost_is_estimated(stack: Stack, family: tuple) -> None:
    _, _, key = family
    response = stack.caller(key.value).chat("openai/gpt-4o", x_demo_usage="absent")
    line = logged(stack, response.headers["x-request-id"])
    assert (line["reeve.estimated"], line["reeve.outcome"]) == ("true", "complete")


# ---- metrics


SAMPLE = re.compile(r"(\w+)\{(.*)\} (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
Sample = tuple[str, dict[str, str], float]
# (What Envoy itself counts of the filter has other names.)
OURS = re.compile(r"^(?!.*_vm_reload|.*_config_discovery)\w*?((?:reeve|gen_ai)_\w+)")
METRICS = {
    "reeve_denials_total": {"error_type"},
    "reeve_exchanges_total": {"gen_ai_operation_name", "gen_ai_provider_name", "outcome"},
    "reeve_cost_nano_usd_total": {"gen_ai_operation_name", "gen_ai_provider_name"},
    "reeve_lease_waits_total": set(),
    "reeve_estimated_settlements_total": {"gen_ai_operation_name", "gen_ai_provider_name"},
    "gen_ai_client_token_usage": {
        "gen_ai_operation_name",
        "gen_ai_provider_name",
        "gen_ai_token_type",
    },
    "gen_ai_server_request_duration_milliseconds": {
        "gen_ai_operation_name",
        "gen_ai_provider_name",
    },
    "gen_ai_server_time_to_first_token_milliseconds": {
        "gen_ai_operation_name",
        "gen_ai_provider_name",
    },
}


def scraped(stack: Stack) -> list[Sample]:
    """Every sample of ours, by its name without Envoy's prefix."""
    text = stack.envoy_admin.get("/stats/prometheus").raise_for_status().text
    samples = []
    for name, labels, value in SAMPLE.findall(text):
        if ours := OURS.match(name):
            samples.append((ours[1], dict(LABEL.findall(labels)), float(value)))
    return samples


def metric_of(name: str) -> str:
    """Without what Prometheus adds to the name of a histogram."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def value(samples: list[Sample], name: str, **labels: str) -> float:
    found = [
        amount
        for sample, its, amount in samples
        if sample == name and labels.items() <= its.items()
    ]
    assert len(found) <= 1, (name, labels, found)
    return found[0] if found else 0.0


def merged(samples: list[Sample]) -> list[Sample] | None:
    """The samples, if the histogram of durations has every exchange that the counters have."""
    counted = defaultdict(float)
    for name, labels, amount in samples:
        what = (labels.get("gen_ai_operation_name"), labels.get("gen_ai_provider_name"))
        if name == "reeve_exchanges_total":
            counted[what] += amount
        if name == "gen_ai_server_request_duration_milliseconds_count":
            counted[what] -= amount
    return None if any(counted.values()) else samples


def test_metrics_count_exchanges_tokens_and_cost_by_operation_and_provider(
    stack: Stack, family: tuple
) -> None:
    _, _, key = family
    at = surface("POST", "/v1/messages")
    whole, stream = at.calls()
    labels = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "anthropic"}
    # Envoy merges histograms of its workers every few seconds: those of earlier tests have to be in.
    before = eventually(lambda: merged(scraped(stack)), what="the histograms of what went before")
    for call in (whole, stream):
        assert at.send(stack.caller(key.value), call).status_code == 200
    served = stack.demo.served(at.model(whole))
    price = stack.admin.price("anthropic", at.model(whole))
    cost = price.cost(uncached=served["input_tokens"], output=served["output_tokens"])

    def counted() -> bool:
        after = scraped(stack)

        def grown(name: str, **more: str) -> float:
            return value(after, name, **labels, **more) - value(before, name, **labels, **more)

        assert grown("reeve_exchanges_total", outcome="complete") == 2
        assert grown("reeve_cost_nano_usd_total") == cost
        assert grown("gen_ai_server_request_duration_milliseconds_count") == 2
        assert grown("gen_ai_server_time_to_first_token_milliseconds_count") == 2
        assert grown("gen_ai_client_token_usage_count", gen_ai_token_type="input") == 2
        assert grown("gen_ai_client_token_usage_count", gen_ai_token_type="output") == 2
        return True

    eventually(counted, what="two exchanges in the metrics")


def test_metrics_count_refusals_by_their_kind(stack: Stack) -> None:
    before = value(scraped(stack), "reeve_denials_total", error_type="virtual_key_required")
    for _ in range(3):
        assert stack.caller().chat().status_code == 401
    after = value(scraped(stack), "reeve_denials_total", error_type="virtual_key_required")
    assert after - before == 3


def test_metrics_count_the_requests_that_wait_for_the_control_plane(stack: Stack) -> None:
    """Not those of a key that is far from its limit; the last ones of a limit do."""

    def waits() -> float:
        return value(scraped(stack), "reeve_lease_waits_total")

    before = waits()
    far = stack.key(rate_limit={"request_max_limit": 10_000, "request_reset_duration": "1h"})
    assert [stack.caller(far.value).chat().status_code for _ in range(8)] == [200] * 8
    assert waits() == before
    near = stack.key(rate_limit={"request_max_limit": 8, "request_reset_duration": "1h"})
    assert [stack.caller(near.value).chat().status_code for _ in range(8)] == [200] * 8
    assert 1 <= waits() - before <= 8


def test_no_label_of_a_metric_grows_with_keys_models_or_what_callers_send(
    stack: Stack, family: tuple
) -> None:
    _, _, key = family
    caller = stack.caller(key.value)
    for at in SURFACES:
        if at.is_served and at.mount.base in ("", "/v1", "/v1beta"):
            at.send(caller, at.calls()[0])
    before = series(stack)
    for strange in range(20):
        caller.chat(f"openai/never-heard-of-{strange}")
        caller.chat(f"never-heard-of-{strange}/gpt-4o")
        caller.post(f"/v1/strange/{strange}", {})
        stack.caller(f"sk-bf-strange-{strange}").chat()
    added = series(stack) - before
    assert {name for name, _ in added} <= {"reeve_denials_total"}
    kinds = {dict(labels)["error_type"] for _, labels in added}
    assert kinds <= {"price_unknown", "model_blocked", "not_found", "virtual_key_not_found"}
    allowed = {
        "gen_ai_token_type": {"input", "output"},
        "gen_ai_operation_name": {at.api.operation for at in SURFACES if at.is_served},
        "outcome": {"complete", "downstream_disconnect", "upstream_reset", "filter_trap"},
    }
    assert {metric_of(name) for name, _ in before} <= METRICS.keys()
    for name, pairs in before:
        labels = dict(pairs)
        assert labels.keys() - {"le"} == METRICS[metric_of(name)], (name, labels)
        for label, values in allowed.items():
            assert labels.get(label) in {None, *values}, (name, labels)


def series(stack: Stack) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """Of every sample its name and labels."""
    return {(name, frozenset(labels.items())) for name, labels, _ in scraped(stack)}


def test_no_credential_and_no_text_is_in_a_line_or_a_metric(stack: Stack, family: tuple) -> None:
    """R-06."""
    _, _, key = family
    misplaced, foreign, text = "sk-bf-misplaced", "sk-proj-of-someone", "a very private question"
    caller = stack.caller(key.value, authorization=f"Bearer {foreign}", cookie=f"a={foreign}")
    answered = caller.post(
        f"/v1/chat/completions?key={misplaced}",
        {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": text}]},
        user_agent=misplaced,
    )
    assert answered.status_code == 200, answered.text
    refused = stack.caller(misplaced).chat(text=text)
    for response in (answered, refused):
        logged(stack, response.headers["x-request-id"])
    everything = stack.envoy.text() + stack.envoy_admin.get("/stats/prometheus").text
    for secret in (key.value, misplaced, foreign, text, "demo provider"):
        assert secret not in everything, secret
