"""Forms to judge: attacks written by hand, and forms made by a grammar with mistakes in it."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

NAMES = ("model", "stream", "n", "prompt", "file", "image[]", "language", "response_format")

GOVERNED = ("model", "stream", "n")
"""Fields whose values are judged."""


class Form(NamedTuple):
    content_type: str
    body: bytes


@functools.cache
def attacks() -> dict[str, tuple[Form, bool]]:
    """Forms for transcriptions by what they try, and whether they may be accepted (in which case
    everybody must read them alike)."""
    model, other = _field("model", "whisper-1"), _field("model", "gpt-4o-transcribe")
    file = _part(
        'form-data; name="file"; filename="a.mp3"', "ID3\x04\r\n--x", "Content-Type: audio/mpeg"
    )
    large = _part('form-data; name="file"; filename="a"', "x" * (9 << 20))

    def named(disposition: str) -> bytes:
        return _part(disposition, "gpt-4o-transcribe")

    refused = {
        "two models": _form(model, other),
        "a second model behind 9 MB": _form(model, large, other),
        "model as a file": _form(named('form-data; name="model"; filename="model"'), file),
        "an empty filename": _form(named('form-data; name="model"; filename=""'), file),
        "name* alone": _form(named("form-data; name*=utf-8''model"), file),
        "name* beside name": _form(model, named("form-data; name=\"x\"; name*=utf-8''model")),
        "filename*": _form(model, named("form-data; name=\"x\"; filename*=utf-8''a")),
        "two names": _form(model, named('form-data; name="x"; name="model"')),
        "name behind filename": _form(model, named('form-data; filename="a"; name="model"')),
        "escaped quote": _form(model, named('form-data; name="x\\"; name=\\"model"')),
        "no quotes": _form(named("form-data; name=model"), file),
        "single quotes": _form(named("form-data; name='model'"), file),
        "another disposition": _form(named('attachment; name="model"'), file),
        "capitals": _form(named('form-data; name="Model"'), file),
        "brackets": _form(model, named('form-data; name="model[]"')),
        "index": _form(model, named('form-data; name="model[0]"')),
        "encoded word": _form(model, named('form-data; name="=?utf-8?q?model?="')),
        "full width": _form(model, _part('form-data; name="\uff4dodel"', "x")),
        "folded": _form(model, named('form-data;\r\n name="model"')),
        "folded header": _form(model, _part('form-data; name="x"', "y", "X-A: b\r\n c")),
        "another header": _form(model, _part('form-data; name="x"', "y", "X-A: b")),
        "header twice": _form(
            model, _part('form-data; name="x"', "y", 'Content-Disposition: form-data; name="model"')
        ),
        "base64": _form(
            _part('form-data; name="model"', "Z3B0LTRv", "Content-Transfer-Encoding: base64"), file
        ),
        "quoted-printable": _form(
            _part(
                'form-data; name="model"', "gpt=2D4o", "Content-Transfer-Encoding: quoted-printable"
            )
        ),
        "nested": _form(
            model, _part('form-data; name="x"', "y", "Content-Type: multipart/mixed; boundary=q")
        ),
        "charset": _form(
            _part('form-data; name="model"', "m", "Content-Type: text/plain; charset=utf-16")
        ),
        "octets": _form(
            _part('form-data; name="model"', "m", "Content-Type: application/octet-stream")
        ),
        "a wrong length": _form(
            _part('form-data; name="model"', "whisper-1", "Content-Length: 7"), file
        ),
        "preamble": _form(model, file, before=b"--y\r\n"),
        "smuggled preamble": _form(model, before=b"--q\n" + other + b"\r\n"),
        "epilogue": _form(model, file, after=b"\r\n--q\r\n" + other),
        "no end": _form(model, file, end=b"\r\n"),
        "LF alone": Form(_TYPE, _form(model, file).body.replace(b"\r\n", b"\n")),
        "CR alone": Form(_TYPE, _form(model, file).body.replace(b"\r\n", b"\r")),
        "LF before a delimiter": _form(model, b"\n--q\r\n".join((_field("x", "y"), other))),
        "space behind a delimiter": Form(
            _TYPE, _form(model, file).body.replace(b"--q\r\n", b"--q \r\n", 1)
        ),
        "delimiter in a value": _form(_field("prompt", "a--qb"), model),
        "delimiter in a name": _form(named('form-data; name="--q"'), model),
        "longer delimiter": _form(model, b"\r\n--qq\r\n".join((_field("x", "y"), other))),
        "two boundaries": Form("multipart/form-data; boundary=q; boundary=p", _form(model).body),
        "boundary in capitals": Form("multipart/form-data; BOUNDARY=q", _form(model).body),
        "boundary*": Form("multipart/form-data; boundary*=utf-8''q", _form(model).body),
        "escaped boundary": Form('multipart/form-data; boundary="\\q"', _form(model).body),
        "another parameter": Form(
            "multipart/form-data; charset=utf-16; boundary=q", _form(model).body
        ),
        "another type": Form("multipart/mixed; boundary=q", _form(model).body),
        "no model": _form(file),
        "no parts": _form(),
        "look-alike value": _form(_field("model", "whisper-\u0661"), file),
        "line end in a value": _form(_field("model", "whisper-1\r\n"), file),
        "two answers": _form(model, _field("n", "2"), _field("n", "1")),
        "half a flag": _form(model, _field("stream", "1")),
    }
    accepted = {
        "plain": _form(model, file),
        "model behind 9 MB": _form(large, model),
        "quoted boundary": Form('multipart/form-data; boundary="q"', _form(model, file).body),
        "content type and length": _form(
            _part(
                'form-data; name="model"',
                "whisper-1",
                "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 9",
            ),
            file,
        ),
        "lower case": _form(model.replace(b"Content-Disposition", b"content-disposition"), file),
        "lists": _form(
            model, *(_part('form-data; name="image[]"; filename="a"', "x") for _ in "ab")
        ),
        "nearly a delimiter": _form(model, _field("prompt", "\r\n-q\r\n--\r\n-- q")),
        "empty value": _form(model, _field("prompt", "")),
        "flag and number": _form(model, _field("stream", "true"), _field("n", "3")),
        "a line end at the end": _form(model, file, after=b"\r\n"),
        "percent": _form(model, _field("mode%22l", "x")),
        "binary file": _form(
            model, _part('form-data; name="file"; filename="\u00e9\u4e2d.mp3"', "\0\r\r\n\n\xff")
        ),
    }
    return {name: (form, False) for name, form in refused.items()} | {
        name: (form, True) for name, form in accepted.items()
    }


_TYPE = "multipart/form-data; boundary=q"


def _part(disposition: str, value: str, more: str = "") -> bytes:
    headers = f"Content-Disposition: {disposition}\r\n" + (f"{more}\r\n" if more else "")
    return f"{headers}\r\n{value}".encode()


def _field(name: str, value: str) -> bytes:
    return _part(f'form-data; name="{name}"', value)


def _form(*parts: bytes, before: bytes = b"", end: bytes = b"--", after: bytes = b"") -> Form:
    body = b"".join(b"--q\r\n" + part + b"\r\n" for part in parts)
    return Form(_TYPE, before + body + b"--q" + end + after)


def generated(seed: int) -> Iterator[Form]:
    """Forms without end, most of them nearly good; the same for the same seed."""
    draw = random.Random(seed)
    while True:
        boundary = draw.choice(_BOUNDARIES)
        names = draw.sample(NAMES, k=draw.randint(0, 4))
        if "model" not in names and draw.random() < 0.9:
            names.insert(draw.randint(0, len(names)), "model")
        if draw.random() < 0.1:
            names.append(draw.choice(NAMES))
        parts = [_drawn_part(draw, name) for name in names]
        delimiter = b"--" + boundary.encode()
        body = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
        body += delimiter + b"--" + draw.choice(_ENDS)
        if draw.random() < 0.2:
            body = draw.choice(_MISTAKES)(draw, body, delimiter)
        yield Form(_content_type(draw, boundary), body)


def _content_type(draw: random.Random, boundary: str) -> str:
    if draw.random() < 0.05:
        return draw.choice(("multipart/mixed", "Multipart/Form-Data", "multipart/form-data")) + (
            f";charset=utf-8;boundary={boundary}"
        )
    is_token = all(c.isalnum() or c in "'+_-." for c in boundary)
    quoted = boundary if is_token and draw.random() < 0.7 else f'"{boundary}"'
    return f"multipart/form-data;{draw.choice(('', ' '))}boundary={quoted}"


def _drawn_part(draw: random.Random, name: str) -> bytes:
    is_usual = draw.random() < 0.9
    values = {
        "model": ("whisper-1", "whisper-1\n", "", "gpt 4", "a,b"),
        "stream": ("true", "false", "True", "1", ""),
        "n": ("1", "2", "128", "129", "+1", "01", "1 "),
    }.get(name, ("a", "", "\r\n", "--", "\0\xff\r", "-" * 80, "a\r\n\r\nb"))
    value = values[0] if is_usual else draw.choice(values)
    if not is_usual and draw.random() < 0.5:
        name = draw.choice(_DISGUISES)(draw, name)
    is_file = name in ("file", "image[]") or draw.random() < 0.05
    disposition = f'form-data; name="{name}"'
    if is_file:
        disposition += draw.choice(
            ('; filename="a.mp3"', '; filename="\u00e9"', '; filename="C:/a"')
        )
    if draw.random() < 0.05:
        disposition = draw.choice(_DISPOSITIONS).format(name=name)
    more = []
    if draw.random() < 0.2:
        more = draw.sample(_HEADERS, k=1 if draw.random() < 0.8 else 2)
    lines = [
        f"Content-Disposition: {disposition}",
        *(line.format(len(value.encode())) for line in more),
    ]
    draw.shuffle(lines)
    if draw.random() < 0.3:
        lines = [line.replace("Content-", "content-").replace(": ", ":", 1) for line in lines]
    return ("\r\n".join(lines) + "\r\n\r\n" + value).encode()


_BOUNDARIES = (
    "q",
    "q",
    "----WebKitFormBoundary7MA4",
    "-q",
    "q--",
    "q:",
    "a(b)",
    "X" * 70,
    "X" * 71,
)
_ENDS = (*[b"\r\n", b""] * 4, b"\n", b"\r\n\r\n", b" ")
_HEADERS = (
    "Content-Type: text/plain",
    "Content-Type: text/plain; charset=utf-8",
    "Content-Type: text/plain;charset=UTF-8",
    "Content-Type: text/plain; charset=iso-8859-1",
    "Content-Type: application/octet-stream",
    "Content-Type: audio/mpeg",
    "Content-Type: message/rfc822",
    "Content-Length: {}",
    "Content-Length: 5",
    "Content-Transfer-Encoding: binary",
    "Content-Transfer-Encoding: base64",
    "X-Other: a",
)
_DISPOSITIONS = (
    "form-data; name={name}",
    'form-data;name="{name}"',
    'form-data; name="x"; name="{name}"',
    "form-data; name*=utf-8''{name}",
    'form-data; filename="a"; name="{name}"',
    'form-data; name="{name}"; filename=""',
    "form-data; name=\"{name}\"; filename*=utf-8''a",
    'attachment; name="{name}"',
    'Form-Data; Name="{name}"',
    'form-data; name="{name}";',
    'form-data; name="{name}"; x=y',
)
_DISGUISES: tuple[Callable[[random.Random, str], str], ...] = (
    lambda draw, name: name.upper(),
    lambda draw, name: name + draw.choice(("[]", "[0]", " ", "\x00", ".", "%00", "%22", "\u200b")),
    lambda draw, name: draw.choice((" ", "_", "\ufeff", "x[", "=?utf-8?q?")) + name,
    lambda draw, name: "".join(chr(ord(c) + 0xFEE0) for c in name),
    lambda draw, name: name.replace("o", "\u043e"),
)


def _insert(draw: random.Random, body: bytes, piece: bytes) -> bytes:
    place = draw.randint(0, len(body))
    return body[:place] + piece + body[place:]


_MISTAKES: tuple[Callable[[random.Random, bytes, bytes], bytes], ...] = (
    lambda draw, body, delimiter: _insert(draw, body, delimiter),
    lambda draw, body, delimiter: _insert(
        draw, body, b"\r\n" + delimiter + draw.choice((b"", b"--")) + b"\r\n"
    ),
    lambda draw, body, _: _insert(
        draw, body, draw.choice((b"\r", b"\n", b"\r\n", b"\0", b" ", b"--", b'"', b"\\", b"\t"))
    ),
    lambda draw, body, _: body.replace(
        b"\r\n", draw.choice((b"\n", b"\r", b"\n\r")), draw.randint(1, 9)
    ),
    lambda draw, body, _: body[: draw.randint(0, len(body))],
    lambda draw, body, _: body + draw.choice((b"x", b"--", body)),
    lambda draw, body, _: draw.choice((b"\r\n", b"x\r\n", b"-", body)) + body,
    lambda draw, body, _: body.replace(b'"', draw.choice((b"", b"'", b'""')), 1),
    lambda draw, body, _: body.replace(b": ", draw.choice((b" : ", b":\t", b":\r\n ", b"=")), 1),
    lambda draw, body, delimiter: body.replace(
        delimiter, delimiter + draw.choice((b" ", b"x", b"\t", b"-")), 1
    ),
)
