"""Frames of one market, spoiled in every way we know: nothing ends the reader, no book is wrong, memory stays flat.

Spoiled are frames of market A alone. B's book must be true or doubted whatever is done to A's frames, for both share
a subscription. A's book must be true or doubted unless a spoiled frame still reads as a message, which nobody can tell
from a true one; then A is judged again from its next whole book on.
"""

from __future__ import annotations

import json
import logging
import random
import re
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from markets.intake import Intake
from markets.kalshi import feed
from markets.kalshi.feed import FeedClient
from markets.kalshi.feed.session import Session
from markets.kalshi.messages import frames
from markets.kalshi.prices import count_units_of
from markets.livebook import Listing, Moment
from tests.markets.faultyfloor import BOOKS_ALONE
from tests.markets.tapedexchange import Exchange
from tests.markets.units import mark

A, B = "KXALPHA-26NOV25-T1", "KXZULU-27JAN01-Q9"
PAGE = resource.getpagesize()
FRAMES = 1_000_000
DECIMAL = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
FLAT_BYTES = 12 * 1024 * 1024

Spoil = Callable[[random.Random, bytes], bytes]


def bits(dice: random.Random, raw: bytes) -> bytes:
    spoiled = bytearray(raw)
    for _ in range(dice.randrange(1, 4)):
        spoiled[dice.randrange(len(spoiled))] ^= 1 << dice.randrange(8)
    return bytes(spoiled)


def cut(dice: random.Random, raw: bytes) -> bytes:
    return raw[: dice.randrange(len(raw))]


def slice_lost(dice: random.Random, raw: bytes) -> bytes:
    at = dice.randrange(len(raw))
    return raw[:at] + raw[at + dice.randrange(1, 12) :]


def slice_twice(dice: random.Random, raw: bytes) -> bytes:
    at = dice.randrange(len(raw))
    return raw[:at] + raw[at : at + dice.randrange(1, 40)] * dice.randrange(2, 30) + raw[at:]


def noise_within(dice: random.Random, raw: bytes) -> bytes:
    at = dice.randrange(len(raw))
    return raw[:at] + dice.randbytes(dice.randrange(1, 30)) + raw[at:]


def noise_alone(dice: random.Random, raw: bytes) -> bytes:
    return dice.randbytes(dice.randrange(0, 300))


def strange_value(dice: random.Random, raw: bytes) -> bytes:
    values = [
        b"NaN",
        b"1e999",
        b"-Infinity",
        b"null",
        b"true",
        b"{}",
        b"[[]]",
        b"-1",
        b"0",
        b'""',
        b'"0.4.9"',
        b"9" * 400,
    ]
    values += [
        b'"\\ud800"',
        b'"1e3"',
        b'" 5"',
        b'"-0.00"',
        b'"99999999999999999999.00"',
        b"1.5",
        b'"\xff"',
        b'"\xd9\xa1"',
    ]
    found = [at for at in range(len(raw)) if raw[at : at + 1] == b":"]
    at = dice.choice(found)
    end = min((raw.find(mark, at) for mark in (b",", b"}") if raw.find(mark, at) > 0), default=len(raw))
    return raw[: at + 1] + dice.choice(values) + raw[end:]


def key_renamed(dice: random.Random, raw: bytes) -> bytes:
    name = dice.choice(
        [b"type", b"sid", b"seq", b"msg", b"side", b"delta_fp", b"price_dollars", b"market_ticker", b"clock"]
    )
    return raw.replace(b'"' + name + b'"', b'"' + dice.choice([b"x", b"Type", b"seq", b"msg"]) + b'"', 1)


def key_twice(dice: random.Random, raw: bytes) -> bytes:
    return raw[:-1] + dice.choice([b',"seq":"x"}', b',"msg":5}', b',"type":null}', b',"sid":-3}', b',"msg":{}}'])


def kind_unknown(dice: random.Random, raw: bytes) -> bytes:
    kinds = [
        b"orderbook_snapshot",
        b"surprise",
        b"ok",
        b"error",
        b"subscribed",
        b"trade",
        b"fill",
        b"unsubscribed",
        b"",
    ]
    return raw.replace(b"orderbook_delta", dice.choice(kinds), 1)


def deep(dice: random.Random, raw: bytes) -> bytes:
    levels = dice.choice([10, 1_000, 20_000])
    inner = b"[" * levels + b"]" * levels
    return raw[:-1] + b',"more":' + inner + b"}" if dice.random() < 0.5 else inner


def huge(dice: random.Random, raw: bytes) -> bytes:
    return raw[:-1] + b',"more":"' + b"x" * dice.choice([1_000, 100_000]) + b'"}'


def harmless(dice: random.Random, raw: bytes) -> bytes:
    frame = json.loads(raw)
    frame["msg"] = dict(sorted(frame["msg"].items(), reverse=True)) | {"new_field": [1, None, {"a": "b"}]}
    return json.dumps(frame, indent=dice.choice([None, 1])).encode()


