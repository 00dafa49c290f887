"""What an account holds of each market, from its fills alone.

YES and NO of one market net at once: who holds 5 YES and buys 2 NO holds 3 YES, and two dollars have come back.
Source: Kalshi trade API v2, "Positions"; netting as recorded there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Sum

from markets.models import Market
from trading.models import Account, Fill, Order

ZERO, ONE = Decimal(0), Decimal(1)
BOOKED_WITHIN = timedelta(minutes=15)  # no order is sent where the last comparison, which books all, is older


@dataclass(frozen=True, slots=True)
class Position:
    """One market: `net` contracts, YES positive; `cost` of what is open, `realized` without fees, all in dollars."""

    ticker: str
    net: Decimal = ZERO
    cost: Decimal = ZERO
    realized: Decimal = ZERO
    fees: Decimal = ZERO

    @property
    def average_price(self) -> Decimal | None:
        """What an open contract cost on its own side, in dollars; None where nothing is open."""
        return self.cost / abs(self.net) if self.net else None

    def after(self, *, wire_side: str, wire_price: Decimal, count: Decimal, fee: Decimal = ZERO) -> Position:
        """Return the position after one more fill; `wire_price` is that of YES."""
        bought = count if wire_side == "bid" else -count
        price = wire_price if wire_side == "bid" else ONE - wire_price
        fees = self.fees + fee
        if self.net * bought >= 0:
            return Position(self.ticker, self.net + bought, self.cost + count * price, self.realized, fees)
        closed = min(count, abs(self.net))
        basis = self.cost * closed / abs(self.net)
        realized = self.realized + closed * (ONE - price) - basis
        opened = (count - closed) * price
        return Position(self.ticker, self.net + bought, self.cost - basis + opened, realized, fees)


def of_account(account: Account) -> dict[str, Position]:
    """Return the positions by ticker, flat ones included; markets that are settled left out. Blocks for two queries."""
    fills = Fill.objects.filter(account=account)
    tickers = set(fills.values_list("ticker", flat=True).distinct())
    settled = Market.objects.filter(
        environment=account.environment, ticker__in=tickers, status=Market.Status.FINALIZED
    ).values_list("ticker", flat=True)
    return _add_up(fills.filter(ticker__in=tickers - set(settled)))


def of_market(account: Account, ticker: str) -> Position:
    """Return the position in one market, flat where nothing was traded. Blocks for one query."""
    return _add_up(Fill.objects.filter(account=account, ticker=ticker)).get(ticker, Position(ticker))


def expected(account: Account, now: datetime) -> dict[str, Position]:
    """Return the positions with what orders have told of and no booked fill shows yet, at the orders' own prices.

    An answer to an order comes before its fills do. Blocks for four queries.
    """
    held = of_account(account)
    lately = Order.objects.filter(account=account, filled__gt=0, updated_at__gt=now - BOOKED_WITHIN)
    told = lately.annotate(booked=Sum("fills__count"))
    for ticker, side, price, filled, booked in told.values_list(
        "ticker", "wire_side", "wire_price", "filled", "booked"
    ):
        if missing := max(ZERO, filled - (booked or ZERO)):
            before = held.get(ticker) or Position(ticker)
            held[ticker] = before.after(wire_side=side, wire_price=price, count=missing)
    return held


def _add_up(fills: Iterable[Fill]) -> dict[str, Position]:
    found: dict[str, Position] = {}
    for fill in _in_order(fills):
        before = found.get(fill.ticker) or Position(fill.ticker)
        found[fill.ticker] = before.after(
            wire_side=fill.wire_side, wire_price=fill.wire_price, count=fill.count, fee=fill.fee
        )
    return found


def _in_order(fills: Iterable[Fill]) -> list[Fill]:
    return sorted(fills, key=lambda fill: (fill.traded_at, fill.pk))
