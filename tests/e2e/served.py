"""What the control plane serves to an Envoy, for tests that want some of it otherwise.

Envoy itself tells: it is asked what it was given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

Json = dict[str, Any]

GOVERNANCE = "reeve.governance"


@dataclass(frozen=True)
class Served:
    """Everything but the secrets, which Envoy does not show."""

    routes: Json
    """The route configuration."""
    governance: Json
    """What the governance filter is configured with."""
    clusters: list[Json]
    """Of the providers."""


def served(envoy_admin: httpx.Client) -> Served:
    dump = envoy_admin.get("/config_dump").raise_for_status().json()["configs"]
    parts = {part["@type"].rpartition(".")[2]: part for part in dump}
    (routes,) = parts["RoutesConfigDump"]["dynamic_route_configs"]
    (governance,) = parts["EcdsConfigDump"]["ecds_filters"]
    clusters = [
        entry["cluster"] for entry in parts["ClustersConfigDump"].get("dynamic_active_clusters", [])
    ]
    for resource in (routes["route_config"], *clusters):
        del resource["@type"]
    return Served(routes["route_config"], governance["ecds_filter"]["typed_config"], clusters)


def connection_manager(bootstrap: Json) -> Json:
    (chain,) = bootstrap["static_resources"]["listeners"][0]["filter_chains"]
    return chain["filters"][0]["typed_config"]


def with_own_routes(bootstrap: Json, served: Served) -> Json:
    """From here on the routes are the bootstrap's, to be changed."""
    manager = connection_manager(bootstrap)
    del manager["rds"]
    # Clusters of providers come later than the bootstrap.
    manager["route_config"] = served.routes | {"validate_clusters": False}
    return manager["route_config"]


def with_own_governance(bootstrap: Json, served: Served) -> Json:
    """From here on the governance filter's configuration is the bootstrap's, to be changed."""
    (governance,) = [
        f for f in connection_manager(bootstrap)["http_filters"] if f["name"] == GOVERNANCE
    ]
    del governance["config_discovery"]
    governance["typed_config"] = served.governance
    return served.governance
