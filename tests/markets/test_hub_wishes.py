"""What a hub wants of the relay it says, again and again, and what it is refused it tells."""

from __future__ import annotations

from typing import Any

import pytest

from markets.audience import ASK_AGAIN_MS
from markets.events import encode
from markets.hub import ANNOUNCE_MS, HURRY_MS, SILENT_MS, Hub
from tests.markets.playedhub import Said, Time, Viewer, frame, kinds, tick, watching


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def line() -> Said:
    return Said()


@pytest.fixture
async def hub(time: Time, line: Said) -> Hub:
    hub = Hub(None, clock=time)
    hub.line = line  # type: ignore[assignment]
    return hub


async def test_what_is_not_watched_cannot_be_asked_for(hub: Hub) -> None:
    viewer = watching(hub, "A")

    assert not hub.snapshot(viewer, "sandbox", "B")
    assert not hub.trades(viewer, "sandbox", "B", 0)
    assert hub.snapshot(viewer, "sandbox", "A")


async def test_a_refusal_ends_the_wait(hub: Hub, line: Said, time: Time) -> None:
    viewer = watching(hub)
    hub.receive(tick(("error", "A", 0, encode({"t": "error", "n": 0, "code": "UNKNOWN_MARKET"}))))
    assert kinds(viewer) == [("error", 0)]

    time.now += 10 * ASK_AGAIN_MS
    await hub.announce("sandbox")
    assert line.take("relay.ask") == []


async def test_a_market_that_appears_after_a_refusal_reaches_those_who_were_refused(hub: Hub, line: Said) -> None:
    viewer = watching(hub)
    hub.receive(tick(("error", "A", 0, encode({"t": "error", "n": 0, "code": "UNKNOWN_MARKET"}))))
    await hub.announce("sandbox")
    assert [wish["books"] for wish in line.take("relay.wish")] == [["A"]], "it is wanted all the same"
    viewer.frames()

    hub.receive(tick(frame("book", 1)))
    hub.receive(tick(frame("delta", 2)))

    assert kinds(viewer) == [("book", 1), ("delta", 2)]


async def test_who_comes_after_a_refusal_has_the_relay_asked_and_is_refused_too(hub: Hub, line: Said) -> None:
    refusal = tick(("error", "A", 0, encode({"t": "error", "n": 0, "code": "UNKNOWN_MARKET"})))
    watching(hub)
    hub.receive(refusal)
    await hub.announce("sandbox")
    line.take("relay.ask")

    late = watching(hub)
    await hub.announce("sandbox")
    assert [message["tickers"] for message in line.take("relay.ask")] == [["A"]]
    hub.receive(refusal)

    assert kinds(late) == [("error", 0)]


async def test_a_market_that_has_appeared_unheard_is_asked_for(hub: Hub, line: Said) -> None:
    viewer = watching(hub)
    hub.receive(tick(("error", "A", 0, encode({"t": "error", "n": 0, "code": "UNKNOWN_MARKET"}))))
    viewer.frames()

    hub.receive(tick(feed="live", numbers={"A": 1}))
    await hub.announce("sandbox")

    assert [message["tickers"] for message in line.take("relay.ask")] == [["A"]]
    hub.receive(tick(frame("snap", 1)))
    assert kinds(viewer) == [("book", 1)]


async def test_who_came_after_a_refusal_waits_no_longer_than_the_first(hub: Hub, line: Said, time: Time) -> None:
    refusal = tick(("error", "A", 0, encode({"t": "error", "n": 0, "code": "UNKNOWN_MARKET"})))
    first, second = watching(hub), watching(hub)
    hub.receive(refusal)
    hub.leave(first)
    time.now += 10 * ASK_AGAIN_MS
    await hub.announce("sandbox")
    assert line.take("relay.ask") == []

    hub.leave(second)
    assert hub.audience.wish("sandbox") == ([], [])


