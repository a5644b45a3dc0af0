"""Every API, everywhere that callers find it, is governed and metered; what is not, is refused.

The table is in `surfaces.py`. The truth is what the demo provider says it served.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from urllib.parse import quote

import httpx
import pytest

from admin import Usage
from llm import denial
from money import Price, nanos
from stack import KeyInForce, Stack
from surfaces import (
    MOUNTS,
    RANKER,
    RANKER_OF_COHERE,
    SURFACES,
    Call,
    Charged,
    Mount,
    Surface,
    reservation,
)

PROVIDERS = ("openai", "anthropic", "gemini", "bedrock", "cohere", "azure")
# Deployments have names of their owner's; here they are called as the models are.
AZURES = ("gpt-3.5-turbo-instruct",)


@pytest.fixture(scope="module")
def _world(_shared: Stack) -> Iterator[Stack]:
    """Every provider that a path can name, and a price for what vendors don't bill by tokens."""
    admin = _shared.admin
    priced = [("openai", RANKER), ("cohere", RANKER_OF_COHERE), *(("azure", m) for m in AZURES)]
    admin.create_preset("azure", f"{_shared.demo.url}/v1")
    for provider, model in priced:
        admin.set_price(provider, model, input=3, output=5)
    yield _shared
    for provider, model in priced:
        admin.delete(f"/api/models/{provider}/{model}")
    admin.delete("/api/providers/azure")


@pytest.fixture
def world(stack: Stack, _world: Stack) -> Stack:
    return stack


@pytest.fixture(scope="module")
def barred(_world: Stack) -> Iterator[KeyInForce]:
    """Knows every provider and may use no model that is asked for."""
    configs = [{"provider": name, "allowed_models": ["another-model"]} for name in PROVIDERS]
    key = _world.key(provider_configs=configs)
    yield key
    _world.admin.delete_key(key.id)


served = pytest.mark.parametrize(
    "mount", [mount for mount in MOUNTS if any(s.is_served for s in mount.surfaces())], ids=str
)
listing = pytest.mark.parametrize(
    "mount", [mount for mount in MOUNTS if any(s.is_list for s in mount.surfaces())], ids=str
)
refusing = pytest.mark.parametrize(
    "mount", [mount for mount in MOUNTS if any(s.is_refused for s in mount.surfaces())], ids=str
)


def calls(mount: Mount) -> Iterator[tuple[Surface, Call]]:
    for surface in mount.surfaces():
        if surface.is_served:
            for call in surface.calls():
                yield surface, call


def dialect_of(surface: Surface) -> str:
    return surface.mount.dialect


@served
def test_without_a_key_it_is_401_in_the_callers_dialect(world: Stack, mount: Mount) -> None:
    """R-51."""
    for surface, call in calls(mount):
        response = surface.send(world.caller(), call)
        refusal = denial(response, dialect_of(surface))
        assert refusal == (401, "virtual_key_required"), surface
    assert world.demo.nothing_arrived()


@served
def test_a_model_that_the_key_may_not_use_is_403_and_reaches_nobody(
    world: Stack, barred: KeyInForce, mount: Mount
) -> None:
    """R-22, R-23, R-24: wherever the model stands, in body, path or form, it is judged."""
    caller = world.caller(barred.value)
    for surface, call in calls(mount):
        refusal = denial(surface.send(caller, call), dialect_of(surface))
        assert refusal == (403, "model_blocked"), surface
    assert world.demo.nothing_arrived()


@served
def test_what_is_allowed_is_answered_and_charged_as_served(world: Stack, mount: Mount) -> None:
    """R-51: whole and streamed, and the ledger says what the demo provider says."""
    key = world.key(allow_all_providers=True)
    caller = world.caller(key.value)
    exchanges = []
    for surface, call in calls(mount):
        world.demo.reset()
        response = surface.send(caller, call)
        assert response.status_code == 200, (surface, response.text)
        model = surface.model(call)
        assert response.headers["x-reeve-provider"] == mount.provider, surface
        assert response.headers["x-reeve-model"] == model, surface
        truth = world.demo.served(model)
        assert truth["requests"] == 1, surface
        exchanges.append((surface, call, response, truth))
    records = {
        record.record["request_id"]: record for record in world.admin.usage(key.id, len(exchanges))
    }
    for surface, call, response, truth in exchanges:
        record = records[response.headers["x-request-id"]]
        assert (record.provider, record.model) == (mount.provider, surface.model(call)), surface
        assert record.operation == surface.api.operation, surface
        assert (record.status, record.outcome) == (200, "complete"), surface
        assert record.streamed == call.streamed, surface
        assert_charged(world, surface, call, response, record, truth)


