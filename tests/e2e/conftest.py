"""Fixtures: stacks that the tests of a worker share (`stack`, `providers`, `recording`, `bare_recording`), and
new ones for tests that break things (`new_stack`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

import raw
from bare_envoy import without_hardening
from llm import CHAT, chat_body
from providers import Providers
from recorder import RecordingStack
from stack import MissingPiece, Stack, forget_old_artifacts, piece

# Stacks whose logs explain a failure.
_running: list[Stack] = []


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    try:
        for variable in (
            "REEVE_BIN",
            "REEVE_BENCH_BIN",
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


@pytest.fixture(scope="session")
def _recording() -> Iterator[RecordingStack]:
    yield from _run(RecordingStack("recording"))


@pytest.fixture(scope="session")
def _bare_recording() -> Iterator[RecordingStack]:
    yield from _run(RecordingStack("bare", edit_served=without_hardening))


def _run(stack: RecordingStack) -> Iterator[RecordingStack]:
    with stack:
        _running.append(stack)
        yield stack
        _running.remove(stack)


@pytest.fixture
def recording(_recording: RecordingStack) -> Iterator[RecordingStack]:
    """A stack whose providers write down every byte, for tests that leave it as they found it."""
    yield from _unharmed(_recording)


@pytest.fixture
def bare_recording(_bare_recording: RecordingStack) -> Iterator[RecordingStack]:
    """The same, with an Envoy that does nothing for the filter's safety."""
    yield from _unharmed(_bare_recording)


def _unharmed(stack: RecordingStack) -> Iterator[RecordingStack]:
    """Whatever a test has sent: no VM died of it, and the next requests are served."""
    stack.envoy.assert_alive()
    stack.recorder.take()
    yield stack
    stack.envoy.assert_alive()
    assert stack.vm_reloads() == 0
    data = raw.request(
        CHAT.encode(),
        [(b"x-bf-vk", stack.open_key.encode())],
        json.dumps(chat_body("gpt-4o", text="still there?")).encode(),
    )
    for _ in range(4):  # both workers, most likely
        answer = raw.exchange(stack.port, data)
        assert answer is not None and answer.status == 200
    # What the test had sent may still be coming.
    arrived = [received for received in stack.recorder.take() if b"still there?" in received.body]
    assert len(arrived) == 4


@pytest.fixture(scope="session")
def _providers() -> Iterator[Providers]:
    with Stack("providers") as stack:
        _running.append(stack)
        stack.admin.enable_governance()
        # Failures of one test must not move the shares of the next.
        stack.admin.put("/api/config", {"client_config": {"adaptive_routing": False}})
        providers = Providers(stack)
        yield providers
        providers.close()
        _running.remove(stack)


@pytest.fixture
def providers(_providers: Providers) -> Providers:
    """Providers that can be made to fail, for tests that leave them as they found them."""
    _providers.reset()
    return _providers


@pytest.fixture
def new_stack(request: pytest.FixtureRequest) -> Iterator[Callable[..., Stack]]:
    """Makes stacks for this test alone; governance is on unless it says otherwise."""
    made: list[Stack] = []

    def make(
        *, kind: type[Stack] = Stack, governance: bool = True, started: bool = True, **options
    ) -> Stack:
        stack = kind(request.node.originalname.removeprefix("test_")[:60], **options)
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
