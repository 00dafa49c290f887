"""What the documents leave open: the default that was chosen, and that an operator can have it the other way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from markets.sandbox.orders import Amendment
from markets.sandbox.refusals import Refusal
from markets.sandbox.rules import Rules
from tests.markets.sandbox.cast import FOK, Cast, M, count, money, price, refusal
from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import Peer, Socket

NOBODY = "KXNOBODY-26NOV23-X"


@pytest.fixture
def choose(house: House) -> Iterator[Callable[..., None]]:
    """Return a function that changes the rules of the running exchange until the test is over."""
    exchange = house.venue.exchange
    before = exchange.rules

    def change(**rules: Any) -> None:
        exchange.rules = replace(before, **rules)

    yield change
    exchange.rules = before


# --- money --------------------------------------------------------------------------------------------


def test_resting_orders_count_against_new_ones_where_the_rules_say_free() -> None:
    # $100; a bid for 150 at 0.60 has 90 set aside, 10 are free: 16 more at 0.60 cost 9.60 and a fee of 0.2688.
    cast = Cast(Rules(margin="free"))
    first = cast.bid("ann", "150", "0.60")

    with pytest.raises(Refusal) as error:
        cast.bid("ann", "17", "0.60")
    assert refusal(error) == (400, "insufficient_balance", None)
    assert cast.bid("ann", "16", "0.60").remaining == count("16")
    assert cast.cash("ann") == "100"  # nothing is taken before it fills

    cast.exchange.cancel_order("ann", first.order_id)
    assert cast.bid("ann", "140", "0.60").remaining == count("140")


def test_what_rests_on_another_shard_or_sub_account_sets_nothing_aside_here() -> None:
    cast = Cast(Rules(margin="free"))
    cast.list_market("KXBTC-M", exchange_index=2)
    cast.exchange.deposit("ann", money("100"), exchange_index=2)
    cast.exchange.create_subaccount("ann")
    cast.exchange.deposit("ann", money("100"), subaccount=1)
    cast.bid("ann", "150", "0.60", ticker="KXBTC-M")
    cast.bid("ann", "150", "0.60", subaccount=1)

    assert cast.bid("ann", "150", "0.60").remaining == count("150")


def test_an_order_that_brings_money_in_is_taken_where_more_is_set_aside_than_there_is() -> None:
    cast = Cast(Rules(margin="free"))
    cast.ask("bob", "50", "0.50")
    cast.bid("ann", "50", "0.50")
    cast.bid("ann", "120", "0.60")  # 72 of the 74.125 that are left
    cast.exchange.deposit("ann", -money("50"))

    assert cast.ask("ann", "50", "0.90").remaining == count("50")
    with pytest.raises(Refusal) as error:
        cast.bid("ann", "1", "0.10")
    assert refusal(error) == (400, "insufficient_balance", None)


def test_an_amended_order_sets_nothing_aside_for_itself() -> None:
    cast = Cast(Rules(margin="free"))
    first = cast.bid("ann", "150", "0.60")

    wish = Amendment(M, True, price("0.61"), count("150"))
    assert cast.exchange.amend_order("ann", first.order_id, wish, subaccount=0).order_id == first.order_id


def test_the_code_of_a_count_that_is_not_positive_is_a_rule() -> None:
    for rules, code in ((Rules(), "invalid_order_size"), (Rules(bad_count_code="bad_request"), "bad_request")):
        with pytest.raises(Refusal) as error:
            Cast(rules).bid("ann", "0", "0.60", time_in_force=FOK)
        assert refusal(error) == (400, code, None)


# --- requests -----------------------------------------------------------------------------------------


def test_the_code_of_a_missing_scope_is_a_rule(house: House, desk: Peer, ticker: str, choose: Any) -> None:
    reader = house.key_of(desk.member_id, scopes=("read",))  # type: ignore[attr-defined]
    plain = reader.create(ticker, "bid", "0.4800", "1.00")
    choose(scope_code="insufficient_scope")
    other = reader.create(ticker, "bid", "0.4800", "1.00")

    assert (plain.status_code, plain.json()) == (403, {"error": {"code": "forbidden", "message": "forbidden"}})
    assert (other.status_code, other.json()["error"]["code"]) == (403, "insufficient_scope")


# --- the stream ---------------------------------------------------------------------------------------


@pytest.fixture
def socket(desk: Peer) -> Any:
    opened = desk.connect()
    yield opened
    opened.close()


def heard_after(socket: Socket, tickers: list[str]) -> list[dict[str, Any]]:
    """Subscribe and return everything that came until a later command was answered."""
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=tickers)
    last = socket.send("list_subscriptions")
    frames: list[dict[str, Any]] = []
    while not frames or frames[-1].get("id") != last:
        frames.append(socket.next())
    return frames[:-1]


def test_a_ticker_nobody_knows_is_refused_by_name(socket: Socket, ticker: str) -> None:
    subscribed, snapshot, error = heard_after(socket, [ticker, NOBODY])

    assert (subscribed["type"], snapshot["msg"]["market_ticker"]) == ("subscribed", ticker)
    assert (error["msg"]["code"], error["msg"]["market_tickers"]) == (11, [NOBODY])


def test_a_ticker_nobody_knows_may_be_passed_over_in_silence(socket: Socket, ticker: str, choose: Any) -> None:
    choose(unknown_ticker="ack")

    assert [frame["type"] for frame in heard_after(socket, [NOBODY])] == ["subscribed"]


def test_a_ticker_nobody_knows_may_have_an_empty_book(socket: Socket, ticker: str, choose: Any) -> None:
    choose(unknown_ticker="empty")

    subscribed, empty = heard_after(socket, [NOBODY])

    assert (subscribed["type"], empty["type"], empty["seq"]) == ("subscribed", "orderbook_snapshot", 1)
    assert empty["msg"]["market_ticker"] == NOBODY
    assert not {"yes_dollars_fp", "no_dollars_fp"} & set(empty["msg"])


@pytest.mark.parametrize(
    ("order", "levels"),
    [
        ("ascending", [["0.5400", "40.00"], ["0.5500", "2.00"]]),
        ("as_no_prices", [["0.5500", "2.00"], ["0.5400", "40.00"]]),
    ],
)
def test_the_no_side_in_yes_prices_is_in_either_order(
    socket: Socket, desk: Peer, ticker: str, choose: Any, order: str, levels: list[list[str]]
) -> None:
    desk.create(ticker, "ask", "0.5400", "40.00")
    desk.create(ticker, "ask", "0.5500", "2.00")
    choose(yes_price_order=order)

    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker], use_yes_price=True)

    assert socket.until("orderbook_snapshot")["msg"]["no_dollars_fp"] == levels
