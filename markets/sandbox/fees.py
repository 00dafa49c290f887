"""What a fill costs: the quadratic model and both roundings, in whole numbers.

    trade fee    = 0.07 × multiplier × role × C × P × (1 − P), rounded up
    change       = revenue − trade fee, floored to the member's balance precision; the difference is the rounding fee
    fee_cost     = trade fee + rounding fee − rebate of what the order's fills were over-rounded before

Source: Kalshi documentation, fee rounding (October 2026), `Series.fee_type`, and fills recorded June–August 2026.
"""

from __future__ import annotations

from typing import NamedTuple

from markets.sandbox.catalogue import Event, FeeType, Market, Series
from markets.sandbox.numbers import CONTRACT, DOLLAR

# rate (1e-8) × count (1e-2) × price (1e-4) × price (1e-4) in units of $0.000001
_SCALE = 10**12
_MAKER_SHARE = {FeeType.QUADRATIC: 0, FeeType.WITH_MAKER: 25, FeeType.WITH_COMBO_MAKER: 50, FeeType.FLAT: 0}


class FeeRates(NamedTuple):
    """What a market charges: 0.07 × multiplier × role in 1e-8, or money a contract; nothing until `free_until_us`."""

    taker: int
    maker: int
    flat: int
    free_until_us: int


class Effect(NamedTuple):
    """What one fill does to one side's money: `change` of the balance = revenue − fee."""

    change: int
    fee: int
    rounding: int  # what the order carries on to its next fill
    closing: int  # how much of the count closed a held position


def fee_rates(series: Series, event: Event, market: Market, flat_fee: int) -> FeeRates:
    """Return what a market charges: the event's override wins over the series, the waiver sits on the market."""
    fee_type = event.fee_type_override or series.fee_type
    multiplier = event.fee_multiplier_override
    if multiplier is None:
        multiplier = series.fee_multiplier
    if fee_type is FeeType.FLAT:
        return FeeRates(0, 0, flat_fee * multiplier // 10_000, market.fee_waiver_until_us)
    maker = 7 * multiplier * _MAKER_SHARE[fee_type]
    return FeeRates(7 * multiplier * 100, maker, 0, market.fee_waiver_until_us)


def trade_fee(rates: FeeRates, price: int, count: int, *, is_taker: bool, step: int, now_us: int) -> int:
    """Return the model's fee for one fill, rounded up to `step`."""
    if now_us < rates.free_until_us:
        return 0
    if rates.flat:
        exact, scale = (rates.flat * count, CONTRACT) if is_taker else (0, CONTRACT)
    else:
        exact, scale = (rates.taker if is_taker else rates.maker) * count * price * (DOLLAR - price), _SCALE
    return -(-exact // (scale * step)) * step


def revenue(held: int, is_bid: bool, price: int, count: int) -> tuple[int, int]:
    """Return the signed cash of a trade before fees and how much of it closes what is `held` (signed)."""
    leg = price if is_bid else DOLLAR - price
    opposite = -held if is_bid else held
    closing = min(count, opposite) if opposite > 0 else 0
    return closing * (DOLLAR - leg) - (count - closing) * leg, closing


def fill_effect(
    held: int, is_bid: bool, price: int, count: int, *, fee: int, rounding: int, balance_step: int, rebate_step: int
) -> Effect:
    """Return what a fill does to the balance, given its trade fee and the rounding its order carries.

    The rebate comes in whole steps and is capped so that the fill's own fee never becomes negative.
    """
    cash, closing = revenue(held, is_bid, price, count)
    exact = cash - fee
    rounding_fee = exact % balance_step
    carried = rounding + rounding_fee
    fee += rounding_fee
    rebate = min(carried, fee) // rebate_step * rebate_step
    fee -= rebate
    return Effect(cash - fee, fee, carried - rebate, closing)
