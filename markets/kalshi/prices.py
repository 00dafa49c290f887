"""Prices and counts as the exchange means them: fixed point, the market's grid, YES/NO complement, direction.

A price is `Decimal` dollars between 0 and 1, a count `Decimal` contracts; books and frames use whole units of $0.0001
and 0.01 contract. What cannot be represented is refused, never rounded.
Source: Kalshi trade API v2, "Order direction" and the schemas FixedPointDollars and FixedPointCount.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Literal

DOLLAR_UNITS = 10_000  # the smallest step of a price is $0.0001
CONTRACT_UNITS = 100  # the smallest count is 0.01 contract
MOST_COUNT_UNITS = 10**14

Action = Literal["buy", "sell"]
Side = Literal["yes", "no"]
WireSide = Literal["bid", "ask"]

_PRICE = re.compile(r"[01](?:\.[0-9]{1,6})?", re.ASCII)
_COUNT = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,6})?", re.ASCII)


class NotRepresentable(ValueError):
    """A price or count that the exchange has no notation for."""


def to_price_units(price: Decimal) -> int:
    """Return dollars from 0 to 1 (both included) in $0.0001. Raises NotRepresentable."""
    units = _whole(price, DOLLAR_UNITS, "a price")
    if not 0 <= units <= DOLLAR_UNITS:
        raise NotRepresentable("a price lies between $0 and $1")
    return units


def to_count_units(count: Decimal) -> int:
    """Return contracts in 0.01; signed, as changes and positions are. Raises NotRepresentable."""
    units = _whole(count, CONTRACT_UNITS, "a count")
    if abs(units) > MOST_COUNT_UNITS:
        raise NotRepresentable("a count this large does not exist")
    return units


def from_price_units(units: int) -> Decimal:
    """Return dollars with four decimals."""
    return Decimal(units).scaleb(-4)


def from_count_units(units: int) -> Decimal:
    """Return contracts with two decimals."""
    return Decimal(units).scaleb(-2)


@lru_cache(maxsize=32_768)
def price_units_of(text: str) -> int:
    """Read a price of a message, in $0.0001. Raises NotRepresentable."""
    if not _PRICE.fullmatch(text):
        raise NotRepresentable("not a price")
    return to_price_units(Decimal(text))


@lru_cache(maxsize=65_536)
def count_units_of(text: str) -> int:
    """Read a signed count of a message, in 0.01 contract. Raises NotRepresentable."""
    if not _COUNT.fullmatch(text):
        raise NotRepresentable("not a count")
    return to_count_units(Decimal(text))


def complement(price: Decimal) -> Decimal:
    """Return the other side's price: YES and NO of one contract are worth a dollar together."""
    return from_price_units(DOLLAR_UNITS - to_price_units(price))


def wire_price(price: Decimal) -> str:
    """Return an order's price as the exchange wants it, "0.4800". Raises NotRepresentable."""
    units = to_price_units(price)
    if not 0 < units < DOLLAR_UNITS:
        raise NotRepresentable("an order's price lies between $0 and $1, neither of them included")
    return f"{from_price_units(units):.4f}"


def wire_count(count: Decimal) -> str:
    """Return an order's count as the exchange wants it, "10.00". Raises NotRepresentable."""
    units = to_count_units(count)
    if units <= 0:
        raise NotRepresentable("an order is for at least 0.01 contract")
    return f"{from_count_units(units):.2f}"


def _whole(value: Decimal, units: int, name: str) -> int:
    if not value.is_finite() or value.adjusted() > 15 or value.adjusted() < -28:
        if value.is_zero():
            return 0
        raise NotRepresentable(f"{name} must be an ordinary number")
    scaled = value * units
    if scaled != scaled.to_integral_value():
        raise NotRepresentable(f"{name} has at most {len(str(units)) - 1} decimals")
    return int(scaled)


