"""Matching: price, then time; what crosses, who pays what, and what is told of it."""

from __future__ import annotations

import pytest

from markets.sandbox.events import BookChanged, Filled, OrderChanged, PositionChanged, Traded
from markets.sandbox.orders import OrderStatus, UpdateReason
from markets.sandbox.refusals import Refusal
from markets.sandbox.rules import Rules
from tests.markets.sandbox.cast import FOK, IOC, MAKER, Cast, M, count, price, refusal


@pytest.fixture
def cast() -> Cast:
    return Cast()


def test_orders_that_do_not_cross_rest_on_their_own_side(cast: Cast) -> None:
    ack = cast.bid("ann", "10", "0.48")
    cast.ask("bob", "5", "0.49")

    assert (ack.filled, ack.remaining, ack.average_price, ack.average_fee) == (0, 1000, None, None)
    assert cast.levels() == ([("0.48", "10.00")], [("0.49", "5.00")])
    assert cast.order("ann", ack).status is OrderStatus.RESTING


def test_a_bid_and_an_ask_at_one_price_cross(cast: Cast) -> None:
    cast.ask("bob", "5", "0.48")
    ack = cast.bid("ann", "10", "0.48")

    assert (ack.filled, ack.remaining, ack.average_price) == (500, 500, 4800)
    assert cast.levels() == ([("0.48", "5.00")], [])
    assert (cast.position("ann"), cast.position("bob")) == ("5", "-5")


def test_the_resting_order_sets_the_price(cast: Cast) -> None:
    cast.ask("bob", "1", "0.52")
    ack = cast.bid("ann", "1", "0.99", time_in_force=IOC)

    assert (ack.filled, ack.average_price) == (100, 5200)
    assert cast.order("ann", ack).price == price("0.99")  # the order keeps showing its limit


def test_the_best_price_is_met_first_whoever_was_earlier(cast: Cast) -> None:
    cast.ask("bob", "2", "0.52")
    cast.ask("bob", "2", "0.50")
    cast.ask("flo", "2", "0.51")
    ack = cast.bid("ann", "3", "0.52", time_in_force=IOC)

    assert [(trade.price, trade.count) for trade in cast.heard(Traded)] == [(5000, 200), (5100, 100)]
    assert ack.average_price == 5033  # (2 × 0.50 + 1 × 0.51) / 3 = 0.50333
    assert cast.levels() == ([], [("0.51", "1.00"), ("0.52", "2.00")])


def test_at_one_price_the_earlier_order_is_met_first(cast: Cast) -> None:
    first = cast.ask("bob", "2", "0.50")
    second = cast.ask("flo", "2", "0.50")
    cast.bid("ann", "3", "0.50")

    assert cast.order("bob", first).status is OrderStatus.EXECUTED
    assert cast.order("flo", second).remaining == count("1")


def test_an_order_far_away_from_the_best_price_matches_nothing(cast: Cast) -> None:
    cast.ask("bob", "1", "0.50")
    ack = cast.bid("ann", "1", "0.49", time_in_force=IOC)

    assert (ack.filled, ack.remaining) == (0, 0)
    assert cast.order("ann", ack).status is OrderStatus.CANCELED


def test_every_match_changes_the_book_by_one_delta_at_the_makers_price_before_the_rest_is_added(cast: Cast) -> None:
    for size, at in (("1.00", "0.41"), ("14.02", "0.35"), ("33", "0.34")):
        cast.bid("bob", size, at)
    cast.told.clear()
    cast.ask("ann", "60", "0.34")

    deltas = [(change.is_bid, change.price, change.change) for change in cast.heard(BookChanged)]
    assert deltas == [(True, 4100, -100), (True, 3500, -1402), (True, 3400, -3300), (False, 3400, 1198)]
    trades = [(trade.price, trade.count, trade.taker_is_bid) for trade in cast.heard(Traded)]
    assert trades == [(4100, 100, False), (3500, 1402, False), (3400, 3300, False)]
    assert len({change.clock for change in cast.heard(BookChanged)}) == 1
    assert len({change.ts_us for change in cast.heard(BookChanged)}) == 1


