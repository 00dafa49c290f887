"""Archives: the oldest rows go into a signed file, the chain goes on from it, and what is refused changes nothing."""

from __future__ import annotations

import json
import os
import resource
import stat
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.db import connection, transaction
from pytest_django.fixtures import Settings

from tests.trading import archives
from tests.trading.archives import NAME, check_alone
from tests.trading.tampering import WAYS, run, without_guards
from trading import archive as archive_module
from trading import audit, chain, checkpoints
from trading.archive import ArchiveRefused
from trading.models import AppendOnly, Archive, AuditEntry, Team


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
def signed(team: Team, alice: User) -> Team:
    """Write rows 1 to 5 on the 20th and 6 to 12 on the 22nd; a checkpoint ends at 5 and at 12."""
    archives.write(team, alice, 5, day=20)
    archives.write(team, alice, 7, day=22)
    return team


def numbers(team: Team) -> list[int]:
    return list(AuditEntry.objects.filter(team=team).order_by("number").values_list("number", flat=True))


def test_rows_go_into_a_file_and_the_chain_goes_on_from_it(signed: Team, alice: User, folder: Path) -> None:
    hashes = dict(chain.hashes(signed))

    said = archives.archive(folder, through=5)
    audit.record("limits.changed", alice, team=signed)

    assert f"north-desk: rows 1–5 archived in {NAME}" in said
    assert numbers(signed) == [6, 7, 8, 9, 10, 11, 12, 13, 14]
    assert checkpoints.verify(signed) == audit.verify(signed) == chain.Verdict(True, 9, archived=5)
    made = Archive.objects.get()
    assert (made.first, made.through, made.previous_hash, made.hash, made.file) == (1, 5, "", hashes[5], NAME)
    assert made.since.date().isoformat() == "2026-11-20"


def test_the_archive_holds_without_the_desk(signed: Team, folder: Path) -> None:
    archives.archive(folder, through=5)

    run = check_alone(folder / NAME)

    assert run.returncode == 0, run.stdout
    assert "HOLDS: 5 entries of North desk, rows 1 to 5." in run.stdout
    assert checkpoints.fingerprint() in run.stdout


