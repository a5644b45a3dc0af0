"""Ports that no other test run on this machine is using."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

# Below the range that the kernel takes ports for outgoing connections from.
FIRST, LAST = 15_000, 31_999


class Ports:
    """Hands out ports and keeps them until `release`.

    A port that is free now may be taken a moment later, by another worker or another checkout that
    looks at the same moment. So each port has a lock file, which the kernel unlocks when its
    holder dies.
    """

    def __init__(self) -> None:
        self._locks: dict[int, int] = {}
        self._directory = Path(tempfile.gettempdir()) / f"reeve-test-ports-{os.getuid()}"
        self._directory.mkdir(mode=0o700, exist_ok=True)

    def take(self) -> int:
        for _ in range(1_000):
            port = random.randint(FIRST, LAST)
            if port not in self._locks and self._lock(port):
                return port
        raise RuntimeError(f"no free port between {FIRST} and {LAST}")

    def release(self) -> None:
        for lock in self._locks.values():
            os.close(lock)
        self._locks.clear()

    def _lock(self, port: int) -> bool:
        lock = os.open(self._directory / str(port), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            return False
        self._locks[port] = lock
        return True
