"""Who in this process watches which market, and who still waits for its book. Pure bookkeeping of a hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from markets.outbox import Key, Outbox

ASK_AGAIN_MS = 500


class Browser:
    """One browser's socket as its hub sees it; `give_up` closes it for being too slow."""

    def __init__(self, outbox: Outbox, give_up: Callable[[], None]) -> None:
        self.outbox = outbox
        self.give_up = give_up
        self.environments: set[str] = set()
        self.books: set[Key] = set()
        self.tops: set[Key] = set()

    @property
    def markets(self) -> int:
        """How many subscriptions it holds."""
        return len(self.books) + len(self.tops)


@dataclass(slots=True)
class BookWatch:
    """The viewers of one market's book. A viewer who waits gets the next whole book; one who is new gets only that.

    Those who wait for a market that there is not are not asked for: the relay tells when it has appeared.
    """

    active: set[Browser] = field(default_factory=set)
    waiting: set[Browser] = field(default_factory=set)
    trades_after: dict[Browser, int] = field(default_factory=dict)
    asked_at: int | None = None
    is_refused: bool = False
    epoch: str = ""
    number: int = 0

    def wait(self, browser: Browser) -> None:
        """Want a whole book for this viewer, who has not been refused it yet."""
        self.waiting.add(browser)
        self.is_refused = False

    def refuse(self) -> set[Browser]:
        """Ask no more for a market that there is not, and return all who are to be told."""
        self.is_refused, self.trades_after = True, {}
        return self.active | self.waiting

    def stop_refusing(self) -> None:
        """Ask again for those who wait: the relay has the book."""
        self.is_refused = False

    def admit(self) -> set[Browser]:
        """Take those who waited in among those who get every frame, and return them."""
        admitted, self.waiting = self.waiting, set()
        self.active |= admitted
        self.asked_at, self.is_refused = None, False
        return admitted

    def remove(self, browser: Browser) -> None:
        """Forget a viewer."""
        self.active.discard(browser)
        self.waiting.discard(browser)
        self.trades_after.pop(browser, None)

    def admit_to_trades(self, first: int) -> set[Browser]:
        """Take out whom an answer with the trades after a number satisfies; others are asked for anew."""
        answered = {browser for browser, after in self.trades_after.items() if after >= first}
        self.trades_after = {who: after for who, after in self.trades_after.items() if who not in answered}
        if self.trades_after:
            self.asked_at = None
        return answered

    def note_number(self, epoch: str, kind: str, number: int) -> bool:
        """Follow the market's numbers; return False at a hole."""
        follows = kind == "book" or (epoch == self.epoch and number == self.number + 1)
        self.epoch, self.number = epoch, number
        return follows

    def is_ask_due(self, now: int) -> bool:
        """Say whether to ask the relay (again) for what viewers wait for."""
        if self.is_refused or not (self.waiting or self.trades_after):
            return False
        return self.asked_at is None or now - self.asked_at >= ASK_AGAIN_MS

    @property
    def is_empty(self) -> bool:
        """Say whether nobody is left."""
        return not self.active and not self.waiting


@dataclass(slots=True)
class TopWatch:
    """The viewers of one market's top of book, and what they were told last.

    Without viewers it is kept until the relay is told so: who comes before that is told nothing anew, and needs it.
    """

    browsers: set[Browser] = field(default_factory=set)
    last: str | None = None


class Audience:
    """All viewers of one process."""

    def __init__(self) -> None:
        self.browsers: set[Browser] = set()
        self.books: dict[Key, BookWatch] = {}
        self.tops: dict[Key, TopWatch] = {}

    def watch_book(self, browser: Browser, key: Key) -> BookWatch:
        """Add a viewer, who waits for a whole book first."""
        browser.books.add(key)
        watch = self.books.setdefault(key, BookWatch())
        watch.wait(browser)
        return watch

    def unwatch_book(self, browser: Browser, key: Key) -> None:
        """Take a viewer off one market."""
        browser.books.discard(key)
        browser.outbox.missed.discard(key)
        watch = self.books.get(key)
        if watch is None:
            return
        watch.remove(browser)
        if watch.is_empty:
            del self.books[key]

    def watch_top(self, browser: Browser, key: Key) -> str | None:
        """Add a viewer of a top of book; return the last one told."""
        browser.tops.add(key)
        watch = self.tops.setdefault(key, TopWatch())
        watch.browsers.add(browser)
        return watch.last

    def unwatch_top(self, browser: Browser, key: Key) -> None:
        """Take a viewer off one top of book."""
        browser.tops.discard(key)
        if key in self.tops:
            self.tops[key].browsers.discard(browser)

    def forget_unwatched_tops(self, environment: str) -> None:
        """Forget what was told of the tops that nobody watches: the relay is being told to leave them out."""
        for key in [key for key, watch in self.tops.items() if key[0] == environment and not watch.browsers]:
            del self.tops[key]

    def leave(self, browser: Browser) -> None:
        """Forget a browser altogether."""
        for key in list(browser.books):
            self.unwatch_book(browser, key)
        for key in list(browser.tops):
            self.unwatch_top(browser, key)
        self.browsers.discard(browser)

    def environments(self) -> set[str]:
        """Return the environments that somebody looks at."""
        return {environment for browser in self.browsers for environment in browser.environments}

    def wish(self, environment: str) -> tuple[list[str], list[str]]:
        """Return every market wanted of one environment: (books, tops)."""
        return _tickers(self.books, environment), _tickers(self._watched_tops(), environment)

    def due(self, environment: str, now: int) -> Iterator[tuple[str, BookWatch]]:
        """Yield the markets whose viewers wait for something that has to be asked for now."""
        for (env, ticker), watch in self.books.items():
            if env == environment and watch.is_ask_due(now):
                yield ticker, watch

    def _watched_tops(self) -> list[Key]:
        return [key for key, watch in self.tops.items() if watch.browsers]


def _tickers(watched: Iterable[Key], environment: str) -> list[str]:
    return sorted(ticker for env, ticker in watched if env == environment)
