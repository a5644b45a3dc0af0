"""What is neither HTTP/1 nor HTTP/2 with a body that ends: WebSocket, extended CONNECT, gRPC.

Row R-33 of the red team.
"""

from __future__ import annotations

import json

import pytest

import raw
import raw_http2
from llm import CHAT, chat_body
from raw_http2 import Connection, data_frame, headers_frame
from recorder import RecordingStack

BODY = json.dumps(chat_body("gpt-4o")).encode()


@pytest.mark.parametrize("envoy", ["recording", "bare_recording"])
@pytest.mark.parametrize("path", ["/v1/realtime?model=gpt-4o", "/v1/models", "/openai/v1/realtime"])
def test_a_websocket_is_refused(envoy: str, path: str, request: pytest.FixtureRequest) -> None:
    """R-33. Even where Envoy lets it pass to the filter."""
    stack = request.getfixturevalue(envoy)
    headers = [
        (b"x-bf-vk", stack.open_key.encode()),
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
        (b"sec-websocket-version", b"13"),
    ]
    data = raw.request(path.encode(), headers, method=b"GET", content_type=None)
    assert raw.exchange(stack.port, data).status == 403
    # Its end would not come: an upgraded body has none.
    posted = raw.request(CHAT.encode(), headers, BODY)
    assert raw.exchange(stack.port, posted).status == 403
    assert not stack.recorder.take()


def test_an_extended_connect_is_refused_where_envoy_lets_it_pass(
    bare_recording: RecordingStack,
) -> None:
    """R-33 (RFC 8441)."""
    key = (b"x-bf-vk", bare_recording.open_key.encode())
    for path, status in ((b"/v1/realtime", 403), (b"/v1/models", 403), (CHAT.encode(), 405)):
        fields = [
            (b":method", b"CONNECT"),
            (b":protocol", b"websocket"),
            *raw_http2.request([key], path)[1:],
        ]
        with Connection(bare_recording.port) as connection:
            connection.send(headers_frame(1, fields), data_frame(1, BODY, end=False))
            assert connection.until_over(1).status == status, path
    assert not bare_recording.recorder.take()


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+json", "application/grpc-web",
                                  "application/grpc-web-text+proto", "application/connect+json"])  # fmt: skip
def test_grpc_is_refused(recording: RecordingStack, kind: str) -> None:
    """R-33. In its own way: Envoy says 200 to gRPC, and the refusal in `grpc-status`."""
    fields = raw_http2.request(
        [(b"x-bf-vk", recording.open_key.encode())], content_type=kind.encode()
    )
    answer = raw_http2.exchange(recording.port, fields, BODY)
    assert answer.status == 415 or (answer.status == 200 and answer.header("grpc-status") != b"0")
    assert answer.header("x-reeve-denied") == b"unsupported_media_type"
    assert not recording.recorder.take()
