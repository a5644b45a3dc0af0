"""The real Envoy reads every bootstrap that Reeve ships, and finds nothing wrong with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from stack import Stack, piece

EXAMPLE = Path(__file__).resolve().parents[2] / "envoy" / "bootstrap.example.yaml"


def assert_envoy_accepts(bootstrap: str, stack: Stack, name: str) -> None:
    file = stack.directory / f"{name}.json"
    file.write_text(bootstrap)
    command = [piece("REEVE_ENVOY"), "--mode", "validate", "--config-path", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stdout
    assert "deprecated" not in done.stderr.lower(), done.stderr


def test_envoy_accepts_what_is_rendered_and_the_example(new_stack) -> None:
    stack = new_stack(started=False)
    stack.start_control_plane()
    rendered = (stack.data / "envoy" / "bootstrap.json").read_text()
    assert_envoy_accepts(rendered, stack, "rendered")

    lines = EXAMPLE.read_text().splitlines()
    example = "".join(line for line in lines if not line.lstrip().startswith("#"))
    example = example.replace("/usr/lib/reeve/reeve_filter.wasm", piece("REEVE_FILTER_WASM"))
    assert_envoy_accepts(example, stack, "example")
