"""The demo provider's own account of what it served, to compare a ledger with."""

from __future__ import annotations

from typing import Any

import httpx

# The demo provider's rule: a token is four bytes of ASCII, the last one may be shorter.
TOKEN_BYTES = 4


def count_tokens(text: str) -> int:
    assert text.isascii()
    return -(-len(text) // TOKEN_BYTES)


def answer_text(model: str, asked: str, provider: str = "demo") -> str:
    """What the demo provider says to `asked` when nothing steers it."""
    return f'This is the demo provider "{provider}" answering as {model}. You wrote: {asked}'


class Demo:
    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=10, trust_env=False)

    def close(self) -> None:
        self.http.close()

    def reset(self) -> None:
        self.http.post("/_demo/reset").raise_for_status()

    def stats(self) -> dict[str, Any]:
        return self.http.get("/_demo/stats").raise_for_status().json()

    def requests(self) -> int:
        """Calls of a model that reached it since the last reset."""
        return self.stats()["requests"]

    def served(self, model: str) -> dict[str, int]:
        nothing = {"requests": 0, "input_tokens": 0, "output_tokens": 0}
        return self.stats()["models"].get(model, nothing)

    def nothing_arrived(self) -> bool:
        """Nothing at all since the last reset, whatever it might have been for."""
        return self.http.get("/_demo/last").status_code == 404

    def last(self) -> dict[str, Any]:
        """The last request as it arrived."""
        return self.http.get("/_demo/last").raise_for_status().json()

    def last_headers(self) -> dict[str, list[str]]:
        headers: dict[str, list[str]] = {}
        for name, value in self.last()["headers"]:
            headers.setdefault(name, []).append(value)
        return headers