SPOILS: list[Spoil] = [
    bits,
    bits,
    cut,
    slice_lost,
    slice_twice,
    noise_within,
    noise_alone,
    strange_value,
    strange_value,
    key_renamed,
    key_twice,
    kind_unknown,
    harmless,
]
RARELY: list[Spoil] = [deep, huge]


class Fuzz:
    """An exchange of two markets, the feed without its socket, and the books."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = Moment(1_000_000, 2_000_000)
        self.exchange = Exchange([A, B])
        self.intake = Intake("sandbox", "e1")
        self.counts: Counter[str] = Counter()
        self.wrongs: list[str] = []
        self.tainted: set[str] = set()
        self.client = FeedClient(
            "ws://127.0.0.1:1/",
            signer=None,  # type: ignore[arg-type]
            on_event=self._hear,
            hosts={"127.0.0.1"},
        )
        self.client.watch([A, B])
        for ticker in (A, B):
            self.intake.add(Listing(ticker, bands=((0, 10_000, 100),)), self.now)
        self._connection = 0
        self._is_spoiled = False
        self._connect()

    def _connect(self) -> None:
        self._connection += 1
        self.exchange.open()
        self.session = Session(
            self._connection,
            channels=BOOKS_ALONE,
            send=self.exchange.obey,
            say=self.client._say,
            counts=self.client.counts,
        )
        self._hear(feed.Connected(self._connection))
        self.session.watch([A, B], self.now.mono / 1000)
        self._deliver()

    def _hear(self, event: Any) -> None:
        if isinstance(event, feed.SnapshotReceived) and not self._is_spoiled:
            self.tainted.discard(event.message.ticker)
        self.intake.take(event, self.now)

    def run(self, frames: int) -> Fuzz:
        """Spoil so many frames, with as many true ones between them."""
        before = self.counts["spoiled"]
        while self.counts["spoiled"] - before < frames:
            self.now = Moment(self.now.mono + 20, self.now.wall + 20)
            self._change()
            self._deliver()
            self._look()
            self.judge()
        return self

    def _change(self) -> None:
        ticker = A if self.dice.random() < 0.7 else B
        place = (self.dice.random() < 0.5, 0)
        place = (place[0], 100 * (self.dice.randrange(30, 48) if place[0] else self.dice.randrange(52, 70)))
        held = self.exchange.books[ticker].get(place, 0)
        change = self.dice.choice([100, 250, 1_000, -held, -held // 2])
        self.exchange.change(ticker, place, change or 100)

    def _deliver(self) -> None:
        while self.exchange.out:
            raw = self.exchange.out.popleft()
            if A.encode() in raw and b"orderbook_delta" in raw and self.dice.random() < 0.8:
                self._spoil(raw)
            else:
                self.client._take(self.session, raw, self.now.mono / 1000)

    def _spoil(self, raw: bytes) -> None:
        kinds = RARELY if self.dice.random() < 0.002 else SPOILS
        spoil = self.dice.choice(kinds)
        spoiled = spoil(self.dice, raw)
        self.counts["spoiled"] += 1
        self.counts[spoil.__name__] += 1
        if is_plausible(spoiled) and not same(raw, spoiled):
            self.tainted.add(A)
        self._is_spoiled = True
        self.client._take(self.session, spoiled, self.now.mono / 1000)
        self._is_spoiled = False

    def _look(self) -> None:
        if self.now.mono % 240 == 0:
            self.session.look(self.now.mono / 1000)
            self.intake.look(self.now)
            if due := self.intake.repairs(self.now):
                self.session.resync(due, self.now.mono / 1000)
        if self.dice.random() < 0.002:
            self._hear(feed.Disconnected("reset", None))
            self._connect()

    def judge(self) -> None:
        """Hold each book that is believed against the truth at the clock that it names."""
        for ticker in (A, B):
            live = self.intake.books[ticker]
            if live.fault is not None or ticker in self.tainted:
                continue
            self.counts[f"judged {ticker}"] += 1
            clock = live.up[3] if live.up else None
            found = 0
            for is_bid, side in ((True, live.book.bids), (False, live.book.asks)):
                for price, size in side.items():
                    found ^= mark((is_bid, price), size)
            if self.exchange.truth.get((ticker, clock or 0), 0) != found:
                self.wrongs.append(f"{ticker} at clock {clock}")
        if len(self.exchange.truth) > 4_000:
            kept = list(self.exchange.truth)[-2_000:]
            newest = {(ticker, self.exchange.clocks[ticker]) for ticker in (A, B)}
            self.exchange.truth = {
                key: self.exchange.truth[key] for key in [*newest, *kept] if key in self.exchange.truth
            }
            self.exchange.changed_at.clear()


def same(raw: bytes, spoiled: bytes) -> bool:
    """Say whether both frames say the same to a strict reader: what is new beside the old is no difference."""
    try:
        one, other = json.loads(raw), json.loads(spoiled)
        return all(other[name] == one[name] for name in ("type", "sid", "seq")) and all(
            other["msg"].get(name) == value for name, value in one["msg"].items()
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def is_plausible(spoiled: bytes) -> bool:
    """Say whether a strict reader takes this for a message: then nobody can know that it was another.

    Strict but for bytes that are no text, which may stand where nothing is read: in names and values of no interest.
    """
    try:
        frame = json.loads(spoiled.decode(errors="replace"))
    except (ValueError, RecursionError):
        return False
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        return False
    if frame["type"] != "orderbook_delta":
        return True
    message = frame.get("msg")
    if not isinstance(message, dict) or message.get("side") not in ("yes", "no"):
        return False
    numbers = [frame.get("sid"), frame.get("seq"), message.get("clock") or 0]
    texts = [message.get("price_dollars"), message.get("delta_fp")]
    return all(type(number) is int and number >= 0 for number in numbers) and all(
        isinstance(text, str) and DECIMAL.fullmatch(text) for text in texts
    )


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The feed warns of each frame that it cannot read: nearly all are of that kind here."""
    told = logging.getLogger("markets.kalshi.feed")
    before = told.level
    told.setLevel(logging.CRITICAL + 1)
    yield
    told.setLevel(before)


