"""Providers are where an administrator says, and not where a name or an answer leads. Row R-90.

Which base URLs are refused outright is tested in control-plane/src/providers.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dns import NameServer
from llm import denial
from stack import Stack
from waiting import eventually, stays


class Listener:
    """Counts who connects."""

    def __init__(self, port: int) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


class Elsewhere(BaseHTTPRequestHandler):
    """Sends everybody on."""

    to = ""
    asked = 0

    def do_POST(self) -> None:
        type(self).asked += 1
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(307)
        self.send_header("location", self.to)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def named(new_stack) -> Iterator[tuple[Stack, NameServer]]:
    """A stack in which every name is 127.0.0.1."""
    stack = new_stack(started=False)
    names = NameServer(stack.ports.take(), "127.0.0.1")
    stack.edit_bootstrap = names.instead_of_the_machines
    stack.start()
    stack.admin.enable_governance()
    yield stack, names
    names.close()


def denials(stack: Stack, provider: str) -> tuple[int, int]:
    """Requests that were denied for the address, and connections that were tried."""
    stats = stack.stats(f"cluster.provider_{provider}.")
    of = f"cluster.provider_{provider}."
    return stats.get(f"{of}rbac.denied", 0), stats.get(f"{of}upstream_cx_total", 0)


def test_a_public_name_that_leads_to_a_private_address_is_not_connected_to(named) -> None:
    """R-90."""
    stack, _ = named
    port = stack.ports.take()
    inside = Listener(port)
    stack.admin.create_provider("rebound", f"https://api.example.com:{port}")
    stack.admin.create_provider("plain", f"https://127.0.0.1:{port}")
    caller = stack.caller(stack.key(allow_all_providers=True).value)
    for times in range(1, 4):
        answer = caller.chat("rebound/gpt-4o")
        assert answer.status_code == 503, answer.text
        assert answer.json()["error"]["type"] == "provider_unavailable"
        assert "127.0.0.1" not in answer.text
        assert denials(stack, "rebound") == (times, 0)
    assert inside.connections == 0
    # It would have noticed.
    assert caller.chat("plain/gpt-4o").status_code == 503
    eventually(lambda: inside.connections > 0, what="a connection")
    inside.close()


def test_a_name_that_turns_to_a_metadata_service_later_is_not_connected_to(named) -> None:
    """R-90. The name was judged when the provider was written; its address is judged now."""
    stack, names = named
    stack.admin.create_provider("own", f"http://llm.internal:{stack.demo_port}")
    caller = stack.caller(stack.key(allow_all_providers=True).value)
    assert caller.chat("own/gpt-4o").status_code == 200
    names.address = "169.254.169.254"

    def denied() -> bool:
        return caller.chat("own/gpt-4o").status_code == 503

    eventually(denied, what="the other address")
    _, connections = denials(stack, "own")
    served = stack.demo.requests()
    stays(denied, 1, "the refusal")
    count, still = denials(stack, "own")
    assert count > 1 and still == connections
    assert stack.demo.requests() == served


def test_a_redirect_is_followed_by_nobody(new_stack) -> None:
    """R-90. Not by Envoy; and a caller's SDK, which would, is not told where to."""
    stack = new_stack()
    port = stack.ports.take()
    Elsewhere.to = f"{stack.demo.url}/v1/chat/completions"
    server = ThreadingHTTPServer(("127.0.0.1", port), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.admin.create_provider("moved", f"http://127.0.0.1:{port}")
    key = stack.key(allow_all_providers=True)
    stack.demo.reset()
    answer = stack.caller(key.value).chat("moved/gpt-4o")
    assert answer.status_code == 307
    assert "location" not in answer.headers
    assert Elsewhere.asked == 1
    assert stack.demo.nothing_arrived()
    server.shutdown()


def test_a_caller_cannot_say_where_the_provider_is(stack: Stack) -> None:
    """R-90. CVE-2024-6587 at LiteLLM."""
    caller = stack.caller(stack.key().value)
    for field in ("api_base", "base_url", "api_key"):
        refused = caller.chat("openai/gpt-4o", **{field: "http://169.254.169.254"})
        assert denial(refused)[0] == 400, field
    assert stack.demo.nothing_arrived()
