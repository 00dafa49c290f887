"""Settlements, each computed by hand: what a position was paid, what its row says, what the balance is afterwards."""

from __future__ import annotations

from decimal import Decimal

import pytest

from markets.sandbox.events import LifecycleChanged, PositionChanged, Settled
from tests.markets.sandbox.cast import SECOND, Cast, M, count, money, price

BUY10 = (("buy", "10", "0.50"),)  # cost 5, fee 0.07 × 10 × 0.25 = 0.175
NO10 = (("sell", "10", "0.60"),)  # 10 NO for 0.40 each: cost 4, fee 0.07 × 10 × 0.24 = 0.168
SOLD4 = (*BUY10, ("sell", "4", "0.60"))  # brings 2.40, fee 0.0672; six are left that cost 3
TURNED = (*BUY10, ("sell", "15", "0.60"))  # closes ten for 6, opens five NO for 2, fee 0.252
TWO_LOTS = (("buy", "10", "0.40"), ("buy", "10", "0.60"))  # cost 10, fees 0.168 each

# trades, result, payout of one YES → side, count, cost, revenue, fees, balance that began at 100
CASES = [
    (BUY10, "yes", None, ("yes", "10", "5", "10", "0.175"), "104.825"),
    (BUY10, "no", None, ("yes", "10", "5", "0", "0.175"), "94.825"),
    (NO10, "no", None, ("no", "10", "4", "10", "0.168"), "105.832"),
    (NO10, "yes", None, ("no", "10", "4", "0", "0.168"), "95.832"),
    ((("sell", "4", "0.50"),), "scalar", "0.42", ("no", "4", "2", "2.32", "0.07"), "100.25"),
    (BUY10, "scalar", "0.42", ("yes", "10", "5", "4.2", "0.175"), "99.025"),
    (BUY10, "scalar", "0", ("yes", "10", "5", "0", "0.175"), "94.825"),
    (NO10, "scalar", "1", ("no", "10", "4", "0", "0.168"), "95.832"),
    ((("buy", "1", "0.99"),), "no", None, ("yes", "1", "0.99", "0", "0.0007"), "99.0093"),
    ((("buy", "1", "0.01"),), "yes", None, ("yes", "1", "0.01", "1", "0.0007"), "100.9893"),
    # 0.005 and 0.000175 make 0.005175, charged as 0.0052.
    ((("buy", "0.01", "0.50"),), "yes", None, ("yes", "0.01", "0.005", "0.01", "0.0002"), "100.0048"),
    # 0.7491 and 0.07 × 2.27 × 0.2211 = 0.035133 make 0.784233, charged as 0.7843.
    ((("buy", "2.27", "0.33"),), "yes", None, ("yes", "2.27", "0.7491", "2.27", "0.0352"), "101.4857"),
    # 2.3331 and 0.151885 make 2.484985, charged as 2.485.
    ((("buy", "33.33", "0.07"),), "yes", None, ("yes", "33.33", "2.3331", "33.33", "0.1519"), "130.845"),
    (SOLD4, "yes", None, ("yes", "6", "3", "6", "0.2422"), "103.1578"),
    (SOLD4, "no", None, ("yes", "6", "3", "0", "0.2422"), "97.1578"),
    (TURNED, "no", None, ("no", "5", "2", "5", "0.427"), "103.573"),
    (TURNED, "yes", None, ("no", "5", "2", "0", "0.427"), "98.573"),
    (TWO_LOTS, "yes", None, ("yes", "20", "10", "20", "0.336"), "109.664"),
    # Five of twenty sold for 3.50 (fee 0.0735) leave fifteen at the average cost of 0.50.
    ((*TWO_LOTS, ("sell", "5", "0.70")), "no", None, ("yes", "15", "7.5", "0", "0.4095"), "93.0905"),
    ((("buy", "100", "0.01"),), "scalar", "0.0001", ("yes", "100", "1", "0.01", "0.0693"), "98.9407"),
    ((("buy", "0.01", "0.50"),), "scalar", "0.3333", ("yes", "0.01", "0.005", "0.003333", "0.0002"), "99.998133"),
    ((("sell", "100", "0.97"),), "no", None, ("no", "100", "3", "100", "0.2037"), "196.7963"),
    (SOLD4, "scalar", "0.25", ("yes", "6", "3", "1.5", "0.2422"), "98.6578"),
    (TURNED, "scalar", "0.75", ("no", "5", "2", "1.25", "0.427"), "99.823"),
]


def trade(cast: Cast, trades: tuple[tuple[str, str, str], ...]) -> None:
    """Let ann take from bob: `buy` YES or `sell` YES (which buys NO)."""
    for action, size, at in trades:
        rest, take = (cast.ask, cast.bid) if action == "buy" else (cast.bid, cast.ask)
        rest("bob", size, at)
        take("ann", size, at)


@pytest.mark.parametrize(("trades", "result", "value", "row", "balance"), CASES)
def test_a_position_is_paid_and_its_row_says_so(
    trades: tuple[tuple[str, str, str], ...],
    result: str,
    value: str | None,
    row: tuple[str, str, str, str, str],
    balance: str,
) -> None:
    cast = Cast()
    trade(cast, trades)
    cast.exchange.determine(M, result, None if value is None else price(value))

    (found,) = cast.exchange.settlements("ann")
    side, size, cost, revenue, fees = row
    sides = (found.yes_count, found.yes_cost, found.no_count, found.no_cost)
    held = (count(size), money(cost))
    assert sides == ((*held, 0, 0) if side == "yes" else (0, 0, *held))
    assert (found.revenue, found.fees, found.result) == (money(revenue), money(fees), result)
    assert cast.cash("ann") == balance


