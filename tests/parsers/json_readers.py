"""Other readers of JSON, each as lax as the real thing: what they take for the members of a body.

Each gives the members by the names that matter to it, or `None` when it refuses the body.
"""

from __future__ import annotations

import json
import subprocess
import unicodedata
from collections.abc import Callable, Iterable

from judge import program

Members = dict[str, object]
Pairs = list[tuple[str, object]]


def python(body: bytes) -> Members | None:
    """The standard library's: the last of two names wins; UTF-16 and NaN are fine."""
    return _members(body, dict)


def first_wins(body: bytes) -> Members | None:
    """As readers that search for a name from the front, such as RapidJSON."""

    def first(pairs: Pairs) -> Members:
        members: Members = {}
        for name, value in pairs:
            members.setdefault(name, value)
        return members

    return _members(body, first)


def go(names: Iterable[str]) -> Callable[[bytes], Members | None]:
    """Go's encoding/json into a struct: names match without regard to case, by Unicode's simple
    folding; the last one wins, but null changes nothing; a Decoder ignores what follows."""
    by_folded = {name.casefold(): name for name in names}

    def matched(pairs: Pairs) -> Members:
        members: Members = {}
        for name, value in pairs:
            field = by_folded.get(_simply_folded(name), name)
            if value is not None or field not in members:
                members[field] = value
        return members

    def read(body: bytes) -> Members | None:
        text = body.decode("utf-8", errors="replace").lstrip(" \t\r\n")
        try:
            value, _ = json.JSONDecoder(object_pairs_hook=matched).raw_decode(text)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    return read


def letters_only(names: Iterable[str]) -> Callable[[bytes], Members | None]:
    """The laxest there could be: compatibility characters, case, punctuation and characters that
    cannot be seen make no difference, as if every framework's habits were one."""
    by_letters = {_letters(name): name for name in names}

    def matched(pairs: Pairs) -> Members:
        return {by_letters.get(_letters(name), name): value for name, value in pairs}

    return lambda body: _members(body, matched)


def node(bodies: list[bytes]) -> list[Members | None]:
    """JSON.parse, of the text that fetch makes of a body."""
    lines = _node("json", bodies)
    return [json.loads(line) for line in lines]


def _members(body: bytes, hook: Callable[[Pairs], Members]) -> Members | None:
    try:
        value = json.loads(body, object_pairs_hook=hook)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _simply_folded(name: str) -> str:
    """Character by character: the long s is an s, the sign for kelvin is a k."""
    folded = (character.casefold() for character in name)
    return "".join(new if len(new) == 1 else old for old, new in zip(name, folded, strict=True))


def _letters(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in plain if character.isalnum())


def _node(mode: str, pieces: list[bytes]) -> list[bytes]:
    framed = b"".join(len(piece).to_bytes(4, "big") + piece for piece in pieces)
    command = ["node", program("REEVE_NODE_READER"), mode]
    done = subprocess.run(command, input=framed, stdout=subprocess.PIPE, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(pieces)
    return lines
