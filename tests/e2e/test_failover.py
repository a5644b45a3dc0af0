"""Who is asked when a provider fails: the next one of the chain, and nobody that the key may not use.

Rows R-32 and R-53 of the red team, and docs/routing.md.
"""

from __future__ import annotations

import json
import math
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from demo import Demo
from llm import chat_body, denial, events
from recorder import Recorder
from stack import KeyInForce, Stack
from waiting import eventually

MODEL = "gpt-4o"
# What it takes until a provider that hangs is left; the test of it waits so long.
PATIENCE_MS = 400


class Providers:
    """OpenAI's demo, a second and a third one, one that refuses connections, one that writes down all."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.demos = {"openai": stack.demo}
        for name in ("second", "third"):
            self.demos[name] = stack.another_demo(name)
            stack.admin.create_provider(name, self.demos[name].url, key=f"sk-{name}")
        # Bound and not listening: whoever connects is refused.
        self._refusing = socket.socket()
        self._refusing.bind(("127.0.0.1", 0))
        stack.admin.create_provider(
            "refusing", f"http://127.0.0.1:{self._refusing.getsockname()[1]}"
        )
        port = stack.ports.take()
        self.outside = Recorder(port)
        stack.admin.create_provider("outside", self.outside.url)
        for name in ("openai", "second", "third"):
            self.set(name, per_try_timeout_ms=PATIENCE_MS)

    def set(self, name: str, **network) -> None:
        self.stack.admin.put(f"/api/providers/{name}", {"network_config": network})

    def close(self) -> None:
        self._refusing.close()
        self.outside.close()
        for demo in self.demos.values():
            demo.close()

    def reset(self) -> None:
        self.outside.take()
        for demo in self.demos.values():
            demo.reset()

    def __getitem__(self, name: str) -> Demo:
        return self.demos[name]

    def requests(self) -> dict[str, int]:
        return {name: demo.requests() for name, demo in self.demos.items()}


@pytest.fixture(scope="module")
def _providers() -> Iterator[Providers]:
    with Stack("failover") as stack:
        stack.admin.enable_governance()
        providers = Providers(stack)
        yield providers
        providers.close()


@pytest.fixture
def providers(_providers: Providers) -> Providers:
    _providers.reset()
    return _providers


def configs(*names: str, **more) -> list[dict]:
    """The first is drawn; the others follow in this order."""
    weights = [1.0, *[0.0] * len(names)]
    return [
        {"provider": name, "weight": weight, "allowed_models": ["*"], **more.get(name, {})}
        for name, weight in zip(names, weights, strict=False)
    ]


def key_for(providers: Providers, *names: str, **fields) -> KeyInForce:
    more = fields.pop("more", {})
    return providers.stack.key(provider_configs=configs(*names, **more), **fields)


def answered_by(response: httpx.Response) -> tuple[str, int, int]:
    assert response.status_code == 200, response.text
    headers = response.headers
    return (
        headers["x-reeve-provider"],
        int(headers["x-reeve-attempts"]),
        int(headers["x-reeve-fallback-index"]),
    )


def assert_charged_as_served(providers: Providers, key: KeyInForce, *names: str) -> None:
    """Each answer has one record, with the tokens that its provider counted."""
    served = {name: providers[name].served(MODEL) for name in names}
    count = sum(of["requests"] for of in served.values())
    usage = providers.stack.admin.usage(key.id, count, within=15)
    for name, of in served.items():
        own = [record for record in usage if record.provider == name]
        assert len(own) == of["requests"], name
        assert sum(record.input_tokens for record in own) == of["input_tokens"], name
        assert sum(record.output_tokens for record in own) == of["output_tokens"], name
    assert not [record for record in usage if record.estimated]


# ---- what makes the next one be asked


@pytest.mark.parametrize("fault", ["503", "529", "500", "429", "close", "hang"])
def test_a_provider_that_fails_is_left_for_the_next(providers: Providers, fault: str) -> None:
    key = key_for(providers, "openai", "second")
    response = providers.stack.caller(key.value).chat(MODEL, x_demo_fault=f"demo={fault}")
    assert answered_by(response) == ("second", 2, 1)
    assert response.headers["x-reeve-model"] == MODEL
    assert response.json()["usage"]["total_tokens"] > 0
    assert providers["second"].requests() == 1
    record = providers.stack.admin.one_usage(key.id)
    assert (record.provider, record.status, record.outcome) == ("second", 200, "complete")
    assert (record.record["attempts"], record.record["fallback_index"]) == (2, 1)
    assert_charged_as_served(providers, key, "second")
    line = providers.stack.access_log(response.headers["x-request-id"])
    assert line["gen_ai.provider.name"] == "second"
    assert (line["reeve.attempts"], line["reeve.fallback_index"]) == ("2", "1")
    assert line["cluster"] == "provider_second"


def test_a_provider_that_refuses_connections_is_left_for_the_next(providers: Providers) -> None:
    key = key_for(providers, "refusing", "second")
    response = providers.stack.caller(key.value).chat(MODEL)
    assert answered_by(response) == ("second", 2, 1)
    assert_charged_as_served(providers, key, "second")


def test_all_are_asked_in_order_and_the_last_ones_failure_is_told(providers: Providers) -> None:
    key = key_for(providers, "refusing", "openai", "second", "third")
    caller = providers.stack.caller(key.value)
    response = caller.chat(MODEL, x_demo_fault="demo=503,second=429")
    assert answered_by(response) == ("third", 4, 3)
    assert_charged_as_served(providers, key, "third")
    response = caller.chat(MODEL, x_demo_fault="demo=503,second=429,third=503")
    assert response.status_code == 503
    assert response.headers["x-reeve-provider"] == "third"
    failed = providers.stack.admin.usage(key.id, 2)[1]
    assert (failed.provider, failed.status, failed.cost) == ("third", 503, 0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_is_the_requests_own_fault_is_told_at_once(providers: Providers, status: int) -> None:
    key = key_for(providers, "openai", "second")
    caller = providers.stack.caller(key.value)
    response = caller.chat(MODEL, x_demo_fault=f"demo={status}")
    assert (response.status_code, response.headers["x-reeve-attempts"]) == (status, "1")
    assert providers["second"].requests() == 0


def test_a_provider_is_left_after_the_failures_that_its_settings_name(providers: Providers) -> None:
    providers.set("third", retry_on=["429"])
    key = key_for(providers, "third", "second")
    caller = providers.stack.caller(key.value)

    def in_force() -> bool:
        return caller.chat(MODEL, x_demo_fault="third=503").status_code == 503

    eventually(in_force, 5, "the setting")
    assert answered_by(caller.chat(MODEL, x_demo_fault="third=429")) == ("second", 2, 1)
    # As long as it has an answer to give.
    assert answered_by(caller.chat(MODEL)) == ("third", 1, 0)
    providers.set("third", retry_on=None)
    eventually(lambda: not in_force(), 5, "the default")


def test_a_named_provider_is_asked_alone(providers: Providers) -> None:
    key = key_for(providers, "openai", "second")
    response = providers.stack.caller(key.value).chat(f"openai/{MODEL}", x_demo_fault="demo=503")
    assert response.status_code == 503
    assert providers["second"].nothing_arrived()


# ---- streams and bodies


def test_a_stream_fails_over_before_it_begins(providers: Providers) -> None:
    key = key_for(providers, "openai", "second")
    caller = providers.stack.caller(key.value)
    with caller.stream(chat_body(MODEL), x_demo_fault="demo=503") as response:
        assert answered_by(response) == ("second", 2, 1)
        assert list(events(response))[-1] == "[DONE]"
    assert_charged_as_served(providers, key, "second")


def test_a_stream_that_has_begun_is_not_asked_for_again(providers: Providers) -> None:
    """It breaks off, and what was seen of it is charged to who sent it."""
    key = key_for(providers, "openai", "second")
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
    key = key_for(providers, "openai", "second")
    caller = providers.stack.caller(key.value)
    body = chat_body(MODEL)
    steering = {"x_demo_chunk_delay_ms": str(PATIENCE_MS // 2), "x_demo_output_tokens": "5"}
    with caller.stream(body, **steering) as response:
        assert answered_by(response) == ("openai", 1, 0)
        assert list(events(response))[-1] == "[DONE]"
    assert providers["second"].nothing_arrived()


def test_a_large_body_goes_to_each_provider_with_its_own_models_name(providers: Providers) -> None:
    key = key_for(providers, "openai", "second", "third")
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
    key = key_for(providers, "openai", "second", "third")
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
    key = key_for(providers, "openai", "second", "third")
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
    key = key_for(providers, "openai", "second", more=more)
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
    key = key_for(providers, "openai", "second")
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


# ---- limits


def test_a_provider_whose_own_limit_is_full_is_passed_over(providers: Providers) -> None:
    one = {"rate_limit": {"request_max_limit": 1, "request_reset_duration": "1h"}}
    key = key_for(providers, "openai", "second", more={"openai": one})
    caller = providers.stack.caller(key.value)
    answers = [answered_by(caller.chat(MODEL)) for _ in range(4)]
    assert answers == [("openai", 1, 0)] + [("second", 1, 1)] * 3
    assert_charged_as_served(providers, key, "openai", "second")
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
    key = key_for(providers, "openai", "second", more={"openai": one, "second": one})
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
    key = stack.key(provider_configs=configs("openai", "second", second=ten))
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
    key = key_for(providers, "openai", "second", more={"openai": budget, "second": budget})
    caller = providers.stack.caller(key.value)
    for _ in range(12):
        response = caller.chat(
            MODEL, max_tokens=1_000, x_demo_output_tokens="5", x_demo_fault="demo=503"
        )
        assert answered_by(response) == ("second", 2, 1)
    assert_charged_as_served(providers, key, "second")

    def used() -> dict[str, int]:
        found = providers.stack.admin.key(key.id)["provider_configs"]
        return {it["provider"]: it["budgets"][0]["current_usage"] for it in found}

    usage = providers.stack.admin.usage(key.id, 12)
    charged = sum(record.cost for record in usage)
    eventually(lambda: int(used()["second"] * 10**9) == charged, 5, "the charge to the second")
    assert used()["openai"] == 0


# ---- weights


def test_requests_split_by_weight_and_the_ledger_agrees(providers: Providers) -> None:
    """Two thousand over the real Envoy, within three sigma; the ledger is each provider's own count."""
    shares = {"openai": 0.5, "second": 0.3, "third": 0.2}
    key = providers.stack.key(
        provider_configs=[
            {"provider": name, "weight": share, "allowed_models": ["*"]}
            for name, share in shares.items()
        ]
        + [{"provider": "outside", "weight": None, "allowed_models": ["*"]}]
    )
    caller = providers.stack.caller(key.value)
    count = 2_000
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: caller.chat(MODEL, "Hi", max_tokens=9), range(count)))
    drawn = Counter(answered_by(answer)[0] for answer in answers)
    assert providers.requests() == dict(drawn)
    for name, share in shares.items():
        sigma = math.sqrt(count * share * (1 - share))
        assert abs(drawn[name] - count * share) <= 3 * sigma, drawn
    assert not providers.outside.take()


