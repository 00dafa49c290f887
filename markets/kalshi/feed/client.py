"""The feed: one socket, read in a thread of its own, watched by another, and dialled again whenever it ends.

Nothing that comes over the socket ends the reader. A frame that cannot be read is told as Malformed; a connection that
says nothing, not even when asked, is told as Stalled and then dropped. Pings prove little: the exchange has been seen
to send them through a stall of minutes, so silence is counted in frames, and a quiet market is told from a dead one by
asking `list_subscriptions`. Source: Kalshi trade API v2, WebSocket keep-alive, and recorded stalls.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import websocket

from markets.kalshi.clock import wall_ms
from markets.kalshi.errors import BadMessage
from markets.kalshi.feed import events
from markets.kalshi.feed.dial import Dialer, DialFailed, Socket
from markets.kalshi.feed.session import Session
from markets.kalshi.limits import backoff
from markets.kalshi.messages import Channel, read_frame
from markets.kalshi.signing import Signer

logger = logging.getLogger(__name__)

TEXT, BINARY, CLOSE = websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_CLOSE
WITHOUT_BOOKS = frozenset({"trade", "market_lifecycle_v2"})  # channels whose frames are called as they are
MARKET_CHANNELS: tuple[Channel, ...] = ("orderbook_delta", "trade")


@dataclass(frozen=True, slots=True)
class Timing:
    """The feed's patience, in seconds."""

    probe_after: float = 5.0  # of silence
    stalled_after: float = 8.0  # three seconds after a question that was not answered
    dropped_after: float = 15.0
    look_every: float = 0.25
    socket: float = 5.0
    handshake: float = 10.0
    calm_after: float = 10.0  # a connection that spoke for this long makes the next retry quick again
    backoff_base: float = 1.0
    backoff_most: float = 60.0


