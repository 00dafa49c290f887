"""Fees: the model, both roundings, overrides and waivers, against the exchange's own numbers."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from markets.sandbox.catalogue import Event, FeeType, Market, Series
from markets.sandbox.fees import FeeRates, fee_rates, fill_effect, revenue, trade_fee
from markets.sandbox.numbers import CENT
from markets.sandbox.rules import AUGUST_2026, Rules
from tests.markets.sandbox.cast import HOUR, NOW, Cast, M, count, money, price

FULL = FeeRates(taker=7 * 10_000 * 100, maker=0, flat=0, free_until_us=0)


def bought(size: str, at: str, multiplier: str, *, step: int) -> int:
    """Return the fee of one taker's purchase by a direct member."""
    rates = FULL._replace(taker=7 * int(Decimal(multiplier) * 10_000) * 100)
    fee = trade_fee(rates, price(at), count(size), is_taker=True, step=step, now_us=0)
    return fill_effect(0, True, price(at), count(size), fee=fee, rounding=0, balance_step=100, rebate_step=100).fee


@pytest.mark.parametrize(("step", "column"), [(100, "fee_aug_recorded"), (1, "fee_oct_computed")])
def test_every_fee_of_the_exchanges_vectors(exchange_documents: Path, step: int, column: str) -> None:
    cases = json.loads((exchange_documents / "examples" / "fee_vectors.json").read_text())["cases"]

    assert len(cases) >= 19
    for case in cases:
        fee = bought(case["count"], case["yes_price"], case["fee_multiplier"], step=step)
        assert fee == money(case[column]), case


def test_every_fee_the_exchange_recorded(recordings: Path) -> None:
    fills = json.loads((recordings / "rest" / "account" / "fills__after_taker.json").read_text())["fills"]

    assert fills
    for fill in fills:
        assert bought(fill["count_fp"], fill["yes_price_dollars"], "1", step=100) == money(fill["fee_cost"])


@pytest.mark.parametrize(
    ("size", "at", "multiplier", "taker", "maker"),
    [
        ("1", "0.50", 10_000, "0.0175", "0.0044"),
        ("10", "0.50", 10_000, "0.1750", "0.0438"),
        ("100", "0.50", 10_000, "1.7500", "0.4375"),
        ("5", "0.58", 10_000, "0.0853", "0.0214"),
        ("20", "0.15", 10_000, "0.1785", "0.0447"),
        ("1", "0.52", 10_000, "0.0175", "0.0044"),
        ("1", "0.99", 10_000, "0.0007", "0.0002"),
        ("1000", "0.03", 10_000, "2.0370", "0.5093"),
        ("1", "0.27", 5_000, "0.0069", "0.0018"),
    ],
)
def test_documented_fees_of_takers_and_makers(size: str, at: str, multiplier: int, taker: str, maker: str) -> None:
    series = Series("S", "s", "c", fee_type=FeeType.WITH_MAKER, fee_multiplier=multiplier)
    rates = fee_rates(series, Event("E", "S", "e"), Market("M", "E", "id", 0, 1), 0)

    for is_taker, expected in ((True, taker), (False, maker)):
        fee = trade_fee(rates, price(at), count(size), is_taker=is_taker, step=100, now_us=0)
        effect = fill_effect(0, True, price(at), count(size), fee=fee, rounding=0, balance_step=100, rebate_step=CENT)
        assert effect.fee == money(expected)


def test_the_documented_three_parts_of_a_fee_with_whole_cents() -> None:
    # revenue -0.055, model 0.00363825: 0.003639, floored to -0.06, rounding fee 0.001361.
    assert revenue(0, True, price("0.055"), count("1")) == (-money("0.055"), 0)
    effect = fill_effect(
        0, True, price("0.055"), count("1"), fee=money("0.003639"), rounding=0, balance_step=CENT, rebate_step=CENT
    )
    assert (effect.change, effect.fee, effect.rounding) == (-money("0.06"), money("0.005"), money("0.001361"))


def test_the_documented_model_fee_is_rounded_up_to_six_decimals() -> None:
    assert trade_fee(FULL, price("0.055"), count("1"), is_taker=True, step=1, now_us=0) == money("0.003639")
    assert trade_fee(FULL, price("0.055"), count("1"), is_taker=True, step=100, now_us=0) == money("0.0037")


def test_rounding_is_carried_over_fills_and_given_back_in_whole_steps() -> None:
    # Three fills over-round by 0.004 each: the third gives a cent back and carries 0.002 on.
    carried, fees = 0, []
    for _ in range(3):
        effect = fill_effect(
            0, True, price("0.5"), count("1"), fee=money("0.016"), rounding=carried, balance_step=CENT, rebate_step=CENT
        )
        carried = effect.rounding
        fees.append(effect.fee)
    assert fees == [money("0.02"), money("0.02"), money("0.01")]
    assert carried == money("0.002")


def test_a_rebate_never_makes_a_fee_negative() -> None:
    effect = fill_effect(
        0, True, price("0.5"), count("1"), fee=0, rounding=money("0.05"), balance_step=CENT, rebate_step=CENT
    )
    assert (effect.fee, effect.rounding) == (0, money("0.05"))


