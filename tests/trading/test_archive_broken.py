"""Partly archived records that were bent, rows and the rows of archives: each is found and named, or refused."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from pytest_django.fixtures import Settings

from tests.trading import archives
from tests.trading.tampering import WAYS, recompute, run, without_guards
from trading import archive, audit, chain, checkpoints
from trading.checkpoints import CheckpointRefused
from trading.models import Archive, AuditEntry, Team


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, tmp_path: Path) -> Path:
    """Keep the key and the file of checkpoints of each test apart."""
    settings.KALSHIWEB_DATA_DIR = tmp_path / "data"
    settings.KALSHIWEB_DATA_DIR.mkdir()
    return tmp_path / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where archives go."""
    (tmp_path / "archives").mkdir()
    return tmp_path / "archives"


@pytest.fixture
def archived(team: Team, alice: User, folder: Path) -> Team:
    """Write twelve rows and archive the first five; row 13 tells of that, all is signed."""
    archives.write(team, alice, 5, day=20)
    archives.write(team, alice, 7, day=22)
    archives.archive(folder, through=5)
    return team


def found(team: Team) -> tuple[bool, int | None]:
    verdict = checkpoints.verify(team)
    return verdict.is_whole, verdict.number


# --- rows that are in the database -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_bend_the_rest_of_the_record_is_found_and_the_row_is_named(archived: Team, way: str) -> None:
    with without_guards():
        WAYS[way](archived, 9)

    assert found(archived) == (False, 9)
    with pytest.raises(CommandError, match=r"row 9 is bad, .*; 3 rows before it hold"):
        archives.verify()


@pytest.mark.parametrize("way", ["edit", "delete", "cut", "reorder"])
def test_the_first_row_after_the_archive_is_guarded_as_well(archived: Team, way: str) -> None:
    with without_guards():
        WAYS[way](archived, 6)

    assert found(archived) == (False, 6)


def test_a_chain_computed_anew_after_the_archive_is_seen_by_the_checkpoints_alone(archived: Team) -> None:
    with without_guards():
        recompute(archived, 9)

    assert audit.verify(archived) == chain.Verdict(True, 8, archived=5)
    assert found(archived) == (False, 9)


def test_a_row_put_in_among_the_archived_ones_is_found(archived: Team) -> None:
    entry = AuditEntry.objects.get(number=6)
    with without_guards():
        run("UPDATE trading_auditentry SET number = 3 WHERE id = %s", entry.pk)

    assert found(archived) == (False, 3)


# --- rows of archives --------------------------------------------------------------------------------------------


def forge(team: Team, first: int, through: int, **said: Any) -> Archive:
    """Put an archive in with an entry that tells of it, and take its rows away: all without touching a guard."""
    end, start = (AuditEntry.objects.get(team=team, number=number) for number in (through, first))
    last = Archive.objects.of(team).last()
    said = {"signature": "ab" * 64, "previous": last.signature if last else "", **said}
    forged = Archive.objects.create(
        team=team,
        first=first,
        through=through,
        previous_hash=start.previous_hash,
        hash=end.hash,
        since=start.at,
        until=end.at,
        at=timezone.now(),
        file="gone.zip",
        digest="0" * 64,
        **said,
    )
    audit.record("audit.archived", None, team=team, subject=forged, facts=forged.facts)
    assert AuditEntry.objects.move_out(forged) == through - first + 1
    return forged


def test_a_forged_archive_is_found_and_its_first_row_is_named(archived: Team) -> None:
    forge(archived, 6, 12)

    assert audit.verify(archived) == chain.Verdict(True, 2, archived=12)  # the chain alone believes it
    assert found(archived) == (False, 6)
    with pytest.raises(CommandError, match="row 6 is bad, its archive was not signed with this desk's key"):
        archives.verify()


def test_the_signature_of_a_real_archive_does_not_make_a_forged_one(archived: Team) -> None:
    forge(archived, 6, 12, signature=Archive.objects.get().signature)

    assert found(archived) == (False, 6)


