"""Wanted markets of which the catalogue says nothing: when the exchange is asked for each, and when again.

Pure: time is handed in, in ms on a clock that never jumps.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

CALL_MOST = 100
REFUSED_MS, REFUSED_MOST_MS = 30_000, 600_000  # a ticker that does not exist today may exist tomorrow
FAILED_MS, FAILED_MOST_MS = 2_000, 30_000


@dataclass(slots=True)
class _Turn:
    next_at: int
    refusals: int = 0
    failures: int = 0
    is_announced: bool = False


class UnknownMarkets:
    """The turns of these markets. Every market that `due` names is to be found, refused or failed."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    def __contains__(self, ticker: str) -> bool:
        """Say whether a market is one of them."""
        return ticker in self._turns

    def add(self, tickers: Iterable[str], now: int) -> None:
        """Have these asked for at once, unless they have a turn already."""
        for ticker in tickers:
            self._turns.setdefault(ticker, _Turn(now))

    def due(self, now: int) -> list[str]:
        """Return the markets to ask for now, the longest due first, at most as many as a call takes."""
        due = [(turn.next_at, ticker) for ticker, turn in self._turns.items() if turn.next_at <= now]
        return [ticker for _, ticker in sorted(due)[:CALL_MOST]]

    def find(self, ticker: str) -> None:
        """Note that it is known now."""
        self._turns.pop(ticker, None)

    def refuse(self, ticker: str, now: int) -> None:
        """Note that the exchange has no such market. One that it has announced is shown a moment later."""
        turn = self._turns.setdefault(ticker, _Turn(now))
        if turn.is_announced:
            self.fail(ticker, now)
            return
        turn.next_at = now + min(REFUSED_MS << min(turn.refusals, 10), REFUSED_MOST_MS)
        turn.refusals += 1

    def fail(self, ticker: str, now: int) -> None:
        """Note that the exchange did not say whether there is one."""
        turn = self._turns.setdefault(ticker, _Turn(now))
        turn.next_at = now + min(FAILED_MS << min(turn.failures, 10), FAILED_MOST_MS)
        turn.failures += 1

    def announce(self, ticker: str, now: int) -> None:
        """Have a market asked for at once, for the exchange has spoken of it."""
        if ticker in self._turns:
            self._turns[ticker] = _Turn(now, is_announced=True)

    def keep(self, wanted: Container[str], now: int) -> list[str]:
        """Forget those that nobody wants once their turn has come, and return them.

        Not before: who wants the same market again and again is no reason to ask more often.
        """
        gone = [ticker for ticker, turn in self._turns.items() if ticker not in wanted and turn.next_at <= now]
        for ticker in gone:
            del self._turns[ticker]
        return gone
