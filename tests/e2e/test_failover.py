"""Who is asked when a provider fails: the next one of the chain, and nobody that the key may not use.

Rows R-32 and R-53 of the red team, and docs/routing.md.
"""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from llm import chat_body, denial, events
from providers import IMPATIENT, MODEL, PATIENCE_MS, Providers, answered_by
from waiting import eventually


# ---- what makes the next one be asked


FAULTS = [("openai", "second", fault) for fault in ("503", "529", "500", "429", "close")]


@pytest.mark.parametrize(("first", "next_one", "fault"), [*FAULTS, (*IMPATIENT, "hang")])
def test_a_provider_that_fails_is_left_for_the_next(
    providers: Providers, first: str, next_one: str, fault: str
) -> None:
    key = providers.key(first, next_one)
    fault = providers.fault(first, fault)
    response = providers.stack.caller(key.value).chat(MODEL, x_demo_fault=fault)
    assert answered_by(response) == (next_one, 2, 1)
    assert response.headers["x-reeve-model"] == MODEL
    assert response.json()["usage"]["total_tokens"] > 0
    assert providers[next_one].requests() == 1
    record = providers.stack.admin.one_usage(key.id)
    assert (record.provider, record.status, record.outcome) == (next_one, 200, "complete")
    assert (record.record["attempts"], record.record["fallback_index"]) == (2, 1)
    providers.assert_charged_as_served(key, next_one)
    line = providers.stack.access_log(response.headers["x-request-id"])
    assert line["gen_ai.provider.name"] == next_one
    assert (line["reeve.attempts"], line["reeve.fallback_index"]) == ("2", "1")
    assert line["cluster"] == f"provider_{next_one}"


def test_a_provider_that_refuses_connections_is_left_for_the_next(providers: Providers) -> None:
    key = providers.key("refusing", "second")
    response = providers.stack.caller(key.value).chat(MODEL)
    assert answered_by(response) == ("second", 2, 1)
    providers.assert_charged_as_served(key, "second")


