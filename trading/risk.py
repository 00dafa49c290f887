"""What the desk itself refuses: everything that an order must pass before a byte of it leaves.

`check` runs inside the transaction that clears an order, under the lock of its team, so that two orders at once
cannot both use the last of a limit. What may still buy something counts as if it did: unknown orders too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Sum

from markets.kalshi.prices import (
    Action,
    Direction,
    NotRepresentable,
    Side,
    from_price_units,
    plain,
    to_price_units,
    wire_count,
    wire_price,
)
from markets.models import Market
from markets.tops import Top
from trading import positions
from trading.models import Account, Membership, Order, OrderState, RiskLimit, TradingState
from trading.models.orders import OrderQuerySet

ZERO, ONE = Decimal(0), Decimal(1)
STEP = Decimal("0.01")  # of a count
FRESH_MS = 3_000
RECONCILED_WITHIN = timedelta(minutes=2)
MINUTE = timedelta(minutes=1)
BELIEVED = frozenset({"LIVE", "POLLED"})
Held = dict[str, positions.Position]


class Refusal(Exception):
    """The desk does not do it; `code` for machines, `sentence` for a person."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class BadTicket(Refusal):
    """What was asked for cannot be written down as an order."""


@dataclass(frozen=True, slots=True)
class Denial:
    """One reason why an order is not sent."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What a person wants: price in dollars of that side, count in contracts. Raises BadTicket."""

    ticker: str
    action: Action
    side: Side
    price: Decimal
    count: Decimal
    time_in_force: str = Order.TimeInForce.GOOD_TILL_CANCELED
    post_only: bool = False
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        if not self.ticker:
            raise BadTicket("TICKER_MISSING", "Say which market.")
        _check_count(self.count)
        _check_price(self.price)
        if self.time_in_force not in Order.TimeInForce.values:
            raise BadTicket("TIME_IN_FORCE_UNKNOWN", "Say how long the order may rest.")
        is_resting_kind = self.time_in_force == Order.TimeInForce.GOOD_TILL_CANCELED
        if not is_resting_kind and (self.post_only or self.expires_at):
            raise BadTicket("ONLY_RESTING", "Only an order that may rest can expire or be kept from trading at once.")
        try:
            Direction(self.action, self.side, self.price)
        except NotRepresentable as exc:
            raise BadTicket("DIRECTION_UNKNOWN", "Say buy or sell, YES or NO.") from exc

    @property
    def direction(self) -> Direction:
        """The order in the exchange's words."""
        return Direction(self.action, self.side, self.price)

    def digest(self, environment: str) -> str:
        """Return the hash of the whole order, to which its idempotency key is bound."""
        body = asdict(self) | {"price": wire_price(self.price), "count": wire_count(self.count), "env": environment}
        body["expires_at"] = self.expires_at.timestamp() if self.expires_at else None
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def check(order: Order, top: Top | None, now: datetime) -> list[Denial]:
    """Return why a draft may not be sent; nothing means that it may.

    `top` is the newest top of its book, or None where none could be had. Call it under the team's lock, in the
    transaction that clears the order. Blocks for a handful of queries.
    """
    held = positions.expected(order.account, now)
    market = Market.objects.filter(environment=order.environment, ticker=order.ticker).first()
    denials = [*_trading(order, held, now), *_market(order, market)]
    if market is not None:
        denials += _price_on_grid(order, market)
    if denials:
        return denials
    return [*_book(order, top, now), *_limits(order, top, held, now)]


def cents(price: Decimal) -> str:
    """Return a price for a person: 48¢, 48.5¢."""
    return f"{plain(price * 100)}¢"


# --- is there trading at all ---------------------------------------------------------------------------


def is_halted(order: Order) -> bool:
    """Say whether the order's team is halted at this moment; asked once more just before an order leaves."""
    halted = TradingState.objects.filter(state=TradingState.State.HALTED)
    return halted.filter(team=order.team_id, environment=order.environment).exists()


def _trading(order: Order, held: Held, now: datetime) -> Iterator[Denial]:
    state = TradingState.objects.filter(team=order.team, environment=order.environment).first()
    if state is not None and state.state == TradingState.State.HALTED:
        why = f" ({state.reason})" if state.reason else ""
        yield Denial("TRADING_HALTED", f"Trading of this team is halted{why}; an owner can lift the halt.")
    if state is not None and state.state == TradingState.State.REDUCING and _opening(order, held) > 0:
        yield Denial("TRADING_REDUCING", "Only orders that make a position smaller are allowed at present.")
    compared_at = order.account.reconciled_at
    if compared_at is None or now - compared_at > RECONCILED_WITHIN:
        yield Denial(
            "ACCOUNT_NOT_RECONCILED",
            "The account has not been compared with the exchange lately; that takes seconds once the exchange answers.",
        )


def _market(order: Order, market: Market | None) -> Iterator[Denial]:
    if market is None:
        yield Denial("MARKET_UNKNOWN", f"There is no market {order.ticker} here: check the ticker.")
    elif market.is_replay:
        yield Denial("MARKET_REPLAY", "This market is a recording: it can only be watched.")
    elif not market.is_open:
        yield Denial("MARKET_NOT_ACTIVE", f"The market does not trade now: {market.status_label.lower()}.")


