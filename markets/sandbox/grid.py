"""Which prices a market takes: bands of start, end and step, in $0.0001.

Source: price level structures of the Kalshi trade API v2; a band's edge is on the band's grid.
"""

from __future__ import annotations

from functools import lru_cache

from markets.sandbox.numbers import DOLLAR

Band = tuple[int, int, int]
Bands = tuple[Band, ...]


def _three(edge: int, outer: int, inner: int) -> Bands:
    return ((0, edge, outer), (edge, DOLLAR - edge, inner), (DOLLAR - edge, DOLLAR, outer))


STRUCTURES: dict[str, Bands] = {
    "linear_cent": ((0, DOLLAR, 100),),
    "deci_cent": ((0, DOLLAR, 10),),
    "tapered_deci_cent": _three(1000, 10, 100),
    "center_whole_edge_half_cent": _three(1000, 50, 100),
    "center_whole_edge_quint_cent": _three(1000, 20, 100),
    "center_half_edge_half_cent": ((0, DOLLAR, 50),),
    "center_half_edge_quint_cent": _three(1000, 20, 50),
    "center_half_edge_deci_cent": _three(1000, 10, 50),
    "center_quint_edge_quint_cent": ((0, DOLLAR, 20),),
    "center_quint_edge_deci_cent": _three(1000, 10, 20),
    "center_centi_edge_centi_cent": ((0, DOLLAR, 1),),
    "center_deci_edge_centi_cent": _three(100, 1, 10),
}


@lru_cache(maxsize=64)
def grid_prices(bands: Bands) -> frozenset[int]:
    """Return every price on the grid, strictly between 0 and $1."""
    prices: set[int] = set()
    for start, end, step in bands:
        prices.update(range(start, end + 1, step))
    return frozenset(price for price in prices if 0 < price < DOLLAR)
