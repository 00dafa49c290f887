"""The life of a market: by the clock, by the operator, and what becomes of orders on the way."""

from __future__ import annotations

import pytest

from markets.sandbox.events import BookChanged, BookCleared, EventCreated, LifecycleChanged, OrderChanged
from markets.sandbox.orders import OrderStatus, UpdateReason
from markets.sandbox.refusals import Refusal
from tests.markets.sandbox.cast import HOUR, NOW, SECOND, Cast, M, money, price, refusal


@pytest.fixture
def cast() -> Cast:
    """One market that closes in a minute."""
    return Cast(close_us=NOW + 60 * SECOND)


def status(cast: Cast, ticker: str = M) -> str:
    return cast.exchange.market(ticker).status.value


def kinds(cast: Cast) -> list[str]:
    return [event.kind for event in cast.heard(LifecycleChanged)]


def test_a_market_opens_and_closes_by_the_clock_without_a_word() -> None:
    cast = Cast(open_us=NOW + 10 * SECOND, close_us=NOW + 20 * SECOND)
    assert status(cast) == "initialized"
    with pytest.raises(Refusal) as error:
        cast.bid("ann", "1", "0.48")
    assert refusal(error) == (400, "MARKET_NOT_ACTIVE", None)

    cast.wait(10)
    assert status(cast) == "active"
    assert cast.bid("ann", "1", "0.48").remaining == 100
    cast.wait(10)
    assert status(cast) == "closed"
    assert kinds(cast) == []


def test_listing_tells_of_the_event_and_the_market(cast: Cast) -> None:
    cast.list_series("KXNEW", "quadratic")  # type: ignore[arg-type]

    assert [event.event_ticker for event in cast.heard(EventCreated)] == ["KXNEW-E"]
    created = cast.heard(LifecycleChanged)[0]
    assert (created.kind, created.ticker, created.open_us, created.bands) == (
        "created",
        "KXNEW-E-M",
        NOW,
        ((0, 10_000, 100),),
    )


def test_after_the_close_every_order_operation_is_refused(cast: Cast) -> None:
    mine = cast.bid("ann", "5", "0.48").order_id
    cast.clock.advance(60 * SECOND)

    def decrease() -> object:
        return cast.exchange.decrease_order("ann", mine, reduce_by=100)

    for act in (
        lambda: cast.bid("ann", "1", "0.40"),
        lambda: cast.exchange.cancel_order("ann", mine),
        decrease,
    ):
        with pytest.raises(Refusal) as error:
            act()
        assert refusal(error) == (400, "market_inactive", None)
    assert cast.exchange.cancel_all("ann") == 0


def test_half_a_second_after_the_close_resting_orders_go_and_the_book_is_empty(cast: Cast) -> None:
    mine = cast.bid("ann", "5", "0.48")
    cast.told.clear()
    cast.wait(60.4)
    assert (cast.order("ann", mine).status, cast.told) == (OrderStatus.RESTING, [])
    cast.wait(0.1)

    order = cast.order("ann", mine)
    assert (order.status, order.reason) == (OrderStatus.CANCELED, UpdateReason.CLOSE_CANCEL)
    assert order.updated_us == NOW + 60_500_000
    assert cast.levels() == ([], [])
    assert [event.ts_us for event in cast.heard(BookCleared)] == [NOW + 60_500_000]
    assert cast.heard(BookChanged) == []  # one empty snapshot instead of single changes
    assert [event.order.order_id for event in cast.heard(OrderChanged)] == [mine.order_id]


def test_an_order_that_expires_at_the_close_expires_at_exactly_that_time(cast: Cast) -> None:
    mine = cast.bid("ann", "5", "0.48", expires_us=NOW + 60 * SECOND)
    late = cast.bid("ann", "5", "0.47", expires_us=NOW + 60 * SECOND + 1)
    cast.wait(70)

    assert (cast.order("ann", mine).reason, cast.order("ann", mine).updated_us) == (
        UpdateReason.EXPIRY_CANCEL,
        NOW + 60 * SECOND,
    )
    assert cast.order("ann", late).reason is UpdateReason.CLOSE_CANCEL
    assert cast.heard(BookChanged)[-1].ts_us == NOW + 60 * SECOND


