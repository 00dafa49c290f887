"""Prices in cents, money in dollars, counts in contracts, times and ages, as people read them.

A value's type says its unit: an `int` is in units of $0.0001 or 0.01 contract, a `Decimal` in dollars or contracts.
Nothing is rounded: a price of half a cent, or of less, keeps its digits. What nobody knows is a dash.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from django import template
from django.utils import timezone

register = template.Library()

UNKNOWN = "–"
MINUS = "−"
PRICE_UNITS = Decimal(10_000)
COUNT_UNITS = Decimal(100)

Number = int | Decimal | None


@register.filter
def cents(price: Number) -> str:
    """Write a price: `48¢`, `48.5¢`, `0.25¢`."""
    if price is None:
        return UNKNOWN
    return f"{_plain(_in_dollars(price) * 100)}¢"


@register.filter
def dollars(amount: Number) -> str:
    """Write money: `$12,480.22`, `−$3.10`; two digits at least, more where there are more."""
    if amount is None:
        return UNKNOWN
    value = _in_dollars(amount)
    return f"{_sign(value)}${_grouped(abs(value), least=2)}"


@register.filter
def signed_dollars(amount: Number) -> str:
    """Write a gain or a loss: `+$214.10`, `−$3.10`, `$0.00`."""
    if amount is None:
        return UNKNOWN
    return f"+{dollars(amount)}" if amount > 0 else dollars(amount)


@register.filter
def contracts(count: Number) -> str:
    """Write a count: `120`, `75.5`, `1,234.25`."""
    if count is None:
        return UNKNOWN
    value = Decimal(count) / COUNT_UNITS if isinstance(count, int) else count
    return f"{_sign(value)}{_grouped(abs(value), least=0)}"


@register.filter
def clock_time(moment: datetime | None) -> str:
    """Write the time of a day to the second, in the desk's time zone: `14:03:07`."""
    return UNKNOWN if moment is None else f"{timezone.localtime(moment):%H:%M:%S}"


@register.filter
def day_time(moment: datetime | None) -> str:
    """Write day and time to the minute, in the desk's time zone: `18 Dec 13:55 EST`."""
    if moment is None:
        return UNKNOWN
    local = timezone.localtime(moment)
    return f"{local.day} {local:%b %H:%M %Z}"


@register.filter
def machine_time(moment: datetime | None) -> str:
    """Write a moment for `<time datetime>` and scripts: UTC, ISO 8601, to the millisecond."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


@register.filter
def age(moment: datetime | None) -> str:
    """Write how long ago something was: `3 s ago`, `12 min ago`, `never`."""
    if moment is None:
        return "never"
    return f"{duration_ms(int((timezone.now() - moment).total_seconds() * 1000))} ago"


@register.filter
def until(moment: datetime | None) -> str:
    """Write how far off something is: `26 d`, `3 h`; what has passed is `over`."""
    if moment is None:
        return UNKNOWN
    left_ms = int((moment - timezone.now()).total_seconds() * 1000)
    return "over" if left_ms <= 0 else duration_ms(left_ms)


@register.filter
def duration_ms(ms: int | None) -> str:
    """Write a duration in its largest unit: `0.2 s`, `41 s`, `12 min`, `3 h`, `26 d`; below zero counts as none."""
    if ms is None:
        return UNKNOWN
    tenths = max(0, ms) // 100
    if tenths < 100:
        return f"{tenths // 10}.{tenths % 10} s"
    seconds = tenths // 10
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"


def _in_dollars(price: int | Decimal) -> Decimal:
    return Decimal(price) / PRICE_UNITS if isinstance(price, int) else price


def _sign(value: Decimal) -> str:
    return MINUS if value < 0 else ""


def _plain(value: Decimal) -> str:
    return f"{_sign(value)}{_grouped(abs(value), least=0)}"


def _grouped(value: Decimal, *, least: int) -> str:
    """Return the digits with thousands grouped: all that are there, and `least` behind the point at least."""
    whole, _, rest = f"{value:,f}".partition(".")
    rest = rest.rstrip("0").ljust(least, "0")
    return f"{whole}.{rest}" if rest else whole
