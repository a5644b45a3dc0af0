"""The benchmark of the ledger runs, and its books agree. What it measures: docs/performance.md."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from stack import piece


def test_everything_that_the_ledger_acknowledges_is_stored_and_charged_once(tmp_path: Path) -> None:
    """The program compares what was acknowledged with what is there, and fails if they differ."""
    figures = tmp_path / "figures.json"
    command = [
        *(piece("REEVE_BENCH_BIN"), "ledger"),
        *("--reeve", piece("REEVE_BIN")),
        *("--directory", str(tmp_path)),
        *("--keys", "40"),
        *("--rounds", "1"),
        *("--seconds", "1"),
        *("--json", str(figures)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    (round_of_it,) = json.loads(figures.read_text())["rounds"]
    assert round_of_it["usage"]["events"] > 0
    assert round_of_it["asks"]["asks_per_second"] > 0
