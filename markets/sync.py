"""The exchange's catalogue becomes rows: complete passes, changes in between, and a sweep of what closed.

A pass reads page after page; a page is decoded, validated and compared with the rows' digests before
anything is locked, and only what differs is written. An unchanged pass therefore writes no row at all.

Quotes stand beside the digest. The exchange changes them all day without changing what a market *is*, so
they would make every pass rewrite every row. They are compared by value and written by a narrow update
that touches no index but the activity's; what is live on a screen comes from the relay's tops anyway.

Combos are left out (`mve_filter=exclude`): almost every open row of the exchange is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from markets import rows
from markets.described import Parents, event_values, market_quotes, market_values, series_values
from markets.models import CatalogueClaim, CatalogueRun, Event, Market, Series

logger = logging.getLogger(__name__)

DESCRIBE_EVERY = timedelta(hours=6)
LIST_EVERY = timedelta(minutes=15)
SMALL_PAGES = 5  # a catalogue this small is read whole every time: cheaper than to reason about changes
OVERLAP = timedelta(minutes=2)  # changes are asked from before the last time: clocks differ, updates come late
LEASE = timedelta(minutes=3)
SWEEP_ROWS = 1_000
OVERDUE_ROWS = 200
TICKERS_A_PAGE = 100
RUNS_KEPT = timedelta(days=7)
MAX_PAGES = 10_000
EMPTY_PAGES = 3  # a filter may leave a page empty; this many in a row are an end
TRADING = (Market.Status.ACTIVE, Market.Status.INACTIVE)


class Source(Protocol):
    """Where pages come from: (rows, cursor of the next page or ""). Raises what the client raises."""

    def series(self, *, changed_since: datetime | None = None) -> Sequence[Any]:
        """Return the unpaged list of series."""

    def events(
        self, cursor: str, *, status: str | None = None, changed_since: datetime | None = None
    ) -> tuple[Sequence[Any], str]:
        """Return one page of events."""

    def markets(
        self,
        cursor: str,
        *,
        status: str | None = None,
        changed_since: datetime | None = None,
        tickers: Sequence[str] = (),
    ) -> tuple[Sequence[Any], str]:
        """Return one page of markets, combos excluded."""


@dataclass
class Pass:
    """One pass over one list, and the row that tells how far it is."""

    environment: str
    kind: str
    pieces: rows.Pieces
    alive: Callable[[], None]
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.run = CatalogueRun.objects.create(environment=self.environment, kind=self.kind, started_at=timezone.now())

    def take(
        self, model: type[models.Model], described: dict[str, rows.Values], quotes: dict[str, rows.Values]
    ) -> None:
        """Write what differs of one page, and commit the progress."""
        now = timezone.now()
        known = _known(model, self.environment, described)
        changed, quoted = [], []
        for ticker, values in described.items():
            digest = rows.digest(values)
            found = known.get(ticker)
            if found is None or found[0] != digest:
                changed.append((self.environment, ticker, *values, digest, now))
            if ticker in quotes and (found is None or found[1:] != quotes[ticker]):
                quoted.append((self.environment, ticker, *quotes[ticker], now))
        self.run.rows_written += rows.upsert(model, changed, self.pieces)
        self.run.rows_quoted += rows.update_quotes(quoted, self.pieces)
        self.seen.update(described)
        self.run.pages += 1
        self.run.rows_seen += len(described)
        self.run.save(update_fields=["pages", "rows_seen", "rows_written", "rows_quoted"])
        self.alive()

    def finish(self, error: str = "") -> None:
        """Close the run."""
        self.run.finished_at = timezone.now()
        self.run.error = error
        self.run.save(update_fields=["finished_at", "error"])


class Sync:
    """Brings one environment's catalogue up to date; the caller holds the claim."""

    def __init__(self, environment: str, source: Source, *, pieces: rows.Pieces | None = None) -> None:
        self.environment = environment
        self.source = source
        self.pieces = pieces or rows.Pieces()

    def run(self) -> None:
        """Do what is due: descriptions, open markets or changes, then the sweep. Raises what the source raises."""
        claim = CatalogueClaim.objects.get(environment=self.environment)
        started_at = timezone.now()
        since = claim.changes_from and claim.changes_from - OVERLAP
        if is_due(claim.described_at, DESCRIBE_EVERY, started_at) or since is None:
            self.describe()
            self._note(described_at=started_at)
        else:
            self.describe(changed_since=since)
        vanished: set[str] = set()
        if since is None or self._is_small() or is_due(claim.listed_at, LIST_EVERY, started_at):
            vanished = self.list_open()
            self._note(listed_at=started_at)
        if since is not None:
            self.read_changes(since)
        self._note(changes_from=started_at)
        self.sweep(vanished)
        CatalogueRun.objects.filter(environment=self.environment, started_at__lt=started_at - RUNS_KEPT).delete()

    def describe(self, changed_since: datetime | None = None) -> None:
        """Read series and events: all that have an open market, or those that changed."""
        with self._pass(CatalogueRun.Kind.SERIES) as work:
            listed = self.source.series(changed_since=changed_since)
            for chunk in _chunks(listed, 1_000):
                work.take(Series, {row.ticker: series_values(row) for row in chunk}, {})
        with self._pass(CatalogueRun.Kind.EVENTS) as work:
            status = None if changed_since else "open"
            for page in walk(partial(self.source.events, status=status, changed_since=changed_since)):
                work.take(Event, {row.ticker: event_values(row) for row in page}, {})

    def list_open(self) -> set[str]:
        """Read every market that trades or is paused; return the tickers of rows that say so and were not listed."""
        with self._pass(CatalogueRun.Kind.MARKETS) as work:
            before = set(self._rows().filter(status__in=TRADING).values_list("ticker", flat=True))
            for status in ("open", "paused"):
                for page in walk(partial(self.source.markets, status=status)):
                    self._take_markets(work, page)
        return before - work.seen

    def read_changes(self, since: datetime) -> None:
        """Read markets whose description changed: new ones, paused, closed, settled."""
        with self._pass(CatalogueRun.Kind.CHANGES) as work:
            for page in walk(partial(self.source.markets, changed_since=since)):
                self._take_markets(work, page)

    def sweep(self, vanished: Iterable[str] = ()) -> None:
        """Ask for the markets whose row cannot be right any more, by name; what is not answered is unlisted.

        A clock opens and closes markets without an update, and a combo or a withdrawn market just goes.
        """
        tickers = sorted({*vanished, *self._overdue()})[:SWEEP_ROWS]
        if not tickers:
            return
        with self._pass(CatalogueRun.Kind.SWEEP) as work:
            for chunk in _chunks(tickers, TICKERS_A_PAGE):
                page, _ = self.source.markets("", tickers=chunk)
                self._take_markets(work, page)
                gone = sorted(set(chunk) - work.seen)
                work.run.rows_written += self._unlist(gone)
                work.run.save(update_fields=["rows_written"])

    def _unlist(self, tickers: list[str]) -> int:
        rows_gone = self._rows().filter(ticker__in=tickers).exclude(status=Market.Status.UNLISTED)
        # An empty digest: should the market come back, it is written again.
        return int(rows_gone.update(status=Market.Status.UNLISTED, digest="", synced_at=timezone.now()))

    def _overdue(self) -> list[str]:
        now = timezone.now()
        closed = Q(status__in=TRADING, close_at__lte=now)
        opened = Q(status=Market.Status.INITIALIZED, open_at__lte=now)
        # The latest first: one that the exchange itself calls open after its close must not stand in the way.
        overdue = self._rows().filter(closed | opened).order_by(F("close_at").desc(nulls_last=True))
        return list(overdue.values_list("ticker", flat=True)[:OVERDUE_ROWS])

    def _take_markets(self, work: Pass, page: Sequence[Any]) -> None:
        parents = self._parents_of({row.event_ticker for row in page})
        described = {row.ticker: market_values(row, parents.get(row.event_ticker, Parents())) for row in page}
        work.take(Market, described, {row.ticker: market_quotes(row) for row in page})

    def _parents_of(self, event_tickers: set[str]) -> dict[str, Parents]:
        events = Event.objects.in_environment(self.environment).filter(ticker__in=event_tickers)
        known = list(events.values_list("ticker", "series_ticker", "title"))
        series = Series.objects.in_environment(self.environment).filter(ticker__in={row[1] for row in known})
        categories = dict(series.values_list("ticker", "category"))
        return {ticker: Parents(of, title, categories.get(of, "")) for ticker, of, title in known}

    def _is_small(self) -> bool:
        runs = CatalogueRun.objects.filter(environment=self.environment, kind=CatalogueRun.Kind.MARKETS, error="")
        last = runs.exclude(finished_at=None).order_by("-started_at").first()
        return last is not None and last.pages <= SMALL_PAGES

    def _pass(self, kind: str) -> _Recorded:
        return _Recorded(Pass(self.environment, kind, self.pieces, self._keep_claim))

    def _keep_claim(self) -> None:
        self._note(claimed_until=timezone.now() + LEASE)

    def _note(self, **moments: datetime) -> None:
        CatalogueClaim.objects.filter(environment=self.environment).update(**moments)

    def _rows(self) -> Any:
        return Market.objects.in_environment(self.environment)


