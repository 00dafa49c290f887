"""Events of a reader thread reach the loop in order, in gulps, and not after the feed is gone."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from markets import inbox
from markets.inbox import DRAIN_MOST, Inbox
from markets.intake import Polling
from markets.kalshi import feed
from markets.kalshi.messages import BookDelta, Lifecycle


class Taken:
    """What the loop took, and how often more came than could be taken."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.overruns = 0
        self.is_all = asyncio.Event()

    def take(self, event: Any) -> None:
        self.events.append(event)
        if event == -1:
            self.is_all.set()

    def overrun(self) -> None:
        self.overruns += 1


@pytest.fixture
async def taken() -> Taken:
    return Taken()


@pytest.fixture
async def box(taken: Taken) -> Inbox:
    return Inbox(asyncio.get_running_loop(), taken.take, overrun=taken.overrun)


async def test_events_of_another_thread_arrive_in_order(box: Inbox, taken: Taken) -> None:
    def read() -> None:
        for number in range(3 * DRAIN_MOST):
            box.post(number)
        box.post(-1)

    reader = threading.Thread(target=read)
    reader.start()
    await asyncio.wait_for(taken.is_all.wait(), 10)
    reader.join()

    assert taken.events == [*range(3 * DRAIN_MOST), -1]
    assert taken.overruns == 0


async def test_the_loop_breathes_between_two_gulps(box: Inbox, taken: Taken) -> None:
    for number in range(DRAIN_MOST + 5):
        box.post(number)

    await asyncio.sleep(0)
    assert len(taken.events) == DRAIN_MOST
    await asyncio.sleep(0)
    assert len(taken.events) == DRAIN_MOST + 5


async def test_what_comes_after_a_gulp_wakes_the_loop_again(box: Inbox, taken: Taken) -> None:
    box.post(1)
    await asyncio.sleep(0)
    box.post(2)
    await asyncio.sleep(0)

    assert taken.events == [1, 2]


async def test_a_closed_inbox_takes_nothing_more(box: Inbox, taken: Taken) -> None:
    box.post(1)
    box.close()
    box.post(2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert taken.events == []


async def test_more_than_can_be_taken_is_thrown_away_and_said(
    box: Inbox, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "QUEUE_MOST", 3)
    for seq in range(4):
        box.post(delta(seq))
    await asyncio.sleep(0)

    assert (taken.events, taken.overruns) == ([], 1)


def delta(seq: int) -> feed.DeltaReceived:
    return feed.DeltaReceived(BookDelta("A", True, 4800, 100, None, None, 1, seq), 1)


async def test_what_is_said_of_the_way_upstream_and_of_markets_is_never_thrown_away(
    box: Inbox, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "QUEUE_MOST", 3)
    said: list[Any] = [
        feed.Connected(1),
        feed.BooksStale(("A",), "a message was lost"),
        feed.SubscriptionRefused(("B",), "no such market"),
        feed.LifecycleReceived(Lifecycle("A", "deactivated"), 1),
        feed.Stalled(),
        feed.Resumed(),
        feed.Disconnected("reset", None),
        Polling(1, "no key"),
    ]
    for seq, event in enumerate(said):
        box.post(delta(seq))
        box.post(event)
    await asyncio.sleep(0)

    assert (taken.events, taken.overruns) == (said, 1)


async def test_books_are_doubted_before_what_was_kept_is_taken(
    box: Inbox, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "QUEUE_MOST", 1)
    monkeypatch.setattr(box, "_overrun", lambda: taken.events.append("doubted"))
    box.post(delta(1))
    box.post(feed.Connected(2))
    await asyncio.sleep(0)

    assert taken.events == ["doubted", feed.Connected(2)]


def test_a_loop_that_has_ended_closes_the_inbox() -> None:
    loop = asyncio.new_event_loop()
    taken: list[int] = []
    box = Inbox(loop, taken.append, overrun=lambda: None)
    loop.close()

    box.post(1)
    box.post(2)

    assert taken == []
