"""The file of an archive: whatever was changed in it is found, without the desk and at the desk."""

from __future__ import annotations

import hashlib
import json
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.utils import timezone
from pytest_django.fixtures import Settings

from tests.trading import archives
from tests.trading.archives import NAME, check_alone
from tests.trading.tampering import WAYS, without_guards
from tests.trading.test_checkpoints import fill
from trading import archive, chain, checkpoints, evidence
from trading.archive import ArchiveRefused
from trading.models import Team


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


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Change the files inside a zip."""
    with zipfile.ZipFile(path) as packed:
        files = {name.removeprefix("record/"): packed.read(name) for name in packed.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(f"record/{name}", content)


def sign_anew(files: dict[str, bytes], key: Ed25519PrivateKey, **said: Any) -> None:
    """Let the manifest fit the files, signed with another key."""
    files["public_key.pem"] = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    manifest = {**json.loads(files["manifest.json"]), **said}
    manifest["files"] = {name: hashlib.sha256(files[name]).hexdigest() for name in manifest["files"]}
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    manifest["key"] = hashlib.sha256(raw).hexdigest()
    files["manifest.json"] = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    files["manifest.sig"] = key.sign(files["manifest.json"]).hex().encode()


def lines_of(files: dict[str, bytes]) -> list[bytes]:
    return files["entries.jsonl"].splitlines(keepends=True)


EDITS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "edit": lambda rows: [*rows[:2], rows[2].replace(b"alice", b"carol"), *rows[3:]],
    "delete": lambda rows: [*rows[:2], *rows[3:]],
    "cut": lambda rows: rows[:3],
    "behead": lambda rows: rows[1:],
    "insert": lambda rows: [*rows[:3], rows[2], *rows[3:]],
    "reorder": lambda rows: [rows[0], rows[2], rows[1], *rows[3:]],
    "empty": lambda rows: [],
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_archive_is_found_alone_and_at_the_desk(archived: Team, folder: Path, edit: str) -> None:
    rewrite(folder / NAME, lambda files: files.update({"entries.jsonl": b"".join(EDITS[edit](lines_of(files)))}))

    alone = check_alone(folder / NAME)

    assert (alone.returncode, alone.stdout) == (1, "DOES NOT HOLD: entries.jsonl was changed\n")
    with pytest.raises(CommandError, match=r"entries\.jsonl was changed"):
        archives.verify("--archive", str(folder / NAME))


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_archive_does_not_hold_though_its_manifest_is_signed_with_the_desks_key(
    archived: Team, folder: Path, data_dir: Path, edit: str
) -> None:
    """Somebody who could sign a manifest, but not the checkpoints anew, is found by rows and hashes."""
    key = checkpoints._key()

    def change(files: dict[str, bytes]) -> None:
        files["entries.jsonl"] = b"".join(EDITS[edit](lines_of(files)))
        sign_anew(files, key)

    rewrite(folder / NAME, change)

    alone = check_alone(folder / NAME)

    assert alone.returncode == 1
    assert "row" in alone.stdout


def test_an_archive_signed_anew_with_another_key_is_not_this_desks(archived: Team, folder: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        key = Ed25519PrivateKey.generate()
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        line = json.loads(files["checkpoints.jsonl"])
        del line["signature"]
        line["key"] = hashlib.sha256(raw).hexdigest()
        line["signature"] = key.sign(json.dumps(line, sort_keys=True, separators=(",", ":")).encode()).hex()
        files["checkpoints.jsonl"] = json.dumps(line, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        sign_anew(files, key)

    rewrite(folder / NAME, change)

    assert check_alone(folder / NAME).returncode == 0  # whose key it is only the fingerprint says
    with pytest.raises(ArchiveRefused, match="another key than this desk's"):
        archive.check(folder / NAME)


@pytest.mark.parametrize("at", [10, 300, -30])
def test_a_broken_byte_is_one_sentence(archived: Team, folder: Path, at: int) -> None:
    content = bytearray((folder / NAME).read_bytes())
    content[at] ^= 0xFF
    (folder / NAME).write_bytes(content)

    with pytest.raises(ArchiveRefused, match=r"does not hold|names no archive"):
        archive.check(folder / NAME)


@pytest.mark.parametrize("kept", [0, 100, 2_000])
def test_half_a_file_is_one_sentence(archived: Team, folder: Path, kept: int) -> None:
    (folder / NAME).write_bytes((folder / NAME).read_bytes()[:kept])

    alone = check_alone(folder / NAME)

    assert (alone.returncode, alone.stderr) == (1, "")
    assert alone.stdout.startswith("DOES NOT HOLD: it cannot be read")


def test_a_file_with_something_behind_it_is_not_the_one_that_was_written(archived: Team, folder: Path) -> None:
    with (folder / NAME).open("ab") as file:
        file.write(b"\0")

    with pytest.raises(ArchiveRefused, match=r"names no archive|does not hold"):
        archive.check(folder / NAME)


def test_a_missing_file_is_one_sentence(archived: Team, folder: Path) -> None:
    with pytest.raises(CommandError, match=r"nowhere\.zip does not hold: nowhere\.zip is missing"):
        archives.verify("--archive", str(folder / "nowhere.zip"))


def test_evidence_is_no_archive(archived: Team, alice: User, folder: Path) -> None:
    package = evidence.of_day(alice, team=archived, day=timezone.now().date())
    (folder / "evidence.zip").write_bytes(package)

    assert check_alone(folder / "evidence.zip").returncode == 0
    with pytest.raises(ArchiveRefused, match="does not hold"):
        archive.check(folder / "evidence.zip")


def test_an_archive_holds_under_another_name_and_joins_the_record(archived: Team, folder: Path) -> None:
    shutil.copy(folder / NAME, folder / "copy.zip")

    said = archives.verify("--archive", str(folder / "copy.zip"))

    today = timezone.now().date()
    assert f"north-desk: rows 1–5 archived on {today} in {NAME}." in said
    assert "north-desk: 8 rows hold" in said
    assert "copy.zip: rows 1–5 hold and join the record at row 6" in said


def test_an_archive_that_holds_does_not_hide_a_record_that_does_not_go_on(archived: Team, folder: Path) -> None:
    with without_guards():
        WAYS["delete"](archived, 6)

    with pytest.raises(CommandError, match="holds, but the record does not go on from it: row 6 is bad"):
        archives.verify("--archive", str(folder / NAME))


# --- large ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_twenty_thousand_rows_are_archived_in_the_memory_of_some_thousand(team: Team, folder: Path) -> None:
    fill(team, 20_000)
    checkpoints.make(team)
    tracemalloc.start()

    made = archive.make(archive.span(team, through=20_000), folder)
    archive.check(folder / made.file)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000  # all of them at once would take several times as much
    assert checkpoints.verify(team) == chain.Verdict(True, 1, archived=20_000)
