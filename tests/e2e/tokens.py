"""A provider that takes tokens only, and the endpoint that gives them: Google's for service accounts, and
Microsoft Entra's."""

from __future__ import annotations

import http.client
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
ENTRA_SCOPE = "https://cognitiveservices.azure.com/.default"
ACCOUNT = "reeve@project-1.iam.gserviceaccount.com"
CLIENT_ID, TENANT = "11111111-2222-3333-4444-555555555555", "tenant-1.example"
SECRET = "planted-client-secret"


class Tokens:
    """Listens on a port of this machine until it is closed."""

    def __init__(self, port: int, demo_port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.demo_port = demo_port
        self.lives = 3_600
        self.down = False
        self.asked = 0
        """How often a token was asked for, well or not."""
        self.faults: list[str] = []
        """What was wrong with it."""
        self.carried: list[tuple[str, str]] = []
        """The token and the path of each request that was answered."""
        self.refused = 0
        """Requests whose token was none, or no longer one."""
        self._ends: dict[str, float] = {}
        self._key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        tokens = self

        class Handler(_Handler):
            of = tokens

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def service_account(self) -> str:
        """The file that Google gives out."""
        private = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "project-1",
                "private_key_id": "0123456789abcdef",
                "private_key": private.decode(),
                "client_email": ACCOUNT,
                "client_id": "1",
                "token_uri": f"{self.url}/token",
            }
        )

    def fault(self, path: str, form: dict[str, list[str]]) -> str | None:
        """What is wrong with a request for a token."""
        match path:
            case "/token":
                return self._fault_of_claim(form)
            case "/tenant-1.example/oauth2/v2.0/token":
                wanted = {
                    "grant_type": ["client_credentials"],
                    "client_id": [CLIENT_ID],
                    "client_secret": [SECRET],
                    "scope": [ENTRA_SCOPE],
                }
                return None if form == wanted else "another client"
            case _:
                return "another path"

    def _fault_of_claim(self, form: dict[str, list[str]]) -> str | None:
        if form.keys() != {"grant_type", "assertion"} or form["grant_type"] != [JWT_BEARER]:
            return "another grant"
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        try:
            # Looks at signature, time and audience.
            claim = jwt.decode(form["assertion"][0], certs=public, audience=f"{self.url}/token")
            head = jwt.decode_header(form["assertion"][0])
        except Exception as error:
            return str(error)
        if head["alg"] != "RS256" or head["kid"] != "0123456789abcdef":
            return f"another key: {head}"
        if claim["iss"] != ACCOUNT or claim["scope"] != GOOGLE_SCOPE:
            return f"another claim: {claim}"
        if claim["exp"] - claim["iat"] > 3_600:
            return "a claim that lives too long"
        return None

    def give(self) -> str:
        token = f"planted-token-{self.asked}"
        self._ends[token] = time.monotonic() + self.lives
        return token

    def holds(self, token: str) -> bool:
        return self._ends.get(token, 0) > time.monotonic()


class _Handler(BaseHTTPRequestHandler):
    of: Tokens
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path.endswith("/token"):
            self._token(body)
            return
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        keys = [name for name in self.headers if name.lower() in ("x-goog-api-key", "api-key")]
        if kind != "Bearer" or keys or not self.of.holds(token):
            self.of.refused += 1
            self._answer(401, json.dumps({"error": {"message": "no token", "code": 401}}).encode())
            return
        self.of.carried.append((token, self.path))
        _, found, rest = self.path.partition("/publishers/google/")
        path = f"/v1beta/{rest}" if found else f"/v1{self.path}"
        demo = http.client.HTTPConnection("127.0.0.1", self.of.demo_port, timeout=20)
        headers = {"content-type": "application/json", "authorization": "Bearer demo"}
        demo.request("POST", path, body, headers | {"x-goog-api-key": "demo"} if found else headers)
        answer = demo.getresponse()
        self._answer(answer.status, answer.read())
        demo.close()

    def _token(self, body: bytes) -> None:
        self.of.asked += 1
        if self.of.down:
            self._answer(503, b'{"error": "temporarily_unavailable"}')
            return
        if fault := self.of.fault(self.path, parse_qs(body.decode())):
            self.of.faults.append(fault)
            self._answer(401, b'{"error": "invalid_client"}')
            return
        answer = {
            "access_token": self.of.give(),
            "token_type": "Bearer",
            "expires_in": self.of.lives,
        }
        self._answer(200, json.dumps(answer).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