def assert_charged(
    world: Stack,
    surface: Surface,
    call: Call,
    response: httpx.Response,
    record: Usage,
    truth: dict[str, int],
) -> None:
    told = response.headers.get("x-reeve-cost")
    if call.charged is Charged.FREE:
        assert (record.cost, record.estimated, told) == (0, False, None), surface
        assert record.input_tokens == record.output_tokens == truth["input_tokens"] == 0, surface
        return
    price = world.admin.price(record.provider, record.model)
    true_cost = cost_of(price, call, truth)
    assert true_cost > 0 or call.charged is Charged.ESTIMATED, surface
    if told is not None:
        assert nanos(Decimal(told)) == record.cost, surface
    match call.charged:
        case Charged.REPORTED:
            used = (record.input_tokens, record.output_tokens)
            assert used == (truth["input_tokens"], truth["output_tokens"]), surface
            assert (record.cost, record.estimated) == (true_cost, False), surface
            assert (told is None) == call.streamed, surface
        case Charged.ESTIMATED:
            assert record.estimated, surface
            assert record.input_tokens >= truth["input_tokens"], surface
            assert record.output_tokens >= truth["output_tokens"], surface
            assert record.cost >= max(true_cost, 1), surface
        case Charged.RESERVED:
            assert record.estimated, surface
            assert record.cost == reservation(world, surface, call) >= true_cost, surface


def cost_of(price: Price, call: Call, truth: dict[str, int]) -> int:
    return price.cost(
        uncached=truth["input_tokens"] - sum(call.kinds.values()),
        output=truth["output_tokens"],
        **call.kinds,
    )


@listing
def test_a_list_of_models_is_what_the_key_may_use(world: Stack, mount: Mount) -> None:
    """R-51. Reeve answers itself; the provider is not asked."""
    lists = [surface for surface in mount.surfaces() if surface.is_list]
    assert [s.template for s in lists] == [f"{mount.base}/models", f"{mount.base}/models/{{model}}"]
    model, other = MODELS_OF[mount.provider]
    key = world.key(provider_configs=[{"provider": mount.provider, "allowed_models": [model]}])
    caller = world.caller(key.value)
    listed = caller.request("GET", f"{mount.base}/models")
    # As a caller has to write it: in a body, with its provider unless the path says it.
    prefix = "" if mount.is_named or mount.dialect == "gemini" else f"{mount.provider}/"
    assert names(listed, mount.dialect) == [prefix + model]
    one, hidden = (f"{mount.base}/models/{quote(name, safe='')}" for name in (model, other))
    assert caller.request("GET", one).status_code == 200
    assert denial(caller.request("GET", hidden), mount.dialect) == (404, "model_not_found")
    for path in (f"{mount.base}/models", one):
        anonymous = world.caller().request("GET", path)
        assert denial(anonymous, mount.dialect) == (401, "virtual_key_required")
    assert world.demo.nothing_arrived()


def test_anthropics_sdk_gets_its_list_on_the_path_that_two_vendors_share(world: Stack) -> None:
    sonnet, _ = MODELS_OF["anthropic"]
    configs = [
        {"provider": provider, "allowed_models": [MODELS_OF[provider][0]]}
        for provider in ("openai", "anthropic")
    ]
    caller = world.caller(world.key(provider_configs=configs).value)
    says_who = {"anthropic-version": "2023-06-01"}
    listed = caller.request("GET", "/v1/models", headers=says_who)
    assert names(listed, "anthropic") == [sonnet]
    anonymous = world.caller().request("GET", "/v1/models", headers=says_who)
    assert denial(anonymous, "anthropic") == (401, "virtual_key_required")


# One to allow, one to keep back.
MODELS_OF = {
    "openai": ("gpt-4o", "gpt-4o-mini"),
    "anthropic": ("claude-sonnet-5", "claude-opus-5"),
    "gemini": ("gemini-2.5-flash", "gemini-2.5-pro"),
    "cohere": ("command-a-03-2025", "embed-v4.0"),
}


def names(listed: httpx.Response, dialect: str) -> list[str]:
    assert listed.status_code == 200, listed.text
    body = listed.json()
    match dialect:
        case "gemini":
            return [entry["name"].removeprefix("models/") for entry in body["models"]]
        case "cohere":
            return [entry["name"] for entry in body["models"]]
        case _:
            return [entry["id"] for entry in body["data"]]


REASONS = {
    "files": "the gateway cannot yet judge what is in a file",
    "batches": "the gateway cannot yet judge the requests inside a batch",
    "realtime sessions": "the gateway cannot yet judge what is said in one",
    "objects": "they belong to all virtual keys together",
}


@refusing
def test_an_api_that_is_not_served_is_403_and_says_why(world: Stack, mount: Mount) -> None:
    """R-31, R-32, R-33: files, batches, sessions, and what is kept at a provider for all keys
    together. With a key that may do everything else, and without one."""
    key = world.key(allow_all_providers=True)
    for surface in mount.surfaces():
        if not surface.is_refused:
            continue
        start = surface.template.replace("{model}", "gemini-2.5-flash").removesuffix("/…")
        paths = [f"{start}/file-abc/content"] if surface.template.endswith("…") else []
        # `/responses/…` is only what lies below: `/responses` itself is served.
        if ("POST", start.removeprefix(mount.base)) not in mount.rows:
            paths.append(start)
        methods = ("GET", "POST", "DELETE") if surface.method == "*" else (surface.method,)
        for path in paths:
            for method in methods:
                for caller in (world.caller(key.value), world.caller()):
                    response = caller.request(method, path)
                    refusal = denial(response, mount.dialect)
                    assert refusal == (403, "api_not_served"), (surface, path)
                    assert response.text.count(f"{surface.api} ") == 1, response.text
                    assert REASONS[surface.api] in response.text, response.text
    assert world.demo.nothing_arrived()


