"""Outside of --dev the control plane's streams are mutual TLS, and a node speaks only for itself.

Row R-97 of the red team. On the stream go provider keys, policy and money.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from pathlib import Path

import httpx

from fleet import renumbered
from istio import IstioGateway
from llm import CHAT, Caller
from mesh_authority import MeshAuthority
from process import Process
from served import Json
from stack import Stack, piece
from waiting import eventually

TOKEN = "an-admin-token-for-this-test-only-0123456789"
SECRET = "sk-of-the-provider-alone"


def strict(new_stack, **environment: str) -> Stack:
    """As in production: no --dev."""
    environment |= {"REEVE_ADMIN_TOKEN": TOKEN, "REEVE_PRIVATE_NETWORKS": "127.0.0.1"}
    stack = new_stack(dev=False, governance=False, started=False, environment=environment)
    stack.admin.close()
    stack.admin = type(stack.admin)(f"http://127.0.0.1:{stack.http_port}", TOKEN)
    stack.start()
    network = {"base_url": f"{stack.demo.url}/v1", "allow_private_network": True}
    body = {"name": "openai", "network_config": network, "keys": [{"value": SECRET}]}
    stack.admin.post("/api/providers", body)
    return stack


class Another:
    """One more Envoy of a stack, as `reeve node enroll` has made it."""

    def __init__(self, stack: Stack, node_id: str) -> None:
        self.stack = stack
        self.directory = stack.directory / node_id
        command = [piece("REEVE_BIN"), "node", "enroll", node_id, "--out", str(self.directory)]
        environment = stack.control_plane.environment
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        self.port, self.admin_port = stack.ports.take(), stack.ports.take()
        self.url = f"http://127.0.0.1:{self.port}"
        bootstrap = json.loads((self.directory / "bootstrap.json").read_text())
        ports = {stack.port: self.port, stack.envoy_admin_port: self.admin_port}
        self.bootstrap: Json = renumbered(bootstrap, ports)
        self.file = self.directory / "edited.json"
        arguments = list(stack.envoy.command)
        arguments[arguments.index("--config-path") + 1] = str(self.file)
        log = stack.logs / f"{node_id}.log"
        self.process = Process(node_id, arguments, stack.environment, log)
        stack.more_processes.append(self.process)

    def start(self) -> None:
        self.file.write_text(json.dumps(self.bootstrap))
        self.process.start()


def nodes(stack: Stack) -> list[str]:
    return [node["node_id"] for node in stack.admin.get("/api/nodes")["nodes"]]


def test_an_envoy_that_is_enrolled_joins_and_one_that_says_it_is_another_does_not(
    new_stack,
) -> None:
    """R-97."""
    stack = strict(new_stack)
    key = stack.key()
    assert stack.caller(key.value).chat().status_code == 200
    assert stack.demo.last_headers()["authorization"] == [f"Bearer {SECRET}"]
    own = f"envoy-{stack.port}"
    assert nodes(stack) == [own]

    enrolled = Another(stack, "second")
    for file in enrolled.directory.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    enrolled.start()
    caller = Caller(enrolled.url, key.value)
    eventually(lambda: _answers(caller), 30, "the second Envoy")
    assert caller.chat().status_code == 200
    assert nodes(stack) == [own, "second"]

    spoof = Another(stack, "third")
    spoof.bootstrap["node"]["id"] = own
    spoof.start()
    log = stack.control_plane
    eventually(lambda: log.text().count("a node speaks for another") >= 2, 30, "its refusals")
    told = stack.envoy_admin.get(f"http://127.0.0.1:{spoof.admin_port}/config_dump").text
    assert "control_plane_grpc" in told
    assert "provider_openai" not in told and SECRET not in told
    assert nodes(stack) == [own, "second"]


def test_a_gateway_of_the_mesh_joins_by_the_meshs_certificate_and_no_other_workload_does(
    new_stack, tmp_path: Path
) -> None:
    """R-97. deploy/istio: the gateways are in the namespace `reeve-gateway`."""
    authority = MeshAuthority(tmp_path / "mesh")
    stack = strict(
        new_stack,
        REEVE_NODE_TRUST_BUNDLE=str(authority.root),
        REEVE_NODE_IDENTITIES="spiffe://cluster.local/ns/reeve-gateway",
    )
    key = stack.key()
    own = f"envoy-{stack.port}"
    of = "spiffe://cluster.local/ns"
    gateway = IstioGateway(
        stack, certificates=authority.certify(f"{of}/reeve-gateway/sa/reeve-gateway")
    )
    gateway.start()
    gateway.await_policy(key)
    assert gateway.caller(key).chat().status_code == 200
    assert set(nodes(stack)) == {own, gateway.node_id}

    other = IstioGateway(stack, certificates=authority.certify(f"{of}/shop/sa/reeve-gateway"))
    # It says that it is one of the gateways.
    other.node_id = f"{gateway.node_id}-too"
    other.start_without_policy()
    log = stack.control_plane
    eventually(lambda: "a node speaks for another" in log.text(), what="its refusal")
    assert other.caller(key).chat().status_code == 503
    assert set(nodes(stack)) == {own, gateway.node_id}


def _answers(caller: Caller) -> bool:
    try:
        return caller.post(CHAT, {}).status_code == 400
    except httpx.TransportError:
        return False


def test_without_a_certificate_of_ours_the_port_says_nothing(new_stack) -> None:
    """R-97."""
    stack = strict(new_stack)
    address = ("127.0.0.1", stack.grpc_port)
    with socket.create_connection(address, timeout=5) as plain:
        plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        got = plain.recv(1_000)
        assert not got or got[0] == 21, "nothing, or an alert of TLS"
    context = ssl.create_default_context(cafile=str(stack.data / "envoy" / "authority.pem"))
    context.set_alpn_protocols(["h2"])
    name = "control-plane.reeve.internal"
    refused = False
    try:
        with (
            socket.create_connection(address, timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=name) as tls,
        ):
            refused = not tls.recv(1_000)
    except (ssl.SSLError, ConnectionError):
        refused = True
    assert refused
    key = Path(stack.data / "envoy" / "node-key.pem")
    assert key.stat().st_mode & 0o077 == 0
    database = b"".join(file.read_bytes() for file in stack.data.glob("reeve.db*"))
    assert b"PRIVATE KEY" not in database
