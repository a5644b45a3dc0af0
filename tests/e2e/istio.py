"""An Envoy as Istio configures a gateway from deploy/istio.

Istio is not here. What its pilot makes of each field that deploy/istio uses is written down below (as its
source has it: `pilot/pkg/model/extensions.go`, `pilot/pkg/networking/core`); a resource or field that is
not known here is an error. Left out are the TLS of the door and of the ways to provider and control plane,
and Istio's own telemetry filters, which no other Envoy has.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bare_envoy import Json
from more_envoy import MoreEnvoy
from stack import KeyInForce, Stack, piece
from waiting import eventually

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "istio"
TYPE = "type.googleapis.com/"
CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
ROUTER = "envoy.filters.http.router"
PROVIDER_KEY = "the-provider-key-of-the-mesh"
# Istio's name for FailStrategy's values in Envoy (since 1.25, FAIL_RELOAD since 1.27).
FAILURE_POLICIES = {
    "FAIL_CLOSE": "FAIL_CLOSED",
    "FAIL_OPEN": "FAIL_OPEN",
    "FAIL_RELOAD": "FAIL_RELOAD",
}

KNOWN_OF_A_ROUTE = {"name", "match", "route", "headers", "timeout", "retries"}

Edit = Callable[["Resources"], None]


class Resources(dict[tuple[str, str], Json]):
    """The shipped resources' specs, by kind and name."""

    def __init__(self, replaced: dict[str, str]) -> None:
        super().__init__()
        for file in sorted(SHIPPED.glob("*.yaml")):
            text = file.read_text()
            for shipped, here in replaced.items():
                text = text.replace(shipped, here)
            for resource in yaml.safe_load_all(text):
                self[resource["kind"], resource["metadata"]["name"]] = resource["spec"]

    def of(self, kind: str) -> dict[str, Json]:
        return {name: spec for (of_kind, name), spec in self.items() if of_kind == kind}