def assert_unharmed(fuzz: Fuzz) -> None:
    assert fuzz.wrongs[:3] == []
    assert fuzz.client.counts["events_not_taken"] == 0
    assert min(fuzz.counts[f"judged {ticker}"] for ticker in (A, B)) > fuzz.counts["spoiled"] / 50


@pytest.mark.parametrize("seed", range(4))
def test_five_thousand_spoiled_frames_harm_nothing(seed: int) -> None:
    assert_unharmed(Fuzz(seed).run(5_000))


@pytest.mark.parametrize("spoil", [*SPOILS, *RARELY], ids=lambda spoil: spoil.__name__)
def test_a_spoiled_frame_is_survived_and_the_next_ones_are_read(spoil: Spoil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.markets.test_fuzz.SPOILS", [spoil])
    monkeypatch.setattr("tests.markets.test_fuzz.RARELY", [spoil])
    fuzz = Fuzz(1).run(60)
    assert fuzz.wrongs == []

    monkeypatch.setattr("tests.markets.test_fuzz.SPOILS", [harmless])
    monkeypatch.setattr("tests.markets.test_fuzz.RARELY", [harmless])
    fuzz.run(1_500)
    assert [fuzz.intake.books[ticker].fault for ticker in (A, B)] == [None, None]
    assert (fuzz.wrongs, fuzz.client.counts["events_not_taken"]) == ([], 0)


def test_a_frame_of_ten_megabytes_is_read_or_refused_and_nothing_else() -> None:
    fuzz = Fuzz(3).run(50)
    padded = b'{"type":"orderbook_delta","sid":1,"more":"' + b"x" * 10_000_000 + b'"}'

    fuzz.client._take(fuzz.session, padded, 1_000.0)

    assert_unharmed(fuzz.run(200))


@pytest.mark.long
def test_a_million_spoiled_frames_harm_nothing_and_memory_stays_flat(capsys: pytest.CaptureFixture[str]) -> None:
    fuzz = Fuzz(42).run(FRAMES // 5)
    before = resident_bytes()
    fuzz.run(FRAMES - FRAMES // 5)
    grown = resident_bytes() - before
    with capsys.disabled():
        kinds = "".join(
            f"{name:>16} {fuzz.counts[name]:>8,}\n" for name in dict.fromkeys(s.__name__ for s in SPOILS + RARELY)
        )
        sys.stdout.write(
            f"\n{kinds}{fuzz.counts['spoiled']:,} spoiled frames; judged {fuzz.counts[f'judged {A}']:,} + "
            f"{fuzz.counts[f'judged {B}']:,} books, wrong {len(fuzz.wrongs)}; memory {grown / 1024:+,.0f} KiB\n"
        )

    assert_unharmed(fuzz)
    assert grown < FLAT_BYTES


# --- planted bugs ----------------------------------------------------------------------------------------


def a_size_that_cannot_be_read_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    right = count_units_of

    def lenient(text: str) -> int:
        try:
            return right(text)
        except ValueError:
            return 0

    monkeypatch.setattr(frames, "count_units_of", lenient)


def a_frame_that_cannot_be_read_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def note(self: FeedClient, session: Session, error: Any, now: float) -> None:
        session.note_number(error.sid, error.seq, now)

    monkeypatch.setattr(FeedClient, "_note_malformed", note)


def a_market_that_cannot_be_read_is_alone_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    right = FeedClient._note_malformed

    def note(self: FeedClient, session: Session, error: Any, now: float) -> None:
        if error.seq is None:
            for numbers in session._numbers.values():
                numbers.expected += 1  # whatever it was, it is counted as read
        right(self, session, error, now)

    monkeypatch.setattr(FeedClient, "_note_malformed", note)
    monkeypatch.setattr(Intake, "_malformed", lambda self, event, now: None)


@pytest.mark.sight
@pytest.mark.parametrize(
    "plant",
    [
        a_size_that_cannot_be_read_is_nothing,
        a_frame_that_cannot_be_read_is_passed_over,
        a_market_that_cannot_be_read_is_alone_in_doubt,
    ],
    ids=lambda plant: plant.__name__,
)
def test_the_judge_sees(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    assert Fuzz(1).run(5_000).wrongs != []