def test_a_forged_archive_of_a_record_without_one_is_found(team: Team, alice: User) -> None:
    archives.write(team, alice, 8, day=20)
    forge(team, 1, 5)

    assert found(team) == (False, 1)


def test_nothing_is_signed_on_top_of_a_forged_archive(archived: Team, data_dir: Path) -> None:
    lines = (data_dir / checkpoints.FILE).read_text()
    forge(archived, 6, 12)

    with pytest.raises(CheckpointRefused, match="nothing is signed"):
        checkpoints.make(archived)
    assert (data_dir / checkpoints.FILE).read_text() == lines


def test_an_archive_that_no_checkpoint_ends_at_is_found_though_it_is_signed(team: Team, alice: User) -> None:
    archives.write(team, alice, 8, day=20)
    start, end = (AuditEntry.objects.get(number=number) for number in (1, 5))
    said = Archive(team=team, first=1, through=5, hash=end.hash, since=start.at, until=end.at, at=end.at, file="f.zip")
    said.digest = "0" * 64
    said.signature = checkpoints.sign(said.statement).hex()
    said.save()
    audit.record("audit.archived", None, team=team, subject=said, facts=said.facts)
    AuditEntry.objects.move_out(said)

    verdict = checkpoints.verify(team)

    assert (verdict.number, verdict.why) == (1, "its archive does not end at a signed checkpoint")


@pytest.mark.parametrize(
    "change",
    [
        "file = 'other.zip'",
        "digest = 'ff'",
        "through = 6",
        "first = 2",
        "hash = 'ff'",
        "previous_hash = 'ff'",
        "since = until",
        "at = since",
        "previous = 'ff'",
        "signature = ''",
    ],
)
def test_a_changed_row_of_an_archive_is_found(team: Team, alice: User, folder: Path, change: str) -> None:
    archives.write(team, alice, 3, day=19)
    archives.write(team, alice, 2, day=20)
    archives.archive(folder, through=5)
    with without_guards():
        run(f"UPDATE trading_archive SET {change}")  # noqa: S608  (from the list above)

    verdict = checkpoints.verify(team)

    assert not verdict.is_whole
    assert verdict.number in {1, 2}  # where the archive begins, as its row says


def test_an_archive_taken_out_leaves_a_hole(archived: Team) -> None:
    with without_guards():
        run("DELETE FROM trading_archive")

    assert found(archived) == (False, 1)


def test_an_entry_that_tells_otherwise_of_an_archive_is_found(archived: Team) -> None:
    made = Archive.objects.get()
    audit.record("audit.archived", None, team=archived, subject=made, facts={**made.facts, "digest": "0" * 64})

    verdict = checkpoints.verify(archived)

    assert (verdict.number, verdict.why) == (1, "the record tells otherwise of its archive")


def test_an_archive_of_which_no_entry_tells_is_found(team: Team, alice: User, folder: Path) -> None:
    archives.write(team, alice, 5, day=20)
    archive.make(archive.span(team, through=5), folder)
    with without_guards():
        WAYS["cut"](team, 6)

    verdict = checkpoints.verify(team)

    assert (verdict.number, verdict.why) == (1, "no entry of the record tells of its archive")
    assert audit.verify(team) == verdict


# --- what the database itself refuses ----------------------------------------------------------------------------


def refused(statement: str, *values: str | int, why: str = "append-only") -> bool:
    with pytest.raises(DatabaseError, match=why), transaction.atomic():
        run(statement, *values)
    return True


def test_the_database_lets_no_row_go_that_is_in_no_archive(archived: Team, other_team: Team) -> None:
    for _ in range(6):
        audit.record("limits.changed", None, team=other_team)

    assert refused("DELETE FROM trading_auditentry")
    assert refused("DELETE FROM trading_auditentry WHERE number = 6")
    assert refused("DELETE FROM trading_auditentry WHERE number = 3")  # of the other team
    assert refused("UPDATE trading_auditentry SET action = 'x' WHERE number = 6")
    assert AuditEntry.objects.count() == 14
    assert chain.missing_triggers() == set()


