"""The tops that risk checks read: written on change, all once a second, with the time until which each was right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.cache import cache

from markets import tops
from markets.intake import Intake
from markets.livebook import Listing, Moment
from markets.topboard import ALL_AGAIN_MS, TopBoard
from markets.tops import Top
from tests.markets.playedfeed import PlayedFeed

WALL = 2_000_000


class Board:
    """An intake with two LIVE books and the board that watches it."""

    def __init__(self) -> None:
        self.now = Moment(1_000_000, WALL)
        self.intake = Intake("sandbox", "e1")
        self.feed = PlayedFeed(lambda event: self.intake.take(event, self.now))
        self.board = TopBoard(None)
        for ticker in ("A", "B"):
            self.intake.add(Listing(ticker), self.now)
        self.feed.connect()
        self.feed.snapshot("A", {4800: 100}, {5200: 300})
        self.feed.snapshot("B", {}, {})

    def wait(self, ms: int) -> None:
        self.now = Moment(self.now.mono + ms, self.now.wall + ms)

    def due(self) -> dict[str, Top]:
        return self.board.due(self.intake, self.now)


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture(autouse=True)
def empty_store() -> Iterator[None]:
    yield
    cache.clear()


def test_the_first_look_writes_every_top(board: Board) -> None:
    assert board.due() == {
        "A": Top(4800, 100, 5200, 300, None, "LIVE", WALL),
        "B": Top(None, None, None, None, None, "LIVE", WALL),
    }


def test_between_two_full_rounds_only_what_changed_is_written(board: Board) -> None:
    board.due()
    board.wait(200)
    assert board.due() == {}
    board.feed.delta("A", True, 4900, 7)

    assert board.due() == {"A": Top(4900, 7, 5200, 300, None, "LIVE", WALL + 200)}
    board.wait(ALL_AGAIN_MS - 200)
    assert set(board.due()) == {"A", "B"}


def test_a_doubted_top_keeps_the_time_at_which_it_was_last_right(board: Board) -> None:
    board.due()
    board.wait(200)
    board.feed.gap(["A"])

    assert board.due() == {"A": Top(4800, 100, 5200, 300, None, "RESYNC", WALL)}
    board.wait(ALL_AGAIN_MS)
    again = board.due()
    assert (again["A"].as_of_ms, again["B"].as_of_ms) == (WALL, WALL + 200 + ALL_AGAIN_MS)


async def test_a_store_that_is_away_is_written_to_again(board: Board) -> None:
    written: list[dict[str, Top]] = []

    def write(due: dict[str, Top]) -> None:
        written.append(due)
        if len(written) == 1:
            raise OSError("away")

    flaky = TopBoard(write)
    await flaky.write(board.intake, board.now)
    board.wait(200)
    await flaky.write(board.intake, board.now)

    assert [set(due) for due in written] == [{"A", "B"}, {"A", "B"}]


def test_what_is_written_is_read_by_anybody() -> None:
    top = Top(4800, 100, None, None, 4700, "LIVE", WALL)
    tops.write("sandbox", {"A": top})

    assert tops.read("sandbox", "A") == top
    assert tops.read("demo", "A") is None
    assert tops.read_many("sandbox", ["A", "B"]) == {"A": top}


def test_age_is_never_negative() -> None:
    top = Top(None, None, None, None, None, "LIVE", WALL)

    assert (top.age_ms(WALL + 250), top.age_ms(WALL - 5)) == (250, 0)