def test_a_pause_keeps_resting_orders_but_those_that_asked_to_go(cast: Cast) -> None:
    stays = cast.bid("ann", "5", "0.48")
    goes = cast.bid("ann", "5", "0.47", cancel_on_pause=True)
    cast.exchange.pause_market(M)

    assert (status(cast), kinds(cast)) == ("inactive", ["deactivated"])
    assert cast.order("ann", stays).status is OrderStatus.RESTING
    assert cast.order("ann", goes).reason is UpdateReason.HALT_CANCEL
    with pytest.raises(Refusal) as error:
        cast.bid("ann", "1", "0.40")
    assert refusal(error) == (400, "MARKET_NOT_ACTIVE", None)
    assert cast.exchange.cancel_order("ann", stays.order_id).reduced_by == 500


def test_reactivation_cancels_every_resting_order(cast: Cast) -> None:
    stays = cast.bid("ann", "5", "0.48")
    cast.exchange.pause_market(M)
    cast.exchange.resume_market(M)

    assert (status(cast), kinds(cast)) == ("active", ["deactivated", "activated"])
    assert cast.order("ann", stays).reason is UpdateReason.HALT_CANCEL
    assert cast.levels() == ([], [])
    assert cast.heard(BookChanged)[-1].change == -500


def test_a_paused_market_closes_at_its_time_all_the_same(cast: Cast) -> None:
    cast.exchange.pause_market(M)
    cast.wait(60)

    assert status(cast) == "closed"


def test_a_close_moved_ahead_reopens_a_closed_market_without_its_orders(cast: Cast) -> None:
    mine = cast.bid("ann", "5", "0.48")
    cast.wait(60.1)
    cast.exchange.move_close(M, NOW + 2 * HOUR)

    assert (status(cast), kinds(cast)) == ("active", ["close_date_updated", "activated"])
    assert cast.order("ann", mine).reason is UpdateReason.CLOSE_CANCEL
    assert cast.bid("ann", "1", "0.48").remaining == 100
    cast.wait(600)
    assert cast.levels() == ([("0.48", "1.00")], [])  # the first close's sweep does not come again


def test_a_close_moved_back_closes_then_or_now(cast: Cast) -> None:
    cast.exchange.move_close(M, NOW + 10 * SECOND)
    cast.wait(10)
    assert status(cast) == "closed"

    other = Cast()
    other.exchange.move_close(M, NOW - HOUR)
    assert (status(other), other.exchange.market(M).close_us) == ("closed", NOW)


def test_a_planned_result_comes_by_the_clock() -> None:
    cast = Cast(
        close_us=NOW + 60 * SECOND,
        determine_us=NOW + 90 * SECOND,
        planned_result="yes",
        planned_value=10_000,
        settlement_timer_us=5 * SECOND,
    )
    cast.ask("bob", "10", "0.50")
    cast.bid("ann", "10", "0.50")
    cast.wait(3600)

    market = cast.exchange.market(M)
    assert (market.status, market.result, market.settlement_value) == ("finalized", "yes", 10_000)
    assert (market.determined_us, market.settled_us) == (NOW + 90 * SECOND, NOW + 95 * SECOND)
    assert cast.cash("ann") == "104.825"


def test_a_result_before_the_close_closes_the_market_first(cast: Cast) -> None:
    mine = cast.bid("ann", "5", "0.48")
    cast.exchange.determine(M, "no")

    assert kinds(cast) == ["close_date_updated", "determined", "settled"]
    determined = cast.heard(LifecycleChanged)[1]
    assert (determined.result, determined.value) == ("no", 0)
    assert cast.order("ann", mine).reason is UpdateReason.CLOSE_CANCEL
    assert len(cast.heard(BookCleared)) == 1


