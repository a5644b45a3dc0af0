"""The admin API as a caller meets it: login, validation, conflicts, both databases."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import pg8000.native
import pytest

import raw
from admin import Admin
from llm import denial
from stack import Stack
from waiting import eventually

TOKEN = re.compile(r"sk-rv-admin-[0-9A-Za-z]{50}")
KEYS = "/api/governance/virtual-keys"
TOKEN_OF_NOBODY = "sk-rv-admin-" + "0" * 50


def printed_token(stack: Stack) -> str:
    found = TOKEN.findall(stack.control_plane.text())
    assert len(found) == 1, "the admin token is printed at the first start, and only then"
    return found[0]


# ---- login (without `--dev`)


def test_without_a_token_every_path_is_401_through_both_doors(new_stack) -> None:
    stack = new_stack(dev=False, governance=False)
    token = printed_token(stack)
    with_token = Admin(f"http://127.0.0.1:{stack.http_port}", token)
    # A virtual key is a credential of another kind.
    virtual_key = with_token.create_key(name="ambitious", provider_configs=[])["value"]
    documented = with_token.get("/api/openapi.json")["paths"]
    assert len(documented) >= 10
    wrong = [
        {},
        {"authorization": f"Bearer {TOKEN_OF_NOBODY}"},
        {"authorization": f"Bearer {virtual_key}"},
        {"authorization": f"Basic {token}"},
        {"authorization": token},
        {"x-api-key": token},
    ]
    doors = [Admin(f"http://127.0.0.1:{stack.http_port}"), Admin(stack.url)]
    # The quota is asked for with a virtual key itself (test_quota.py).
    del documented["/api/governance/virtual-keys/quota"]
    for path, methods in documented.items():
        path = re.sub(r"\{[^}]*\}", "any", path)
        for method in set(methods) & {"get", "post", "put", "delete"}:
            for door in doors:
                for headers in wrong:
                    answer = door.request(method.upper(), path, {}, headers=headers)
                    assert answer.status_code == 401, f"{method} {path} {headers}"
                    assert answer.headers["www-authenticate"].startswith("Bearer")
    for client in (with_token, *doors):
        client.close()


def test_the_printed_token_works_through_both_doors_and_survives_a_restart(new_stack) -> None:
    stack = new_stack(dev=False, governance=False)
    token = printed_token(stack)
    # Governance is on from the first request.
    assert denial(stack.caller().chat()) == (401, "virtual_key_required")
    for base in (f"http://127.0.0.1:{stack.http_port}", stack.url):
        admin = Admin(base, token)
        assert admin.get("/api/config")["client_config"]["enable_governance"] is True
        admin.close()
    stack.control_plane.terminate()
    stack.start_control_plane()
    assert printed_token(stack) == token, "it was not printed again"
    admin = Admin(f"http://127.0.0.1:{stack.http_port}", token)
    assert admin.get("/api/config")
    admin.close()
    for file in stack.data.glob("reeve.db*"):
        assert token.encode() not in file.read_bytes(), "at rest there is only its hash"


# ---- a web page in the developer's browser


@pytest.mark.parametrize("host", [b"evil.example", b"localhost.evil.example", b"169.254.169.254"])
def test_in_dev_mode_another_host_name_is_refused(stack: Stack, host: bytes) -> None:
    for port in (stack.http_port, stack.port):
        data = b"GET /api/config HTTP/1.1\r\nhost: " + host + b"\r\nconnection: close\r\n\r\n"
        answer = raw.exchange(port, data)
        assert answer.status in (403, 404), port
        assert b"client_config" not in answer.body


def test_in_dev_mode_a_page_of_another_origin_is_refused(stack: Stack) -> None:
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        answer = stack.admin.request("GET", "/api/config", headers={"origin": origin})
        assert answer.status_code == 403, origin
        assert "access-control-allow-origin" not in answer.headers
    simple = stack.admin.request(
        "POST", KEYS, content=b'{"name": "csrf"}', headers={"content-type": "text/plain"}
    )
    assert simple.status_code == 415
    assert "csrf" not in stack.admin.request("GET", KEYS + "?limit=1000").text


# ---- bad input: the field is named, and nothing is half stored

BAD_KEYS = [
    ({}, "name"),
    ({"name": ""}, "name"),
    ({"name": 5}, "name"),
    ({"name": "x", "colour": "red"}, "colour"),
    ({"name": "x", "is_active": "yes"}, "is_active"),
    ({"name": "x", "expires_at": "tomorrow"}, "expires_at"),
    ({"name": "x", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    ({"name": "x", "team_id": "nobody"}, "team_id"),
    ({"name": "x", "customer_id": "nobody"}, "customer_id"),
    ({"name": "x", "provider_configs": {}}, "provider_configs"),
    ({"name": "x", "provider_configs": [{}]}, "provider_configs[0]"),
    ({"name": "x", "provider_configs": [{"provider": "nobody"}]}, "provider_configs[0].provider"),
    ({"name": "x", "provider_configs": [{"provider": "openai", "weigth": 1}]},
     "provider_configs[0].weigth"),
    ({"name": "x", "provider_configs": [{"provider": "openai", "weight": -1}]},
     "provider_configs[0].weight"),
    ({"name": "x", "provider_configs": [{"provider": "openai", "allowed_models": ["*", "gpt-4o"]}]},
     "provider_configs[0].allowed_models"),
    ({"name": "x", "provider_configs": [{"provider": "openai", "allowed_models": ["regex:("]}]},
     "provider_configs[0].allowed_models"),
    ({"name": "x", "provider_configs": [{"provider": "openai"}, {"provider": "openai"}]},
     "provider_configs[1].provider"),
    ({"name": "x", "budget": {"max_limit": -1, "reset_duration": "1M"}}, "budget.max_limit"),
    ({"name": "x", "budget": {"max_limit": "100", "reset_duration": "1M"}}, "budget.max_limit"),
    ({"name": "x", "budget": {"max_limit": 1e300, "reset_duration": "1M"}}, "budget.max_limit"),
    ({"name": "x", "budget": {"max_limit": 1, "reset_duration": "1 month"}}, "budget.reset_duration"),
    ({"name": "x", "budget": {"max_limit": 1}}, "budget"),
    ({"name": "x", "budgets": [{"max_limit": 1, "reset_duration": "1d"},
                               {"max_limit": 2, "reset_duration": "1d"}]}, "budgets[1].reset_duration"),
    ({"name": "x", "rate_limit": {"request_max_limit": 0, "request_reset_duration": "1m"}},
     "rate_limit.request_max_limit"),
    ({"name": "x", "rate_limit": {"request_max_limit": 1.5, "request_reset_duration": "1m"}},
     "rate_limit.request_max_limit"),
    ({"name": "x", "rate_limit": {"request_max_limit": 5}}, "rate_limit.request_reset_duration"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "field"), BAD_KEYS, ids=[f"{field}-{i}" for i, (_, field) in enumerate(BAD_KEYS)]
)
def test_a_bad_field_is_400_and_named_and_nothing_is_stored(
    stack: Stack, body: dict, field: str
) -> None:
    before = stack.admin.get(KEYS)["total_count"]
    answer = stack.admin.request("POST", KEYS, body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 400
    named = problem.get("field") or ""
    assert named.startswith(field) or f"`{field}`" in problem["detail"], problem
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert stack.admin.get(KEYS)["total_count"] == before


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"name": "x"} {"name": "y"}', b'{"name": "x", "name": "y"}',
     b"\xef\xbb\xbf{}", b'{"name": "caf\xe9"}', b'{"name": "x", "budget": ' + b"[" * 100_000],
)  # fmt: skip
def test_what_is_not_one_json_object_is_400(stack: Stack, body: bytes) -> None:
    before = stack.admin.get(KEYS)["total_count"]
    headers = {"content-type": "application/json"}
    answer = stack.admin.request("POST", KEYS, content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"]
    assert stack.admin.get(KEYS)["total_count"] == before


def test_a_large_body_is_413_and_a_cut_one_stores_nothing(stack: Stack) -> None:
    before = stack.admin.get(KEYS)["total_count"]
    large = {"name": "x", "description": "a" * 2_000_000}
    assert stack.admin.request("POST", KEYS, large).status_code == 413
    whole = raw.request(KEYS.encode(), body=b'{"name": "cut", "provider_configs": []}')
    for port in (stack.http_port, stack.port):
        with raw.Connection(port) as connection:
            connection.send(whole[:-10])
    assert stack.admin.get(KEYS)["total_count"] == before


def test_an_early_refusal_leaves_the_connection_usable_or_says_that_it_does_not(
    stack: Stack,
) -> None:
    """The body comes after the answer, as it may; a client that reuses the connection must not be
    surprised."""
    request = raw.request(b"/api/nothing", body=b"{}")
    for port in (stack.http_port, stack.port):
        with raw.Connection(port) as connection:
            connection.send(request[:-2])
            answer = connection.read()
            assert answer.status == 404
            if answer.header("connection") == b"close":
                continue
            try:
                connection.send(request[-2:])
                connection.send(request)
                again = connection.read()
            except OSError:
                again = None
            assert again is not None, f"port {port} closed the connection without saying so"
            assert again.status == 404


def test_an_update_that_is_refused_changes_nothing(stack: Stack) -> None:
    key = stack.key(description="before", budget={"max_limit": 5, "reset_duration": "1M"})
    before = stack.admin.key(key.id)
    bad = {"description": "after", "provider_configs": [{"provider": "nobody"}]}
    answer = stack.admin.request("PUT", f"{KEYS}/{key.id}", bad)
    assert answer.status_code == 400
    assert answer.json()["field"] == "provider_configs[0].provider"
    assert stack.admin.key(key.id) == before


def test_a_name_that_is_taken_is_409_and_named(stack: Stack) -> None:
    for path, fields in (
        (KEYS, {"provider_configs": []}),
        ("/api/governance/teams", {}),
        ("/api/governance/customers", {}),
    ):
        name = stack.unique("twin")
        stack.admin.post(path, {"name": name} | fields)
        answer = stack.admin.request("POST", path, {"name": name} | fields)
        assert answer.status_code == 409, path
        assert answer.json()["field"] == "name"


def test_a_key_that_is_not_there_is_404_for_every_method(stack: Stack) -> None:
    for method, body in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", None)):
        answer = stack.admin.request(method, f"{KEYS}/nobody", body)
        assert answer.status_code == 404, method
        assert "nobody" in answer.json()["detail"]


def test_an_unknown_path_is_404_and_a_wrong_method_405(stack: Stack) -> None:
    assert stack.admin.request("GET", "/api/nothing").status_code == 404
    wrong = stack.admin.request("DELETE", KEYS)
    assert wrong.status_code == 405
    assert set(wrong.headers["allow"].replace(" ", "").split(",")) >= {"GET", "POST"}


def test_the_value_of_a_key_is_shown_once(stack: Stack) -> None:
    key = stack.key()
    for path in (f"{KEYS}/{key.id}", f"{KEYS}?limit=1000"):
        assert key.value not in stack.admin.request("GET", path).text
    for file in stack.data.glob("reeve.db*"):
        assert key.value.encode() not in file.read_bytes()


def test_a_list_comes_in_pages(stack: Stack) -> None:
    mark = stack.unique("page")
    names = [f"{mark}-{number}" for number in range(5)]
    for name in names:
        stack.admin.create_key(name=name, provider_configs=[])
    seen = []
    for offset in (0, 2, 4):
        page = stack.admin.get(f"{KEYS}?search={mark}&limit=2&offset={offset}")
        assert page["total_count"] == 5
        assert len(page["virtual_keys"]) == page["count"] == min(2, 5 - offset)
        seen += [key["name"] for key in page["virtual_keys"]]
    assert sorted(seen) == names
    for query in ("limit=0", "limit=1001", "limit=x", "offset=-1", "colour=red"):
        answer = stack.admin.request("GET", f"{KEYS}?{query}")
        assert answer.status_code == 400, query
        assert answer.json()["field"] == query.split("=")[0]


def test_the_catalogue_prices_a_thousand_models(stack: Stack) -> None:
    assert stack.admin.get("/api/models?limit=1")["total_count"] >= 1_000


def test_hostile_header_bytes_do_the_admin_api_no_harm(stack: Stack) -> None:
    for name in (b"authorization", b"origin", b"x-request-id", b"user-agent", b"content-type"):
        for port in (stack.http_port, stack.port):
            data = (
                b"GET /api/config HTTP/1.1\r\nhost: localhost\r\n" + name + b": caf\xe9\xff\r\n\r\n"
            )
            answer = raw.exchange(port, data)
            assert answer.status == 200 or 400 <= answer.status < 500
    assert stack.admin.get("/api/config")


# ---- PostgreSQL


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URL of a database of its own on the test server."""
    server = os.environ.get("REEVE_TEST_POSTGRES_URL")
    if not server:
        pytest.fail(
            "REEVE_TEST_POSTGRES_URL is not set; `make e2e` starts a PostgreSQL and sets it"
        )
    parts = urlsplit(server)
    name = f"reeve_e2e_{secrets.token_hex(8)}"
    connection = pg8000.native.Connection(
        user=unquote(parts.username or "postgres"),
        password=unquote(parts.password) if parts.password else None,
        host=parts.hostname or "localhost",
        port=parts.port or 5432,
        database=parts.path.strip("/") or "postgres",
    )
    connection.run(f"CREATE DATABASE {name}")
    yield parts._replace(path=f"/{name}").geturl()
    connection.run(f"DROP DATABASE {name} WITH (FORCE)")
    connection.close()


