"""One per web process: the layer's one message a tick becomes one text message for each browser.

The hub holds the wishes of its browsers, tells the relay of them, and fans out what comes back: the same encoded frames
to every browser, joined per browser and tick, and nobody waits for one of them. It is started by the first socket of
its event loop. What it cannot know from the relay (that the relay is silent) it says itself, as soon as it is so.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from channels.layers import get_channel_layer

from markets.audience import Audience, Browser
from markets.events import BeatFrame, encode, relay_group
from markets.kalshi.clock import monotonic_ms, wall_ms
from markets.lines import Line, supervise
from markets.lookback import Questions
from markets.outbox import Key
from markets.pace import Pace

logger = logging.getLogger(__name__)

ANNOUNCE_MS = 5_000
HURRY_MS = 1_000  # while somebody waits for a book, the wish may have been lost
BEAT_MS = 1_000
LOOK_SECONDS = 0.25
WEIGH_MS = 1_000
SILENT_MS = 2_000
GATHER_SECONDS = 0.005  # a page asks for its markets one by one
NO_TRADES = "NO_TRADES"
COLLECTOR = (50_000, 20, 20)  # a search for cycles among a thousand sockets holds up everybody's frames: seldom


@dataclass(slots=True)
class Relay:
    """What the hub knows of one environment's relay."""

    fence: int = -1
    heard_at: int | None = None
    beat: BeatFrame | None = None
    announced_at: int | None = None
    is_changed: bool = True
    is_told_lost: bool = False


