"""Where a virtual key may stand, and that it goes no further than this gateway."""

from __future__ import annotations

import itertools
import json

import h2.config
import h2.connection
import h2.events
import pytest

import raw
from llm import CHAT, chat_body, denial
from stack import KeyInForce, Stack

BODY = json.dumps(chat_body()).encode()
SOURCES = ("x-bf-vk", "authorization", "x-api-key", "x-goog-api-key", "api-key")
PAIRS = list(itertools.permutations(SOURCES, 2))


def presented(source: str, key: str) -> str:
    return f"Bearer {key}" if source == "authorization" else key


@pytest.fixture(scope="module")
def keys(_shared: Stack) -> tuple[KeyInForce, KeyInForce]:
    return _shared.key(), _shared.key()


@pytest.fixture
def key(stack: Stack, keys: tuple[KeyInForce, KeyInForce]) -> str:
    return keys[0].value


@pytest.fixture
def other_key(keys: tuple[KeyInForce, KeyInForce]) -> str:
    return keys[1].value


@pytest.mark.parametrize("source", SOURCES)
def test_a_key_is_accepted_in_each_header_and_stays_here(
    stack: Stack, key: str, source: str
) -> None:
    response = stack.caller(**{source: presented(source, key)}).chat()
    assert response.status_code == 200, response.text
    received = stack.demo.last()
    assert key not in json.dumps(received)
    credentials = [name for name, _ in received["headers"] if name in (*SOURCES, "cookie")]
    assert credentials == ["authorization"], "only the provider's own key goes to the provider"


def test_credentials_of_all_kinds_are_removed_before_the_provider(stack: Stack, key: str) -> None:
    foreign = {name: presented(name, "sk-of-someone-else") for name in SOURCES if name != "x-bf-vk"}
    response = stack.caller(key, **foreign, cookie="session=sk-of-someone-else").chat()
    assert response.status_code == 200, response.text
    assert "someone-else" not in json.dumps(stack.demo.last())


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_different_keys_are_ambiguous(
    stack: Stack, key: str, other_key: str, first: str, second: str
) -> None:
    headers = {first: presented(first, key), second: presented(second, other_key)}
    response = stack.caller(**headers).chat()
    assert denial(response) == (400, "ambiguous_credentials")
    assert stack.demo.requests() == 0


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(SOURCES, 2)))
def test_the_same_key_in_two_headers_is_one_key(
    stack: Stack, key: str, first: str, second: str
) -> None:
    headers = {first: presented(first, key), second: presented(second, key)}
    assert stack.caller(**headers).chat().status_code == 200


@pytest.mark.parametrize("source", SOURCES)
def test_a_header_given_twice_is_ambiguous(
    stack: Stack, key: str, other_key: str, source: str
) -> None:
    headers = [
        (source.encode(), presented(source, key).encode()),
        (source.upper().encode(), presented(source, other_key).encode()),
    ]
    answer = raw.exchange(stack.port, raw.request(headers=headers, body=BODY))
    assert answer.status == 400
    assert answer.json()["type"] == "ambiguous_credentials"
    assert stack.demo.requests() == 0


@pytest.mark.parametrize("source", SOURCES)
def test_a_header_given_twice_over_http2_is_ambiguous(
    stack: Stack, key: str, other_key: str, source: str
) -> None:
    status, body = http2_request(
        stack.port, [(source, presented(source, key)), (source, presented(source, other_key))]
    )
    assert (status, json.loads(body)["type"]) == (400, "ambiguous_credentials")
    assert stack.demo.requests() == 0


def http2_request(port: int, headers: list[tuple[str, str]]) -> tuple[int, bytes]:
    """A chat completion over HTTP/2 with prior knowledge, the headers as they are given."""
    http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    http2.initiate_connection()
    pseudo = [
        (":method", "POST"),
        (":path", CHAT),
        (":scheme", "http"),
        (":authority", "localhost"),
    ]
    http2.send_headers(1, [*pseudo, ("content-type", "application/json"), *headers])
    http2.send_data(1, BODY, end_stream=True)
    status, body = 0, b""
    with raw.Connection(port) as connection:
        connection.send(http2.data_to_send())
        while some := connection.read_some():
            for event in http2.receive_data(some):
                match event:
                    case h2.events.ResponseReceived():
                        status = int(dict(event.headers)[":status"])
                    case h2.events.DataReceived():
                        body += event.data
                    case h2.events.StreamEnded():
                        return status, body
            connection.send(http2.data_to_send())
    raise AssertionError("the connection ended before the answer did")


