"""A filter that is missing, bypassed or not believed: no provider is reached all the same.

Two locks hold, each without the other: only the filter can write the state that Envoy's routes choose
a provider by; and in the provider's cluster the `attempt` filter turns away what nobody has judged,
before the provider's key is added.
"""

from __future__ import annotations

import copy
import json

import raw
import raw_http2
from llm import chat_body
from recorder import RecordingStack
from served import (
    GOVERNANCE,
    Json,
    Served,
    connection_manager,
    with_own_governance,
    with_own_routes,
)
from waiting import eventually

BODY = json.dumps(chat_body("gpt-4o")).encode()
INJECTOR = "credential_injector"


def configured_away(manager: Json) -> None:
    """Somebody has removed the filter."""
    manager["http_filters"] = [f for f in manager["http_filters"] if f["name"] != GOVERNANCE]
    for route in routes(manager):
        route.pop("typed_per_filter_config", None)


def switched_off(manager: Json) -> None:
    """Somebody has taken the line of the admin API for the line of the providers."""
    admin_api, *_, providers = routes(manager)
    providers["typed_per_filter_config"] = admin_api["typed_per_filter_config"]


def headers_kept(manager: Json) -> None:
    """Callers bring headers that are Envoy's and Reeve's: what they say of attempts and clusters."""
    configured_away(manager)
    del manager["early_header_mutation_extensions"]


def routed_past(manager: Json) -> None:
    """Somebody has sent everything to a provider: the first lock is open."""
    headers_kept(manager)
    *_, providers = routes(manager)
    del providers["route"]["inline_cluster_specifier_plugin"]
    providers["route"]["cluster"] = "provider_openai"


def state_forged(manager: Json) -> None:
    """Another filter writes what only ours should: the first lock is open in another way."""
    headers_kept(manager)
    manager["http_filters"].insert(
        0,
        {
            "name": "forge",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
                "clear_route_cache": True,
                "on_request_headers": [
                    {
                        "object_key": "wasm.reeve_try_1",
                        "factory_key": "envoy.string",
                        "format_string": {"text_format_source": {"inline_string": "provider_openai"}},
                    }
                ],
            },
        },
    )


EDITS = (configured_away, switched_off, headers_kept, routed_past, state_forged)


def routes(manager: Json) -> list[Json]:
    (host,) = manager["route_config"]["virtual_hosts"]
    return host["routes"]


def assert_no_provider_is_reached(stack: RecordingStack, port: int, how: str) -> None:
    key = (b"x-bf-vk", b"sk-bf-" + b"a" * 50)
    more = [
        (b"x-envoy-internal", b"true"),
        (b"x-forwarded-for", b"127.0.0.1"),
        (b"x-envoy-attempt-count", b"1"),
    ]
    for cluster in (b"provider_openai", b"provider_anthropic"):
        for name in (b"x-reeve-try-1", b"wasm.reeve_try_1", b"X-Reeve-Cluster", b"x-reeve-try-1 "):
            for headers in (
                [(name, cluster)],
                [(name, cluster)] * 2,
                [key, *more, (name, cluster)],
                [(name, cluster), (b"x-envoy-attempt-count", b"1")],
                [(name, cluster), (b"x-envoy-max-retries", b"3"), (b"x-envoy-retry-on", b"5xx")],
            ):
                answer = raw.exchange(port, raw.request(headers=headers, body=BODY))
                assert answer is not None and answer.status in (400, 503), (how, answer)
        fields = raw_http2.request([(b"x-reeve-try-1", cluster), key])
        assert raw_http2.exchange(port, fields, BODY).status == 503, how
    assert raw.exchange(port, raw.request(body=BODY)).status == 503, how
    assert not stack.recorder.take(), how


def test_without_the_filter_no_provider_is_reached(new_stack) -> None:
    """Backstop. Whichever of the locks is open besides: an Envoy with a listener for each case."""
    stack = new_stack(kind=RecordingStack, started=False)
    ports = {edit.__name__: stack.ports.take() for edit in EDITS}

    def a_listener_for_each(bootstrap: Json, served: Served) -> None:
        with_own_routes(bootstrap, served)
        with_own_governance(bootstrap, served)
        (as_shipped,) = bootstrap["static_resources"]["listeners"]
        for edit in EDITS:
            bootstrap["static_resources"]["listeners"] = [listener := copy.deepcopy(as_shipped)]
            edit(connection_manager(bootstrap))
            listener["name"] = edit.__name__
            listener["address"]["socket_address"]["port_value"] = ports[edit.__name__]
            listeners.append(listener)
        bootstrap["static_resources"]["listeners"] = listeners

    listeners: list[Json] = []
    stack.edit_served = a_listener_for_each
    stack.start_demo()
    stack.start_control_plane()
    stack.start_envoy_without_policy()
    for how, port in ports.items():
        assert_no_provider_is_reached(stack, port, how)
    # The second lock held alone, in both cases where the first was open.
    details = [line["details"] for line in stack.access_log_lines()]
    assert "reeve.not_judged" in details and "cluster_not_found" in details


