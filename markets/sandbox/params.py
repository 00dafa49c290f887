"""Query parameters and pages: what is refused, what is taken as absent, and how a cursor leads on.

Source: Kalshi trade API v2: a limit above the maximum is refused, not clamped; a garbage cursor gives page one; the
last page has the empty cursor.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from markets.sandbox.errors import failed_validation
from markets.sandbox.numbers import SECOND
from markets.sandbox.refusals import Refusal, Shape
from markets.sandbox.web import Request

Row = TypeVar("Row")
_WHOLE = re.compile(r"[+-]?[0-9]+")


class Query:
    """The parameters of one request, read for one operation; raises Refusal for what does not fit."""

    def __init__(self, request: Request, operation: str) -> None:
        self._request = request
        self._operation = operation

    def text(self, name: str) -> str:
        """Return a parameter; absent is empty."""
        return self._request.value(name)

    def names(self, name: str, *, most: int | None = None) -> list[str]:
        """Return a comma-separated list, of `most` items where there is such a bound."""
        found = [item for item in self.text(name).split(",") if item]
        if most is not None and len(found) > most:
            raise failed_validation(self._operation, _go_name(name), "max")
        return found

    def repeated(self, name: str) -> list[str]:
        """Return every value of a repeated parameter."""
        return [item for item in self._request.values(name) if item]

    def flag(self, name: str) -> bool:
        """Return a boolean; absent is false."""
        return self.text(name).lower() in {"true", "1"}

    def maybe_flag(self, name: str) -> bool | None:
        """Return a boolean, or None where it is absent."""
        return self.flag(name) if self.text(name) else None

    def number(self, name: str, *, low: int | None = None, high: int | None = None) -> int | None:
        """Return a whole number within its bounds; absent is None."""
        given = self.text(name)
        if not given:
            return None
        found = _int64(given)
        if low is not None and found < low:
            raise failed_validation(self._operation, _go_name(name), "gte")
        if high is not None and found > high:
            raise failed_validation(self._operation, _go_name(name), "lte")
        return found

    def required(self, name: str, **bounds: int) -> int:
        """Return a whole number that must be there."""
        found = self.number(name, **bounds)
        if found is None:
            raise failed_validation(self._operation, _go_name(name), "required")
        return found

    def moment(self, name: str) -> int | None:
        """Return a time given in Unix seconds, in microseconds."""
        found = self.number(name)
        return None if found is None else found * SECOND

    def limit(self, default: int, high: int, *, low: int = 1) -> int:
        """Return the page size; where 0 is allowed it means the default."""
        found = self.number("limit", low=low, high=high)
        return found or default

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """Return one of the allowed words, or the empty string."""
        found = self.text(name)
        if found and found not in allowed:
            raise failed_validation(self._operation, _go_name(name), "oneof")
        return found

    def page(self, rows: Sequence[Row], key: Callable[[Row], str], *, limit: int) -> tuple[list[Row], str]:
        """Return the rows after the cursor and the cursor of the next page, empty on the last."""
        start = _start(rows, key, self.text("cursor"))
        found = list(rows[start : start + limit])
        more = start + limit < len(rows) and bool(found)
        return found, _cursor(key(found[-1])) if more else ""


def _start(rows: Sequence[Row], key: Callable[[Row], str], cursor: str) -> int:
    after = _after(cursor)
    if after is None:
        return 0
    return next((number for number, row in enumerate(rows, start=1) if key(row) == after), 0)


def _cursor(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def _after(cursor: str) -> str | None:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode() or None
    except (binascii.Error, ValueError):
        return None


def _int64(given: str) -> int:
    """Read what the exchange's own parser takes: ASCII digits with an optional sign, within 64 bits."""
    if _WHOLE.fullmatch(given) is None:
        raise _unparsed(given, "invalid syntax")
    size = int(given.lstrip("+-0")[:20] or "0")  # twenty digits are beyond 64 bits already
    found = -size if given.startswith("-") else size
    if not -(2**63) <= found < 2**63:
        raise _unparsed(given, "value out of range")
    return found


def _unparsed(given: str, problem: str) -> Refusal:
    return Refusal(400, "", message=f'strconv.ParseInt: parsing "{given}": {problem}', shape=Shape.MSG)


def _go_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