class FeedClient:
    """The exchange's feed. `on_event` is called in the reader's or the watcher's thread and must not block."""

    def __init__(
        self,
        ws_url: str,
        *,
        signer: Signer,
        on_event: Callable[[Any], None],
        channels: Collection[Channel] = MARKET_CHANNELS,
        hosts: Collection[str] | None = None,
        now_ms: Callable[[], int] = wall_ms,
        timing: Timing | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Raises RefusedByUs for an address that a signed handshake may not go to."""
        self.counts: Counter[str] = Counter()
        self.on_frame: Callable[[bytes], None] | None = None  # told of each frame as it came, before it is read
        self._timing = timing or Timing()
        self._dialer = Dialer(ws_url, signer=signer, hosts=hosts, now_ms=now_ms, timeout=self._timing.handshake)
        self._on_event = on_event
        self._channels = tuple(channels)
        self._rng = rng or random.Random()  # noqa: S311 - it only spreads retries
        self._wanted: dict[str, None] = {}
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._socket: Socket | None = None
        self._session: Session | None = None
        self._connection = 0
        self._opened_at = 0.0
        self._heard_at = 0.0
        self._alive_at = 0.0
        self._probed_at = 0.0
        self._is_stalled = False
        self._is_dropped = False
        self._threads = (
            threading.Thread(target=self._read_forever, name="feed-reader", daemon=True),
            threading.Thread(target=self._look_forever, name="feed-watcher", daemon=True),
        )

    # --- what its owner asks ---------------------------------------------------------------------

    def start(self) -> None:
        """Connect, in a thread of its own. Once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Disconnect and wait for the threads. May be called twice, and before `start`."""
        self._stop.set()
        self._abort()
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(timeout=self._timing.handshake + self._timing.socket)

    def watch(self, tickers: Iterable[str]) -> None:
        """Subscribe these markets too, now and on every later connection."""
        wanted = list(tickers)
        with self._lock:
            self._wanted.update(dict.fromkeys(wanted))
            session = self._session
        self._tell(session, "watch", wanted)

    def unwatch(self, tickers: Iterable[str]) -> None:
        """Unsubscribe these markets."""
        unwanted = list(tickers)
        with self._lock:
            for ticker in unwanted:
                self._wanted.pop(ticker, None)
            session = self._session
        self._tell(session, "unwatch", unwanted)

    def resync(self, tickers: Iterable[str]) -> None:
        """Ask for snapshots of watched markets; nothing happens while there is no connection."""
        with self._lock:
            wanted = [ticker for ticker in tickers if ticker in self._wanted]
            session = self._session
        self._tell(session, "resync", wanted)

    @property
    def skew_ms(self) -> int:
        """The exchange's clock minus ours, as of the last dial."""
        return self._dialer.clock.skew_ms

    def _tell(self, session: Session | None, verb: str, tickers: list[str]) -> None:
        if session is not None and tickers:
            getattr(session, verb)(tickers, time.monotonic())

    # --- the reader ------------------------------------------------------------------------------

    def _read_forever(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            self._opened_at = self._heard_at = time.monotonic()
            try:
                reason, code = self._read_one_connection()
            except Exception as exc:
                logger.exception("the feed's reader failed")
                reason, code = f"an error of ours ({type(exc).__name__})", None
            self._say(events.Disconnected(reason, code))
            self.counts["disconnections"] += 1
            # How long it took to find nobody there is not how long somebody spoke.
            if self._heard_at - self._opened_at >= self._timing.calm_after:
                attempt = 0
            base, most = self._timing.backoff_base, self._timing.backoff_most
            self._stop.wait(backoff(attempt, self._rng, base_seconds=base, most_seconds=most))
            attempt += 1

    def _read_one_connection(self) -> tuple[str, int | None]:
        """Dial, read until it ends, and say why it ended."""
        try:
            sock = self._dialer.dial()
        except DialFailed as exc:
            return exc.reason, exc.code
        try:
            session = self._open(sock)
            return self._read(sock, session)
        except websocket.WebSocketException as exc:
            return self._why(f"the connection broke ({type(exc).__name__})"), None
        except OSError as exc:
            return self._why(f"the connection broke ({type(exc).__name__})"), None
        finally:
            with self._lock:
                self._socket = self._session = None
            sock.shutdown()

    def _open(self, sock: Socket) -> Session:
        sock.settimeout(self._timing.socket)
        with self._lock:
            self._connection += 1
            session = Session(
                self._connection,
                channels=self._channels,
                send=lambda frame: self._send(sock, frame),
                say=self._say,
                counts=self.counts,
            )
            self._opened_at = self._heard_at = self._probed_at = time.monotonic()
            self._is_stalled = self._is_dropped = False
        self.counts["connections"] += 1
        # Told before anything is asked: what comes in answer belongs to this connection.
        self._say(events.Connected(self._connection))
        with self._lock:
            self._socket, self._session = sock, session
            session.watch(list(self._wanted), time.monotonic())
        return session

    def _read(self, sock: Socket, session: Session) -> tuple[str, int | None]:
        receive = sock.recv_data_frame
        while not self._stop.is_set():
            try:
                opcode, frame = receive(True)
            except websocket.WebSocketTimeoutException:
                continue
            now = time.monotonic()
            if opcode in (TEXT, BINARY):
                self._heard_at = now
                if now - self._alive_at >= 1.0:
                    self._alive_at = now
                    self._say(events.Alive())
                if self._is_stalled:
                    self._resume()
                self._take(session, frame.data, now)
            elif opcode == CLOSE:
                code = int.from_bytes(frame.data[:2], "big") if len(frame.data) >= 2 else None
                return self._why("the exchange closed the connection"), code
        return "stopped", None

    def _take(self, session: Session, raw: bytes, now: float) -> None:
        """Take one frame; whatever is wrong with it stays with it."""
        if self.on_frame is not None:
            self.on_frame(raw)
        try:
            session.take(read_frame(raw, is_no_side_in_yes_prices=True), now)
        except BadMessage as exc:
            self._note_malformed(session, exc, now)
        except (websocket.WebSocketException, OSError):
            raise  # the connection, not the frame
        except Exception as exc:
            self.counts["malformed"] += 1
            logger.exception("a frame of the feed could not be taken")
            self._say(events.Malformed(None, type(exc).__name__))

    def _note_malformed(self, session: Session, error: BadMessage, now: float) -> None:
        if error.is_new_kind and error.sid is None:
            # Of no subscription of ours, so of no book: a kind that the exchange has added since.
            self.counts["unknown_kinds"] += 1
            return
        self.counts["malformed"] += 1
        logger.warning("a frame of the feed could not be read: %s", error.reason)
        if not session.note_number(error.sid, error.seq, now):
            return
        channel = _certain_channel(session, error)
        # A broken change of a market that we did not ask for was one of another: its ticker is broken too.
        is_strange = channel is None and error.ticker not in self._wanted
        if channel != "ticker":  # what is wrong with best prices, the next ones mend
            self._say(events.Malformed(None if is_strange else error.ticker, error.reason, channel))

    def _why(self, reason: str) -> str:
        if self._is_dropped:
            return "nothing was heard from the exchange, not even when asked"
        return "stopped" if self._stop.is_set() else reason

    # --- the watcher -----------------------------------------------------------------------------

    def _look_forever(self) -> None:
        while not self._stop.wait(self._timing.look_every):
            try:
                self._look(time.monotonic())
            except (websocket.WebSocketException, OSError):
                self._abort()
            except Exception:
                logger.exception("the feed's watcher failed")

    def _look(self, now: float) -> None:
        with self._lock:
            session = self._session
        if session is None:
            return
        silent = now - self._heard_at
        if silent >= self._timing.dropped_after:
            self._drop()
            return
        if silent >= self._timing.stalled_after:
            self._stall(now)
        elif self._is_stalled:
            self._resume()
        if silent >= self._timing.probe_after and now - self._probed_at >= self._timing.probe_after:
            self._probed_at = now
            session.probe(now)
        session.look(now)

    def _drop(self) -> None:
        if not self._is_dropped:
            self._is_dropped = True
            self.counts["dropped_for_silence"] += 1
        self._abort()

    def _stall(self, now: float) -> None:
        with self._lock:
            if self._is_stalled or now - self._heard_at < self._timing.stalled_after:
                return
            self._is_stalled = True
        self.counts["stalls"] += 1
        self._say(events.Stalled())

    def _resume(self) -> None:
        with self._lock:
            if not self._is_stalled:
                return
            self._is_stalled = False
        self._say(events.Resumed())

    # --- the socket ------------------------------------------------------------------------------

    def _send(self, sock: Socket, frame: dict[str, Any]) -> None:
        """Send a command. A socket that does not take it is broken: the reader finds out and dials again."""
        self.counts["commands"] += 1
        try:
            sock.send(msgspec.json.encode(frame).decode())
        except (websocket.WebSocketException, OSError):
            # Half a command may have gone out: nothing sensible can follow it.
            sock.abort()

    def _abort(self) -> None:
        with self._lock:
            sock = self._socket
        if sock is not None:
            sock.abort()

    def _say(self, event: events.Event) -> None:
        try:
            self._on_event(event)
        except Exception:
            self.counts["events_not_taken"] += 1
            logger.exception("an event of the feed was not taken")


def _certain_channel(session: Session, error: BadMessage) -> Channel | None:
    """Return the channel of a broken frame; None where it may have been of any, and so of a book.

    The kind alone does not tell: it may be what is broken. Kind and sid are hardly broken to the same channel.
    """
    if error.kind == "ticker" and error.seq is None:
        return "ticker"  # no book's frame: those are numbered
    channel = session.channel_of(error.sid)
    return channel if channel in WITHOUT_BOOKS and channel == error.kind else None
