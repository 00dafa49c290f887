"""One connection's conversation: numbers, gaps, subscriptions and refusals, with commands and events collected."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from markets.kalshi.feed import events
from markets.kalshi.feed.numbers import HEARD_KEPT, LATE_MOST, Numbers, Order
from markets.kalshi.feed.session import Session
from markets.kalshi.messages import Channel, read_frame
from tests.wire import frames as wire
from tests.wire.frames import BERGEN, OSLO


class Talk:
    """A session with what it sent and what it told."""

    def __init__(self, *channels: Channel) -> None:
        self.sent: list[dict[str, Any]] = []
        self.told: list[Any] = []
        self.counts: Counter[str] = Counter()
        self.session = Session(
            1,
            channels=channels or ("orderbook_delta",),
            send=self.sent.append,
            say=self.told.append,
            counts=self.counts,
        )

    def hear(self, frame: dict[str, Any], now: float = 100.0) -> None:
        self.session.take(read_frame(wire.encoded(frame), is_no_side_in_yes_prices=True), now)

    def take_sent(self) -> list[dict[str, Any]]:
        sent = list(self.sent)
        self.sent.clear()
        return sent

    def take_told(self) -> list[Any]:
        told = list(self.told)
        self.told.clear()
        return told


@pytest.fixture
def talk() -> Talk:
    """Two books subscribed as sid 1, with their snapshots (1 and 2) told."""
    talk = Talk()
    talk.session.watch([OSLO, BERGEN], 100.0)
    talk.hear(wire.subscribed("orderbook_delta", 1, 1))
    talk.hear(wire.snapshot(OSLO, 1))
    talk.hear(wire.snapshot(BERGEN, 2))
    talk.sent.clear()
    talk.told.clear()
    return talk


def asked_snapshots(sent: list[dict[str, Any]]) -> list[list[str]]:
    return [
        command["params"]["market_tickers"] for command in sent if command["params"].get("action") == "get_snapshot"
    ]


# --- numbers -------------------------------------------------------------------------------------


def test_next_duplicate_and_gap_are_three_answers() -> None:
    numbers = Numbers()
    assert [numbers.take(seq) for seq in (1, 2, 2, 1, 3, 5, 4, 6)] == [
        Order.NEXT,
        Order.NEXT,
        Order.DUPLICATE,
        Order.DUPLICATE,
        Order.NEXT,
        Order.GAP,
        Order.DUPLICATE,
        Order.NEXT,
    ]


def test_a_count_that_begins_anew_is_a_gap_at_once_and_goes_on_from_there() -> None:
    numbers = Numbers()
    for seq in range(1, HEARD_KEPT + 10):
        numbers.take(seq)
    assert [numbers.take(seq) for seq in (1, 2, 2, 3)] == [Order.GAP, Order.NEXT, Order.DUPLICATE, Order.NEXT]


def test_an_old_number_with_another_message_is_no_repetition() -> None:
    numbers = Numbers()
    for seq, message in ((1, "one"), (2, "two"), (3, "three")):
        numbers.take(seq, message)
    assert numbers.take(2, "two") is Order.DUPLICATE
    assert numbers.take(1, "another") is Order.GAP
    told = [numbers.take(seq, message) for seq, message in ((2, "next"), (1, "one"), (1, "a third"))]
    assert told == [Order.NEXT, Order.DUPLICATE, Order.GAP]


def test_what_was_heard_before_the_count_began_anew_stays_old() -> None:
    numbers = Numbers()
    for seq in range(1, 10):
        numbers.take(seq, f"before {seq}")
    told = [numbers.take(1, "after 1"), numbers.take(9, "before 9"), numbers.take(2, "before 2")]
    assert told == [Order.GAP, Order.DUPLICATE, Order.DUPLICATE], "even under the number that is expected"
    assert [numbers.take(2, "after 2"), numbers.is_steady] == [Order.NEXT, False]
    for seq in range(3, HEARD_KEPT + 2):
        assert numbers.take(seq, f"after {seq}") is Order.NEXT
    assert numbers.is_steady


def test_a_message_that_was_overtaken_is_old_once_and_only_for_a_while() -> None:
    numbers = Numbers()
    assert [numbers.take(seq, f"first {seq}") for seq in (1, 3, 2)] == [Order.NEXT, Order.GAP, Order.DUPLICATE]
    assert numbers.take(2, "second 2") is Order.GAP
    assert numbers.take(100, "100") is Order.GAP
    assert numbers.take(100 - LATE_MOST, "just late") is Order.DUPLICATE
    assert numbers.take(99 - LATE_MOST, "too late") is Order.GAP


def test_messages_in_order_are_told_with_their_connection(talk: Talk) -> None:
    talk.hear(wire.delta(OSLO, 3))
    [event] = talk.told
    assert isinstance(event, events.DeltaReceived)
    assert (event.connection, event.message.ticker, event.message.seq) == (1, OSLO, 3)


def test_ok_takes_a_number(talk: Talk) -> None:
    talk.hear(wire.ok(9, 1, 3, [OSLO, BERGEN]))
    talk.hear(wire.delta(OSLO, 4))
    assert [type(event) for event in talk.told] == [events.DeltaReceived]


def test_an_ok_that_was_lost_is_a_gap(talk: Talk) -> None:
    talk.hear(wire.delta(OSLO, 4))
    assert isinstance(talk.told[0], events.BooksStale)


def test_a_repeated_message_is_passed_over(talk: Talk) -> None:
    talk.hear(wire.delta(OSLO, 3))
    talk.told.clear()
    talk.hear(wire.delta(OSLO, 3))
    talk.hear(wire.snapshot(OSLO, 1))
    assert talk.told == []
    assert (talk.counts["duplicates"], talk.counts["gaps"]) == (2, 0)


@pytest.mark.parametrize("first", [1, 2, 3], ids=lambda first: f"at {first}")
def test_a_count_that_begins_anew_makes_every_book_stale_and_asks_for_all(talk: Talk, first: int) -> None:
    for seq in (3, 4, 5):
        talk.hear(wire.delta(OSLO, seq))
    talk.told.clear()
    talk.hear(wire.delta(BERGEN, first, change="7.00"))

    [stale] = talk.take_told()  # what came with an old number is not read: it may be old itself
    assert isinstance(stale, events.BooksStale)
    assert set(stale.tickers) == {OSLO, BERGEN}
    assert asked_snapshots(talk.sent) == [[OSLO, BERGEN]]

    talk.hear(wire.snapshot(OSLO, first + 1, clock=20))
    talk.hear(wire.delta(OSLO, first + 2, change="8.00"))
    assert [type(event).__name__ for event in talk.told] == ["SnapshotReceived", "DeltaReceived"]
    assert (talk.counts["counted_anew"], talk.counts["gaps"]) == (1, 1)


def test_a_message_of_the_former_count_is_passed_over_under_the_number_that_is_expected(talk: Talk) -> None:
    old = wire.delta(OSLO, 3, change="9.00")
    talk.hear(old)
    for seq, ticker in ((1, BERGEN), (2, OSLO)):
        talk.hear(wire.snapshot(ticker, seq, clock=30))
    talk.told.clear()
    talk.hear(old)
    assert talk.told == []
    talk.hear(wire.delta(OSLO, 3, change="1.00", clock=31))
    assert [type(event) for event in talk.told] == [events.DeltaReceived]


def test_a_gap_makes_every_book_of_the_subscription_stale_and_asks_for_all(talk: Talk) -> None:
    talk.hear(wire.delta(OSLO, 5))

    stale, kept = talk.told
    assert isinstance(stale, events.BooksStale)
    assert set(stale.tickers) == {OSLO, BERGEN}
    assert isinstance(kept, events.DeltaReceived)  # frames keep flowing
    assert asked_snapshots(talk.sent) == [[OSLO, BERGEN]]
    assert talk.sent[0]["params"]["sid"] == 1


def test_a_snapshot_after_the_gap_is_told_and_the_count_goes_on(talk: Talk) -> None:
    talk.hear(wire.delta(OSLO, 5))
    talk.told.clear()
    talk.hear(wire.snapshot(OSLO, 6) | {"id": 2})
    talk.hear(wire.snapshot(BERGEN, 7) | {"id": 2})
    talk.hear(wire.delta(BERGEN, 8))
    assert [type(event).__name__ for event in talk.told] == ["SnapshotReceived", "SnapshotReceived", "DeltaReceived"]


def test_a_storm_of_gaps_is_no_storm_of_questions(talk: Talk) -> None:
    for number in range(20):
        talk.hear(wire.delta(OSLO, 5 + 2 * number), now=100.0 + number / 100)
    assert len(asked_snapshots(talk.take_sent())) == 1

    talk.session.look(100.5)
    assert talk.sent == []
    talk.session.look(101.5)
    assert asked_snapshots(talk.sent) == [[OSLO, BERGEN]]


def test_a_gap_before_the_sid_is_known_is_asked_about_when_it_is() -> None:
    talk = Talk()
    talk.session.watch([OSLO], 100.0)
    talk.hear(wire.snapshot(OSLO, 2))
    assert isinstance(talk.told[0], events.BooksStale)
    talk.hear(wire.subscribed("orderbook_delta", 1, 1))
    talk.session.look(100.1)
    assert asked_snapshots(talk.sent[1:]) == [[OSLO]]


def test_a_gap_among_trades_spoils_no_book() -> None:
    talk = Talk("orderbook_delta", "trade")
    talk.session.watch([OSLO], 100.0)
    talk.hear(wire.subscribed("orderbook_delta", 1, 1))
    talk.hear(wire.subscribed("trade", 2, 2))
    talk.hear(wire.snapshot(OSLO, 1))
    talk.told.clear()
    talk.hear(wire.trade(OSLO, 4))
    talk.hear(wire.delta(OSLO, 2))
    assert [type(event).__name__ for event in talk.told] == ["TradeReceived", "DeltaReceived"]


@pytest.fixture
def three() -> Talk:
    """Books as sid 1, trades as sid 2, what happens to markets as sid 3; one book is told."""
    talk = Talk("orderbook_delta", "trade", "market_lifecycle_v2")
    talk.session.watch([OSLO], 100.0)
    for sid, channel in enumerate(("orderbook_delta", "trade", "market_lifecycle_v2"), start=1):
        talk.hear(wire.subscribed(channel, sid, sid))
    talk.hear(wire.snapshot(OSLO, 1))
    return talk


def test_what_happened_to_markets_before_the_subscription_was_missed(three: Talk) -> None:
    missed = events.LifecycleMissed("what happened before the subscription is not told")
    assert three.take_told()[0] == missed

    three.hear(wire.error(25, "Subscription buffer overflow", sid=3, seq=1))
    three.session.look(102.0)
    three.hear(wire.subscribed("market_lifecycle_v2", 4, 4))
    assert three.told == [missed]


@pytest.mark.parametrize(
    ("heard", "reason"),
    [
        ((1, 3), "message 2 of the subscription was lost, 3 came"),
        ((1, 2, 3, 1), "the subscription's count went back from 3 to 1"),
    ],
)
def test_a_gap_in_what_happens_to_markets_is_told_and_spoils_no_book(
    three: Talk, heard: tuple[int, ...], reason: str
) -> None:
    three.told.clear()
    for number, seq in enumerate(heard):
        three.hear(wire.lifecycle(f"M{number}", seq))
    three.hear(wire.delta(OSLO, 2))

    told = [event for event in three.told if not isinstance(event, events.LifecycleReceived)]
    assert [type(event) for event in told] == [events.LifecycleMissed, events.DeltaReceived]
    assert told[0].reason == reason


def test_a_frame_that_cannot_be_read_takes_its_number(talk: Talk) -> None:
    assert talk.session.note_number(1, 3, 100.0)
    talk.hear(wire.delta(OSLO, 4))
    assert [type(event) for event in talk.told] == [events.DeltaReceived]


# --- subscriptions -------------------------------------------------------------------------------


def test_the_first_markets_are_subscribed_with_yes_prices() -> None:
    talk = Talk("orderbook_delta", "trade")
    talk.session.watch([OSLO, BERGEN], 100.0)
    assert talk.sent == [
        {
            "id": 1,
            "cmd": "subscribe",
            "params": {
                "channels": ["orderbook_delta"],
                "market_tickers": [OSLO, BERGEN],
                "use_yes_price": True,
            },
        },
        {"id": 2, "cmd": "subscribe", "params": {"channels": ["trade"], "market_tickers": [OSLO, BERGEN]}},
    ]


def test_private_channels_are_subscribed_without_markets() -> None:
    talk = Talk("user_orders", "fill")
    talk.session.watch([], 100.0)
    assert [command["params"] for command in talk.sent] == [{"channels": ["user_orders"]}, {"channels": ["fill"]}]


def test_later_markets_join_and_wait_for_the_sid() -> None:
    talk = Talk()
    talk.session.watch([OSLO], 100.0)
    talk.sent.clear()
    talk.session.watch([BERGEN], 100.0)
    assert talk.sent == []

    talk.hear(wire.subscribed("orderbook_delta", 7, 1))
    [command] = talk.sent
    assert (command["cmd"], command["params"]) == (
        "update_subscription",
        {"sid": 7, "action": "add_markets", "market_tickers": [BERGEN]},
    )


def test_markets_are_taken_off_and_not_asked_for_twice(talk: Talk) -> None:
    talk.session.watch([OSLO], 100.0)
    assert talk.sent == []
    talk.session.unwatch([BERGEN, "NEVER"], 100.0)
    assert [command["params"] for command in talk.sent] == [
        {"sid": 1, "action": "delete_markets", "market_tickers": [BERGEN]}
    ]


def test_many_markets_go_in_several_commands() -> None:
    talk = Talk()
    talk.session.watch([f"M{number}" for number in range(1_200)], 100.0)
    talk.hear(wire.subscribed("orderbook_delta", 1, 1))
    assert [len(command["params"]["market_tickers"]) for command in talk.sent] == [500, 500, 200]


def test_snapshots_are_asked_for_by_name_and_lost_markets_are_subscribed(talk: Talk) -> None:
    talk.session.resync([BERGEN, "NEW"], 100.0)
    assert [command["params"] for command in talk.sent] == [
        {"sid": 1, "action": "get_snapshot", "market_tickers": [BERGEN]},
        {"sid": 1, "action": "add_markets", "market_tickers": ["NEW"]},
    ]


def test_a_snapshot_that_came_is_not_asked_for_again_and_one_that_did_not_is(talk: Talk) -> None:
    talk.session.resync([OSLO, BERGEN], 100.0)
    talk.hear(wire.snapshot(OSLO, 3))
    talk.sent.clear()

    talk.session.look(109.0)
    assert talk.sent == []
    talk.session.look(111.0)
    assert asked_snapshots(talk.sent) == [[BERGEN]]


def test_a_sid_that_ends_before_its_name_was_heard_may_have_been_the_books() -> None:
    talk = Talk()
    talk.session.watch([OSLO], 100.0)
    talk.hear(wire.snapshot(OSLO, 1))
    talk.hear(wire.error(25, "overflow", sid=1, seq=2))

    assert isinstance(talk.told[-1], events.BooksStale)


def test_a_command_that_nobody_answers_is_sent_again() -> None:
    talk = Talk()
    talk.session.watch([OSLO], 100.0)
    talk.sent.clear()
    talk.session.look(105.0)
    assert talk.sent == []
    talk.session.look(111.0)
    talk.session.look(112.5)
    assert [command["cmd"] for command in talk.sent] == ["subscribe"]


# --- refusals ------------------------------------------------------------------------------------


def test_a_refused_market_is_told_and_the_others_are_asked_for_again() -> None:
    talk = Talk()
    talk.session.watch([OSLO, "BAD", BERGEN], 100.0)
    talk.sent.clear()
    talk.hear(wire.error(11, "Invalid parameter", id=1, market_ticker="BAD"))
    assert talk.told == [events.SubscriptionRefused(("BAD",), "Invalid parameter")]
    assert [command["params"]["market_tickers"] for command in talk.sent] == [[OSLO, BERGEN]]


def test_a_market_refused_on_both_channels_is_told_once() -> None:
    talk = Talk("orderbook_delta", "trade")
    talk.session.watch(["BAD"], 100.0)
    talk.hear(wire.error(11, "Invalid parameter", id=1, market_ticker="BAD"))
    talk.hear(wire.error(11, "Invalid parameter", id=2, market_ticker="BAD"))
    assert talk.told == [events.SubscriptionRefused(("BAD",), "Invalid parameter")]


def test_a_refusal_that_names_nobody_is_narrowed_down_to_who_it_was() -> None:
    talk = Talk()
    wanted = [f"M{number}" for number in range(8)]
    talk.session.watch(wanted, 100.0)
    taken: set[str] = set()
    sid = None
    for _ in range(40):
        if not talk.sent:
            break
        command = talk.sent.pop(0)
        tickers = command["params"]["market_tickers"]
        if "M5" in tickers:
            talk.hear(wire.error(1, "Unable to process message", id=command["id"]))
        elif sid is None:
            sid = 1
            taken.update(tickers)
            talk.hear(wire.subscribed("orderbook_delta", 1, command["id"]))
        else:
            taken.update(tickers)
            talk.hear(wire.ok(command["id"]))
    assert talk.told == [events.SubscriptionRefused(("M5",), "Unable to process message")]
    assert taken == set(wanted) - {"M5"}


@pytest.mark.parametrize("code", [10, 25])
def test_a_dead_sid_makes_its_books_stale_and_is_subscribed_anew(talk: Talk, code: int) -> None:
    talk.hear(wire.error(code, "Subscription buffer overflow", sid=1, seq=3))
    [stale] = talk.take_told()
    assert isinstance(stale, events.BooksStale)
    assert set(stale.tickers) == {OSLO, BERGEN}
    assert talk.sent == []  # not at once: whoever overflowed us is still busy

    talk.session.look(102.0)
    [command] = talk.take_sent()
    assert (command["cmd"], command["params"]["market_tickers"]) == ("subscribe", [OSLO, BERGEN])
    talk.hear(wire.subscribed("orderbook_delta", 4, command["id"]))
    talk.hear(wire.snapshot(OSLO, 1, sid=4))
    assert [type(event) for event in talk.told] == [events.SnapshotReceived]


def test_too_many_commands_are_sent_later(talk: Talk) -> None:
    talk.session.watch(["NEW"], 100.0)
    [command] = talk.take_sent()
    talk.hear(wire.error(27, "Too many requests", id=command["id"]))
    assert (talk.told, talk.sent) == ([], [])
    talk.session.look(101.5)
    assert [sent["params"]["market_tickers"] for sent in talk.sent] == [["NEW"]]


def test_a_sid_that_the_exchange_has_forgotten_is_subscribed_anew(talk: Talk) -> None:
    talk.session.watch(["NEW"], 100.0)
    [command] = talk.take_sent()
    talk.hear(wire.error(7, "Unknown subscription ID", id=command["id"]))
    talk.session.look(102.0)
    assert [sent["params"]["market_tickers"] for sent in talk.sent] == [[OSLO, BERGEN, "NEW"]]


def test_own_orders_and_fills_are_told() -> None:
    talk = Talk("user_orders", "fill")
    talk.hear(wire.USER_ORDER)
    talk.hear(wire.FILL)
    assert [type(event).__name__ for event in talk.told] == ["UserOrderReceived", "FillReceived"]


def test_a_recorded_connection_has_no_gap(recordings: Path) -> None:
    talk = Talk()
    for line in (recordings / "tapes/sports_twelve_markets.jsonl").read_text().splitlines():
        raw = json.dumps(json.loads(line)["frame"])
        talk.session.take(read_frame(raw, is_no_side_in_yes_prices=False), 100.0)
    told = Counter(type(event).__name__ for event in talk.told)
    assert told == {"SnapshotReceived": 12, "DeltaReceived": 245}
    assert (talk.counts["gaps"], talk.counts["duplicates"]) == (0, 0)


def test_a_thousand_messages_in_order_make_no_question(talk: Talk) -> None:
    for seq in range(3, 1_003):
        talk.hear(wire.delta(OSLO if seq % 2 else BERGEN, seq))
    assert (len(talk.told), talk.sent) == (1_000, [])