def test_the_archive_has_the_rows_as_they_were(signed: Team, folder: Path) -> None:
    before = list(AuditEntry.objects.filter(number__lte=5).order_by("number"))

    archives.archive(folder, through=5)

    with zipfile.ZipFile(folder / NAME) as packed:
        rows = [json.loads(line) for line in packed.read("record/entries.jsonl").splitlines()]
        manifest = json.loads(packed.read("record/manifest.json"))
    assert [row["row"]["number"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["row"]["facts"] for row in rows] == [{"number": number} for number in range(5)]
    assert [(row["previous_hash"], row["hash"]) for row in rows] == [(row.previous_hash, row.hash) for row in before]
    assert [manifest["archive"][name] for name in ("first", "through", "count", "previous_hash", "checkpoints")] == [
        1,
        5,
        5,
        "",
        1,
    ]
    assert manifest["archive"]["last_checkpoint"] == next(checkpoints.of(signed)).signature
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600


def test_archiving_is_an_entry_of_the_record(signed: Team, folder: Path) -> None:
    archives.archive(folder, through=5)

    entry = AuditEntry.objects.get(action="audit.archived")
    archive = Archive.objects.get()
    assert (entry.number, entry.actor, entry.subject) == (13, None, f"archive:{archive.pk}")
    assert entry.facts.pop("host")
    assert entry.facts.pop("person")
    assert entry.facts == {
        "first": 1,
        "through": 5,
        "hash": archive.hash,
        "file": NAME,
        "digest": archive.digest,
        "directory": str(folder),
        "command": "audit_archive",
    }
    assert list(checkpoints.of(signed))[-1].number == 13


@pytest.mark.parametrize(
    ("day", "through"), [("2026-11-21", 5), ("2026-11-22", 5), ("2026-11-23", 12), ("2099-01-01", 12)]
)
def test_a_day_is_rounded_down_to_a_checkpoint(signed: Team, folder: Path, day: str, through: int) -> None:
    archives.archive(folder, before=day)

    assert Archive.objects.get().through == through


def test_a_second_archive_follows_the_first(signed: Team, alice: User, folder: Path) -> None:
    archives.archive(folder, through=5)
    archives.archive(folder, through=12)
    archives.write(signed, alice, 2, day=24)
    archives.archive(folder, through=13)  # the entry that tells of the first

    first, second, third = Archive.objects.of(signed)
    assert [(a.first, a.through, a.previous_hash, a.previous) for a in (first, second, third)] == [
        (1, 5, "", ""),
        (6, 12, first.hash, first.signature),
        (13, 13, second.hash, second.signature),
    ]
    assert numbers(signed) == [14, 15, 16, 17]
    assert checkpoints.verify(signed) == chain.Verdict(True, 4, archived=13)
    for name in (NAME, "record-north-desk-6-12.zip", "record-north-desk-13-13.zip"):
        assert check_alone(folder / name).returncode == 0
        assert "hold and join the record" in archives.verify("--archive", str(folder / name))


def test_all_signed_rows_of_one_team_leave_those_of_another(signed: Team, other_team: Team, folder: Path) -> None:
    audit.record("limits.changed", None, team=other_team)

    archives.archive(folder, through=12)

    assert (numbers(signed), numbers(other_team)) == ([13], [1])
    assert checkpoints.verify(signed) == chain.Verdict(True, 1, archived=12)
    assert checkpoints.verify(other_team) == chain.Verdict(True, 1)


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.fixture
def unchanged(signed: Team, folder: Path) -> Callable[[], bool]:
    """Return what says whether rows, archives and files are as they were."""
    rows = list(AuditEntry.objects.order_by("pk").values_list())

    def is_unchanged() -> bool:
        kept = list(AuditEntry.objects.order_by("pk").values_list()) == rows
        return kept and not Archive.objects.exists() and not list(folder.iterdir())

    return is_unchanged


@pytest.mark.parametrize("way", WAYS)
def test_a_record_that_does_not_hold_is_not_archived(signed: Team, folder: Path, way: str) -> None:
    with without_guards():
        WAYS[way](signed, 3)

    with pytest.raises(CommandError, match="does not hold: row 3 is bad"):
        archives.archive(folder, through=5)
    assert not Archive.objects.exists()
    assert not list(folder.iterdir())


def test_a_changed_file_of_checkpoints_lets_nothing_go(
    signed: Team, folder: Path, data_dir: Path, unchanged: Callable[[], bool]
) -> None:
    path = data_dir / checkpoints.FILE
    path.write_text(path.read_text().replace('"number":5', '"number":4'))

    with pytest.raises(CommandError, match=r"Line 1 of audit\.checkpoints\.jsonl was not signed"):
        archives.archive(folder, through=5)
    assert unchanged()


@pytest.mark.parametrize(
    ("through", "before", "sentence"),
    [
        (7, "", "No signed checkpoint ends at row 7; the last one before it ends at row 5."),
        (3, "", "No signed checkpoint ends at row 3; none ends before it."),
        (99, "", "No signed checkpoint ends at row 99; the last one before it ends at row 12."),
        (0, "", "No signed checkpoint ends at row 0; none ends before it."),
        (None, "2026-11-20", "No signed checkpoint ends after row 0 and before that day."),
    ],
)
def test_where_no_checkpoint_ends_nothing_is_archived(
    folder: Path, unchanged: Callable[[], bool], through: int | None, before: str, sentence: str
) -> None:
    with pytest.raises(CommandError) as caught:
        archives.archive(folder, through=through, before=before)
    assert str(caught.value) == sentence
    assert unchanged()


def test_what_is_archived_is_not_archived_again(signed: Team, folder: Path) -> None:
    archives.archive(folder, through=5)

    for how in ({"through": 5}, {"through": 4}, {"before": "2026-11-22"}):
        with pytest.raises(CommandError, match=r"in an archive already|ends after row 5"):
            archives.archive(folder, **how)
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_a_file_that_is_there_is_never_replaced(signed: Team, folder: Path) -> None:
    (folder / NAME).write_text("something else")

    with pytest.raises(CommandError, match="exists already and is never replaced"):
        archives.archive(folder, through=5)
    assert (folder / NAME).read_text() == "something else"
    assert numbers(signed) == list(range(1, 13))


def test_a_folder_that_is_none_is_refused(folder: Path, unchanged: Callable[[], bool]) -> None:
    with pytest.raises(CommandError, match=r"cannot be written to .*: No such file or directory"):
        archives.archive(folder / "nowhere", through=5)
    assert unchanged()


def test_a_disk_that_takes_no_more_lets_nothing_go(folder: Path, unchanged: Callable[[], bool]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
    try:
        with pytest.raises(CommandError, match=r"cannot be written to .*: File too large"):
            archives.archive(folder, through=5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert unchanged()


def test_a_disk_that_does_not_sync_lets_nothing_go(
    folder: Path, unchanged: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(CommandError, match=r"cannot be written to .*: Input/output error"):
        archives.archive(folder, through=5)
    assert unchanged()


def test_a_disk_that_keeps_something_else_is_found_out(
    folder: Path, unchanged: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bend(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.pwrite(descriptor, b"?", 200)

    monkeypatch.setattr(os, "fsync", bend)

    with pytest.raises(CommandError, match="reads otherwise than it was written"):
        archives.archive(folder, through=5)
    assert unchanged()


def test_rows_that_change_while_the_file_is_written_are_found_out(
    signed: Team, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bend(descriptor: int) -> None:
        run("UPDATE trading_auditentry SET actor_name = 'mallory' WHERE number = 4")

    rows = archive_module.span(signed, through=5)
    monkeypatch.setattr(os, "fsync", bend)
    with without_guards(), pytest.raises(ArchiveRefused, match="not those in the database"):
        archive_module.make(rows, folder)
    assert not list(folder.iterdir())


def test_a_missing_guard_lets_nothing_go(folder: Path, unchanged: Callable[[], bool]) -> None:
    if connection.vendor == "sqlite":
        run("DROP TRIGGER trading_auditentry_no_update")
    else:
        run("SET CONSTRAINTS ALL IMMEDIATE")
        run("ALTER TABLE trading_auditentry DISABLE TRIGGER trading_auditentry_no_change")

    with pytest.raises(CommandError, match="guards of the record are gone: trading_auditentry_no_"):
        archives.archive(folder, through=5)
    assert unchanged()


def test_where_the_entry_cannot_be_written_nothing_goes(
    folder: Path, unchanged: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor == "sqlite":
        run("CREATE TRIGGER no_more BEFORE INSERT ON trading_auditentry BEGIN SELECT RAISE(ABORT, 'full'); END")
    else:
        run("SET CONSTRAINTS ALL IMMEDIATE")
        run("ALTER TABLE trading_auditentry ADD CONSTRAINT full_ CHECK (action <> 'audit.archived') NOT VALID")

    with pytest.raises(CommandError, match=r"The database failed .*full.*: nothing was changed"):
        archives.archive(folder, through=5)
    assert unchanged()


def test_of_two_at_once_the_second_is_refused(signed: Team, folder: Path, tmp_path: Path) -> None:
    rows = archive_module.span(signed, through=5)
    archive_module.make(rows, folder)

    with pytest.raises(ArchiveRefused):
        archive_module.make(rows, tmp_path)
    assert not (tmp_path / NAME).exists()
    assert checkpoints.verify(signed) == chain.Verdict(True, 8, archived=5)


def test_a_team_that_is_none_is_refused(team: Team, folder: Path) -> None:
    with pytest.raises(CommandError, match="no team of that name"):
        archives.archive(folder, through=5, team="no-desk")


@pytest.mark.django_db(transaction=True)
def test_the_record_grows_while_it_is_archived(signed: Team, folder: Path) -> None:
    def write() -> None:
        for _ in range(10):
            with transaction.atomic():
                audit.record("limits.changed", None, team=signed)
        connection.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    archives.archive(folder, through=5)
    for thread in threads:
        thread.join()

    assert numbers(signed) == list(range(6, 54))
    assert checkpoints.verify(signed) == chain.Verdict(True, 48, archived=5)


# --- the row of an archive ---------------------------------------------------------------------------------------


def test_an_archive_is_neither_changed_nor_removed(signed: Team, folder: Path) -> None:
    archives.archive(folder, through=5)
    made = Archive.objects.get()

    with pytest.raises(AppendOnly):
        made.save()
    with pytest.raises(AppendOnly):
        made.delete()
    with pytest.raises(AppendOnly):
        Archive.objects.all().delete()
    with pytest.raises(AppendOnly):
        Archive.objects.update(file="other.zip")


def test_what_an_archive_signs_is_all_that_it_says(team: Team) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    archive = Archive(team=team, first=1, through=5, hash="aa", since=noon, until=noon, at=noon)
    archive.file, archive.digest, archive.previous, archive.previous_hash = "f.zip", "bb", "cc", "dd"

    assert json.loads(archive.statement) == {
        "kind": "archive",
        "team": str(team.pk),
        "first": 1,
        "through": 5,
        "hash": "aa",
        "previous_hash": "dd",
        "since": "2026-11-20T12:00:00+00:00",
        "until": "2026-11-20T12:00:00+00:00",
        "at": "2026-11-20T12:00:00+00:00",
        "file": "f.zip",
        "digest": "bb",
        "previous": "cc",
    }
