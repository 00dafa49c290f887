"""A new order: what may refuse it, then matching, then rest or end.

Source: Kalshi trade API v2, `POST /portfolio/events/orders`. The checks run in the order in which they stand here.
"""

from __future__ import annotations

from collections.abc import Iterable

from markets.sandbox import refusals
from markets.sandbox.accounts import Member
from markets.sandbox.book import Book
from markets.sandbox.catalogue import Market, MarketStatus
from markets.sandbox.fills import tell_fills
from markets.sandbox.floor import Floor
from markets.sandbox.matching import Sweep, can_pay, effect, match
from markets.sandbox.numbers import CENT, DOLLAR, SECOND, rounded_ratio
from markets.sandbox.orders import CreateAck, NewOrder, Order, OrderStatus, TimeInForce, UpdateReason
from markets.sandbox.planning import refusal_of_fok
from markets.sandbox.refusals import Refusal
from markets.sandbox.resting import await_expiry, finish, rest, tell_order

YEAR_10000_US = 253_402_300_800 * SECOND


def create(floor: Floor, member_id: str, new: NewOrder) -> CreateAck:
    """Enter an order. Raises Refusal and leaves everything as it was."""
    floor.begin()
    member = floor.members[member_id]
    market = floor.market(new.ticker)
    check_open(floor, market, new.exchange_index)
    book = floor.books[new.ticker]
    _check_terms(floor, book, new)
    _check_identity(floor, member, market, new)
    order = _order(floor, member, market, new)
    wanted = _reducible(floor, order) if new.reduce_only else new.count
    check_money(floor, member, book, order, wanted)
    if new.post_only and crosses(book, order):
        raise refusals.post_only_cross()
    if new.time_in_force is TimeInForce.FOK:
        refusal = refusal_of_fok(floor, book, order, wanted)
        if refusal is not None:
            raise refusal
    _register(floor, member, order)
    book.clock += 1
    sweep = enter(floor, market, book, order, wanted)
    return CreateAck(
        order.order_id, order.client_order_id, sweep.filled, order.remaining, *averages(sweep), ts_us=floor.now
    )


def create_many(floor: Floor, member_id: str, news: Iterable[NewOrder]) -> list[CreateAck | Refusal]:
    """Enter orders one after the other; a refused one does not stop the rest."""
    answers: list[CreateAck | Refusal] = []
    for new in news:
        try:
            answers.append(create(floor, member_id, new))
        except Refusal as refusal:
            answers.append(refusal)
    return answers


def check_open(floor: Floor, market: Market, exchange_index: int | None) -> None:
    """Refuse where nothing may be created or amended: another shard, a pause, a market that is not open."""
    index = market.exchange_index
    if exchange_index is not None and exchange_index >= 0 and exchange_index != index:
        raise refusals.not_found()
    if index in floor.stopped:
        raise refusals.service_unavailable()
    if index in floor.paused:
        raise refusals.trading_is_paused()
    status = market.status
    if market.is_replay or status is MarketStatus.INACTIVE or status is MarketStatus.INITIALIZED:
        raise refusals.market_not_active()
    if status is not MarketStatus.ACTIVE:
        raise refusals.market_inactive()


def _check_terms(floor: Floor, book: Book, new: NewOrder) -> None:
    """Refuse an order that is wrong in itself."""
    if new.count <= 0:
        raise Refusal(400, floor.rules.bad_count_code)
    if new.price not in book.prices:
        raise refusals.invalid_price()
    if new.reduce_only and not _may_reduce(floor, new.time_in_force):
        raise refusals.reduce_only_needs_ioc()
    if new.expires_us is not None:
        if new.time_in_force is not TimeInForce.GTC:
            details = f"Cannot specify both {new.time_in_force.value} and expiration_ts"
            raise Refusal(400, floor.rules.bad_expiry_code, details=details)
        check_expiry(floor, new.expires_us)


def _may_reduce(floor: Floor, time_in_force: TimeInForce) -> bool:
    if time_in_force is TimeInForce.FOK:
        return floor.rules.reduce_only_allows_fok
    return time_in_force is TimeInForce.IOC


def check_expiry(floor: Floor, expires_us: int) -> None:
    """Refuse an expiry that is over already, or that no RFC 3339 time can show."""
    if expires_us <= floor.now:
        raise Refusal(400, floor.rules.bad_expiry_code, details="Expiration timestamp must be in the future")
    if expires_us >= YEAR_10000_US:
        raise Refusal(400, floor.rules.bad_expiry_code, details="Expiration timestamp is out of range")


