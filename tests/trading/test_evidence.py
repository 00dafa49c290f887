"""A package of evidence: checked without the desk, and every change of it is found."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from tests.trading.conftest import member
from tests.trading.tampering import edit, recompute, without_guards
from tests.trading.test_models import an_order
from trading import audit, checkpoints, evidence, verify_evidence
from trading.checkpoints import CheckpointRefused
from trading.evidence import EvidenceRefused
from trading.models import Account, AuditEntry, Membership, Order, OrderState, Team


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, tmp_path: Path) -> Path:
    """Keep the key and the file of each test apart."""
    settings.KALSHIWEB_DATA_DIR = tmp_path / "data"
    settings.KALSHIWEB_DATA_DIR.mkdir()
    return tmp_path


@pytest.fixture
def order(account: Account, bob: User, alice: User) -> Order:
    """Write an order's life between other entries."""
    audit.record("limits.changed", alice, team=account.team)
    order = an_order(account, placed_by=bob, state=OrderState.SENDING, exchange_order_id="e-1")
    order.advance(OrderState.RESTING, actor=bob)
    audit.record("limits.changed", alice, team=account.team)
    order.advance(OrderState.CANCELED, actor=bob)
    return order


def unpack(package: bytes, into: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        archive.extractall(into)
    return into / "evidence"


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the package's own program where nothing of the desk can be imported."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(folder / "verify.py")], capture_output=True, text=True, check=False, cwd="/"
    )


def test_the_package_of_an_order_holds_without_the_desk(order: Order, alice: User, data_dir: Path) -> None:
    run = check(unpack(evidence.of_order(alice, order=order), data_dir))

    assert run.returncode == 0, run.stdout
    assert f"HOLDS: 2 entries of North desk, order {order.pk}." in run.stdout
    assert checkpoints.fingerprint() in run.stdout


def test_the_package_of_a_day_holds_without_a_hole(order: Order, alice: User, data_dir: Path) -> None:
    run = check(unpack(evidence.of_day(alice, team=order.team, day=timezone.now().date()), data_dir))

    assert "HOLDS: 4 entries" in run.stdout


def test_taking_evidence_is_written_down(order: Order, alice: User) -> None:
    evidence.of_order(alice, order=order)

    entry = AuditEntry.objects.get(action="audit.exported")
    assert (entry.actor_name, entry.facts) == ("alice", {"what": f"order {order.pk}", "entries": 2})


@pytest.mark.parametrize(
    "name", ["entries.jsonl", "checkpoints.jsonl", "public_key.pem", "README.txt", "manifest.json"]
)
def test_a_changed_file_is_found(order: Order, alice: User, data_dir: Path, name: str) -> None:
    folder = unpack(evidence.of_order(alice, order=order), data_dir)
    content = (folder / name).read_text()
    (folder / name).write_text(
        content.replace("bob", "eve").replace("North", "South").replace("MCowBQ", "MCowBR") + " "
    )

    assert check(folder).returncode == 1


def test_a_package_that_is_signed_anew_names_another_key(order: Order, alice: User, data_dir: Path) -> None:
    """Whoever forges entries and signs all of it has another fingerprint, and the old checkpoints do not fit."""
    folder = unpack(evidence.of_order(alice, order=order), data_dir)
    other = Ed25519PrivateKey.generate()
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "public_key.pem").write_bytes(public)
    manifest["files"]["public_key.pem"] = hashlib.sha256(public).hexdigest()
    manifest["key"] = hashlib.sha256(other.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    (folder / "manifest.json").write_bytes(text)
    (folder / "manifest.sig").write_text(other.sign(text).hex())

    run = check(folder)

    assert run.returncode == 1
    assert "checkpoint" in run.stdout


def test_no_evidence_is_made_of_a_record_that_does_not_hold(order: Order, alice: User) -> None:
    with without_guards():
        edit(order.team, 2)

    with pytest.raises(CheckpointRefused):
        evidence.of_order(alice, order=order)
    assert not AuditEntry.objects.filter(action="audit.exported").exists()


def test_a_chain_computed_anew_after_it_was_signed_gives_no_package(order: Order, alice: User, data_dir: Path) -> None:
    checkpoints.make(order.team)
    with without_guards():
        recompute(order.team, 2)

    assert check(unpack(evidence.of_order(alice, order=order), data_dir)).returncode == 1


def test_only_who_reads_the_record_takes_evidence(
    order: Order, bob: User, vera: User, mallory: User, team: Team
) -> None:
    auditor = member("udo", team, Membership.Role.AUDITOR)
    for person in (bob, vera):
        with pytest.raises(PermissionDenied):
            evidence.of_order(person, order=order)
    with pytest.raises(Http404):
        evidence.of_order(mallory, order=order)

    assert evidence.of_order(auditor, order=order)


def test_a_day_without_entries_gives_none(team: Team, alice: User) -> None:
    with pytest.raises(EvidenceRefused):
        evidence.of_day(alice, team=team, day=timezone.now().date())


def test_the_page_hands_the_package_out(order: Order, alice: User) -> None:
    browser = Client()
    browser.force_login(alice)

    answer = browser.post("/x/sandbox/audit/evidence/", {"order": str(order.pk)})

    assert answer.headers["Content-Type"] == "application/zip"
    assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"order": "no-id"},
        {"day": "yesterday"},
        {"day": "1999-01-01"},
        {"day": "0001-01-01"},
        {"day": "9999-12-31"},
    ],
)
def test_the_page_refuses_what_names_nothing(order: Order, alice: User, form: dict[str, str]) -> None:
    browser = Client()
    browser.force_login(alice)

    assert browser.post("/x/sandbox/audit/evidence/", form).status_code in {302, 404}


# Test vectors 1 to 3 of RFC 8032, section 7.1: public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_programs_own_verification_knows_the_standards_vectors(key: str, message: str, signature: str) -> None:
    public, text, signed = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)

    assert verify_evidence.verifies(public, text, signed)
    assert not verify_evidence.verifies(public, text + b"x", signed)
    assert not verify_evidence.verifies(public, text, signed[:-1] + bytes([signed[-1] ^ 1]))
    assert not verify_evidence.verifies(public, text, signed[:32] + (verify_evidence.ORDER + 1).to_bytes(32, "little"))
    assert not verify_evidence.verifies(public, text, b"")


def test_the_program_needs_the_standard_library_alone(data_dir: Path) -> None:
    shutil.copy(evidence.VERIFIER, data_dir / "verify.py")
    run = subprocess.run(
        [sys.executable, "-I", "-S", str(data_dir / "verify.py")], capture_output=True, text=True, check=False
    )

    assert (run.returncode, run.stdout) == (1, "DOES NOT HOLD: manifest.json is missing\n")
