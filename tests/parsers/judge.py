"""Asks the example `judge_bodies` of the crate reeve-llm what we make of bodies."""

from __future__ import annotations

import base64
import json
import os
import struct
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A body, for an API; `behind` is the model in the path or the content type of a form."""

    api: str
    behind: str
    body: bytes

    def framed(self) -> bytes:
        head = f"{self.api} {self.behind}".encode()
        pieces = (head, self.body)
        return b"".join(struct.pack(">I", len(piece)) + piece for piece in pieces)


@dataclass(frozen=True)
class Verdict:
    """What was read from an accepted body; `error` says why it was refused."""

    error: str | None
    facts: dict
    forwarded: bytes

    @property
    def accepted(self) -> bool:
        return self.error is None


def program(variable: str) -> str:
    """A program that scripts/unit.sh names."""
    path = os.environ.get(variable)
    assert path, f"{variable} must name a program; scripts/unit.sh sets it"
    return path


def ask(questions: list[Question]) -> list[Verdict]:
    framed = b"".join(question.framed() for question in questions)
    command = [program("REEVE_JUDGE_BODIES")]
    done = subprocess.run(command, input=framed, stdout=subprocess.PIPE, check=True)
    verdicts = [_verdict(json.loads(line)) for line in done.stdout.splitlines()]
    assert len(verdicts) == len(questions)
    return verdicts


def _verdict(line: dict) -> Verdict:
    if not line.pop("accepted"):
        return Verdict(line["error"], {}, b"")
    return Verdict(None, line, base64.b64decode(line.pop("forwarded")))
