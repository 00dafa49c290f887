"""sandbox: what the local exchange can carry, so that it is never the slow part of a test or of a bench.

"engine" is orders entered and canceled without any I/O, by quiet members on one market: sixteen steps of which eleven
rest, three are canceled and two trade. "encoded" is changes of books from the engine's event to the finished frame in
one subscriber's outgoing queue, drained into nothing; "on the wire" is the same through Daphne to the desk's FeedClient
in another process. "signed creates" are orders of the desk's RestClient, each signed anew (RSA 2048), one after another
on each of two connections, to an exchange in another process; every acknowledgement must name an order of its own.
All by the CPU time of the process at work, beside the clock's. The naive way, in turns in the same run, builds each
frame as a dict with Decimal prices and encodes it with `json.dumps` for each of ten subscribers, as tutorials do.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import cycle, islice, repeat
from pathlib import Path
from typing import Any

from kalshiweb.bench import desk
from kalshiweb.bench.children import Answer, Child
from kalshiweb.bench.figures import Report, ratio
from markets.kalshi import feed
from markets.kalshi.messages import CreateOrder
from markets.kalshi.rest import RestClient
from markets.kalshi.signing import Signer, load_private_key
from markets.sandbox.catalogue import Event, Market, Series
from markets.sandbox.events import BookChanged
from markets.sandbox.exchange import Exchange
from markets.sandbox.numbers import MONEY
from markets.sandbox.orders import NewOrder, TimeInForce
from markets.sandbox.publishing import Publisher
from markets.sandbox.sessions import Session
from markets.sandbox.subscriptions import Commands
from markets.sandbox.venue import Venue

TICKER = "BENCH-000"
START_US = 1_780_000_000_000_000
YEAR_US = 365 * 86_400 * 1_000_000
BATCH = 5_000
CONNECTIONS = 2
SUBSCRIBERS = 10


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int = 5
    operations: int = 60_000
    frames: int = 100_000
    wired: int = 60_000
    creates: int = 1_000


QUICK = Size(rounds=2, operations=12_000, frames=15_000, wired=10_000, creates=150)


def run(report: Report, *, size: Size) -> None:
    """Measure everything."""
    measure_engine(report, size)
    measure_encoding(report, size)
    with desk.scratch() as folder, Child("kalshiweb.bench.exchange", str(folder)) as exchange:
        exchange.ask("market")  # it has written the keys by then
        member = _member(folder)
        measure_wire(report, exchange, member, size)
        measure_creates(report, exchange, member, size)


# --- the engine --------------------------------------------------------------------------------------


class StillClock:
    """Time that moves a microsecond with each question."""

    def __init__(self) -> None:
        self._us = START_US

    def now_us(self) -> int:
        """Return microseconds since 1970."""
        self._us += 1
        return self._us


def own_exchange() -> Exchange:
    """Return an exchange with one open market and two rich, quiet members."""
    exchange = Exchange(clock=StillClock(), rng=random.Random(3))  # noqa: S311 - every run plays the same
    exchange.add_series(Series("BENCH", "Bench", "Test"))
    exchange.add_event(Event("BENCH", "BENCH", "Bench"))
    exchange.add_market(Market(TICKER, "BENCH", exchange.new_id(), START_US, START_US + YEAR_US))
    for name in ("maker", "taker"):
        member = exchange.add_member(name, member_id=name, is_quiet=True)
        exchange.deposit(member.member_id, 10**9 * MONEY)
    return exchange


def operate(exchange: Exchange, operations: int) -> None:
    """Enter, cancel and match so many orders."""
    rng = random.Random(9)  # noqa: S311 - every run plays the same
    entered: list[str] = []
    for step in islice(cycle(range(16)), operations):
        if step < 11:
            is_bid = step % 2 == 0
            price = 100 * (rng.randint(30, 48) if is_bid else rng.randint(52, 70))
            entered.append(exchange.create_order("maker", NewOrder(TICKER, is_bid, 1_000, price)).order_id)
        elif step < 14:
            exchange.cancel_order("maker", _still_resting(exchange, entered), ticker=TICKER)
        else:
            is_bid = step == 14
            price = 9_900 if is_bid else 100
            exchange.create_order("taker", NewOrder(TICKER, is_bid, 500, price, time_in_force=TimeInForce.IOC))


def _still_resting(exchange: Exchange, entered: list[str]) -> str:
    """Take the newest order that has not traded away."""
    resting = exchange.members["maker"].resting_ids
    while (order_id := entered.pop()) not in resting:
        pass
    return order_id


def measure_engine(report: Report, size: Size) -> None:
    """Measure operations a second without I/O."""
    rates = []
    for number in range(size.rounds + 1):
        exchange = own_exchange()
        seconds = _cpu_of(partial(operate, exchange, size.operations))
        if number:
            rates.append(size.operations / seconds)
    report.add("engine: operations/s without I/O, one core", rates, at_least=100_000)


# --- frames ------------------------------------------------------------------------------------------


def own_changes(count: int) -> list[BookChanged]:
    """Return changes of the book as the engine told them."""
    exchange, heard = own_exchange(), []
    exchange.listen(lambda event: heard.append(event) if isinstance(event, BookChanged) else None)
    while len(heard) < count:
        operate(exchange, 4_000)
    return heard[:count]


def measure_encoding(report: Report, size: Size) -> None:
    """Measure finished frames a second to one subscriber, and to ten against the naive way in turns."""
    changes = own_changes(min(size.frames, 20_000))
    one: list[float] = []
    ours: list[float] = []
    naive: list[float] = []
    lost = 0
    for number in range(size.rounds + 1):
        alone = asyncio.run(_encode_ours(changes, size.frames, subscribers=1))
        many = asyncio.run(_encode_ours(changes, size.frames // SUBSCRIBERS, subscribers=SUBSCRIBERS))
        other = asyncio.run(_encode_naively(changes, size.frames // SUBSCRIBERS, subscribers=SUBSCRIBERS))
        lost += alone.lost + many.lost + other.lost
        if number:
            for kept, found in zip((one, ours, naive), (alone, many, other), strict=True):
                kept.append(found.frames / found.seconds)
    where = f"encoded book frames/s to {SUBSCRIBERS} subscribers"
    report.add("encoded book frames/s to one subscriber, one core", one, at_least=60_000)
    report.add(f"{where}, one core", ours)
    report.add(f"{where}, naive way", naive)
    report.add("times the naive way", ratio(ours, naive), "×")
    report.add("frames lost while encoding", lost, at_most=0)
    report.ratio_to_naive = report.value("times the naive way")


@dataclass(frozen=True, slots=True)
class Encoded:
    """What one round of encoding came to: frames of all subscribers together."""

    frames: int
    seconds: float
    lost: int


class Sink:
    """Where frames end: it counts them."""

    def __init__(self) -> None:
        self.taken = 0

    async def send(self, message: dict[str, Any]) -> None:
        """Take one frame, as a server does."""
        self.taken += 1


async def _encode_ours(changes: list[BookChanged], count: int, *, subscribers: int) -> Encoded:
    sink = Sink()
    venue, publisher = _quiet_venue()
    sessions = [_subscriber(venue, sink.send) for _ in range(subscribers)]
    writing = [asyncio.create_task(session.write()) for session in sessions]
    await _drained(sessions)
    before, began = sink.taken, time.process_time()
    turns = islice(cycle(changes), count)
    while batch := list(islice(turns, BATCH)):
        for change in batch:
            publisher.receive(change)
        await _drained(sessions)
    seconds = time.process_time() - began
    for task in writing:
        task.cancel()
    wanted = count * subscribers
    return Encoded(wanted, seconds, abs(wanted - (sink.taken - before)))


async def _drained(sessions: list[Session]) -> None:
    while any(session.waiting for session in sessions):
        await asyncio.sleep(0)


async def _encode_naively(changes: list[BookChanged], count: int, *, subscribers: int) -> Encoded:
    sink, began = Sink(), time.process_time()
    for seq, change in enumerate(islice(cycle(changes), count), start=1):
        for sid in range(1, subscribers + 1):
            await sink.send({"type": "websocket.send", "text": json.dumps(_naive_frame(change, sid, seq))})
    wanted = count * subscribers
    return Encoded(wanted, time.process_time() - began, abs(wanted - sink.taken))


def _naive_frame(change: BookChanged, sid: int, seq: int) -> dict[str, Any]:
    return {
        "type": "orderbook_delta",
        "sid": sid,
        "seq": seq,
        "msg": {
            "market_ticker": change.ticker,
            "price_dollars": str(Decimal(change.price).scaleb(-4)),
            "delta_fp": str(Decimal(change.change).scaleb(-2)),
            "side": "yes" if change.is_bid else "no",
            "ts": datetime.fromtimestamp(change.ts_us / 1_000_000, UTC).isoformat(),
            "ts_ms": change.ts_us // 1000,
        },
        "sending_ts_ms": time.time_ns() // 1_000_000,
    }


def _quiet_venue() -> tuple[Venue, Publisher]:
    venue = Venue()
    venue.exchange = exchange = own_exchange()
    return venue, Publisher(exchange, venue.audience, venue.truth)


def _subscriber(venue: Venue, send: Callable[[dict[str, Any]], Any]) -> Session:
    session = Session(send, None, member="", subaccount=None, now_ms=venue.now_ms)
    venue.audience.sessions.add(session)
    params = {"channels": ["orderbook_delta"], "market_tickers": [TICKER], "use_yes_price": True}
    Commands(session, venue.audience, venue).receive(json.dumps({"id": 1, "cmd": "subscribe", "params": params}))
    return session


def _cpu_of(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


# --- over the network --------------------------------------------------------------------------------


class Unlimited:
    """A budget that never waits: the exchange's own limit is what there is."""

    def acquire(self, kind: str, tokens: int) -> None:
        """Grant it."""


