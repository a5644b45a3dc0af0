"""One limit, several Envoys: never more than the limit, whatever dies. Bounds: docs/limits.md."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

import raw

from fleet import Fleet
from llm import chat_body, denial
from money import Price, nanos
from stack import Stack
from test_limits import LEVELS, MODEL, PARALLEL, TOKENS, Family, in_parallel, truth
from waiting import eventually

ENVOYS = 4


@pytest.fixture(scope="module")
def _fleet() -> Iterator[Fleet]:
    with Stack("fleet") as stack:
        stack.admin.enable_governance()
        yield Fleet(stack, ENVOYS)


@pytest.fixture(scope="module")
def _pair() -> Iterator[Fleet]:
    with Stack("pair") as stack:
        stack.admin.enable_governance()
        yield Fleet(stack, 2)


@pytest.fixture(params=["_pair", "_fleet"], ids=["two", "four"])
def few_or_many(request: pytest.FixtureRequest) -> Fleet:
    fleet: Fleet = request.getfixturevalue(request.param)
    fleet.stack.demo.reset()
    return fleet


@pytest.fixture
def fleet(_fleet: Fleet) -> Fleet:
    _fleet.stack.demo.reset()
    return _fleet


@pytest.fixture
def price(fleet: Fleet) -> Price:
    return fleet.stack.admin.price("openai", MODEL)


def asking(key: str, delay_ms: int = 0) -> bytes:
    """A request that costs a little more than a cent."""
    headers = [
        (b"x-bf-vk", key.encode()),
        (b"x-demo-output-tokens", b"%d" % TOKENS),
        (b"x-demo-delay-ms", b"%d" % delay_ms),
    ]
    return raw.request(headers=headers, body=body())


def body() -> bytes:
    return json.dumps(chat_body(MODEL, max_tokens=TOKENS)).encode()


@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "warm"])
@pytest.mark.parametrize("level", LEVELS)
def test_500_requests_at_once_get_no_more_than_a_budget_for_ten(
    few_or_many: Fleet, level: str, warm: bool
) -> None:
    """R-40, R-41 on two and on four Envoys of two workers each, at each level."""
    fleet = few_or_many
    stack = fleet.stack
    price = stack.admin.price("openai", MODEL)
    room = 10 * price.cost(uncached=len(body()), output=TOKENS)
    family = Family(stack, **{level: {"max_limit": room / 10**9, "reset_duration": "1M"}})
    key = fleet.await_key(family.key)
    if warm:
        for caller in fleet.callers(key):
            assert caller.chat(MODEL, max_tokens=1, x_demo_output_tokens="1").status_code == 200
    before = stack.demo.requests()
    statuses = Counter(fleet.exchange_at_once(asking(key.value, delay_ms=500), 500))
    assert set(statuses) == {200, 402}
    served = stack.demo.requests() - before
    assert statuses[200] == served <= 10
    # What the others held ready was called back for those that came: but for fractions, all is spent.
    assert served >= 9
    records = stack.admin.usage(key.id, stack.demo.requests())
    assert sum(record.cost for record in records) == truth(stack, price) <= room

    def charged() -> bool:
        assert family.used() == dict.fromkeys(LEVELS, truth(stack, price))
        return True

    eventually(charged, what="the charges at every level")


def test_exactly_as_many_requests_as_the_limit_are_admitted_by_the_whole_fleet(
    fleet: Fleet,
) -> None:
    key = fleet.key(rate_limit={"request_max_limit": 100, "request_reset_duration": "1h"})
    callers = fleet.callers(key)
    turn = itertools.cycle(callers)
    answers = in_parallel(240, lambda: next(turn).chat(MODEL))
    assert {answer.status_code for answer in answers} == {200, 429}
    # A request that came while another held the last one may have been refused for it; so each asks on.
    more = [[caller.chat(MODEL).status_code for _ in range(5)] for caller in callers]
    admitted = [answer.status_code for answer in answers].count(200) + sum(
        statuses.count(200) for statuses in more
    )
    assert admitted == fleet.stack.demo.requests() == 100
    for caller in callers:
        refused = caller.chat(MODEL)
        assert denial(refused) == (429, "request_limited")
        assert (refused.json()["used"], refused.json()["limit"]) == (100, 100)


def test_what_one_envoy_holds_is_there_for_another_within_the_request_that_needs_it(
    fleet: Fleet,
) -> None:
    """Nobody is refused for what is only held: three quarters of a limit stand ready elsewhere."""
    key = fleet.key(rate_limit={"request_max_limit": 64, "request_reset_duration": "1h"})
    one, *others = fleet.callers(key)
    for caller in others:
        assert caller.chat(MODEL).status_code == 200
    statuses = [one.chat(MODEL).status_code for _ in range(62)]
    assert statuses == [200] * 61 + [429]


def test_what_stands_ready_where_nobody_asks_is_there_for_another_too(fleet: Fleet) -> None:
    """Envoys that have never seen the key hold a standing lease of its limit all the same."""
    key = fleet.key(rate_limit={"request_max_limit": 64, "request_reset_duration": "1h"})
    one = fleet.callers(key)[0]
    assert [one.chat(MODEL).status_code for _ in range(65)] == [200] * 64 + [429]


def test_a_limit_that_is_lowered_binds_whatever_was_lent(fleet: Fleet) -> None:
    """Each Envoy holds 400 of the old limit, and each of its workers some; the new one is for 40."""
    key = fleet.key(rate_limit={"request_max_limit": 6_400, "request_reset_duration": "1h"})
    callers = fleet.callers(key)
    for caller in callers:
        assert [caller.chat(MODEL).status_code for _ in range(4)] == [200] * 4
    fleet.stack.admin.usage(key.id, 16)
    fleet.stack.admin.update_key(
        key.id, rate_limit={"request_max_limit": 40, "request_reset_duration": "1h"}
    )

    def is_back() -> bool:
        usage = fleet.stack.admin.key(key.id)["rate_limit"]["request_usage"]
        assert usage["limit"] == 40
        return bool(usage["reserved"] + usage["suspense"] + usage["used"] <= 40)

    eventually(is_back, what="what was lent of the higher limit")
    statuses = [caller.chat(MODEL).status_code for _ in range(20) for caller in callers]
    assert statuses.count(200) == 40 - 16 and set(statuses) == {200, 429}
    assert fleet.stack.demo.requests() == 40


def test_a_token_limit_is_overrun_by_no_more_than_what_is_in_flight(fleet: Fleet) -> None:
    """Tokens are known when they are used: the bound is the limit and the requests of one moment."""
    limit = {"token_max_limit": 10_000, "token_reset_duration": "1h"}
    key = fleet.key(rate_limit=limit)
    callers = itertools.cycle(fleet.callers(key))

    def call() -> httpx.Response:
        return next(callers).chat(MODEL, max_tokens=TOKENS, x_demo_output_tokens=str(TOKENS))

    answers = in_parallel(100, call)
    assert {answer.status_code for answer in answers} == {200, 429}
    served = fleet.stack.demo.served(MODEL)
    used = served["input_tokens"] + served["output_tokens"]
    one = used // served["requests"]
    assert 10_000 - one < used <= 10_000 + PARALLEL * one

    def counted() -> bool:
        return fleet.stack.admin.key(key.id)["rate_limit"]["token_current_usage"] == used

    eventually(counted, what="the tokens in the ledger")
    # From then on nobody is admitted.
    assert {call().status_code for _ in range(8)} == {429}


def test_a_limit_of_the_team_is_one_for_all_its_keys_on_all_envoys(
    fleet: Fleet, price: Price
) -> None:
    stack = fleet.stack
    room = 5 * price.cost(uncached=len(body()), output=TOKENS)
    budget = {"max_limit": room / 10**9, "reset_duration": "1M"}
    team = stack.admin.create_team(name=stack.unique("team"), budget=budget)
    keys = [fleet.key(team_id=team["id"]) for _ in fleet.ports]
    requests = dict(zip(fleet.ports, keys))
    answers = fleet.on_each(
        lambda port: raw.exchange_at_once(port, asking(requests[port].value), 25)
    )
    statuses = Counter(answer.status for of_one in answers for answer in of_one)
    assert set(statuses) == {200, 402} and 4 <= statuses[200] <= 5

    def charged() -> bool:
        (of_team,) = stack.admin.team(team["id"])["budgets"]
        assert nanos(of_team["current_usage"]) == truth(stack, price) <= room
        return True

    eventually(charged, what="the team's budget")