def test_two_makers_at_one_price_make_two_deltas(cast: Cast) -> None:
    cast.bid("bob", "1", "0.40")
    cast.bid("flo", "2", "0.40")
    cast.told.clear()
    cast.ask("ann", "3", "0.40")

    assert [change.change for change in cast.heard(BookChanged)] == [-100, -200]


def test_a_delta_names_the_order_it_belongs_to(cast: Cast) -> None:
    cast.bid("bob", "1", "0.40", client_order_id="mine")

    change = cast.heard(BookChanged)[-1]
    assert (change.member_id, change.client_order_id, change.subaccount) == ("bob", "mine", 0)


def test_each_side_is_told_its_own_order_fill_and_position(cast: Cast) -> None:
    cast.ask("bob", "4", "0.50", client_order_id="b1")
    cast.told.clear()
    cast.bid("ann", "10", "0.50", client_order_id="a1")

    fills = {event.member_id: event.fill for event in cast.heard(Filled)}
    assert (fills["ann"].is_taker, fills["ann"].count, fills["ann"].post_position) == (True, 400, 400)
    assert (fills["bob"].is_taker, fills["bob"].count, fills["bob"].post_position) == (False, 400, -400)
    assert fills["ann"].trade_id == fills["bob"].trade_id == cast.heard(Traded)[0].trade_id
    orders = {event.member_id: event.order for event in cast.heard(OrderChanged)}
    assert (orders["ann"].status, orders["ann"].remaining) == (OrderStatus.RESTING, 600)
    assert (orders["bob"].status, orders["bob"].filled) == (OrderStatus.EXECUTED, 400)
    positions = {event.member_id: event.position.count for event in cast.heard(PositionChanged)}
    assert positions == {"ann": 400, "bob": -400}


def test_what_was_told_stands_still_while_the_order_goes_on(cast: Cast) -> None:
    cast.bid("ann", "10", "0.48")
    told = cast.heard(OrderChanged)[0].order
    cast.ask("bob", "4", "0.48")

    assert (told.filled, told.remaining) == (0, 1000)


def test_a_quiet_member_trades_without_leaving_paper(cast: Cast) -> None:
    cast.exchange.add_member("house", member_id="house", is_quiet=True)
    cast.exchange.deposit("house", 10**12)
    ack = cast.ask("house", "4", "0.50")
    cast.bid("ann", "4", "0.50")

    assert cast.exchange.fills("house") == []
    assert {event.member_id for event in cast.heard(Filled)} == {"ann"}
    assert cast.position("house") == "-4"
    with pytest.raises(Refusal):
        cast.exchange.order("house", ack.order_id)


# --- immediate or cancel, fill or kill


def test_immediate_or_cancel_takes_what_is_there_and_never_rests(cast: Cast) -> None:
    cast.ask("bob", "4", "0.50")
    ack = cast.bid("ann", "10", "0.50", time_in_force=IOC)

    order = cast.order("ann", ack)
    assert (ack.filled, ack.remaining) == (400, 0)
    assert (order.status, order.filled, order.remaining, order.initial) == (OrderStatus.CANCELED, 400, 0, 1000)
    assert cast.levels() == ([], [])


def test_fill_or_kill_fills_completely_across_levels(cast: Cast) -> None:
    cast.ask("bob", "4", "0.50")
    cast.ask("flo", "6", "0.51")
    ack = cast.bid("ann", "10", "0.51", time_in_force=FOK)

    assert (ack.filled, ack.remaining) == (1000, 0)


def test_fill_or_kill_is_refused_when_one_hundredth_is_missing(cast: Cast) -> None:
    cast.ask("bob", "9.99", "0.50")
    before = cast.cash("ann")

    with pytest.raises(Refusal) as error:
        cast.bid("ann", "10", "0.50", time_in_force=FOK, client_order_id="once")

    assert refusal(error) == (409, "fill_or_kill_insufficient_resting_volume", None)
    assert cast.levels() == ([], [("0.5", "9.99")])
    assert (cast.cash("ann"), cast.exchange.orders("ann")) == (before, [])
    assert cast.bid("ann", "1", "0.10", client_order_id="once").remaining == 100  # a refused id is not used up


