"""Signed checkpoints: each of six ways to bend the record is found, and the first bad row is named."""

from __future__ import annotations

import json
import resource
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from tests.trading.tampering import WAYS, hash_of, recompute, without_guards
from trading import audit, chain, checkpoints, tasks
from trading.checkpoints import CheckpointRefused
from trading.models import AuditEntry, Team

ROWS_A_SECOND = 20_000


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, tmp_path: Path) -> Path:
    """Keep the key and the file of each test apart."""
    settings.KALSHIWEB_DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def signed(team: Team, alice: User) -> Team:
    """Write twelve rows and sign them."""
    for number in range(12):
        audit.record("limits.changed", alice, team=team, facts={"number": number})
    checkpoints.make(team)
    return team


def test_an_untouched_record_holds(signed: Team, alice: User) -> None:
    audit.record("limits.changed", alice, team=signed)

    assert checkpoints.verify(signed) == chain.Verdict(True, 13)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_bend_the_record_is_found_and_the_row_is_named(signed: Team, way: str) -> None:
    with without_guards():
        WAYS[way](signed, 7)

    verdict = checkpoints.verify(signed)

    assert (verdict.is_whole, verdict.number) == (False, 7)


def test_the_chain_alone_does_not_see_a_new_chain_or_a_missing_end(signed: Team) -> None:
    with without_guards():
        WAYS["cut"](signed, 11)
        recompute(signed, 7)

    assert audit.verify(signed) == chain.Verdict(True, 10)
    assert checkpoints.verify(signed).number == 7


def test_the_hash_of_a_row_is_what_the_record_says_it_is(signed: Team) -> None:
    assert [entry.hash for entry in AuditEntry.objects.all()] == [hash_of(entry) for entry in AuditEntry.objects.all()]


