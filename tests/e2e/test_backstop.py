"""A filter that is missing, bypassed or not believed: no provider is reached all the same.

Two locks hold, each without the other: Envoy finds a provider only by what the filter has written into
filter state, which no caller can; and in the provider's cluster the `attempt` filter turns away what nobody
has judged, before the provider's key is added.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import raw
import raw_http2
from bare_envoy import GOVERNANCE, Json, connection_manager, manager_with_routes
from llm import chat_body
from recorder import RecordingStack
from waiting import eventually

BODY = json.dumps(chat_body("gpt-4o")).encode()


def configured_away(manager: Json) -> None:
    """Somebody has removed the filter."""
    manager["http_filters"] = [f for f in manager["http_filters"] if f["name"] != GOVERNANCE]
    for route in routes(manager):
        route.pop("typed_per_filter_config", None)


def switched_off(manager: Json) -> None:
    """Somebody has taken the line of the admin API for the line of the providers."""
    admin_api, *_, providers = routes(manager)
    providers["typed_per_filter_config"] = admin_api["typed_per_filter_config"]


def headers_let_through(manager: Json) -> None:
    """And Envoy takes what callers say of attempts and clusters."""
    configured_away(manager)
    del manager["early_header_mutation_extensions"]


def first_lock_open(manager: Json) -> None:
    """And the route leads to a provider whatever the filter says."""
    headers_let_through(manager)
    *_, providers = routes(manager)
    del providers["route"]["inline_cluster_specifier_plugin"]
    providers["route"]["cluster"] = "provider_openai"
    manager["route_config"]["validate_clusters"] = False


EDITS = (configured_away, switched_off, headers_let_through, first_lock_open)


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
        for name in (b"x-reeve-cluster", b"X-Reeve-Cluster", b"x-Reeve-cluster "):
            for headers in (
                [(name, cluster)],
                [(name, cluster)] * 2,
                [key, *more, (name, cluster)],
            ):
                answer = raw.exchange(port, raw.request(headers=headers, body=BODY))
                assert answer is not None and answer.status in (400, 503), (how, answer)
        fields = raw_http2.request([(b"x-reeve-cluster", cluster), key])
        assert raw_http2.exchange(port, fields, BODY).status == 503, how
    assert raw.exchange(port, raw.request(body=BODY)).status == 503, how
    assert not stack.recorder.take(), how


def test_without_the_filter_no_provider_is_reached(new_stack) -> None:
    """Backstop. Whichever of the locks is open besides: an Envoy with a listener for each case."""
    stack = new_stack(kind=RecordingStack, started=False)
    ports = {edit.__name__: stack.ports.take() for edit in EDITS}

    def a_listener_for_each(bootstrap: Json) -> None:
        manager_with_routes(bootstrap)
        (as_shipped,) = bootstrap["static_resources"]["listeners"]
        for edit in EDITS:
            bootstrap["static_resources"]["listeners"] = [listener := copy.deepcopy(as_shipped)]
            edit(connection_manager(bootstrap))
            listener["name"] = edit.__name__
            listener["address"]["socket_address"]["port_value"] = ports[edit.__name__]
            listeners.append(listener)
        bootstrap["static_resources"]["listeners"] = listeners

    listeners: list[Json] = []
    stack.edit_bootstrap = a_listener_for_each
    stack.start_demo()
    stack.start_control_plane()
    stack.start_envoy_without_policy()
    for how, port in ports.items():
        assert_no_provider_is_reached(stack, port, how)


def everything_fails_open(bootstrap: Json) -> None:
    """`FAIL_OPEN` for each role of the filter: after a trap, requests pass it by for ever."""
    cds = bootstrap["dynamic_resources"]["cds_config"]["path_config_source"]
    clusters = json.loads(Path(cds["path"]).read_text())
    places = [bootstrap, clusters]
    while places:
        place = places.pop()
        if isinstance(place, list):
            places += place
        elif isinstance(place, dict):
            places += place.values()
            if "failure_policy" in place:
                place["failure_policy"] = "FAIL_OPEN"
                del place["reload_config"]
    edited = Path(cds["path"]).parent.parent / "clusters.json"
    edited.write_text(json.dumps(clusters))
    cds["path"] = str(edited)
    cds["watched_directory"]["path"] = str(edited.parent)


def test_a_filter_that_fails_open_reaches_no_provider(new_stack) -> None:
    """Backstop. Reeve configures no such thing; somebody might."""
    stack = new_stack(
        kind=RecordingStack,
        filter_wasm="REEVE_FILTER_FAULT_WASM",
        edit_bootstrap=everything_fails_open,
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
    eventually(lambda: "no_healthy_upstream" in stack.envoy.text(), what="requests past the filter")
    assert_no_provider_is_reached(stack, stack.port, "failed open")


def without_a_module(bootstrap: Json) -> None:
    config = connection_manager(bootstrap)["http_filters"][0]["typed_config"]["config"]
    config["vm_config"]["code"]["local"]["filename"] = "/nowhere/reeve_filter.wasm"


def test_without_the_module_envoy_does_not_start(new_stack) -> None:
    """Backstop."""
    stack = new_stack(kind=RecordingStack, started=False, edit_bootstrap=without_a_module)
    stack.start_demo()
    stack.start_control_plane()
    stack.write_bootstrap()
    stack.envoy.start()
    eventually(lambda: not stack.envoy.alive(), what="the end of Envoy")
    assert stack.envoy.exit_code() != 0
    assert "reeve_filter.wasm" in stack.envoy.text()
