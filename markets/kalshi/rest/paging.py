"""Follows cursors to the end of a list, and not further.

A cursor that the exchange does not know is answered with page one, so a loop has to notice by itself.
Source: Kalshi trade API v2, recorded answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from markets.kalshi.errors import BadMessage
from markets.kalshi.messages import Page

T = TypeVar("T")
PAGES_MOST = 10_000


def walk(read: Callable[[str], Page[T]], *, most_pages: int = PAGES_MOST) -> Iterator[T]:
    """Yield the items of all pages, in order.

    Raises BadMessage where a cursor or a page comes again: the list cannot be complete then.
    """
    cursor = ""
    cursors: set[str] = set()
    firsts: list[T] = []
    for _ in range(most_pages):
        page = read(cursor)
        if page.items:
            if page.items[0] in firsts:
                raise BadMessage("the exchange repeated a page of its list")
            firsts.append(page.items[0])
        yield from page.items
        cursor = page.cursor
        if not cursor:
            return
        if cursor in cursors:
            raise BadMessage("the exchange repeated a cursor")
        cursors.add(cursor)
    raise BadMessage("the exchange's list does not end")