def test_fill_or_kill_does_not_count_on_a_maker_without_money(cast: Cast) -> None:
    cast.ask("bob", "6", "0.50")
    cast.ask("flo", "6", "0.50")
    cast.exchange.deposit("bob", -100_000_000)

    with pytest.raises(Refusal) as error:
        cast.bid("ann", "10", "0.50", time_in_force=FOK)

    assert refusal(error)[1] == "fill_or_kill_insufficient_resting_volume"
    assert cast.levels() == ([], [("0.5", "12.00")])


# --- self-trade prevention


def test_taker_at_cross_stops_the_incoming_order_at_an_own_one(cast: Cast) -> None:
    cast.ask("bob", "2", "0.49")
    own = cast.ask("ann", "5", "0.50")
    ack = cast.bid("ann", "10", "0.50")

    order = cast.order("ann", ack)
    assert (ack.filled, ack.remaining) == (200, 0)
    assert (order.status, order.reason) == (OrderStatus.CANCELED, UpdateReason.SELF_TRADE_CANCEL)
    assert cast.order("ann", own).remaining == 500


def test_an_order_that_meets_an_own_one_first_is_accepted_and_canceled(cast: Cast) -> None:
    cast.ask("ann", "5", "0.50")
    ack = cast.bid("ann", "5", "0.50")

    assert (ack.filled, ack.remaining) == (0, 0)


def test_maker_cancels_the_own_resting_order_and_goes_on(cast: Cast) -> None:
    own = cast.ask("ann", "5", "0.49")
    cast.ask("bob", "3", "0.50")
    ack = cast.bid("ann", "10", "0.50", self_trade=MAKER)

    order = cast.order("ann", own)
    assert (order.status, order.reason) == (OrderStatus.CANCELED, UpdateReason.SELF_TRADE_CANCEL)
    assert (ack.filled, ack.remaining) == (300, 700)
    assert cast.levels() == ([("0.5", "7.00")], [])


def test_an_own_order_out_of_reach_is_no_self_trade(cast: Cast) -> None:
    cast.ask("bob", "3", "0.49")
    cast.ask("ann", "5", "0.50")
    ack = cast.bid("ann", "3", "0.50")

    assert ack.filled == 300


def test_fill_or_kill_that_meets_an_own_order_keeps_what_it_matched(cast: Cast) -> None:
    cast.ask("bob", "3", "0.49")
    cast.ask("ann", "5", "0.50")
    ack = cast.bid("ann", "10", "0.50", time_in_force=FOK)

    assert (ack.filled, ack.remaining) == (300, 0)


def test_fill_or_kill_with_maker_prevention_cancels_the_own_order_and_then_its_rest(cast: Cast) -> None:
    cast.ask("bob", "3", "0.49")
    own = cast.ask("ann", "5", "0.50")
    cast.ask("flo", "2", "0.50")
    ack = cast.bid("ann", "10", "0.50", time_in_force=FOK, self_trade=MAKER)

    assert (ack.filled, ack.remaining) == (500, 0)
    assert cast.order("ann", own).status is OrderStatus.CANCELED
    assert cast.levels() == ([], [])


@pytest.mark.parametrize(("scope", "filled"), [("member", 0), ("subaccount", 500)])
def test_whether_sub_accounts_are_one_user_is_a_rule(scope: str, filled: int) -> None:
    cast = Cast(Rules(self_trade_scope=scope))  # type: ignore[arg-type]
    cast.exchange.create_subaccount("ann")
    cast.exchange.transfer("ann", 50_000_000, to_subaccount=1)
    cast.ask("ann", "5", "0.50", subaccount=1)

    assert cast.bid("ann", "5", "0.50").filled == filled


def test_the_clock_of_a_book_rises_with_every_operation_on_it(cast: Cast) -> None:
    assert cast.exchange.book(M).clock == 0
    first = cast.bid("ann", "1", "0.40")
    cast.bid("ann", "1", "0.41")
    cast.exchange.cancel_order("ann", first.order_id)

    clocks = [change.clock for change in cast.heard(BookChanged)]
    assert clocks == [1, 2, 3]
    assert cast.exchange.book(M).clock == 3
