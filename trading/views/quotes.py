"""What an order costs, may cost in fees, may lose and may pay: the sums a person confirms.

Fees are quadratic and peak at 50¢, and a fill may be better than the limit: the fee shown is the dearest a fill within
the limit can have, rounded up to a cent.
Source: Kalshi's fee schedule and "Fee rounding"; `fee_type` and `fee_multiplier` of series and event.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from django.utils import timezone

from markets.models import Event, Market, Series
from trading.risk import Ticket

RATE = Decimal("0.07")
CENT, HALF, ONE = Decimal("0.01"), Decimal("0.50"), Decimal(1)
# fee type → share of the rate that a taker and a maker pay
ROLES = {
    "quadratic": (ONE, Decimal(0)),
    "quadratic_with_maker_fees": (ONE, Decimal("0.25")),
    "quadratic_with_combo_maker_fees": (ONE, HALF),
}


@dataclass(frozen=True, slots=True)
class FeeTerms:
    """How a market charges."""

    fee_type: str
    multiplier: Decimal
    is_waived: bool

    @property
    def multiplier_micros(self) -> int:
        """The multiplier in millionths, for scripts."""
        return int(self.multiplier * 1_000_000)


@dataclass(frozen=True, slots=True)
class Quote:
    """In dollars; `fee` and `loss` are None where the fee table is one we do not know."""

    cost: Decimal
    fee: Decimal | None
    pays: Decimal
    outcome: str  # yes | no: what it pays on

    @property
    def loss(self) -> Decimal | None:
        """The most that can be lost."""
        return None if self.fee is None else self.cost + self.fee


def fee_terms(market: Market) -> FeeTerms:
    """Return the terms of a market: its event's own where it has some, else its series'. Blocks for two queries."""
    event = Event.objects.in_environment(market.environment).filter(ticker=market.event_ticker).first()
    series = Series.objects.in_environment(market.environment).filter(ticker=market.series_ticker).first()
    fee_type = (event and event.fee_type_override) or (series.fee_type if series else "quadratic")
    override = event.fee_multiplier_override if event else None
    multiplier = override if override is not None else (series.fee_multiplier if series else ONE)
    is_waived = market.fee_waiver_until is not None and market.fee_waiver_until > timezone.now()
    return FeeTerms(fee_type, multiplier, is_waived)


def quote(ticket: Ticket, terms: FeeTerms) -> Quote:
    """Return the sums of an order as if nothing were held: closing a position costs less than shown."""
    direction = ticket.direction
    is_bid = direction.wire_side == "bid"
    paid = direction.wire_price if is_bid else ONE - direction.wire_price
    return Quote(
        cost=paid * ticket.count,
        fee=most_fee(ticket, terms),
        pays=ticket.count,
        outcome="yes" if is_bid else "no",
    )


def most_fee(ticket: Ticket, terms: FeeTerms) -> Decimal | None:
    """Return the dearest fee a fill within the limit can have, up to the next cent; None where we cannot know."""
    if terms.is_waived:
        return Decimal(0)
    if terms.fee_type not in ROLES:
        return None
    taker, maker = ROLES[terms.fee_type]
    price = ticket.direction.wire_price
    if not ticket.post_only:
        price = min(price, HALF) if ticket.direction.wire_side == "bid" else max(price, HALF)
    share = maker if ticket.post_only else taker
    fee = RATE * terms.multiplier * share * ticket.count * price * (ONE - price)
    return fee.quantize(CENT, rounding=ROUND_CEILING)
