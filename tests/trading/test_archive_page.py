"""What people are told of rows that are in an archive: on the page of the record and in evidence, never silently."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.fixtures import Settings

from tests.trading import archives
from tests.trading.archives import NAME, check_alone
from tests.trading.test_models import an_order
from trading import audit, checkpoints, evidence
from trading.evidence import EvidenceRefused
from trading.models import Account, Archive, Order, Team

ELSEWHERE = f"Rows 1–5 are in the archive {NAME}, and are not searched here."


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, tmp_path: Path) -> None:
    """Keep the key and the file of checkpoints of each test apart."""
    settings.KALSHIWEB_DATA_DIR = tmp_path / "data"
    settings.KALSHIWEB_DATA_DIR.mkdir()


@pytest.fixture
def archived(team: Team, alice: User, tmp_path: Path) -> Team:
    """Write rows 1 to 5 on the 20th and archive them on the 23rd; rows 6 to 12 are of the 22nd."""
    archives.write(team, alice, 5, day=20)
    archives.write(team, alice, 7, day=22)
    with time_machine.travel(datetime(2026, 11, 23, 12, 0, tzinfo=UTC)):
        archives.archive(tmp_path, through=5)
    return team


def page(user: User, query: str = "") -> str:
    browser = Client()
    browser.force_login(user)
    return browser.get(f"/x/sandbox/audit/{query}").content.decode()


def told(text: str) -> list[str]:
    """Return what the page says of rows that are elsewhere."""
    return re.findall(r'data-testid="elsewhere">([^<]*)<', text)


def test_the_page_names_the_archives_and_their_files(archived: Team, alice: User) -> None:
    text = page(alice)

    assert "Rows 1–5 archived on 23 Nov 2026 in" in text
    assert f'<code class="wrap">{NAME}</code>' in text
    assert told(text) == [ELSEWHERE]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?to=2026-11-20", [ELSEWHERE]),
        ("?from=2026-11-20&to=2026-11-22", [ELSEWHERE]),
        ("?from=2026-11-21", []),
        ("?to=2026-11-19", []),
        ("?text=nowhere", [ELSEWHERE]),
    ],
)
def test_a_list_says_which_rows_of_its_days_are_in_the_archive(
    archived: Team, alice: User, query: str, expected: list[str]
) -> None:
    assert told(page(alice, query)) == expected


def test_a_list_without_a_row_does_not_say_that_there_was_none(archived: Team, alice: User) -> None:
    text = page(alice, "?to=2026-11-20")

    assert "audit-row" not in text
    assert ELSEWHERE in text
    assert "Take a filter away" not in text


def test_a_trader_is_told_as_well_and_another_team_is_not(archived: Team, bob: User, mallory: User) -> None:
    assert told(page(bob)) == [ELSEWHERE]
    assert NAME not in page(mallory)


def test_several_archives_are_one_sentence(archived: Team, alice: User, tmp_path: Path) -> None:
    archives.archive(tmp_path, through=12)

    assert told(page(alice)) == [
        f"Rows 1–12 are in 2 archives, {NAME} to record-north-desk-6-12.zip, and are not searched here."
    ]


def test_without_an_archive_the_page_says_nothing_of_any(team: Team, alice: User) -> None:
    text = page(alice)

    assert told(text) == []
    assert "Archives" not in text


def test_the_verdict_says_how_much_is_in_archives(archived: Team, alice: User) -> None:
    browser = Client()
    browser.force_login(alice)

    text = browser.post("/x/sandbox/audit/verify/", follow=True).content.decode()

    assert re.search(r"\d+ entries hold after the 5 in archives, as of", text)


# --- evidence ------------------------------------------------------------------------------------------------------


def test_a_day_that_is_in_the_archive_is_refused_with_the_name_of_the_file(archived: Team, alice: User) -> None:
    digest = Archive.objects.get().digest

    with pytest.raises(EvidenceRefused) as caught:
        evidence.of_day(alice, team=archived, day=date(2026, 11, 20))

    said = f"The database has no entry of that any more: rows 1–5 are in the archive {NAME} (SHA-256 {digest})."
    assert str(caught.value) == said


def test_the_page_says_so_too(archived: Team, alice: User) -> None:
    browser = Client()
    browser.force_login(alice)

    text = browser.post("/x/sandbox/audit/evidence/", {"day": "2026-11-20"}, follow=True).content.decode()

    assert f"rows 1–5 are in the archive {NAME}" in text


def test_a_day_that_is_partly_in_the_archive_says_what_is_not_in_the_package(
    team: Team, alice: User, tmp_path: Path
) -> None:
    archives.write(team, alice, 5, day=20)
    archives.write(team, alice, 3, day=20)
    archives.archive(tmp_path, through=5)
    package = tmp_path / "evidence.zip"

    package.write_bytes(evidence.of_day(alice, team=team, day=date(2026, 11, 20)))

    run = check_alone(package)
    assert run.returncode == 0
    assert "HOLDS: 3 entries of North desk" in run.stdout
    assert f"Not in here: rows 1–5 are in the archive {NAME}" in run.stdout
    with zipfile.ZipFile(io.BytesIO(package.read_bytes())) as packed:
        assert f"Not in here: rows 1–5 are in the archive {NAME}".encode() in packed.read("evidence/README.txt")


def test_a_day_after_the_archive_says_nothing_of_it(archived: Team, alice: User, tmp_path: Path) -> None:
    package = tmp_path / "evidence.zip"

    package.write_bytes(evidence.of_day(alice, team=archived, day=date(2026, 11, 22)))

    assert "HOLDS: 7 entries" in check_alone(package).stdout
    assert "Not in here" not in check_alone(package).stdout


@pytest.fixture
def order(account: Account, team: Team, bob: User, tmp_path: Path) -> Order:
    """Return an order placed on the 20th, whose first entry went into the archive and whose second did not."""
    with time_machine.travel(datetime(2026, 11, 20, 12, 0, tzinfo=UTC), tick=False):
        order = an_order(account)
        audit.record("order.submitted", bob, team=team, subject=order)
        checkpoints.make(team)
    with time_machine.travel(datetime(2026, 11, 22, 12, 0, tzinfo=UTC), tick=False):
        audit.record("order.canceled", bob, team=team, subject=order)
        checkpoints.make(team)
    archives.archive(tmp_path, through=1)
    return order


def test_an_order_that_is_older_than_the_archive_names_it(order: Order, alice: User, tmp_path: Path) -> None:
    package = tmp_path / "evidence.zip"

    package.write_bytes(evidence.of_order(alice, order=order))

    said = check_alone(package).stdout
    assert "HOLDS: 1 entries" in said
    assert "Not in here: rows 1–1 are in the archive record-north-desk-1-1.zip" in said


def test_an_order_whose_entries_are_all_in_archives_is_refused_with_their_names(
    order: Order, alice: User, tmp_path: Path
) -> None:
    archives.archive(tmp_path, through=2)

    with pytest.raises(EvidenceRefused, match=r"any more: rows 1–1 .*record-north-desk-1-1\.zip.*; rows 2–2 "):
        evidence.of_order(alice, order=order)


def test_an_order_that_is_younger_than_the_archive_does_not_name_it(
    order: Order, account: Account, alice: User, bob: User, tmp_path: Path
) -> None:
    younger = an_order(account)
    audit.record("order.submitted", bob, team=account.team, subject=younger)
    (tmp_path / "evidence.zip").write_bytes(evidence.of_order(alice, order=younger))

    assert "Not in here" not in check_alone(tmp_path / "evidence.zip").stdout