def _member(folder: Path) -> Answer:
    found: Answer = json.loads((folder / "desk.json").read_text())
    return found


def _signer(member: Answer) -> Signer:
    return Signer(member["key_id"], load_private_key(Path(member["private_key_file"]).read_bytes()))


def measure_wire(report: Report, exchange: Child, member: Answer, size: Size) -> None:
    """Measure frames a second through Daphne to one feed."""
    seen, done, ready = 0, threading.Event(), threading.Event()

    def take(event: Any) -> None:
        nonlocal seen
        if isinstance(event, feed.SnapshotReceived):
            ready.set()
        elif isinstance(event, feed.DeltaReceived):
            seen += 1
            if seen == size.wired:
                done.set()

    client = feed.FeedClient(member["ws_url"], signer=_signer(member), on_event=take)
    client.watch([exchange.ask("market")["ticker"]])
    client.start()
    try:
        if not ready.wait(20):
            raise TimeoutError("no snapshot came")
        told = exchange.ask("flood", frames=size.wired, patience=90)
        done.wait(30)
        after, at = exchange.ask("cpu"), time.monotonic()
    finally:
        client.stop()
    report.add("on the wire: book frames/s, one core of the exchange", size.wired / (after["cpu"] - told["cpu"]))
    report.add("on the wire: book frames/s, on the clock", size.wired / (at - told["began"]))
    report.add("on the wire: frames lost and gaps", size.wired - seen + client.counts["gaps"], at_most=0)


