"""One message of the relay becomes one text for each browser, and a silent or dead way makes books doubtful."""

from __future__ import annotations

import pytest

from markets.audience import ASK_AGAIN_MS
from markets.events import encode
from markets.hub import BEAT_MS, SILENT_MS, Hub
from markets.outbox import GRACE_MS, LIMIT_BYTES
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


async def test_a_newcomer_gets_nothing_of_a_book_before_the_whole_of_it(hub: Hub) -> None:
    viewer = watching(hub)

    hub.receive(tick(frame("delta", 7)))
    assert kinds(viewer) == []
    hub.receive(tick(frame("snap", 7)))
    hub.receive(tick(frame("delta", 8)))

    assert kinds(viewer) == [("book", 7), ("delta", 8)]


async def test_an_answer_goes_only_to_those_who_waited(hub: Hub) -> None:
    first = watching(hub)
    hub.receive(tick(frame("book", 1)))
    first.frames()
    second = watching(hub)

    hub.receive(tick(frame("snap", 1)))

    assert (kinds(first), kinds(second)) == ([], [("book", 1)])


async def test_one_tick_is_one_text_for_each_browser(hub: Hub) -> None:
    viewer = watching(hub, "A", "B")
    hub.receive(tick(frame("book", 1), frame("book", 1, market="B")))
    assert len(viewer.texts) == 1


async def test_a_hole_is_passed_on_and_a_whole_book_is_asked_for(hub: Hub, line: Said) -> None:
    viewer = watching(hub)
    hub.receive(tick(frame("book", 1)))
    await hub.announce("sandbox")
    line.messages.clear()

    hub.receive(tick(frame("delta", 3)))
    await hub.announce("sandbox")

    assert kinds(viewer) == [("book", 1), ("delta", 3)]
    assert [message["tickers"] for message in line.take("relay.ask")] == [["A"]]


async def test_a_first_delta_after_an_answer_is_no_hole(hub: Hub, line: Said) -> None:
    watching(hub)
    hub.receive(tick(frame("snap", 41)))
    line.messages.clear()

    hub.receive(tick(frame("delta", 42)))
    await hub.announce("sandbox")

    assert line.take("relay.ask") == []


async def test_a_lost_last_frame_is_found_by_the_numbers_of_the_beat(hub: Hub, line: Said) -> None:
    viewer = watching(hub)
    hub.receive(tick(frame("book", 1)))
    viewer.frames()
    await hub.announce("sandbox")
    line.messages.clear()

    hub.receive(tick(feed="live", numbers={"A": 2}))
    await hub.announce("sandbox")

    assert [message["tickers"] for message in line.take("relay.ask")] == [["A"]]
    hub.receive(tick(frame("snap", 2)))
    assert kinds(viewer) == [("book", 2)]


async def test_numbers_that_agree_ask_for_nothing(hub: Hub, line: Said) -> None:
    watching(hub)
    hub.receive(tick(frame("snap", 5)))
    await hub.announce("sandbox")
    line.messages.clear()

    hub.receive(tick(feed="live", numbers={"A": 5, "NOBODY": 9}))
    await hub.announce("sandbox")

    assert line.take("relay.ask") == []


async def test_a_beat_without_numbers_is_a_beat(hub: Hub) -> None:
    viewer = watching(hub)
    hub.receive(tick(feed="live", numbers=None))

    assert [frame["feed"] for frame in viewer.frames("beat")] == ["live"]


async def test_a_hub_in_the_middle_of_admission_asks_no_more_often_than_it_would_anyway(
    hub: Hub, line: Said, time: Time
) -> None:
    watching(hub)
    await hub.announce("sandbox")
    line.messages.clear()

    for _ in range(10):
        time.now += ASK_AGAIN_MS // 10
        hub.receive(tick(feed="live", numbers={"A": 7}))
        await hub.announce("sandbox")
    assert len(line.take("relay.ask")) == 1
    hub.receive(tick(frame("snap", 7), feed="live", numbers={"A": 7}))
    time.now += 10 * ASK_AGAIN_MS
    await hub.announce("sandbox")

    assert line.take("relay.ask") == []


async def test_an_answer_newer_than_what_was_heard_heals_everybody(hub: Hub) -> None:
    first = watching(hub)
    hub.receive(tick(frame("book", 1)))
    first.frames()
    second = watching(hub)

    hub.receive(tick(frame("snap", 3)))

    assert (kinds(first), kinds(second)) == ([("book", 3)], [("book", 3)])


async def test_a_deposed_relay_is_not_listened_to(hub: Hub) -> None:
    viewer = watching(hub)
    hub.receive(tick(frame("book", 1, epoch="e2"), epoch="e2", fence=2))
    viewer.frames()

    hub.receive(tick(frame("delta", 2), fence=1))

    assert kinds(viewer) == []


