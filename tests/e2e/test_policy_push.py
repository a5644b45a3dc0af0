"""A change of policy is soon in force in every worker, without a restart."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import httpx
import pytest

import raw
from llm import CHAT, chat_body, denial
from stack import WORKERS, KeyInForce, Stack
from waiting import eventually, stays


class EveryWorker:
    """Connections that stay open, some of them on each of Envoy's workers."""

    def __init__(self, stack: Stack, key: KeyInForce) -> None:
        headers = {"x-bf-vk": key.value}
        self.clients = [
            httpx.Client(base_url=stack.url, headers=headers, timeout=10, trust_env=False)
            for _ in range(8)
        ]
        self.statuses()
        active = stack.stats(r"listener\..*worker_\d+\.downstream_cx_active")
        assert len(active) == WORKERS, active
        assert all(active.values()), f"a worker has no connection: {active}"

    def statuses(self, model: str = "gpt-4o") -> set[int]:
        return {client.post(CHAT, json=chat_body(model)).status_code for client in self.clients}

    def close(self) -> None:
        for client in self.clients:
            client.close()


@pytest.fixture
def key(stack: Stack) -> KeyInForce:
    return stack.key(provider_configs=[{"provider": "openai", "allowed_models": ["gpt-4o"]}])


@pytest.fixture
def workers(stack: Stack, key: KeyInForce) -> EveryWorker:
    workers = EveryWorker(stack, key)
    assert workers.statuses() == {200}
    yield workers
    workers.close()


def in_force(change: Callable[[], object], effect: Callable[[], bool]) -> None:
    """The effect comes, and does not go away again."""
    change()
    eventually(effect, what="the change in every worker")
    stays(effect, 0.3, "the change")


def test_a_disabled_key_is_refused_by_every_worker_and_an_enabled_one_admitted(
    stack: Stack, key: KeyInForce, workers: EveryWorker
) -> None:
    in_force(
        lambda: stack.admin.update_key(key.id, is_active=False),
        lambda: workers.statuses() == {403},
    )
    in_force(
        lambda: stack.admin.update_key(key.id, is_active=True),
        lambda: workers.statuses() == {200},
    )


def test_a_deleted_key_is_unknown_to_every_worker(
    stack: Stack, key: KeyInForce, workers: EveryWorker
) -> None:
    in_force(lambda: stack.admin.delete_key(key.id), lambda: workers.statuses() == {401})


def begun(stack: Stack) -> int:
    """Requests whose headers Envoy has read, and so the filter."""
    return stack.stats("http.reeve.downstream_rq_total")["http.reeve.downstream_rq_total"]


def test_a_key_deleted_while_its_body_is_on_the_way_is_refused(stack: Stack) -> None:
    """Nobody keeps a door open by standing in it."""
    key = stack.key()
    body = json.dumps(chat_body()).encode()
    request = raw.request(headers=[(b"x-bf-vk", key.value.encode())], body=body)
    served = stack.demo.requests()
    with raw.Connection(stack.port) as connection:
        before = begun(stack)
        connection.send(request[:-5])
        eventually(lambda: begun(stack) > before, what="the headers at the filter")
        stack.admin.delete_key(key.id)
        connection.send(request[-5:])
        answer = connection.read()
    assert answer is not None and answer.status == 401
    assert answer.json()["type"] == "virtual_key_not_found"
    assert stack.demo.requests() == served


def test_a_changed_list_of_models_holds_in_every_worker(
    stack: Stack, key: KeyInForce, workers: EveryWorker
) -> None:
    assert workers.statuses("gpt-4o-mini") == {403}
    changed = [{"provider": "openai", "allowed_models": ["gpt-4o-mini"]}]
    in_force(
        lambda: stack.admin.update_key(key.id, provider_configs=changed),
        lambda: workers.statuses("gpt-4o-mini") == {200} and workers.statuses() == {403},
    )


def test_a_rotated_key_replaces_the_old_value_in_every_worker(
    stack: Stack, key: KeyInForce, workers: EveryWorker
) -> None:
    rotated = stack.admin.post(f"/api/governance/virtual-keys/{key.id}/rotate", {})["virtual_key"]
    assert rotated["value"] != key.value
    eventually(lambda: workers.statuses() == {401}, what="the old value refused")
    assert stack.caller(rotated["value"]).chat().status_code == 200