def test_selling_what_is_held_brings_cash_and_opening_costs_it() -> None:
    assert revenue(300, False, price("0.60"), count("2")) == (money("1.2"), 200)  # sells YES it holds
    assert revenue(-300, True, price("0.60"), count("2")) == (money("0.8"), 200)  # sells NO it holds
    assert revenue(100, False, price("0.60"), count("3")) == (money("0.6") - money("0.8"), 100)  # and turns to NO


# --- which rates apply


@pytest.mark.parametrize(
    ("fee_type", "maker_fee"),
    [(FeeType.QUADRATIC, "0"), (FeeType.WITH_MAKER, "0.04375"), (FeeType.WITH_COMBO_MAKER, "0.0875")],
)
def test_makers_pay_by_the_type_of_the_series(fee_type: FeeType, maker_fee: str) -> None:
    cast = Cast()
    ticker = cast.list_series("KXFEE", fee_type)
    cast.ask("bob", "10", "0.50", ticker=ticker)
    cast.bid("ann", "10", "0.50", ticker=ticker)

    maker, taker = cast.exchange.fills("bob")[0], cast.exchange.fills("ann")[0]
    assert taker.fee == money("0.175")
    # 0.04375 is not on a direct member's grid of 0.0001: 5.04375 is charged as 5.0438.
    assert maker.fee == money({"0.04375": "0.0438"}.get(maker_fee, maker_fee))


def test_the_override_of_an_event_wins_over_the_series_and_can_be_cleared() -> None:
    cast = Cast()
    fees = []
    for override in ((FeeType.WITH_MAKER, 5_000), (None, None)):
        cast.exchange.set_event_fee("KXRAIN-26NOV23", *override)
        cast.ask("bob", "10", "0.50")
        cast.bid("ann", "10", "0.50")
        fees.append((cast.exchange.fills("ann")[0].fee, cast.exchange.fills("bob")[0].fee))

    assert fees == [(money("0.0875"), money("0.0219")), (money("0.175"), 0)]


def test_a_series_may_charge_anew_where_no_event_overrides_it() -> None:
    cast = Cast()
    cast.exchange.set_series_fee("KXRAIN", FeeType.WITH_MAKER, 20_000)
    cast.ask("bob", "10", "0.50")
    cast.bid("ann", "10", "0.50")
    assert (cast.exchange.fills("ann")[0].fee, cast.exchange.fills("bob")[0].fee) == (money("0.35"), money("0.0875"))

    cast.exchange.set_event_fee("KXRAIN-26NOV23", FeeType.QUADRATIC, 10_000)
    cast.exchange.set_series_fee("KXRAIN", FeeType.WITH_MAKER, 10_000)
    cast.ask("bob", "10", "0.50")
    cast.bid("ann", "10", "0.50")
    assert (cast.exchange.fills("ann")[0].fee, cast.exchange.fills("bob")[0].fee) == (money("0.175"), 0)


def test_a_waived_market_is_free_until_its_time() -> None:
    cast = Cast(fee_waiver_until_us=NOW + HOUR)
    fees = []
    for _ in range(2):
        cast.ask("bob", "10", "0.50")
        cast.bid("ann", "10", "0.50")
        fees.append(cast.exchange.fills("ann")[0].fee)
        cast.wait(3600)

    assert fees == [0, money("0.175")]


def test_flat_fees_are_by_the_contract_and_the_takers() -> None:
    cast = Cast(Rules(flat_fee=money("0.02")))
    ticker = cast.list_series("KXFLAT", FeeType.FLAT)
    cast.ask("bob", "10", "0.30", ticker=ticker)
    cast.bid("ann", "10", "0.30", ticker=ticker)

    assert (cast.exchange.fills("ann")[0].fee, cast.exchange.fills("bob")[0].fee) == (money("0.2"), 0)


def test_the_average_fee_of_an_answer_is_for_one_contract() -> None:
    cast = Cast()
    cast.ask("bob", "4", "0.50")
    ack = cast.bid("ann", "10", "0.50")

    assert (ack.filled, ack.average_price, ack.average_fee) == (400, price("0.5"), price("0.0175"))


def test_both_roundings_can_be_run() -> None:
    # 71.94 at 0.013: recorded 0.064780 in August, 0.064680 by the October page.
    fees = []
    for rules in (AUGUST_2026, Rules()):
        cast = Cast(rules, structure="deci_cent")
        cast.ask("bob", "71.94", "0.013")
        cast.bid("ann", "71.94", "0.013")
        fees.append(cast.exchange.fills("ann")[0].fee)

    assert fees == [money("0.064780"), money("0.064680")]


def test_a_price_improvement_towards_the_middle_costs_a_higher_fee_than_the_limit() -> None:
    cast = Cast()
    cast.ask("bob", "1", "0.52")
    ack = cast.bid("ann", "1", "0.99")

    assert ack.average_fee == price("0.0175")  # at 0.99 it would have been 0.0007


def test_members_of_a_broker_are_charged_in_whole_cents() -> None:
    cast = Cast()
    cast.ask("bob", "1", "0.52")
    cast.bid("flo", "1", "0.52")

    assert cast.cash("flo") == "99.46"
    assert cast.exchange.fills("flo", tickers=(M,))[0].fee == money("0.02")
