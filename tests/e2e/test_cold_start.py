"""Many keys with four budgets above each request, used at random from the first moment of an Envoy.

Small here; `make bench` takes 10,000 keys and 2,000 requests a second (docs/performance.md).
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from money import nanos
from report import report
from stack import Stack, piece
from waiting import eventually

MODEL = "gpt-4o"
KEYS = int(os.environ.get("REEVE_COLD_START_KEYS", "200"))
RATE = int(os.environ.get("REEVE_COLD_START_RATE", "100"))
SECONDS = int(os.environ.get("REEVE_COLD_START_SECONDS", "4"))
KEYS_OF_A_TEAM = 100
TEAMS_OF_A_CUSTOMER = 10
# One key of so many has a budget for a few requests only.
TIGHT = 500 if KEYS > 1_000 else 25
DOLLARS = {"customer": 1_000, "team": 100, "virtual_key": 5, "provider_config": 5}
FEW_DOLLARS = 0.004
PARALLEL = 8


@pytest.fixture
def counted(new_stack) -> Stack:
    """A stack without Envoy yet, and with a provider that is as quick as the load is."""
    stack: Stack = new_stack(started=False)
    bench = piece("REEVE_BENCH_BIN")
    stack.demo_process.command = [bench, "upstream", "--port", str(stack.demo_port)]
    stack.start_demo()
    stack.start_control_plane()
    stack.admin.enable_governance()
    return stack


@pytest.mark.timeout(240 + KEYS // 10 + 3 * SECONDS)
def test_keys_used_at_random_after_a_cold_start_hardly_ever_wait_and_every_limit_holds(
    counted: Stack,
) -> None:
    stack = counted
    price = stack.admin.price("openai", MODEL)
    assert price.input % 1_000_000 == 0 and price.output % 1_000_000 == 0
    begun = time.monotonic()
    keys = create(stack)
    creating = time.monotonic() - begun
    (stack.directory / "keys").write_text("\n".join(key["value"] for key in keys))
    begun = time.monotonic()
    stack.start_envoy()
    stack.await_key(keys[-1]["value"])
    starting = time.monotonic() - begun
    seen = load(stack)

    statuses = {int(status): count for status, count in seen["statuses"].items()}
    sent = sum(statuses.values())
    assert sent == RATE * SECONDS
    assert set(statuses) <= {200, 402}, statuses
    assert statuses.get(402), "no limit was reached"
    served = stack.demo.stats()
    assert statuses[200] == served["requests"]
    cost = price.cost(uncached=served["input_tokens"], output=served["output_tokens"])

    def all_counted() -> bool:
        assert records(stack) == served["requests"]
        assert charged(stack) == dict.fromkeys(DOLLARS, cost)
        return True

    eventually(all_counted, what="everything charged at every level")
    waits = sum(stack.stats("reeve_lease_waits_total").values())
    # A limit that is nearly used up is asked for again and again.
    served_to_tight_keys = [records(stack, f"&virtual_key_id={key['id']}") for key in keys[::TIGHT]]
    of_tight_keys = statuses[402] + sum(served_to_tight_keys)
    report("cold_start", {
        "keys": KEYS,
        "creating_keys_s": round(creating, 1),
        "envoy_start_to_last_key_s": round(starting, 1),
        "requests": sent,
        "requests_of_tight_keys": of_tight_keys,
        "waited_for_the_control_plane": waits,
        "waited_percent": round(100 * waits / sent, 3),
        "load": seen,
    })
    assert waits < sent / 100 + of_tight_keys


def create(stack: Stack) -> list[dict[str, Any]]:
    """Keys with customers and teams above them, in the order of their numbers."""
    teams = -(-KEYS // KEYS_OF_A_TEAM)
    customers = [
        stack.admin.create_customer(name=f"customer-{number}", budget=budget("customer"))
        for number in range(-(-teams // TEAMS_OF_A_CUSTOMER))
    ]

    def of_team(number: int) -> list[dict[str, Any]]:
        customer = customers[number // TEAMS_OF_A_CUSTOMER]
        first = number * KEYS_OF_A_TEAM
        numbers = range(first, min(first + KEYS_OF_A_TEAM, KEYS))
        with httpx.Client(base_url=stack.admin.http.base_url, timeout=10, trust_env=False) as http:

            def post(path: str, **fields: Any) -> Any:
                return http.post(f"/api/governance/{path}", json=fields).raise_for_status().json()

            fields = {"customer_id": customer["id"], "budget": budget("team")}
            team = post("teams", name=f"team-{number}", **fields)["team"]["id"]
            made = [post("virtual-keys", **key(team, number)) for number in numbers]
            return [answer["virtual_key"] for answer in made]

    with ThreadPoolExecutor(PARALLEL) as pool:
        return [made for of_one in pool.map(of_team, range(teams)) for made in of_one]


def key(team: str, number: int) -> dict[str, Any]:
    config = {"provider": "openai", "allowed_models": ["*"], "budget": budget("provider_config")}
    own = budget("virtual_key")
    if number % TIGHT == 0:
        own["max_limit"] = FEW_DOLLARS
    return {
        "name": f"key-{number}",
        "team_id": team,
        "budget": own,
        "provider_configs": [config],
    }


def budget(level: str) -> dict[str, Any]:
    return {"max_limit": DOLLARS[level], "reset_duration": "1M"}


def load(stack: Stack) -> dict[str, Any]:
    results = stack.directory / "load.json"
    command = [
        *(piece("REEVE_BENCH_BIN"), "load"),
        *("--to", f"127.0.0.1:{stack.port}"),
        *("--keys", str(stack.directory / "keys")),
        *("--rate", str(RATE)),
        *("--seconds", str(SECONDS)),
        *("--json", str(results)),
    ]
    subprocess.run(command, check=True, timeout=3 * SECONDS + 120)
    return json.loads(results.read_text())


def records(stack: Stack, of: str = "") -> int:
    """How many there are."""
    return stack.admin.get(f"/api/governance/usage/records?limit=1{of}")["total_count"]


def charged(stack: Stack) -> dict[str, int]:
    """Nano-dollars at each level; none has spent more than its budget."""
    sums = dict.fromkeys(DOLLARS, 0)

    def add(level: str, owner: dict[str, Any]) -> None:
        (only,) = owner["budgets"]
        used = nanos(only["current_usage"])
        assert used <= nanos(only["max_limit"])
        sums[level] += used

    for customer in everyone(stack, "customers"):
        add("customer", customer)
    for team in everyone(stack, "teams"):
        add("team", team)
    for virtual_key in everyone(stack, "virtual-keys"):
        add("virtual_key", virtual_key)
        (config,) = virtual_key["provider_configs"]
        add("provider_config", config)
    return sums


def everyone(stack: Stack, what: str) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        page = stack.admin.get(f"/api/governance/{what}?limit=500&offset={offset}")
        found = page[what.replace("-", "_")]
        yield from found
        offset += len(found)
        if not found:
            return
