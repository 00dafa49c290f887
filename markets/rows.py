"""Writes catalogue rows without standing in an order's way.

SQLite has one writer at a time, and an order commits three times before it has left: a bulk write is
therefore cut into pieces of a few milliseconds under the lock, with pauses of at least five times that
between them. Only rows that differ are written, by raw upsert on the natural key, which works alike on
SQLite and PostgreSQL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from django.db import connection, models, transaction

from markets.models import Event, Market, Series

KEY = ("environment", "ticker")
QUOTE_COLUMNS = (
    "yes_bid",
    "yes_ask",
    "yes_bid_size",
    "yes_ask_size",
    "last_price",
    "previous_price",
    "volume",
    "volume_24h",
    "open_interest",
)
_OWN = {"id", "environment", "ticker", "digest", "synced_at", "quoted_at", *QUOTE_COLUMNS}

FIRST_PIECE_ROWS = 50
MAX_PIECE_ROWS = 250
PIECE_SECONDS = 0.008  # aim below the 10 ms that others may have to wait
PAUSE_FACTOR = 5

Values = tuple[Any, ...]


def described_columns(model: type[models.Model]) -> tuple[str, ...]:
    """Return the columns in which the exchange describes a row: all but key, quotes and our own marks."""
    return tuple(column.name for column in model._meta.concrete_fields if column.name not in _OWN)


COLUMNS: dict[type[models.Model], tuple[str, ...]] = {
    model: described_columns(model) for model in (Series, Event, Market)
}


def digest(values: Values) -> str:
    """Return a digest of a row's described values, in the order of its columns."""
    return blake2b(repr(values).encode(), digest_size=16).hexdigest()


@dataclass
class Pieces:
    """Cuts writes into pieces whose size follows the time that the last one took."""

    rows: int = FIRST_PIECE_ROWS
    clock: Callable[[], float] = time.perf_counter
    pause: Callable[[float], object] = time.sleep
    longest_seconds: float = field(default=0.0, init=False)

    def run(self, statement: str, parameters: Sequence[Values]) -> int:
        """Execute `statement` for each row of parameters; return how many rows that were."""
        done = 0
        while done < len(parameters):
            piece = parameters[done : done + self.rows]
            started = self.clock()
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.executemany(statement, piece)
            took = self.clock() - started
            done += len(piece)
            self.longest_seconds = max(self.longest_seconds, took)
            self._learn(took, len(piece))
            if connection.vendor == "sqlite":  # elsewhere writers of different rows do not wait for each other
                self.pause(PAUSE_FACTOR * took)
        return done

    def _learn(self, took: float, rows: int) -> None:
        fitting = int(rows * PIECE_SECONDS / max(took, 1e-6))
        self.rows = max(10, min(MAX_PIECE_ROWS, fitting, self.rows * 2))


def upsert(model: type[models.Model], rows: Iterable[Values], pieces: Pieces) -> int:
    """Write rows of (environment, ticker, *described, digest, synced_at); new ones and changed ones alike."""
    columns = (*KEY, *COLUMNS[model], "digest", "synced_at")
    return pieces.run(_upsert_statement(model, columns), _adapted(model, columns, rows))


def update_quotes(rows: Iterable[Values], pieces: Pieces) -> int:
    """Write rows of (environment, ticker, *quotes, quoted_at) onto markets that exist."""
    columns = (*QUOTE_COLUMNS, "quoted_at")
    names = ", ".join(f"{_name(Market, column)} = %s" for column in columns)
    statement = f"UPDATE {_table(Market)} SET {names} WHERE environment = %s AND ticker = %s"  # noqa: S608
    found = _adapted(Market, (*KEY, *columns), rows)
    return pieces.run(statement, [(*row[2:], row[0], row[1]) for row in found])


def _upsert_statement(model: type[models.Model], columns: tuple[str, ...]) -> str:
    # A column that only we fill starts at its model's default, which the database does not know.
    defaults = [(f.name, f.get_default()) for f in model._meta.concrete_fields if f.name not in {"id", *columns}]
    given = [(name, value) for name, value in defaults if value is not None]
    names = ", ".join(_name(model, column) for column in (*columns, *(name for name, _ in given)))
    marks = ", ".join(["%s"] * len(columns) + [str(int(value)) for _, value in given])
    updates = ", ".join(f"{_name(model, c)} = EXCLUDED.{_name(model, c)}" for c in columns if c not in KEY)
    return (
        f"INSERT INTO {_table(model)} ({names}) VALUES ({marks}) "  # noqa: S608
        f"ON CONFLICT (environment, ticker) DO UPDATE SET {updates}"
    )


def _adapted(model: type[models.Model], columns: tuple[str, ...], rows: Iterable[Values]) -> list[Values]:
    prepare = [model._meta.get_field(column).get_db_prep_save for column in columns]  # type: ignore[union-attr]
    return [tuple(each(value, connection) for each, value in zip(prepare, row, strict=True)) for row in rows]


def _table(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _name(model: type[models.Model], column: str) -> str:
    return connection.ops.quote_name(str(model._meta.get_field(column).column))  # type: ignore[union-attr]
