"""Stories of an exchange, a lossy feed, a lossy layer and several pages, told without any clock but their own.

The exchange knows its true book after each of its changes. The feed passes them on, loses some (and says so), repeats
some, disconnects, sends snapshots when asked. Relay and hub are the real ones without network; pages fold by
`PageBook`. Whatever a page shows as LIVE must be the true book at the position it names.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from markets.audience import Browser
from markets.broadcast import Broadcast
from markets.hub import Hub
from markets.intake import Intake
from markets.livebook import Listing, Moment
from markets.outbox import Outbox
from tests.markets.pagebook import PageBook
from tests.markets.playedfeed import PlayedFeed

TICKERS = ("A", "B")
Action = tuple[Any, ...]
Sides = tuple[dict[int, int], dict[int, int]]


class Page:
    """A browser that watches both markets, and asks again at a hole."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.browser = Browser(Outbox(self._take), lambda: None)
        self.books = {ticker: PageBook() for ticker in TICKERS}
        self.feed = "down"
        hub.join(self.browser)
        hub.watch(self.browser, "sandbox", TICKERS, ())

    async def _take(self, text: str) -> None:
        for frame in json.loads(text):
            if frame["t"] == "beat":
                self.feed = frame["feed"]
            elif frame["t"] != "error" and self.books[frame["m"]].apply(frame) == "hole":
                self.hub.snapshot(self.browser, "sandbox", frame["m"])
        self.hub.ack(self.browser, self.browser.outbox.sent)


class LooseLine:
    """The layer between hub and relay: carries at once, or loses."""

    channel = "hub"
    is_up = True

    def __init__(self, hear: Callable[[dict[str, Any]], object]) -> None:
        self.hear = hear
        self.is_losing = False

    async def send_group(self, group: str, message: dict[str, Any]) -> bool:
        if not self.is_losing:
            self.hear(message)
        return True