def test_a_grid_may_change_while_orders_rest_off_it(cast: Cast) -> None:
    cast.exchange.set_grid(M, "deci_cent")
    odd = cast.bid("ann", "5", "0.485")
    cast.exchange.set_grid(M, "linear_cent")

    assert cast.levels() == ([("0.485", "5.00")], [])
    with pytest.raises(Refusal) as error:
        cast.bid("ann", "1", "0.485")
    assert refusal(error) == (400, "invalid_price", None)
    assert cast.ask("bob", "5", "0.48").average_price == price("0.485")
    assert cast.order("ann", odd).status is OrderStatus.EXECUTED
    told = cast.heard(LifecycleChanged)
    assert [(event.kind, event.structure) for event in told] == [
        ("price_level_structure_updated", "deci_cent"),
        ("price_level_structure_updated", "linear_cent"),
    ]


def test_what_is_only_shown_can_be_changed(cast: Cast) -> None:
    cast.exchange.update_details(M, {"yes_sub_title": "Rain"})

    assert cast.exchange.market(M).details == {"yes_sub_title": "Rain"}
    assert kinds(cast) == ["metadata_updated"]


def test_an_operator_cannot_do_what_the_state_forbids(cast: Cast) -> None:
    with pytest.raises(ValueError, match="active"):
        cast.exchange.resume_market(M)
    with pytest.raises(ValueError, match="active"):
        cast.exchange.dispute(M)
    with pytest.raises(KeyError):
        cast.list_market("X", event="NO-SUCH-EVENT")


# --- pauses of the exchange


def test_a_trading_pause_stops_creates_and_amends_but_not_cancels(cast: Cast) -> None:
    stays = cast.bid("ann", "5", "0.48")
    goes = cast.bid("ann", "5", "0.47", cancel_on_pause=True)
    cast.exchange.pause_trading()

    with pytest.raises(Refusal) as error:
        cast.bid("ann", "1", "0.40")
    assert refusal(error) == (409, "trading_is_paused", None)
    assert (cast.exchange.is_exchange_active(), cast.exchange.is_trading_active()) == (True, False)
    assert cast.order("ann", goes).reason is UpdateReason.HALT_CANCEL
    assert cast.exchange.cancel_order("ann", stays.order_id).reduced_by == 500
    cast.exchange.resume_trading()
    assert cast.bid("ann", "1", "0.40").remaining == 100


def test_an_exchange_pause_stops_everything(cast: Cast) -> None:
    stays = cast.bid("ann", "5", "0.48")
    cast.exchange.pause_exchange()

    acts = (
        lambda: cast.bid("ann", "1", "0.40"),
        lambda: cast.exchange.cancel_order("ann", stays.order_id),
        lambda: cast.exchange.cancel_all("ann"),
    )
    for act in acts:
        with pytest.raises(Refusal) as error:
            act()
        assert refusal(error) == (503, "service_unavailable", None)
    assert (cast.exchange.is_exchange_active(), cast.exchange.is_trading_active()) == (False, False)
    cast.exchange.resume_exchange()
    assert cast.exchange.cancel_all("ann") == 1


def test_a_pause_of_one_shard_leaves_the_others_alone(cast: Cast) -> None:
    cast.list_market("KXBTC-M", exchange_index=2)
    cast.exchange.transfer("ann", money("10"), to_index=2)
    cast.exchange.pause_trading(2)

    assert cast.bid("ann", "1", "0.40").remaining == 100
    with pytest.raises(Refusal):
        cast.bid("ann", "1", "0.40", ticker="KXBTC-M")
    assert (cast.exchange.is_trading_active(0), cast.exchange.is_trading_active(2)) == (True, False)


def test_tick_says_when_something_will_be_due(cast: Cast) -> None:
    assert cast.exchange.tick() == NOW + 60 * SECOND
    cast.wait(60)
    assert cast.exchange.tick() == NOW + 60_500_000
    cast.wait(1)
    assert cast.exchange.tick() is None