def _check_identity(floor: Floor, member: Member, market: Market, new: NewOrder) -> None:
    """Refuse a wrong group, a client order id that was used before, a sub-account or shard without any money."""
    if new.group_id:
        group = floor.groups.get(new.group_id)
        place = (member.member_id, new.subaccount, market.exchange_index)
        if group is None or (group.member_id, group.subaccount, group.exchange_index) != place:
            raise Refusal(400, floor.rules.unknown_group_code)
        if group.is_triggered:
            raise Refusal(400, floor.rules.triggered_group_code)
    if new.client_order_id and new.client_order_id in member.client_order_ids:
        raise refusals.order_already_exists()
    if (new.subaccount, market.exchange_index) not in member.balances:
        raise refusals.insufficient_shard_balance()


def _reducible(floor: Floor, order: Order) -> int:
    """Return how much of a reduce-only order its position lets through."""
    held = floor.held(order)
    return max(0, min(order.initial, -held if order.is_bid else held))


def check_money(floor: Floor, member: Member, book: Book, order: Order, count: int) -> None:
    """Refuse when cost and taker fee of this order alone, at its limit, are more than the balance.

    Resting orders lock nothing; whether the exchange counts them here is not documented, so it is a rule.
    """
    balance = member.balances[order.subaccount, order.exchange_index]
    if floor.rules.margin == "free":
        balance -= _set_aside(floor, member, order)
    # $2 a contract and two cents bear any price, fee and rounding; only below that is it worth computing.
    if not count or balance >= count * 2 * DOLLAR + 2 * CENT:
        return
    worst = effect(
        floor,
        book,
        order,
        held=floor.held(order),
        price=order.price,
        count=count,
        is_taker=True,
        rounding=order.rounding,
    )
    if not can_pay(balance, worst.change):
        raise refusals.insufficient_balance()


def _set_aside(floor: Floor, member: Member, order: Order) -> int:
    """Return what the other resting orders of the same pocket would cost."""
    pocket = (order.subaccount, order.exchange_index)
    others = (floor.orders[order_id] for order_id in member.resting_ids if order_id != order.order_id)
    return sum(
        other.remaining * (other.price if other.is_bid else DOLLAR - other.price)
        for other in others
        if (other.subaccount, other.exchange_index) == pocket
    )


def crosses(book: Book, order: Order) -> bool:
    """Say whether an order would meet something at once."""
    return book.side(not order.is_bid).best_within(order.price) is not None


def _order(floor: Floor, member: Member, market: Market, new: NewOrder) -> Order:
    return Order(
        "",
        member.member_id,
        new.subaccount,
        market.exchange_index,
        new.ticker,
        new.client_order_id,
        new.is_bid,
        new.price,
        new.count,
        new.count,
        new.time_in_force,
        new.self_trade,
        new.post_only,
        new.reduce_only,
        new.cancel_on_pause,
        new.expires_us or 0,
        new.group_id,
        floor.now,
        floor.now,
        0,
    )


def _register(floor: Floor, member: Member, order: Order) -> None:
    """Give an accepted order its id and its place in the member's record; quiet members keep no record."""
    order.order_id = floor.new_id()
    floor.orders[order.order_id] = order
    if not member.is_quiet:
        member.order_ids[order.order_id] = None
        if order.client_order_id:
            member.client_order_ids[order.client_order_id] = order.order_id


def enter(
    floor: Floor, market: Market, book: Book, order: Order, wanted: int, *, unfilled: UpdateReason = UpdateReason.NONE
) -> Sweep:
    """Match an order that does not stand in the book, then let it rest or end, and tell its member.

    `unfilled` is the reason told when nothing matched.
    """
    sweep = match(floor, market, book, order, wanted)
    reason = UpdateReason.TRADE if sweep.filled else unfilled
    if not order.remaining:
        finish(floor, order, OrderStatus.EXECUTED)
    elif sweep.stop is not None:
        reason = sweep.stop
        finish(floor, order, OrderStatus.CANCELED)
    elif order.time_in_force is TimeInForce.GTC and not _is_frozen(floor, order):
        rest(floor, book, order)
        await_expiry(floor, order)
    else:
        if wanted < order.remaining + sweep.filled:
            reason = UpdateReason.REDUCE_ONLY_CANCEL
        finish(floor, order, OrderStatus.CANCELED)
    tell_order(floor, order, reason)
    if sweep.fills:
        member = floor.members[order.member_id]
        tell_fills(floor, member, sweep.fills, member.positions[order.subaccount, order.ticker])
    floor.note_quote(book)
    return sweep


def _is_frozen(floor: Floor, order: Order) -> bool:
    return floor.now < floor.members[order.member_id].frozen_until_us


def averages(sweep: Sweep) -> tuple[int | None, int | None]:
    """Return average price and average fee of a contract in $0.0001, or nothing where nothing filled."""
    if not sweep.filled:
        return None, None
    return rounded_ratio(sweep.notional, sweep.filled), rounded_ratio(sweep.fees, sweep.filled)
