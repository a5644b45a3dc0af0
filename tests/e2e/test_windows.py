"""When limits start afresh: calendars of time zones, fiscal quarters, prepaid credits; and no edit of
that forgets what was used. Row R-48 of the red team, as far as the clock cannot be moved; the tables over
summer time, ends of months and leap days are unit tests of `crates/policy`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from llm import denial
from stack import Stack
from waiting import eventually

ONE_A_DAY = {"request_max_limit": 1, "request_reset_duration": "1d"}


def midnight_after_now(zone: ZoneInfo) -> datetime:
    tomorrow = datetime.now(zone).date() + timedelta(days=1)
    return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone)


@pytest.mark.parametrize(
    "zone", ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago"]
)
def test_a_day_ends_at_midnight_of_the_keys_time_zone(stack: Stack, zone: str) -> None:
    key = stack.key(time_zone=zone, calendar_aligned=True, rate_limit=ONE_A_DAY)
    caller = stack.caller(key.value)
    assert caller.chat().status_code == 200
    refused = caller.chat()
    assert denial(refused) == (429, "request_limited")
    midnight = midnight_after_now(ZoneInfo(zone))
    assert datetime.fromisoformat(refused.json()["resets_at"]) == midnight
    left = (midnight - datetime.now(UTC)).total_seconds()
    assert abs(int(refused.headers["retry-after"]) - left) < 60


def test_teams_and_customers_have_a_calendar_of_their_own(stack: Stack) -> None:
    mark = stack.unique("calendar")
    budget = {"max_limit": 0, "reset_duration": "1d"}
    for level, zone in (("customer", "Asia/Tokyo"), ("team", "America/Anchorage")):
        fields = {"name": mark + level, "calendar_aligned": True, "time_zone": zone}
        create = stack.admin.create_customer if level == "customer" else stack.admin.create_team
        owner = create(**fields, budget=budget)
        key = stack.key(**{f"{level}_id": owner["id"]})
        refused = stack.caller(key.value).chat()
        assert denial(refused) == (402, "budget_exceeded")
        assert refused.json()["level"] == level
        resets_at = datetime.fromisoformat(refused.json()["resets_at"])
        assert resets_at == midnight_after_now(ZoneInfo(zone))


def test_a_fiscal_quarter_starts_in_its_month(stack: Stack) -> None:
    zone = ZoneInfo("Australia/Sydney")
    now = datetime.now(zone)
    # Quarters that start in the month after this one: this one is the last of its quarter.
    year, month = (now.year, now.month + 1) if now.month < 12 else (now.year + 1, 1)
    key = stack.key(
        time_zone="Australia/Sydney",
        calendar_aligned=True,
        budget={
            "max_limit": 0,
            "reset_duration": "1Q",
            "reset_config": {"quarter_start_month": month},
        },
    )
    refused = stack.caller(key.value).chat()
    assert denial(refused) == (402, "budget_exceeded")
    resets_at = datetime.fromisoformat(refused.json()["resets_at"])
    assert resets_at == datetime(year, month, 1, tzinfo=zone)


def test_prepaid_credits_never_come_back(stack: Stack) -> None:
    key = stack.key(rate_limit={"request_max_limit": 2, "request_reset_duration": "never"})
    caller = stack.caller(key.value)
    assert [caller.chat().status_code for _ in range(2)] == [200, 200]
    refused = caller.chat()
    assert denial(refused) == (429, "request_limited")
    # There is nothing to wait for.
    assert "resets_at" not in refused.json()
    assert "retry-after" not in refused.headers
    assert "x-ratelimit-reset" not in refused.headers
    assert "resets never" in refused.text


@pytest.mark.parametrize(
    "edit",
    [
        {"calendar_aligned": True, "time_zone": "Asia/Tokyo"},
        {"rate_limit": {"request_max_limit": 3, "request_reset_duration": "1M"}},
        {"rate_limit": {"request_max_limit": 3, "request_reset_duration": "never"}},
    ],
    ids=["to-a-calendar", "to-months", "to-never"],
)
def test_no_edit_of_windows_forgets_what_was_used(stack: Stack, edit: dict) -> None:
    key = stack.key(rate_limit={"request_max_limit": 3, "request_reset_duration": "1d"})
    caller = stack.caller(key.value)
    assert [caller.chat().status_code for _ in range(2)] == [200, 200]
    stack.admin.update_key(key.id, **edit)
    assert [caller.chat().status_code for _ in range(3)] == [200, 429, 429]

    def counted() -> bool:
        return stack.admin.key(key.id)["rate_limit"]["request_current_usage"] == 3

    eventually(counted, what="all three in one window")


@pytest.mark.parametrize("level", ["customer", "team", "virtual_key", "provider_config"])
def test_every_window_of_a_rate_limit_must_have_room(stack: Stack, level: str) -> None:
    wide = {"metric": "requests", "max_limit": 3, "reset_duration": "1h"}
    narrow = {"metric": "requests", "max_limit": 2, "reset_duration": "2s"}
    limits = {"rate_limits": [wide, narrow]}
    mark = stack.unique("windows")
    if level == "provider_config":
        config = {"provider": "openai", "allowed_models": ["*"]} | limits
        key = stack.key(provider_configs=[config])
    elif level == "virtual_key":
        key = stack.key(**limits)
    else:
        create = getattr(stack.admin, f"create_{level}")
        key = stack.key(**{f"{level}_id": create(name=mark, **limits)["id"]})
    caller = stack.caller(key.value)

    def limits_of_refusals() -> list[int]:
        answers = [caller.chat() for _ in range(4)]
        for answer in answers:
            assert answer.status_code == 200 or answer.json()["level"] == level
        return [answer.json()["limit"] for answer in answers if answer.status_code == 429]

    # Two of them in two seconds (or four at the turn of a window); the wide one holds afterwards.
    assert limits_of_refusals() in ([2, 2], [2], [3])

    def wide_one_refuses() -> bool:
        return caller.chat().json().get("limit") == 3

    eventually(wide_one_refuses, what="the window of an hour is full")
    assert stack.demo.requests() == 3


def test_a_calendar_that_does_not_exist_is_refused(stack: Stack) -> None:
    for fields, field in (
        ({"time_zone": "Mars/Utopia"}, "time_zone"),
        ({"budget": {"max_limit": 1, "reset_duration": "1x"}}, "budget.reset_duration"),
        (
            {
                "budget": {
                    "max_limit": 1,
                    "reset_duration": "1M",
                    "reset_config": {"quarter_start_month": 2},
                }
            },
            "budget.reset_config",
        ),
    ):
        name = stack.unique("refused")
        body = {"name": name} | fields
        answer = stack.admin.request("POST", "/api/governance/virtual-keys", body)
        assert (answer.status_code, answer.json()["field"]) == (400, field)
