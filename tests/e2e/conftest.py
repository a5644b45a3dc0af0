"""Fixtures: a stack shared by the tests of a worker, and fresh ones for those that break things."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from stack import MissingPiece, Stack, forget_old_artifacts, piece

# Stacks whose logs explain a failure.
_running: list[Stack] = []


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    try:
        for variable in (
            "REEVE_BIN",
            "REEVE_ENVOY",
            "REEVE_FILTER_WASM",
            "REEVE_FILTER_FAULT_WASM",
        ):
            piece(variable)
    except MissingPiece as missing:
        raise pytest.UsageError(str(missing)) from None
    forget_old_artifacts()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.failed:
        for stack in _running:
            report.sections += stack.report()
    return report


@pytest.fixture(scope="session")
def _shared() -> Iterator[Stack]:
    with Stack("shared") as stack:
        stack.admin.enable_governance()
        _running.append(stack)
        yield stack
        _running.remove(stack)


@pytest.fixture
def stack(_shared: Stack) -> Stack:
    """A stack with governance on, for tests that leave it as they found it."""
    for process in (_shared.envoy, _shared.control_plane, _shared.demo_process):
        process.assert_alive()
    _shared.demo.reset()
    return _shared


@pytest.fixture
def new_stack(request: pytest.FixtureRequest) -> Iterator[Callable[..., Stack]]:
    """Makes stacks for this test alone; governance is on unless it says otherwise."""
    made: list[Stack] = []

    def make(*, governance: bool = True, started: bool = True, **options) -> Stack:
        stack = Stack(request.node.originalname.removeprefix("test_")[:60], **options)
        made.append(stack)
        _running.append(stack)
        if started:
            stack.start()
            if governance:
                stack.admin.enable_governance()
        return stack

    yield make
    failures = []
    for stack in made:
        _running.remove(stack)
        try:
            stack.stop()
            stack.assert_clean()
        except AssertionError as failure:
            failures.append(failure)
    if failures:
        raise failures[0]
