"""HTTP/2 in masses: frames, headers, bodies, streams and resets without end. Bounded, and nothing is free.

Row R-34 of the red team.
"""

from __future__ import annotations

import json

import pytest
from hyperframe.frame import Frame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

import raw_http2
from llm import chat_body
from raw_http2 import (
    ACK,
    CONTINUATION,
    DATA,
    ENHANCE_YOUR_CALM,
    PRIORITY,
    PROTOCOL_ERROR,
    RST_STREAM,
    SETTINGS,
    Connection,
    block,
    data_frame,
    headers_frame,
    raw_frame,
)
from recorder import RecordingStack
from waiting import eventually

BODY = json.dumps(chat_body("gpt-4o")).encode()


def flood(stack: RecordingStack, *frames: Frame | bytes) -> Connection:
    """Sends them again and again without reading, then reads until the end."""
    once = b"".join(f if isinstance(f, bytes) else f.serialize() for f in frames)
    with Connection(stack.port) as connection:
        for _ in range(200):
            connection.send(once * 1_000)
        connection.until_closed()
        return connection


FLOODS = {
    # Acknowledgements that nobody reads fill what Envoy keeps for a connection.
    "SETTINGS": [SettingsFrame(0)],
    "PING": [PingFrame(0, b"\0" * 8)],
    "PRIORITY": [raw_frame(PRIORITY, 0, 1, b"\0\0\0\0\x10")],
    "WINDOW_UPDATE": [WindowUpdateFrame(0, 1)],
    "acknowledgements": [raw_frame(SETTINGS, ACK, 0)],
    "RST_STREAM": [raw_frame(RST_STREAM, 0, 1, b"\0\0\0\x08")],
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_frames_ends_its_connection(recording: RecordingStack, kind: str) -> None:
    """R-34."""
    connection = flood(recording, *FLOODS[kind])
    assert connection.gone_away in (None, PROTOCOL_ERROR, 2, ENHANCE_YOUR_CALM)


@pytest.mark.parametrize("part", [b"", block([(b"x-a", b"b" * 100)])], ids=["empty", "full"])
def test_headers_without_end_end_their_connection(recording: RecordingStack, part: bytes) -> None:
    """R-34."""
    fields = raw_http2.request([(b"x-bf-vk", recording.open_key.encode())])
    with Connection(recording.port) as connection:
        connection.send(headers_frame(1, fields, end_headers=False))
        connection.send(raw_frame(CONTINUATION, 0, 1, part) * 2_000)
        connection.until_closed()
    assert not recording.recorder.take()


def test_a_body_without_bytes_or_end_ends_its_connection(recording: RecordingStack) -> None:
    """R-34."""
    fields = raw_http2.request([(b"x-bf-vk", recording.open_key.encode())])
    with Connection(recording.port) as connection:
        connection.send(headers_frame(1, fields), raw_frame(DATA, 0, 1) * 5_000)
        connection.until_closed()
    assert not recording.recorder.take()


def test_more_streams_than_allowed_are_refused_one_by_one(recording: RecordingStack) -> None:
    """R-34."""
    fields = raw_http2.request([(b"x-bf-vk", recording.open_key.encode())])
    with Connection(recording.port) as connection:
        connection.send(*[headers_frame(2 * number + 1, fields) for number in range(130)])

        def refused() -> int:
            return sum(stream.reset is not None for stream in connection.streams.values())

        while refused() < 30:
            connection.read()
        assert connection.is_alive() and refused() == 30
        assert connection.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 100
        # The others can still be finished.
        connection.send(data_frame(1, BODY))
        assert connection.until_over(1).status == 200
    assert len(recording.recorder.take()) == 1


def test_a_caller_that_cancels_as_fast_as_it_asks_is_cut_off_and_pays(
    recording: RecordingStack,
) -> None:
    """R-34, R-43: "rapid reset". What reached the provider, or might have, is on the bill."""
    key = recording.key(allow_all_providers=True)
    fields = raw_http2.request([(b"x-bf-vk", key.value.encode())])
    with Connection(recording.port) as connection:
        for number in range(0, 2_000, 50):
            connection.send(
                *[
                    frame
                    for stream in range(2 * number + 1, 2 * number + 101, 2)
                    for frame in (
                        headers_frame(stream, fields),
                        data_frame(stream, BODY),
                        RstStreamFrame(stream, 8),
                    )
                ]
            )
        connection.until_closed()
    reached = len(recording.recorder.take())
    # Usage is reported in the order in which it came about: behind this one there is none.
    assert recording.caller(key.value).chat("gpt-4o-mini").status_code == 200
    recording.recorder.take()
    path = f"/api/governance/usage/records?virtual_key_id={key.id}&limit=1000"

    def reported() -> list[dict] | None:
        records = recording.admin.get(path)["records"]
        return records if any(record["model"] == "gpt-4o-mini" for record in records) else None

    cancelled = [record for record in eventually(reported) if record["model"] == "gpt-4o"]
    assert reached <= len(cancelled) < 1_000, "Envoy ends it after some hundreds"
    assert all(record["cost"] > 0 for record in cancelled)
