"""The exchange's catalogue as rows: series, event, market, and the runs that keep them true.

A row belongs to one environment; (environment, ticker) is its natural key, because demo mirrors
production's tickers. Parents are named by ticker, without foreign keys: the exchange hands out its
three lists in any order, and a sync must be able to write a market before its event.
Prices are integers of $0.0001 on the YES scale, counts integers of 0.01 contract.
Source: Kalshi trade API v2, `GET /series`, `GET /events`, `GET /markets`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

import msgspec
from django.db import connections, models
from django.db.models import Q
from django.db.models.expressions import RawSQL
from django.utils import timezone

if TYPE_CHECKING:
    from markets.kalshi.prices import PriceGrid

TICKER_LENGTH = 200  # the longest ticker a request may name
_WORD = re.compile(r"[^\W_]+(?:\.\d+)?")


class Environment(models.TextChoices):
    """Which exchange a row belongs to."""

    SANDBOX = "sandbox", "Sandbox"
    DEMO = "demo", "Demo"
    PRODUCTION = "production", "Production"


def search_words(text: str) -> list[str]:
    """Return the words of `text` as the search knows them: lower case, without signs; `50.5` stays one word."""
    return _WORD.findall(text.lower())


class Listing(models.Model):
    """What every row of the catalogue has: its natural key, and what the last sync saw."""

    environment = models.CharField(max_length=10, choices=Environment)
    ticker = models.CharField(max_length=TICKER_LENGTH)
    digest = models.CharField(max_length=32, default="", help_text="Of the columns the exchange describes it with.")
    synced_at = models.DateTimeField(help_text="When a sync last wrote this row.")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.ticker


class SeriesQuerySet(models.QuerySet["Series"]):
    """Questions about many series."""

    def in_environment(self, environment: str) -> SeriesQuerySet:
        """Keep those of one exchange."""
        return self.filter(environment=environment)


class Series(Listing):
    """A recurring question, such as the highest temperature of each day; fees are set here."""

    title = models.TextField(default="")
    category = models.TextField(default="")
    tags = models.JSONField(default=list)
    frequency = models.CharField(max_length=60, default="")
    fee_type = models.CharField(max_length=60, default="quadratic")
    fee_multiplier = models.DecimalField(max_digits=12, decimal_places=6, default=Decimal(1))

    objects: ClassVar[SeriesQuerySet] = SeriesQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name_plural = "series"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "ticker"], name="series_environment_ticker"),
        ]
        indexes: ClassVar = [models.Index(fields=["environment", "category"], name="series_category")]


class EventQuerySet(models.QuerySet["Event"]):
    """Questions about many events."""

    def in_environment(self, environment: str) -> EventQuerySet:
        """Keep those of one exchange."""
        return self.filter(environment=environment)


class Event(Listing):
    """One occurrence of a series; its markets are the possible answers."""

    series_ticker = models.CharField(max_length=TICKER_LENGTH, default="")
    title = models.TextField(default="")
    sub_title = models.TextField(default="")
    category = models.TextField(default="")
    mutually_exclusive = models.BooleanField(default=False)
    fee_type_override = models.CharField(max_length=60, default="")
    fee_multiplier_override = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    strike_at = models.DateTimeField(null=True)
    exchange_index = models.IntegerField(default=0, help_text="The shard whose collateral its orders use.")

    objects: ClassVar[EventQuerySet] = EventQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "ticker"], name="event_environment_ticker"),
        ]
        indexes: ClassVar = [models.Index(fields=["environment", "series_ticker"], name="event_series")]


class MarketQuerySet(models.QuerySet["Market"]):
    """Questions about many markets."""

    def in_environment(self, environment: str) -> MarketQuerySet:
        """Keep those of one exchange."""
        return self.filter(environment=environment)

    def open(self) -> MarketQuerySet:
        """Keep those that trade now: a close by the clock comes without word from the exchange."""
        return self.filter(Q(close_at=None) | Q(close_at__gt=timezone.now()), status=Market.Status.ACTIVE)

    def search(self, text: str) -> MarketQuerySet:
        """Keep those where each word of `text` begins a word of ticker, titles or answer; no word keeps all."""
        words = search_words(text)
        if not words:
            return self
        if connections[self.db].vendor == "sqlite":
            query = " ".join(f'"{word}"*' for word in words)
            rows = "SELECT rowid FROM markets_market_search WHERE markets_market_search MATCH %s"
            return self.filter(pk__in=RawSQL(rows, [query]))  # noqa: S611  (the words are a parameter)
        query = " & ".join(f"'{word}':*" for word in words)
        rows = "SELECT id FROM markets_market WHERE to_tsvector('simple', search_text) @@ to_tsquery('simple', %s)"
        return self.filter(pk__in=RawSQL(rows, [query]))  # noqa: S611

    def closing_soon(self) -> MarketQuerySet:
        """Open markets, the next to close first."""
        return self.open().exclude(close_at=None).order_by("close_at", "ticker")

    def by_activity(self) -> MarketQuerySet:
        """Busiest of the last 24 hours first."""
        return self.order_by("-volume_24h", "ticker")


class Market(Listing):
    """One yes-or-no question with its own order book."""

    class Status(models.TextChoices):
        """The exchange's words, and one of ours for what it no longer lists."""

        INITIALIZED = "initialized", "Not open yet"
        ACTIVE = "active", "Open"
        INACTIVE = "inactive", "Paused"
        CLOSED = "closed", "Closed"
        DETERMINED = "determined", "Result known"
        DISPUTED = "disputed", "Result disputed"
        AMENDED = "amended", "Result amended"
        FINALIZED = "finalized", "Settled"
        UNLISTED = "unlisted", "No longer listed"

    event_ticker = models.CharField(max_length=TICKER_LENGTH)
    series_ticker = models.CharField(max_length=TICKER_LENGTH, default="")
    title = models.TextField(default="")
    subtitle = models.TextField(default="")
    yes_sub_title = models.TextField(default="")
    no_sub_title = models.TextField(default="")
    search_text = models.TextField(default="", help_text="Words of ticker, titles and answer, lower case.")
    status = models.CharField(max_length=20, choices=Status)
    open_at = models.DateTimeField(null=True)
    close_at = models.DateTimeField(null=True)
    expected_expiration_at = models.DateTimeField(null=True)
    can_close_early = models.BooleanField(default=False)
    price_level_structure = models.CharField(max_length=60, default="")
    price_ranges = models.JSONField(default=list, help_text="[[start, end, step], …] in $0.0001.")
    rules_primary = models.TextField(default="")
    rules_secondary = models.TextField(default="")
    result = models.CharField(max_length=20, default="")
    settlement_value = models.IntegerField(null=True, help_text="Of one YES contract, $0.0001.")
    exchange_index = models.IntegerField(default=0, help_text="The shard whose collateral its orders use.")
    fee_waiver_until = models.DateTimeField(null=True)
    is_replay = models.BooleanField(default=False, help_text="A taped market of the sandbox: it can only be watched.")

    # As of `quoted_at`; the relay's tops are the live ones. Null: nobody bids, nobody asks, never traded.
    yes_bid = models.IntegerField(null=True)
    yes_ask = models.IntegerField(null=True)
    yes_bid_size = models.BigIntegerField(null=True)
    yes_ask_size = models.BigIntegerField(null=True)
    last_price = models.IntegerField(null=True)
    previous_price = models.IntegerField(null=True, help_text="A day before.")
    volume = models.BigIntegerField(default=0)
    volume_24h = models.BigIntegerField(default=0)
    open_interest = models.BigIntegerField(default=0)
    quoted_at = models.DateTimeField(null=True)

    objects: ClassVar[MarketQuerySet] = MarketQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "ticker"], name="market_environment_ticker"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["environment", "event_ticker"], name="market_event"),
            models.Index(fields=["environment", "series_ticker"], name="market_series"),
            models.Index(fields=["environment", "status", "close_at"], name="market_closing"),
            models.Index(fields=["environment", "status", "-volume_24h", "ticker"], name="market_activity"),
        ]

    @property
    def grid(self) -> PriceGrid:
        """The prices an order may have here; the ranges decide, their label is only a label."""
        from markets.kalshi.prices import PriceGrid

        return PriceGrid.from_ranges(self.price_ranges)

    @property
    def name(self) -> str:
        """The short label in a list of the event's answers."""
        return self.yes_sub_title or self.subtitle or self.title or self.ticker

    @property
    def is_open(self) -> bool:
        """Say whether it trades now."""
        return self.status == self.Status.ACTIVE and (self.close_at is None or self.close_at > timezone.now())

    @property
    def status_label(self) -> str:
        """The state in words, by the clock where the exchange sends no word of it."""
        if self.status == self.Status.ACTIVE and not self.is_open:
            return self.Status.CLOSED.label
        try:
            return str(self.Status(self.status).label)
        except ValueError:
            return self.status