def test_all_are_asked_in_order_and_the_last_ones_failure_is_told(providers: Providers) -> None:
    key = providers.key("refusing", "openai", "second", "third")
    caller = providers.stack.caller(key.value)
    response = caller.chat(MODEL, x_demo_fault="demo=503,second=429")
    assert answered_by(response) == ("third", 4, 3)
    providers.assert_charged_as_served(key, "third")
    response = caller.chat(MODEL, x_demo_fault="demo=503,second=429,third=503")
    assert response.status_code == 503
    assert response.headers["x-reeve-provider"] == "third"
    failed = providers.stack.admin.usage(key.id, 2)[1]
    assert (failed.provider, failed.status, failed.cost) == ("third", 503, 0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_is_the_requests_own_fault_is_told_at_once(providers: Providers, status: int) -> None:
    key = providers.key("openai", "second")
    caller = providers.stack.caller(key.value)
    response = caller.chat(MODEL, x_demo_fault=f"demo={status}")
    assert (response.status_code, response.headers["x-reeve-attempts"]) == (status, "1")
    assert providers["second"].requests() == 0


def test_a_provider_is_left_after_the_failures_that_its_settings_name(providers: Providers) -> None:
    providers.set("third", retry_on=["429"])
    key = providers.key("third", "second")
    caller = providers.stack.caller(key.value)

    def in_force() -> bool:
        return caller.chat(MODEL, x_demo_fault="third=503").status_code == 503

    eventually(in_force, what="the setting")
    assert answered_by(caller.chat(MODEL, x_demo_fault="third=429")) == ("second", 2, 1)
    # As long as it has an answer to give.
    assert answered_by(caller.chat(MODEL)) == ("third", 1, 0)
    providers.set("third", retry_on=None)
    eventually(lambda: not in_force(), what="the default")


def test_a_named_provider_is_asked_alone(providers: Providers) -> None:
    key = providers.key("openai", "second")
    response = providers.stack.caller(key.value).chat(f"openai/{MODEL}", x_demo_fault="demo=503")
    assert response.status_code == 503
    assert providers["second"].nothing_arrived()


# ---- streams and bodies


def test_a_stream_fails_over_before_it_begins(providers: Providers) -> None:
    key = providers.key("openai", "second")
    caller = providers.stack.caller(key.value)
    with caller.stream(chat_body(MODEL), x_demo_fault="demo=503") as response:
        assert answered_by(response) == ("second", 2, 1)
        assert list(events(response))[-1] == "[DONE]"
    providers.assert_charged_as_served(key, "second")


def test_a_stream_that_has_begun_is_not_asked_for_again(providers: Providers) -> None:
    """It breaks off, and what was seen of it is charged to who sent it."""
    key = providers.key("openai", "second")
    caller = providers.stack.caller(key.value)
    with (
        pytest.raises(httpx.RemoteProtocolError),
        caller.stream(
            chat_body(MODEL), x_demo_fault="demo=cut:5", x_demo_output_tokens="50"
        ) as response,
    ):
        assert answered_by(response) == ("openai", 1, 0)
        response.read()
    record = providers.stack.admin.one_usage(key.id)
    assert (record.provider, record.outcome, record.estimated) == ("openai", "upstream_reset", True)
    assert record.cost > 0 and record.output_tokens >= 5
    assert providers["second"].nothing_arrived()


def test_a_provider_that_is_slow_after_its_answers_head_is_not_left(providers: Providers) -> None:
    first, next_one = IMPATIENT
    key = providers.key(first, next_one)
    caller = providers.stack.caller(key.value)
    body = chat_body(MODEL)
    steering = {"x_demo_chunk_delay_ms": str(PATIENCE_MS // 3), "x_demo_output_tokens": "6"}
    with caller.stream(body, **steering) as response:
        assert answered_by(response) == (first, 1, 0)
        assert list(events(response))[-1] == "[DONE]"
    assert providers[next_one].nothing_arrived()


def test_a_large_body_goes_to_each_provider_with_its_own_models_name(providers: Providers) -> None:
    key = providers.key("openai", "second", "third")
    caller = providers.stack.caller(key.value)
    text = "x" * 5_000_000
    fallbacks = ["second/gpt-4o-mini", "third/gpt-4.1-nano"]
    response = caller.chat(
        f"openai/{MODEL}",
        text,
        fallbacks=fallbacks,
        max_tokens=5,
        x_demo_fault="demo=503,second=500",
    )
    assert answered_by(response) == ("third", 3, 2)
    assert response.headers["x-reeve-model"] == "gpt-4.1-nano"
    for name, model in (("second", "gpt-4o-mini"), ("third", "gpt-4.1-nano")):
        last = providers[name].last()
        body = json.loads(last["body"])
        assert body == chat_body(model, text, max_tokens=5)
    record = providers.stack.admin.one_usage(key.id)
    assert (record.provider, record.model) == ("third", "gpt-4.1-nano")


def test_the_next_provider_sees_nothing_of_the_one_before(providers: Providers) -> None:
    key = providers.key("openai", "second", "third")
    caller = providers.stack.caller(key.value)
    response = caller.chat(MODEL, x_demo_fault="demo=503,second=503")
    assert answered_by(response) == ("third", 3, 2)
    assert providers["third"].last_headers()["authorization"] == ["Bearer sk-third"]
    assert providers["second"].last_headers()["authorization"] == ["Bearer sk-second"]
    for name in ("openai", "second", "third"):
        headers = providers[name].last_headers()
        assert headers["host"] == [providers[name].url.removeprefix("http://")]
        private = [it for it in headers if it.startswith(("x-envoy-", "x-reeve-", "x-bf-"))]
        # By its count Envoy finds the next one.
        assert private == ([] if name == "third" else ["x-envoy-attempt-count"])
        assert providers[name].last()["path"] == "/v1/chat/completions"


# ---- the caller's fallbacks


def test_the_callers_fallbacks_are_tried_in_their_order(providers: Providers) -> None:
    key = providers.key("openai", "second", "third")
    caller = providers.stack.caller(key.value)
    fallbacks = [f"third/{MODEL}", f"second/{MODEL}"]
    response = caller.chat(f"openai/{MODEL}", fallbacks=fallbacks, x_demo_fault="demo=503")
    assert answered_by(response) == ("third", 2, 1)
    response = caller.chat(MODEL, fallbacks=fallbacks, x_demo_fault="demo=503,third=503")
    assert answered_by(response) == ("second", 3, 2)
    response = caller.chat(MODEL, fallbacks=[], x_demo_fault="demo=503")
    assert response.status_code == 503
    assert "fallbacks" not in json.loads(providers["second"].last()["body"])


def test_a_fallback_that_the_key_may_not_use_receives_no_byte(providers: Providers) -> None:
    """R-32."""
    more = {"second": {"allowed_models": ["gpt-4o-mini"]}}
    key = providers.key("openai", "second", more=more)
    caller = providers.stack.caller(key.value)
    for fallbacks in (
        [f"outside/{MODEL}"],
        [f"second/{MODEL}", f"outside/{MODEL}", "nobody/gpt-4o"],
    ):
        response = caller.chat(MODEL, fallbacks=fallbacks, x_demo_fault="demo=503")
        assert (response.status_code, response.headers["x-reeve-attempts"]) == (503, "1")
        response = caller.chat(f"outside/{MODEL}", fallbacks=fallbacks)
        assert denial(response) == (403, "provider_blocked")
    # A first choice that is refused is passed over.
    response = caller.chat(f"outside/{MODEL}", fallbacks=[f"openai/{MODEL}"])
    assert answered_by(response) == ("openai", 1, 1)
    assert providers["second"].nothing_arrived()
    assert not providers.outside.take()


def test_callers_cannot_steer_envoys_attempts(providers: Providers) -> None:
    """R-35."""
    key = providers.key("openai", "second")
    steering = {
        "x-envoy-attempt-count": "1",
        "x-envoy-max-retries": "9",
        "x-envoy-retry-on": "5xx",
        "x-envoy-upstream-rq-per-try-timeout-ms": "1",
    }
    caller = providers.stack.caller(key.value, **steering)
    assert answered_by(caller.chat(MODEL)) == ("openai", 1, 0)
    response = caller.chat(f"openai/{MODEL}", x_demo_fault="demo=503")
    assert (response.status_code, response.headers["x-reeve-attempts"]) == (503, "1")
    assert providers["second"].nothing_arrived()


# ---- what is charged


def test_under_load_with_failing_providers_each_answer_is_charged_once(
    providers: Providers,
) -> None:
    """R-53."""
    key = providers.key(
        "openai", "second", "third", budget={"max_limit": 100, "reset_duration": "1M"}
    )
    caller = providers.stack.caller(key.value)
    faults = ["demo=503", "demo=429,second=503", "demo=close", ""]

    def ask(number: int) -> tuple[str, int, int]:
        fault = faults[number % len(faults)]
        headers = {"x_demo_fault": fault} if fault else {}
        return answered_by(caller.chat(MODEL, f"number {number}", **headers))

    with ThreadPoolExecutor(16) as pool:
        answers = Counter(pool.map(ask, range(200)))
    assert answers == {("second", 2, 1): 100, ("third", 3, 2): 50, ("openai", 1, 0): 50}
    providers.assert_charged_as_served(key, "openai", "second", "third")
    failed = providers.stack.stats("reeve_failed_attempts_total")
    assert sum(failed.values()) >= 200