def test_the_way_of_a_request_is_the_same_on_postgresql(postgres: str, new_stack) -> None:
    stack = new_stack(environment={"REEVE_DATABASE_URL": postgres})
    assert not (stack.data / "reeve.db").exists()
    team = stack.admin.create_team(name="team", budget={"max_limit": 10, "reset_duration": "1M"})
    key = stack.key(
        team_id=team["id"],
        provider_configs=[{"provider": "openai", "allowed_models": ["gpt-4o"]}],
        budget={"max_limit": 0.015, "reset_duration": "1M"},
    )
    other = stack.key(team_id=team["id"])
    caller = stack.caller(key.value)
    assert caller.chat("gpt-4o", max_tokens=1000, x_demo_output_tokens="1000").status_code == 200
    assert denial(caller.chat("gpt-4o-mini")) == (403, "model_blocked")
    assert denial(caller.chat("gpt-4o", max_tokens=1000)) == (402, "budget_exceeded")
    record = stack.admin.one_usage(key.id)
    assert record.cost == stack.admin.price("openai", "gpt-4o").cost(uncached=2, output=1000)
    for owner in (stack.admin.team(team["id"]), stack.admin.key(key.id)):
        assert owner["budgets"][0]["current_usage"] == record.record["cost"]
    stack.control_plane.kill()
    assert stack.caller(other.value).chat("gpt-4o", max_tokens=10).status_code == 200
    stack.start_control_plane()
    stack.admin.one_usage(other.id)
    stack.admin.update_key(key.id, is_active=False)
    eventually(lambda: caller.chat("gpt-4o").status_code == 403, what="the disabled key")
