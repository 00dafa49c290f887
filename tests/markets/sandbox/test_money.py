"""Balances, positions and what can be read of them, against recorded accounts where there are any."""

from __future__ import annotations

import pytest

from markets.sandbox.refusals import Refusal
from tests.markets.sandbox.cast import IOC, NOW, SECOND, Cast, M, count, money, refusal


@pytest.fixture
def cast() -> Cast:
    return Cast()


def test_the_recorded_account_that_bought_two_at_99_cents(cast: Cast) -> None:
    cast.ask("bob", "2", "0.99")
    for _ in range(2):
        cast.bid("ann", "1", "0.99", time_in_force=IOC)

    view = cast.exchange.balance("ann")
    assert (view.balance, view.portfolio_value) == (money("98.0186"), money("1.98"))
    assert view.breakdown == ((0, money("98.0186")),)


def test_the_recorded_account_that_bought_yes_and_then_no_at_48_cents(cast: Cast) -> None:
    # A maker both times, so without fees: −0.48, then −0.48 + 1.
    cast.bid("ann", "1", "0.48")
    cast.ask("bob", "1", "0.48")
    assert (cast.cash("ann"), cast.exchange.balance("ann").portfolio_value) == ("99.52", money("0.48"))
    cast.ask("ann", "1", "0.52")  # buys NO at 0.48
    cast.bid("bob", "1", "0.52")

    ((position,), (event,)) = cast.exchange.positions("ann")
    assert cast.cash("ann") == "100.04"
    assert (position.count, position.realized, position.total_traded) == (0, money("0.04"), money("0.96"))
    assert (position.exposure, position.fees) == (0, 0)
    assert (event.event_ticker, event.total_cost, event.total_count) == ("KXRAIN-26NOV23", money("0.96"), count("2"))


def test_profit_is_realized_without_fees_and_against_the_average_cost(cast: Cast) -> None:
    for at in ("0.40", "0.60"):
        cast.ask("bob", "10", at)
        cast.bid("ann", "10", at)
    cast.bid("bob", "5", "0.70")
    cast.ask("ann", "5", "0.70")

    ((position,), _) = cast.exchange.positions("ann")
    assert (position.realized, position.exposure, position.count) == (money("1"), money("7.5"), 1500)
    assert position.fees == money("0.4095")


def test_a_position_can_turn_to_the_other_side_in_one_fill(cast: Cast) -> None:
    cast.ask("bob", "10", "0.50")
    cast.bid("ann", "10", "0.50")
    cast.bid("flo", "15", "0.60")
    cast.ask("ann", "15", "0.60")

    ((position,), _) = cast.exchange.positions("ann")
    assert (position.count, position.exposure, position.realized) == (-500, money("2"), money("1"))


def test_costs_of_a_position_that_do_not_divide_are_kept_to_the_last_micro(cast: Cast) -> None:
    # 3 contracts for 1.00 in all: one costs 0.333333, the other two keep 0.666667.
    cast.list_market("DECI", structure="deci_cent")
    for size, at in (("2", "0.333"), ("1", "0.334")):
        cast.ask("bob", size, at, ticker="DECI")
        cast.bid("ann", size, at, ticker="DECI")
    cast.bid("bob", "1", "0.400", ticker="DECI")
    cast.ask("ann", "1", "0.400", ticker="DECI")

    ((position,), _) = cast.exchange.positions("ann")
    assert (position.exposure, position.realized) == (money("0.666667"), money("0.066667"))


def test_portfolio_value_marks_no_positions_at_the_other_side_of_the_last_price(cast: Cast) -> None:
    cast.ask("ann", "1", "0.52")
    cast.bid("bob", "1", "0.52")
    cast.bid("bob", "1", "0.60")
    cast.ask("flo", "1", "0.60")

    assert cast.exchange.balance("ann").portfolio_value == money("0.4")