def _price_on_grid(order: Order, market: Market) -> Iterator[Denial]:
    if market.grid.contains(order.wire_price):
        return
    wanted = to_price_units(order.wire_price)
    ticks = market.grid.ticks()
    near = [max((tick for tick in ticks if tick < wanted), default=None)]
    near.append(min((tick for tick in ticks if tick > wanted), default=None))
    own = sorted(order.on_own_side(from_price_units(tick)) for tick in near if tick is not None)
    nearest = " or ".join(cents(price) for price in own)
    yield Denial("PRICE_OFF_GRID", f"{cents(order.price)} is not a price of this market; the nearest: {nearest}.")


# --- the book ------------------------------------------------------------------------------------------


def is_fresh(top: Top | None, now_ms: int) -> bool:
    """Say whether a top may be relied on."""
    return top is not None and top.state in BELIEVED and top.age_ms(now_ms) <= FRESH_MS


def _book(order: Order, top: Top | None, now: datetime) -> Iterator[Denial]:
    if top is not None and top.state == "PAUSED":
        yield Denial("MARKET_PAUSED", "The market is paused: try again when it trades.")
    elif top is None or not is_fresh(top, int(now.timestamp() * 1000)):
        yield Denial("BOOK_STALE", "The book is not known well enough at this moment; try again when it is LIVE.")


def _limits(order: Order, top: Top | None, held: Held, now: datetime) -> Iterator[Denial]:
    limit = RiskLimit.objects.filter(team=order.team, environment=order.environment).first()
    if limit is None:
        yield Denial("LIMITS_NOT_SET", "No limits are set for this team here, and without limits nothing is sent.")
        return
    yield from _collar(order, top, limit)
    yield from _rate(order, limit, now)
    yield from _exposure(order, limit, held, now)


def _collar(order: Order, top: Top | None, limit: RiskLimit) -> Iterator[Denial]:
    """Compare with the price one would trade at: the other side's best, else the last trade, else one's own side."""
    if top is None:
        return
    is_bid = order.wire_side == "bid"
    known = [price for price in ((top.ask, top.last, top.bid) if is_bid else (top.bid, top.last, top.ask)) if price]
    if not known:
        return
    reference = from_price_units(known[0])
    past = order.wire_price - reference if is_bid else reference - order.wire_price
    if past > limit.price_collar:
        yield Denial(
            "PRICE_COLLAR",
            f"{cents(order.price)} is {cents(past)} past the book ({cents(order.on_own_side(reference))}); "
            f"the limit is {cents(limit.price_collar)}.",
        )


def _rate(order: Order, limit: RiskLimit, now: datetime) -> Iterator[Denial]:
    lately = Order.objects.filter(
        team=order.team, environment=order.environment, is_external=False, created_at__gt=now - MINUTE
    ).exclude(state__in=[OrderState.DRAFT, OrderState.DENIED])
    if lately.count() >= limit.max_orders_per_minute:
        yield Denial("RATE_LIMIT", f"The limit is {limit.max_orders_per_minute} orders a minute; wait a moment.")


# --- money -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Leg:
    """What an order may still buy: `price` of the outcome it gains from."""

    side: str
    price: Decimal
    count: Decimal


Legs = dict[str, list[_Leg]]  # by ticker


def exposure(account: Account, now: datetime) -> tuple[Held, Decimal]:
    """Return what the account holds, and the most in dollars that its open orders may cost beyond it.

    These are the numbers that the exposure limit is compared with. Blocks for three queries.
    """
    held = positions.expected(account, now)
    return held, _open_cost(held, _open_legs(Order.objects.filter(account=account)))


def _open_legs(orders: OrderQuerySet) -> Legs:
    """Return what open orders may still buy, those of one price together: nothing below can tell them apart."""
    legs: Legs = {}
    prices = orders.at_risk().order_by().values_list("ticker", "wire_side", "wire_price")
    for ticker, side, price, count in prices.annotate(Sum("remaining")):
        legs.setdefault(ticker, []).append(_leg(side, price, count.quantize(STEP)))  # SQLite adds as floats
    return legs


def _leg(wire_side: str, wire_price: Decimal, count: Decimal) -> _Leg:
    return _Leg(wire_side, wire_price if wire_side == "bid" else ONE - wire_price, count)


def _open_cost(held: Held, legs: Legs) -> Decimal:
    return sum((_cost_beyond(_net(held, ticker), of_market) for ticker, of_market in legs.items()), ZERO)


