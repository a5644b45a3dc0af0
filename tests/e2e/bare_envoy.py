"""Envoy without what Reeve's own configuration does for the filter.

In a mesh somebody else configures Envoy, and the filter has to hold by itself.
"""

from __future__ import annotations

from served import Json, Served, connection_manager, with_own_routes


def without_hardening(bootstrap: Json, served: Served) -> None:
    """Paths and headers come to the filter as callers write them, and upgrades are let through."""
    manager = connection_manager(bootstrap)
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
    with_own_routes(bootstrap, served)["virtual_hosts"][0]["domains"] = ["*"]
    manager["common_http_protocol_options"]["headers_with_underscores_action"] = "ALLOW"
    manager["http_protocol_options"] = {"allow_absolute_url": True, "enable_trailers": True}
    manager["http2_protocol_options"]["allow_connect"] = True
