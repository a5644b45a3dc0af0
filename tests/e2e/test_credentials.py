"""Where a virtual key may stand, and that it goes no further than this gateway.

Rows R-01 to R-06, R-08 and R-09 of the red team, and the admin's token of R-51.
"""

from __future__ import annotations

import base64
import itertools
import json

import pytest

import raw
import raw_http2
from llm import CHAT, chat_body, denial
from recorder import RecordingStack
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
    """R-01."""
    headers = {first: presented(first, key), second: presented(second, other_key)}
    response = stack.caller(**headers).chat()
    assert denial(response) == (400, "ambiguous_credentials")
    assert stack.demo.requests() == 0


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(SOURCES, 2)))
def test_the_same_key_in_two_headers_is_one_key(
    stack: Stack, key: str, first: str, second: str
) -> None:
    """R-01."""
    headers = {first: presented(first, key), second: presented(second, key)}
    assert stack.caller(**headers).chat().status_code == 200


@pytest.mark.parametrize("source", SOURCES)
def test_a_header_given_twice_is_ambiguous(
    stack: Stack, key: str, other_key: str, source: str
) -> None:
    """R-02, R-03. Even with the same value: who knows which of them a provider would take."""
    for second in (other_key, key):
        headers = [
            (source.encode(), presented(source, key).encode()),
            (source.upper().encode(), presented(source, second).encode()),
        ]
        answer = raw.exchange(stack.port, raw.request(headers=headers, body=BODY))
        assert answer.status == 400
        assert answer.json()["type"] == "ambiguous_credentials"
    assert stack.demo.requests() == 0


@pytest.mark.parametrize("source", SOURCES)
def test_a_header_given_twice_over_http2_is_ambiguous(
    stack: Stack, key: str, other_key: str, source: str
) -> None:
    """R-02, R-03."""
    for second in (other_key, key):
        values = [presented(source, key), presented(source, second)]
        fields = raw_http2.request([(source.encode(), value.encode()) for value in values])
        answer = raw_http2.exchange(stack.port, fields, BODY)
        assert (answer.status, answer.json()["type"]) == (400, "ambiguous_credentials")
    assert stack.demo.requests() == 0


BEARERS = [
    ("Bearer {}", 200),
    ("bearer {}", 200),
    ("BEARER {}", 200),
    (" Bearer {} ", 200),  # what is around a value is not a part of it
    ("Bearer  {}", 401),
    ("Bearer\t{}", 401),
    ("Bearer\xa0{}", 401),
    ("Bearer:{}", 401),
    ("Bearer{}", 401),
    ('Bearer "{}"', 401),
    ("Bearer {} x", 401),
    ("Basic {}", 401),
    ("Token {}", 401),
    ("{}", 401),
    ("Bearer", 401),
    ("Bearer ", 401),
    ("Bearer \r\n {}", 401),
    ("Bearer {0},Bearer {0}", 400),
    ("Bearer {0}, Bearer {0}", 400),
    ("Digest a=b, Bearer {0}", 400),
]


@pytest.mark.parametrize(("template", "status"), BEARERS)
def test_the_bearer_scheme_is_read_strictly(
    stack: Stack, key: str, template: str, status: int
) -> None:
    """R-04."""
    header = (b"authorization", template.format(key).encode("latin-1"))
    answer = raw.exchange(stack.port, raw.request(headers=[header], body=BODY))
    assert answer.status == status, answer.body
    assert stack.demo.requests() == (status == 200)


def test_a_key_in_basic_authentication_counts_for_nothing(stack: Stack, key: str) -> None:
    """R-04."""
    for pair in (f"{key}:", f":{key}", f"user:{key}", key):
        value = f"Basic {base64.b64encode(pair.encode()).decode()}"
        assert stack.caller(authorization=value).chat().status_code == 401
    assert stack.demo.requests() == 0


