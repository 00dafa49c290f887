"""The table of what is served: method, path, who may call it, and what it costs.

Source: Kalshi trade API v2, OpenAPI 3.34.0 ("security" of each operation), rate limits of October 2026.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from markets.sandbox.auth import ApiKey
from markets.sandbox.errors import forbidden
from markets.sandbox.limits import COSTS, DEFAULT_COST, write_buckets
from markets.sandbox.params import Query
from markets.sandbox.web import Answer, Request

if TYPE_CHECKING:
    from markets.sandbox.venue import Venue

BALANCE = "/portfolio/balance"
ONE_SUBACCOUNT = "this API key is restricted to a single sub-account and cannot access this endpoint"


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way to its handler."""

    venue: Venue
    request: Request
    query: Query
    path: dict[str, str]
    signer: ApiKey | None = None

    @property
    def key(self) -> ApiKey:
        """Return the key that signed; only routes with a scope have one."""
        assert self.signer is not None, "a route without scope asked who signed"  # noqa: S101
        return self.signer

    @property
    def member(self) -> str:
        """Return the id of the calling member."""
        return self.key.member

    def subaccount(self, given: int | None) -> int | None:
        """Return the sub-account that is meant; a restricted key means its own and may name no other."""
        own = self.key.subaccount
        if own is None:
            return given
        if given not in {None, own}:
            raise forbidden(ONE_SUBACCOUNT)
        return own

    def unrestricted(self) -> None:
        """Refuse a key that is restricted to one sub-account."""
        if self.key.subaccount is not None:
            raise forbidden(ONE_SUBACCOUNT)


Handler = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `scope` empty is public; `items` counts what a batch is billed for."""

    method: str
    path: str
    operation: str
    handle: Handler
    scope: str = ""
    items: Callable[[Request], int] | None = None
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path)
        object.__setattr__(self, "pattern", re.compile(f"{expression}\\Z"))

    def buckets(self, request: Request) -> tuple[str, ...]:
        """Return which buckets pay; a batch and a write that names no shard take from the general one."""
        if self.path == BALANCE:
            return ("balance",)
        if self.method == "GET":
            return ("read",)
        return ("write",) if self.items is not None else _write_buckets(request)

    def cost(self, request: Request) -> int:
        """Return the tokens of one call; a batch pays for each item, the balance is counted by calls."""
        if self.path == BALANCE:
            return 1
        named = re.sub(r"\{(\w+)\}", r":\1", self.path)
        single = COSTS.get((self.method, named), DEFAULT_COST)
        return single if self.items is None else single * max(1, self.items(request))


def _write_buckets(request: Request) -> tuple[str, ...]:
    """Read from query and body which shard a write names, and whether a ticker would find it."""
    try:
        body = request.json()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = None
    named: dict[str, Any] = {**dict(parse_qsl(request.query_string)), **(body if isinstance(body, dict) else {})}
    given = str(named.get("exchange_index", ""))
    index = int(given) if re.fullmatch(r"-?[0-9]{1,3}", given) else None
    return write_buckets(index, has_ticker=bool(named.get("ticker") or named.get("market_ticker")))


class Table:
    """Every route; exact paths are found at once, the others in order."""

    def __init__(self, routes: Iterable[Route]) -> None:
        found = list(routes)
        self._exact = {(route.method, route.path): route for route in found if "{" not in route.path}
        self._patterns = [route for route in found if "{" in route.path]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the route of a path below the prefix, and what its placeholders stand for."""
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact, {}
        for route in self._patterns:
            if route.method == method and (matched := route.pattern.match(path)):
                return route, matched.groupdict()
        return None
