"""What an account holds of each market, from its fills alone.

The sums are kept beside the fills and go on with each that is booked, in its transaction; one that was traded before
the last of them has its market counted anew.
YES and NO of one market net at once: who holds 5 YES and buys 2 NO holds 3 YES, and two dollars have come back.
Source: Kalshi trade API v2, "Positions"; netting as recorded there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from itertools import groupby

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, Sum

from markets.models import Market
from trading.models import Account, BookedPosition, Fill, Order

ZERO, ONE = Decimal(0), Decimal(1)
MICRO, STEP = Decimal("0.000001"), Decimal("0.01")  # of dollars, of a count
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
        # What was paid for a part is rounded to what a row can hold, so that what stays open is never put too low.
        is_all = closed == abs(self.net)
        basis = self.cost if is_all else (self.cost * closed / abs(self.net)).quantize(MICRO, ROUND_DOWN)
        realized = self.realized + closed * (ONE - price) - basis
        opened = (count - closed) * price
        return Position(self.ticker, self.net + bought, self.cost - basis + opened, realized, fees)


# --- what is held ------------------------------------------------------------------------------------------


def of_account(account: Account) -> dict[str, Position]:
    """Return the open positions by ticker; markets that are settled left out. Blocks for one query."""
    settled = Market.objects.filter(
        environment=account.environment, ticker=OuterRef("ticker"), status=Market.Status.FINALIZED
    )
    rows = BookedPosition.objects.filter(~Q(net=0) | Q(last_traded_at=None), ~Exists(settled), account=account)
    return {row.ticker: _position(row) for row in rows}


def of_market(account: Account, ticker: str) -> Position:
    """Return the position in one market, flat where nothing was traded. Blocks for one query."""
    row = BookedPosition.objects.filter(account=account, ticker=ticker).first()
    return Position(ticker) if row is None else _position(row)


def expected(account: Account, now: datetime) -> dict[str, Position]:
    """Return the positions with what orders have told of and no booked fill shows yet, at the orders' own prices.

    An answer to an order comes before its fills do. Blocks for two queries.
    """
    held = of_account(account)
    lately = Order.objects.filter(account=account, filled__gt=0, updated_at__gt=now - BOOKED_WITHIN)
    told = lately.annotate(booked=Sum("fills__count"))
    for ticker, side, price, filled, booked in told.values_list(
        "ticker", "wire_side", "wire_price", "filled", "booked"
    ):
        if missing := max(ZERO, filled - (booked or ZERO).quantize(STEP)):  # SQLite adds as floats
            before = held.get(ticker) or Position(ticker)
            held[ticker] = before.after(wire_side=side, wire_price=price, count=missing)
    return held


# --- adding up ---------------------------------------------------------------------------------------------


def add(account: Account, fills: Iterable[Fill]) -> None:
    """Take new fills into the sums. Call it in the transaction that writes the fills, before the team's row is taken.

    Where they are not the newest of their market, its sums are given up: `count_anew` makes them, and until then
    whoever asks for the position adds up all fills.
    """
    written = Fill.objects.filter(pk__in=[fill.pk for fill in fills])  # as the columns hold them, fees rounded
    for ticker, of_ticker in groupby(written.order_by("ticker"), key=lambda fill: fill.ticker):
        new = sorted(of_ticker, key=_moment)
        row, is_first = BookedPosition.objects.select_for_update().get_or_create(account=account, ticker=ticker)
        if is_first:
            # There may be fills without a sum: those that were booked before sums were kept.
            is_next = Fill.objects.filter(account=account, ticker=ticker).count() == len(new)
        else:
            is_next = row.last_traded_at is not None and _moment(new[0]) > (row.last_traded_at, row.last_fill)
        if is_next:
            _write(row, _fold(_numbers(row), new), last=new[-1])
        else:
            BookedPosition.objects.filter(pk=row.pk).update(last_traded_at=None)


def count_anew(account: Account) -> None:
    """Make the sums that were given up, each in a transaction of its own. Safe to repeat, and beside `add`."""
    for pk in BookedPosition.objects.filter(account=account, last_traded_at=None).values_list("pk", flat=True):
        with transaction.atomic():
            row = BookedPosition.objects.select_for_update().get(pk=pk)
            if fills := _fills(row):
                _write(row, _fold(Position(row.ticker), fills), last=fills[-1])


def _position(row: BookedPosition) -> Position:
    if row.last_traded_at is None:
        return _fold(Position(row.ticker), _fills(row))
    return _numbers(row)


def _numbers(row: BookedPosition) -> Position:
    return Position(row.ticker, row.net, row.cost, row.realized, row.fees)


def _write(row: BookedPosition, position: Position, *, last: Fill) -> None:
    row.net, row.cost, row.realized, row.fees = position.net, position.cost, position.realized, position.fees
    row.last_traded_at, row.last_fill = _moment(last)
    row.save(update_fields=["net", "cost", "realized", "fees", "last_traded_at", "last_fill"])


def _fills(row: BookedPosition) -> list[Fill]:
    columns = ("wire_side", "wire_price", "count", "fee", "traded_at")
    return sorted(Fill.objects.filter(account=row.account_id, ticker=row.ticker).only(*columns), key=_moment)


def _fold(position: Position, fills: Sequence[Fill]) -> Position:
    for fill in fills:
        position = position.after(wire_side=fill.wire_side, wire_price=fill.wire_price, count=fill.count, fee=fill.fee)
    return position


def _moment(fill: Fill) -> tuple[datetime, int]:
    """Return what fills are counted in the order of."""
    return fill.traded_at, fill.pk
