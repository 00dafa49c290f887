"""The one process per environment that owns the books: the feed's events in, one message per hub and tick out.

The feed's reader thread only appends to a queue; everything else happens on this event loop. Frames are made once and
sorted by wish: cost grows with markets and frames, not with browsers. Only the holder of the lease publishes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, cast

from markets.broadcast import Broadcast
from markets.events import relay_group
from markets.inbox import Inbox
from markets.intake import Intake
from markets.kalshi.clock import monotonic_ms, wall_ms
from markets.kalshi.feed import LifecycleReceived
from markets.leadership import RENEW_SECONDS, STAND_BY_SECONDS, Lease
from markets.lines import Line, supervise
from markets.livebook import Listing, Moment
from markets.lookback import Lookback
from markets.topboard import TopBoard
from markets.tops import Top
from markets.unknown import UnknownMarkets

logger = logging.getLogger(__name__)

REST_SECONDS = (0.005, 0.010)  # the least and the most between two tellings
LOOK_SECONDS = 0.250
TOPS_SECONDS = 0.200
LOOKUP_AGAIN_SECONDS = 2.0
DESCRIBE_AGAIN_MS = 30_000
FEED_AGAIN_SECONDS = 2.0
GIVE_UP_SECONDS = 10.0  # without word from the store; until then the feed stays connected, silent


class Feed(Protocol):
    """What the relay needs of a feed: the exchange client's FeedClient, or something that plays it."""

    def start(self) -> None:
        """Connect, in a thread of its own."""

    def stop(self) -> None:
        """Disconnect. May block until the thread has ended."""

    def watch(self, tickers: Iterable[str]) -> None:
        """Subscribe these markets too."""

    def unwatch(self, tickers: Iterable[str]) -> None:
        """Unsubscribe these markets."""

    def resync(self, tickers: Iterable[str]) -> None:
        """Ask for snapshots."""


class NoFeed(Exception):
    """There is nothing to connect with; the text says why, for a person."""


MakeFeed = Callable[[Callable[[Any], None]], Feed]  # raises NoFeed; may block
Look = Callable[..., dict[str, Listing | None]]  # what `listings.Lookup` is; may block


def moment() -> Moment:
    """Return now on both clocks."""
    return Moment(monotonic_ms(), wall_ms())


def rest_after(seconds: float) -> float:
    """Return how long to gather changes after a telling that took so long: twice as long, within bounds.

    A change that falls into the rest waits for its end, so what is quickly told is told more often.
    """
    least, most = REST_SECONDS
    return min(most, max(least, 2 * seconds))