def test_a_budget_added_to_the_team_holds_for_its_keys(stack: Stack) -> None:
    team = stack.admin.create_team(name=stack.unique("team"))
    key = stack.key(team_id=team["id"])
    assert stack.caller(key.value).chat().status_code == 200
    stack.admin.put(
        f"/api/governance/teams/{team['id']}",
        {"budget": {"max_limit": 0.000001, "reset_duration": "1M"}},
    )
    assert denial(stack.eventually_refused(key, 402)) == (402, "budget_exceeded")


def test_a_key_that_expires_stops_working_by_itself(stack: Stack) -> None:
    end = time.time() + 5
    whole, thousandths = int(end), int(end * 1000) % 1000
    expires_at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{thousandths:03d}Z"
    key = stack.key(expires_at=expires_at)
    caller = stack.caller(key.value)
    assert caller.chat().status_code == 200
    refused = stack.eventually_refused(key, 403)
    assert denial(refused) == (403, "virtual_key_blocked")
    assert "expired" in refused.json()["error"]["message"]
    assert time.time() >= end


def test_switching_governance_off_admits_requests_without_a_key_and_on_refuses_them(
    new_stack,
) -> None:
    stack = new_stack()
    key = stack.key(is_active=False)
    assert stack.caller().chat().status_code == 401
    stack.admin.enable_governance(False)
    eventually(lambda: stack.caller().chat().status_code == 200, what="anonymous requests")
    assert stack.caller(key.value).chat().status_code == 403, "a key that is shown is judged"
    assert stack.caller("sk-bf-unknown").chat().status_code == 401
    stack.admin.enable_governance(True)
    eventually(lambda: stack.caller().chat().status_code == 401, what="no anonymous requests")


def test_a_provider_added_by_rest_is_usable_without_a_restart(new_stack) -> None:
    stack = new_stack()
    before = stack.envoy.pid
    spare = stack.another_demo("spare")
    stack.admin.create_provider("spare", spare.url, key="sk-first-of-spare")
    key = stack.key(provider_configs=[{"provider": "spare", "allowed_models": ["gpt-4o"]}])
    caller = stack.caller(key.value)
    eventually(lambda: caller.chat("spare/gpt-4o").status_code == 200, what="the new provider")
    assert spare.last_headers()["authorization"] == ["Bearer sk-first-of-spare"]
    assert spare.last_headers()["host"] == [spare.url.removeprefix("http://")]

    stack.admin.rotate_provider_key("spare", "sk-second-of-spare")

    def rotated() -> bool:
        assert caller.chat("spare/gpt-4o").status_code == 200, "no request fails meanwhile"
        return spare.last_headers()["authorization"] == ["Bearer sk-second-of-spare"]

    eventually(rotated, what="the rotated provider key")
    assert stack.envoy.pid == before


def test_a_provider_key_is_shown_by_nothing(new_stack) -> None:
    stack = new_stack()
    secret = "sk-a-very-secret-provider-key"
    stack.admin.create_provider("spare", stack.demo.url, key=secret)
    stack.admin.rotate_provider_key("spare", secret + "-2")
    key = stack.key(provider_configs=[{"provider": "spare", "allowed_models": ["gpt-4o"]}])
    caller = stack.caller(key.value)
    eventually(lambda: caller.chat("gpt-4o").status_code == 200, what="the provider")
    assert stack.demo.last_headers()["authorization"] == [f"Bearer {secret}-2"]
    for path in ("/api/providers", "/api/providers/spare", "/api/providers/spare/keys"):
        response = stack.admin.request("GET", path)
        assert response.status_code == 200, path
        assert secret not in response.text, path
    for path in ("/config_dump", "/stats", "/clusters"):
        assert secret not in stack.envoy_admin.get(path).raise_for_status().text, path
    database = list(stack.data.glob("reeve.db*"))
    assert database
    assert not [file for file in database if secret.encode() in file.read_bytes()]
    assert secret not in stack.control_plane.text() + stack.envoy.text()


def test_a_control_plane_that_restarts_brings_back_the_same_policy(new_stack) -> None:
    stack = new_stack()
    key = stack.key()
    gone = stack.key()
    stack.control_plane.terminate()
    assert stack.caller(key.value).chat().status_code == 200
    stack.start_control_plane()
    stack.admin.delete_key(gone.id)
    eventually(
        lambda: stack.caller(gone.value).chat().status_code == 401,
        what="a change after the restart in force",
    )
    assert stack.caller(key.value).chat().status_code == 200
