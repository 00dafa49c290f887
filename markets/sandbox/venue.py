"""The local exchange as it runs: engine, keys and buckets of members, audience, record, recordings and faults.

Everything happens on one event loop; nothing here waits.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from typing import TYPE_CHECKING, Literal, Protocol

from markets.sandbox import auth, messages
from markets.sandbox.accounts import Member
from markets.sandbox.audience import Audience, WholeBook
from markets.sandbox.auth import Signatures
from markets.sandbox.candles import Candle, candles
from markets.sandbox.catalogue import Market
from markets.sandbox.exchange import Exchange
from markets.sandbox.faults import Faults
from markets.sandbox.knobs import KNOBS
from markets.sandbox.lagging import LaggingReads
from markets.sandbox.limits import TIERS, Allowance, Tier
from markets.sandbox.numbers import MONEY
from markets.sandbox.publishing import Publisher
from markets.sandbox.quotes import Quote, Trade
from markets.sandbox.rules import Rules
from markets.sandbox.statistics import Statistics
from markets.sandbox.truth import Truth

if TYPE_CHECKING:
    from markets.sandbox.certificates import Authority

FIRST_BALANCE = 10_000 * MONEY
TICKER_INTERVAL_MS = 1000


@dataclass(slots=True)
class VenueClock:
    """The machine's time, moved by an operator; never backwards for the engine."""

    offset_us: int = 0
    held_us: int | None = None
    _last: int = 0

    def now_us(self) -> int:
        """Return microseconds since 1970."""
        now = time.time_ns() // 1000 + self.offset_us if self.held_us is None else self.held_us
        self._last = max(self._last, now)
        return self._last

    def advance(self, us: int) -> None:
        """Move time forward. Raises ValueError for a step back: the engine's time does not run backwards."""
        if us < 0:
            raise ValueError("the exchange's time does not run backwards")
        self.offset_us += us
        if self.held_us is not None:
            self.held_us += us

    def begin_in_the_past(self, us: int) -> int:
        """Hold the clock that far before the present, which is returned. Raises ValueError once it has been read."""
        if self._last:
            raise ValueError("the exchange's time does not run backwards")
        present = time.time_ns() // 1000
        self.held_us = present - us
        return present

    def arrive(self) -> None:
        """Let the clock be the machine's again."""
        self.held_us, self.offset_us = None, 0

    def release(self) -> None:
        """Let a held clock run on from where it stands."""
        if self.held_us is not None:
            self.offset_us = self.held_us - time.time_ns() // 1000
            self.held_us = None


class Doors(Protocol):
    """The ways on which the exchange is reached, as far as faults need them."""

    @property
    def authority(self) -> Authority:
        """Return who issues the certificates."""

    def refuse(self, seconds: float) -> None:
        """Let nobody connect for a while."""

    def open(self, kind: str) -> tuple[int, Callable[[], None]]:
        """Open a door of a kind; return its port and what shuts it. Raises ValueError."""


@dataclass(slots=True)
class Replay:
    """What a recording shows of one market in place of the engine."""

    view: Callable[[], WholeBook | None]
    quote: Callable[[], Quote]
    trades: Callable[[], list[Trade]]
    statistics: Statistics


