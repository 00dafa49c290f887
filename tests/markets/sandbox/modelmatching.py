"""The reference exchange's book and matching: one flat list of orders that is searched anew each time."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

from tests.markets.sandbox.modelmoney import Account, Money
from tests.markets.sandbox.modelparts import (
    D0,
    NO_MONEY_THERE,
    Ack,
    Choices,
    ModelGroup,
    ModelMarket,
    ModelOrder,
    ModelTrade,
    Refused,
)

CENTI = Decimal("0.0001")


@dataclass
class Matched:
    """What one incoming order did."""

    filled: Decimal = D0
    paid: Decimal = D0
    fees: Decimal = D0
    stop: str | None = None
    met_own: bool = False
    over: list[int] = field(default_factory=list)


class Matching(Money):
    """The part of the reference exchange that enters orders and matches them."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.now = 0
        self.arrivals = 0
        self.orders: list[ModelOrder] = []
        self.groups: list[ModelGroup] = []
        self.trades: list[ModelTrade] = []
        self.markets: dict[str, ModelMarket] = {}
        self.accounts: dict[tuple[str, int, int], Account] = {}  # (member, subaccount, shard)
        self.precision: dict[str, Decimal] = {}  # member → balance precision
        self.used_ids: set[tuple[str, str]] = set()
        self.paused: set[int] = set()
        self.stopped: set[int] = set()
        self.fees_collected = D0
        self.positions = {}
        self.fills = []
        self.branches = Counter()
        self.settlements = []

    # --- the book

    def queue(self, ticker: str, is_bid: bool) -> list[ModelOrder]:
        """Return one side of a book: best price first, then who came first."""
        side = [o for o in self.orders if o.status == "resting" and o.ticker == ticker and o.is_bid == is_bid]
        return sorted(side, key=lambda o: (-o.price if is_bid else o.price, o.arrival))

    def would_meet(self, order: ModelOrder) -> list[ModelOrder]:
        """Return the resting orders an incoming one crosses, in the order of meeting."""
        others = self.queue(order.ticker, not order.is_bid)
        return [o for o in others if (o.price <= order.price if order.is_bid else o.price >= order.price)]

    def end(self, order: ModelOrder, status: str, reason: str) -> None:
        order.status, order.reason = status, reason
        if status == "canceled":
            order.remaining = D0

    # --- creating

    def create(self, order: ModelOrder, shard: int | None) -> Ack:
        market = self.markets.get(order.ticker)
        if market is None:
            raise Refused(404, "not_found")
        self.must_be_open(market, shard)
        order.shard = market.shard
        self.check_terms(market, order)
        self.check_identity(order)
        wanted = order.initial
        if order.reduce_only:
            held = self.held(order)
            wanted = max(D0, min(wanted, -held if order.is_bid else held))
        self.check_money(order, order.price, wanted)
        if order.post_only and self.would_meet(order):
            raise Refused(400, "invalid_order", "post only cross")
        if order.tif == "fill_or_kill":
            self.must_fill(order, wanted)
        order.number = len(self.orders)
        order.status = "entering"
        self.orders.append(order)
        if order.client_id:
            self.used_ids.add((order.member, order.client_id))
        matched = self.enter(order, wanted, "")
        return self.acknowledge(order, matched)

    def must_be_open(self, market: ModelMarket, shard: int | None) -> None:
        if shard not in (None, -1, market.shard):
            raise Refused(404, "not_found")
        if market.shard in self.stopped:
            raise Refused(503, "service_unavailable")
        if market.shard in self.paused:
            raise Refused(409, "trading_is_paused")
        if market.status in ("initialized", "inactive"):
            raise Refused(400, "MARKET_NOT_ACTIVE")
        if market.status != "active":
            raise Refused(400, "market_inactive")

    def check_terms(self, market: ModelMarket, order: ModelOrder) -> None:
        if order.initial <= 0:
            raise Refused(400, "invalid_order_size")
        if not market.takes(order.price):
            raise Refused(400, "invalid_price")
        reducing = ["immediate_or_cancel"] + ["fill_or_kill"] * self.choices.reduce_only_allows_fok
        if order.reduce_only and order.tif not in reducing:
            raise Refused(400, "invalid_order", "reduce_only can only be used with IoC or FoK orders")
        if order.expires is not None and order.tif != "good_till_canceled":
            raise Refused(400, "invalid_order", f"Cannot specify both {order.tif} and expiration_ts")
        if order.expires is not None and order.expires <= self.now:
            raise Refused(400, "invalid_order", "Expiration timestamp must be in the future")

    def check_identity(self, order: ModelOrder) -> None:
        if order.group is not None:
            group = self.groups[order.group] if order.group < len(self.groups) else None
            place = (order.member, order.subaccount, order.shard)
            if group is None or group.is_deleted or (group.member, group.subaccount, group.shard) != place:
                raise Refused(400, "order_group_not_found")
            if group.is_triggered:
                raise Refused(400, "exceeded_order_group_risk_limit")
        if (order.member, order.client_id) in self.used_ids:
            raise Refused(409, "order_already_exists")
        if (order.member, order.subaccount, order.shard) not in self.accounts:
            raise NO_MONEY_THERE

    def must_fill(self, order: ModelOrder, wanted: Decimal) -> None:
        """Try it on a copy of the whole exchange: all must match, unless an own order is met."""
        trial = copy.deepcopy(self)
        twin = copy.deepcopy(order)
        matched = trial.match(twin, wanted)
        if matched.met_own or matched.filled == wanted:
            return
        if matched.stop == "MarginCancel":
            raise Refused(400, "insufficient_balance")
        raise Refused(409, "fill_or_kill_insufficient_resting_volume")

    def enter(self, order: ModelOrder, wanted: Decimal, unfilled: str) -> Matched:
        matched = self.match(order, wanted)
        reason = "Trade" if matched.filled else unfilled
        if order.remaining == 0:
            self.end(order, "executed", reason)
        elif matched.stop is not None:
            self.end(order, "canceled", matched.stop)
        elif order.tif == "good_till_canceled":
            order.status, order.reason = "resting", reason
            order.arrival = self.arrive()
        else:
            capped = wanted < order.remaining + matched.filled
            self.end(order, "canceled", "ReduceOnlyCancel" if capped else reason)
        return matched

    def arrive(self) -> int:
        self.arrivals += 1
        return self.arrivals

    def acknowledge(self, order: ModelOrder, matched: Matched) -> Ack:
        if not matched.filled:
            return Ack(D0, order.remaining, None, None)
        price = (matched.paid / matched.filled).quantize(CENTI, ROUND_HALF_UP)
        fee = (matched.fees / matched.filled).quantize(CENTI, ROUND_HALF_UP)
        return Ack(matched.filled, order.remaining, price, fee)

    # --- matching

    def match(self, order: ModelOrder, wanted: Decimal) -> Matched:
        matched = Matched()
        while wanted and matched.stop is None:
            meeting = self.would_meet(order)
            if not meeting:
                break
            maker = meeting[0]
            if self.is_own(order, maker):
                matched.met_own = True
                if order.self_trade == "taker_at_cross":
                    matched.stop = "SelfTradeCancel"
                else:
                    self.end(maker, "canceled", "SelfTradeCancel")
                continue
            count = min(wanted, maker.remaining)
            if not self.can_bear(order, maker.price, count, is_taker=True):
                matched.stop = "MarginCancel"
                continue
            if not self.can_bear(maker, maker.price, count, is_taker=False):
                self.end(maker, "canceled", "MarginCancel")
                continue
            self.trade(order, maker, count, matched)
            wanted -= count
        if order.tif == "fill_or_kill":
            self.look_at_groups(order, matched)
        return matched

    def is_own(self, order: ModelOrder, other: ModelOrder) -> bool:
        same_account = order.subaccount == other.subaccount or self.choices.self_trade_scope == "member"
        return order.member == other.member and same_account

    def trade(self, order: ModelOrder, maker: ModelOrder, count: Decimal, matched: Matched) -> None:
        price = maker.price
        self.trades.append(ModelTrade(order.ticker, price, count, order.is_bid, self.now))
        market = self.markets[order.ticker]
        market.volume += count
        market.last_price = price
        self.book_fill(maker, price, count, is_taker=False)
        fee = self.book_fill(order, price, count, is_taker=True)
        maker.reason = "Trade"
        if maker.remaining == 0:
            self.end(maker, "executed", "Trade")
        matched.filled += count
        matched.paid += price * count
        matched.fees += fee
        for number in (maker.group, order.group):
            if number is not None:
                self.groups[number].matches.append((self.now, count))
                matched.over.append(number)
        if order.tif != "fill_or_kill":
            self.look_at_groups(order, matched)

    # --- groups

    def in_window(self, group: ModelGroup) -> Decimal:
        """Return what a group matched in the last 15 seconds."""
        return sum((count for at, count in group.matches if at > self.now - 15_000_000), D0)

    def look_at_groups(self, order: ModelOrder, matched: Matched) -> None:
        for number in matched.over:
            if self.trigger_if_over(self.groups[number]) and number == order.group:
                matched.stop = ""
        matched.over = []

    def trigger_if_over(self, group: ModelGroup) -> bool:
        held = self.in_window(group)
        over = held >= group.limit if self.choices.group_limit == "hit" else held > group.limit
        if not over or group.is_triggered:
            return False
        self.trigger(group)
        return True

    def trigger(self, group: ModelGroup) -> None:
        group.is_triggered = True
        for order in self.orders:
            if order.group == group.number and order.status == "resting":
                self.end(order, "canceled", "")