class BookRelay:
    """Owns the books of one environment while it holds the lease; stands by while another process does."""

    def __init__(
        self,
        environment: str,
        *,
        layer: Any,
        lease: Lease,
        make_feed: MakeFeed,
        look_up: Look,
        clock: Callable[[], Moment] = moment,
        write_tops: Callable[[dict[str, Top]], None] | None = None,
    ) -> None:
        self.environment = environment
        self.lease = lease
        self.intake = Intake(environment, epoch="")
        self.broadcast = Broadcast(environment)
        self.line = Line(layer, "relay", self.receive, group=relay_group(environment))
        self.counts: Counter[str] = Counter()
        self.lookback = Lookback()
        self._answers: set[asyncio.Task[bool]] = set()
        self.observe: Callable[[Any], None] | None = None  # told of each event after the books have taken it
        self._make_feed = make_feed
        self._look_up = look_up
        self._clock = clock
        self._top_board = TopBoard(write_tops)
        self._feed: Feed | None = None
        self._inbox: Inbox | None = None
        self._feed_calls = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feed-calls")
        self._stirred = asyncio.Event()
        self._wished = asyncio.Event()
        self._feed_wanted_anew = asyncio.Event()
        self._unknown = UnknownMarkets()
        self._is_asking_due = asyncio.Event()
        self._described_at = 0
        self._fence = 0

    async def run(self) -> None:
        """Take part until cancelled: reign while the lease is held, else wait for it."""
        line = asyncio.create_task(supervise("the relay's line", self.line.run))
        try:
            while True:
                await self._stand_by()
                await self._reign()
        finally:
            line.cancel()
            await asyncio.gather(line, return_exceptions=True)
            await self.lease.release()
            self._feed_calls.shutdown(wait=False)

    def renew_feed(self) -> None:
        """Make the feed anew, because what it connects with has changed."""
        self._feed_wanted_anew.set()

    # --- who reigns ------------------------------------------------------------------------------

    async def _stand_by(self) -> None:
        while not await self.lease.renew():
            await asyncio.sleep(STAND_BY_SECONDS)

    async def _reign(self) -> None:
        self._begin_epoch()
        works = {
            "the relay's publishing": self._publish_forever,
            "the relay's feed": self._keep_feed,
            "the relay's wishes": self._follow_wishes,
            "the relay's questions about markets": self._ask_forever,
            "the relay's look": self._look_forever,
            "the relay's tops": self._write_tops_forever,
        }
        tasks = [asyncio.create_task(supervise(name, run)) for name, run in works.items()]
        try:
            await self._hold()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._drop_feed()
            self.intake = Intake(self.environment, epoch="")
            self.lookback.end(list(self.lookback.reels), self._clock().wall)

    async def _hold(self) -> None:
        """Renew until somebody else holds the lease, or nobody could be asked for long."""
        lapsed_at: float | None = None
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if await self.lease.renew():
                lapsed_at = None
                if self.lease.fence != self._fence:
                    self._begin_epoch()
                continue
            lapsed_at = lapsed_at or time.monotonic()
            if self.lease.is_lost or time.monotonic() - lapsed_at > GIVE_UP_SECONDS:
                return

    def _begin_epoch(self) -> None:
        self._fence = self.lease.fence
        self.intake.begin_epoch(f"{self._fence:x}-{secrets.token_hex(4)}")
        self._stirred.set()
        self._wished.set()

    # --- frames out ------------------------------------------------------------------------------

    def receive(self, message: dict[str, Any]) -> None:
        """Take a hub's message; of questions, who stands by takes none: they are asked again of whoever reigns."""
        if message["type"] == "relay.look":
            self._look_back(message)
            return
        if not self.lease.is_held:
            self._note_wish(message)
        elif self.broadcast.hear(message, self._clock()):
            self._wished.set()
        self._stirred.set()

    def _note_wish(self, message: dict[str, Any]) -> None:
        """Keep a wish until taking over, and none of hubs that are gone: nothing else forgets them meanwhile."""
        wishes, now = self.broadcast.wishes, self._clock().mono
        wishes.expire(now)
        if message["type"] == "relay.wish":
            wishes.renew(message["hub"], message["books"], message["tops"], now, pace_ms=message["pace_ms"])
            self._wished.set()

    async def publish(self) -> None:
        """Send every hub what is due to it, if the lease is held."""
        now = self._clock()
        if not self.lease.is_held:
            return
        entries = self.broadcast.frames(self.intake, now)
        self.counts["frames"] += len(entries)
        self.lookback.take(entries)
        for hub, message in self.broadcast.messages(self.intake, entries, now, fence=self._fence):
            if not self.lease.is_held:
                return  # frozen between two of them, it may have been deposed
            self.counts["messages"] += 1
            if not await self.line.send(hub, cast("dict[str, Any]", message)):
                self.counts["messages_lost"] += 1

    def _look_back(self, message: dict[str, Any]) -> None:
        """Answer a hub's question about the past; who stands by knows of none."""
        if self.lease.is_held:
            answer = self.lookback.answer(message, self.environment)
            task = asyncio.get_running_loop().create_task(self.line.send(message["hub"], answer))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _publish_forever(self) -> None:
        while True:
            now = self._clock()
            wait_ms = max(0, self.broadcast.next_due(self.intake, now) - now.mono)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1000):
                    await self._stirred.wait()
            self._stirred.clear()
            began = time.monotonic()
            await self.publish()
            await asyncio.sleep(rest_after(time.monotonic() - began))

    # --- events in -------------------------------------------------------------------------------

    def take(self, event: Any) -> None:
        """Take one event of the feed."""
        now = self._clock()
        self.intake.take(event, now)
        if type(event) is LifecycleReceived and event.message.ticker in self._unknown:
            self._unknown.announce(event.message.ticker, now.mono)
            self._is_asking_due.set()
        if self.observe is not None:
            self.observe(event)
        if not self._stirred.is_set():
            self._stirred.set()

    async def _look_forever(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Notice what only time shows, and ask for the snapshots that are needed."""
        now = self._clock()
        self.intake.look(now)
        self._ask_feed("resync", self.intake.repairs(now))
        describe_at = self.intake.descriptions.next_at
        if describe_at is not None and describe_at <= now.mono:
            self._is_asking_due.set()
        self._stirred.set()

    def distrust(self, ticker: str, why: str) -> None:
        """Doubt one book for a reason that the feed does not know; its snapshot is asked for at once."""
        self.intake.distrust(ticker, why, self._clock())
        self._stirred.set()

    def _overrun(self) -> None:
        self.counts["overruns"] += 1
        self.intake.lose_everything("more came in than could be taken", self._clock())

    # --- the feed --------------------------------------------------------------------------------

    async def _keep_feed(self) -> None:
        while True:
            self._feed_wanted_anew.clear()
            if await self._make_and_start():
                await self._feed_wanted_anew.wait()
                await self._drop_feed()
            else:
                await asyncio.sleep(FEED_AGAIN_SECONDS)

    async def _make_and_start(self) -> bool:
        inbox = Inbox(asyncio.get_running_loop(), self.take, overrun=self._overrun)
        try:
            feed = await asyncio.to_thread(self._make_feed, inbox.post)
        except NoFeed as exc:
            self.intake.go_down(str(exc), self._clock())
            self._stirred.set()
            return False
        self._feed, self._inbox = feed, inbox
        self._ask_feed("watch", list(self.intake.books))
        feed.start()
        return True

    async def _drop_feed(self) -> None:
        feed, inbox, self._feed, self._inbox = self._feed, self._inbox, None, None
        if inbox is not None:
            inbox.close()
        if feed is not None:
            await asyncio.to_thread(feed.stop)
        self.intake.go_down("the feed has been stopped", self._clock())

    def _ask_feed(self, verb: str, tickers: list[str]) -> None:
        """Have the feed do something, off this loop and in order: its socket may block."""
        if self._feed is not None and tickers:
            self._feed_calls.submit(_call_feed, self._feed, verb, tickers)

    # --- which markets ---------------------------------------------------------------------------

    async def _follow_wishes(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOKUP_AGAIN_SECONDS):
                    await self._wished.wait()
            self._wished.clear()
            await self.follow_wishes()

    async def follow_wishes(self) -> None:
        """Follow the wanted markets that the catalogue has, have the others asked for, let go of what nobody wants."""
        now = self._clock()
        self._let_go(now)
        wanted = self.broadcast.wishes.wanted()
        for ticker in self._unknown.keep(wanted, now.mono):
            self.broadcast.forget_refusal(ticker)
        new = [ticker for ticker in sorted(wanted - self.intake.books.keys()) if ticker not in self._unknown]
        if not new:
            return
        found = await asyncio.to_thread(self._look_up, new)
        self._add(found)
        # The exchange may have named one meanwhile, which has its book by now.
        if missing := [ticker for ticker in new if ticker not in found and ticker not in self.intake.books]:
            self._unknown.add(missing, self._clock().mono)
            self._is_asking_due.set()

    def _add(self, found: dict[str, Listing | None]) -> None:
        """Follow the markets that were found and are new, and refuse those that there are not."""
        now = self._clock()
        listings = [listing for listing in found.values() if listing is not None]
        new = [listing for listing in listings if listing.ticker not in self.intake.books]
        for listing in listings:
            self._unknown.find(listing.ticker)
            self.broadcast.forget_refusal(listing.ticker)
        for listing in new:
            self.intake.add(listing, now)
        self._ask_feed("watch", [listing.ticker for listing in new])
        # The catalogue may have given one its book while the exchange was asked.
        for ticker in found.keys() - {listing.ticker for listing in listings} - self.intake.books.keys():
            self._unknown.refuse(ticker, now.mono)
            self.broadcast.refuse(ticker, "UNKNOWN_MARKET", "The exchange has no market of this ticker.")
        self._stirred.set()

    def _let_go(self, now: Moment) -> None:
        idle = self.broadcast.wishes.let_go(self.intake.books, now.mono)
        for ticker in idle:
            self.intake.remove(ticker)
        self.lookback.end(idle, now.wall)
        self._ask_feed("unwatch", idle)

    # --- what the exchange is asked about markets ------------------------------------------------

    async def _ask_forever(self) -> None:
        """Ask beside the following of wishes: the exchange is slow, and whatever the catalogue has need not wait."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOKUP_AGAIN_SECONDS):
                    await self._is_asking_due.wait()
            self._is_asking_due.clear()
            await self.ask_about_markets()

    async def ask_about_markets(self) -> None:
        """Ask for what may have changed of followed markets, for those that are not known, and for all now and then."""
        await self._describe_again(self.intake.descriptions_due(self._clock()), fresh=True)
        while due := self._unknown.due(self._clock().mono):
            found = await asyncio.to_thread(self._look_up, due, fresh=True)
            for ticker in [ticker for ticker in due if ticker not in found and ticker not in self.intake.books]:
                self._unknown.fail(ticker, self._clock().mono)
            self._add(found)
            await self._describe_again(self.intake.descriptions_due(self._clock()), fresh=True)
        now = self._clock()
        if now.mono - self._described_at >= DESCRIBE_AGAIN_MS:
            self._described_at = now.mono
            known = await self._describe_again(list(self.intake.books), fresh=False)
            await self._describe_again([ticker for ticker in self.intake.books if ticker not in known], fresh=True)

    async def _describe_again(self, tickers: list[str], *, fresh: bool) -> dict[str, Listing | None]:
        """Take newer descriptions of followed markets; return what was found."""
        if not tickers:
            return {}
        asked_ms = self._clock().wall
        found = await asyncio.to_thread(self._look_up, tickers, fresh=fresh)
        for listing in found.values():
            if listing is not None:
                self.intake.describe(listing, asked_ms)
        return found

    # --- tops for whoever decides ----------------------------------------------------------------

    async def _write_tops_forever(self) -> None:
        while True:
            await asyncio.sleep(TOPS_SECONDS)
            if self.lease.is_held:
                await self._top_board.write(self.intake, self._clock())


def _call_feed(feed: Feed, verb: str, tickers: list[str]) -> None:
    try:
        getattr(feed, verb)(tickers)
    except Exception:
        # What was not asked for is asked for again: every market without a book is looked at four times a second.
        logger.exception("the feed could not %s", verb)