def test_a_session_stays_with_its_provider_while_that_answers(providers: Providers) -> None:
    names = ("openai", "second", "third")
    key = providers.stack.key(
        provider_configs=[
            {"provider": name, "weight": 1, "allowed_models": ["*"]} for name in names
        ]
    )
    caller = providers.stack.caller(key.value)
    homes = {}
    for number in range(12):
        session = f"session-{number}"
        seen = {answered_by(caller.chat(MODEL, x_bf_session_id=session))[0] for _ in range(4)}
        (homes[session],) = seen
    assert set(homes.values()) == set(names), "they are spread"
    demo_names = {"openai": "demo", "second": "second", "third": "third"}
    session, home = next(iter(homes.items()))
    away = caller.chat(MODEL, x_bf_session_id=session, x_demo_fault=f"{demo_names[home]}=503")
    assert answered_by(away)[0] != home
    assert answered_by(caller.chat(MODEL, x_bf_session_id=session))[0] == home


def test_under_load_with_failing_providers_each_answer_is_charged_once(
    providers: Providers,
) -> None:
    """R-53."""
    key = key_for(
        providers, "openai", "second", "third", budget={"max_limit": 100, "reset_duration": "1M"}
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
    assert_charged_as_served(providers, key, "openai", "second", "third")
    failed = providers.stack.stats("reeve_failed_attempts_total")
    assert sum(failed.values()) >= 200


# ---- provider keys


def test_a_virtual_key_bound_to_a_provider_key_never_uses_another(providers: Providers) -> None:
    """R-32. Each sees its own; without one, nothing leaves."""
    admin, path = providers.stack.admin, "/api/providers/outside/keys"
    (main,) = admin.get(path)["keys"]
    made = {
        name: admin.post(path, {"name": name, "value": f"sk-{name}", "weight": 0.5})["key"]["id"]
        for name in ("dev", "prod")
    }

    def bound(*key_ids: str) -> KeyInForce:
        config = {"provider": "outside", "allowed_models": ["*"], "key_ids": list(key_ids)}
        return providers.stack.key(provider_configs=[config])

    def carried(key: KeyInForce) -> list[bytes]:
        def asked() -> bool:
            response = caller.chat(MODEL)
            # The cluster of a key that nobody was bound to before is there in a moment.
            assert response.status_code == 200, response.text
            return True

        caller = providers.stack.caller(key.value)
        eventually(asked, 5, "the provider with that key")
        (received,) = providers.outside.take()
        return received.values("authorization")

    keys = {name: bound(key_id) for name, key_id in made.items()}
    both, unbound, none = bound(*made.values()), bound("*"), bound()
    for name, key in keys.items():
        assert carried(key) == [f"Bearer sk-{name}".encode()]
    assert carried(unbound) == [b"Bearer sk-of-it"], "the heaviest"
    assert carried(both) == [b"Bearer sk-dev"], "of two that weigh the same the older one"

    # A new value of the same key, while requests come.
    admin.put(f"{path}/{made['dev']}", {"value": "sk-dev-2"})
    eventually(lambda: carried(keys["dev"]) == [b"Bearer sk-dev-2"], 5, "the new value")

    caller = providers.stack.caller(none.value)
    assert denial(caller.chat(MODEL)) == (403, "provider_key_blocked")
    admin.put(f"{path}/{made['dev']}", {"is_active": False})
    caller = providers.stack.caller(keys["dev"].value)

    def refused() -> bool:
        response = caller.chat(MODEL)
        return response.status_code == 403 and denial(response) == (403, "provider_key_blocked")

    eventually(refused, 5, "the refusal")
    arrived = providers.outside.take()
    carried_before = {value for it in arrived for value in it.values("authorization")}
    assert carried_before <= {b"Bearer sk-dev-2"}
    assert carried(both) == [b"Bearer sk-prod"]
    admin.delete(f"{path}/{made['prod']}")
    eventually(
        lambda: providers.stack.caller(both.value).chat(MODEL).status_code == 403, 5, "the refusal"
    )
    providers.outside.take()
    for key in (keys["dev"], keys["prod"], both, none):
        response = providers.stack.caller(key.value).chat(f"outside/{MODEL}")
        assert denial(response) == (403, "provider_key_blocked")
    assert not providers.outside.take()
    assert carried(unbound) == [b"Bearer sk-of-it"]
    assert [key["id"] for key in admin.get(path)["keys"]] == [main["id"], made["dev"]]