def test_the_command_names_the_first_bad_row(signed: Team, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("audit_verify", team="north-desk")
    assert "north-desk: 12 rows hold" in capsys.readouterr().out
    with without_guards():
        recompute(signed, 7)

    with pytest.raises(CommandError, match="north-desk: row 7 is bad"):
        call_command("audit_verify")


def test_the_command_says_in_a_sentence_why_its_key_cannot_be_used(signed: Team, data_dir: Path) -> None:
    (data_dir / checkpoints.KEY_FILE).chmod(0o644)

    with pytest.raises(CommandError, match=f"{checkpoints.KEY_FILE} can be read by others: run chmod 600 on it."):
        call_command("audit_verify")


def test_the_command_says_that_a_guard_of_the_table_is_gone(signed: Team) -> None:
    from django.db import connection

    if connection.vendor != "sqlite":
        pytest.skip("the guard is one trigger there")
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER trading_auditentry_no_update")

    with pytest.raises(CommandError, match="trading_auditentry_no_update"):
        call_command("audit_verify")


def test_the_page_names_the_first_bad_row(signed: Team, alice: User) -> None:
    browser = Client()
    browser.force_login(alice)
    with without_guards():
        recompute(signed, 7)

    page = browser.post("/x/sandbox/audit/verify/", follow=True).content.decode()

    assert "Entry <b>7</b> is bad" in page


def test_what_does_not_hold_is_not_signed(signed: Team, alice: User, data_dir: Path) -> None:
    audit.record("limits.changed", alice, team=signed)
    lines = (data_dir / checkpoints.FILE).read_text()
    with without_guards():
        WAYS["edit"](signed, 3)

    with pytest.raises(CheckpointRefused, match="nothing is signed"):
        checkpoints.make(signed)
    tasks.sign_record()

    assert (data_dir / checkpoints.FILE).read_text() == lines


def test_the_hourly_task_signs_what_is_new(signed: Team, other_team: Team, alice: User, data_dir: Path) -> None:
    audit.record("limits.changed", alice, team=signed)
    audit.record("limits.changed", None, team=other_team)

    tasks.sign_record()
    tasks.sign_record()

    lines = [(line.first, line.number) for line in checkpoints.read()]
    assert sorted(lines) == [(1, 1), (1, 12), (13, 13)]


@pytest.mark.parametrize("field", ["hash", "rows", "number", "at", "team", "previous"])
def test_a_changed_line_of_the_file_is_found(signed: Team, data_dir: Path, field: str) -> None:
    path = data_dir / checkpoints.FILE
    line = json.loads(path.read_text())
    line[field] = 11 if field == "number" else f"{line[field]}0" if field == "previous" else line[field][::-1]
    path.write_text(json.dumps(line) + "\n")

    with pytest.raises(CheckpointRefused):
        checkpoints.verify(signed)


def test_a_line_taken_out_of_the_file_is_found(signed: Team, alice: User, data_dir: Path) -> None:
    for _ in range(2):
        audit.record("limits.changed", alice, team=signed)
        checkpoints.make(signed)
    path = data_dir / checkpoints.FILE
    first, _, third = path.read_text().splitlines()
    path.write_text(f"{first}\n{third}\n")

    with pytest.raises(CheckpointRefused, match="Line 2"):
        checkpoints.verify(signed)


def test_key_and_file_are_their_owners_alone(signed: Team, data_dir: Path) -> None:
    for name in (checkpoints.KEY_FILE, checkpoints.FILE):
        assert stat.S_IMODE((data_dir / name).stat().st_mode) == 0o600
    (data_dir / checkpoints.KEY_FILE).chmod(0o644)

    with pytest.raises(CheckpointRefused, match="chmod 600"):
        checkpoints.verify(signed)


def test_many_rows_go_into_several_checkpoints(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "ROWS_MOST", 5)
    for _ in range(12):
        audit.record("limits.changed", None, team=team)

    checkpoints.make(team)

    assert [(line.first, line.number) for line in checkpoints.read()] == [(1, 5), (6, 10), (11, 12)]
    assert checkpoints.verify(team) == chain.Verdict(True, 12)


# --- a disk that fails, a process that is killed -------------------------------------------------------------------


@contextmanager
def disk_with_room_for(path: Path, more: int) -> Iterator[None]:
    """Let the kernel end every write that would make a file larger than this one and some bytes."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + more, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def tear(path: Path) -> str:
    """Leave half of the last line, as a process does that is killed while it writes; return what stays before it."""
    *whole, last = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole) + last[: len(last) // 2])
    return "".join(whole)


def test_a_full_disk_refuses_the_checkpoint_and_leaves_the_file_as_it_was(
    signed: Team, alice: User, data_dir: Path
) -> None:
    path = data_dir / checkpoints.FILE
    before = path.read_bytes()
    audit.record("limits.changed", alice, team=signed)

    with pytest.raises(CheckpointRefused, match=r"audit\.checkpoints\.jsonl"), disk_with_room_for(path, 100):
        checkpoints.make(signed)

    assert path.read_bytes() == before
    assert checkpoints.verify(signed) == chain.Verdict(True, 13)
    assert [(line.first, line.number) for line in checkpoints.make(signed)] == [(13, 13)]


def test_a_line_that_does_not_fit_keeps_no_other_team_from_its_own(
    signed: Team, other_team: Team, alice: User, data_dir: Path
) -> None:
    for _ in range(50):
        audit.record("limits.changed", alice, team=signed)
    audit.record("limits.changed", None, team=other_team)

    with disk_with_room_for(data_dir / checkpoints.FILE, 1_500):
        tasks.sign_record()

    assert [(line.first, line.number) for line in checkpoints.of(signed)] == [(1, 12)]
    assert [(line.first, line.number) for line in checkpoints.of(other_team)] == [(1, 1)]


def test_what_a_killed_process_left_of_a_line_stops_nobody_and_is_written_anew(
    signed: Team, other_team: Team, alice: User, data_dir: Path
) -> None:
    audit.record("limits.changed", alice, team=signed)
    checkpoints.make(signed)
    whole = tear(data_dir / checkpoints.FILE)

    assert checkpoints.verify(signed) == chain.Verdict(True, 13)
    assert checkpoints.verify(other_team) == chain.Verdict(True, 0)
    assert [(line.first, line.number) for line in checkpoints.make(signed)] == [(13, 13)]
    assert (data_dir / checkpoints.FILE).read_text().startswith(whole)
    assert [(line.first, line.number) for line in checkpoints.read()] == [(1, 12), (13, 13)]
    assert checkpoints.verify(signed) == chain.Verdict(True, 13)


@pytest.mark.parametrize("torn", [b"\xff\xfe half", b"\0" * 4_096, b"{"])
def test_whatever_a_crash_leaves_after_the_last_line_is_no_line(signed: Team, data_dir: Path, torn: bytes) -> None:
    with (data_dir / checkpoints.FILE).open("ab") as file:
        file.write(torn)

    assert checkpoints.verify(signed) == chain.Verdict(True, 12)


@pytest.mark.parametrize("bad", [b"\xff\xfe half\n", b"{\n", b"\n"])
def test_a_bad_line_that_has_its_end_is_refused(signed: Team, alice: User, data_dir: Path, bad: bytes) -> None:
    audit.record("limits.changed", alice, team=signed)
    with (data_dir / checkpoints.FILE).open("ab") as file:
        file.write(bad)

    for refused in (checkpoints.verify, checkpoints.make):
        with pytest.raises(CheckpointRefused, match="Line 2"):
            refused(signed)


def test_half_a_line_takes_nothing_from_what_the_lines_before_it_prove(
    signed: Team, alice: User, data_dir: Path
) -> None:
    """Who tears the last line and cuts rows gains no more than who takes that line out, and it is cut to the byte."""
    audit.record("limits.changed", alice, team=signed)
    checkpoints.make(signed)
    tear(data_dir / checkpoints.FILE)
    with without_guards():
        WAYS["cut"](signed, 11)

    verdict = checkpoints.verify(signed)

    assert (verdict.is_whole, verdict.number, verdict.why) == (False, 11, "rows were cut off at the end")


@pytest.mark.parametrize("name", [checkpoints.FILE, checkpoints.KEY_FILE])
def test_a_file_that_cannot_be_opened_is_a_sentence_on_the_page(
    team: Team, alice: User, data_dir: Path, name: str
) -> None:
    audit.record("limits.changed", alice, team=team)
    (data_dir / name).mkdir(mode=0o700)
    browser = Client()
    browser.force_login(alice)

    page = browser.post("/x/sandbox/audit/verify/", follow=True)

    assert page.status_code == 200
    assert f"{name} cannot be used: Is a directory." in page.content.decode()


def test_a_record_that_holds_and_cannot_be_signed_is_not_shown_as_verified(
    team: Team, alice: User, data_dir: Path
) -> None:
    audit.record("limits.changed", alice, team=team)
    checkpoints.fingerprint()
    (data_dir / checkpoints.FILE).with_suffix(".lock").mkdir()
    browser = Client()
    browser.force_login(alice)

    page = browser.post("/x/sandbox/audit/verify/", follow=True).content.decode()

    assert "cannot be used: Is a directory." in page
    assert "entries hold" not in page


# --- large ---------------------------------------------------------------------------------------------------------


def fill(team: Team, count: int) -> None:
    """Write many rows at once, chained as they ought to be."""
    previous, now, entries = "", timezone.now(), []
    for number in range(1, count + 1):
        facts = {"state": "resting", "exchange_order_id": f"id-{number}", "filled": "0.00", "remaining": "10.00"}
        entry = AuditEntry(team=team, number=number, at=now, environment="sandbox", action="order.resting", facts=facts)
        entry.actor_name, entry.subject, entry.previous_hash = "alice", f"order:{number}", previous
        entry.hash = previous = hash_of(entry)
        entries.append(entry)
    AuditEntry.objects.bulk_create(entries, batch_size=2_000)


@pytest.mark.long
def test_a_record_of_a_hundred_thousand_rows_is_verified_at_twenty_thousand_a_second(team: Team) -> None:
    fill(team, 100_000)
    checkpoints.make(team)
    started = time.process_time()

    assert checkpoints.verify(team) == chain.Verdict(True, 100_000)

    assert 100_000 / (time.process_time() - started) >= ROWS_A_SECOND


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_found_in_a_hundred_thousand_rows(team: Team, way: str) -> None:
    fill(team, 100_000)
    checkpoints.make(team)
    with without_guards():
        WAYS[way](team, 70_007)

    verdict = checkpoints.verify(team)

    assert (verdict.is_whole, verdict.number) == (False, 70_007)
