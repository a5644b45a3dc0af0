"""The mesh profile: the filter in an Envoy that Istio configures, from the files of deploy/istio.

No bootstrap service, so a worker holds the policy stream; Istio's routes; one attempt. Another Envoy of the
same control plane runs in the full profile.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import ledger
import raw
from istio import PROVIDER_KEY, IstioGateway, Resources
from llm import CHAT, chat_body, denial, events
from stack import KeyInForce, Stack
from waiting import PATIENCE, eventually, stays

MODEL = "gpt-4o"
BODY = json.dumps(chat_body(MODEL)).encode()
FORGED = (b"x-reeve-cluster", b"provider_openai")
LEADS = "this context holds the policy stream"


@pytest.fixture(scope="module")
def _mesh() -> Iterator[IstioGateway]:
    with Stack("mesh") as stack:
        stack.admin.enable_governance()
        gateway = IstioGateway(stack)
        gateway.start()
        yield gateway
        assert "hostcall failed" not in gateway.process.text()
        assert reloads(gateway) == 0


@pytest.fixture
def mesh(_mesh: IstioGateway) -> IstioGateway:
    _mesh.process.assert_alive()
    _mesh.stack.demo.reset()
    return _mesh


def reloads(gateway: IstioGateway) -> int:
    return sum(gateway.stats("vm_reload").values())


def fragile(new_stack, fail_strategy: str) -> IstioGateway:
    """A gateway whose filter traps where a request says so."""

    def edit(resources: Resources) -> None:
        resources["WasmPlugin", "reeve"]["failStrategy"] = fail_strategy

    gateway = IstioGateway(new_stack(), filter_wasm="REEVE_FILTER_FAULT_WASM", edit=edit)
    gateway.start()
    return gateway


def asking(key: KeyInForce, *headers: tuple[bytes, bytes], body: bytes = BODY) -> bytes:
    return raw.request(headers=[(b"x-bf-vk", key.value.encode()), *headers], body=body)


# ---- a request


def test_a_key_is_admitted_and_its_request_reaches_the_provider_as_in_the_full_profile(
    mesh: IstioGateway,
) -> None:
    stack = mesh.stack
    key = mesh.await_key(stack.key())
    assert mesh.caller(key).chat(MODEL).status_code == 200
    arrived = stack.demo.last()
    assert (arrived["method"], arrived["path"]) == ("POST", CHAT)
    headers = stack.demo.last_headers()
    assert headers["host"] == ["api.openai.com"]
    assert headers["authorization"] == [f"Bearer {PROVIDER_KEY}"]
    private = ("x-reeve-", "x-bf-", "x-envoy-", "x-forwarded-")
    assert not [name for name in headers if name.startswith(private)]
    assert key.value not in json.dumps(arrived)
    ledger.assert_is_the_truth(stack, key, MODEL)


def test_what_policy_forbids_is_refused_and_reaches_nobody(mesh: IstioGateway) -> None:
    stack = mesh.stack
    configs = [{"provider": "openai", "allowed_models": ["gpt-4o-mini"]}]
    key = mesh.await_key(stack.key(provider_configs=configs))
    assert denial(mesh.caller(None).chat(MODEL))[0] == 401
    assert denial(mesh.caller(key).chat(MODEL)) == (403, "model_blocked")
    assert denial(mesh.caller(key).post("/v1/nothing", {}))[0] == 404
    assert denial(mesh.caller(key).post(CHAT, {}))[0] == 400
    assert stack.demo.nothing_arrived()
    listed = mesh.caller(key).request("GET", "/v1/models").json()["data"]
    assert [model["id"] for model in listed] == ["openai/gpt-4o-mini"]


def test_a_stream_is_metered_and_a_big_body_gets_through(mesh: IstioGateway) -> None:
    stack = mesh.stack
    key = mesh.await_key(stack.key())
    with mesh.caller(key).stream(chat_body(MODEL)) as response:
        assert list(events(response))[-1] == "[DONE]"
    # More than Envoy holds back by default.
    assert mesh.caller(key).chat(MODEL, text="x" * 3_000_000).status_code == 200
    ledger.assert_is_the_truth(stack, key, MODEL)


def removed_from_answers(envoy_admin: httpx.Client) -> list[str]:
    """What an Envoy takes out of the answers of providers, as it has understood its routes."""
    dump = envoy_admin.get("/config_dump").raise_for_status().json()["configs"]
    (routes,) = [config for config in dump if config["@type"].endswith(".RoutesConfigDump")]
    tables = [*routes.get("static_route_configs", ()), *routes.get("dynamic_route_configs", ())]
    hosts = [host for table in tables for host in table["route_config"]["virtual_hosts"]]
    every = [route for host in hosts for route in host["routes"]]
    (removed,) = [
        route["response_headers_to_remove"]
        for route in every
        if "response_headers_to_remove" in route
    ]
    return removed


def test_a_caller_learns_no_more_of_the_provider_than_in_the_full_profile(
    mesh: IstioGateway,
) -> None:
    removed = removed_from_answers(mesh.envoy_admin)
    assert {"location", "set-cookie", "openai-organization"} <= set(removed)
    assert removed == removed_from_answers(mesh.stack.envoy_admin)


def test_a_key_that_is_bound_to_a_provider_key_has_no_way(mesh: IstioGateway) -> None:
    """`key_ids` is of the full profile: here a provider has one key, the mounted one."""
    stack = mesh.stack
    provider_key = stack.admin.get("/api/providers/openai/keys")["keys"][0]["id"]
    configs = [{"provider": "openai", "allowed_models": ["*"], "key_ids": [provider_key]}]
    key = mesh.await_key(stack.key(provider_configs=configs))
    assert mesh.caller(key).chat(MODEL).status_code == 404
    assert stack.demo.nothing_arrived()
    assert stack.caller(key.value).chat(MODEL).status_code == 200


def test_each_gateway_is_known_by_the_node_id_that_istio_gave_it(mesh: IstioGateway) -> None:
    nodes = {node["node_id"] for node in mesh.stack.admin.get("/api/nodes")["nodes"]}
    assert mesh.node_id in nodes and len(nodes) == 2


# ---- policy and limits, together with another profile


def test_a_change_of_policy_is_in_force_when_it_is_answered(mesh: IstioGateway) -> None:
    stack = mesh.stack
    key = mesh.await_key(stack.key())
    assert mesh.caller(key).chat(MODEL).status_code == 200
    stack.admin.update_key(key.id, is_active=False)
    answers = raw.exchange_at_once(mesh.port, asking(key))
    assert {answer and answer.status for answer in answers} == {403}


def test_a_rate_limit_is_exact_over_the_workers_of_both_profiles(mesh: IstioGateway) -> None:
    stack = mesh.stack
    limit = {"request_max_limit": 50, "request_reset_duration": "1h"}
    key = mesh.await_key(stack.key(rate_limit=limit))
    with ThreadPoolExecutor(2) as pool:
        at_once = pool.map(
            lambda port: raw.exchange_at_once(port, asking(key), 60), (mesh.port, stack.port)
        )
        statuses = Counter(answer.status for answers in at_once for answer in answers if answer)
    assert statuses == {200: 50, 429: 70}
    assert stack.demo.requests() == 50


def test_a_budget_is_exact_over_the_workers_of_both_profiles(mesh: IstioGateway) -> None:
    stack = mesh.stack
    price = stack.admin.price("openai", MODEL)
    body = json.dumps(chat_body(MODEL, max_tokens=1_000)).encode()
    room = 10 * price.cost(uncached=len(body), output=1_000)
    budget = {"max_limit": room / 10**9, "reset_duration": "1M"}
    key = mesh.await_key(stack.key(budget=budget))
    steering = [(b"x-demo-output-tokens", b"1000"), (b"x-demo-delay-ms", b"500")]
    with ThreadPoolExecutor(2) as pool:
        at_once = pool.map(
            lambda port: raw.exchange_at_once(port, asking(key, *steering, body=body), 40),
            (mesh.port, stack.port),
        )
        statuses = Counter(answer.status for answers in at_once for answer in answers if answer)
    assert set(statuses) == {200, 402}
    assert 9 <= statuses[200] == stack.demo.requests() <= 10
    records = stack.admin.usage(key.id, statuses[200])
    assert sum(record.cost for record in records) <= room


# ---- bad days


def test_when_the_leader_traps_another_context_takes_its_place(new_stack) -> None:
    gateway = fragile(new_stack, "FAIL_RELOAD")
    stack = gateway.stack
    key = gateway.await_key(stack.key())
    doomed = gateway.await_key(stack.key())
    for times in (1, 2):
        log = gateway.process.text()
        assert log.count(LEADS) == times
        asked = gateway.caller(None, **{"x-fault-injection": "trap-sync"}).chat(MODEL)
        assert asked.status_code == 401
        eventually(
            lambda times=times: gateway.process.text().count(LEADS) > times, what="a successor"
        )
    eventually(lambda: gateway.caller(key).chat(MODEL).status_code == 200, what="service")
    # Policy comes down and usage goes up through the new one.
    stack.admin.delete_key(doomed.id)
    eventually(lambda: gateway.caller(doomed).chat(MODEL).status_code == 401, what="a push")
    ledger.assert_is_the_truth(stack, key, MODEL)


def trap_each_worker(gateway: IstioGateway, key: KeyInForce) -> None:
    answers = raw.exchange_at_once(gateway.port, asking(key, (b"x-fault-injection", b"trap")))
    # 404: past a filter that fails open, where there is no route.
    assert {answer.status if answer else 503 for answer in answers} <= {404, 503}


def test_after_a_trap_fail_reload_serves_again_and_the_counters_go_on(new_stack) -> None:
    gateway = fragile(new_stack, "FAIL_RELOAD")
    stack = gateway.stack
    limit = {"request_max_limit": 10, "request_reset_duration": "1h"}
    key = gateway.await_key(stack.key(rate_limit=limit))
    other = gateway.await_key(stack.key())
    assert [gateway.caller(key).chat(MODEL).status_code for _ in range(4)] == [200] * 4
    served = stack.demo.requests()
    trap_each_worker(gateway, other)
    assert stack.demo.requests() == served

    def again() -> bool:
        answers = raw.exchange_at_once(gateway.port, asking(other))
        return {answer and answer.status for answer in answers} == {200}

    # Istio leaves Envoy's first pause at a second, and each of the two plugins in a VM has its own.
    eventually(again, what="the reloaded VMs")
    assert reloads(gateway) > 0
    statuses = [gateway.caller(key).chat(MODEL).status_code for _ in range(8)]
    assert statuses == [200] * 6 + [429] * 2


def test_after_a_trap_fail_close_refuses_for_ever(new_stack) -> None:
    """Istio's default. Nothing passes; nothing is served either, until the gateway is restarted."""
    gateway = fragile(new_stack, "FAIL_CLOSE")
    stack = gateway.stack
    key = gateway.await_key(stack.key())
    served = stack.demo.requests()
    trap_each_worker(gateway, key)

    def refuses() -> bool:
        answers = raw.exchange_at_once(gateway.port, asking(key))
        return {answer.status if answer else 503 for answer in answers} == {503}

    eventually(refuses, what="a trap in each worker")
    stays(refuses, 3, "the refusal")
    assert stack.demo.requests() == served