async def test_trades_that_were_asked_for_go_to_who_asked(hub: Hub, line: Said) -> None:
    first, second = watching(hub), watching(hub)
    hub.receive(tick(frame("book", 1)))
    assert hub.trades(first, "sandbox", "A", 4)
    first.frames(), second.frames()
    await hub.announce("sandbox")
    assert [message["wanted"] for message in line.take("relay.trades")] == [[("A", 4)]]

    hub.receive(tick(("past", "A", 4, encode({"t": "trade", "n": 5}) + "," + encode({"t": "trade", "n": 6}))))

    assert (kinds(first), kinds(second)) == ([("trade", 5), ("trade", 6)], [])


async def test_who_asked_for_earlier_trades_while_a_question_was_out_is_asked_for_anew(hub: Hub, line: Said) -> None:
    first, second = watching(hub), watching(hub)
    hub.receive(tick(frame("book", 1)))
    hub.trades(first, "sandbox", "A", 4)
    await hub.announce("sandbox")
    hub.trades(second, "sandbox", "A", 0)
    first.frames(), second.frames()
    line.messages.clear()

    line.messages.clear()
    await hub.announce("sandbox")
    assert [message["wanted"] for message in line.take("relay.trades")] == [[("A", 0)]]
    hub.receive(tick(("past", "A", 4, encode({"t": "trade", "n": 5}))))
    assert (kinds(first), kinds(second)) == ([("trade", 5)], [])

    await hub.announce("sandbox")
    assert [message["wanted"] for message in line.take("relay.trades")] == [[("A", 0)]]


async def test_who_asked_for_trades_that_nobody_remembers_is_told_so_and_asked_for_no_more(
    hub: Hub, line: Said, time: Time
) -> None:
    first, second = watching(hub), watching(hub)
    hub.receive(tick(frame("book", 1)))
    hub.trades(first, "sandbox", "A", 0)
    first.frames(), second.frames()
    await hub.announce("sandbox")
    line.messages.clear()

    hub.receive(tick(("past", "A", 0, "")))

    [told] = first.frames()
    assert (told["t"], told["code"], told["env"], told["m"]) == ("error", "NO_TRADES", "sandbox", "A")
    assert second.frames() == []
    time.now += ASK_AGAIN_MS
    await hub.announce("sandbox")
    assert line.take("relay.trades") == []


async def test_tops_are_told_when_they_differ_and_to_newcomers_at_once(hub: Hub) -> None:
    first = Viewer(hub)
    hub.watch(first, "sandbox", (), ("A",))
    told = ("top", "A", 0, encode({"t": "top", "n": 0, "bid": 4800}))
    hub.receive(tick(told))
    hub.receive(tick(told))
    assert kinds(first) == [("top", 0)]
    second = Viewer(hub)

    hub.watch(second, "sandbox", (), ("A",))

    assert kinds(second) == [("top", 0)]


async def test_a_silent_relay_is_down_within_two_seconds(hub: Hub, time: Time) -> None:
    viewer = watching(hub)
    hub.receive(tick(feed="live", numbers={}))
    time.now += SILENT_MS
    hub.beat()
    time.now += 1
    hub.beat()

    beats = viewer.frames("beat")
    assert [(beat["feed"], beat["hub_ms"]) for beat in beats] == [
        ("live", 0),
        ("live", SILENT_MS),
        ("down", SILENT_MS + 1),
    ]
    assert beats[-1]["why"] == "the feed process is silent"


async def test_a_relay_that_falls_silent_is_told_of_between_two_beats(hub: Hub, time: Time) -> None:
    viewer = watching(hub)
    hub.receive(tick(feed="live", numbers={}))
    hub.look()
    viewer.frames("beat")

    time.now += BEAT_MS
    hub.look()
    time.now += BEAT_MS
    hub.look()
    time.now += 250
    hub.look()
    time.now += 250
    hub.look()

    assert [(beat["feed"], beat["hub_ms"]) for beat in viewer.frames("beat")] == [
        ("live", 1_000),
        ("live", 2_000),
        ("down", 2_250),
    ]


async def test_a_relay_that_speaks_again_is_told_of_at_once(hub: Hub, time: Time) -> None:
    viewer = watching(hub)
    hub.receive(tick(feed="live", numbers={}))
    time.now += SILENT_MS + 1
    hub.look()
    viewer.frames("beat")

    hub.receive(tick(feed="live", numbers={}))

    assert [beat["feed"] for beat in viewer.frames("beat")] == ["live"]


async def test_a_deaf_line_is_down_whatever_was_said_before(hub: Hub, line: Said) -> None:
    viewer = watching(hub)
    hub.receive(tick(feed="live", numbers={}))
    line.is_up = False
    viewer.frames("beat")
    hub.beat()

    [beat] = viewer.frames("beat")
    assert (beat["feed"], beat["why"]) == ("down", "the connection to the feed process is lost")