class CatalogueRun(models.Model):
    """One pass of a sync over one of the exchange's lists, written as it goes."""

    class Kind(models.TextChoices):
        """Which list was read."""

        SERIES = "series", "Series"
        EVENTS = "events", "Events"
        MARKETS = "markets", "Open markets"
        CHANGES = "changes", "Changed markets"
        SWEEP = "sweep", "Markets that closed"

    environment = models.CharField(max_length=10, choices=Environment)
    kind = models.CharField(max_length=10, choices=Kind)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    pages = models.IntegerField(default=0)
    rows_seen = models.IntegerField(default=0)
    rows_written = models.IntegerField(default=0, help_text="Rows whose description was new or changed.")
    rows_quoted = models.IntegerField(default=0, help_text="Rows of which only the quote changed.")
    error = models.TextField(default="")

    class Meta:
        get_latest_by = "started_at"
        indexes: ClassVar = [models.Index(fields=["environment", "-started_at"], name="run_latest")]

    def __str__(self) -> str:
        return f"{self.environment} {self.kind} {self.started_at:%Y-%m-%d %H:%M:%S}"


class CatalogueClaim(models.Model):
    """Who syncs an environment now, and how far the last complete passes came.

    A sync takes the claim by compare-and-set and lets it lapse by time, so two schedules are harmless
    and a killed worker blocks nobody for long.
    """

    environment = models.CharField(max_length=10, choices=Environment, primary_key=True)
    claimed_until = models.DateTimeField(null=True)
    described_at = models.DateTimeField(null=True, help_text="Start of the last complete pass over series and events.")
    listed_at = models.DateTimeField(null=True, help_text="Start of the last complete pass over open markets.")
    changes_from = models.DateTimeField(null=True, help_text="Changes up to here are known.")

    def __str__(self) -> str:
        return self.environment


class KeptLook(models.Model):
    """A stretch of a market's book that is kept for good; filled by the feed once it has passed.

    `from_ms` and `to_ms` are milliseconds since 1970; what was known of the stretch may be less, or nothing.
    """

    environment = models.CharField(max_length=10, choices=Environment)
    ticker = models.CharField(max_length=TICKER_LENGTH)
    from_ms = models.BigIntegerField()
    to_ms = models.BigIntegerField()
    packed = models.BinaryField(default=bytes, help_text="Pieces of markets.reels, as one list.")
    kept_at = models.DateTimeField(null=True, help_text="When it was filled.")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["environment", "ticker", "from_ms"], name="look_stretch"),
            models.Index(fields=["environment", "to_ms"], name="look_due", condition=Q(kept_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.ticker} {self.from_ms}–{self.to_ms}"

    @property
    def pieces(self) -> list[bytes]:
        """The pieces as `markets.reels.replay` takes them."""
        packed = bytes(self.packed)
        found: list[bytes] = msgspec.msgpack.decode(packed) if packed else []
        return found
