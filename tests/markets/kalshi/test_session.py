"""One connection's conversation: numbers, gaps, subscriptions and refusals, with commands and events collected."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from markets.kalshi.feed import events
from markets.kalshi.feed.numbers import OLD_MOST, Numbers, Order
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


def test_a_count_that_begins_anew_is_a_gap_after_a_while_not_silence_for_ever() -> None:
    numbers = Numbers()
    for seq in range(1, 1_001):
        numbers.take(seq)
    answers = [numbers.take(seq) for seq in range(1, OLD_MOST + 3)]
    assert answers == [Order.DUPLICATE] * OLD_MOST + [Order.GAP, Order.NEXT]


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