def everything_fails_open(bootstrap: Json, served: Served) -> None:
    """`FAIL_OPEN` for each role of the filter: after a trap, requests pass it by for ever."""
    with_own_governance(bootstrap, served)
    # A cluster of the bootstrap's is not replaced by one of the same name that comes later. It is there
    # before the stream, so its key has to be too.
    bootstrap["static_resources"]["clusters"] += served.clusters
    keys = bootstrap["static_resources"]["secrets"] = []
    for cluster in served.clusters:
        (options,) = cluster["typed_extension_protocol_options"].values()
        names = set()
        for injector in [it for it in options["http_filters"] if INJECTOR in it["name"]]:
            config = injector["typed_config"]
            # One that is skipped for some paths is wrapped.
            config = config.get("extension_config", {"typed_config": config})["typed_config"]
            key = config["credential"]["typed_config"]["credential"]
            del key["sds_config"]
            names.add(key["name"])
        (name,) = names
        keys.append({"name": name, "generic_secret": {"secret": {"inline_string": "demo"}}})
    places: list = [bootstrap]
    opened = 0
    while places:
        place = places.pop()
        if isinstance(place, list):
            places += place
        elif isinstance(place, dict):
            places += place.values()
            if "failure_policy" in place:
                place["failure_policy"] = "FAIL_OPEN"
                del place["reload_config"]
                opened += 1
    assert opened == 2 + len(served.clusters)


def test_a_filter_that_fails_open_reaches_no_provider(new_stack) -> None:
    """Backstop. Reeve configures no such thing; somebody might."""
    stack = new_stack(
        kind=RecordingStack,
        filter_wasm="REEVE_FILTER_FAULT_WASM",
        edit_served=everything_fails_open,
    )
    key = (b"x-bf-vk", stack.open_key.encode())
    trap = raw.request(headers=[key, (b"x-fault-injection", b"trap")], body=BODY)

    harmless = raw.request(headers=[key], body=b"{}")

    def passed_by() -> bool:
        raw.exchange_at_once(stack.port, trap)
        judged = raw.exchange_at_once(stack.port, harmless)
        # A filter that is there would say 400.
        return all(answer is not None and answer.status == 503 for answer in judged)

    eventually(passed_by, what="a trap in each worker")
    eventually(lambda: "cluster_not_found" in stack.envoy.text(), what="requests past the filter")
    assert_no_provider_is_reached(stack, stack.port, "failed open")


def without_a_module(bootstrap: Json, served: Served) -> None:
    config = with_own_governance(bootstrap, served)["config"]
    config["vm_config"]["code"]["local"]["filename"] = "/nowhere/reeve_filter.wasm"


def test_without_the_module_envoy_does_not_start(new_stack) -> None:
    """Backstop."""
    stack = new_stack(kind=RecordingStack, started=False, edit_served=without_a_module)
    stack.start_demo()
    stack.start_control_plane()
    stack.write_bootstrap()
    stack.envoy.start()
    eventually(lambda: not stack.envoy.alive(), what="the end of Envoy")
    assert stack.envoy.exit_code() != 0
    assert "reeve_filter.wasm" in stack.envoy.text()


def test_a_module_that_is_not_where_the_control_plane_says_serves_nothing(new_stack) -> None:
    """Backstop. Envoy refuses the filter's configuration, and all requests; the admin is told why."""
    stack = new_stack(kind=RecordingStack, started=False)
    elsewhere = stack.directory / "elsewhere.wasm"
    module = stack.control_plane.environment["REEVE_FILTER_WASM"]
    stack.control_plane.environment["REEVE_FILTER_WASM"] = str(elsewhere)

    def only_the_service_finds_it(bootstrap: Json) -> None:
        (service,) = bootstrap["bootstrap_extensions"]
        code = service["typed_config"]["config"]["vm_config"]["code"]
        code["local"]["filename"] = module

    stack.edit_bootstrap = only_the_service_finds_it
    stack.start_demo()
    stack.start_control_plane()
    stack.write_bootstrap()
    stack.envoy.start()

    def told() -> list[str]:
        nodes = stack.admin.get("/api/nodes")["nodes"]
        refused = [it for node in nodes for it in node["configuration"]["rejected"]]
        return [it["error"] for it in refused if it["resources"] == "filters"]

    (error,) = eventually(told, 30, "the refusal")
    assert "elsewhere.wasm" in error
    assert "Envoy refuses its configuration" in stack.control_plane.text()
    assert stack.envoy.alive()
    answer = raw.exchange(stack.port, raw.request(body=BODY))
    assert answer is not None and answer.status == 500
    assert answer.json()["type"] == "policy_unavailable"
    assert not stack.recorder.take()
