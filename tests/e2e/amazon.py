"""Amazon Bedrock as far as signatures go: what is signed well is answered by the demo provider, all else is a 403.

The signature is made again from what has arrived, by Amazon's own SDK.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import json
import re
import threading
from collections import Counter
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>\w+)/(?P<day>\d{8})/(?P<region>[^/]+)/bedrock/aws4_request, ?"
    r"SignedHeaders=(?P<signed>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
# What Amazon wants under a signature, if it is there.
ALWAYS_SIGNED = {"host", "x-amz-date", "x-amz-security-token"}
REGION = "eu-central-1"
SKEW = datetime.timedelta(minutes=5)


class Refused(Exception):
    """What Amazon would not take."""


class Amazon:
    """Listens on a port of this machine until it is closed."""

    def __init__(self, port: int, demo_port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.demo_port = demo_port
        self.keys: dict[str, Credentials] = {}
        self.failing = False
        self.forget()
        amazon = self

        class Handler(_Handler):
            of = amazon

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def forget(self) -> None:
        self.targets: list[str] = []
        self.accepted: Counter[str] = Counter()
        """How often, by access key."""
        self.refused: list[str] = []

    def key(self, number: int, token: str | None = None) -> dict[str, str]:
        """A new access key, as an administrator gives it to Reeve."""
        access_key, secret_key = f"AKIAIOSFODNN7EXAM{number:03}", f"planted/secret+key{number}"
        self.keys[access_key] = Credentials(access_key, secret_key, token)
        config = {"access_key": access_key, "secret_key": secret_key, "region": REGION}
        return config | ({"session_token": token} if token else {})

    def check(self, method: str, target: str, headers: http.client.HTTPMessage, body: bytes) -> str:
        """The id of the key that has signed this."""
        names = [name.lower() for name in headers]
        for name in ("authorization", *ALWAYS_SIGNED, "x-amz-content-sha256"):
            if names.count(name) > 1:
                raise Refused(f"{name} is there twice")
        parts = AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        if parts is None:
            raise Refused(f"no signature: {headers.get('authorization')}")
        key = self.keys.get(parts["id"])
        if key is None:
            raise Refused(f"unknown access key {parts['id']}")
        if headers.get("x-amz-security-token") != key.token:
            raise Refused("another session token")
        if parts["region"] != REGION:
            raise Refused(f"signed for {parts['region']}")
        signed = set(parts["signed"].split(";"))
        if missing := (ALWAYS_SIGNED & set(names)) - signed:
            raise Refused(f"not signed: {missing}")
        date = headers["x-amz-date"]
        at = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
        if abs(datetime.datetime.now(datetime.UTC) - at) > SKEW or date[:8] != parts["day"]:
            raise Refused(f"signed at {date}")
        # botocore takes the digest of the body from here, so it is looked at first.
        if headers.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest():
            raise Refused("another body was signed")
        request = AWSRequest(
            method,
            f"http://{headers['host']}{target}",
            headers={name: headers[name] for name in signed | {"x-amz-content-sha256"}},
        )
        request.context["timestamp"] = date
        signer = SigV4Auth(key, "bedrock", parts["region"])
        # Which headers are signed is for the request to say, and not for botocore.
        signer.headers_to_sign = lambda _: _Headers(
            (name, headers[name]) for name in sorted(signed)
        )
        text = signer.string_to_sign(request, signer.canonical_request(request))
        if not hmac.compare_digest(signer.signature(text, request), parts["signature"]):
            raise Refused("another signature")
        return parts["id"]


class _Headers(http.client.HTTPMessage):
    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        for name, value in fields:
            self[name] = value


class _Handler(BaseHTTPRequestHandler):
    of: Amazon
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self._body()
        try:
            key = self.of.check(self.command, self.path, self.headers, body)
        except Refused as why:
            self.of.refused.append(str(why))
            message = "The request signature we calculated does not match the signature you provided."
            self._fail(403, "InvalidSignatureException", message)
            return
        self.of.accepted[key] += 1
        self.of.targets.append(self.path)
        if self.of.failing:
            self._fail(503, "ServiceUnavailableException", "Bedrock is unable to process it.")
            return
        demo = http.client.HTTPConnection("127.0.0.1", self.of.demo_port, timeout=20)
        headers = {"content-type": "application/json", "authorization": "Bearer demo"}
        demo.request("POST", self.path, body, headers)
        answer = demo.getresponse()
        kind = answer.headers["content-type"]
        self._answer(answer.status, {"content-type": kind}, answer.read())
        demo.close()

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", "0")))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _fail(self, status: int, error: str, message: str) -> None:
        body = json.dumps({"message": message}).encode()
        headers = {"content-type": "application/json", "x-amzn-errortype": error}
        self._answer(status, headers, body)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
