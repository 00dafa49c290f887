"""Recordings told through everything between socket and page, with faults thrown in by seed on either way.

An exchange made of a recording numbers its frames, answers commands and knows its true books by a clock that counts
their changes. The feed's client and session, intake, broadcast, hub and outbox are the real ones without network; pages
fold by `PageBook`. Whatever a page shows as LIVE must be the true book at the clock that it names.
"""

from __future__ import annotations

import json
import random
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from markets.audience import Browser
from markets.broadcast import Broadcast
from markets.hub import Hub
from markets.intake import Intake
from markets.kalshi import feed
from markets.kalshi.feed import FeedClient
from markets.kalshi.feed.session import Session
from markets.kalshi.messages import Channel
from markets.livebook import Listing, Moment
from markets.outbox import Outbox
from tests import judges
from tests.markets.pagebook import PageBook
from tests.markets.stories import LooseLine, run
from tests.markets.tapedexchange import Exchange
from tests.markets.units import Place, count_units, mark, price_units
from tests.markets.weather import ANEW, RARE, STORMS, WAYS, Weather

TICK_MS = 10
LOOK_MS = 250
SILENT_MS = 2_500  # without a beat, and a page says DOWN by itself
SURELY_BACK = 2  # numbers
LATE_MS = 3_000  # a relay that is gone is noticed as late as that

BOOKS_ALONE: tuple[Channel, ...] = ("orderbook_delta",)


def sum_of(book: PageBook) -> int:
    found = 0
    for is_bid, side in ((True, book.bids), (False, book.asks)):
        for price, size in side.items():
            found ^= mark((is_bid, price), size)
    return found


