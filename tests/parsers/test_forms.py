"""Whatever form we accept, no other reader finds another model, or other fields, than we do (R-30
of docs/red-team.md)."""

from __future__ import annotations

import itertools
import os
from base64 import b64decode
from collections import Counter
from collections.abc import Callable

import form_bodies
import form_readers
import pytest
from form_bodies import Form
from form_readers import Field, Fields
from go_forms import by_go
from judge import Question, Verdict, ask

UPSTREAM_MODEL = b"upstream-model"

BATCH = 10_000
BATCHES = int(os.environ.get("REEVE_PARSER_BATCHES", "2"))

READERS: dict[str, Callable[[Form], Fields | None]] = {
    "email": form_readers.by_email,
    "python-multipart": form_readers.by_python_multipart,
    "multipart": form_readers.by_multipart,
    "Go": by_go,
}


@pytest.mark.parametrize("name", form_bodies.attacks())
def test_an_attack_by_form_written_by_hand_is_refused_or_read_alike_by_all(name):
    form, may_be_accepted = form_bodies.attacks()[name]
    [verdict] = judged([form])

    assert verdict.accepted == may_be_accepted, verdict.error
    compare([form], [verdict])


@pytest.mark.parametrize("seed", range(BATCHES))
def test_no_reader_finds_another_form_in_one_that_is_accepted(seed):
    forms = list(itertools.islice(form_bodies.generated(seed), BATCH))
    verdicts = judged(forms)

    refusals = compare(forms, verdicts)

    accepted = sum(verdict.accepted for verdict in verdicts)
    assert 0.1 * BATCH < accepted < 0.8 * BATCH
    assert len({verdict.error for verdict in verdicts}) > 20
    # Node's own reader is stricter than we are: it wants a space behind each semicolon, and gives
    # up where the boundary stands in a value without its hyphens.
    assert set(refusals) <= {"fetch"} and refusals["fetch"] < 0.1 * accepted, refusals


def judged(forms: list[Form]) -> list[Verdict]:
    return ask([Question("transcriptions", *form) for form in forms])


def compare(forms: list[Form], verdicts: list[Verdict]) -> Counter[str]:
    """Who accepts what we accept reads what we read. Gives how often each refused it."""
    accepted = [
        (form, verdict) for form, verdict in zip(forms, verdicts, strict=True) if verdict.accepted
    ]
    forwarded = [Form(form.content_type, verdict.forwarded) for form, verdict in accepted]
    everything = [form for form, _ in accepted] + forwarded
    by_fetch = form_readers.by_fetch(everything)
    by_busboy = form_readers.by_busboy(everything)
    refusals = Counter()
    for index, (form, verdict) in enumerate(accepted):
        ours = [
            (name, is_file, b64decode(value)) for name, is_file, value in verdict.facts["parts"]
        ]
        sent = [
            (name, is_file, UPSTREAM_MODEL if name == "model" else value)
            for name, is_file, value in ours
        ]
        check_facts(verdict, ours)
        for fields, of, place in (
            (ours, form, index),
            (sent, forwarded[index], index + len(accepted)),
        ):
            theirs = {name: read(of) for name, read in READERS.items()}
            theirs |= {"fetch": by_fetch[place], "busboy": by_busboy[place]}
            for reader, found in theirs.items():
                if found is None:
                    refusals[reader] += 1
                    continue
                shown = (reader, of.content_type, of.body[:2000], found)
                assert [seen_by(reader, field) for field in fields] == [
                    seen_by(reader, field) for field in found
                ], shown
    return refusals


def check_facts(verdict: Verdict, ours: Fields) -> None:
    values = {name: value for name, _, value in ours}
    assert verdict.facts["model"].encode() == values["model"]
    assert verdict.facts["stream"] == (values.get("stream") == b"true")
    assert verdict.facts["choices"] == int(values.get("n", b"1"))


def seen_by(reader: str, field: Field) -> tuple[str, bool | None, bytes | None]:
    """A field as far as it decides something, after what is known of the reader's habits."""
    name, is_file, value = field
    if reader in ("fetch", "multipart"):
        # What browsers write for characters that would end a name.
        name = name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
    if reader == "busboy":
        # It cuts names; no governed one is so long.
        name = name[:100]
    if name in form_bodies.GOVERNED:
        return name, is_file, value
    if reader in ("fetch", "busboy") and not is_file:
        # Text, decoded by a character set; and to busboy some types make a file of it.
        return name, None, None
    if reader in ("busboy", "email"):
        # To email a message within a message is no value.
        return name, None, None
    return name, is_file, value
