"""The article's quick start, to the letter, against `reeve up --dev`; only the port is another."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo import answer_text
from process import Process
from stack import Stack, piece
from waiting import eventually

FIRST_CALL = """curl -X POST http://localhost:8080/v1/chat/completions \\
-H "Content-Type: application/json" \\
-d '{
"model": "openai/gpt-4o-mini",
"messages": [{"role": "user", "content": "Hello, Bifrost!"}]
}'"""
ENABLE_GOVERNANCE = """curl -X PUT http://localhost:8080/api/config \\
-H "Content-Type: application/json" \\
-d '{"client_config": {"enable_governance": true}}'"""
CREATE_KEY = """curl -X POST http://localhost:8080/api/governance/virtual-keys \\
-H "Content-Type: application/json" \\
-d '{
"name": "prod-api",
"provider_configs": [{
"provider": "openai",
"allowed_models": ["gpt-4o"]
}],
"budget": {"max_limit": 100.00, "reset_duration": "1M"}
}'"""


class Up:
    """`reeve up --dev`: one process that runs all the others."""

    def __init__(self) -> None:
        # The places and ports of a stack, whose own processes are not started.
        self.stack = Stack("up")
        environment = self.stack.environment | {"REEVE_ENVOY": piece("REEVE_ENVOY")}
        command = [piece("REEVE_BIN"), "up", "--dev"]
        self.process = Process("up", command, environment, self.stack.logs / "up.log")

    def start(self) -> None:
        self.process.start()

        def ready() -> bool:
            self.process.assert_alive()
            try:
                return self.stack.caller().post("/v1/chat/completions", {}).status_code == 400
            except httpx.TransportError:
                return False

        eventually(ready, what="`reeve up --dev` to serve")

    def stop(self) -> None:
        self.process.stop()
        self.process.assert_gone()
        self.stack.stop()

    def sh(self, command: str) -> tuple[int, str]:
        """Runs a command of the article in a shell: status and body."""
        command = command.replace("localhost:8080", f"localhost:{self.stack.port}")
        command = command.replace("curl ", "curl -sS -w '\\n%{http_code}' ", 1)
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body


@pytest.fixture
def up() -> Iterator[Up]:
    up = Up()
    try:
        up.start()
        yield up
    finally:
        up.stop()


def test_the_articles_quick_start_works_to_the_letter(up: Up) -> None:
    status, body = up.sh(FIRST_CALL)
    assert status == 200, body
    answer = json.loads(body)["choices"][0]["message"]["content"]
    assert answer == answer_text("gpt-4o-mini", "Hello, Bifrost!")

    status, body = up.sh(ENABLE_GOVERNANCE)
    assert status == 200, body

    status, body = up.sh(CREATE_KEY)
    assert status in (200, 201), body
    key = json.loads(body)["virtual_key"]
    assert re.fullmatch(r"sk-bf-[0-9A-Za-z]{50}", key["value"])
    assert key["name"] == "prod-api"

    # What the article promises of it.
    with_key = FIRST_CALL.replace("curl ", f"curl -H 'x-bf-vk: {key['value']}' ", 1)
    allowed = with_key.replace("openai/gpt-4o-mini", "gpt-4o")
    assert up.sh(FIRST_CALL)[0] == 401
    eventually(lambda: up.sh(allowed)[0] == 200, what="the new key")
    status, body = up.sh(with_key)
    assert (status, json.loads(body)["type"]) == (403, "model_blocked")
    assert up.sh(with_key.replace("openai/", ""))[0] == 403

    disable = f"""curl -X PUT http://localhost:8080/api/governance/virtual-keys/{key["id"]} \\
-H "Content-Type: application/json" -d '{{"is_active": false}}'"""
    assert up.sh(disable)[0] == 200
    eventually(lambda: up.sh(allowed)[0] == 403, what="the disabled key")


def test_what_up_prints_says_what_to_do_next(up: Up) -> None:
    text = eventually(lambda: "curl" in up.process.text() and up.process.text(), what="the banner")
    for expected in (
        f"http://localhost:{up.stack.port}",
        f":{up.stack.http_port}",
        "/v1/chat/completions",
        "/api/config",
        "/api/governance/virtual-keys",
        str(up.stack.data),
    ):
        assert expected in text, f"{expected} is not in the banner"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_stops_everything_that_up_started(up: Up, number: signal.Signals) -> None:
    assert up.sh(FIRST_CALL)[0] == 200
    os.kill(up.process.pid, number)
    up.process.assert_gone()
    for port in (up.stack.port, up.stack.http_port, up.stack.demo_port, up.stack.envoy_admin_port):
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)


def test_a_second_start_finds_what_the_first_has_stored(up: Up) -> None:
    assert up.sh(ENABLE_GOVERNANCE)[0] == 200
    status, body = up.sh(CREATE_KEY)
    assert status in (200, 201), body
    value = json.loads(body)["virtual_key"]["value"]
    up.process.terminate()
    up.process.assert_gone()
    up.process.start()
    chat = FIRST_CALL.replace("curl ", f"curl -H 'x-bf-vk: {value}' ", 1)
    chat = chat.replace("openai/gpt-4o-mini", "gpt-4o")

    def answered() -> bool:
        try:
            return up.stack.caller(value).chat("gpt-4o").status_code == 200
        except httpx.TransportError:
            return False

    eventually(answered, what="the second start")
    assert up.sh(chat)[0] == 200
    assert up.sh(FIRST_CALL)[0] == 401


def test_the_data_is_readable_by_its_owner_alone(up: Up) -> None:
    data: Path = up.stack.data
    assert data.stat().st_mode & 0o077 == 0
    for place in (data / "envoy", *(data / "envoy").rglob("*"), data / "encryption.key"):
        assert place.stat().st_mode & 0o077 == 0, place


def test_a_port_that_is_taken_is_named_before_anything_is_started() -> None:
    up = Up()
    try:
        with socket.create_server(("127.0.0.1", up.stack.port)):
            up.process.start()
            eventually(lambda: not up.process.alive(), what="the end of `reeve up`")
        assert up.process.exit_code() != 0
        assert str(up.stack.port) in up.process.text()
        assert "REEVE_PORT" in up.process.text()
        up.process.assert_gone()
    finally:
        up.stop()
