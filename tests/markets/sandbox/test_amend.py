"""Cancel, decrease and amend: what they refuse, and who keeps a place in the queue."""

from __future__ import annotations

from typing import Any

import pytest

from markets.sandbox.events import BookChanged, OrderChanged
from markets.sandbox.orders import AmendAck, Amendment, CreateAck, OrderStatus, UpdateReason
from markets.sandbox.refusals import Refusal
from markets.sandbox.rules import Rules
from tests.markets.sandbox.cast import HOUR, MAKER, NOW, SECOND, Cast, M, count, price, refusal


@pytest.fixture
def cast() -> Cast:
    return Cast()


def amend(cast: Cast, ack: CreateAck, size: str, at: str, **more: Any) -> AmendAck:
    """Amend ann's bid to a total count and a price."""
    amendment = Amendment(**{"ticker": M, "is_bid": True, "price": price(at), "count": count(size), **more})
    return cast.exchange.amend_order("ann", ack.order_id, amendment)


def ahead(cast: Cast, who: str, ack: CreateAck) -> int:
    return cast.exchange.queue_position(who, ack.order_id)


# --- cancel


def test_a_cancel_gives_back_what_was_still_resting(cast: Cast) -> None:
    ack = cast.bid("ann", "10", "0.48")
    cast.ask("bob", "4", "0.48")
    canceled = cast.exchange.cancel_order("ann", ack.order_id)

    order = cast.order("ann", ack)
    assert canceled.reduced_by == count("6")
    assert (order.status, order.filled, order.remaining) == (OrderStatus.CANCELED, 400, 0)
    assert cast.levels() == ([], [])
    assert cast.heard(BookChanged)[-1].change == -600


def test_canceled_executed_foreign_and_unknown_orders_are_refused_alike(cast: Cast) -> None:
    canceled = cast.bid("ann", "1", "0.40").order_id
    cast.exchange.cancel_order("ann", canceled)
    executed = cast.bid("ann", "1", "0.48").order_id
    cast.ask("bob", "1", "0.48")
    foreign = cast.bid("bob", "1", "0.30").order_id

    for order_id in (canceled, executed, foreign, "3b23c1c7-f4ef-4f0d-8b9a-9e53c61f1a0d"):
        with pytest.raises(Refusal) as error:
            cast.exchange.cancel_order("ann", order_id)
        assert (refusal(error), error.value.message) == ((404, "not_found", None), "not found")


def test_an_order_of_another_sub_account_is_only_found_by_its_number(cast: Cast) -> None:
    number = cast.exchange.create_subaccount("ann")
    cast.exchange.transfer("ann", 10_000_000, to_subaccount=number)
    ack = cast.bid("ann", "1", "0.40", subaccount=number)

    with pytest.raises(Refusal):
        cast.exchange.cancel_order("ann", ack.order_id)
    assert cast.exchange.cancel_order("ann", ack.order_id, subaccount=number).reduced_by == 100


def test_an_order_on_another_shard_is_only_found_with_its_ticker(cast: Cast) -> None:
    cast.list_market("KXBTC-M", exchange_index=2)
    cast.exchange.transfer("ann", 10_000_000, to_index=2)
    ack = cast.bid("ann", "1", "0.40", ticker="KXBTC-M")

    with pytest.raises(Refusal) as error:
        cast.exchange.cancel_order("ann", ack.order_id)
    assert refusal(error) == (404, "not_found", None)
    assert cast.exchange.cancel_order("ann", ack.order_id, ticker="KXBTC-M").reduced_by == 100


def test_cancel_all_reaches_every_shard_and_sub_account_or_one(cast: Cast) -> None:
    cast.list_market("KXBTC-M", exchange_index=2)
    cast.exchange.create_subaccount("ann")
    cast.exchange.transfer("ann", 10_000_000, to_index=2)
    cast.exchange.transfer("ann", 10_000_000, to_subaccount=1)
    cast.bid("ann", "1", "0.40")
    cast.bid("ann", "1", "0.40", ticker="KXBTC-M")
    cast.bid("ann", "1", "0.40", subaccount=1)
    other = cast.bid("bob", "1", "0.40")

    assert cast.exchange.cancel_all("ann", subaccount=1) == 1
    assert cast.exchange.cancel_all("ann") == 2
    assert cast.exchange.cancel_all("ann") == 0
    assert cast.order("bob", other).status is OrderStatus.RESTING


def test_orders_in_the_minute_after_a_cancel_all_may_be_caught_where_the_rules_say_so() -> None:
    cast = Cast(Rules(cancel_all_shadow_us=60 * SECOND))
    cast.exchange.cancel_all("ann")

    assert cast.bid("ann", "1", "0.40").remaining == 0
    cast.wait(60)
    assert cast.bid("ann", "1", "0.40").remaining == 100


# --- decrease


