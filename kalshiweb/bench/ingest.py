"""ingest: from the exchange's socket to best prices, and on to browsers.

Recorded frames (or frames of our own local exchange where there is no recording) come over a real socket on loopback
from a process of their own. The desk's FeedClient reads, decodes and checks their numbers, its Intake folds them into
books with the best prices kept after every change; final books are compared level by level with a fold made apart.
"one core" is frames by the reader thread's CPU time, "on the clock" includes whatever else the machine did.
The naive way, in turns in the same run: pykalshi 2.0.0's own parser and OrderbookManager on the same frames (dicts of
text and Decimal), with and without asking for the best prices after each change; ours there is the same work, decoder
and book. The pipeline is the relay, the hub and Daphne in one process, 60,000 frames a second offered, 50 browsers with
100 markets each in another process: every browser's numbers must have no hole, and its books must end right.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kalshiweb.bench import desk
from kalshiweb.bench.children import Answer, Child
from kalshiweb.bench.figures import Report, ratio
from kalshiweb.bench.frames import Stream, stream, tape
from markets.book import OrderBook
from markets.intake import Intake
from markets.kalshi import feed
from markets.kalshi.messages import BookDelta, BookSnapshot, read_frame
from markets.kalshi.signing import Signer
from markets.livebook import Listing, LiveBook
from markets.relay import moment

BURST_FRAMES = 1_517
PIPELINE_RATE = 60_000


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    frames: int = 200_000
    rounds: int = 5
    compared: int = 60_000
    compared_best: int = 20_000
    bursts: int = 7
    browsers: int = 50
    markets: int = 100
    pipeline_frames: int = 300_000
    pipeline_rate: int = PIPELINE_RATE


QUICK = Size(30_000, rounds=2, compared=10_000, compared_best=4_000, bursts=3, browsers=20, pipeline_frames=60_000)


def run(report: Report, *, size: Size) -> None:
    """Measure everything."""
    with Child("kalshiweb.bench.player") as player:
        measure_socket(report, player, size)
    measure_against_naive(report, size)
    measure_pipeline(report, size)


# --- socket to best prices ---------------------------------------------------------------------------


class Reading:
    """One connection of the real feed into real books."""

    def __init__(self, prepared: Answer) -> None:
        self.intake = Intake("sandbox", "bench")
        for ticker in prepared["tickers"]:
            self.intake.add(Listing(ticker), moment())
        self.taken = 0
        self.expected = 0
        self.first_at = self.last_at = 0.0
        self.first_cpu = self.last_cpu = 0.0
        self.done = threading.Event()

    def expect(self, frames: int) -> None:
        """Count from here until so many frames have been taken."""
        self.taken, self.expected = 0, frames
        self.done.clear()

    def take(self, event: Any) -> None:
        """Take one event, as the relay does; called in the reader's thread."""
        self.intake.take(event, moment())
        if type(event) not in _COUNTED:
            return
        self.taken += 1
        if self.taken == 1:
            self.first_at, self.first_cpu = time.monotonic(), time.thread_time()
        if self.taken == self.expected:
            self.last_at, self.last_cpu = time.monotonic(), time.thread_time()
            self.done.set()

    def wait(self) -> None:
        """Wait for the last frame. Raises TimeoutError."""
        if not self.done.wait(60):
            raise TimeoutError(f"{self.taken} of {self.expected} frames came")


_COUNTED = frozenset({feed.DeltaReceived, feed.SnapshotReceived, feed.TradeReceived})


@contextmanager
def reading(prepared: Answer) -> Iterator[Reading]:
    """Connect a feed to the player and end it again."""
    one = Reading(prepared)
    client = feed.FeedClient(prepared["url"], signer=own_signer(), on_event=one.take)
    client.watch(prepared["tickers"])
    client.start()
    try:
        yield one
    finally:
        client.stop()


def own_signer() -> Signer:
    """Return a signer with a key of this moment."""
    return Signer("bench", Ed25519PrivateKey.generate())


