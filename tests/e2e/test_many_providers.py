"""Many providers with many keys, and changes of them under load.

Small here; `make bench` takes 200 providers with 10 keys each and 500 requests a second (docs/performance.md).
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kills import distribution
from process import Process
from report import report
from stack import KeyInForce, Stack, piece
from waiting import eventually

PROVIDERS = int(os.environ.get("REEVE_PROVIDERS", "12"))
KEYS = int(os.environ.get("REEVE_PROVIDER_KEYS", "3"))
RATE = int(os.environ.get("REEVE_PROVIDERS_RATE", "100"))
SECONDS = int(os.environ.get("REEVE_PROVIDERS_SECONDS", "5"))


@pytest.fixture
def quick(new_stack) -> Stack:
    """A stack with a provider that is as quick as the load is."""
    stack: Stack = new_stack(started=False)
    upstream = [piece("REEVE_BENCH_BIN"), "upstream", "--port", str(stack.demo_port)]
    stack.demo_process.command = upstream
    stack.start()
    stack.admin.enable_governance()
    return stack


@pytest.mark.timeout(240 + PROVIDERS * KEYS // 5 + 5 * SECONDS)
def test_many_providers_fit_and_no_change_under_load_fails_a_request(quick: Stack) -> None:
    stack = quick
    key = stack.key(allow_all_providers=True)
    before = memory(stack)
    took: dict[str, list[float]] = {"added": [], "key_added": [], "rotated": [], "removed": []}
    begun = time.monotonic()
    made = [create(stack, number, took) for number in range(PROVIDERS)]
    figures: dict[str, Any] = {
        "providers": PROVIDERS,
        "keys_of_each": KEYS,
        "creating_s": round(time.monotonic() - begun, 1),
        "memory_mb_before": before,
        "memory_mb": memory(stack),
        "clusters": clusters(stack),
    }
    loaded = under_load(stack, key, made, took)
    figures["load"] = loaded
    figures["in_force_ms"] = {what: distribution(times) for what, times in took.items()}
    assert set(loaded["statuses"]) == {"200"}, loaded["statuses"]

    # An Envoy that starts gets all of it before it serves.
    stack.envoy.kill()
    begun = time.monotonic()
    stack.envoy.start()
    stack.await_envoy()
    figures["envoy_start_to_ready_s"] = round(time.monotonic() - begun, 2)
    eventually(lambda: clusters(stack) == figures["clusters"], what="all clusters again")
    figures["envoy_memory_mb_after_a_start"] = resident(stack.envoy)
    report("many_providers", figures)


def create(stack: Stack, number: int, took: dict[str, list[float]]) -> str:
    """A provider, and then the rest of its keys. Gives the id of its last one."""
    name = f"provider-{number}"
    timed(took["added"], lambda: stack.admin.create_provider(name, stack.demo.url, key="sk-0"))
    last = ""
    for count in range(1, KEYS):
        body = {"name": f"key-{count}", "value": f"sk-{count}"}
        path = f"/api/providers/{name}/keys"
        last = timed(took["key_added"], lambda: stack.admin.post(path, body))["key"]["id"]  # noqa: B023
    return last


def under_load(
    stack: Stack, key: KeyInForce, last_keys: list[str], took: dict[str, list[float]]
) -> dict[str, Any]:
    """Keys are rotated, and a provider comes and goes, for as long as the load lasts."""
    (stack.directory / "keys").write_text(key.value)
    results = stack.directory / "load.json"
    command = [
        *(piece("REEVE_BENCH_BIN"), "load"),
        *("--to", f"127.0.0.1:{stack.port}"),
        *("--keys", str(stack.directory / "keys")),
        *("--rate", str(RATE)),
        *("--seconds", str(SECONDS)),
        *("--json", str(results)),
    ]
    done = threading.Event()

    def load() -> None:
        try:
            subprocess.run(command, check=True, timeout=3 * SECONDS + 120)
        finally:
            done.set()

    thread = threading.Thread(target=load)
    thread.start()
    rounds = 0
    while not done.is_set():
        number = rounds % len(last_keys)
        path = f"/api/providers/provider-{number}/keys/{last_keys[number]}"
        body = {"value": f"sk-rotated-{rounds}"}
        timed(took["rotated"], lambda: stack.admin.put(path, body))  # noqa: B023
        of_the_load = stack.admin.get("/api/providers/openai/keys")["keys"][0]["id"]
        path = f"/api/providers/openai/keys/{of_the_load}"
        timed(took["rotated"], lambda: stack.admin.put(path, body))  # noqa: B023
        name = "comes-and-goes"
        timed(took["added"], lambda: stack.admin.create_provider(name, stack.demo.url))
        timed(took["removed"], lambda: stack.admin.delete(f"/api/providers/{name}"))
        rounds += 1
    thread.join()
    assert rounds > 1
    return json.loads(results.read_text()) | {"rounds_of_changes": rounds}


def timed(times: list[float], change: Callable[[], Any]) -> Any:
    """A change is in force when it is answered."""
    begun = time.monotonic()
    answer = change()
    times.append(time.monotonic() - begun)
    return answer


def clusters(stack: Stack) -> int:
    return stack.stats("cluster_manager.active_clusters")["cluster_manager.active_clusters"]


def memory(stack: Stack) -> dict[str, float]:
    return {"envoy": resident(stack.envoy), "control_plane": resident(stack.control_plane)}


def resident(process: Process) -> float:
    """Resident memory in MB."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise AssertionError("no VmRSS")
