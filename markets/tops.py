"""The top of book of each watched market and until when it was known to be right, for whoever decides.

Written by the relay a few times a second, read by risk checks, lists and pages of any process, through Django's cache.
Prices are integers of $0.0001 on the YES scale, sizes integers of 0.01 contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from django.core.cache import BaseCache, cache, caches

from markets.events import State

KEPT_SECONDS = 60


class Top(msgspec.Struct, frozen=True, array_like=True):
    """Best prices; None where nobody bids or asks. `as_of_ms` is when they were last known to be right."""

    bid: int | None
    bid_size: int | None
    ask: int | None
    ask_size: int | None
    last: int | None
    state: State
    as_of_ms: int

    def age_ms(self, now_ms: int) -> int:
        """Return how old this knowledge is."""
        return max(0, now_ms - self.as_of_ms)


_decoder = msgspec.json.Decoder(Top)


def read(environment: str, ticker: str) -> Top | None:
    """Return the top of a market, of whatever age; None where nobody watches it. Blocks for one look-up."""
    return _decode(cache.get(_key(environment, ticker)))


def read_many(environment: str, tickers: Iterable[str]) -> dict[str, Top]:
    """Return the tops of those markets that have one."""
    keys = {_key(environment, ticker): ticker for ticker in tickers}
    found = {keys[key]: _decode(encoded) for key, encoded in cache.get_many(keys).items()}
    return {ticker: top for ticker, top in found.items() if top is not None}


def write(environment: str, tops: Mapping[str, Top], *, store: BaseCache | None = None) -> None:
    """Write tops by ticker. Blocks for one round trip."""
    encoded = {_key(environment, ticker): msgspec.json.encode(top).decode() for ticker, top in tops.items()}
    (store or cache).set_many(encoded, timeout=KEPT_SECONDS)


def own_store() -> BaseCache:
    """Return a connection of one's own: Django's `cache` makes a new one in each worker thread."""
    return caches.create_connection("default")


def _decode(encoded: str | None) -> Top | None:
    return None if encoded is None else _decoder.decode(encoded)


def _key(environment: str, ticker: str) -> str:
    return f"top:{environment}:{ticker}"