class IstioGateway(MoreEnvoy):
    def __init__(
        self,
        stack: Stack,
        *,
        filter_wasm: str = "REEVE_FILTER_WASM",
        edit: Edit | None = None,
        certificates: Path | None = None,
    ) -> None:
        """`certificates`: where Istio's agent has written its own; without, as in `--dev`, no TLS."""
        super().__init__(stack, "istio")
        self.is_certified = certificates is not None
        # As Istio names its gateways: unlike any other's.
        self.node_id = f"router~10.0.0.{self.port % 250}~reeve-gateway-{self.port}.reeve-gateway~x"
        keys = self.directory / "provider-keys"
        keys.mkdir()
        (keys / "openai.yaml").write_text(json.dumps(provider_key()))
        self.resources = Resources(
            {
                "/var/lib/reeve/reeve_filter.wasm": piece(filter_wasm),
                "/var/lib/reeve/provider-keys": str(keys),
                "/var/lib/reeve/authority": str(stack.data / "envoy"),
                "/etc/istio-output-certs": str(certificates),
            }
        )
        if edit is not None:
            edit(self.resources)
        self._extensions = self.directory / "extensions.json"

    def start_without_policy(self) -> None:
        self.push_extensions()
        super().start_without_policy()

    def await_policy(self, key: KeyInForce) -> None:
        """By a question that is answered from headers alone."""

        def answered() -> bool:
            return self.caller(key).request("GET", "/v1/models").status_code == 200

        eventually(answered, what="policy in Istio's Envoy")

    def push_extensions(self) -> None:
        """Istio's ECDS. Envoy watches for a file that is moved into place."""
        plugins = self.resources.of("WasmPlugin").items()
        new = self._extensions.with_suffix(".new")
        new.write_text(json.dumps({"resources": [extension(*plugin) for plugin in plugins]}))
        os.replace(new, self._extensions)

    # ---- what pilot makes

    def bootstrap(self) -> Json:
        return {
            "node": {"id": self.node_id, "cluster": "reeve-gateway.reeve-gateway"},
            "admin": {"address": loopback(self.admin_port)},
            "static_resources": {
                "listeners": [self.listener()],
                "clusters": [self.control_plane(), *self.providers()],
            },
        }

    def listener(self) -> Json:
        return {
            "name": "0.0.0.0_443",
            "address": loopback(self.port),
            # Not Istio's: one socket, and connections dealt out, so that tests reach each worker.
            "enable_reuse_port": False,
            "connection_balance_config": {"exact_balance": {}},
            "filter_chains": [
                {"filters": [{"name": CONNECTION_MANAGER, "typed_config": self.manager()}]}
            ],
        }

    def manager(self) -> Json:
        return {
            "@type": f"{TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "outbound_0.0.0.0_443",
            "server_name": "istio-envoy",
            "use_remote_address": True,
            "normalize_path": True,
            "forward_client_cert_details": "SANITIZE_SET",
            "set_current_client_cert_details": {"subject": True, "uri": True},
            "proxy_100_continue": True,
            "stream_idle_timeout": "0s",
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "http_filters": self.http_filters(),
            "route_config": self.routes(),
        }

    def http_filters(self) -> list[Json]:
        filters = [
            plain("envoy.filters.http.grpc_stats", "grpc_stats.v3.FilterConfig"),
            plain("envoy.filters.http.fault", "fault.v3.HTTPFault"),
            plain("envoy.filters.http.cors", "cors.v3.Cors"),
        ]
        # Without a phase a plugin is the last before the router.
        for name in self.resources.of("WasmPlugin"):
            source = {"path_config_source": {"path": str(self._extensions)}}
            filters.append(
                {
                    "name": f"reeve-gateway.{name}",
                    "config_discovery": {
                        # (Istio: by ADS.)
                        "config_source": source
                        | {"initial_fetch_timeout": "0s", "resource_api_version": "V3"},
                        "type_urls": [
                            f"{TYPE}envoy.extensions.filters.http.wasm.v3.Wasm",
                            f"{TYPE}envoy.extensions.filters.http.rbac.v3.RBAC",
                        ],
                    },
                }
            )
        for patch in self.patches("HTTP_FILTER"):
            manager = patch["match"]["listener"]["filterChain"]["filter"]
            assert manager == {"name": CONNECTION_MANAGER, "subFilter": {"name": ROUTER}}
            assert patch["patch"]["operation"] == "INSERT_BEFORE"
            filters.append(patch["patch"]["value"])
        return [*filters, plain(ROUTER, "router.v3.Router")]

    def patches(self, apply_to: str) -> list[Json]:
        filters = self.resources.of("EnvoyFilter").values()
        every = [patch for spec in filters for patch in spec["configPatches"]]
        assert {patch["applyTo"] for patch in every} <= {"HTTP_FILTER", "CLUSTER"}
        assert {patch["match"]["context"] for patch in every} <= {"GATEWAY"}
        return [patch for patch in every if patch["applyTo"] == apply_to]

    def routes(self) -> Json:
        routes = []
        for spec in self.resources.of("VirtualService").values():
            for http in spec["http"]:
                assert set(http) == KNOWN_OF_A_ROUTE, http
                ((match,), (route,)) = (http["match"], http["route"])
                assert http["retries"] == {"attempts": 0}, "otherwise Istio's default of two"
                ((header, value),) = match["headers"].items()
                host, port = route["destination"]["host"], route["destination"]["port"]["number"]
                routes.append(
                    {
                        "name": http["name"],
                        "match": {
                            "prefix": "/",
                            "headers": [{"name": header, "string_match": value}],
                        },
                        "route": {
                            "cluster": f"outbound|{port}||{host}",
                            "timeout": http["timeout"],
                        },
                        "decorator": {"operation": f"{host}:{port}/*"},
                        "response_headers_to_remove": removed_from_answers(http["headers"]),
                    }
                )
        # Callers know this one by its address, not by the host of the Gateway.
        hosts = [{"name": "llm.example.com:443", "domains": ["*"], "routes": routes}]
        return {"name": "https.443", "virtual_hosts": hosts, "validate_clusters": False}

    def control_plane(self) -> Json:
        """The Service's port, whose name begins with `grpc`."""
        ((name, spec),) = self.resources.of("Service").items()
        (port,) = [port for port in spec["ports"] if port["name"].startswith("grpc")]
        made = cluster(
            f"outbound|{port['port']}||{name}.reeve-system.svc.cluster.local",
            self.stack.grpc_port,
            {"http2_protocol_options": {}},
        )
        if self.is_certified:
            levels = self.resources["DestinationRule", name]["trafficPolicy"]["portLevelSettings"]
            (level,) = [it for it in levels if it["port"]["number"] == port["port"]]
            made["transport_socket"] = mutual_tls(level["tls"])
        return made

    def providers(self) -> list[Json]:
        clusters = []
        for spec in self.resources.of("ServiceEntry").values():
            ((host,), (port,)) = (spec["hosts"], spec["ports"])
            # The demo provider is in the place of every provider.
            made = cluster(
                f"outbound|{port['number']}||{host}",
                self.stack.demo_port,
                {"http_protocol_options": {}},
            )
            for patch in self.patches("CLUSTER"):
                match = {"service": host, "portNumber": port["number"]}
                if patch["match"]["cluster"] == match:
                    merge(made, patch["patch"])
            clusters.append(made)
        return clusters


