"""Waiting for something to become true, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.02
# In seconds. Longer than anything takes that is to come: no test judges how quick a machine is.
PATIENCE = 30.0


def eventually(probe: Callable[[], T], within: float = PATIENCE, what: str = "") -> T:
    """Calls `probe` until it gives something true, and returns that.

    An assertion that fails inside `probe` counts as "not yet"; the last one is what the test fails
    with when the time is over.
    """
    deadline = time.monotonic() + within
    while True:
        failure: AssertionError | None = None
        result = None
        try:
            result = probe()
        except AssertionError as not_yet:
            failure = not_yet
        if result:
            return result
        if time.monotonic() >= deadline:
            message = f"{what or 'the condition'} did not hold within {within:g} s"
            raise AssertionError(f"{message}; last: {failure or result!r}") from failure
        time.sleep(PAUSE)


def stays(probe: Callable[[], bool], during: float, what: str = "") -> None:
    """Asserts that `probe` is true the whole time: for what must not happen."""
    deadline = time.monotonic() + during
    while time.monotonic() < deadline:
        assert probe(), f"{what or 'the condition'} stopped holding"
        time.sleep(PAUSE)
