"""One local exchange from its options to the air: catalogue, members, makers, recordings, state, and its beat."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from markets.sandbox import credentials
from markets.sandbox.app import Application
from markets.sandbox.catalogue import MarketStatus
from markets.sandbox.control import Control
from markets.sandbox.doors import Doors
from markets.sandbox.keeping import Keeper
from markets.sandbox.limits import TIERS
from markets.sandbox.listing import DEFAULT_MARKETS, Listing
from markets.sandbox.makers import STEP_SECONDS, Makers
from markets.sandbox.past import LASTS_US, Past, lived
from markets.sandbox.replay import Player
from markets.sandbox.server import Server, Threaded
from markets.sandbox.tape import scan
from markets.sandbox.venue import Venue

MEMBERS = ("desk", "rival")
BEAT_SECONDS = 0.02
SECOND = 1.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What one local exchange is asked to be."""

    seed: int = 0
    markets: int = DEFAULT_MARKETS
    tapes: tuple[Path, ...] = ()
    speed: float = 1.0
    loop: bool = False
    credentials: Path | None = None
    state: Path | None = None
    tier: str = "basic"
    has_makers: bool = True


class Sandbox:
    """A local exchange. Build it anywhere; `begin` and `end` belong to the event loop that serves it."""

    def __init__(self, options: Options) -> None:
        """Read state and recordings; raises BadState, BadTape or OSError."""
        self.options = options
        self.venue = Venue(seed=options.seed, tier=TIERS[options.tier])
        self._keeper = Keeper(self.venue, options.state) if options.state is not None else None
        if self._keeper is not None:
            self._keeper.load()
        for name in MEMBERS:
            self.venue.open_account(name)
        self.listing = Listing(self.venue, markets=options.markets)
        self.makers = Makers(self.venue, self.listing, seed=options.seed)
        self.venue.taker = self.makers.take_from_members
        self.control = Control(self.venue)
        self._tapes = [scan(path) for path in options.tapes]
        self.application = Application(self.venue, self.control)
        self._tasks: list[asyncio.Task[None]] = []
        self._rolled_at = self._saved_at = self._stepped_at = 0.0

    def begin(self) -> None:
        """List the markets, quote them, and let time pass."""
        if self.options.has_makers and not self.venue.exchange.markets:
            self._begin_with_a_past()
        self.venue.exchange.tick()
        for tape in self._tapes:
            self.control.players.append(Player(self.venue, tape, speed=self.options.speed, loop=self.options.loop))
        self._close_old_recordings()
        self.listing.fill()
        if self.options.has_makers:
            self.makers.begin()
        self.control.on_clock = self._catch_up
        self._tasks.append(asyncio.get_running_loop().create_task(self._live()))

    def _begin_with_a_past(self) -> None:
        with lived(self.venue.clock) as present:
            self.listing.fill(at_us=present, opened_us=present - LASTS_US)
            listed = list(self.venue.exchange.markets.values())
            Past(self.makers, self.venue.clock, seed=self.options.seed).live(listed, present)

    def _close_old_recordings(self) -> None:
        """Close what an earlier run replayed and this one does not."""
        for market in self.venue.exchange.markets.values():
            if market.is_replay and market.ticker not in self.venue.replays:
                market.status = MarketStatus.CLOSED

    def end(self) -> None:
        """Stop everything and write the state a last time."""
        for task in self._tasks:
            task.cancel()
        for player in self.control.players:
            player.stop()
        if self._keeper is not None:
            self._keeper.save()

    def write_credentials(self, port: int) -> None:
        """Write every member's first key, if a folder is given."""
        if self.options.credentials is not None:
            credentials.write(self.venue, self.options.credentials, members=MEMBERS, port=port)

    def open_doors(self, server: Server) -> None:
        """Let faults reach the server that carries this exchange."""
        self.venue.doors = Doors(server)

    # --- the beat --------------------------------------------------------------------------------------

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                self._beat(time.monotonic())
            except Exception:
                _logger.exception("a beat of the local exchange failed; the next one follows")

    def _beat(self, now: float) -> None:
        self.venue.exchange.tick()
        if self.options.has_makers and now - self._stepped_at >= STEP_SECONDS:
            self._stepped_at = now
            self.makers.step()
        if now - self._rolled_at >= SECOND:
            self._rolled_at = now
            self._roll()
        self.venue.send_tickers()
        if self._keeper is not None and now - self._saved_at >= SECOND:
            self._saved_at = now
            self._keeper.save_if_changed(now)

    def _roll(self) -> None:
        if self.options.has_makers:
            self.listing.roll()

    def _catch_up(self) -> None:
        self.venue.exchange.tick()
        self.venue.send_tickers()


class RunningSandbox:
    """A local exchange on a background thread of this process, for tests and benchmarks."""

    def __init__(self, options: Options, port: int = 0) -> None:
        self.sandbox = Sandbox(options)
        self._server: Server = Threaded.call(self._open, port)

    def _open(self, port: int) -> Server:
        server = Server(self.sandbox.application)
        self.port = server.open(port)
        self.sandbox.open_doors(server)
        self.sandbox.begin()
        self.sandbox.write_credentials(self.port)
        return server

    @property
    def url(self) -> str:
        """Address of the server, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def rest_url(self) -> str:
        """Address of the trade API."""
        return f"{self.url}/trade-api/v2"

    @property
    def ws_url(self) -> str:
        """Address of the stream."""
        return f"ws://127.0.0.1:{self.port}/trade-api/ws/v2"

    def stop(self) -> None:
        """End it; returns when the port is free."""
        Threaded.call(self._server.close)
        Threaded.call(self.sandbox.end)