def removed_from_answers(headers: Json) -> list[str]:
    assert set(headers) == {"response"} and set(headers["response"]) == {"remove"}, headers
    return headers["response"]["remove"]


def extension(name: str, plugin: Json) -> Json:
    """What pilot makes of a WasmPlugin. It sets no vm_id, and cannot set more than this."""
    known = {"selector", "url", "pluginName", "match", "failStrategy", "pluginConfig"}
    assert set(plugin) <= known, plugin
    assert plugin["match"] == [{"mode": "CLIENT"}], "a gateway's listeners are of clients"
    scheme, path = plugin["url"].split("://")
    assert scheme == "file"
    full_name = f"reeve-gateway.{name}"
    config = {
        "name": full_name,
        "root_id": plugin["pluginName"],
        "configuration": {
            "@type": f"{TYPE}google.protobuf.StringValue",
            # A google.protobuf.Struct, as JSON.
            "value": json.dumps(plugin["pluginConfig"], separators=(",", ":")),
        },
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": path}},
            "environment_variables": {
                "key_values": {"ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": "1"}
            },
        },
        "failure_policy": FAILURE_POLICIES[plugin.get("failStrategy", "FAIL_CLOSE")],
    }
    return {
        "@type": f"{TYPE}envoy.config.core.v3.TypedExtensionConfig",
        "name": full_name,
        "typed_config": {
            "@type": f"{TYPE}envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": config,
        },
    }


def merge(made: Json, patch: Json) -> None:
    """A patch of a cluster. As protobuf merges maps: an entry replaces the one of its name."""
    assert patch["operation"] == "MERGE"
    value = copy.deepcopy(patch["value"])
    made["metadata"]["filter_metadata"] |= value.pop("metadata")["filter_metadata"]
    made["typed_extension_protocol_options"] |= value.pop("typed_extension_protocol_options")
    assert not value


def cluster(name: str, port: int, protocol: Json) -> Json:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": 4294967295, "max_pending_requests": 4294967295}
                | {"max_requests": 4294967295, "max_retries": 4294967295}
            ]
        },
        "metadata": {"filter_metadata": {"istio": {"default_original_port": port}}},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": loopback(port)}}]}],
        },
        "typed_extension_protocol_options": {
            options: {"@type": TYPE + options, "explicit_http_config": protocol}
        },
    }


def mutual_tls(tls: Json) -> Json:
    """What pilot makes of a DestinationRule's `tls`, the files by name and not by SDS."""
    known = {"mode", "clientCertificate", "privateKey", "caCertificates", "subjectAltNames", "sni"}
    assert set(tls) == known and tls["mode"] == "MUTUAL", tls
    names = [
        {"san_type": kind, "matcher": {"exact": name}}
        for name in tls["subjectAltNames"]
        for kind in ("DNS", "URI")
    ]
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": tls["sni"],
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                "tls_certificates": [
                    {
                        "certificate_chain": {"filename": tls["clientCertificate"]},
                        "private_key": {"filename": tls["privateKey"]},
                    }
                ],
                "validation_context": {
                    "trusted_ca": {"filename": tls["caCertificates"]},
                    "match_typed_subject_alt_names": names,
                },
            },
        },
    }


def provider_key() -> Json:
    """The mounted Secret, as deploy/istio/README.md has it made."""
    return {
        "resources": [
            {
                "@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.Secret",
                "name": "openai",
                "generic_secret": {"secret": {"inline_string": PROVIDER_KEY}},
            }
        ]
    }


def loopback(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def plain(name: str, message: str) -> Json:
    config: dict[str, Any] = {"@type": f"{TYPE}envoy.extensions.filters.http.{message}"}
    return {"name": name, "typed_config": config}