async def test_the_wish_is_said_on_change_and_again_while_somebody_looks(hub: Hub, line: Said, time: Time) -> None:
    viewer = watching(hub, "B", "A")
    await hub.announce("sandbox")
    assert line.take("relay.wish") == [
        {"type": "relay.wish", "hub": "hub!1", "books": ["A", "B"], "tops": [], "pace_ms": 40, "anew": False}
    ]
    hub.receive(tick(frame("book", 1), frame("book", 1, market="B")))

    await hub.announce("sandbox")
    assert line.take("relay.wish") == []
    time.now += ANNOUNCE_MS
    await hub.announce("sandbox")
    assert len(line.take("relay.wish")) == 1
    hub.leave(viewer)
    await hub.announce("sandbox")
    assert [wish["books"] for wish in line.take("relay.wish")] == [[]]
    time.now += ANNOUNCE_MS
    await hub.announce("sandbox")
    assert line.take("relay.wish") == []


async def test_the_wish_is_repeated_sooner_while_somebody_waits(hub: Hub, line: Said, time: Time) -> None:
    watching(hub)
    await hub.announce("sandbox")
    line.messages.clear()

    time.now += HURRY_MS
    await hub.announce("sandbox")

    assert len(line.take("relay.wish")) == 1


async def test_the_wish_is_repeated_sooner_while_no_relay_is_heard(hub: Hub, line: Said, time: Time) -> None:
    watching(hub)
    hub.receive(tick(frame("book", 1), feed="live"))
    await hub.announce("sandbox")
    line.messages.clear()
    time.now += SILENT_MS + 1
    hub.look()
    await hub.announce("sandbox")
    line.messages.clear()

    time.now += HURRY_MS
    await hub.announce("sandbox")

    assert len(line.take("relay.wish")) == 1


async def test_a_wish_that_could_not_be_handed_over_is_said_again(hub: Hub, line: Said) -> None:
    watching(hub)
    line.is_working = False
    await hub.announce("sandbox")
    line.is_working = True

    await hub.announce("sandbox")

    assert len(line.take("relay.wish")) == 1


async def test_what_is_wanted_while_a_wish_is_on_its_way_is_said_at_once(hub: Hub, line: Said) -> None:
    viewer = watching(hub, "A")
    send = line.send_group

    async def send_slowly(group: str, message: dict[str, Any]) -> bool:
        line.send_group = send  # type: ignore[method-assign]
        hub.watch(viewer, "sandbox", ["B"], [])
        return await send(group, message)

    line.send_group = send_slowly  # type: ignore[method-assign]
    await hub.announce("sandbox")
    await hub.announce("sandbox")

    assert [wish["books"] for wish in line.take("relay.wish")] == [["A"], ["A", "B"]]


async def test_a_top_taken_off_and_watched_again_before_the_wish_is_said_is_still_known(hub: Hub, line: Said) -> None:
    first = Viewer(hub)
    hub.watch(first, "sandbox", (), ("A",))
    await hub.announce("sandbox")
    line.messages.clear()
    hub.receive(tick(("top", "A", 0, encode({"t": "top", "n": 0, "bid": 4800}))))
    hub.leave(first)
    hub.receive(tick(("top", "A", 0, encode({"t": "top", "n": 0, "bid": 4900}))))

    second = Viewer(hub)
    hub.watch(second, "sandbox", (), ("A",))

    assert [top["bid"] for top in second.frames("top")] == [4900], "the relay, which heard of nothing, tells no more"


async def test_a_top_that_the_relay_is_told_to_leave_out_is_known_no_longer(hub: Hub, line: Said) -> None:
    first = Viewer(hub)
    hub.watch(first, "sandbox", (), ("A",))
    hub.receive(tick(("top", "A", 0, encode({"t": "top", "n": 0, "bid": 4800}))))
    hub.leave(first)
    await hub.announce("sandbox")
    assert [wish["tops"] for wish in line.take("relay.wish")] == [[]]

    second = Viewer(hub)
    hub.watch(second, "sandbox", (), ("A",))

    assert second.frames("top") == []
