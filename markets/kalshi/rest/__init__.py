"""The exchange over REST."""

from __future__ import annotations

from markets.kalshi.rest.client import RestClient
from markets.kalshi.rest.paging import walk

__all__ = ["RestClient", "walk"]