def test_open_interest_counts_contracts_that_have_two_holders(cast: Cast) -> None:
    def open_interest() -> int:
        return cast.exchange.quote(M).open_interest

    cast.ask("bob", "10", "0.50")
    cast.bid("ann", "10", "0.50")
    assert open_interest() == 1000  # both opened
    cast.bid("flo", "4", "0.50")
    cast.ask("ann", "4", "0.50")
    assert open_interest() == 1000  # flo took over four from ann
    cast.ask("ann", "6", "0.40")
    cast.bid("bob", "6", "0.40")
    assert open_interest() == 400  # ann and bob closed six against each other


def test_orders_show_what_their_fills_cost_on_the_side_they_bought(cast: Cast) -> None:
    resting = cast.ask("bob", "10", "0.60")
    taking = cast.bid("ann", "4", "0.60")

    maker, taker = cast.order("bob", resting), cast.order("ann", taking)
    assert (maker.maker_cost, maker.taker_cost, maker.maker_fees) == (money("1.6"), 0, 0)
    assert (taker.taker_cost, taker.maker_cost) == (money("2.4"), 0)
    assert taker.taker_fees == money("0.0672")


def test_an_order_that_first_takes_and_then_makes_keeps_both_apart(cast: Cast) -> None:
    cast.ask("bob", "4", "0.50")
    mine = cast.bid("ann", "10", "0.50")
    cast.ask("flo", "6", "0.50")

    order = cast.order("ann", mine)
    assert (order.taker_cost, order.maker_cost) == (money("2"), money("3"))


# --- reading


def test_lists_are_newest_first_and_filtered(cast: Cast) -> None:
    cast.list_market("KXSNOW-M")
    first = cast.bid("ann", "1", "0.40")
    cast.wait(1)
    second = cast.bid("ann", "1", "0.41", ticker="KXSNOW-M")
    cast.wait(1)
    third = cast.bid("ann", "1", "0.42")
    cast.exchange.cancel_order("ann", first.order_id)

    def ids(**filters: object) -> list[str]:
        return [order.order_id for order in cast.exchange.orders("ann", **filters)]  # type: ignore[arg-type]

    assert ids() == [third.order_id, second.order_id, first.order_id]
    assert ids(tickers=[M]) == [third.order_id, first.order_id]
    assert ids(event_tickers=["KXRAIN-26NOV23"]) == [third.order_id, second.order_id, first.order_id]
    assert ids(status=cast.order("ann", first).status) == [first.order_id]
    assert ids(min_us=NOW + SECOND, max_us=NOW + SECOND) == [second.order_id]
    assert ids(subaccount=1) == ids(exchange_index=1) == []


def test_fills_are_filtered_by_order_and_market(cast: Cast) -> None:
    cast.ask("bob", "10", "0.50")
    first = cast.bid("ann", "1", "0.50")
    second = cast.bid("ann", "2", "0.50")

    assert [fill.count for fill in cast.exchange.fills("ann")] == [200, 100]
    assert [fill.count for fill in cast.exchange.fills("ann", order_id=first.order_id)] == [100]
    assert [fill.order_id for fill in cast.exchange.fills("ann", tickers=[M])] == [second.order_id, first.order_id]
    assert cast.exchange.fills("ann", tickers=["KXSNOW-M"]) == []
    assert [fill.count for fill in cast.exchange.fills("bob")] == [200, 100]


def test_positions_are_filtered_by_what_they_hold(cast: Cast) -> None:
    cast.ask("bob", "1", "0.50")
    cast.bid("ann", "1", "0.50")
    cast.bid("bob", "1", "0.50")
    cast.ask("ann", "1", "0.50")

    assert [position.count for position in cast.exchange.positions("ann")[0]] == [0]
    assert cast.exchange.positions("ann", has_position=True) == ([], [])
    assert len(cast.exchange.positions("ann", has_traded=True)[0]) == 1
    assert cast.exchange.positions("ann", subaccount=1) == ([], [])