def measure_creates(report: Report, exchange: Child, member: Answer, size: Size) -> None:
    """Measure signed creates a second over REST."""
    ticker = exchange.ask("market")["ticker"]
    rates, costs, acks = [], [], 0
    for number in range(size.rounds + 1):
        before, began = exchange.ask("cpu")["cpu"], time.monotonic()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            made = list(pool.map(_create, repeat(member), repeat(ticker), [size.creates // CONNECTIONS] * CONNECTIONS))
        seconds = time.monotonic() - began
        acks += len(set().union(*made))
        if number:
            rates.append(size.creates / seconds)
            costs.append(size.creates / (exchange.ask("cpu")["cpu"] - before))
    report.add("signed creates/s over REST, on the clock", rates, at_least=400)
    report.add("signed creates/s, one core of the exchange", costs)
    asked = (size.rounds + 1) * (size.creates // CONNECTIONS) * CONNECTIONS
    report.add("creates lost or doubled", asked - acks, at_most=0)


def _create(member: Answer, ticker: str, count: int) -> set[str]:
    """Send so many orders one after the other and return their ids."""
    made = set()
    with RestClient(member["rest_url"], signer=_signer(member), budget=Unlimited()) as client:
        for _ in range(count):
            order = CreateOrder(ticker, "bid", Decimal("1.00"), Decimal("0.0100"))
            made.add(client.create_order(order).order_id)
    return made
