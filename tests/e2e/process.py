"""One process of a stack: started, watched, stopped, killed, with its output in a file."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from waiting import PATIENCE, eventually


PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_the_tests() -> None:
    """Runs in the child: should the test run be killed, nothing is left behind."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A process of its own session, so that what it starts can be found and ended with it."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert not self.alive(), f"{self.name} is running already"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_the_tests,
            )

    def exit_code(self) -> int:
        assert self._process is not None and not self.alive()
        return self._process.returncode

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def assert_alive(self) -> None:
        if not self.alive():
            code = self._process.returncode if self._process else "never started"
            raise RuntimeError(f"{self.name} is not running ({code})\n{self.tail()}")

    def kill(self) -> None:
        """SIGKILL: no chance to say goodbye."""
        self._signal(signal.SIGKILL)
        self._wait(PATIENCE)

    def terminate(self, within: float = PATIENCE) -> int:
        """SIGTERM, and the exit code. Not being done in time is a failure."""
        self._signal(signal.SIGTERM)
        return self._wait(within)

    def suspend(self) -> None:
        """SIGSTOP: it hangs, with its connections open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends it one way or the other, and whatever it has started."""
        if self._process is None:
            return
        if self.alive():
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        for pid in self._left():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._process.wait(PATIENCE)

    def assert_gone(self) -> None:
        """Neither it nor anything it started is left."""
        if self._process is not None:
            eventually(lambda: not self._left(), what=f"the end of {self.name} and its children")

    def text(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.text().splitlines()[-lines:])

    def _signal(self, number: int) -> None:
        self.assert_alive()
        os.kill(self.pid, number)

    def _wait(self, within: float) -> int:
        assert self._process is not None
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"{self.name} still runs {within:g} s later") from late

    def _left(self) -> list[int]:
        """Processes of the session that was begun for it: it, and all that it started."""
        assert self._process is not None
        self._process.poll()
        if not Path("/proc/self/stat").exists():
            # Only the process group can be asked for.
            try:
                os.killpg(self.pid, 0)
            except (ProcessLookupError, PermissionError):
                return []
            return [self.pid]
        return [pid for pid, session in sessions() if session == self.pid]


def sessions() -> Iterator[tuple[int, int]]:
    """Every process that runs, and its session."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in brackets, may hold anything; what follows it is plain.
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if state not in "ZX":
            yield int(stat.parent.name), int(session)