def test_the_name_of_a_header_is_read_in_any_case_and_in_no_other_spelling(
    stack: Stack, key: str
) -> None:
    """R-05."""
    for name, status in (
        (b"X-BF-VK", 200),
        (b"x-Bf-vK", 200),
        (b"x_bf_vk", 400),
        (b"x_api_key", 400),
        (b"x-bf-vk ", 400),
        (b"x-bf-vk\t", 400),
        (b" x-bf-vk", 401),  # it continues the line before
        (b"x-bf-vk-", 401),
        (b"x--bf-vk", 401),
        ("ⅹ-bf-vk".encode(), 400),
    ):
        headers = [(b"x-first", b"1"), (name, key.encode())]
        answer = raw.exchange(stack.port, raw.request(headers=headers, body=BODY))
        assert answer.status == status, name
    assert stack.demo.requests() == 2


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
    """R-06."""
    path = f"{CHAT}?{name}={other_key}"
    assert stack.caller().post(path, chat_body()).status_code == 401
    assert stack.demo.requests() == 0
    response = stack.caller(key).post(path, chat_body())
    if response.status_code == 200:
        assert other_key not in json.dumps(stack.demo.last())
    else:
        assert 400 <= response.status_code < 500


@pytest.mark.parametrize("name", ["x-bf-vk", "authorization", "api_key", "token"])
def test_a_key_in_a_cookie_counts_for_nothing(stack: Stack, key: str, name: str) -> None:
    """R-06."""
    assert stack.caller(cookie=f"{name}={key}").chat().status_code == 401
    assert stack.demo.requests() == 0


