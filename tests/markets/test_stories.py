"""Whatever is lost, repeated or cut off: a book shown as LIVE is the exchange's book at the position it names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import judges
from tests.markets.retold import retell
from tests.markets.stories import TICKERS, Action, Story, random_actions

tickers = st.sampled_from(TICKERS)
levels = st.one_of(
    st.tuples(st.just(True), st.integers(1, 5).map(lambda n: n * 1000), st.integers(0, 3).map(lambda n: n * 100)),
    st.tuples(st.just(False), st.integers(6, 9).map(lambda n: n * 1000), st.integers(0, 3).map(lambda n: n * 100)),
)
change = st.tuples(tickers, levels).map(lambda pair: ("change", pair[0], *pair[1]))
actions = st.one_of(
    change,
    change,
    change,
    st.booleans().map(lambda is_lost: ("tick", is_lost)),
    st.just(("tick", False)),
    st.tuples(tickers, levels).map(lambda pair: ("lose", pair[0], *pair[1])),
    tickers.map(lambda ticker: ("repeat", ticker)),
    st.just(("answer",)),
    st.sampled_from([5, 60, 600, 3_000]).map(lambda ms: ("wait", ms)),
    st.just(("newcomer",)),
    st.just(("disconnect",)),
    st.just(("connect",)),
    st.integers(2, 9).map(lambda number: ("epoch", f"e{number}")),
)


def assert_true_and_live_in_the_end(story: Story) -> None:
    story.settle()
    assert story.wrongs == []
    for page in story.pages:
        for ticker, book in page.books.items():
            assert (book.shown, page.feed) == ("LIVE", "live"), ticker
            assert (book.bids, book.asks) == story.true[ticker]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(actions, max_size=80))
def test_a_live_book_is_the_true_book(steps: list[Action]) -> None:
    assert_true_and_live_in_the_end(Story().tell([("connect",), ("tick", False), *steps]))


@pytest.mark.parametrize("seed", range(40))
def test_a_long_story_ends_well(seed: int) -> None:
    story = Story().tell(random_actions(seed, 150))

    assert story.shown_live > 50, "a story in which nothing is LIVE shows nothing"
    assert_true_and_live_in_the_end(story)


def test_a_small_recording_is_retold_truly(small_tape: Path) -> None:
    samples = retell(small_tape)

    assert len(samples) > 50
    assert judges.differences(small_tape, samples) == []


def test_twelve_recorded_markets_are_retold_truly(recordings: Path) -> None:
    path = recordings / "tapes" / "sports_twelve_markets.jsonl"
    samples = retell(path)

    assert len(samples) > 100
    assert judges.differences(path, samples) == []
