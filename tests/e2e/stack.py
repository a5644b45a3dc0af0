"""A whole Reeve on ports of its own: demo provider, control plane, Envoy.

Each is a process of its own here, so that a test can kill one of them. (`reeve up`, which runs them
together, is tested in test_quick_start.py.)
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from admin import Admin
from demo import Demo
from llm import Caller
from ports import Ports
from process import Process
from served import Json, Served, served
from waiting import PATIENCE, eventually

ARTIFACTS = Path(__file__).resolve().parent.parent / ".artifacts"
# What a test may expect of the environment it was started in; everything else stays out of the
# stack, above all the developer's real provider keys.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "RUST_BACKTRACE", "LLVM_PROFILE_FILE")
WORKERS = 2
DEMO_KEY_OF_ENVOY = "demo"

_numbers = itertools.count(1)


def forget_old_artifacts() -> None:
    """Removes the logs of runs that are over."""
    for directory in ARTIFACTS.glob("*-*-*"):
        pid = directory.name.split("-")[-2]
        if pid.isdigit():
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                shutil.rmtree(directory, ignore_errors=True)
            except PermissionError:
                pass


class MissingPiece(RuntimeError):
    """The tests were started without something they test."""


def piece(variable: str) -> str:
    """The path in an environment variable, which must name a file."""
    path = os.environ.get(variable, "")
    if not path:
        raise MissingPiece(f"{variable} is not set. `make e2e` builds what is tested and sets it.")
    if not Path(path).is_file():
        raise MissingPiece(f"{variable}={path} is not a file. `make e2e` builds it.")
    return str(Path(path).resolve())


def stats(envoy_admin: httpx.Client, of: str) -> dict[str, int]:
    """An Envoy's counters and gauges whose name contains `of`."""
    answer = envoy_admin.get("/stats", params={"format": "json", "filter": of})
    listed = answer.raise_for_status().json()["stats"]
    return {entry["name"]: entry["value"] for entry in listed if "value" in entry}