# Of the vendors' APIs, present and past, and of gateways: paths that are not in the table.
UNKNOWN = (
    "/v1/edits /v1/engines/gpt-4o/completions /v1/engines /v1/answers /v1/search "
    "/v1/classifications /v1/organization/usage/completions /v1/organization/admin_api_keys "
    "/v1/organizations/me/api_keys /v1/models/gpt-4o/permissions /v1/audio/voices /v1/images "
    "/v1/chat /v1/chat/completion /v1/embeddings/batch /v1/complete /v1/messages/ "
    "/v1/messages/count_tokens/ /v1/skills /v1/experimental/generate_prompt "
    "/v1beta/models/gemini-2.5-flash:predict /v1beta/models/gemini-2.5-flash:generateAnswer "
    "/v1beta/models/gemini-2.5-flash:embedText /v1beta/corpora /v1beta/interactions "
    "/v1beta2/models/x:generateText /v1alpha/models/gemini-2.5-flash:generateContent "
    "/v1beta/openai/completions "
    "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent "
    "/v1/models/gemini-2.5-flash:predict /model/m/count-tokens /model/m "
    "/guardrail/g/version/1/apply /foundation-models /agents/a/agentAliases/b/sessions/s/text "
    "/prompts /knowledgebases /v1/generate /v1/summarize /v1/classify /v1/tokenize "
    "/v2/tokenize /v2/batches /v2/datasets /openai/deployments/gpt-4o/responses "
    "/openai/deployments /openai/threads/x/runs/../runs /openai/v2/chat/completions "
    "/anthropic/messages /anthropic/v1/complete /anthropic/v1/chat "
    "/genai/models/gemini-2.5-flash:generateContent /genai/v1/openai/chat/completions "
    "/bedrock/v1/chat/completions /cohere/chat /cohere/v1/chat /cohere/v1/generate /langchain "
    "/litellm/key/generate /litellm/v2/messages /key/generate /key/info /user/new /spend/logs "
    "/model/new /config/yaml /health/liveliness /mcp /sse /v1/mcp /graphql /metrics /stats "
    "/config_dump /quitquitquit /server_info /admin /debug/pprof/ /generate /chat /completion "
    "/invocations /api/chat /api/generate /v1/passthrough /pass-through "
    "/.well-known/openid-configuration /favicon.ico /robots.txt /.env /v1 / "
).split()


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_path_that_is_not_in_the_table_is_refused_and_reaches_nobody(
    world: Stack, method: str
) -> None:
    """R-51: nothing is passed through, whatever the key may do."""
    caller = world.caller(world.key(allow_all_providers=True).value)
    for path in UNKNOWN:
        response = caller.request(method, path, json={"model": "gpt-4o", "messages": []})
        assert 400 <= response.status_code < 500, (path, response.text)
        if not path.startswith("/api/") and ".." not in path:
            assert response.status_code in (404, 405), (path, response.text)
    assert world.demo.nothing_arrived()


def test_a_model_at_an_api_that_is_billed_by_something_else_is_refused(stack: Stack) -> None:
    """R-52: seconds have no price in searches, nor characters in tokens, and nothing is given away."""
    caller = stack.caller(stack.key(allow_all_providers=True).value)
    pictured = {"model": "openai/dall-e-3", "prompt": "a gateway"}
    ranked = {"model": "openai/whisper-1", "query": "q", "documents": ["a"]}
    for path, content in (
        ("/v1/images/generations", pictured),
        ("/v1/rerank", ranked),
        ("/v1/chat/completions", {"model": "openai/tts-1", "messages": []}),
    ):
        response = caller.request("POST", path, json=content)
        assert denial(response) == (402, "price_unknown"), path
    assert stack.demo.nothing_arrived()


def test_every_line_of_the_coverage_table_has_its_cases_here(stack: Stack) -> None:
    """And what it says of a line is what these tests show."""
    table = {
        (line["method"], line["path"]): line
        for line in stack.admin.get("/api/governance/coverage")["coverage"]
    }
    here = {(at.method, at.template): at for at in SURFACES}
    assert table.keys() == here.keys()
    for place, line in table.items():
        at = here[place]
        assert line["dialect"] == at.mount.dialect, line
        named = at.mount.provider if at.mount.is_named else None
        assert line["provider"] == named, line
        assert (line["api"] is None) == (line["refused"] is not None) == at.is_refused, line
        assert line["authenticated"] == line["model_filtered"] == (not at.is_refused), line
        charged = at.is_served and any(c.charged is not Charged.FREE for c in at.calls())
        assert line["metered"] == charged, line
        assert line["streamed"] == at.streams, line
