"""Query parameters and pages: what is refused, what is taken as absent, and how a cursor leads on.

Source: Kalshi trade API v2: a limit above the maximum is refused, not clamped; a garbage cursor gives page one; the
last page has the empty cursor.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from markets.sandbox.errors import failed_validation
from markets.sandbox.numbers import SECOND
from markets.sandbox.refusals import Refusal, Shape
from markets.sandbox.web import Request

Row = TypeVar("Row")


class Query:
    """The parameters of one request, read for one operation; raises Refusal for what does not fit."""

    def __init__(self, request: Request, operation: str) -> None:
        self._request = request
        self._operation = operation

    def text(self, name: str) -> str:
        """Return a parameter; absent is empty."""
        return self._request.value(name)

    def names(self, name: str) -> list[str]:
        """Return a comma-separated list."""
        return [item for item in self.text(name).split(",") if item]

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
        try:
            found = int(given)
        except ValueError as exc:
            sentence = f'strconv.ParseInt: parsing "{given}": invalid syntax'
            raise Refusal(400, "", message=sentence, shape=Shape.MSG) from exc
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


def _go_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
