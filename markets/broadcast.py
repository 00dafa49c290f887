"""Which hub is told what: one tick's frames, made once, sorted by wish, with the answers to what was asked.

Pure: time is handed in, messages come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from markets.events import BeatFrame, Entry, ErrorFrame, HubFrames, encode
from markets.intake import Intake
from markets.livebook import Label, LiveBook, Moment
from markets.wishes import Wishes

BEAT_MS = 1_000
TOP_TICK_MS = 50


class Owed(NamedTuple):
    """What each hub is to be told beside the frames that are due; trades after the number that stands with them."""

    books: dict[str, set[str]]
    trades: dict[str, dict[str, int]]
    tops: dict[str, frozenset[str]]


class Broadcast:
    """What the hubs want and have asked, and what is due to them."""

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self.wishes = Wishes()
        self._refusals: dict[str, str] = {}  # of markets that there are not
        self._refusals_due: set[str] = set()
        self._asked: dict[str, set[str]] = {}
        self._trades_asked: dict[str, dict[str, int]] = {}
        self._tops_owed: dict[str, frozenset[str]] = {}
        self._tops_moved: set[str] = set()
        self._tops_at = 0
        self._beat_at = -BEAT_MS
        self._upstream_told: Label | None = None

    # --- what hubs say ---------------------------------------------------------------------------

    def hear(self, message: dict[str, Any], now: Moment) -> bool:
        """Take a hub's message; return True if it may have changed which markets are wanted."""
        hub = message["hub"]
        if message["type"] == "relay.wish":
            is_new = hub not in self.wishes.hubs
            self.wishes.renew(hub, message["books"], message["tops"], now.mono, pace_ms=message["pace_ms"])
            if tops := self.wishes.take_tops(hub, now.mono, is_anew=message.get("anew", False)):
                self._tops_owed[hub] = self._tops_owed.get(hub, frozenset()) | tops
            if is_new:
                self._beat_at = now.mono - BEAT_MS
            return True
        if message["type"] == "relay.ask":
            self._asked.setdefault(hub, set()).update(message["tickers"])
        elif message["type"] == "relay.trades":
            wanted = self._trades_asked.setdefault(hub, {})
            for ticker, after in message["wanted"]:
                wanted[ticker] = min(after, wanted.get(ticker, after))
        return False

    def refuse(self, ticker: str, code: str, text: str) -> None:
        """Tell whoever wants this market, and whoever asks for it from now on, that there is none to be had."""
        frame: ErrorFrame = {"t": "error", "env": self.environment, "m": ticker, "code": code, "text": text}
        self._refusals[ticker] = encode(frame)
        self._refusals_due.add(ticker)

    def forget_refusal(self, ticker: str) -> None:
        """Refuse a market no longer."""
        self._refusals.pop(ticker, None)
        self._refusals_due.discard(ticker)

    # --- what is due -----------------------------------------------------------------------------

    def frames(self, intake: Intake, now: Moment) -> list[Entry]:
        """Take the frames that are due from the books that changed."""
        entries: list[Entry] = []
        pace_ms = self.wishes.pace_ms
        for ticker in list(intake.dirty):
            live = intake.books[ticker]
            due = live.due_at(now, intake.upstream, pace_ms=pace_ms)
            if due is None:
                intake.dirty.discard(ticker)
            elif due <= now.mono:
                entries += live.take(now, intake.upstream, pace_ms=pace_ms)
                self._tops_moved.add(ticker)
        return entries + self._top_frames(intake, now)

    def next_due(self, intake: Intake, now: Moment) -> int:
        """Return when to look again if nothing happens before, on the clock that never jumps."""
        if self._asked or self._trades_asked or self._tops_owed or self._refusals_due:
            return now.mono
        if intake.upstream != self._upstream_told:
            return now.mono
        due = [self._beat_at + BEAT_MS]
        dirty, pace_ms = [intake.books[ticker] for ticker in intake.dirty], self.wishes.pace_ms
        due += [live.due_at(now, intake.upstream, pace_ms=pace_ms) or now.mono for live in dirty]
        if self._tops_moved:
            due.append(self._tops_at + TOP_TICK_MS)
        return min(due)

    def messages(
        self, intake: Intake, entries: list[Entry], now: Moment, *, fence: int
    ) -> Iterator[tuple[str, HubFrames]]:
        """Yield (hub, message): one for each hub that has anything to hear.

        Hubs may be heard between two of them: what they ask meanwhile is answered the next time.
        """
        self.wishes.expire(now.mono)
        beat = self._beat(intake, now)
        answers: dict[str, Entry] = {}
        refused, self._refusals_due = self._refusals_due, set()
        owed = self._take_owed()
        for hub, wish in list(self.wishes.hubs.items()):
            frames = [entry for entry in entries if wish.wants(entry[0], entry[1])]
            frames += self._refused((refused & (wish.books | wish.tops)) | owed.books.get(hub, set()))
            frames += _answers(hub, owed, intake, now, answers)
            if frames or beat is not None:
                yield (
                    hub,
                    {
                        "type": "hub.frames",
                        "env": self.environment,
                        "e": intake.epoch,
                        "fence": fence,
                        "frames": frames,
                        "beat": beat,
                        "numbers": None if beat is None else _numbers(intake, wish.books),
                    },
                )

    def _take_owed(self) -> Owed:
        owed = Owed(self._asked, self._trades_asked, self._tops_owed)
        self._asked, self._trades_asked, self._tops_owed = {}, {}, {}
        return owed

    def _refused(self, tickers: set[str]) -> list[Entry]:
        return [("error", ticker, 0, self._refusals[ticker]) for ticker in sorted(tickers & self._refusals.keys())]

    def _top_frames(self, intake: Intake, now: Moment) -> list[Entry]:
        if not self._tops_moved or now.mono - self._tops_at < TOP_TICK_MS:
            return []
        self._tops_at = now.mono
        wanted = frozenset().union(*(wish.tops for wish in self.wishes.hubs.values()))
        moved = _known(intake, self._tops_moved & wanted)
        self._tops_moved = {live.ticker for live in moved if not live.is_top_free(now)}
        taken = [live.take_top(now, intake.upstream) for live in moved if live.is_top_free(now)]
        return [entry for entry in taken if entry is not None]

    def _beat(self, intake: Intake, now: Moment) -> BeatFrame | None:
        """Return the second's beat, or one between the seconds when the way upstream is not as it was told."""
        if now.mono - self._beat_at < BEAT_MS and intake.upstream == self._upstream_told:
            return None
        self._beat_at, self._upstream_told = now.mono, intake.upstream
        return {
            "t": "beat",
            "env": self.environment,
            "e": intake.epoch,
            "at": now.wall,
            "feed": intake.feed_state(),
            "why": intake.upstream.why,
            "age": None if intake.alive_at is None else now.mono - intake.alive_at,
            "heard": None if intake.heard_at is None else now.mono - intake.heard_at,
            "hub_ms": 0,
        }


def _answers(hub: str, owed: Owed, intake: Intake, now: Moment, answers: dict[str, Entry]) -> list[Entry]:
    found: list[Entry] = []
    for live in _known(intake, owed.books.get(hub, ())):
        if live.ticker not in answers:
            answers[live.ticker] = live.whole(now, intake.upstream)
        found.append(answers[live.ticker])
    for live in _known(intake, owed.tops.get(hub, ())):
        found.append(("top", live.ticker, 0, encode(live.top(now, intake.upstream))))
    wanted = owed.trades.get(hub, {})
    return found + [live.past_trades(wanted[live.ticker]) for live in _known(intake, wanted)]


def _numbers(intake: Intake, tickers: Iterable[str]) -> dict[str, int]:
    return {live.ticker: live.number for live in _known(intake, tickers)}


def _known(intake: Intake, tickers: Iterable[str]) -> list[LiveBook]:
    return [intake.books[ticker] for ticker in tickers if ticker in intake.books]
