"""Order groups: a limit on what matches within a rolling 15 seconds."""

from __future__ import annotations

import pytest

from markets.sandbox.events import BookChanged, GroupChanged
from markets.sandbox.orders import Amendment, OrderStatus
from markets.sandbox.refusals import Refusal
from markets.sandbox.rules import Rules
from tests.markets.sandbox.cast import FOK, Cast, M, count, money, price, refusal


@pytest.fixture
def cast() -> Cast:
    return Cast()


def group(cast: Cast, limit: str) -> str:
    return cast.exchange.create_group("ann", count(limit)).group_id


def kinds(cast: Cast) -> list[str]:
    return [event.kind for event in cast.heard(GroupChanged)]


def test_a_group_lists_its_resting_orders(cast: Cast) -> None:
    mine = group(cast, "10")
    first = cast.bid("ann", "1", "0.48", group_id=mine)
    second = cast.bid("ann", "2", "0.47", group_id=mine)
    cast.bid("ann", "3", "0.46")
    cast.ask("bob", "1", "0.48")

    assert list(cast.exchange.group("ann", mine).order_ids) == [second.order_id]
    assert [found.group_id for found in cast.exchange.groups("ann")] == [mine]
    assert (cast.exchange.groups("bob"), first.remaining) == ([], 100)


def test_hitting_the_limit_cancels_every_order_of_the_group_and_takes_no_new_ones(cast: Cast) -> None:
    mine = group(cast, "5")
    hit = cast.bid("ann", "8", "0.48", group_id=mine)
    other = cast.bid("ann", "2", "0.40", group_id=mine)
    outside = cast.bid("ann", "2", "0.39")
    cast.ask("bob", "5", "0.48")

    assert (cast.order("ann", hit).status, cast.order("ann", hit).filled) == (OrderStatus.CANCELED, 500)
    assert cast.order("ann", other).status is OrderStatus.CANCELED
    assert cast.order("ann", outside).status is OrderStatus.RESTING
    with pytest.raises(Refusal) as error:
        cast.bid("ann", "1", "0.40", group_id=mine)
    assert refusal(error) == (400, "exceeded_order_group_risk_limit", None)
    assert kinds(cast) == ["created", "triggered"]


def test_below_the_limit_nothing_is_triggered(cast: Cast) -> None:
    mine = group(cast, "5")
    hit = cast.bid("ann", "8", "0.48", group_id=mine)
    cast.ask("bob", "4.99", "0.48")

    assert cast.order("ann", hit).status is OrderStatus.RESTING


def test_where_the_rules_say_exceeded_the_limit_itself_may_be_reached() -> None:
    cast = Cast(Rules(group_limit="exceeded"))
    mine = group(cast, "5")
    hit = cast.bid("ann", "8", "0.48", group_id=mine)
    cast.ask("bob", "5", "0.48")
    assert cast.order("ann", hit).status is OrderStatus.RESTING
    cast.ask("bob", "0.01", "0.48")

    assert cast.order("ann", hit).status is OrderStatus.CANCELED


def test_the_window_rolls(cast: Cast) -> None:
    mine = group(cast, "5")
    hit = cast.bid("ann", "20", "0.48", group_id=mine)
    cast.ask("bob", "3", "0.48")
    cast.wait(15)
    cast.ask("bob", "3", "0.48")  # the first three are 15 seconds old
    assert cast.order("ann", hit).status is OrderStatus.RESTING
    cast.wait(14)
    cast.ask("bob", "2", "0.48")  # five within 15 seconds

    assert cast.order("ann", hit).status is OrderStatus.CANCELED


def test_an_incoming_order_stops_where_its_own_group_is_triggered(cast: Cast) -> None:
    mine = group(cast, "5")
    for _ in range(4):
        cast.ask("bob", "2", "0.50")
    ack = cast.bid("ann", "8", "0.50", group_id=mine)

    assert (ack.filled, ack.remaining) == (600, 0)
    assert cast.order("ann", ack).status is OrderStatus.CANCELED
    assert cast.levels() == ([], [("0.5", "2.00")])


def test_a_group_is_triggered_in_the_middle_of_somebody_elses_order(cast: Cast) -> None:
    mine = group(cast, "3")
    for at in ("0.50", "0.51", "0.52"):
        cast.ask("ann", "3", at, group_id=mine)
    cast.ask("flo", "3", "0.53")
    ack = cast.bid("bob", "6", "0.53")

    assert (ack.filled, ack.average_price) == (600, 5150)  # three at 0.50, then flo's at 0.53


def test_a_fill_or_kill_order_is_one_step_for_the_groups_it_meets(cast: Cast) -> None:
    mine = group(cast, "3")
    for at in ("0.50", "0.51", "0.52"):
        cast.ask("ann", "3", at, group_id=mine)
    ack = cast.bid("bob", "6", "0.53", time_in_force=FOK)

    assert ack.filled == 600
    assert cast.levels() == ([], [])  # and then the third was canceled