# ---- a filter that is missing, bypassed or not believed


def without_plugin(resources: Resources) -> None:
    del resources["WasmPlugin", "reeve"]


def without_hold(resources: Resources) -> None:
    del resources["EnvoyFilter", "reeve-hold"]


def without_both(resources: Resources) -> None:
    without_plugin(resources)
    without_hold(resources)


def held_by_nobody_allowed_to(resources: Resources) -> None:
    """The full profile's way, for which a WasmPlugin lacks `allow_on_headers_stop_iteration`."""
    del resources["WasmPlugin", "reeve"]["pluginConfig"]["hold_headers"]


@pytest.mark.parametrize(
    ("edit", "statuses"),
    [
        # No header, no route; with one of the caller's own there is a route, and `attempt` refuses.
        (without_plugin, {404, 503}),
        (without_both, {404, 503}),
        # Envoy looks for a route before there is a judgement.
        (without_hold, {404}),
        # The body never comes to the filter.
        (held_by_nobody_allowed_to, {None}),
    ],
)
def test_a_request_that_nobody_judged_reaches_no_provider(new_stack, edit, statuses) -> None:
    """Backstop."""
    stack = new_stack()
    key = stack.key()
    gateway = IstioGateway(stack, edit=edit)
    gateway.start_without_policy()
    if ("WasmPlugin", "reeve") in gateway.resources:
        gateway.await_policy(key)
    stack.demo.reset()
    seen = set()
    for forged in ((), (FORGED,)):
        try:
            # Only where nothing is to come is a short wait enough.
            timeout = 2 if statuses == {None} else PATIENCE
            answer = raw.exchange(gateway.port, asking(key, *forged), timeout)
        except TimeoutError:
            answer = None
        seen.add(answer and answer.status)
    assert seen == statuses
    assert stack.demo.nothing_arrived()


def test_a_plugin_that_fails_open_reaches_no_provider(new_stack) -> None:
    """Backstop. Not what deploy/istio says; somebody might."""
    gateway = fragile(new_stack, "FAIL_OPEN")
    stack = gateway.stack
    key = gateway.await_key(stack.key())
    served = stack.demo.requests()
    trap_each_worker(gateway, key)

    def passed_by() -> bool:
        answers = raw.exchange_at_once(gateway.port, raw.request(body=BODY))
        # A filter that is there would say 401.
        return {answer and answer.status for answer in answers} == {404}

    eventually(passed_by, what="a trap in each worker")
    # `attempt` refuses. It is of the same VM, and starts it again, so that `governance` may be there again.
    answers = raw.exchange_at_once(gateway.port, raw.request(headers=[FORGED], body=BODY))
    assert {answer and answer.status for answer in answers} <= {401, 503}
    assert stack.demo.requests() == served