class Page:
    """A browser that watches every market, asks again at a hole, and is judged at each frame."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.browser = Browser(Outbox(self._take), lambda: None)
        self.books = {ticker: PageBook() for ticker in floor.exchange.books}
        self.feed, self.beaten_at = "down", floor.now.mono
        floor.hub.join(self.browser)
        floor.hub.watch(self.browser, "sandbox", list(self.books), ())

    async def _take(self, text: str) -> None:
        hub = self.floor.hub
        for frame in json.loads(text):
            if frame["t"] == "beat":
                self.feed, self.beaten_at = frame["feed"], self.floor.now.mono
            book = self.books.get(frame.get("m", ""))
            if book is None or frame["t"] not in {"book", "delta", "state"}:
                continue
            if book.apply(frame) == "hole":
                hub.snapshot(self.browser, "sandbox", frame["m"])
            self.floor.judge(frame["m"], book)
        hub.ack(self.browser, self.browser.outbox.sent)

    def is_live(self, book: PageBook) -> bool:
        """Say whether the page shows this book as LIVE, by its own clock too."""
        is_heard = self.feed == "live" and self.floor.now.mono - self.beaten_at <= SILENT_MS
        return is_heard and book.shown == "LIVE"


class Floor:
    """One run over recordings. `wrongs` holds every book that was shown LIVE and was not true."""

    def __init__(self, tickers: Iterable[str], *, seed: int, weather: Weather = STORMS, pages: int = 2) -> None:
        self.dice = random.Random(seed)
        self.exchange = Exchange(tickers)
        self.now = Moment(1_000_000, 1_795_356_000_000)
        self.faults: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.wrongs: list[str] = []
        self.live_ms = self.judged_ms = 0
        self.weather = weather
        self._storm_at = self.now.mono + weather.every_ms
        self._healed_at = self.now.mono + self.weather.healing_ms
        self._due: dict[str, list[str]] = {"upstream": [], "layer": [], "relay": []}
        self._shower = self.dice.randrange(len(weather.kinds))
        self._sent: deque[bytes] = deque(maxlen=30)
        self._late_message: tuple[str, dict[str, Any]] | None = None
        self._down_until = self._stalled_until = self._unknowable_until = 0
        self._is_tail_lost = False
        self._fence, self._tick_at, self._look_at = 0, 0, 0
        self.client = FeedClient(
            "ws://127.0.0.1:1/",
            signer=None,  # type: ignore[arg-type]
            on_event=self._hear,
            hosts={"127.0.0.1"},
        )
        self.client.watch(self.exchange.books)
        self.session: Session | None = None
        self._connection = 0
        self.hub = Hub(None, clock=lambda: self.now.mono)
        self.line = LooseLine(lambda message: self.broadcast.hear(message, self.now))
        self.hub.line = self.line  # type: ignore[assignment]
        self._begin_relay()
        self.pages = [Page(self) for _ in range(pages)]
        self._connect()

    # --- the story -------------------------------------------------------------------------------

    def play(self, path: Path, *, most: int | None = None, extra: float = 0.0) -> Floor:
        """Tell a recording in its own time; `extra` is the share of changes that are made up."""
        first: int | None = None
        start = self.now
        for number, at, frame in judges.read_tape(path):
            if most is not None and number > most:
                break
            first = at if first is None else first
            self.pass_time(start.mono + at - first)
            if frame["type"] == "orderbook_snapshot":
                self.exchange.replace(frame["msg"])
            elif frame["type"] == "orderbook_delta":
                self._change(frame["msg"], extra)
            self._deliver()
        return self

    def settle(self) -> Floor:
        """Let everything heal: ten seconds without a fault."""
        self._storm_at = self.now.mono + 1_000_000_000
        self._due = {"upstream": [], "layer": [], "relay": []}
        if self._is_tail_lost:
            self._disconnect(0)  # nothing follows on this connection that could show what was lost
        self.pass_time(self.now.mono + 10_000)
        return self

    def pass_time(self, until: int) -> None:
        """Tick and look until then."""
        while self.now.mono < until:
            step = min(TICK_MS, until - self.now.mono)
            self._measure(step)
            self.now = Moment(self.now.mono + step, self.now.wall + step)
            self.exchange.now_ms = self.now.mono
            if self.now.mono >= self._storm_at:
                self._begin_storm()
            self._deliver()
            if self.now.mono - self._tick_at >= TICK_MS:
                self._tick()
            if self.now.mono - self._look_at >= LOOK_MS:
                self._look()

    def judge(self, ticker: str, book: PageBook) -> None:
        """Hold a book that is shown LIVE against the truth at the clock that it names."""
        if book.shown != "LIVE":
            return
        self.counts["judged"] += 1
        clock = book.up[3] if book.up else None
        if clock is None or self.exchange.truth.get((ticker, clock), 0) != sum_of(book):
            self.wrongs.append(f"{ticker} at clock {clock} is not what it was (number {book.number})")

    def _judge_ages(self) -> None:
        """Hold every book that is LIVE against the time: no change of it may be unheard of for long.

        A short stall looks like a quiet market: after eight seconds the feed says so, which is judged elsewhere. Nor
        can anybody miss a message that was the last one, before the next.
        """
        if self._is_tail_lost or self.now.mono < self._unknowable_until + LATE_MS:
            return
        for page in self.pages:
            for ticker, book in page.books.items():
                clock = book.up[3] if book.up else None
                changed_at = self.exchange.changed_at.get((ticker, clock or 0), self.now.mono)
                if page.is_live(book) and self.now.mono - changed_at > LATE_MS:
                    self.wrongs.append(f"{ticker} is LIVE at clock {clock}, {self.now.mono - changed_at} ms too late")

    @property
    def live_share(self) -> float:
        """How much of the time outside faults and their healing the books were LIVE."""
        return self.live_ms / max(1, self.judged_ms)

    # --- what happens upstream -------------------------------------------------------------------

    def _change(self, message: dict[str, Any], extra: float) -> None:
        ticker, price = message["market_ticker"], price_units(message["price_dollars"])
        place = (True, price) if message["side"] == "yes" else (False, 10_000 - price)
        made_up = self._made_up(ticker) if self.dice.random() < extra else []
        for other, change in made_up:
            self.exchange.change(ticker, other, change)
        self.exchange.change(ticker, place, count_units(message["delta_fp"]))
        for other, change in made_up:
            self.exchange.change(ticker, other, -change)  # so that what is recorded stays possible
        self.counts["deltas"] += 1 + 2 * len(made_up)

    def _made_up(self, ticker: str) -> list[tuple[Place, int]]:
        book = self.exchange.books[ticker]
        if not book:
            return []
        place = next(iter(book)) if self.dice.random() < 0.5 else self.dice.choice(list(book))
        return [(place, self.dice.randrange(1, 100_000))]

    def _deliver(self) -> None:
        """Pass on what the exchange has sent, unless the connection is down or stalled."""
        if self._down_until:
            if self.now.mono < self._down_until:
                self.exchange.out.clear()
                return
            self._down_until = 0
            self._connect()
        if self.now.mono < self._stalled_until:
            return
        out = self.exchange.out
        while out and not self._down_until:
            self._pass_on(out.popleft())

    def _pass_on(self, raw: bytes) -> None:
        if self._due["upstream"] and self.dice.random() < 0.2:
            fault = self._due["upstream"].pop()
            self._note_fault(fault)
            told = self._spoilt(fault, raw)
        else:
            told = [raw]
        if told and self._is_tail_lost:
            self._unknowable_until = max(self._unknowable_until, self.now.mono)
        self._is_tail_lost = not told
        for one in told:
            self._take(one)

    def _take(self, raw: bytes) -> None:
        if self.session is not None:
            self._sent.append(raw)
            self.client._take(self.session, raw, self.now.mono / 1000)

    def _spoilt(self, fault: str, raw: bytes) -> list[bytes]:
        """Return what comes instead of one frame."""
        if fault == "lost":
            return []
        if fault == "repeated":
            return [raw] * self.dice.choice([2, 3])
        if fault == "swapped":
            behind = self.exchange.out.popleft() if self.exchange.out else b""
            return [told for told in (behind, raw) if told]
        if fault == "late":
            return [raw, self.dice.choice(list(self._sent) or [raw])]
        if fault == "cut":
            return [raw[: self.dice.randrange(len(raw))]]
        if fault in {"negative", "off grid"}:
            return [self._impossible(fault, raw)]
        return self._broken(fault, raw)

    def _impossible(self, fault: str, raw: bytes) -> bytes:
        frame = json.loads(raw)
        if frame["type"] != "orderbook_delta":
            return raw[: len(raw) // 2]
        told = {"delta_fp": "-99999999.00"} if fault == "negative" else {"price_dollars": "0.4567"}
        return json.dumps(frame | {"msg": frame["msg"] | told}).encode()

    def _broken(self, fault: str, raw: bytes) -> list[bytes]:
        if fault == ANEW:
            self._count_anew()
        elif fault == "sid ended":
            self.exchange.end_sid()
        elif fault == "reconnect":
            self._disconnect(self.dice.choice([0, 50, 700, 2_000]))
            return []
        else:
            self._stalled_until = self.now.mono + self.dice.choice([200, 1_000, 2_500])
            self._healed_at = max(self._healed_at, self._stalled_until + self.weather.healing_ms)
            self._unknowable_until = max(self._unknowable_until, self._stalled_until)
        return [raw]

    def _count_anew(self) -> None:
        """Have the exchange count from a number well behind; one that hides a loss just before, nobody can see."""
        numbers = self.session._numbers.get(self.exchange.sid) if self.session is not None else None
        after = self.dice.choice([0, 0, 3, 40])
        if numbers is not None and after + SURELY_BACK < numbers.expected:
            self.exchange.count_anew(after)

    def _connect(self) -> None:
        self._connection += 1
        self._sent.clear()
        self.exchange.open()
        self.session = Session(
            self._connection,
            channels=BOOKS_ALONE,
            send=self.exchange.obey,
            say=self.client._say,
            counts=self.client.counts,
        )
        self._hear(feed.Connected(self._connection))
        self.session.watch(list(self.intake.books), self.now.mono / 1000)

    def _disconnect(self, for_ms: int) -> None:
        self.session = None
        self.exchange.open()
        self._down_until = self.now.mono + for_ms
        self._healed_at = max(self._healed_at, self._down_until + self.weather.healing_ms)
        self._hear(feed.Disconnected("reset", 1006))

    # --- relay, layer, hub -----------------------------------------------------------------------

    def _begin_relay(self) -> None:
        self._fence += 1
        self.intake = Intake("sandbox", f"e{self._fence}")
        self.broadcast = Broadcast("sandbox")
        for ticker in self.exchange.books:
            self.intake.add(Listing(ticker, bands=((0, 10_000, 10),)), self.now)

    def _hear(self, event: Any) -> None:
        self.intake.take(event, self.now)

    def _tick(self) -> None:
        self._tick_at = self.now.mono
        entries = self.broadcast.frames(self.intake, self.now)
        for hub, message in self.broadcast.messages(self.intake, entries, self.now, fence=self._fence):
            self._carry(hub, message)  # type: ignore[arg-type]
        if self.hub._stirred.is_set():
            self.hub._stirred.clear()
            run(self.hub.announce("sandbox"))

    def _carry(self, hub: str, message: dict[str, Any]) -> None:
        """Carry one message over the layer, which may lose, repeat and swap."""
        fault = self._layer_fault()
        held, self._late_message = self._late_message, None
        if fault == "ticks swapped" and held is None:
            self._late_message = (hub, message)
            return
        if fault != "tick lost":
            self.hub.receive(message)
        if fault == "tick repeated":
            self.hub.receive(message)
        if held is not None:
            self._healed_at = max(self._healed_at, self.now.mono + self.weather.healing_ms)
            self.hub.receive(held[1])

    def _layer_fault(self) -> str:
        if not self._due["layer"] or self.dice.random() >= 0.2:
            return ""
        fault = self._due["layer"].pop()
        self._note_fault(fault)
        if fault == "ask lost":
            self.line.is_losing = True
        return fault

    def _look(self) -> None:
        self._look_at = self.now.mono
        self._judge_ages()
        if self._due["relay"]:
            self._note_fault(self._due["relay"].pop())
            self._begin_relay()
            self._disconnect(0)
        if self.session is not None and not self._down_until:
            self.session.look(self.now.mono / 1000)
            self._hear(feed.Alive())
            self.intake.look(self.now)
            if due := self.intake.repairs(self.now):
                self.session.resync(due, self.now.mono / 1000)
        self.hub.look()
        run(self.hub.announce("sandbox"))
        self.line.is_losing = False

    # --- faults ----------------------------------------------------------------------------------

    def _begin_storm(self) -> None:
        self._storm_at = self.now.mono + self.weather.every_ms
        if self.weather.is_storm:
            wanted = [fault for fault in self.weather.kinds for _ in range(RARE.get(fault, 10))]
        else:
            wanted = [self.weather.kinds[self._shower % len(self.weather.kinds)]]
            self._shower += 1
        self.dice.shuffle(wanted)
        for way, kinds in WAYS.items():
            self._due[way] = [fault for fault in wanted if fault in kinds]

    def _note_fault(self, fault: str) -> None:
        self.faults[fault] += 1
        self._healed_at = max(self._healed_at, self.now.mono + self.weather.healing_ms)

    def _measure(self, step: int) -> None:
        if self.now.mono < self._healed_at or self._due["upstream"] or self._due["relay"]:
            return
        for page in self.pages:
            self.judged_ms += step * len(page.books)
            self.live_ms += step * sum(page.is_live(book) for book in page.books.values())
