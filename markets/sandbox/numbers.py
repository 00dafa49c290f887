"""Whole numbers of the exchange: prices of $0.0001, counts of 0.01 contract, money of $0.000001.

A price times a count is money exactly, so nothing here ever rounds except where a rule of the exchange says so.
"""

from __future__ import annotations

DOLLAR = 10_000  # one dollar as a price
CONTRACT = 100  # one contract as a count
MONEY = DOLLAR * CONTRACT  # one dollar as money
CENT = MONEY // 100  # one cent as money
SECOND = 1_000_000  # one second in microseconds, the exchange's unit of time


def price_text(price: int) -> str:
    """Write a price with four decimals: 4800 is "0.4800"."""
    return f"{price // DOLLAR}.{price % DOLLAR:04d}"


def count_text(count: int) -> str:
    """Write a signed count with two decimals: -1050 is "-10.50"."""
    sign = "-" if count < 0 else ""
    return f"{sign}{abs(count) // CONTRACT}.{abs(count) % CONTRACT:02d}"


def money_text(money: int) -> str:
    """Write signed money with six decimals: 175000 is "0.175000"."""
    sign = "-" if money < 0 else ""
    return f"{sign}{abs(money) // MONEY}.{abs(money) % MONEY:06d}"


def balance_text(money: int) -> str:
    """Write a balance with four decimals, what is finer cut off: 994825000 is "994.8250"."""
    sign = "-" if money < 0 else ""
    return f"{sign}{abs(money) // MONEY}.{abs(money) % MONEY // 100:04d}"


def parse_fixed(text: str, places: int) -> int:
    """Read a decimal string as a whole number of 10^-places, signed.

    Raises ValueError for anything but plain digits with an optional sign and point, and for decimals beyond `places`.
    """
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    whole, _, fraction = digits.partition(".")
    if not (whole + fraction).isascii() or not (whole + fraction).isdigit() or len(fraction) > places:
        raise ValueError(f"not a number of at most {places} decimals")
    return sign * int(whole + fraction.ljust(places, "0"))


def rounded_ratio(amount: int, count: int) -> int:
    """Divide and round half up: averages shown to a member, never money that moves."""
    return (2 * amount + count) // (2 * count)
