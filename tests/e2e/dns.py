"""A name server on this machine that answers what a test tells it to."""

from __future__ import annotations

import socket
import struct
import threading

from bare_envoy import Json

TYPE_A = 1


class NameServer:
    """Every name has the one address; it may be changed at any time, and is kept for a second."""

    def __init__(self, port: int, address: str) -> None:
        self.port = port
        self.address = address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def instead_of_the_machines(self, bootstrap: Json) -> None:
        """Has Envoy ask here."""
        config = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
        here = {"address": "127.0.0.1", "port_value": self.port, "protocol": "UDP"}
        bootstrap["typed_dns_resolver_config"] = {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": f"type.googleapis.com/{config}",
                "resolvers": [{"socket_address": here}],
                "dns_resolver_options": {"no_default_search_domain": True},
            },
        }

    def _serve(self) -> None:
        while True:
            try:
                asked, sender = self._socket.recvfrom(512)
            except OSError:
                return
            self._socket.sendto(self._answer(asked), sender)

    def _answer(self, asked: bytes) -> bytes:
        name_end = asked.index(b"\0", 12) + 1
        (kind,) = struct.unpack("!H", asked[name_end : name_end + 2])
        question = asked[12 : name_end + 4]
        # Of another type than A there is nothing.
        has = kind == TYPE_A
        head = asked[:2] + struct.pack("!HHHHH", 0x8180, 1, int(has), 0, 0)
        if not has:
            return head + question
        record = struct.pack("!HHHIH", 0xC00C, TYPE_A, 1, 1, 4) + socket.inet_aton(self.address)
        return head + question + record