class Story:
    """One run. `tell` plays an action; `wrongs` holds every LIVE book that was not true."""

    def __init__(self, *, pages: int = 2) -> None:
        self.now = Moment(10_000, 1_000_000)
        self.intake = Intake("sandbox", "e1")
        self.broadcast = Broadcast("sandbox")
        self.feed = PlayedFeed(lambda event: self.intake.take(event, self.now))
        self.hub = Hub(None, clock=lambda: self.now.mono)
        self.line = LooseLine(lambda message: self.broadcast.hear(message, self.now))
        self.hub.line = self.line  # type: ignore[assignment]
        self.true: dict[str, Sides] = {ticker: ({}, {}) for ticker in TICKERS}
        self.history: dict[str, dict[tuple[int, int], Sides]] = defaultdict(dict)
        self.wrongs: list[str] = []
        self.shown_live = 0
        for ticker in TICKERS:
            self.intake.add(Listing(ticker), self.now)
        self.pages = [Page(self.hub) for _ in range(pages)]
        self._last: dict[str, Any] = {}
        self._is_upstream = False
        self._epochs = 0
        self._gapped: set[str] = set()
        self._newly_gapped: set[str] = set()

    def tell(self, actions: Iterable[Action]) -> Story:
        for verb, *rest in actions:
            getattr(self, verb)(*rest)
            self.judge()
        return self

    def settle(self) -> Story:
        """Let everything be asked and answered, with nothing lost."""
        self.line.is_losing = False
        for _ in range(12):
            self.tell([("connect",), ("answer",), ("wait", 1100), ("tick", False)])
        return self

    # --- actions ---------------------------------------------------------------------------------

    def connect(self) -> None:
        if not self._is_upstream:
            self._is_upstream = True
            self.feed.connect()
            self.snapshots(*TICKERS)

    def disconnect(self) -> None:
        self._is_upstream = False
        self.feed.disconnect()

    def snapshots(self, *tickers: str) -> None:
        for ticker in tickers if self._is_upstream else ():
            bids, asks = self.true[ticker]
            self.feed.snapshot(ticker, dict(bids), dict(asks))
            self._gapped.discard(ticker)
            self._record(ticker, self.intake.books[ticker].up)

    def change(self, ticker: str, is_bid: bool, price: int, size: int) -> None:
        """The exchange changes a level to this size, and says so."""
        event = self._change(ticker, is_bid, price, size)
        if event is not None and self._is_upstream:
            self._last[ticker] = event
            self.feed.say(event)

    def lose(self, ticker: str, is_bid: bool, price: int, size: int) -> None:
        """The exchange changes a level, and the feed finds that it never heard how."""
        if self._change(ticker, is_bid, price, size) is not None and self._is_upstream:
            self._gapped.update(TICKERS)
            # An earlier gap whose word was lost is found by its number, within a second.
            self._newly_gapped.update(ticker for ticker in TICKERS if self.intake.books[ticker].fault is None)
            self.feed.gap(TICKERS)

    def slip(self, ticker: str, is_bid: bool, price: int, size: int) -> None:
        """The exchange changes a level and says nothing, so that no number is missing."""
        self._change(ticker, is_bid, price, size)

    def repeat(self, ticker: str) -> None:
        """The feed says its last change of a market twice."""
        if ticker in self._last and self._is_upstream:
            self.feed.say(self._last[ticker])

    def answer(self) -> None:
        """The feed answers what the relay has asked again, and repairs its own gaps."""
        self.intake.look(self.now)
        self.snapshots(*self.intake.repairs(self.now), *sorted(self._gapped))

    def wait(self, ms: int) -> None:
        self.now = Moment(self.now.mono + ms, self.now.wall + ms)

    def tick(self, is_lost: bool) -> None:
        """One tick of the relay, carried by the layer or lost on the way."""
        self.line.is_losing = is_lost
        self.wait(10)
        entries = self.broadcast.frames(self.intake, self.now)
        for _, message in self.broadcast.messages(self.intake, entries, self.now, fence=1):
            if not is_lost:
                self.hub.receive(json.loads(json.dumps(message)))
        if not is_lost:
            self._judge_gaps()
        self._newly_gapped.clear()
        self.hub.beat()
        run(self.hub.announce("sandbox"))

    def newcomer(self) -> None:
        if len(self.pages) < 5:
            self.pages.append(Page(self.hub))

    def epoch(self, name: str) -> None:
        """The relay begins anew, under a name that it never had before."""
        self._epochs += 1
        self.intake.begin_epoch(f"{name}-{self._epochs}")

    # --- the judge -------------------------------------------------------------------------------

    def judge(self) -> None:
        for number, page in enumerate(self.pages):
            for ticker, book in page.books.items():
                if book.shown != "LIVE":
                    continue
                self.shown_live += 1
                true = self.history[ticker].get(_position(book.up))
                if true != (book.bids, book.asks):
                    self.wrongs.append(f"page {number} {ticker} at {book.up}: {book.bids} {book.asks}, true {true}")

    def _judge_gaps(self) -> None:
        """A gap is told in the very next tick."""
        for ticker in self._newly_gapped & self._gapped:
            if any(page.books[ticker].shown == "LIVE" for page in self.pages):
                self.wrongs.append(f"{ticker} is LIVE after a gap")

    def _change(self, ticker: str, is_bid: bool, price: int, size: int) -> Any:
        bids, asks = self.true[ticker]
        side = bids if is_bid else asks
        change = size - side.get(price, 0)
        if not change:
            return None
        side[price] = size
        if not size:
            del side[price]
        event = self.feed.delta_event(ticker, is_bid, price, change)
        self._record(ticker, (self.feed.connection, 1, event.message.seq, None))
        return event

    def _record(self, ticker: str, up: Any) -> None:
        bids, asks = self.true[ticker]
        self.history[ticker][_position(up)] = (dict(bids), dict(asks))


def _position(up: Any) -> tuple[int, int]:
    return (up[0], up[2]) if up else (-1, -1)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run what never has to wait."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


def random_actions(seed: int, length: int = 120) -> list[Action]:
    """Return a story's actions, the same for the same seed."""
    dice = random.Random(seed)
    kinds = ["change"] * 10 + ["tick"] * 8 + ["repeat", "repeat", "lose", "answer", "answer", "wait", "newcomer"]
    kinds += ["disconnect", "connect", "connect", "epoch"]
    actions: list[Action] = [("connect",), ("tick", False), ("tick", False)]
    for step in range(length):
        kind = dice.choice(kinds)
        ticker = dice.choice(TICKERS)
        level = (dice.random() < 0.5, dice.randrange(1, 6) * 1000, dice.randrange(0, 4) * 100)
        if not level[0]:
            level = (False, 10_000 - level[1] + 500, level[2])
        arguments: dict[str, Action] = {
            "change": (ticker, *level),
            "lose": (ticker, *level),
            "tick": (dice.random() < 0.3,),
            "repeat": (ticker,),
            "wait": (dice.choice([5, 60, 600, 3_000]),),
            "epoch": (f"e{step}",),
        }
        actions.append((kind, *arguments.get(kind, ())))
    return actions
