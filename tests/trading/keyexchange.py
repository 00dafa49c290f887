"""An exchange of a few lines that knows keys and nothing else; it checks signatures by the documents, without our code.

Source: Kalshi trade API v2: API keys, authentication errors, account limits.
"""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

PREFIX = "/trade-api/v2"
UNKNOWN_KEY = {"error": {"code": "authentication_error", "message": "authentication_error", "details": "NOT_FOUND"}}
BAD_SIGNATURE = {"error": {"code": "authentication_error", "details": "INCORRECT_API_KEY_SIGNATURE"}}
CLOCK_DIFFERS = {"error": {"code": "header_timestamp_expired", "message": "header timestamp expired"}}
FORBIDDEN = {"error": {"code": "forbidden", "message": "forbidden"}}
LIMITS = {
    "usage_tier": "basic",
    "read": {"refill_rate": 200, "bucket_capacity": 600},
    "write": {"refill_rate": 100, "bucket_capacity": 100},
    "grants": [],
}


@dataclass(frozen=True)
class MadeKey:
    """A key as its owner has it."""

    key_id: str
    pem: str


@dataclass
class KeyExchange:
    """Members' keys by id; `answers` replaces the answer of a request, `heard` is every request that came."""

    url: str = ""
    keys: dict[str, tuple[Any, str, list[str]]] = field(default_factory=dict)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    connections: set[int] = field(default_factory=set)

    def make_key(
        self, private_key: Any = None, *, name: str = "first", scopes: tuple[str, ...] = ("read", "write")
    ) -> MadeKey:
        """Register a new key, or the given one, and return it as its owner gets it."""
        private_key = private_key or Ed25519PrivateKey.generate()
        key_id = str(uuid.uuid4())
        self.keys[key_id] = (private_key.public_key(), name, list(scopes))
        return MadeKey(key_id, pem_of(private_key))

    def write_credentials(self, folder: Path) -> MadeKey:
        """Leave the desk's first key in a folder, as the local exchange does."""
        made = self.make_key()
        described = {"key_id": made.key_id, "private_key_file": "desk.pem", "member": "desk"}
        folder.mkdir(exist_ok=True)
        (folder / "desk.json").write_text(json.dumps(described))
        (folder / "desk.pem").write_text(made.pem)
        return made

    def answer(self, method: str, path: str, headers: Any, body: Any) -> tuple[int, Any]:
        """Return status and body of one request."""
        asked = f"{method} {path.removeprefix(PREFIX)}"
        self.heard.append(asked)
        key_id = headers.get("KALSHI-ACCESS-KEY", "")
        if key_id not in self.keys:
            return 401, UNKNOWN_KEY
        if not is_signed(self.keys[key_id][0], headers, f"{method}{path}"):
            return 401, BAD_SIGNATURE
        if asked in self.answers:
            return self.answers[asked]
        return self._answer(asked, key_id, body)

    def _answer(self, asked: str, key_id: str, body: Any) -> tuple[int, Any]:
        if not asked.startswith("GET") and "write" not in self.keys[key_id][2]:
            return 403, FORBIDDEN
        if asked == "POST /api_keys/generate":
            made = self.make_key(name=body["name"], scopes=tuple(body["scopes"]))
            return 201, {"api_key_id": made.key_id, "key_type": "ed25519", "private_key": made.pem}
        if asked.startswith("DELETE /api_keys/"):
            gone = self.keys.pop(asked.rpartition("/")[2], None)
            return (204, None) if gone else (404, {"error": {"code": "not_found", "message": "not found"}})
        return 200, {
            "GET /portfolio/balance": {"balance": 1000, "balance_dollars": "10.0000", "portfolio_value": 0},
            "GET /account/limits": LIMITS,
            "GET /api_keys": {
                "api_keys": [
                    {"api_key_id": known, "name": name, "scopes": scopes}
                    for known, (_, name, scopes) in self.keys.items()
                ]
            },
        }[asked]


@contextmanager
def running(settings: Any, environment: str = "sandbox") -> Iterator[KeyExchange]:
    """Put such an exchange on the air, where this environment's addresses point to."""
    exchange = KeyExchange()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or the body, a second write, waits 40 ms for the head's receipt

        def handle_one(self) -> None:
            exchange.connections.add(self.client_address[1])
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or "null")
            path = self.path.partition("?")[0]
            status, said = exchange.answer(self.command, path, self.headers, body)
            if f"{self.command} {path.removeprefix(PREFIX)}" in exchange.silent:
                self.close_connection = True
                return
            encoded = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        do_GET = do_POST = do_DELETE = handle_one

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    exchange.url = f"http://127.0.0.1:{server.server_port}{PREFIX}"
    moved = replace(settings.EXCHANGES[environment], rest_url=exchange.url)
    settings.EXCHANGES = {**settings.EXCHANGES, environment: moved}
    try:
        yield exchange
    finally:
        server.shutdown()
        server.server_close()


def is_signed(public_key: Any, headers: Any, asked: str) -> bool:
    """Check a signature as the exchange's documents describe it."""
    signature = base64.b64decode(headers.get("KALSHI-ACCESS-SIGNATURE", ""))
    text = (headers.get("KALSHI-ACCESS-TIMESTAMP", "") + asked).encode()
    try:
        if isinstance(public_key, RSAPublicKey):
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.AUTO)
            public_key.verify(signature, text, pss, hashes.SHA256())
        else:
            public_key.verify(signature, text)
    except InvalidSignature:
        return False
    return True


def pem_of(private_key: Any, encryption: Any = None) -> str:
    """Return a private key as PKCS#8 text."""
    encryption = encryption or serialization.NoEncryption()
    text: bytes = private_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return text.decode()