def test_an_archive_of_which_the_record_does_not_tell_lets_no_row_go(archived: Team) -> None:
    end = AuditEntry.objects.get(number=12)
    said = Archive.objects.create(
        team=archived, first=6, through=12, hash=end.hash, since=end.at, until=end.at, at=end.at, file="f", digest="d"
    )
    audit.record("audit.archived", None, team=archived, facts=said.facts)  # of no archive
    audit.record("limits.changed", None, team=archived, subject=said)  # tells something else

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.move_out(said)


def test_the_database_keeps_archives_as_they_are(archived: Team) -> None:
    assert refused("UPDATE trading_archive SET file = 'x'")
    assert refused("UPDATE trading_archive SET through = 12")
    assert refused("DELETE FROM trading_archive")


@pytest.mark.parametrize(
    ("first", "through", "hash_of"), [(6, 12, 11), (7, 12, 12), (1, 12, 12), (1, 5, 6), (6, 5, 6), (6, 99, 12)]
)
def test_the_database_takes_no_archive_that_is_not_of_the_oldest_rows(
    archived: Team, first: int, through: int, hash_of: int
) -> None:
    end = AuditEntry.objects.get(number=hash_of)
    said = Archive(team=archived, first=first, through=through, hash=end.hash, since=end.at, until=end.at, at=end.at)

    with pytest.raises(DatabaseError, match="the oldest rows"), transaction.atomic():
        said.save()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="INSERT OR REPLACE is SQLite's")
@pytest.mark.parametrize("by", ["id", "number"])
def test_a_row_is_not_replaced_by_another(archived: Team, by: str) -> None:
    row = "id" if by == "id" else "id + 100"
    columns = "team_id, number, at, environment, actor_id, actor_name, subject, facts, previous_hash, hash"
    replaced = f"SELECT {row}, 'x', {columns} FROM trading_auditentry WHERE number = 7"  # noqa: S608

    assert refused(f"INSERT OR REPLACE INTO trading_auditentry (id, action, {columns}) {replaced}")
    columns = "team_id, first, through, previous_hash, hash, since, until, at, file, previous, signature"
    replaced = f"SELECT {row}, 'x', {columns} FROM trading_archive"  # noqa: S608
    assert refused(f"INSERT OR REPLACE INTO trading_archive (id, digest, {columns}) {replaced}", why="the oldest rows")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no TRUNCATE")
def test_neither_table_can_be_emptied_at_a_stroke(archived: Team) -> None:
    run("SET CONSTRAINTS ALL IMMEDIATE")

    assert refused("TRUNCATE trading_auditentry")
    assert refused("TRUNCATE trading_archive")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's triggers see their own database alone")
def test_a_temporary_table_does_not_stand_in_for_the_archives(archived: Team) -> None:
    run("SET CONSTRAINTS ALL IMMEDIATE")
    run("CREATE TEMPORARY TABLE trading_archive AS SELECT * FROM trading_archive")
    run("UPDATE pg_temp.trading_archive SET first = 6, through = 12")

    assert refused("DELETE FROM trading_auditentry WHERE number = 6")


@pytest.mark.django_db(transaction=True)
def test_the_table_of_archives_is_given_up_only_while_there_are_none(team: Team, alice: User, folder: Path) -> None:
    migration = import_module("trading.migrations.0005_archive")
    with connection.schema_editor() as editor:
        migration.forbid_all_changes(apps, editor)
    archives.write(team, alice, 5, day=20)
    assert refused("DELETE FROM trading_auditentry")  # the guards of before
    with connection.schema_editor() as editor:
        migration.forbid_changes(apps, editor)
    archives.archive(folder, through=5)

    with pytest.raises(RuntimeError, match="has archives"), connection.schema_editor() as editor:
        migration.forbid_all_changes(apps, editor)
    assert chain.missing_triggers() == set()
