"""Figures of a test that also measures: for `make bench`, which says where they go."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def report(name: str, figures: dict[str, Any]) -> None:
    text = json.dumps(figures, indent=2)
    print(f"{name}: {text}")
    if directory := os.environ.get("REEVE_BENCH_RESULTS"):
        (Path(directory) / f"{name}.json").write_text(f"{text}\n")