def test_a_decrease_keeps_the_place_in_the_queue(cast: Cast) -> None:
    cast.bid("bob", "5", "0.48")
    mine = cast.bid("ann", "10", "0.48")
    behind = cast.bid("flo", "2", "0.48")

    assert cast.exchange.decrease_order("ann", mine.order_id, reduce_by=count("4")).remaining == 600
    assert (ahead(cast, "ann", mine), ahead(cast, "flo", behind)) == (500, 1100)
    assert cast.exchange.decrease_order("ann", mine.order_id, reduce_to=count("1.5")).remaining == 150
    assert (ahead(cast, "ann", mine), ahead(cast, "flo", behind)) == (500, 650)
    assert [change.change for change in cast.heard(BookChanged)[-2:]] == [-400, -450]


def test_initial_stays_filled_plus_remaining_after_a_decrease(cast: Cast) -> None:
    mine = cast.bid("ann", "10", "0.48")
    cast.ask("bob", "4", "0.48")
    cast.exchange.decrease_order("ann", mine.order_id, reduce_by=count("2"))

    order = cast.order("ann", mine)
    assert (order.initial, order.filled, order.remaining) == (800, 400, 400)
    assert order.reason is UpdateReason.DECREASE


@pytest.mark.parametrize("by", [{"reduce_to": 0}, {"reduce_by": 1000}, {"reduce_by": 1001}])
def test_a_decrease_to_nothing_cancels(cast: Cast, by: dict[str, int]) -> None:
    mine = cast.bid("ann", "10", "0.48")

    assert cast.exchange.decrease_order("ann", mine.order_id, **by).remaining == 0  # type: ignore[arg-type]
    assert cast.order("ann", mine).status is OrderStatus.CANCELED


def test_reduce_to_more_than_rests_changes_nothing(cast: Cast) -> None:
    mine = cast.bid("ann", "10", "0.48")
    cast.told.clear()

    assert cast.exchange.decrease_order("ann", mine.order_id, reduce_to=2000).remaining == 1000
    assert cast.told == []


def test_a_decrease_needs_exactly_one_of_its_two_numbers(cast: Cast) -> None:
    mine = cast.bid("ann", "10", "0.48").order_id

    for numbers in ({}, {"reduce_by": 100, "reduce_to": 100}):
        with pytest.raises(Refusal) as error:
            cast.exchange.decrease_order("ann", mine, **numbers)  # type: ignore[arg-type]
        assert refusal(error)[:2] == (400, "invalid_parameters")
    for numbers in ({"reduce_by": 0}, {"reduce_by": -1}, {"reduce_to": -1}):
        with pytest.raises(Refusal) as error:
            cast.exchange.decrease_order("ann", mine, **numbers)  # type: ignore[arg-type]
        assert refusal(error)[:2] == (400, "invalid_order_size")


# --- amend


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ticker": "KXOTHER"}, "order_ticker_mismatch"),
        ({"is_bid": False}, "order_side_mismatch"),
        ({"client_order_id": "another"}, "order_id_and_client_order_id_mismatch"),
        ({"price": 4850}, "invalid_price"),
        ({"count": 400}, "invalid_order_size"),
        ({"count": 100_000}, "insufficient_balance"),
        ({"expires_us": NOW}, "invalid_order"),
    ],
)
def test_an_amend_that_does_not_fit_is_refused_and_changes_nothing(
    cast: Cast, change: dict[str, Any], code: str
) -> None:
    cast.list_market("KXOTHER")
    mine = cast.bid("ann", "10", "0.48", client_order_id="mine")
    cast.ask("bob", "4", "0.48")
    before, told = cast.order("ann", mine).snapshot(), len(cast.told)

    with pytest.raises(Refusal) as error:
        amend(cast, mine, "10", "0.48", **change)
    assert refusal(error)[:2] == (400, code)
    assert (cast.order("ann", mine), len(cast.told)) == (before, told)


def test_a_finished_order_cannot_be_amended(cast: Cast) -> None:
    mine = cast.bid("ann", "1", "0.48")
    cast.exchange.cancel_order("ann", mine.order_id)

    with pytest.raises(Refusal) as error:
        amend(cast, mine, "2", "0.48")
    assert refusal(error) == (404, "not_found", None)


def test_a_new_price_goes_to_the_back_of_its_queue_with_two_deltas(cast: Cast) -> None:
    mine = cast.bid("ann", "10", "0.48")
    cast.bid("bob", "3", "0.47")
    cast.told.clear()
    ack = amend(cast, mine, "10", "0.47")

    assert ahead(cast, "ann", mine) == 300
    assert [(change.price, change.change) for change in cast.heard(BookChanged)] == [(4800, -1000), (4700, 1000)]
    assert (ack.filled, ack.remaining) == (None, None)  # neither a fill nor another size
    assert cast.heard(OrderChanged)[0].reason is UpdateReason.AMEND


def test_a_larger_size_goes_to_the_back(cast: Cast) -> None:
    mine = cast.bid("ann", "10", "0.48")
    cast.bid("bob", "3", "0.48")
    ack = amend(cast, mine, "12", "0.48")

    assert (ahead(cast, "ann", mine), ack.filled, ack.remaining) == (300, 0, 1200)
    assert cast.order("ann", mine).initial == 1200


