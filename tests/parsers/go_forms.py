"""How Go reads a form (mime/multipart, net/textproto, mime), told again: lines may end in LF, white
space may follow a delimiter, headers may be folded, and quoted-printable is decoded on the way."""

from __future__ import annotations

import quopri
import re

from form_bodies import Form
from form_readers import Fields

_PARAMETER = re.compile(
    r'\s*;\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.DOTALL
)


def by_go(form: Form) -> Fields | None:
    _, parameters = _media_type(form.content_type)
    boundary = parameters.get("boundary")
    if not boundary:
        return None
    delimiter = b"--" + boundary.encode()
    fields: Fields = []
    line_end, rest = b"\r\n", form.body
    expects_part = False
    while True:
        line, rest = _line(rest)
        if line is None:
            return None
        if line.startswith(delimiter):
            behind = line[len(delimiter) :]
            if behind.startswith(b"--") and behind[2:].strip(b" \t") in (b"", b"\n", b"\r\n"):
                return fields
            end = behind.lstrip(b" \t")
            if not fields and end == b"\n":
                line_end = b"\n"
            if end == line_end:
                headers, rest = _headers(rest)
                if headers is None:
                    return None
                value, rest = _value(rest, line_end + delimiter, delimiter)
                if value is None:
                    return None
                _add(fields, headers, value)
                expects_part = False
                continue
        if expects_part:
            return None
        if not fields:
            # The preamble.
            continue
        if line == line_end:
            expects_part = True
            continue
        return None


def _line(text: bytes) -> tuple[bytes | None, bytes]:
    if not text:
        return None, b""
    end = text.find(b"\n")
    return (text, b"") if end < 0 else (text[: end + 1], text[end + 1 :])


def _headers(rest: bytes) -> tuple[dict[str, str] | None, bytes]:
    headers: dict[str, str] = {}
    last = None
    while True:
        line, rest = _line(rest)
        if line is None:
            return None, b""
        line = line.rstrip(b"\r\n")
        if not line:
            return headers, rest
        if line[:1] in b" \t" and last:
            headers[last] += " " + line.strip(b" \t").decode("utf-8", "surrogateescape")
            continue
        name, colon, value = line.partition(b":")
        if not colon or not name or name.strip() != name:
            return None, b""
        last = name.decode("latin-1").lower()
        # The first of two is the one that Get gives.
        headers.setdefault(last, value.strip(b" \t").decode("utf-8", "surrogateescape"))


def _value(rest: bytes, end: bytes, delimiter: bytes) -> tuple[bytes | None, bytes]:
    """Up to a line end and a delimiter that something may follow."""

    def ends_there(behind: bytes) -> bool:
        return behind[:1] in (b" ", b"\t", b"\r", b"\n", b"") or behind.startswith(b"--")

    if rest.startswith(delimiter) and ends_there(rest[len(delimiter) :]):
        return b"", rest
    at = -1
    while (at := rest.find(end, at + 1)) >= 0:
        if ends_there(rest[at + len(end) :]):
            # The line end is read as one before the next delimiter.
            return rest[:at], rest[at + len(end) - len(delimiter) :]
    return None, b""


def _add(fields: Fields, headers: dict[str, str], value: bytes) -> None:
    if headers.get("content-transfer-encoding", "").lower() == "quoted-printable":
        value = quopri.decodestring(value)
    kind, parameters = _media_type(headers.get("content-disposition", ""))
    name = parameters.get("name", "") if kind == "form-data" else ""
    fields.append((name, bool(parameters.get("filename")), value))


def _media_type(text: str) -> tuple[str, dict[str, str]]:
    kind, semicolon, behind = text.partition(";")
    behind = semicolon + behind
    parameters: dict[str, str] = {}
    while behind.strip():
        found = _PARAMETER.match(behind)
        if not found:
            # A semicolon at the end is nothing; anything else makes all of it invalid.
            return (kind.strip().lower(), parameters) if behind.strip() == ";" else ("", {})
        name, quoted, token = found.groups()
        value = token if quoted is None else re.sub(r'\\(["\\])', r"\1", quoted)
        if name.lower() in parameters:
            return "", {}
        parameters[name.lower()] = value
        behind = behind[found.end() :]
    # RFC 2231: a value that says its character set takes the place of one that does not.
    for name in [name for name in parameters if name.endswith("*")]:
        parameters[name[:-1]] = parameters[name].rpartition("'")[2]
    return kind.strip().lower(), parameters
