"""The chain grows by one row at a time, whoever writes at once; PostgreSQL guards it against emptying as well."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction

from tests import servers
from trading import audit, chain
from trading.models import AuditEntry, Team

ROOT = Path(__file__).resolve().parent.parent.parent
WRITERS, ROWS_EACH = 50, 4


@pytest.mark.django_db(transaction=True)
def test_fifty_writers_at_once_fork_nothing(team: Team, other_team: Team) -> None:
    barrier, failures = threading.Barrier(WRITERS), []

    def write(index: int) -> None:
        barrier.wait()
        try:
            for _ in range(ROWS_EACH):
                with transaction.atomic():
                    audit.record("limits.changed", None, team=team if index % 5 else other_team)
        except DatabaseError as exc:
            failures.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(index,)) for index in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert chain.verify(team) == chain.Verdict(True, 160)
    assert chain.verify(other_team) == chain.Verdict(True, 40)
    assert AuditEntry.objects.values("team", "previous_hash").distinct().count() == 200


def test_the_guards_of_the_table_stand(db: None) -> None:
    assert chain.missing_triggers() == set()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's triggers are there or not")
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("way", "gone"),
    [
        ("DISABLE TRIGGER", {"trading_auditentry_no_change"}),
        ("ENABLE REPLICA TRIGGER", {"trading_auditentry_no_change"}),
        ("ENABLE TRIGGER", set()),
        ("ENABLE ALWAYS TRIGGER", set()),
    ],
)
def test_a_guard_that_never_fires_in_a_usual_session_is_gone(way: str, gone: set[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE trading_auditentry {way} trading_auditentry_no_change")

    assert chain.missing_triggers() == gone


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no TRUNCATE")
@pytest.mark.django_db
def test_the_table_cannot_be_emptied_at_a_stroke(team: Team) -> None:
    audit.record("limits.changed", None, team=team)

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("TRUNCATE trading_auditentry")

    assert AuditEntry.objects.count() == 1


# --- the same on PostgreSQL ----------------------------------------------------------------------------------------


@pytest.mark.long
def test_people_and_record_keep_their_word_on_postgresql() -> None:
    names = ["audit", "chain", "checkpoints", "people", "invitations", "evidence", "permissions", "sessions"]
    names += ["record_page", "archive", "archive_broken", "archive_file", "archive_page", "matrix"]
    names += ["lost_factor", "own_limits", "team_settings", "step_up", "session_rows", "factor_changes", "guesses"]
    files = [f"tests/trading/test_{name}.py" for name in names]
    with servers.postgresql() as database_url:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "not long", "-p", "no:cacheprovider", *files],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url},
            capture_output=True,
            text=True,
            check=False,
        )

    assert run.returncode == 0, run.stdout[-6_000:]
