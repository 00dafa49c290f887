"""The judge's sight: a bug planted in the engine under its name must be found by the reference exchange in seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from markets.sandbox import amending, creating, fees, fills, groups, halts, life, matching, resting, settlement
from markets.sandbox.book import Level, Side
from markets.sandbox.fees import Effect, FeeRates
from markets.sandbox.floor import Floor
from markets.sandbox.numbers import DOLLAR
from markets.sandbox.orders import Order, SelfTrade, TimeInForce
from tests.markets.sandbox.driver import Driver
from tests.markets.sandbox.pair import Difference

MOST_SEQUENCES = 600
STEPS = 90

Plant = Callable[[pytest.MonkeyPatch], None]
BUGS: dict[str, Plant] = {}


def bug(plant: Plant) -> Plant:
    """List a bug under the name of its function."""
    BUGS[plant.__name__] = plant
    return plant


@bug
def time_priority_reversed(patch: pytest.MonkeyPatch) -> None:
    add = Side.add

    def add_in_front(self: Side, order: Order) -> None:
        add(self, order)
        level = self.levels[order.price]
        level.orders = {order.order_id: order, **level.orders}

    patch.setattr(Side, "add", add_in_front)


@bug
def price_priority_reversed(patch: pytest.MonkeyPatch) -> None:
    def worst_within(self: Side, price: int) -> Level | None:
        met = [own for own in self.prices() if (own >= price if self.is_bid else own <= price)]
        return self.levels[met[-1]] if met else None

    patch.setattr(Side, "best_within", worst_within)


@bug
def netting_forgotten(patch: pytest.MonkeyPatch) -> None:
    def never_closing(held: int, is_bid: bool, price: int, count: int) -> tuple[int, int]:
        return -count * (price if is_bid else DOLLAR - price), 0

    patch.setattr(fees, "revenue", never_closing)


@bug
def fee_rounded_down(patch: pytest.MonkeyPatch) -> None:
    def floored(rates: FeeRates, price: int, count: int, *, is_taker: bool, step: int, now_us: int) -> int:
        if now_us < rates.free_until_us:
            return 0
        rate = rates.taker if is_taker else rates.maker
        return rate * count * price * (DOLLAR - price) // (10**12 * step) * step

    patch.setattr(matching, "trade_fee", floored)


@bug
def maker_pays_as_taker(patch: pytest.MonkeyPatch) -> None:
    effect = matching.effect
    patch.setattr(matching, "effect", lambda *args, **facts: effect(*args, **{**facts, "is_taker": True}))


@bug
def rebate_forgotten(patch: pytest.MonkeyPatch) -> None:
    fill_effect = fees.fill_effect

    def without_rebate(*args: Any, **facts: Any) -> Effect:
        return fill_effect(*args, **{**facts, "rebate_step": 10**15})

    patch.setattr(matching, "fill_effect", without_rebate)


@bug
def fee_waiver_ignored(patch: pytest.MonkeyPatch) -> None:
    trade_fee = fees.trade_fee
    patch.setattr(matching, "trade_fee", lambda *args, **facts: trade_fee(*args, **{**facts, "now_us": 2**62}))


@bug
def self_trade_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(matching, "is_own", lambda floor, order, other: False)


@bug
def self_trade_always_cancels_the_taker(patch: pytest.MonkeyPatch) -> None:
    meet_own = matching._meet_own

    def taker_gives_way(floor: Floor, book: Any, order: Order, maker: Order, sweep: Any) -> None:
        order.self_trade = SelfTrade.TAKER_AT_CROSS
        meet_own(floor, book, order, maker, sweep)

    patch.setattr(matching, "_meet_own", taker_gives_way)


@bug
def post_only_crosses(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(creating, "crosses", lambda book, order: False)


@bug
def fill_or_kill_fills_partly(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(creating, "refusal_of_fok", lambda floor, book, order, wanted: None)


@bug
def immediate_or_cancel_rests(patch: pytest.MonkeyPatch) -> None:
    enter = creating.enter

    def enter_to_stay(floor: Floor, market: Any, book: Any, order: Order, wanted: int) -> Any:
        if order.time_in_force is TimeInForce.IOC:
            order.time_in_force = TimeInForce.GTC
        return enter(floor, market, book, order, wanted)

    patch.setattr(creating, "enter", enter_to_stay)


@bug
def reduce_only_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(creating, "_reducible", lambda floor, order: order.initial)


@bug
def decrease_loses_its_place(patch: pytest.MonkeyPatch) -> None:
    resize = amending._resize

    def to_the_back(floor: Floor, book: Any, order: Order, remaining: int) -> None:
        resize(floor, book, order, remaining)
        book.side(order.is_bid).remove(order)
        book.side(order.is_bid).add(order)

    patch.setattr(amending, "_resize", to_the_back)


@bug
def larger_amend_keeps_its_place(patch: pytest.MonkeyPatch) -> None:
    def in_place(floor: Floor, book: Any, order: Order, remaining: int) -> None:
        change = remaining - order.remaining
        book.side(order.is_bid).levels[order.price].size += change
        order.remaining = remaining
        resting.tell_book(floor, book, order, change)

    patch.setattr(amending, "_resize", in_place)


@bug
def expiry_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(life, "_expire", lambda floor, order_id: None)


@bug
def client_order_id_used_twice(patch: pytest.MonkeyPatch) -> None:
    register = creating._register

    def forgetful(floor: Floor, member: Any, order: Order) -> None:
        register(floor, member, order)
        member.client_order_ids.clear()

    patch.setattr(creating, "_register", forgetful)


@bug
def group_window_not_rolling(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(groups, "_age", lambda floor, group: None)


@bug
def group_takes_orders_after_its_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(groups, "trigger_if_over", lambda floor, group_id: False)


@bug
def margin_cancel_missing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(matching, "can_pay", lambda balance, change: True)


@bug
def balance_not_asked_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(creating, "check_money", lambda floor, member, book, order, count: None)


@bug
def cancel_on_pause_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(halts, "cancel_on_pause", lambda floor, orders: None)


@bug
def close_leaves_orders_resting(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(life, "_sweep", lambda floor, market: None)


@bug
def everybody_is_paid_as_yes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settlement, "DOLLAR", 0)


@bug
def realized_profit_after_fees(patch: pytest.MonkeyPatch) -> None:
    move = fills.move_position

    def minus_fee(position: Any, is_bid: bool, leg: int, count: int, effect: Effect) -> None:
        move(position, is_bid, leg, count, effect)
        position.realized -= effect.fee

    patch.setattr(fills, "move_position", minus_fee)


@bug
def change_of_the_book_not_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(amending, "tell_book", lambda floor, book, order, change: None)


@bug
def resting_orders_never_set_money_aside(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(creating, "_set_aside", lambda floor, member, order: 0)


@bug
def queue_counts_the_own_price_alone(patch: pytest.MonkeyPatch) -> None:
    def ahead_at_that_price(side: Any, order: Order) -> int:
        orders = list(side.levels[order.price].orders.values())
        return sum(other.remaining for other in orders[: orders.index(order)])

    patch.setattr(Side, "ahead_of", ahead_at_that_price)


@bug
def grid_change_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(life, "grid_prices", lambda bands: frozenset(range(100, DOLLAR, 100)))


@pytest.mark.sight
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[name](monkeypatch)

    with pytest.raises(Difference):
        for seed in range(MOST_SEQUENCES):
            Driver(seed).play(STEPS)
