"""The real Envoy reads every configuration that Reeve ships, and finds nothing wrong with it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bare_envoy import Json, manager_with_routes
from stack import Stack, piece

EXAMPLE = Path(__file__).resolve().parents[2] / "envoy" / "bootstrap.example.yaml"


def assert_envoy_accepts(bootstrap: Json, stack: Stack, name: str) -> None:
    clusters = json.loads((stack.data / "envoy" / "clusters.json").read_text())["resources"]
    assert len(clusters) >= 5
    for cluster in clusters:
        # Envoy validates what it is given at once, not what it would fetch.
        del cluster["@type"]
    manager_with_routes(bootstrap)
    del bootstrap["dynamic_resources"]
    bootstrap["static_resources"]["clusters"] += clusters
    file = stack.directory / f"{name}.json"
    file.write_text(json.dumps(bootstrap))
    command = [piece("REEVE_ENVOY"), "--mode", "validate", "--config-path", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stdout
    assert "deprecated" not in done.stderr.lower(), done.stderr


def test_envoy_accepts_what_is_rendered_and_the_example(new_stack) -> None:
    """With providers by name and by address, of both families."""
    stack = new_stack(started=False)
    stack.start_control_plane()
    for name, url in (
        ("by-name", "https://api.example.com"),
        ("by-address", "https://127.0.0.1:8443"),
        ("by-long-address", "https://[::1]"),
    ):
        stack.admin.create_provider(name, url)
    rendered = (stack.data / "envoy" / "bootstrap.json").read_text()
    assert_envoy_accepts(json.loads(rendered), stack, "rendered")

    lines = EXAMPLE.read_text().splitlines()
    example = "".join(line for line in lines if not line.lstrip().startswith("#"))
    example = example.replace("/usr/lib/reeve/reeve_filter.wasm", piece("REEVE_FILTER_WASM"))
    example = example.replace("/var/lib/reeve/envoy", str(stack.data / "envoy"))
    assert_envoy_accepts(json.loads(example), stack, "example")
