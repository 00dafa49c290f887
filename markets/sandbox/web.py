"""What a request is and what an answer is, apart from whoever carries them.

Source: Kalshi trade API v2; bodies are JSON whose keys come in alphabetical order on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import msgspec

JSON = "application/json; charset=utf-8"
PREFIX = "/trade-api/v2"

_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, whole: its body has been read."""

    method: str
    path: str
    query_string: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    client: str = "127.0.0.1"

    def values(self, name: str) -> list[str]:
        """Return every value of a query parameter in order; empty if it is not there."""
        return [value for key, value in parse_qsl(self.query_string, keep_blank_values=True) if key == name]

    def value(self, name: str) -> str:
        """Return the first value of a query parameter; an absent one is the empty string, as the exchange has it."""
        found = self.values(name)
        return found[0] if found else ""

    def json(self) -> Any:
        """Return the decoded body; raises msgspec.DecodeError."""
        return msgspec.json.decode(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; `headers` are those beside content type and length."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    def json(self) -> Any:
        """Return the decoded body."""
        return msgspec.json.decode(self.body)

    def with_json(self, body: Any) -> Answer:
        """Return the same answer with another body."""
        return replace(self, body=to_json(body))

    def header_pairs(self) -> list[tuple[bytes, bytes]]:
        """Return every header as ASGI wants them."""
        pairs = [(b"content-length", str(len(self.body)).encode())]
        if self.body or self.status not in {204, 301}:
            pairs.insert(0, (b"content-type", self.content_type.encode()))
        return pairs + [(name.encode(), value.encode()) for name, value in self.headers]


def to_json(body: Any) -> bytes:
    """Encode a body as the exchange does: compact, keys in alphabetical order."""
    return _encode(body)


def answer(body: Any, status: int = 200) -> Answer:
    """Return a JSON answer."""
    return Answer(status, to_json(body))


def empty(status: int = 204) -> Answer:
    """Return an answer without a body."""
    return Answer(status)


def text(sentence: str, status: int) -> Answer:
    """Return a plain-text answer, as an unknown route and a broken gateway give it."""
    return Answer(status, sentence.encode(), "text/plain; charset=utf-8")
