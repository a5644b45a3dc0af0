"""Envoy without what Reeve's own configuration does for the filter.

In a mesh somebody else configures Envoy, and the filter has to hold by itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]

GOVERNANCE = "reeve.governance"


def connection_manager(bootstrap: Json) -> Json:
    (chain,) = bootstrap["static_resources"]["listeners"][0]["filter_chains"]
    return chain["filters"][0]["typed_config"]


def manager_with_routes(bootstrap: Json) -> Json:
    """The connection manager with its routes in it, which are a file of their own as rendered. They stay
    as they are now: those of providers that come later are not there."""
    manager = connection_manager(bootstrap)
    source = manager.pop("rds")["config_source"]["path_config_source"]
    (manager["route_config"],) = json.loads(Path(source["path"]).read_text())["resources"]
    del manager["route_config"]["@type"]
    return manager


def without_hardening(bootstrap: Json) -> None:
    """Paths and headers come to the filter as callers write them, and upgrades are let through."""
    manager = manager_with_routes(bootstrap)
    manager |= {
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "strip_any_host_port": False,
        "use_remote_address": False,
        "preserve_external_request_id": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}],
    }
    del manager["early_header_mutation_extensions"]
    del manager["internal_address_config"]
    manager["route_config"]["virtual_hosts"][0]["domains"] = ["*"]
    manager["common_http_protocol_options"]["headers_with_underscores_action"] = "ALLOW"
    manager["http_protocol_options"] = {"allow_absolute_url": True, "enable_trailers": True}
    manager["http2_protocol_options"]["allow_connect"] = True