class Hub:
    """The browsers of one process and what they watch."""

    def __init__(
        self, layer: Any, *, clock: Callable[[], int] = monotonic_ms, work: Callable[[], int] = time.thread_time_ns
    ) -> None:
        self._now = clock
        self._work_ns = work
        self.audience = Audience()
        self.relays: dict[str, Relay] = {}
        self.line = Line(layer, "hub", self.receive, lost=self.lose)
        self.questions = Questions()
        self.pace = Pace()
        self.messages = 0
        self._beaten_at = clock() - BEAT_MS
        self._worked_ns, self._weighed_at = work(), clock()
        self._stirred = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen, to announce and to beat, on the running loop."""
        works = {
            "the hub's line": self.line.run,
            "the hub's wishes": self._announce_forever,
            "the hub's beat": self._beat_forever,
        }
        self._tasks = [asyncio.create_task(supervise(name, work)) for name, work in works.items()]

    async def stop(self) -> None:
        """End its tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- what browsers say -----------------------------------------------------------------------

    def join(self, browser: Browser) -> None:
        """Take in a browser."""
        self.audience.browsers.add(browser)

    def leave(self, browser: Browser) -> None:
        """Let a browser go, with everything it watched."""
        self.audience.leave(browser)
        browser.outbox.close()
        for environment in browser.environments:
            self._stir(environment)

    def watch(self, browser: Browser, environment: str, books: Iterable[str], tops: Iterable[str]) -> None:
        """Add markets; their books come as soon as the relay has them."""
        if environment not in browser.environments:
            browser.environments.add(environment)
            browser.outbox.put_word(self._beat(environment, self._now()))
        for ticker in books:
            self.audience.watch_book(browser, (environment, ticker)).asked_at = None
        for ticker in tops:
            if last := self.audience.watch_top(browser, (environment, ticker)):
                self._put_top(browser, last, self._now())
        browser.outbox.flush()
        self._stir(environment)

    def unwatch(self, browser: Browser, environment: str, books: Iterable[str], tops: Iterable[str]) -> None:
        """Take markets off."""
        for ticker in books:
            self.audience.unwatch_book(browser, (environment, ticker))
        for ticker in tops:
            self.audience.unwatch_top(browser, (environment, ticker))
        self._stir(environment)

    def snapshot(self, browser: Browser, environment: str, ticker: str) -> bool:
        """Want a whole book again; False where the browser does not watch it."""
        watch = self.audience.books.get((environment, ticker))
        if watch is None or (environment, ticker) not in browser.books:
            return False
        watch.wait(browser)
        self._stirred.set()
        return True

    def trades(self, browser: Browser, environment: str, ticker: str, after: int) -> bool:
        """Want the remembered trades after a number; False where the browser does not watch the market."""
        watch = self.audience.books.get((environment, ticker))
        if watch is None or (environment, ticker) not in browser.books:
            return False
        watch.trades_after[browser] = after
        watch.asked_at = None
        self._stirred.set()
        return True

    def ack(self, browser: Browser, total: int) -> None:
        """Note what a browser has taken; one that has caught up gets whole books of what it missed, and all tops.

        One that counts more than it was sent is given up: nobody knows what it can take.
        """
        if total > browser.outbox.sent:
            self._give_up(browser)
            return
        if not browser.outbox.ack(total):
            return
        for key in browser.outbox.missed & browser.books:
            self.audience.books[key].wait(browser)
        for key in browser.tops:
            if last := self.audience.tops[key].last:
                self._put_top(browser, last, self._now())
        browser.outbox.flush()
        self._stirred.set()

    # --- what the relay says ---------------------------------------------------------------------

    def receive(self, message: dict[str, Any]) -> None:
        """Fan out one tick of one relay, unless a newer relay has been heard."""
        if message.get("type") == "hub.look":
            self.questions.take(message)
            return
        environment, now = message["env"], self._now()
        relay = self.relays.setdefault(environment, Relay())
        if message["fence"] < relay.fence:
            return
        self.messages += 1
        relay.fence, relay.heard_at = message["fence"], now
        touched: set[Browser] = set()
        for kind, ticker, number, encoded in message["frames"]:
            self._fan_out(kind, (environment, ticker), number, encoded, message["e"], touched, now)
        if beat := message["beat"]:
            self._take_beat(environment, relay, beat, touched)
        if numbers := message["numbers"]:
            self._check_numbers(environment, message["e"], numbers)
        for browser in touched:
            browser.outbox.flush()

    def _fan_out(
        self, kind: str, key: Key, number: int, encoded: str, epoch: str, touched: set[Browser], now: int
    ) -> None:
        if kind == "top":
            self._tell_top(key, encoded, touched, now)
            return
        watch = self.audience.books.get(key)
        if watch is None:
            return
        if kind == "error":
            audience = watch.refuse()
        elif kind == "past":
            audience = watch.admit_to_trades(number)
            self._stirred.set()
            encoded = encoded or _no_trades(key)
        elif kind == "snap":
            # Newer than what was heard last: frames were lost before it, and it heals everybody at once.
            is_behind = (watch.epoch, watch.number) != (epoch, number)
            audience = watch.admit() | watch.active if is_behind else watch.admit()
            watch.epoch, watch.number = epoch, number
        else:
            audience = watch.admit() | watch.active if kind == "book" else watch.active
            if kind != "trade" and not watch.note_number(epoch, kind, number):
                # Passed on all the same: the page sees the hole by itself and stops believing its book.
                watch.waiting |= watch.active
                self._stirred.set()
        self._put(audience, key, encoded, kind, touched, now)

    def _put(self, audience: set[Browser], key: Key, encoded: str, kind: str, touched: set[Browser], now: int) -> None:
        is_whole = kind in {"book", "snap"}
        for browser in audience:
            was_slow = browser.outbox.slow_since is not None
            browser.outbox.put(key, encoded, is_whole=is_whole, now=now)
            if not was_slow and browser.outbox.slow_since is not None:
                browser.outbox.put_word(_SLOW)
            touched.add(browser)

    def _tell_top(self, key: Key, encoded: str, touched: set[Browser], now: int) -> None:
        watch = self.audience.tops.get(key)
        if watch is None or watch.last == encoded:
            return
        watch.last = encoded
        for browser in watch.browsers:
            self._put_top(browser, encoded, now)
            touched.add(browser)

    def _put_top(self, browser: Browser, encoded: str, now: int) -> None:
        if browser.outbox.slow_since is None and not browser.outbox.put_top(encoded, now=now):
            browser.outbox.put_word(_SLOW)

    def _take_beat(self, environment: str, relay: Relay, beat: BeatFrame, touched: set[Browser]) -> None:
        before, relay.beat = relay.beat, beat
        if before is None or _said(before) != _said(beat) or relay.is_told_lost:
            now = self._now()
            relay.is_told_lost = not self._is_heard(relay, now)
            encoded = self._beat(environment, now)
            for browser in self._viewers(environment):
                browser.outbox.put_word(encoded)
                touched.add(browser)

    def _check_numbers(self, environment: str, epoch: str, numbers: dict[str, int]) -> None:
        """Find the frames that were lost without another after them, and ask for whole books instead.

        Who waits is asked for anyway: only those who believe that they have everything are told to wait again.
        """
        for ticker, number in numbers.items():
            watch = self.audience.books.get((environment, ticker))
            if watch is not None and watch.is_refused:
                watch.stop_refusing()
                self._stirred.set()
            elif watch is not None and watch.active and (watch.epoch, watch.number) != (epoch, number):
                watch.waiting |= watch.active
                self._stirred.set()

    def lose(self) -> None:
        """Doubt everything at once: the layer's store has died, and nobody knows what it carried."""
        for relay in self.relays.values():
            relay.heard_at, relay.is_changed = None, True
        for watch in self.audience.books.values():
            watch.waiting |= watch.active
        for top in self.audience.tops.values():
            top.last = None
        self.beat()
        self._stirred.set()

    # --- what the hub says -----------------------------------------------------------------------

    def beat(self) -> None:
        """Tell every browser how alive its feed is, and give up those that cannot follow."""
        now = self._beaten_at = self._now()
        for browser in [browser for browser in self.audience.browsers if browser.outbox.is_hopeless(now)]:
            self._give_up(browser)
        beats = {environment: self._beat(environment, now) for environment in self.audience.environments()}
        for environment in beats:
            relay = self.relays[environment]
            relay.is_told_lost = not self._is_heard(relay, now)
        for browser in list(self.audience.browsers):
            for environment in browser.environments:
                browser.outbox.put_word(beats[environment])
            browser.outbox.flush()

    def _give_up(self, browser: Browser) -> None:
        self.leave(browser)
        browser.give_up()

    def look(self) -> None:
        """Beat when it is time to, and at once where a relay falls silent or is back: three seconds are soon gone."""
        now = self._now()
        watched = [self.relays[environment] for environment in self.audience.environments()]
        is_news = any(relay.is_told_lost is self._is_heard(relay, now) for relay in watched)
        if is_news or now - self._beaten_at >= BEAT_MS:
            self.beat()

    def _is_heard(self, relay: Relay, now: int) -> bool:
        if relay.beat is None or relay.heard_at is None:
            return False
        return now - relay.heard_at <= SILENT_MS and self.line.is_up

    def _beat(self, environment: str, now: int) -> str:
        relay = self.relays.setdefault(environment, Relay())
        wall = wall_ms()
        silent_ms = now - relay.heard_at if relay.heard_at is not None else None
        if relay.beat is not None and self._is_heard(relay, now):
            return encode({**relay.beat, "at": wall, "hub_ms": silent_ms})
        why = "the feed process is silent" if self.line.is_up else "the connection to the feed process is lost"
        lost: BeatFrame = {
            "t": "beat",
            "env": environment,
            "e": relay.beat["e"] if relay.beat else "",
            "at": wall,
            "feed": "down",
            "why": why,
            "age": None,
            "heard": None,
            "hub_ms": silent_ms if silent_ms is not None else -1,
        }
        return encode(lost)

    def _viewers(self, environment: str) -> list[Browser]:
        return [browser for browser in self.audience.browsers if environment in browser.environments]

    def weigh(self) -> None:
        """Find out once a second how busy this thread was; the relay hears of another pace at once."""
        now = self._now()
        elapsed_ms = now - self._weighed_at
        if elapsed_ms < WEIGH_MS:
            return
        before, self._worked_ns, self._weighed_at = self._worked_ns, self._work_ns(), now
        if self.pace.note((self._worked_ns - before) / (elapsed_ms * 1_000_000)):
            for relay in self.relays.values():
                relay.is_changed = True

    async def _beat_forever(self) -> None:
        while True:
            self.look()
            self.weigh()
            self._stirred.set()
            await asyncio.sleep(LOOK_SECONDS)

    # --- what the hub asks -----------------------------------------------------------------------

    def _stir(self, environment: str) -> None:
        self.relays.setdefault(environment, Relay()).is_changed = True
        self._stirred.set()

    async def _announce_forever(self) -> None:
        while True:
            await self._stirred.wait()
            await self.line.joined.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._stirred.clear()
            for environment in list(self.relays):
                await self.announce(environment)

    async def announce(self, environment: str) -> None:
        """Tell the relay what is wanted, if that is news or due, and ask for what viewers wait for."""
        now, relay = self._now(), self.relays[environment]
        due = list(self.audience.due(environment, now))
        books, tops = self.audience.wish(environment)
        # A relay that has just begun knows no hub, and says nothing to it: it is told soon what is wanted.
        is_urgent = bool(due) or relay.is_told_lost
        if self._is_wish_due(relay, is_urgent, is_watched=environment in self.audience.environments(), now=now):
            wish = {
                "type": "relay.wish",
                "hub": self.line.channel,
                "books": books,
                "tops": tops,
                "pace_ms": self.pace.ms,
                "anew": relay.is_told_lost,  # whatever was told may be lost
            }
            self.audience.forget_unwatched_tops(environment)
            relay.announced_at, relay.is_changed = now, False  # before it is sent: meanwhile the wish may change again
            if not await self.line.send_group(relay_group(environment), wish):
                relay.is_changed = True
        if due:
            await self._ask(environment, due, now)

    def _is_wish_due(self, relay: Relay, is_urgent: bool, *, is_watched: bool, now: int) -> bool:
        if relay.is_changed or relay.announced_at is None:
            return True
        since = now - relay.announced_at
        return is_watched and since >= (HURRY_MS if is_urgent else ANNOUNCE_MS)

    async def _ask(self, environment: str, due: list[tuple[str, Any]], now: int) -> None:
        books = [ticker for ticker, watch in due if watch.waiting]
        trades = [(ticker, min(watch.trades_after.values())) for ticker, watch in due if watch.trades_after]
        for _, watch in due:
            watch.asked_at = now
        group, hub = relay_group(environment), self.line.channel
        if books:
            await self.line.send_group(group, {"type": "relay.ask", "hub": hub, "tickers": books})
        if trades:
            await self.line.send_group(group, {"type": "relay.trades", "hub": hub, "wanted": trades})