def test_a_member_that_only_tried_has_no_position(cast: Cast) -> None:
    cast.bid("ann", "1", "0.50", time_in_force=IOC)
    cast.ask("ann", "1", "0.60")

    assert cast.exchange.positions("ann") == ([], [])


def test_the_queue_counts_the_contracts_that_match_first_by_price_then_time(cast: Cast) -> None:
    cast.bid("bob", "1.50", "0.49")
    cast.bid("bob", "2.25", "0.48")
    mine = cast.bid("ann", "1", "0.48")
    other = cast.bid("ann", "1", "0.47")
    cast.ask("bob", "9", "0.60")

    # 1.50 at the better price and 2.25 that came earlier; behind them stands the own 1.00 in front of the other.
    assert cast.exchange.queue_position("ann", mine.order_id) == count("3.75")
    found = [(order.order_id, ahead) for order, ahead in cast.exchange.queue_positions("ann", tickers=[M])]
    assert found == [(other.order_id, 475), (mine.order_id, 375)]
    cast.exchange.cancel_order("ann", mine.order_id)
    with pytest.raises(Refusal) as error:
        cast.exchange.queue_position("ann", mine.order_id)
    assert refusal(error) == (404, "not_found", None)


def test_the_value_of_resting_orders_is_by_shard_and_leg(cast: Cast) -> None:
    cast.list_market("KXBTC-M", exchange_index=2)
    cast.exchange.transfer("ann", money("20"), to_index=2)
    cast.bid("ann", "10", "0.48")
    cast.ask("ann", "10", "0.90")
    cast.bid("ann", "3", "0.50", ticker="KXBTC-M")

    assert cast.exchange.resting_value("ann") == ((0, money("5.8")), (2, money("1.5")))


# --- moving money


def test_money_moves_between_pockets_and_the_sum_stays(cast: Cast) -> None:
    number = cast.exchange.create_subaccount("ann")
    moved = cast.exchange.transfer("ann", money("30"), to_subaccount=number, client_transfer_id="t1")

    assert (number, moved.amount) == (1, money("30"))
    assert (cast.cash("ann"), cast.cash("ann", subaccount=1)) == ("70", "30")
    with pytest.raises(Refusal) as error:
        cast.exchange.transfer("ann", money("30"), to_subaccount=number, client_transfer_id="t1")
    assert refusal(error) == (409, "transfer_already_applied", None)
    assert cast.cash("ann") == "70"


@pytest.mark.parametrize(
    ("amount", "place", "code"),
    [
        ("101", {"to_index": 1}, "insufficient_balance"),
        ("0", {"to_index": 1}, "invalid_parameters"),
        ("1", {}, "invalid_parameters"),
        ("1", {"to_subaccount": 1}, "invalid_parameters"),
    ],
)
def test_a_transfer_that_cannot_be_is_refused(cast: Cast, amount: str, place: dict[str, int], code: str) -> None:
    with pytest.raises(Refusal) as error:
        cast.exchange.transfer("ann", money(amount), **place)  # type: ignore[arg-type]

    assert refusal(error)[:2] == (400, code)
    assert cast.cash("ann") == "100"


def test_there_are_64_sub_accounts_and_no_more(cast: Cast) -> None:
    assert [cast.exchange.create_subaccount("ann") for _ in range(63)][-1] == 63
    with pytest.raises(Refusal):
        cast.exchange.create_subaccount("ann")


def test_collateral_of_a_shard_pays_only_for_its_own_markets(cast: Cast) -> None:
    cast.list_market("KXBTC-M", exchange_index=2)
    cast.exchange.transfer("ann", money("1"), to_index=2)

    with pytest.raises(Refusal) as error:
        cast.bid("ann", "10", "0.50", ticker="KXBTC-M")
    assert refusal(error)[1] == "insufficient_balance"
    assert cast.bid("ann", "1", "0.50", ticker="KXBTC-M").remaining == 100
    assert cast.exchange.balance("ann").breakdown == ((0, money("99")), (2, money("1")))
    assert cast.exchange.balance("ann", exchange_index=2).balance == money("1")
