"""The reference exchange's money: fees and both roundings, netting, what a balance can bear."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction

from tests.markets.sandbox.modelparts import (
    D0,
    Choices,
    ModelFill,
    ModelMarket,
    ModelOrder,
    ModelPosition,
    ModelSettlement,
    Refused,
)

TAKER_ROLE = Decimal(1)
MAKER_ROLE = {
    "quadratic": Decimal(0),
    "quadratic_with_maker_fees": Decimal("0.25"),
    "quadratic_with_combo_maker_fees": Decimal("0.5"),
}
MICRO = 10**6


def steps(amount: Decimal, step: Decimal, rounding: str) -> Decimal:
    """Round to whole steps."""
    return (amount / step).to_integral_value(rounding) * step


@dataclass
class Account:
    """One sub-account's cash on one shard."""

    balance: Decimal = D0


class Money:
    """The part of the reference exchange that counts money."""

    choices: Choices
    now: int
    orders: list[ModelOrder]
    markets: dict[str, ModelMarket]
    accounts: dict[tuple[str, int, int], Account]
    precision: dict[str, Decimal]
    positions: dict[tuple[str, int, str], ModelPosition]
    fills: list[ModelFill]
    settlements: list[ModelSettlement]
    fees_collected: Decimal
    branches: Counter[str]

    def account(self, order: ModelOrder) -> Account:
        return self.accounts.setdefault((order.member, order.subaccount, order.shard), Account())

    def position(self, order: ModelOrder) -> ModelPosition:
        return self.positions.setdefault((order.member, order.subaccount, order.ticker), ModelPosition())

    def held(self, order: ModelOrder) -> Decimal:
        """Return the signed contracts of the order's sub-account in its market."""
        position = self.positions.get((order.member, order.subaccount, order.ticker))
        return position.count if position else D0

    def trade_fee(self, market: ModelMarket, price: Decimal, count: Decimal, *, is_taker: bool) -> Decimal:
        if self.now < market.free_until:
            return D0
        fee_type = market.override_type or market.fee_type
        multiplier = market.multiplier if market.override_multiplier is None else market.override_multiplier
        role = TAKER_ROLE if is_taker else MAKER_ROLE[fee_type]
        exact = Decimal("0.07") * multiplier * role * count * price * (1 - price)
        return steps(exact, self.choices.trade_fee_step, ROUND_CEILING)

    def outcome(
        self, order: ModelOrder, price: Decimal, count: Decimal, *, is_taker: bool
    ) -> tuple[Decimal, Decimal, Decimal]:
        """Return (change of the balance, fee, over-rounding carried on) of one side of a match."""
        fee = self.trade_fee(self.markets[order.ticker], price, count, is_taker=is_taker)
        closes = self.closing(order, count)
        leg = price if order.is_bid else 1 - price
        revenue = closes * (1 - leg) - (count - closes) * leg
        step = self.precision[order.member]
        change = steps(revenue - fee, step, ROUND_FLOOR)
        rounding = (revenue - fee) - change
        carried = order.over_rounded + rounding
        rebate = steps(min(carried, fee + rounding), self.choices.rebate_step or step, ROUND_FLOOR)
        return change + rebate, fee + rounding - rebate, carried - rebate

    def closing(self, order: ModelOrder, count: Decimal) -> Decimal:
        held = self.held(order)
        opposite = max(D0, -held if order.is_bid else held)
        return min(count, opposite)

    def can_bear(self, order: ModelOrder, price: Decimal, count: Decimal, *, is_taker: bool) -> bool:
        change = self.outcome(order, price, count, is_taker=is_taker)[0]
        return change >= 0 or self.account(order).balance + change >= 0

    def check_money(self, order: ModelOrder, price: Decimal, count: Decimal) -> None:
        change = self.outcome(order, price, count, is_taker=True)[0]
        money = self.account(order).balance - (self.set_aside(order) if self.choices.margin == "free" else 0)
        if count and change < 0 and money + change < 0:
            raise Refused(400, "insufficient_balance")

    def set_aside(self, order: ModelOrder) -> Decimal:
        """Return the value of what else rests from the order's account."""
        mine = [o for o in self.orders if o.status == "resting" and o is not order and self.is_same_account(o, order)]
        return sum((o.remaining * (o.price if o.is_bid else 1 - o.price) for o in mine), D0)

    def is_same_account(self, one: ModelOrder, other: ModelOrder) -> bool:
        return (one.member, one.subaccount, one.shard) == (other.member, other.subaccount, other.shard)

    def book_fill(self, order: ModelOrder, price: Decimal, count: Decimal, *, is_taker: bool) -> Decimal:
        change, fee, carried = self.outcome(order, price, count, is_taker=is_taker)
        closes = self.closing(order, count)
        leg = price if order.is_bid else 1 - price
        self.account(order).balance += change
        self.fees_collected += fee
        position = self.position(order)
        basis = self.basis(position, closes)
        position.realized += closes * (1 - leg) - basis
        position.exposure += (count - closes) * leg - basis
        position.count += count if order.is_bid else -count
        position.traded += count * leg
        position.fees += fee
        order.over_rounded = carried
        order.filled += count
        order.remaining -= count
        if is_taker:
            order.taker_cost += count * leg
            order.taker_fees += fee
        else:
            order.maker_cost += count * leg
            order.maker_fees += fee
        self.note_branches(order, price, count, fee, is_taker=is_taker)
        self.fills.append(ModelFill(order.member, order.number, is_taker, price, count, fee, position.count))
        return fee

    def note_branches(self, order: ModelOrder, price: Decimal, count: Decimal, fee: Decimal, *, is_taker: bool) -> None:
        """Count which rules this fee went through."""
        market, role = self.markets[order.ticker], "taker" if is_taker else "maker"
        self.branches[f"{market.override_type or market.fee_type}, {role}"] += 1
        self.branches["broker's precision"] += self.precision[order.member] == Decimal("0.01")
        self.branches["override"] += market.override_type is not None
        self.branches["waiver"] += self.now < market.free_until
        before = self.trade_fee(market, price, count, is_taker=is_taker)
        self.branches["rounding fee"] += fee > before
        self.branches["rebate"] += fee < before
        self.branches["free"] += fee == 0

    @staticmethod
    def basis(position: ModelPosition, closes: Decimal) -> Decimal:
        """Return the average cost of what closes, cut off at six decimals."""
        if not closes:
            return D0
        exact = Fraction(position.exposure) * Fraction(closes) / Fraction(abs(position.count))
        return Decimal(math.floor(exact * MICRO)) / MICRO

    def pay_out(self, market: ModelMarket) -> None:
        """Pay every position of a market its value."""
        assert market.value is not None
        for (member, subaccount, ticker), position in self.positions.items():
            if ticker != market.ticker or not position.count:
                continue
            count = position.count
            revenue = count * market.value if count > 0 else -count * (1 - market.value)
            self.accounts.setdefault((member, subaccount, market.shard), Account()).balance += revenue
            sides = (count, position.exposure, D0, D0) if count > 0 else (D0, D0, -count, position.exposure)
            row = ModelSettlement(member, subaccount, ticker, market.result, *sides, revenue, position.fees)
            self.settlements.append(row)
            position.realized += revenue - position.exposure
            position.count = position.exposure = D0
