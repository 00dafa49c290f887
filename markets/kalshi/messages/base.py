"""How a message is read: decoded and validated in one go, unknown keys ignored, absent and null alike.

Messages are msgspec structs: frozen and slotted like the dataclasses elsewhere, but decoded in C (0.3 µs a frame).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import force_setattr

from markets.kalshi.errors import BadMessage

T = TypeVar("T")
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError)
_EMPTY_IS_ABSENT = ("_time", "_ts", "_date", "_datetime", "_dollars", "_fp")


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what REST answers: numbers are finite, and the exchange's zero time is no time."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Decimal) and not value.is_finite():
                raise ValueError(f"{name} is not a number")
            if isinstance(value, datetime) and value.year <= 1:
                force_setattr(self, name, None)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list, and the cursor of the next part ("" where it ends)."""

    items: tuple[T, ...]
    cursor: str


_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


def read_body(kind: type[T], body: bytes) -> T:
    """Decode and validate a body. Raises BadMessage for a shape that is not known."""
    decoder = _decoders.get(kind) or _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    try:
        decoded: T = decoder.decode(body)
        return decoded
    except msgspec.ValidationError:
        pass  # perhaps only a null or an empty string where a value may be absent
    except DECODE_ERRORS:
        raise BadMessage(f"an answer that is no JSON (wanted {kind.__name__})") from None
    try:
        return msgspec.convert(_present(msgspec.json.decode(body)), kind)
    except DECODE_ERRORS as exc:
        reason = f"{kind.__name__}: {exc}"[:300]
    raise BadMessage(reason)


def _present(value: Any, name: str = "") -> Any:
    """Return the value without keys that say nothing."""
    if isinstance(value, dict):
        kept = {key: _present(inner, key) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if not _says_nothing(key, inner)}
    if isinstance(value, list):
        return [_present(inner) for inner in value]
    return value


def _says_nothing(key: str, value: Any) -> bool:
    return value is None or (value == "" and key.endswith(_EMPTY_IS_ABSENT))