class _Recorded:
    """Closes a pass's run, with the reason when it failed."""

    def __init__(self, work: Pass) -> None:
        self._work = work

    def __enter__(self) -> Pass:
        return self._work

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._work.finish("" if error is None else f"{type(error).__name__}: {error}"[:500])


def claim(environment: str) -> bool:
    """Take the right to sync by compare-and-set; say whether we have it. It lapses after LEASE without a page."""
    CatalogueClaim.objects.get_or_create(environment=environment)
    now = timezone.now()
    free = Q(claimed_until=None) | Q(claimed_until__lte=now)
    return bool(CatalogueClaim.objects.filter(free, environment=environment).update(claimed_until=now + LEASE))


def release(environment: str) -> None:
    """Give the right back."""
    CatalogueClaim.objects.filter(environment=environment).update(claimed_until=None)


def is_due(last: datetime | None, every: timedelta, now: datetime) -> bool:
    """Say whether something that happened last then should happen again."""
    return last is None or now - last >= every


def walk(read: Callable[[str], tuple[Sequence[Any], str]]) -> Iterator[Sequence[Any]]:
    """Yield pages until the cursor ends, repeats, or leads to a page that was read before, or to nothing for long.

    A cursor that the exchange does not know gives page one again, so a loop must notice by itself.
    """
    cursors: set[str] = set()
    firsts: set[str] = set()
    cursor, empty = "", 0
    for _ in range(MAX_PAGES):
        page, cursor = read(cursor)
        if page and page[0].ticker in firsts:
            logger.warning("the exchange repeated a page; the pass ends here")
            return
        if page:
            firsts.add(page[0].ticker)
            yield page
        empty = 0 if page else empty + 1
        if not cursor or cursor in cursors or empty >= EMPTY_PAGES:
            return
        cursors.add(cursor)


def _known(model: type[models.Model], environment: str, tickers: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    columns = ("digest", *rows.QUOTE_COLUMNS) if model is Market else ("digest",)
    found = model._default_manager.filter(environment=environment, ticker__in=list(tickers))
    return {row[0]: row[1:] for row in found.values_list("ticker", *columns)}


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
