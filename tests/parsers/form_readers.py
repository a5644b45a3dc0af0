"""Other readers of forms: their fields in order, each as name, whether it is a file, and value; or
`None` when they refuse the form."""

from __future__ import annotations

import email
import email.policy
import json
import os
import subprocess
from base64 import b64decode

import multipart
import python_multipart
from form_bodies import Form
from judge import program
from python_multipart.multipart import FormParser

Field = tuple[str, bool, bytes]
Fields = list[Field]


def by_email(form: Form) -> Fields | None:
    """The standard library's reader of mail, which old frameworks use."""
    head = f"Content-Type: {form.content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + form.body, policy=email.policy.compat32)
    if not message.is_multipart():
        return None
    fields = []
    for part in message.get_payload():
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        # A message within a message has no value of its own.
        fields.append((str(name), part.get_filename() is not None, value or b""))
    return fields


def by_python_multipart(form: Form) -> Fields | None:
    """Starlette's and so FastAPI's."""
    fields: Fields = []

    def on_field(field: python_multipart.multipart.Field) -> None:
        fields.append((text(field.field_name), False, field.value or b""))

    def on_file(file: python_multipart.multipart.File) -> None:
        file.file_object.seek(0)
        fields.append((text(file.field_name), True, file.file_object.read()))
        file.close()

    try:
        kind, options = python_multipart.multipart.parse_options_header(form.content_type)
        boundary = options.get(b"boundary")
        config = {"MAX_MEMORY_FILE_SIZE": 1 << 30}
        parser = FormParser(kind.decode(), on_field, on_file, boundary=boundary, config=config)
        parser.write(form.body)
        parser.finalize()
    except (python_multipart.exceptions.FormParserError, ValueError):
        return None
    return fields


def by_multipart(form: Form) -> Fields | None:
    """Bottle's, and that of others who left `cgi`."""
    fields: Fields = []
    try:
        _, options = multipart.parse_options_header(form.content_type)
        with multipart.PushMultipartParser(options.get("boundary", "")) as parser:
            segment = value = None
            for event in [*parser.parse(form.body), *parser.parse(b"")]:
                if isinstance(event, multipart.MultipartSegment):
                    segment, value = event, bytearray()
                elif event:
                    value += event
                else:
                    is_file = segment.filename is not None
                    fields.append((segment.name, is_file, bytes(value)))
    except (multipart.MultipartError, ValueError):
        return None
    return fields


def by_fetch(forms: list[Form]) -> list[Fields | None]:
    """Node's own, of fetch and of frameworks upon it."""
    return _by_node(["form"], forms)


def by_busboy(forms: list[Form]) -> list[Fields | None]:
    """Express's, through multer, and many others'."""
    folder = os.environ.get("REEVE_NODE_PACKAGES")
    assert folder, "REEVE_NODE_PACKAGES must name a folder with busboy; scripts/unit.sh sets it"
    return _by_node(["busboy", folder], forms)


def _by_node(arguments: list[str], forms: list[Form]) -> list[Fields | None]:
    pieces = [piece for form in forms for piece in (form.content_type.encode("latin-1"), form.body)]
    framed = b"".join(len(piece).to_bytes(4, "big") + piece for piece in pieces)
    command = ["node", program("REEVE_NODE_READER"), *arguments]
    done = subprocess.run(command, input=framed, stdout=subprocess.PIPE, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(forms)
    return [
        line and [(name, is_file, b64decode(value)) for name, is_file, value in line]
        for line in lines
    ]


def text(name: bytes | None) -> str:
    return (name or b"").decode("utf-8", errors="replace")