class Stack:
    """Made, started, used, stopped. As a context manager it starts and stops itself."""

    def __init__(
        self,
        name: str,
        *,
        dev: bool = True,
        filter_wasm: str = "REEVE_FILTER_WASM",
        environment: Mapping[str, str] | None = None,
        edit_bootstrap: Callable[[Json], None] | None = None,
        edit_served: Callable[[Json, Served], None] | None = None,
    ) -> None:
        """`edit_bootstrap` changes what the control plane has rendered, before Envoy reads it.

        `edit_served` may write into it what Envoy would get from the control plane.
        """
        # With the process id, so that two runs in one checkout keep their logs apart.
        self.name = f"{name}-{os.getpid()}-{next(_numbers)}"
        self.ports = Ports()
        self.port = self.ports.take()
        self.http_port = self.ports.take()
        self.grpc_port = self.ports.take()
        self.envoy_admin_port = self.ports.take()
        self.demo_port = self.ports.take()
        self.url = f"http://127.0.0.1:{self.port}"
        # The path of a test's temporary directory may be longer than SQLite or a socket likes.
        self.directory = Path(tempfile.mkdtemp(prefix="reeve-e2e-"))
        self.data = self.directory / "data"
        self.logs = ARTIFACTS / self.name
        self.logs.mkdir(parents=True)
        self.reloads_expected = False

        self.environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        self.environment |= {
            "REEVE_PORT": str(self.port),
            "REEVE_HTTP_PORT": str(self.http_port),
            "REEVE_GRPC_PORT": str(self.grpc_port),
            "REEVE_ENVOY_ADMIN_PORT": str(self.envoy_admin_port),
            "REEVE_DEMO_PORT": str(self.demo_port),
            "REEVE_DATA_DIR": str(self.data),
            "REEVE_ENVOY_CONCURRENCY": str(WORKERS),
            "REEVE_FILTER_WASM": piece(filter_wasm),
        }
        self.environment |= environment or {}

        reeve = piece("REEVE_BIN")
        serve = [reeve, "serve", *(["--dev"] if dev else [])]
        self.edit_bootstrap = edit_bootstrap
        self.edit_served = edit_served
        self._bootstrap = self.directory / "bootstrap.json"
        self.demo_process = self._process("demo-provider", [reeve, "demo-provider"])
        self.control_plane = self._process("control-plane", serve)
        self.envoy = self._process(
            "envoy",
            [
                piece("REEVE_ENVOY"),
                *("--config-path", str(self._bootstrap)),
                *("--concurrency", str(WORKERS)),
                # Its access log is there when a test looks for it.
                *("--file-flush-interval-msec", "20"),
                # Several Envoys on one machine share no memory of each other.
                "--disable-hot-restart",
                *("--log-level", "info"),
            ],
        )
        self.demo = Demo(self.demo_port, "demo")
        # Straight to the control plane: there when Envoy is not.
        self.admin = Admin(f"http://127.0.0.1:{self.http_port}")
        self.envoy_admin = httpx.Client(
            base_url=f"http://127.0.0.1:{self.envoy_admin_port}", timeout=10, trust_env=False
        )
        self._probe = httpx.Client(timeout=2, trust_env=False)
        self.more_processes: list[Process] = []

    def __enter__(self) -> Stack:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        if kind is None:
            self.assert_clean()

    # ---- life

    def start(self) -> None:
        self.start_demo()
        self.start_control_plane()
        self.start_envoy()

    def start_demo(self) -> None:
        self.demo_process.start()
        self._until(self.demo_process, f"{self.demo.url}/_demo/stats", "the demo provider")

    def start_control_plane(self) -> None:
        self.control_plane.start()
        self._until(
            self.control_plane, f"http://127.0.0.1:{self.http_port}/readyz", "the control plane"
        )

    def start_envoy(self) -> None:
        self.start_envoy_without_policy()
        self.await_policy()

    def start_envoy_without_policy(self) -> None:
        """Envoy answers; what it knows of policy is another matter."""
        self.write_bootstrap()
        self.envoy.start()
        self.await_envoy()

    def await_envoy(self) -> None:
        """It has its configuration, and listens."""
        ready = f"http://127.0.0.1:{self.envoy_admin_port}/ready"
        self._until(self.envoy, ready, "Envoy")

    def write_bootstrap(self) -> None:
        """What Envoy will read: what the control plane has rendered, and then edited."""
        bootstrap = json.loads((self.data / "envoy" / "bootstrap.json").read_text())
        if self.edit_served is not None:
            self.edit_served(bootstrap, self._served(bootstrap))
        if self.edit_bootstrap is not None:
            self.edit_bootstrap(bootstrap)
        self._bootstrap.write_text(json.dumps(bootstrap))

    def _served(self, bootstrap: Json) -> Served:
        """What an Envoy with this bootstrap is given."""
        self._bootstrap.write_text(json.dumps(bootstrap))
        self.envoy.start()
        self.await_envoy()
        found = served(self.envoy_admin)
        self.envoy.terminate()
        return found

    def await_policy(self, within: float = PATIENCE) -> None:
        """The filter has policy: it judges requests instead of refusing them all."""

        def judged() -> bool:
            response = self.caller().post("/v1/chat/completions", {})
            assert response.status_code != 503, response.text
            return True

        eventually(judged, within, "policy in Envoy")

    def stop(self) -> None:
        """Ends what this stack has started, and nothing else."""
        if self.envoy.alive():
            self._save_stats()
        processes = [self.envoy, self.control_plane, self.demo_process, *self.more_processes]
        for process in processes:
            process.stop()
        for process in processes:
            process.assert_gone()
        for client in (self.admin, self.demo, self.envoy_admin, self._probe):
            client.close()
        self.ports.release()
        shutil.rmtree(self.directory, ignore_errors=True)

    def assert_clean(self) -> None:
        """No VM died, unless the test killed one, and the filter asked its host for nothing wrong."""
        assert "hostcall failed" not in self.envoy.text(), self.envoy.tail()
        stats = self._last_stats
        reloads = {name: count for name, count in stats.items() if "vm_reload" in name and count}
        if not self.reloads_expected:
            assert not reloads, f"a filter VM died: {reloads}\n{self.envoy.tail()}"

    _last_stats: dict[str, int] = {}

    def _save_stats(self) -> None:
        try:
            self._last_stats = self.stats("wasm")
        except httpx.HTTPError:
            pass

    # ---- looking inside

    def stats(self, of: str = "") -> dict[str, int]:
        """Envoy's counters and gauges whose name contains `of`."""
        return stats(self.envoy_admin, of)

    def access_log(self, request_id: str, within: float = PATIENCE) -> dict[str, Any]:
        """The line that Envoy has written about a request."""

        def written() -> dict[str, Any] | None:
            lines = self.access_log_lines()
            return next((line for line in lines if line.get("request_id") == request_id), None)

        return eventually(written, within, "the request's line in the access log")

    def access_log_lines(self) -> list[dict[str, Any]]:
        lines = self.envoy.text().splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"')]

    def vm_reloads(self) -> int:
        return sum(count for name, count in self.stats("vm_reload").items())

    def caller(self, key: str | None = None, **headers: str) -> Caller:
        """A client of the LLM APIs that holds `key`."""
        return Caller(self.url, key, headers)

    def key(self, **fields: Any) -> KeyInForce:
        """Creates a virtual key and waits until Envoy knows it."""
        fields.setdefault("name", self.unique("key"))
        if "allow_all_providers" not in fields:
            fields.setdefault("provider_configs", [{"provider": "openai", "allowed_models": ["*"]}])
        made = self.admin.create_key(**fields)
        self.await_key(made["value"])
        return KeyInForce(made["id"], made["value"], made)

    def unique(self, kind: str) -> str:
        """A name that nothing else in this stack has."""
        return f"{kind}-{next(_numbers)}"

    def eventually_refused(
        self, key: KeyInForce, status: int, within: float = PATIENCE
    ) -> httpx.Response:
        """The first answer to the key that has this status, which a change of policy causes."""

        def refused() -> list[httpx.Response]:
            response = self.caller(key.value).chat()
            assert response.status_code == status, f"{response.status_code} {response.text}"
            return [response]

        return eventually(refused, within, f"a refusal with {status}")[0]

    def await_key(self, value: str, within: float = PATIENCE) -> None:
        """Envoy knows the key. (A body is judged after the key, so an empty one charges nothing.)"""

        def known() -> bool:
            response = self.caller(value).post("/v1/chat/completions", {})
            assert response.status_code not in (401, 503), response.text
            return True

        eventually(known, within, "the key in force")

    def another_demo(self, name: str) -> Demo:
        """A second demo provider, stopped with the stack."""
        port = self.ports.take()
        process = self._process(
            f"demo-provider-{name}", [piece("REEVE_BIN"), "demo-provider", "--name", name]
        )
        process.environment["REEVE_DEMO_PORT"] = str(port)
        self.more_processes.append(process)
        process.start()
        demo = Demo(port, name)
        self._until(process, f"{demo.url}/_demo/stats", f"the demo provider {name}")
        return demo

    def report(self, lines: int = 40) -> list[tuple[str, str]]:
        """The ends of the logs, for the report of a test that failed."""
        processes = [self.envoy, self.control_plane, self.demo_process, *self.more_processes]
        return [(f"{self.name}: {p.name} ({p.log})", p.tail(lines)) for p in processes]

    # ----

    def _process(self, name: str, command: list[str]) -> Process:
        return Process(name, command, self.environment, self.logs / f"{name}.log")

    def _until(self, process: Process, url: str, what: str, within: float = PATIENCE) -> None:
        def answers() -> bool:
            process.assert_alive()
            try:
                return self._probe.get(url).status_code == 200
            except httpx.TransportError:
                return False

        eventually(answers, within, f"{what} to be ready")


class KeyInForce:
    """A virtual key that Envoy knows."""

    def __init__(self, key_id: str, value: str, made: dict[str, Any]) -> None:
        self.id = key_id
        self.value = value
        self.made = made