@pytest.mark.parametrize(
    ("template", "status"),
    [
        ("Bearer {}", 200),
        ("bearer {}", 200),
        ("BEARER {}", 200),
        ("Bearer  {}", 401),
        ("Bearer\t{}", 401),
        ("Basic {}", 401),
        ("Token {}", 401),
        ("{}", 401),
        ("Bearer", 401),
        ("Bearer {0},Bearer {0}", 400),
    ],
)
def test_the_bearer_scheme_is_read_strictly(
    stack: Stack, key: str, template: str, status: int
) -> None:
    response = stack.caller(authorization=template.format(key)).chat()
    assert response.status_code == status, response.text
    assert stack.demo.requests() == (status == 200)


def test_no_key_is_401_and_says_where_to_put_one(stack: Stack) -> None:
    response = stack.caller().chat()
    assert denial(response) == (401, "virtual_key_required")
    assert "x-bf-vk" in response.json()["error"]["message"]
    assert stack.demo.requests() == 0


@pytest.mark.parametrize("flip", [6, 20, 55], ids=["identifier", "secret", "checksum"])
def test_a_key_with_one_wrong_character_is_401(stack: Stack, key: str, flip: int) -> None:
    wrong = key[:flip] + ("x" if key[flip] != "x" else "y") + key[flip + 1 :]
    assert denial(stack.caller(wrong).chat()) == (401, "virtual_key_not_found")
    assert stack.demo.requests() == 0


@pytest.mark.parametrize("name", ["key", "api_key", "x-api-key", "access_token"])
def test_a_key_in_the_query_counts_for_nothing_and_is_not_sent_on(
    stack: Stack, key: str, other_key: str, name: str
) -> None:
    path = f"{CHAT}?{name}={other_key}"
    assert stack.caller().post(path, chat_body()).status_code == 401
    assert stack.demo.requests() == 0
    response = stack.caller(key).post(path, chat_body())
    if response.status_code == 200:
        assert other_key not in json.dumps(stack.demo.last())
    else:
        assert 400 <= response.status_code < 500


def test_a_key_in_a_cookie_counts_for_nothing(stack: Stack, key: str) -> None:
    assert stack.caller(cookie=f"x-bf-vk={key}").chat().status_code == 401


def test_a_header_name_with_an_underscore_is_400(stack: Stack, key: str) -> None:
    headers = [(b"x_api_key", key.encode())]
    answer = raw.exchange(stack.port, raw.request(headers=headers, body=BODY))
    assert answer.status == 400
    assert stack.demo.requests() == 0


@pytest.mark.parametrize(
    "guess",
    [
        "sk-bf-' OR '1'='1",
        'sk-bf-"; DROP TABLE virtual_keys; --',
        "sk-bf-%s%s%n",
        "sk-bf-*)(uid=*",
        "sk-bf-../../etc/passwd",
        "sk-bf-" + "A" * 8_000,
    ],
)
def test_an_injection_in_place_of_a_key_is_401(stack: Stack, guess: str) -> None:
    assert stack.caller(guess).chat().status_code == 401
    assert stack.demo.requests() == 0


def test_no_credential_is_in_a_log_or_in_envoys_configuration(stack: Stack, key: str) -> None:
    """Keys that are accepted, refused, ambiguous and misplaced."""
    near_miss = key[:-1] + ("x" if key[-1] != "x" else "y")
    foreign = "sk-proj-of-someone-else"
    assert stack.caller(key).chat().status_code == 200
    stack.caller(near_miss).chat()
    stack.caller(key, authorization=f"Bearer {near_miss}").chat()
    stack.caller(foreign).chat()
    stack.caller().post(f"{CHAT}?key={key}", chat_body())
    stack.caller(key).chat(x_demo_fault="demo=close")
    places = {
        "Envoy's log": stack.envoy.text(),
        "the control plane's log": stack.control_plane.text(),
        "the configuration dump": stack.envoy_admin.get("/config_dump?include_eds").text,
        "the statistics": stack.envoy_admin.get("/stats").text,
    }
    for place, text in places.items():
        assert text, place
        for credential in (key, near_miss, foreign):
            assert credential not in text, f"{credential} is in {place}"
