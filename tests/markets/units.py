"""Recorded texts as whole numbers, and a sum that tells two books apart: written without the product."""

from __future__ import annotations

Place = tuple[bool, int]  # is it a bid, at which price


def price_units(text: str) -> int:
    whole, _, rest = text.partition(".")
    return int(whole + (rest + "0000")[:4])


def count_units(text: str) -> int:
    whole, _, rest = text.partition(".")
    return int(whole + (rest + "00")[:2])


def mark(place: Place, size: int) -> int:
    """Return what one level adds to a book's sum; nothing where there is none."""
    return hash((*place, size)) if size else 0