def test_reset_forgets_what_matched(cast: Cast) -> None:
    mine = group(cast, "5")
    cast.bid("ann", "5", "0.48", group_id=mine)
    cast.ask("bob", "5", "0.48")
    cast.exchange.reset_group("ann", mine)

    again = cast.bid("ann", "8", "0.48", group_id=mine)
    cast.ask("bob", "4", "0.48")
    assert cast.order("ann", again).status is OrderStatus.RESTING
    assert kinds(cast) == ["created", "triggered", "reset"]


def test_a_member_can_trigger_a_group_itself(cast: Cast) -> None:
    mine = group(cast, "5")
    order = cast.bid("ann", "5", "0.48", group_id=mine)
    cast.exchange.trigger_group("ann", mine)

    assert cast.order("ann", order).status is OrderStatus.CANCELED
    with pytest.raises(Refusal):
        cast.bid("ann", "1", "0.40", group_id=mine)


def test_a_lower_limit_may_trigger_at_once(cast: Cast) -> None:
    mine = group(cast, "5")
    order = cast.bid("ann", "8", "0.48", group_id=mine)
    cast.ask("bob", "4", "0.48")
    cast.exchange.set_group_limit("ann", mine, count("4.01"))
    assert cast.order("ann", order).status is OrderStatus.RESTING
    cast.exchange.set_group_limit("ann", mine, count("4"))

    assert cast.order("ann", order).status is OrderStatus.CANCELED
    assert kinds(cast) == ["created", "limit_updated", "limit_updated", "triggered"]
    assert [event.limit for event in cast.heard(GroupChanged)] == [500, 401, 400, None]


def test_cancels_of_a_group_are_changes_of_their_own_for_the_book(cast: Cast) -> None:
    mine = group(cast, "5")
    cast.bid("ann", "5", "0.48", group_id=mine)
    shown = cast.exchange.book(M).clock
    cast.exchange.trigger_group("ann", mine)

    assert [change.clock for change in cast.heard(BookChanged)[-1:]] == [shown + 1]
    assert cast.exchange.book(M).clock == shown + 1


def test_a_deleted_group_takes_its_orders_with_it(cast: Cast) -> None:
    mine = group(cast, "5")
    order = cast.bid("ann", "5", "0.48", group_id=mine)
    cast.exchange.delete_group("ann", mine)

    assert cast.order("ann", order).status is OrderStatus.CANCELED
    assert cast.exchange.groups("ann") == []
    with pytest.raises(Refusal) as error:
        cast.bid("ann", "1", "0.40", group_id=mine)
    assert refusal(error) == (400, "order_group_not_found", None)


def test_a_group_of_somebody_else_or_of_no_one_is_not_found(cast: Cast) -> None:
    mine = group(cast, "5")

    for who, group_id in (("bob", mine), ("ann", "no-such-group")):
        for act in (
            cast.exchange.group,
            cast.exchange.trigger_group,
            cast.exchange.reset_group,
            cast.exchange.delete_group,
        ):
            with pytest.raises(Refusal) as error:
                act(who, group_id)
            assert refusal(error) == (404, "not_found", None)
    with pytest.raises(Refusal) as error:
        cast.bid("bob", "1", "0.40", group_id=mine)
    assert refusal(error) == (400, "order_group_not_found", None)


def test_a_group_does_not_span_sub_accounts_or_shards(cast: Cast) -> None:
    cast.list_market("KXBTC-M", exchange_index=2)
    cast.exchange.create_subaccount("ann")
    cast.exchange.transfer("ann", money("10"), to_subaccount=1)
    cast.exchange.transfer("ann", money("10"), to_index=2)
    mine = group(cast, "5")

    for place in ({"ticker": "KXBTC-M"}, {"subaccount": 1}):
        with pytest.raises(Refusal) as error:
            cast.bid("ann", "1", "0.40", group_id=mine, **place)
        assert refusal(error)[1] == "order_group_not_found"


@pytest.mark.parametrize("limit", [0, 99, 100_000_001])
def test_a_limit_is_between_one_and_a_million_contracts(cast: Cast, limit: int) -> None:
    with pytest.raises(Refusal) as error:
        cast.exchange.create_group("ann", limit)

    assert refusal(error)[:2] == (400, "invalid_parameters")


def test_an_amend_of_an_order_stays_in_its_group(cast: Cast) -> None:
    mine = group(cast, "5")
    order = cast.bid("ann", "5", "0.48", group_id=mine)
    cast.exchange.amend_order("ann", order.order_id, Amendment(M, True, price("0.49"), count("5")))

    assert list(cast.exchange.group("ann", mine).order_ids) == [order.order_id]