def test_a_smaller_size_and_a_new_expiry_keep_the_place(cast: Cast) -> None:
    mine = cast.bid("ann", "10", "0.48")
    cast.bid("bob", "3", "0.48")
    smaller = amend(cast, mine, "2", "0.48")
    later = amend(cast, mine, "2", "0.48", expires_us=NOW + HOUR)

    assert ahead(cast, "ann", mine) == 0
    assert (smaller.remaining, later.remaining) == (200, None)
    assert cast.order("ann", mine).expires_us == NOW + HOUR


def test_the_count_of_an_amend_is_the_total_and_what_is_filled_counts(cast: Cast) -> None:
    mine = cast.bid("ann", "10", "0.48")
    cast.ask("bob", "4", "0.48")
    ack = amend(cast, mine, "5", "0.48")

    order = cast.order("ann", mine)
    assert (ack.remaining, order.initial, order.filled, order.remaining) == (100, 500, 400, 100)


def test_an_amend_that_crosses_fills_and_tells_what_it_paid(cast: Cast) -> None:
    mine = cast.bid("ann", "8", "0.48")
    cast.ask("bob", "6", "0.50")
    ack = amend(cast, mine, "8", "0.50")

    assert (ack.filled, ack.remaining, ack.average_price, ack.average_fee) == (600, 200, 5000, 175)
    assert cast.levels() == ([("0.5", "2.00")], [])


def test_an_amend_meets_own_orders_by_its_self_trade_rule(cast: Cast) -> None:
    mine = cast.bid("ann", "8", "0.48", self_trade=MAKER)
    own = cast.ask("ann", "6", "0.50")
    amend(cast, mine, "8", "0.50")

    assert cast.order("ann", own).status is OrderStatus.CANCELED
    assert cast.order("ann", mine).status is OrderStatus.RESTING


@pytest.mark.parametrize(("rule", "status"), [("cancel", OrderStatus.CANCELED), ("refuse", OrderStatus.RESTING)])
def test_a_post_only_order_amended_into_the_other_side(rule: Any, status: OrderStatus) -> None:
    cast = Cast(Rules(post_only_amend=rule))
    mine = cast.bid("ann", "8", "0.48", post_only=True)
    cast.ask("bob", "6", "0.50")

    if rule == "refuse":
        with pytest.raises(Refusal) as error:
            amend(cast, mine, "8", "0.50")
        assert refusal(error) == (400, "invalid_order", "post only cross")
    else:
        assert amend(cast, mine, "8", "0.50").remaining == 0
        assert cast.order("ann", mine).reason is UpdateReason.POST_ONLY_CROSS_CANCEL
    assert cast.order("ann", mine).status is status
    assert cast.levels()[1] == [("0.5", "6.00")]


def test_a_new_client_order_id_replaces_the_old_one_and_both_are_used_up(cast: Cast) -> None:
    mine = cast.bid("ann", "8", "0.48", client_order_id="old")
    ack = amend(cast, mine, "8", "0.48", client_order_id="old", updated_client_order_id="new")

    assert (ack.client_order_id, cast.order("ann", mine).client_order_id) == ("new", "new")
    for used in ("old", "new"):
        with pytest.raises(Refusal) as error:
            cast.bid("ann", "1", "0.40", client_order_id=used)
        assert refusal(error)[1] == "order_already_exists"


def test_a_used_client_order_id_cannot_be_taken_by_an_amend(cast: Cast) -> None:
    cast.bid("ann", "1", "0.40", client_order_id="used")
    mine = cast.bid("ann", "8", "0.48")

    with pytest.raises(Refusal) as error:
        amend(cast, mine, "8", "0.48", updated_client_order_id="used")
    assert refusal(error) == (409, "order_already_exists", None)


# --- expiry


def test_an_order_expires_at_its_second_and_is_canceled(cast: Cast) -> None:
    mine = cast.bid("ann", "8", "0.48", expires_us=NOW + 5 * SECOND)
    cast.wait(4.9)
    assert cast.order("ann", mine).status is OrderStatus.RESTING
    cast.wait(0.1)

    order = cast.order("ann", mine)
    assert (order.status, order.reason, order.updated_us) == (
        OrderStatus.CANCELED,
        UpdateReason.EXPIRY_CANCEL,
        NOW + 5 * SECOND,
    )
    assert cast.levels() == ([], [])


def test_an_order_that_is_over_matches_nothing_though_nobody_ticked(cast: Cast) -> None:
    cast.bid("ann", "8", "0.48", expires_us=NOW + 5 * SECOND)
    cast.clock.advance(5 * SECOND)

    assert cast.ask("bob", "1", "0.48").filled == 0


def test_an_amend_can_move_and_remove_the_expiry(cast: Cast) -> None:
    moved = cast.bid("ann", "8", "0.48", expires_us=NOW + 5 * SECOND)
    removed = cast.bid("ann", "8", "0.47", expires_us=NOW + 5 * SECOND)
    amend(cast, moved, "8", "0.48", expires_us=NOW + 9 * SECOND)
    amend(cast, removed, "8", "0.47", expires_us=0)

    cast.wait(8)
    assert cast.levels() == ([("0.48", "8.00"), ("0.47", "8.00")], [])
    cast.wait(1)
    assert cast.levels() == ([("0.47", "8.00")], [])
