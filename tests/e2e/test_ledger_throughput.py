"""The benchmark of the ledger runs, and its books agree. What it measures: docs/performance.md."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ports import Ports
from process import Process
from stack import INHERITED, piece
from waiting import eventually


def test_everything_that_the_ledger_acknowledges_is_stored_and_charged_once(tmp_path: Path) -> None:
    """The program compares what was acknowledged with what is there, and fails if they differ."""
    figures = tmp_path / "figures.json"
    ports = Ports()
    command = [
        *(piece("REEVE_BENCH_BIN"), "ledger"),
        *("--reeve", piece("REEVE_BIN")),
        *("--directory", str(tmp_path)),
        *("--http-port", str(ports.take())),
        *("--grpc-port", str(ports.take())),
        *("--keys", "40"),
        *("--rounds", "1"),
        *("--seconds", "1"),
        *("--json", str(figures)),
    ]
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    bench = Process("bench", command, environment, tmp_path / "log")
    try:
        bench.start()
        eventually(lambda: not bench.alive(), 120, "the end of the benchmark")
        assert bench.exit_code() == 0, bench.tail()
    finally:
        # And the control plane that it has started.
        bench.stop()
        ports.release()
    (round_of_it,) = json.loads(figures.read_text())["rounds"]
    assert round_of_it["usage"]["events"] > 0
    assert round_of_it["asks"]["asks_per_second"] > 0