@dataclass(frozen=True)
class PriceGrid:
    """The prices that orders of one market may have. A grid without bands has none: nothing is guessed."""

    bands: tuple[tuple[int, int, int], ...]

    @classmethod
    def from_ranges(cls, ranges: Iterable[Sequence[int]]) -> PriceGrid:
        """Build from `[[start, end, step], …]` in $0.0001; a band's both ends are on its grid.

        Raises NotRepresentable for bands that make no sense.
        """
        bands = tuple((int(start), int(end), int(step)) for start, end, step in ranges)
        if any(step <= 0 or not 0 <= start <= end <= DOLLAR_UNITS for start, end, step in bands):
            raise NotRepresentable("a band runs upwards from $0 to $1 in steps")
        return cls(bands)

    @cached_property
    def _units(self) -> tuple[int, ...]:
        found: set[int] = set()
        for start, end, step in self.bands:
            found.update(range(start, end + 1, step))
        return tuple(sorted(found - {0, DOLLAR_UNITS}))

    @cached_property
    def _known(self) -> frozenset[int]:
        return frozenset(self._units)

    def contains(self, price: Decimal) -> bool:
        """Say whether an order may have this price: on a band's grid, strictly between $0 and $1."""
        try:
            return to_price_units(price) in self._known
        except NotRepresentable:
            return False

    def ticks(self) -> tuple[int, ...]:
        """Return every price in $0.0001, lowest first."""
        return self._units

    def prices(self) -> tuple[Decimal, ...]:
        """Return every price in dollars, lowest first."""
        return tuple(from_price_units(units) for units in self._units)


@dataclass(frozen=True, slots=True)
class Direction:
    """What somebody wants, in a person's words and in the exchange's.

    People buy or sell YES or NO at that side's price; the exchange knows one book of YES: bid or ask at a YES price.
    Buying NO at 40¢ is asking for YES at 60¢; selling NO at 40¢ is bidding for YES at 60¢.
    """

    action: Action
    side: Side
    price: Decimal  # dollars, of that side

    def __post_init__(self) -> None:
        if self.action not in ("buy", "sell") or self.side not in ("yes", "no"):
            raise NotRepresentable("an order buys or sells, YES or NO")

    @classmethod
    def from_wire(cls, wire_side: WireSide, wire_price: Decimal, *, side: Side = "yes") -> Direction:
        """Read the exchange's words as an order of `side`: the same order has a reading on either."""
        if wire_side not in ("bid", "ask"):
            raise NotRepresentable("the exchange's side is bid or ask")
        is_buy = (wire_side == "bid") == (side == "yes")
        return cls("buy" if is_buy else "sell", side, wire_price if side == "yes" else complement(wire_price))

    @property
    def wire_side(self) -> WireSide:
        """`bid` is long YES, `ask` is long NO."""
        return "bid" if (self.action == "buy") == (self.side == "yes") else "ask"

    @property
    def wire_price(self) -> Decimal:
        """The YES price, in dollars."""
        return self.price if self.side == "yes" else complement(self.price)

    @property
    def outcome_side(self) -> Side:
        """Which outcome the order gains from, as orders and fills are reported."""
        return "yes" if self.wire_side == "bid" else "no"

    def mirrored(self) -> Direction:
        """Return the same order in the other side's words."""
        other: Side = "no" if self.side == "yes" else "yes"
        return Direction.from_wire(self.wire_side, self.wire_price, side=other)

    def words(self, count: Decimal) -> str:
        """Return a person's sentence part: "Buy 10 NO at $0.40"."""
        return f"{self.action.capitalize()} {plain(count)} {self.side.upper()} at ${_dollars(self.price)}"

    def wire_words(self, count: Decimal) -> str:
        """Return what goes to the exchange: "ask 10.00 at the YES price $0.6000"."""
        return f"{self.wire_side} {wire_count(count)} at the YES price ${wire_price(self.wire_price)}"

    def both_words(self, count: Decimal) -> str:
        """Return the order in words both ways: "Buy 10 NO at $0.40, the same as sell 10 YES at $0.60"."""
        mirror = self.mirrored().words(count)
        return f"{self.words(count)}, the same as {mirror[0].lower()}{mirror[1:]}"


def plain(count: Decimal) -> str:
    """Return a count without empty decimals: "10", "2.5"."""
    text = f"{from_count_units(to_count_units(count)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _dollars(price: Decimal) -> str:
    """Return at least two decimals, and as many as the price has."""
    text = f"{from_price_units(to_price_units(price)):.4f}"
    return text[:-2] + text[-2:].rstrip("0")