def _said(beat: BeatFrame) -> tuple[str, str, str]:
    """Return what of a beat cannot wait for the next one."""
    return beat["feed"], beat["why"], beat["e"]


def _no_trades(key: Key) -> str:
    """Return the answer to who asked for trades of which none are remembered: silence would have it wait."""
    environment, ticker = key
    text = "No trades of this market are remembered after that number."
    return encode({"t": "error", "env": environment, "m": ticker, "code": NO_TRADES, "text": text})


_SLOW = encode({"t": "error", "code": "SLOW", "text": "This browser has fallen behind; its books are not up to date."})

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def get_hub() -> Hub:
    """Return the hub of the running loop, started if it is the first time."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _spare_colours()
        gc.set_threshold(*COLLECTOR)
        _hubs[loop] = Hub(get_channel_layer())
        _hubs[loop].start()
    return _hubs[loop]


def _spare_colours() -> None:
    """Keep Daphne's protocol from colouring, for each frame, the parts of log lines that nobody writes.

    That was a third of what a frame cost.
    """
    for name in ("autobahn.websocket.protocol", "autobahn.twisted.websocket"):
        protocol: Any = sys.modules.get(name)
        if protocol is not None:
            protocol.hltype = protocol.hlval = lambda part: part


async def stop_hub() -> None:
    """End the hub of the running loop, if there is one."""
    if hub := _hubs.pop(asyncio.get_running_loop(), None):
        await hub.stop()