# What a client has when it is not ours.
FOREIGN = [
    "sk-proj-" + "a1" * 24,
    "sk-ant-api03-" + "b2" * 40,
    "AIza" + "c" * 35,
    "AKIAIOSFODNN7EXAMPLE",
    "bedrock-api-key-" + "d" * 40,
    "gsk_" + "e" * 52,
    "hf_" + "f" * 34,
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
    "sk-rv-admin-" + "0" * 50,
    "demo",  # the provider's own
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_key_of_another_kind_is_no_key_and_goes_nowhere(
    recording: RecordingStack, source: str
) -> None:
    """R-08, R-51. Alone it opens nothing; beside a virtual key it stays here."""
    for foreign in FOREIGN:
        value = presented(source, foreign)
        refused = recording.caller(**{source: value}).chat("gpt-4o")
        assert denial(refused) == (401, "virtual_key_required"), foreign
        assert not recording.recorder.take()
        beside = "x-api-key" if source == "x-bf-vk" else "x-bf-vk"
        headers = {source: value, beside: recording.open_key}
        assert recording.caller(**headers).chat("gpt-4o").status_code == 200, foreign
        (received,) = recording.recorder.take()
        assert received.values("authorization") == [b"Bearer demo"]
        if foreign != "demo":
            assert foreign.encode() not in received.wire
        assert recording.open_key.encode() not in received.wire


INJECTIONS = [
    # SQL, in the dialects of both databases
    "' OR '1'='1", "' OR 1=1 --", '" OR ""="', "') OR ('1'='1", "' UNION SELECT value FROM virtual_keys --",
    "'; DROP TABLE virtual_keys; --", "'; UPDATE virtual_keys SET is_active = 1; --", "' AND 1=0 UNION ALL SELECT NULL --",
    "'||(SELECT sqlite_version())||'", "'; SELECT pg_sleep(10); --", "' OR pg_sleep(10) IS NULL --",
    "1; ATTACH DATABASE 'x' AS x; --", "\\'; --", "%' OR name LIKE '%", "_%", "$1", "?1", ":key", "/**/OR/**/1=1",
    "' RETURNING * --", "'/*", "x' AND randomblob(100000000) AND '1", "0x27204f5220313d31",
    # Documents, directories, paths of XML
    '{"$gt": ""}', '{"$ne": null}', "[$ne]=1", "';return true;var a='", "*)(uid=*))(|(uid=*", "*", ")(&)",
    "' or '1'='1' or ''='", "//user[1]",
    # Shells, templates, formats, lookups
    "$(id)", "`id`", "; id", "| id", "&& id", "{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "${jndi:ldap://127.0.0.1/a}",
    "%s%s%s%n", "%x%x%x", "{0}", "{}", "%00", "%0d%0aset-cookie:a=b",
    # Paths and markup
    "../../etc/passwd", "..\\..\\windows\\win.ini", "file:///etc/passwd", "<script>alert(1)</script>",
    "<!--#exec cmd=id-->", '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>', "=HYPERLINK(1)",
    # Names that some language takes for something
    "__proto__", "constructor", "null", "undefined", "true", "NaN", "-1", "1e999", "0" * 1_000,
]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_an_injection_in_place_of_a_key_is_401(recording: RecordingStack, source: str) -> None:
    """R-09. It is looked up nowhere: a digest of it is, if it could be a key at all."""
    key = recording.open_key
    for text in INJECTIONS:
        for value in ("sk-bf-" + text, key + text, key[:-6] + text, text):
            header = (source.encode(), presented(source, value).encode())
            answer = raw.exchange(recording.port, raw.request(headers=[header], body=BODY))
            assert answer.status == 401, value
            assert text.encode() not in answer.body or len(text) < 5, "nothing is echoed"
    assert not recording.recorder.take()
    # All is there, and nobody waits for a database.
    names = [k["name"] for k in recording.admin.get("/api/governance/virtual-keys")["virtual_keys"]]
    assert names
    assert recording.caller(key).chat("gpt-4o").status_code == 200
    recording.recorder.take()


def test_no_credential_of_a_caller_is_in_a_log_or_in_what_is_sent_on(
    recording: RecordingStack,
) -> None:
    """R-06, R-08. Whether it is accepted, refused, ambiguous or in the wrong place."""
    key = recording.key(allow_all_providers=True).value
    near_miss = key[:-1] + ("x" if key[-1] != "x" else "y")
    marks = [f"sk-proj-canary{number:03}" for number in range(100)]
    fresh = iter(marks)
    valid = (b"x-bf-vk", key.encode())

    def send(headers: list[raw.Header], path: str = CHAT, body: bytes = BODY) -> int | None:
        answer = raw.exchange(recording.port, raw.request(path.encode(), headers, body))
        return answer and answer.status

    for source in SOURCES:
        for headers in ([], [valid]):
            value = presented(source, next(fresh)).encode()
            send([*headers, (source.encode(), value)])
        send([(source.encode(), presented(source, near_miss).encode())])
        send([(source.encode(), presented(source, key).encode())])
        send([valid, (source.encode(), presented(source, near_miss).encode())])
    for name in ("key", "api_key", "access_token", "x-api-key", "anything", "sk-bf-a"):
        for headers in ([], [valid]):
            send(headers, f"{CHAT}?{name}={next(fresh)}")
            send(headers, f"/v1beta/models/gemini-2.5-flash:generateContent?{name}={next(fresh)}")
    for name in ("cookie", "proxy-authorization", "x-amz-security-token", "x-auth-token"):
        if name != "x-auth-token":  # a header that means nothing to anybody here is passed on
            send([valid, (name.encode(), next(fresh).encode())])
        send([(name.encode(), next(fresh).encode())])
    for member in ("api_key", "api_base", "user_api_key", "authorization"):
        body = json.dumps(chat_body("gpt-4o", **{member: next(fresh)})).encode()
        send([] if member in ("user_api_key", "authorization") else [valid], body=body)
    send([valid], f"/v1/{next(fresh)}")
    send([valid], f"/v1/models/{next(fresh)}")
    send([valid], body=json.dumps(chat_body(next(fresh))).encode())
    send([(b"user-agent", next(fresh).encode()), (b"referer", next(fresh).encode())])
    chunked = raw.request(headers=[valid]).replace(
        b"content-length: 0", b"transfer-encoding: chunked"
    )
    trailer = b"x-bf-vk: " + next(fresh).encode()
    raw.exchange(
        recording.port, chunked + b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(BODY), BODY, trailer)
    )
    # The other door.
    for headers in ([(b"authorization", b"Bearer " + next(fresh).encode())], [valid]):
        send(headers, f"/api/governance/virtual-keys?token={next(fresh)}")
    last = recording.caller(key).chat("gpt-4o")
    recording.access_log(last.headers["x-request-id"])

    received = recording.recorder.take()
    assert len(received) > 10
    records = recording.admin.get("/api/governance/usage/records?limit=1000")
    places = {
        "what a provider got": b"".join(request.wire for request in received).decode("latin-1"),
        "Envoy's log": recording.envoy.text(),
        "the control plane's log": recording.control_plane.text(),
        "the configuration dump": recording.envoy_admin.get("/config_dump?include_eds").text,
        "the statistics": recording.envoy_admin.get("/stats/prometheus").text,
        "the records of usage": str(records),
    }
    used = marks[: marks.index(next(fresh))]
    assert len(used) > 40
    for place, text in places.items():
        assert text, place
        found = [credential for credential in (key, near_miss, *used) if credential in text]
        assert not found, f"in {place}"
