"""What survives a restart: the whole exchange, keys and usage levels, as one JSON value in one row of an SQLite file.

A save is one transaction, so a killed process loses what came after the last one and never has half of it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from markets.sandbox import auth
from markets.sandbox.auth import ApiKey
from markets.sandbox.limits import TIERS, Allowance
from markets.sandbox.venue import Venue

SCHEMA = "CREATE TABLE IF NOT EXISTS venue (id INTEGER PRIMARY KEY CHECK (id = 1), saved BLOB NOT NULL)"
WRITE = "INSERT INTO venue (id, saved) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET saved = excluded.saved"
IDLE_SECONDS = 10.0  # books that only the house moved are saved this seldom


class BadState(Exception):
    """The file is not a state of this exchange."""


class Keeper:
    """Saves one venue to one file."""

    def __init__(self, venue: Venue, path: Path) -> None:
        self._venue = venue
        self._path = path
        self._saved_at = 0.0
        self._saved_marks: tuple[object, ...] = ()
        self._writing: asyncio.Future[None] | None = None

    def load(self) -> bool:
        """Bring back what was saved into a venue that is still empty; False when there is nothing. Raises BadState."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(self._connect()) as connection:
                row = connection.execute("SELECT saved FROM venue").fetchone()
            if row is None:
                return False
            self._restore(msgspec.json.decode(row[0]))
        except (sqlite3.DatabaseError, msgspec.DecodeError, KeyError, ValueError) as exc:
            raise BadState(f"{self._path} cannot be read as the state of a local exchange: {exc}") from exc
        return True

    def save(self) -> None:
        """Write the state now; blocks."""
        self._write(self._encoded())

    def save_if_changed(self, now: float) -> None:
        """Write the state in the background if a member's papers or keys changed, or enough time has passed.

        Called about once a second from the event loop; encoding takes some milliseconds there, writing none.
        """
        if self._writing is not None and not self._writing.done():
            return
        marks = self._marks()
        if marks == self._saved_marks and now - self._saved_at < IDLE_SECONDS:
            return
        self._saved_marks, self._saved_at = marks, now
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._write, self._encoded())

    def _marks(self) -> tuple[object, ...]:
        venue = self._venue
        tiers = tuple((member, allowance.tier.name) for member, allowance in venue.allowances.items())
        return venue.publisher.changes_of_members, tuple(venue.signatures.keys), tiers, venue.changes

    # --- to and from JSON ----------------------------------------------------------------------------

    def _encoded(self) -> bytes:
        venue = self._venue
        return msgspec.json.encode(
            {
                "exchange": venue.exchange.export_state(),
                "keys": [_key_row(key) for key in venue.signatures.keys.values()],
                "tiers": {member: allowance.tier.name for member, allowance in venue.allowances.items()},
            }
        )

    def _restore(self, saved: dict[str, Any]) -> None:
        venue = self._venue
        venue.exchange.import_state(saved["exchange"])
        venue.reindex()
        for row in saved["keys"]:
            venue.signatures.add(_key_of(row))
        for member, tier in saved["tiers"].items():
            venue.allowances[member] = Allowance(TIERS[tier])

    # --- the file ------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(SCHEMA)
        return connection

    def _write(self, saved: bytes) -> None:
        with closing(self._connect()) as connection, connection:
            connection.execute(WRITE, (saved,))


def _key_row(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "member": key.member,
        "name": key.name,
        "scopes": list(key.scopes),
        "subaccount": key.subaccount,
        "public_key": key.public_pem(),
    }


def _key_of(row: dict[str, Any]) -> ApiKey:
    return ApiKey(
        row["key_id"],
        row["member"],
        row["name"],
        tuple(row["scopes"]),
        auth.load_public(row["public_key"]),
        row["subaccount"],
    )
