"""The exchange's clock: told by the dates of its answers, believed where it differs noticeably from ours."""

from __future__ import annotations

import math
import time

import pytest

from markets.kalshi.clock import ExchangeClock

# 12:00:00 on 25 November 2026 UTC; a date of whole seconds is half a second old on average.
NOON = "Wed, 25 Nov 2026 12:00:00 GMT"
NOON_MS = 1_795_608_000_000


@pytest.mark.parametrize(
    ("ours", "skew", "now"),
    [
        (NOON_MS + 500, 0, NOON_MS + 500),
        (NOON_MS + 2_500, -2_000, NOON_MS + 2_500),
        (NOON_MS + 2_501, -2_001, NOON_MS + 500),
        (NOON_MS - 59_500, 60_000, NOON_MS + 500),
    ],
)
def test_a_difference_is_corrected_where_it_is_more_than_a_date_can_be_wrong(ours: int, skew: int, now: int) -> None:
    clock = ExchangeClock(lambda: ours)
    clock.note(NOON)

    assert (clock.skew_ms, clock.now_ms()) == (skew, now)


def test_before_the_first_answer_it_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ExchangeClock(lambda: NOON_MS)

    assert (clock.skew_ms, clock.now_ms(), clock.told_at) == (0, NOON_MS, -math.inf)


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 32 Nov 2026 12:00:00 GMT"])
def test_a_date_that_cannot_be_read_tells_nothing(date: str) -> None:
    clock = ExchangeClock(lambda: NOON_MS)

    clock.note(date)

    assert (clock.skew_ms, clock.told_at) == (0, -math.inf)


def test_it_is_known_when_the_clocks_were_compared() -> None:
    clock = ExchangeClock(lambda: NOON_MS)
    before = time.monotonic()

    clock.note(NOON)

    assert before <= clock.told_at <= time.monotonic()