def _exposure(order: Order, limit: RiskLimit, held: Held, now: datetime) -> Iterator[Denial]:
    legs = _open_legs(Order.objects.filter(account=order.account))
    here, net = legs.setdefault(order.ticker, []), _net(held, order.ticker)
    cost_before, worst_before = _cost_beyond(net, here), _worst_position(net, here)
    here.append(_leg(order.wire_side, order.wire_price, order.remaining))
    cost, worst = _cost_beyond(net, here) - cost_before, _worst_position(net, here)
    # An order that makes nothing larger passes, however far over a limit the team is: it leads out.
    if cost > limit.max_order_cost:
        yield _over("ORDER_COST", f"This order would cost {dollars(cost)}", dollars(limit.max_order_cost))
    if worst > max(worst_before, limit.max_position):
        said = f"{contracts(worst)} contracts of this market might be held"
        yield _over("POSITION", said, contracts(limit.max_position))
    exposed = sum((position.cost for position in held.values()), _open_cost(held, legs))
    if cost > 0 and exposed > limit.max_exposure:
        yield _over("EXPOSURE", f"{dollars(exposed)} would be at risk in all", dollars(limit.max_exposure))
    yield from _own_limits(order, cost, now)


def _own_limits(order: Order, cost: Decimal, now: datetime) -> Iterator[Denial]:
    """Compare with the person's own limits, which stand beside the team's; one that is not set allows everything."""
    person = Membership.objects.filter(team=order.team, user=order.placed_by_id, is_active=True).first()
    if person is None:
        return
    own = Order.objects.filter(team=order.team, environment=order.environment, placed_by=order.placed_by_id)
    if person.max_order_cost is not None and cost > person.max_order_cost:
        said = f"This order would cost {dollars(cost)}"
        yield _over_own("OWN_ORDER_COST", said, dollars(person.max_order_cost))
    if person.max_working_cost is not None and cost > 0:
        working = sum((leg.count * leg.price for legs in _open_legs(own).values() for leg in legs), cost)
        if working > person.max_working_cost:
            said = f"Your working orders would cost {dollars(working)} together"
            yield _over_own("OWN_WORKING_COST", said, dollars(person.max_working_cost))
    if person.max_orders_per_minute is not None:
        lately = own.filter(created_at__gt=now - MINUTE).exclude(state__in=[OrderState.DRAFT, OrderState.DENIED])
        if lately.count() >= person.max_orders_per_minute:
            said = f"You may place {person.max_orders_per_minute} orders a minute"
            yield Denial("OWN_RATE_LIMIT", f"{said}; wait a moment.")


def _over_own(what: str, said: str, limit: str) -> Denial:
    return Denial(f"{what}_LIMIT", f"{said}; your own limit is {limit}.")


def _over(what: str, said: str, limit: str) -> Denial:
    return Denial(f"{what}_LIMIT", f"{said}; the limit is {limit}.")


def _net(held: Held, ticker: str) -> Decimal:
    return held[ticker].net if ticker in held else ZERO


def _opening(order: Order, held: Held) -> Decimal:
    """Return how many contracts of an order would make the position larger, with all that is open already."""
    net = _net(held, order.ticker)
    others = Order.objects.filter(account=order.account, ticker=order.ticker, wire_side=order.wire_side).at_risk()
    closing = max(ZERO, -net if order.wire_side == "bid" else net)
    free = max(ZERO, closing - sum((other.remaining for other in others), ZERO))
    return max(ZERO, order.count - free)


def _cost_beyond(net: Decimal, legs: Iterable[_Leg]) -> Decimal:
    """Return the most that open orders of one market may cost: what closes a position is free, the cheapest first."""
    legs = list(legs)
    total = ZERO
    for side, free in (("bid", max(ZERO, -net)), ("ask", max(ZERO, net))):
        for leg in sorted((leg for leg in legs if leg.side == side), key=lambda leg: leg.price):
            closing = min(free, leg.count)
            free -= closing
            total += (leg.count - closing) * leg.price
    return total


def _worst_position(net: Decimal, legs: list[_Leg]) -> Decimal:
    bids = sum((leg.count for leg in legs if leg.side == "bid"), ZERO)
    asks = sum((leg.count for leg in legs if leg.side == "ask"), ZERO)
    return max(abs(net + bids), abs(net - asks))


def dollars(amount: Decimal) -> str:
    """Return money for a person: $1,234.50."""
    return f"${amount:,.2f}"


def contracts(count: Decimal) -> str:
    """Return a count for a person: 1,250 or 2.5."""
    whole, point, rest = plain(count).partition(".")
    return f"{int(whole):,}{point}{rest}"


# --- what cannot be written down ---------------------------------------------------------------------------


def _check_count(count: Decimal) -> None:
    if not count.is_finite() or count <= 0 or count < Decimal("0.01"):
        raise BadTicket("COUNT_TOO_SMALL", f"{count} is too little: an order is for at least 0.01 contract.")
    try:
        wire_count(count)
    except NotRepresentable:
        raise BadTicket("COUNT_STEP", f"{count} is not possible: counts go in steps of 0.01 contract.") from None


def _check_price(price: Decimal) -> None:
    try:
        wire_price(price)
    except NotRepresentable:
        said = f"{price * 100:f}¢" if price.is_finite() else str(price)
        raise BadTicket("PRICE_IMPOSSIBLE", f"{said} is not a price: it lies between 0¢ and 100¢.") from None
