"""A plain client for tests of the local exchange: it signs by itself and shares no code with the product."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import requests
import websocket
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

PREFIX = "/trade-api/v2"
SOCKET = "/trade-api/ws/v2"
OPENED: list[Any] = []  # what a test opened, for the fixture that closes it


def signature(key: Any, signed: str, *, salt: int = 32) -> str:
    """Return the base64 signature of a text by an RSA or Ed25519 key."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        raw = key.sign(signed.encode())
    else:
        assert isinstance(key, rsa.RSAPrivateKey)
        mode = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=salt)
        raw = key.sign(signed.encode(), mode, hashes.SHA256())
    return base64.b64encode(raw).decode()


def order_body(
    ticker: str, side: str = "bid", price: str = "0.4800", count: str = "1.00", **fields: Any
) -> dict[str, Any]:
    """Return what asks for an order, good till canceled unless told otherwise."""
    return {
        "ticker": ticker,
        "side": side,
        "price": price,
        "count": count,
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
        **fields,
    }


class Peer:
    """One member's key against one running exchange."""

    def __init__(self, url: str, key_id: str, key: Any, *, heard: Callable[..., None] = lambda *what: None) -> None:
        self.url = url
        self.key_id = key_id
        self.key = key
        self.heard = heard
        self.session = requests.Session()
        self.session.trust_env = False
        OPENED.append(self.session)

    @classmethod
    def from_pem(cls, url: str, key_id: str, pem: str, **options: Any) -> Peer:
        """Return a peer that signs with a private key given as PEM."""
        return cls(url, key_id, serialization.load_pem_private_key(pem.encode(), None), **options)

    def headers(self, method: str, path: str, *, at_ms: int | None = None) -> dict[str, str]:
        """Return the three headers of a signed request."""
        stamp = str(int(time.time() * 1000) if at_ms is None else at_ms)
        return {
            "KALSHI-ACCESS-KEY": self.key_id,
            "KALSHI-ACCESS-TIMESTAMP": stamp,
            "KALSHI-ACCESS-SIGNATURE": signature(self.key, f"{stamp}{method}{path}"),
        }

    def call(self, method: str, path: str, *, body: Any = None, **params: Any) -> requests.Response:
        """Send one signed request and let the judge hear the answer."""
        full = PREFIX + path
        answer = self.session.request(
            method,
            self.url + full,
            params=params or None,
            json=body,
            headers=self.headers(method, full),
            allow_redirects=False,
            timeout=5,
        )
        self.heard(method, path, answer)
        return answer

    def get(self, path: str, **params: Any) -> Any:
        """Return the decoded body of a read that must succeed."""
        answer = self.call("GET", path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def create(self, ticker: str, side: str, price: str, count: str, **fields: Any) -> requests.Response:
        """Send one order, good till canceled unless told otherwise."""
        return self.call("POST", "/portfolio/events/orders", body=order_body(ticker, side, price, count, **fields))

    def connect(self, **options: Any) -> Socket:
        """Open a signed socket."""
        return Socket(self, **options)


class Socket:
    """One connection of the stream, read frame by frame."""

    def __init__(self, peer: Peer, *, headers: dict[str, str] | None = None) -> None:
        self._heard = peer.heard
        self._commands = 0
        self.frames: list[dict[str, Any]] = []
        signed = peer.headers("GET", SOCKET) if headers is None else headers
        address = peer.url.replace("http://", "ws://") + SOCKET
        self.raw = websocket.create_connection(address, header=signed, timeout=5, skip_utf8_validation=True)
        OPENED.append(self.raw)

    def send(self, cmd: str, **params: Any) -> int:
        """Send a command and return its id."""
        self._commands += 1
        message: dict[str, Any] = {"id": self._commands, "cmd": cmd}
        if params:
            message["params"] = params
        self.raw.send(json.dumps(message))
        return self._commands

    def next(self) -> dict[str, Any]:
        """Return the next data frame; fails after five seconds of silence."""
        text = self.raw.recv()
        assert text, "the exchange closed the connection"
        frame: dict[str, Any] = json.loads(text)
        self._heard("WS", frame["type"], frame)
        self.frames.append(frame)
        return frame

    def until(self, kind: str, **facts: Any) -> dict[str, Any]:
        """Return the next frame of a type whose message holds these facts."""
        while True:
            frame = self.next()
            message = frame.get("msg", {})
            if frame["type"] == kind and all(message.get(name) == value for name, value in facts.items()):
                return frame

    def read(self, count: int) -> Iterator[dict[str, Any]]:
        """Yield so many frames."""
        return (self.next() for _ in range(count))

    def close(self) -> None:
        """End the connection."""
        self.raw.close()