def test_the_value_of_a_row_is_the_payout_of_one_yes() -> None:
    values = []
    for result, value in (("yes", None), ("no", None), ("scalar", price("0.42"))):
        cast = Cast()
        trade(cast, BUY10)
        cast.exchange.determine(M, result, value)
        values.append(cast.exchange.settlements("ann")[0].value)

    assert values == [10_000, 0, 4_200]


def test_a_member_without_a_position_gets_no_row() -> None:
    cast = Cast()
    trade(cast, (*BUY10, ("sell", "10", "0.60")))
    cast.exchange.determine(M, "yes")

    assert cast.exchange.settlements("ann") == []
    assert cast.cash("ann") == "100.657"  # −5.175 + 6 − 0.168


def test_both_sides_of_a_market_are_paid_one_dollar_a_contract_together() -> None:
    cast = Cast()
    trade(cast, BUY10)
    cast.exchange.determine(M, "scalar", price("0.3333"))

    revenues = [cast.exchange.settlements(who)[0].revenue for who in ("ann", "bob")]
    assert revenues == [money("3.333"), money("6.667")]


def test_a_settled_position_is_flat_and_its_profit_realized() -> None:
    cast = Cast()
    trade(cast, BUY10)
    cast.exchange.determine(M, "yes")

    assert cast.exchange.positions("ann")[0] == []  # unsettled ones only
    ((position,), _) = cast.exchange.positions("ann", is_settled=True)
    assert (position.count, position.exposure, position.realized) == (0, 0, money("5"))
    assert position.fees == money("0.175")


def test_what_is_told_of_a_settlement() -> None:
    cast = Cast()
    trade(cast, BUY10)
    cast.told.clear()
    cast.exchange.determine(M, "yes")

    assert [event.kind for event in cast.heard(LifecycleChanged)] == ["close_date_updated", "determined", "settled"]
    assert {event.member_id: event.settlement.revenue for event in cast.heard(Settled)} == {
        "ann": money("10"),
        "bob": 0,
    }
    assert {event.member_id: event.position.count for event in cast.heard(PositionChanged)} == {"ann": 0, "bob": 0}


def test_a_quiet_member_is_paid_and_its_position_forgotten() -> None:
    cast = Cast()
    cast.exchange.add_member("house", member_id="house", is_quiet=True)
    cast.exchange.deposit("house", money("100"))
    cast.ask("house", "10", "0.50")
    cast.bid("ann", "10", "0.50")
    cast.exchange.determine(M, "no")

    assert (cast.cash("house"), cast.exchange.settlements("house")) == ("105", [])
    assert cast.exchange.positions("house", is_settled=None) == ([], [])


def test_money_comes_only_when_the_settlement_timer_has_run() -> None:
    cast = Cast(settlement_timer_us=60 * SECOND)
    trade(cast, BUY10)
    cast.exchange.determine(M, "yes")
    cast.wait(59)
    assert (cast.exchange.market(M).status, cast.cash("ann")) == ("determined", "94.825")
    cast.wait(1)

    assert (cast.exchange.market(M).status, cast.cash("ann")) == ("finalized", "104.825")
    assert cast.exchange.market(M).settled_us == cast.clock.us


def test_a_disputed_result_is_paid_only_after_it_was_given_again() -> None:
    cast = Cast(settlement_timer_us=60 * SECOND)
    trade(cast, BUY10)
    cast.exchange.determine(M, "yes")
    cast.exchange.dispute(M)
    cast.wait(600)
    assert (cast.exchange.market(M).status, cast.cash("ann")) == ("disputed", "94.825")

    cast.exchange.determine(M, "no")
    assert (cast.exchange.market(M).status, cast.exchange.market(M).result) == ("amended", "no")
    cast.wait(60)
    assert (cast.exchange.market(M).status, cast.cash("ann"), cast.cash("bob")) == ("finalized", "94.825", "105")


def test_a_market_is_paid_once() -> None:
    cast = Cast()
    trade(cast, BUY10)
    cast.exchange.determine(M, "yes")

    with pytest.raises(ValueError, match="paid out already"):
        cast.exchange.determine(M, "no")
    with pytest.raises(ValueError, match="finalized"):
        cast.exchange.settle(M)
    assert cast.cash("ann") == "104.825"


@pytest.mark.parametrize(("result", "value"), [("maybe", None), ("scalar", None), ("scalar", 10_001), ("scalar", -1)])
def test_a_result_that_cannot_be_paid_is_refused(result: str, value: int | None) -> None:
    cast = Cast()
    with pytest.raises(ValueError, match="result"):
        cast.exchange.determine(M, result, value)

    assert cast.exchange.market(M).status == "active"


def test_every_position_of_a_sub_account_is_paid_to_its_own_pocket() -> None:
    cast = Cast()
    cast.exchange.create_subaccount("ann")
    cast.exchange.transfer("ann", money("20"), to_subaccount=1)
    cast.ask("bob", "10", "0.50")
    cast.bid("ann", "10", "0.50", subaccount=1)
    cast.exchange.determine(M, "yes")

    assert (cast.cash("ann"), cast.cash("ann", subaccount=1)) == ("80", str(Decimal("24.825")))
    assert [row.subaccount for row in cast.exchange.settlements("ann")] == [1]
