"""The reference exchange: the same rules as the engine, written to be read, not to be fast.

It shares nothing with the engine but the rules: `Decimal` dollars and contracts, one flat list of orders that is
searched anew each time, a whole copy of the exchange to find out whether a fill-or-kill order would fill.
Times are whole microseconds. Here stand the other verbs and the life of markets by the clock; matching is in
`modelmatching`, money in `modelmoney`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from tests.markets.sandbox.modelmatching import Matching
from tests.markets.sandbox.modelparts import D0, NO_MONEY_THERE, Ack, ModelGroup, ModelMarket, ModelOrder, Refused

SWEEP = 500_000
OPEN_STATES = ("active", "inactive")


class Model(Matching):
    """One exchange. Members are names, orders and groups numbers in the order in which they came."""

    # --- finding

    def find(self, member: str, number: int, ticker: str | None, shard: int | None) -> ModelOrder:
        if not 0 <= number < len(self.orders) or self.orders[number].member != member:
            raise Refused(404, "not_found")
        order = self.orders[number]
        if shard is None or shard < 0:
            if ticker and ticker not in self.markets:
                raise Refused(404, "not_found")
            shard = self.markets[ticker].shard if ticker else 0
        if order.shard != shard:
            raise Refused(404, "not_found")
        return order

    def find_resting(
        self, member: str, number: int, subaccount: int, ticker: str | None, shard: int | None
    ) -> ModelOrder:
        order = self.find(member, number, ticker, shard)
        if order.subaccount != subaccount:
            raise Refused(404, "not_found")
        if order.shard in self.stopped:
            raise Refused(503, "service_unavailable")
        if self.markets[order.ticker].status not in OPEN_STATES:
            raise Refused(400, "market_inactive")
        if order.status != "resting":
            raise Refused(404, "not_found")
        return order

    # --- cancel and decrease

    def cancel(self, member: str, number: int, subaccount: int, ticker: str | None, shard: int | None) -> Decimal:
        order = self.find_resting(member, number, subaccount, ticker, shard)
        reduced = order.remaining
        self.end(order, "canceled", "Decrease")
        return reduced

    def cancel_all(self, member: str, subaccount: int | None) -> int:
        if self.stopped >= {0, 1, 2, 3}:
            raise Refused(503, "service_unavailable")
        canceled = 0
        for order in self.orders:
            mine = order.member == member and order.status == "resting" and subaccount in (None, order.subaccount)
            if mine and order.shard not in self.stopped and self.markets[order.ticker].status in OPEN_STATES:
                self.end(order, "canceled", "Decrease")
                canceled += 1
        return canceled

    def decrease(
        self,
        member: str,
        number: int,
        by: Decimal | None,
        to: Decimal | None,
        subaccount: int,
        ticker: str | None,
        shard: int | None,
    ) -> Decimal:
        order = self.find_resting(member, number, subaccount, ticker, shard)
        if (by is None) == (to is None):
            raise Refused(400, "invalid_parameters", "exactly one of reduce_by and reduce_to is needed")
        if (by is not None and by <= 0) or (to is not None and to < 0):
            raise Refused(400, "invalid_order_size")
        left = min(order.remaining, to) if to is not None else order.remaining - min(by or D0, order.remaining)
        if left == 0:
            self.end(order, "canceled", "Decrease")
        elif left < order.remaining:
            order.initial -= order.remaining - left
            order.remaining = left
            order.reason = "Decrease"
        return order.remaining

    # --- amend

    def amend(
        self, member: str, number: int, wish: ModelOrder, subaccount: int, renamed: str, shard: int | None
    ) -> Ack:
        """`wish` holds ticker, side, price, total count (initial), old client id and expiry (0 removes it)."""
        order = self.find(member, number, wish.ticker, shard)
        if order.subaccount != subaccount:
            raise Refused(404, "not_found")
        self.check_same(order, wish, shard)
        remaining = wish.initial - order.filled
        self.check_wish(order, wish, remaining, renamed)
        if wish.expires is not None:
            order.expires = wish.expires or None
        if renamed and renamed != order.client_id:
            order.client_id = renamed
            self.used_ids.add((member, renamed))
        return self.become(order, wish.price, wish.initial, remaining)

    def check_same(self, order: ModelOrder, wish: ModelOrder, shard: int | None) -> None:
        if wish.ticker != order.ticker:
            raise Refused(400, "order_ticker_mismatch")
        self.must_be_open(self.markets[order.ticker], shard)
        if order.status != "resting":
            raise Refused(404, "not_found")
        if wish.is_bid != order.is_bid:
            raise Refused(400, "order_side_mismatch")
        if wish.client_id and wish.client_id != order.client_id:
            raise Refused(400, "order_id_and_client_order_id_mismatch")

    def check_wish(self, order: ModelOrder, wish: ModelOrder, remaining: Decimal, renamed: str) -> None:
        if remaining <= 0:
            raise Refused(400, "invalid_order_size", "count must be more than what is filled")
        if wish.price != order.price and not self.markets[order.ticker].takes(wish.price):
            raise Refused(400, "invalid_price")
        if wish.expires and wish.expires <= self.now:
            raise Refused(400, "invalid_order", "Expiration timestamp must be in the future")
        if renamed and renamed != order.client_id and (order.member, renamed) in self.used_ids:
            raise Refused(409, "order_already_exists")
        if wish.price == order.price and remaining <= order.remaining:
            return
        self.check_money(order, wish.price, remaining)
        if order.post_only and self.choices.post_only_amend == "refuse" and self.crosses_at(order, wish.price):
            raise Refused(400, "invalid_order", "post only cross")

    def crosses_at(self, order: ModelOrder, price: Decimal) -> bool:
        others = self.queue(order.ticker, not order.is_bid)
        return any(o.price <= price if order.is_bid else o.price >= price for o in others)

    def become(self, order: ModelOrder, price: Decimal, total: Decimal, remaining: Decimal) -> Ack:
        before, moved = order.remaining, price != order.price
        order.initial = total
        if not moved:
            if remaining > order.remaining:
                order.arrival = self.arrive()
            order.remaining, order.reason = remaining, "Amend"
            return Ack(D0, remaining, None, None) if remaining != before else Ack(None, None, None, None)
        order.status, order.price, order.remaining = "entering", price, remaining
        if order.post_only and self.would_meet(order):
            self.end(order, "canceled", "PostOnlyCrossCancel")
            return Ack(D0, D0, None, None)
        matched = self.enter(order, remaining, "Amend")
        ack = self.acknowledge(order, matched)
        return ack if matched.filled or order.remaining != before else Ack(None, None, None, None)

    # --- groups

    def group_of(self, member: str, number: int) -> ModelGroup:
        if not 0 <= number < len(self.groups):
            raise Refused(404, "not_found")
        group = self.groups[number]
        if group.is_deleted or group.member != member:
            raise Refused(404, "not_found")
        return group

    def check_limit(self, limit: Decimal) -> None:
        if not 1 <= limit <= 1_000_000:
            raise Refused(400, "invalid_parameters", "contracts_limit must be between 1 and 1000000")

    def create_group(self, member: str, limit: Decimal, subaccount: int, shard: int) -> int:
        self.check_limit(limit)
        if (member, subaccount, shard) not in self.accounts:
            raise NO_MONEY_THERE
        self.groups.append(ModelGroup(len(self.groups), member, subaccount, shard, limit))
        return len(self.groups) - 1

    def set_group_limit(self, member: str, number: int, limit: Decimal) -> None:
        group = self.group_of(member, number)
        self.check_limit(limit)
        group.limit = limit
        self.trigger_if_over(group)

    def trigger_group(self, member: str, number: int) -> None:
        self.trigger(self.group_of(member, number))

    def reset_group(self, member: str, number: int) -> None:
        group = self.group_of(member, number)
        group.is_triggered = False
        group.matches = []

    def delete_group(self, member: str, number: int) -> None:
        group = self.group_of(member, number)
        self.trigger(group)
        group.is_deleted = True

    # --- pauses

    def halt(self, is_hit: Callable[[ModelOrder], bool], *, all_of_them: bool = False) -> None:
        for order in self.orders:
            if order.status == "resting" and is_hit(order) and (order.cancel_on_pause or all_of_them):
                self.end(order, "canceled", "HaltCancel")

    def pause_trading(self, shards: Iterable[int]) -> None:
        self.paused.update(shards)
        self.halt(lambda order: order.shard in shards)

    def pause_exchange(self, shards: Iterable[int]) -> None:
        self.stopped.update(shards)
        self.halt(lambda order: order.shard in shards)

    def pause_market(self, ticker: str) -> None:
        self.markets[ticker].status = "inactive"
        self.halt(lambda order: order.ticker == ticker)

    def resume_market(self, ticker: str) -> None:
        self.halt(lambda order: order.ticker == ticker, all_of_them=True)
        self.markets[ticker].status = "active"

    # --- the clock

    def advance(self, now: int) -> None:
        """Do one thing after the other until nothing is due by `now`."""
        while True:
            due = [step for step in self.steps_ahead() if step[0] <= now]
            if not due:
                break
            at, _, act = min(due, key=lambda step: step[:2])
            self.now = at
            act()
        self.now = now

    def steps_ahead(self) -> Iterable[tuple[int, int, Callable[[], None]]]:
        """Yield what the clock will do: (time, rank on one instant, act)."""
        for market in self.markets.values():
            yield from self.steps_of(market)
        for order in self.orders:
            if order.status == "resting" and order.expires and self.markets[order.ticker].status in OPEN_STATES:
                yield order.expires, 1, lambda order=order: self.end(order, "canceled", "ExpiryCancel")  # type: ignore[misc]

    def steps_of(self, market: ModelMarket) -> Iterable[tuple[int, int, Callable[[], None]]]:
        if market.status == "initialized":
            yield market.opens, 0, lambda: setattr(market, "status", "active")
        if market.status in ("initialized", "active", "inactive"):
            yield market.closes, 2, lambda: self.close(market)
        if market.status == "closed" and not market.swept and market.sweep_at is not None:
            yield market.sweep_at, 3, lambda: self.sweep(market)
        if market.status in ("determined", "amended") and market.determined_at is not None:
            yield market.determined_at + market.timer, 5, lambda: self.settle(market)

    def close(self, market: ModelMarket) -> None:
        market.status, market.swept, market.sweep_at = "closed", False, self.now + SWEEP

    def sweep(self, market: ModelMarket) -> None:
        market.swept = True
        for order in self.orders:
            if order.ticker == market.ticker and order.status == "resting":
                self.end(order, "canceled", "CloseCancel")

    def move_close(self, ticker: str, closes: int) -> None:
        market = self.markets[ticker]
        market.closes = closes
        if market.status == "closed" and closes > self.now:
            self.sweep(market)
            market.status = "active"
        self.advance(self.now)

    def determine(self, ticker: str, result: str, value: Decimal) -> None:
        market = self.markets[ticker]
        again = market.status in ("determined", "disputed", "amended")
        if not again:
            self.sweep(market)
        market.status = "amended" if again else "determined"
        market.result, market.value, market.determined_at = result, value, self.now
        self.advance(self.now)

    def dispute(self, ticker: str) -> None:
        self.markets[ticker].status = "disputed"

    def settle(self, market: ModelMarket) -> None:
        market.status = "finalized"
        self.pay_out(market)
