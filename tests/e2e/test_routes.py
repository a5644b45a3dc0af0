"""The routes' part in trying again: which attempt goes where, and how often.

The governance filter's part is played by filters of Envoy's, so that nothing else decides.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from served import Json, Served, connection_manager, with_own_routes


class Upstream:
    """Answers everything with one status, and counts."""

    def __init__(self, port: int, status: int) -> None:
        self.name = f"upstream_{port}"
        self.received = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler) -> None:
                handler.rfile.read(int(handler.headers["content-length"]))
                self.received += 1
                handler.send_response(status)
                handler.send_header("content-length", "0")
                handler.end_headers()

            def log_message(handler, *_: object) -> None:
                pass

        self._port = port
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def cluster(self) -> Json:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self._port}}
        return {
            "name": self.name,
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": self.name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        }


def slots(*clusters: str) -> Json:
    """A filter that plays the governance filter: it names the cluster of each attempt."""
    return {
        "name": "slots",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
            "clear_route_cache": True,
            "on_request_headers": [
                {
                    "object_key": f"wasm.reeve_try_{number}",
                    "factory_key": "envoy.string",
                    "format_string": {"text_format_source": {"inline_string": cluster}},
                }
                for number, cluster in enumerate(clusters, 1)
            ],
        },
    }


def allowed(retries: int) -> Json:
    """And it says how often a request may be tried again, and after what."""
    fields = {
        "x-envoy-max-retries": str(retries),
        "x-envoy-retry-on": "5xx,retriable-status-codes",
        "x-envoy-retriable-status-codes": "429",
    }
    overwrite = "OVERWRITE_IF_EXISTS_OR_ADD"
    mutations = [
        {"append": {"header": {"key": key, "value": value}, "append_action": overwrite}}
        for key, value in fields.items()
    ]
    return {
        "name": "allowed",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {"request_mutations": mutations},
        },
    }


@pytest.mark.parametrize("retries", [None, 1, 3])
def test_each_attempt_goes_to_the_cluster_of_its_slot_and_only_as_often_as_is_allowed(
    new_stack, retries: int | None
) -> None:
    """The routes retry nothing; headers that callers cannot set say otherwise."""
    stack = new_stack(started=False)
    upstreams = [Upstream(stack.ports.take(), status) for status in (503, 429, 500, 200)]

    def played(bootstrap: Json, served: Served) -> None:
        manager = connection_manager(bootstrap)
        manager["http_filters"] = [
            slots(*(upstream.name for upstream in upstreams)),
            *([allowed(retries)] if retries else []),
            manager["http_filters"][-1],
        ]
        routes = with_own_routes(bootstrap, served)["virtual_hosts"][0]["routes"]
        for route in routes:
            route.pop("typed_per_filter_config", None)
        text = json.dumps(routes[-1])
        providers = ("anthropic", "bedrock", "cohere", "openai")
        for provider, upstream in zip(providers, upstreams, strict=True):
            text = text.replace(f'"provider_{provider}"', f'"{upstream.name}"')
        routes[-1] = json.loads(text)
        bootstrap["static_resources"]["clusters"] += [upstream.cluster() for upstream in upstreams]

    stack.edit_served = played
    try:
        stack.start_demo()
        stack.start_control_plane()
        stack.start_envoy_without_policy()
        wish = {"x-envoy-max-retries": "9", "x-envoy-retry-on": "5xx"}
        answer = stack.caller(None, **wish).post("/anything", {"a": 1})
        attempts = 1 + (retries or 0)
        assert answer.status_code == (503, 429, 500, 200)[attempts - 1]
        assert [upstream.received for upstream in upstreams] == [1] * attempts + [0] * (4 - attempts)
    finally:
        for upstream in upstreams:
            upstream.close()
