"""A browser that watches tops alone falls behind like any other: it is told, caught up with the newest, or given up."""

from __future__ import annotations

import pytest

from markets.events import encode
from markets.hub import Hub
from markets.outbox import GRACE_MS, LIMIT_BYTES
from tests.markets.playedhub import Said, Time, Viewer, frame, kinds, tick, watching

BIG = "x" * (LIMIT_BYTES // 3)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def hub(time: Time) -> Hub:
    hub = Hub(None, clock=time)
    hub.line = Said()  # type: ignore[assignment]
    return hub


@pytest.fixture
async def stuck(hub: Hub) -> Viewer:
    """Return a viewer of the tops A and B that has room for two big ones more, and acknowledges nothing."""
    viewer = Viewer(hub)
    hub.watch(viewer, "sandbox", (), ("A", "B"))
    viewer.frames()
    viewer.is_stuck = True
    return viewer


def top(market: str, bid: int, more: str = "") -> tuple[str, str, int, str]:
    return "top", market, 0, encode({"t": "top", "env": "sandbox", "m": market, "bid": bid, "x": more})


def bids(viewer: Viewer) -> list[tuple[str, int]]:
    return [(frame["m"], frame["bid"]) for frame in viewer.frames("top")]


async def test_a_viewer_of_tops_that_falls_behind_is_told_so_once(hub: Hub, stuck: Viewer) -> None:
    for bid in (1, 2, 3, 4):
        hub.receive(tick(top("A", bid, BIG)))

    assert [(frame["t"], frame.get("bid"), frame.get("code")) for frame in stuck.frames()] == [
        ("top", 1, None),
        ("top", 2, None),
        ("error", None, "SLOW"),
    ]


async def test_a_viewer_of_tops_that_has_caught_up_gets_the_newest_of_each(hub: Hub, stuck: Viewer) -> None:
    hub.receive(tick(top("B", 1)))
    for bid in (1, 2, 3):
        hub.receive(tick(top("A", bid, BIG)))
    hub.receive(tick(top("A", 4), top("B", 5)))
    assert bids(stuck) == [("B", 1), ("A", 1), ("A", 2)]

    hub.ack(stuck, stuck.outbox.sent)
    assert sorted(bids(stuck)) == [("A", 4), ("B", 5)]

    hub.receive(tick(top("A", 6)))
    assert bids(stuck) == [("A", 6)]


async def test_a_viewer_of_tops_that_never_catches_up_is_given_up(hub: Hub, stuck: Viewer, time: Time) -> None:
    for bid in (1, 2, 3):
        hub.receive(tick(top("A", bid, BIG)))
    time.now += GRACE_MS
    hub.beat()
    assert not stuck.is_given_up

    time.now += 1
    hub.beat()

    assert stuck.is_given_up
    assert stuck not in hub.audience.browsers


async def test_a_top_that_is_watched_while_behind_waits_for_the_newest(hub: Hub, stuck: Viewer) -> None:
    other = Viewer(hub)
    hub.watch(other, "sandbox", (), ("C",))
    hub.receive(tick(top("C", 1)))
    for bid in (1, 2, 3):
        hub.receive(tick(top("A", bid, BIG)))
    stuck.frames()

    hub.watch(stuck, "sandbox", (), ("C",))
    hub.receive(tick(top("C", 2)))
    assert bids(stuck) == []

    hub.ack(stuck, stuck.outbox.sent)
    assert ("C", 2) in bids(stuck)


async def test_tops_that_fall_behind_hold_back_the_books_too(hub: Hub, stuck: Viewer) -> None:
    hub.watch(stuck, "sandbox", ("A",), ())
    for bid in (1, 2, 3):
        hub.receive(tick(top("B", bid, BIG)))
    stuck.frames()

    hub.receive(tick(frame("book", 1)))

    assert kinds(stuck) == []
    assert stuck.outbox.missed == {("sandbox", "A")}


async def test_a_browser_that_counts_more_than_it_was_sent_is_given_up(hub: Hub) -> None:
    liar, honest = watching(hub), watching(hub)

    hub.ack(honest, honest.outbox.sent)
    hub.ack(liar, liar.outbox.sent + 1)

    assert (liar.is_given_up, honest.is_given_up) == (True, False)
    assert hub.audience.browsers == {honest}
    hub.receive(tick(frame("book", 1)))
    assert (kinds(liar), kinds(honest)) == ([], [("book", 1)])
