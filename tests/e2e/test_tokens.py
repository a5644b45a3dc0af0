"""Providers that take tokens: the control plane gets them, Envoy puts them on requests, and nobody sees them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from llm import chat_body
from stack import Stack
from tokens import CLIENT_ID, SECRET, TENANT, Tokens
from waiting import eventually

GEMINI = "gemini-2.5-flash"
PROJECT = "/v1/projects/project-1/locations/europe-west4"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack("tokens") as own:
        own.admin.enable_governance()
        yield own


@pytest.fixture
def tokens(stack: Stack) -> Iterator[Tokens]:
    fake = Tokens(stack.ports.take(), stack.demo_port)
    yield fake
    fake.close()


def entra(tokens: Tokens, secret: str = SECRET) -> dict[str, Any]:
    return {
        "azure_key_config": {
            "client_id": CLIENT_ID,
            "client_secret": secret,
            "tenant_id": TENANT,
            "authority_host": tokens.url,
        }
    }


def google(tokens: Tokens) -> dict[str, Any]:
    return {"vertex_key_config": {"auth_credentials": tokens.service_account()}}


def create(stack: Stack, kind: str, url: str, key: dict[str, Any]) -> str:
    name = stack.unique(kind)
    stack.admin.post(
        "/api/providers",
        {
            "name": name,
            "custom_provider_config": {"base_provider_type": kind},
            "network_config": {"base_url": url},
            "keys": [key],
        },
    )
    return name


def shown(stack: Stack, name: str) -> Any:
    return stack.admin.get(f"/api/providers/{name}")["provider"]


def await_status(stack: Stack, name: str, status: str) -> Any:
    def reached() -> Any:
        provider = shown(stack, name)
        assert provider["status"] == status, provider
        return provider

    return eventually(reached, 15, f"the status {status}")


class Asking:
    """A caller that asks again and again. What a provider does not know has a price, here."""

    def __init__(self, stack: Stack, provider: str) -> None:
        self.statuses: list[int] = []
        self._enough = threading.Event()
        stack.admin.set_price(provider, "gpt-4o", input=1, output=1)
        key = stack.key(provider_configs=[{"provider": provider, "allowed_models": ["*"]}])
        self.caller = stack.caller(key.value)
        self._thread = threading.Thread(target=self._ask)

    def once(self) -> int:
        return self.caller.post("/v1/chat/completions", chat_body("gpt-4o")).status_code

    def _ask(self) -> None:
        while not self._enough.is_set():
            self.statuses.append(self.once())

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()


def test_a_service_account_signs_for_a_token_and_gemini_on_vertex_takes_it(
    stack: Stack, tokens: Tokens
) -> None:
    url = f"{tokens.url}{PROJECT}/publishers/google"
    name = create(stack, "gemini", url, google(tokens))
    provider = await_status(stack, name, "ready")
    assert provider["keys"][0]["last4"] == "cdef"
    assert tokens.faults == [] and tokens.asked == 1
    stack.admin.set_price(name, GEMINI, input=1, output=1)
    key = stack.key(provider_configs=[{"provider": name, "allowed_models": ["*"]}])
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
    response = stack.caller(key.value).post(f"/v1beta/models/{GEMINI}:generateContent", body)
    assert response.status_code == 200, response.text
    path = f"{PROJECT}/publishers/google/models/{GEMINI}:generateContent"
    assert tokens.carried == [("planted-token-1", path)]


def test_vertex_in_openais_format_takes_it_as_well(stack: Stack, tokens: Tokens) -> None:
    name = create(stack, "openai", tokens.url, google(tokens))
    await_status(stack, name, "ready")
    assert Asking(stack, name).once() == 200
    assert tokens.carried == [("planted-token-1", "/chat/completions")]


def test_an_application_of_entra_gets_a_token_and_azure_takes_it(
    stack: Stack, tokens: Tokens
) -> None:
    name = create(stack, "azure", tokens.url, entra(tokens))
    await_status(stack, name, "ready")
    assert Asking(stack, name).once() == 200
    assert tokens.faults == [] and tokens.carried[0][0] == "planted-token-1"


def test_a_token_that_ends_is_replaced_and_no_request_fails(stack: Stack, tokens: Tokens) -> None:
    tokens.lives = 10
    name = create(stack, "azure", tokens.url, entra(tokens))
    await_status(stack, name, "ready")
    with Asking(stack, name) as asking:
        time.sleep(30)
    print(f"{len(asking.statuses)} requests with {tokens.asked} tokens")
    assert set(asking.statuses) == {200} and tokens.refused == 0
    used = {token for token, _ in tokens.carried}
    # The newest may not have been carried yet.
    assert 3 <= len(used) <= tokens.asked <= len(used) + 1 <= 7, "one for each life"


def test_an_endpoint_that_is_down_leaves_the_token_to_its_end_and_then_says_so(
    stack: Stack, tokens: Tokens
) -> None:
    # It is to be replaced after three quarters of that, and a look at it must come before the end.
    tokens.lives = 24
    name = create(stack, "azure", tokens.url, entra(tokens))
    await_status(stack, name, "ready")
    tokens.down = True
    asking = Asking(stack, name)

    def failed() -> Any:
        key = shown(stack, name)["keys"][0]
        assert key["token"]["error"] == "the token endpoint answered 503: `temporarily_unavailable`"
        return key

    assert eventually(failed, what="the failure")["token"]["expires_at"] is not None
    assert asking.once() == 200, "the old one holds"
    provider = await_status(stack, name, "no_token")
    assert provider["keys"][0]["token"]["expires_at"] is None
    eventually(lambda: asking.once() == 503, what="a refusal of ours")
    assert tokens.refused == 0, "no request goes out with a token that has ended"
    tokens.down = False
    await_status(stack, name, "ready")
    eventually(lambda: asking.once() == 200, what="an answer")


def test_a_wrong_secret_is_told_and_a_right_one_is_in_force_at_once(
    stack: Stack, tokens: Tokens
) -> None:
    name = create(stack, "azure", tokens.url, entra(tokens, "planted-wrong"))

    def told() -> bool:
        provider = shown(stack, name)
        error = provider["keys"][0]["token"]["error"]
        assert (provider["status"], error) == (
            "no_token",
            "the token endpoint answered 401: `invalid_client`",
        )
        return True

    eventually(told, what="the reason")
    (key,) = shown(stack, name)["keys"]
    stack.admin.put(f"/api/providers/{name}/keys/{key['id']}", entra(tokens))
    await_status(stack, name, "ready")
    eventually(lambda: Asking(stack, name).once() == 200, what="an answer")


def test_a_restart_of_the_control_plane_takes_no_provider_away(
    stack: Stack, tokens: Tokens
) -> None:
    name = create(stack, "azure", tokens.url, entra(tokens))
    await_status(stack, name, "ready")
    with Asking(stack, name) as asking:
        stack.control_plane.kill()
        stack.start_control_plane()
        time.sleep(2)
    assert set(asking.statuses) == {200}
    assert tokens.asked == 2


def test_secrets_and_tokens_are_nowhere_to_be_seen(stack: Stack, tokens: Tokens) -> None:
    names = [
        create(stack, "azure", tokens.url, entra(tokens)),
        create(stack, "openai", tokens.url, google(tokens)),
    ]
    for name in names:
        await_status(stack, name, "ready")
    dump = stack.envoy_admin.get("/config_dump", params={"include_eds": "true"}).text
    answers = [stack.admin.request("GET", f"/api/providers/{name}").text for name in names]
    logs = [stack.envoy.text(), stack.control_plane.text()]
    for text in (dump, *answers, *logs):
        assert "planted" not in text and "PRIVATE KEY" not in text