def measure_socket(report: Report, player: Child, size: Size) -> None:
    """Measure frames a second into books, and how soon a burst is swallowed."""
    prepared = player.ask("prepare", most=size.frames, patience=120)
    books = player.ask("books")
    rates, clocks, faults = [], [], 0
    for number in range(size.rounds + 1):
        with reading(prepared) as one:
            one.expect(prepared["frames"])
            player.ask("play", markets=len(prepared["tickers"]))
            one.wait()
            faults += wrong_books(one.intake.books, books) + one.intake.counts["gaps"] + one.intake.counts["malformed"]
        if number:  # the first one warms up
            rates.append((prepared["frames"] - 1) / (one.last_cpu - one.first_cpu))
            clocks.append((prepared["frames"] - 1) / (one.last_at - one.first_at))
    report.add("frames/s, socket to best prices, one core", rates, at_least=80_000, note=prepared["source"])
    report.add("frames/s, socket to best prices, on the clock", clocks)
    report.add("wrong books, gaps and unread frames", faults, at_most=0)
    bursts = [burst(player, prepared) for _ in range(size.bursts)]
    note = f"{BURST_FRAMES} frames at once"
    report.add("ms until a burst is in the books", bursts, "ms", at_most=100, note=note)


def burst(player: Child, prepared: Answer) -> float:
    """Return how many ms after its first byte left a burst of the worst recorded size is in the books."""
    markets, first = len(prepared["tickers"]), min(2_000, prepared["frames"] // 4)
    with reading(prepared) as one:
        one.expect(first)
        player.ask("play", markets=markets, last=first)
        one.wait()
        one.expect(BURST_FRAMES)
        sent = player.ask("play", markets=markets, first=first, last=first + BURST_FRAMES)
        one.wait()
    return float((one.last_at - sent["began"]) * 1000)


def wrong_books(books: dict[str, LiveBook], expected: Answer) -> int:
    """Return how many books differ from what they must be, or are not believed."""
    found = {ticker: levels_of(live.book) for ticker, live in books.items() if live.fault is None}
    return sum(1 for ticker, sides in expected.items() if found.get(ticker) != sides)


def levels_of(book: OrderBook) -> dict[str, list[list[int]]]:
    """Return a book as the player writes books."""
    return {
        "bids": [[price, size] for price, size in sorted(book.bids.items())],
        "asks": [[price, size] for price, size in sorted(book.asks.items())],
    }


# --- against the published way -----------------------------------------------------------------------


def measure_against_naive(report: Report, size: Size) -> None:
    """Compare decoder and book with pykalshi's, in turns."""
    made = stream(size.compared)
    peer = _pykalshi()
    names = ("pykalshi: µs a frame, parse and book", "pykalshi: µs a frame, best prices after each")
    if peer is None:
        for name in names:
            report.add(name, None, note="pykalshi is not installed (it comes with the dev extra)")
        return
    ours: list[float] = []
    theirs: list[float] = []
    ours_best: list[float] = []
    theirs_best: list[float] = []
    short = Stream(made.source, made.yes_scale[: size.compared_best], made.no_scale[: size.compared_best])
    for number in range(size.rounds + 1):
        times = (
            _timed(_fold_ours, made.yes_scale),
            _timed(peer.fold, made.no_scale),
            _timed(_fold_ours, short.yes_scale),
            _timed(peer.fold_with_best, short.no_scale),
        )
        if number:
            for kept, one in zip((ours, theirs, ours_best, theirs_best), times, strict=True):
                kept.append(one)
    same = _fold_ours(made.yes_scale), peer.fold(made.no_scale)
    report.add("ours: µs a frame, decoder and book", ours, "µs")
    report.add(names[0], theirs, "µs")
    report.add(names[1], theirs_best, "µs")
    goals = (4, 9) if tape() is not None else (None, None)  # of recorded books; ours of the local exchange are shallow
    report.add("times pykalshi, parse and book", ratio(theirs, ours), "×", at_least=goals[0])
    best = ratio(theirs_best, ours_best)
    report.add("times pykalshi, best prices after each change", best, "×", at_least=goals[1])
    differing = sum(1 for ticker, book in same[0].items() if levels_of(book) != peer.levels(same[1][ticker]))
    report.add("books that differ from pykalshi's", differing, at_most=0)
    report.ratio_to_naive = report.value("times pykalshi, best prices after each change")


def _timed(fold: Callable[[list[bytes]], Any], frames: list[bytes]) -> float:
    began = time.process_time()
    fold(frames)
    return (time.process_time() - began) / len(frames) * 1e6


def _fold_ours(frames: list[bytes]) -> dict[str, OrderBook]:
    books: dict[str, OrderBook] = {}
    for raw in frames:
        message = read_frame(raw, is_no_side_in_yes_prices=True)
        if type(message) is BookDelta:
            books[message.ticker].apply_delta(message.is_bid, message.price_units, message.change_units)
        elif type(message) is BookSnapshot:
            books.setdefault(message.ticker, OrderBook()).apply_snapshot(message.bids, message.asks)
    return books


class _Pykalshi:
    """The published client, used as its own documentation shows."""

    def __init__(self, parse: Callable[[bytes], Any], make: Callable[[str], Any]) -> None:
        self._parse = parse
        self._make = make

    def fold(self, frames: list[bytes]) -> dict[str, Any]:
        """Parse and keep books."""
        return self._fold(frames, with_best=False)

    def fold_with_best(self, frames: list[bytes]) -> dict[str, Any]:
        """Parse, keep books, and ask for both best prices after each change."""
        return self._fold(frames, with_best=True)

    def levels(self, book: Any) -> dict[str, list[list[int]]]:
        """Return a book of theirs as the player writes books; their NO side is in NO prices."""
        sides = {
            "bids": {int(Decimal(price) * 10_000): int(Decimal(size) * 100) for price, size in book.yes.items()},
            "asks": {
                10_000 - int(Decimal(price) * 10_000): int(Decimal(size) * 100) for price, size in book.no.items()
            },
        }
        return {name: [[price, size] for price, size in sorted(side.items())] for name, side in sides.items()}

    def _fold(self, frames: list[bytes], *, with_best: bool) -> dict[str, Any]:
        books: dict[str, Any] = {}
        for raw in frames:
            kind, _, msg, _ = self._parse(raw)
            if kind == "orderbook_delta":
                book = books[msg.market_ticker]
                book.apply_delta(msg.side, msg.price_dollars, msg.delta_fp)
                if with_best:
                    _ = book.best_bid, book.best_ask
            elif kind == "orderbook_snapshot":
                book = books.setdefault(msg.market_ticker, self._make(msg.market_ticker))
                book.apply_snapshot(msg.yes_dollars, msg.no_dollars)
        return books


def _pykalshi() -> _Pykalshi | None:
    try:
        parser, books = import_module("pykalshi.feed"), import_module("pykalshi.orderbook")
    except ImportError:
        return None
    return _Pykalshi(parser._parse_message, books.OrderbookManager)


# --- the whole pipeline ------------------------------------------------------------------------------


def measure_pipeline(report: Report, size: Size) -> None:
    """Measure frames a second from the exchange's socket to every browser's."""
    with (
        Child("kalshiweb.bench.player") as player,
        desk.scratch() as folder,
        Child("kalshiweb.bench.web", env=desk.child_env(folder)) as web,
        Child("kalshiweb.bench.browsers") as browsers,
    ):
        player.tell("prepare", most=size.pipeline_frames, markets=size.markets)
        desk.connect(web, browsers, "book", size.browsers)
        prepared = player.answer(180)
        web.ask("follow", url=prepared["url"])
        tickers = prepared["tickers"]
        browsers.ask("watch", tickers=tickers, fold=2)
        before = web.ask("cpu")
        sent = player.ask("play", markets=len(tickers), rate=size.pipeline_rate, patience=60)
        final = web.ask("settled", frames=prepared["frames"], patience=90)
        after = web.ask("cpu")
        browsers.ask("quiet", patience=60)
        heard = browsers.ask("books")
        books = player.ask("books")
    note = f"{size.browsers} browsers × {len(tickers)} markets, {size.pipeline_rate:,}/s offered"
    seconds = final["at"] - sent["began"]
    report.add("pipeline: frames/s to all browsers", prepared["frames"] / seconds, at_least=50_000, note=note)
    busy = (after["cpu"] - before["cpu"]) / seconds
    report.add("pipeline: share of one core, relay, hub and Daphne", busy)
    report.add("pipeline: frames/s, one core", prepared["frames"] / (after["cpu"] - before["cpu"]))
    report.add("pipeline: frames missing in the relay", prepared["frames"] - final["frames"], at_most=0)
    report.add("pipeline: holes in browsers' numbers", heard["holes"], at_most=0)
    wrong = sum(1 for folded in heard["books"] for ticker, sides in books.items() if folded.get(ticker) != sides)
    report.add("pipeline: wrong books in browsers", wrong + final["wrong"], at_most=0)
