"""Where what is being done comes from: whoever serves a request says so, and the record writes it into each entry."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Origin = dict[str, str]

KEY = "origin"  # under which it stands in an entry's facts
HASH_CHARACTERS = 12

_ask: ContextVar[Callable[[], Origin] | None] = ContextVar("origin", default=None)


def current() -> Origin:
    """Return where the request under way comes from; nothing where none is, as in a command or the worker."""
    ask = _ask.get()
    return ask() if ask is not None else {}


@contextmanager
def asked_of(ask: Callable[[], Origin]) -> Iterator[None]:
    """Have `ask` say it inside this block: at each entry anew, since a log-in gives its session another key."""
    token = _ask.set(ask)
    try:
        yield
    finally:
        _ask.reset(token)


def hashed(session_key: str | None) -> str:
    """Return what tells one session from another, and opens none."""
    return hashlib.sha256(session_key.encode()).hexdigest()[:HASH_CHARACTERS] if session_key else ""