async def test_a_store_that_dies_makes_every_book_doubtful_at_once(hub: Hub, line: Said, time: Time) -> None:
    viewer = watching(hub)
    hub.receive(tick(frame("snap", 4), feed="live", numbers={}))
    await hub.announce("sandbox")
    line.take("relay.wish")
    viewer.frames("beat")

    line.is_up = False
    hub.lose()

    # -1: nothing has been heard on this way, which is what makes a page give up its books.
    [beat] = viewer.frames("beat")
    assert (beat["feed"], beat["hub_ms"], beat["why"]) == ("down", -1, "the connection to the feed process is lost")
    await hub.announce("sandbox")
    assert [wish["books"] for wish in line.take("relay.wish")] == [["A"]]
    assert [ask["tickers"] for ask in line.take("relay.ask")] == [["A"]]


async def test_after_a_death_of_the_store_all_tops_are_told_anew_though_they_are_as_before(
    hub: Hub, line: Said
) -> None:
    viewer = Viewer(hub)
    hub.watch(viewer, "sandbox", [], ["A"])
    hub.receive(tick(frame("top", 0), feed="live", numbers={}))
    await hub.announce("sandbox")
    assert [wish["anew"] for wish in line.take("relay.wish")] == [False]
    viewer.frames()

    hub.lose()
    await hub.announce("sandbox")
    assert [wish["anew"] for wish in line.take("relay.wish")] == [True]
    hub.receive(tick(frame("top", 0), feed="live", numbers={}))

    assert len(viewer.frames("top")) == 1
    hub.look()
    hub.watch(viewer, "sandbox", [], ["B"])
    await hub.announce("sandbox")
    assert [wish["anew"] for wish in line.take("relay.wish")] == [False]


async def test_after_a_death_of_the_store_a_relay_is_believed_when_the_line_hears_itself(
    hub: Hub, line: Said, time: Time
) -> None:
    viewer = watching(hub)
    hub.receive(tick(frame("snap", 4), feed="live", numbers={}))
    line.is_up = False
    hub.lose()
    hub.receive(tick(frame("snap", 4), feed="live", numbers={"A": 4}))
    viewer.frames("beat")

    hub.look()
    assert viewer.frames("beat") == []  # told already, and no second has passed
    line.is_up = True
    hub.look()
    assert [(beat["feed"], beat["hub_ms"]) for beat in viewer.frames("beat")] == [("live", 0)]


async def test_a_browser_hears_at_once_how_its_feed_is(hub: Hub) -> None:
    viewer = Viewer(hub)
    hub.watch(viewer, "sandbox", ("A",), ())

    [beat] = viewer.frames("beat")
    assert (beat["feed"], beat["hub_ms"]) == ("down", -1)


async def test_a_browser_that_falls_behind_is_told_and_gets_whole_books_when_it_has_caught_up(
    hub: Hub, line: Said
) -> None:
    slow, quick = watching(hub), watching(hub)
    hub.receive(tick(frame("book", 1)))
    slow.is_stuck = True
    big = "x" * (LIMIT_BYTES // 3)
    for number in range(2, 6):
        hub.receive(tick(frame("delta", number, more=big)))
    assert [frame["n"] for frame in quick.frames()] == [1, 2, 3, 4, 5]
    assert [(frame["t"], frame.get("code")) for frame in slow.frames()][-1] == ("error", "SLOW")
    line.messages.clear()

    hub.ack(slow, slow.outbox.sent)
    await hub.announce("sandbox")

    assert [message["tickers"] for message in line.take("relay.ask")] == [["A"]]
    hub.receive(tick(frame("snap", 5)))
    assert (kinds(slow), kinds(quick)) == ([("book", 5)], [])


async def test_a_browser_that_never_catches_up_is_given_up(hub: Hub, time: Time) -> None:
    slow = watching(hub)
    hub.receive(tick(frame("book", 1)))
    slow.is_stuck = True
    for number in range(2, 6):
        hub.receive(tick(frame("delta", number, more="x" * (LIMIT_BYTES // 3))))
    hub.beat()
    assert not slow.is_given_up

    time.now += GRACE_MS + 1
    hub.beat()

    assert slow.is_given_up
    assert slow not in hub.audience.browsers


async def test_a_hub_that_is_too_busy_asks_for_fewer_frames(line: Said, time: Time) -> None:
    worked = [0]
    hub = Hub(None, clock=time, work=lambda: worked[0])
    hub.line = line  # type: ignore[assignment]
    watching(hub)
    await hub.announce("sandbox")
    assert [wish["pace_ms"] for wish in line.take("relay.wish")] == [40]

    time.now += 999
    worked[0] += 999_000_000
    hub.weigh()  # a second has not passed
    await hub.announce("sandbox")
    assert line.take("relay.wish") == []

    time.now += 1
    hub.weigh()
    time.now += 1_000
    worked[0] += 900_000_000
    hub.weigh()
    await hub.announce("sandbox")
    assert [wish["pace_ms"] for wish in line.take("relay.wish")] == [50]