@dataclass(slots=True)
class Venue:
    """One exchange on the air."""

    seed: int = 0
    tier: Tier = TIERS["basic"]
    rules: Rules | None = None
    clock: VenueClock = field(default_factory=VenueClock)
    signatures: Signatures = field(default_factory=Signatures)
    audience: Audience = field(default_factory=Audience)
    truth: Truth = field(default_factory=Truth)
    replays: dict[str, Replay] = field(default_factory=dict)
    allowances: dict[str, Allowance] = field(default_factory=dict)
    signature_offset_ms: int = 0
    doors: Doors | None = None  # None while it is not on the network
    taker: Callable[..., int] | None = None
    changes: int = 0
    resumes_us: int | None = None  # when a pause is thought to end
    maintenance: list[tuple[int, int]] = field(default_factory=list)  # announced windows, from and to
    exchange: Exchange = field(init=False)
    publisher: Publisher = field(init=False)
    reads: LaggingReads = field(init=False)
    faults: Faults = field(init=False)
    _markets_by_event: dict[str, list[Market]] = field(init=False, default_factory=dict)
    _by_market_id: dict[str, str] = field(init=False, default_factory=dict)
    _ticker_sent_ms: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.exchange = Exchange(clock=self.clock, rng=random.Random(self.seed), rules=self.rules)
        self.publisher = Publisher(self.exchange, self.audience, self.truth)
        self.publisher.on_created.append(self._index)
        self.reads = LaggingReads(self.exchange, self.clock)
        self.publisher.on_order.append(self.reads.note)
        self.faults = Faults(self, KNOBS)

    # --- time --------------------------------------------------------------------------------------

    def now_us(self) -> int:
        """Return the exchange's time in microseconds."""
        return self.clock.now_us()

    def now_ms(self) -> int:
        """Return the exchange's time in milliseconds."""
        return self.clock.now_us() // 1000

    def signature_now_ms(self) -> int:
        """Return the time that signatures are judged by: the machine's, whatever was done to the engine's clock."""
        return time.time_ns() // 1_000_000 + self.signature_offset_ms

    def reads_as_of_us(self) -> int:
        """Return how fresh reads of a member's papers are."""
        return self.now_us() - self.reads.lag_us

    # --- members -----------------------------------------------------------------------------------

    def open_account(self, name: str, *, member_id: str | None = None, deposit: int = FIRST_BALANCE) -> Member:
        """Return the member of that name; a new one starts with play money on every shard's default, shard 0."""
        known = self.member_named(name)
        if known is not None:
            return known
        member = self.exchange.add_member(name, member_id=member_id)
        if deposit:
            self.exchange.deposit(member.member_id, deposit)
        return member

    def member_named(self, name: str) -> Member | None:
        """Return a member by name."""
        return next((member for member in self.exchange.members.values() if member.name == name), None)

    def add_key(self, member: Member, public_key: auth.PublicKey, *, name: str = "first key") -> auth.ApiKey:
        """Let a member sign with a key."""
        key = auth.new_key(member.member_id, name, public_key=public_key)
        self.signatures.add(key)
        return key

    def allowance(self, member_id: str) -> Allowance:
        """Return the buckets of a member."""
        found = self.allowances.get(member_id)
        if found is None:
            found = self.allowances[member_id] = Allowance(self.tier)
        return found

    # --- markets -----------------------------------------------------------------------------------

    def _index(self, ticker: str) -> None:
        market = self.exchange.markets[ticker]
        self._markets_by_event.setdefault(market.event_ticker, []).append(market)
        self._by_market_id[market.market_id] = ticker

    def reindex(self) -> None:
        """Find every market again, after a state was read."""
        self._markets_by_event.clear()
        for ticker in self.exchange.markets:
            self._index(ticker)

    def markets_of_event(self, event_ticker: str) -> list[Market]:
        """Return the markets of one event in order of listing."""
        return self._markets_by_event.get(event_ticker, [])

    def markets_of_series(self, series_ticker: str) -> Iterator[Market]:
        """Yield the markets of one series."""
        return (market for market in self.exchange.markets.values() if self.series_of(market) == series_ticker)

    def series_of(self, market: Market) -> str:
        """Return the series of a market."""
        return self.exchange.events[market.event_ticker].series_ticker

    def is_listed(self, ticker: str) -> bool:
        """Say whether a market exists."""
        return ticker in self.exchange.markets

    @property
    def unknown_ticker(self) -> Literal["error", "ack", "empty"]:
        """Say what a subscribe to a market that does not exist hears."""
        return self.exchange.rules.unknown_ticker

    def ticker_of_id(self, market_id: str) -> str | None:
        """Return the market of a market id."""
        return self._by_market_id.get(market_id)

    def id_of_ticker(self, ticker: str) -> str:
        """Return the market id of a listed market."""
        return self.exchange.markets[ticker].market_id

    def quote(self, ticker: str) -> Quote:
        """Return a market's prices and volumes, those of the recording where it is replayed."""
        replay = self.replays.get(ticker)
        return self.exchange.quote(ticker) if replay is None else replay.quote()

    def view(self, ticker: str) -> WholeBook | None:
        """Return a market's whole book; None while its recording has not said what it is."""
        replay = self.replays.get(ticker)
        if replay is not None:
            return replay.view()
        found = self.exchange.book(ticker)
        market_id = self.exchange.markets[ticker].market_id
        keeps_no_order = self.exchange.rules.yes_price_order == "as_no_prices"
        return WholeBook(ticker, market_id, found.clock, dict(found.bids), dict(found.asks), keeps_no_order)

    def trades(self, ticker: str, low_us: int | None, high_us: int | None) -> list[Trade]:
        """Return public trades of one market or all, newest first."""
        own = [] if ticker in self.replays else self.exchange.trades(ticker, min_us=low_us, max_us=high_us)
        taped = [replay.trades() for name, replay in self.replays.items() if ticker in {"", name}]
        kept = (
            [trade for trade in rows if (low_us or 0) <= trade.ts_us and (high_us is None or trade.ts_us <= high_us)]
            for rows in taped
        )
        return list(merge(own, *kept, key=lambda trade: trade.ts_us, reverse=True))

    def candles(
        self, ticker: str, *, start_s: int, end_s: int, minutes: int, include_latest: bool = False
    ) -> list[Candle]:
        """Return a market's candles whose end lies in start … end (Unix seconds), those of the replay if it is one."""
        replay, asked = self.replays.get(ticker), {"start_s": start_s, "end_s": end_s, "minutes": minutes}
        if replay is None:
            return self.exchange.candles(ticker, include_latest_before_start=include_latest, **asked)
        market = self.exchange.market(ticker)
        return candles(replay.statistics, market.open_us, self.now_us(), include_latest=include_latest, **asked)

    def take(self, ticker: str, *, is_bid: bool, price: int, count: int) -> int:
        """Let the house trade at once against the members' orders and return the count that matched."""
        if self.taker is None:
            raise ValueError("no makers run here")
        return self.taker(ticker, is_bid=is_bid, price=price, count=count)

    # --- tickers -----------------------------------------------------------------------------------

    def ticker_body(self, ticker: str) -> str:
        """Return a market's ticker message."""
        return messages.ticker(self.quote(ticker), self.exchange.markets[ticker].market_id)

    def send_tickers(self) -> None:
        """Send the ticker of each market whose quotes changed, at most one a second and market."""
        now, waiting = self.now_ms(), self.publisher.quoted
        for ticker in tuple(waiting):
            if now - self._ticker_sent_ms.get(ticker, 0) < TICKER_INTERVAL_MS:
                continue
            waiting.discard(ticker)
            self._ticker_sent_ms[ticker] = now
            if self.audience.has_listeners("ticker", ticker):
                self.audience.tell("ticker", "ticker", ticker, self.ticker_body(ticker))
