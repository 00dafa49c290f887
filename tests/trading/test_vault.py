"""What is sealed opens for its own row alone, and only while its master key is in the ring."""

from __future__ import annotations

import base64
import ctypes
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from trading.ring import BadRing, CannotOpen, KeyRing, UnknownMasterKey
from trading.vault import Binding, Sealed, open_sealed, rewrap, seal

TEXT = b"thirty-two bytes of a canary key"
ALICE = Binding(purpose="api key", team="team-a", row="row-1", key_id="a952bcbe-ec3b-4b5b-b8f9-11dae589608c")
OTHER_KEYS = base64.b64encode(bytes(range(100, 132))).decode()


@pytest.fixture(autouse=True)
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: object, db: None) -> KeyRing:
    """Give each test an installation without master keys."""
    monkeypatch.delenv("KALSHIWEB_MASTER_KEYS", raising=False)
    monkeypatch.delenv("KALSHIWEB_MASTER_KEYS_FILE", raising=False)
    settings.KALSHIWEB_DATA_DIR = tmp_path  # type: ignore[attr-defined]
    return KeyRing(tmp_path)


def test_what_was_sealed_opens_for_the_same_row() -> None:
    assert open_sealed(seal(TEXT, ALICE), ALICE) == TEXT


def test_the_same_text_is_never_sealed_twice_alike() -> None:
    first, second = seal(TEXT, ALICE), seal(TEXT, ALICE)

    assert first.ciphertext != second.ciphertext
    assert first.wrapped_key != second.wrapped_key


def test_nothing_of_the_text_is_in_what_is_stored() -> None:
    sealed = seal(TEXT, ALICE)

    assert not any(TEXT[at : at + 4] in sealed.ciphertext + sealed.wrapped_key for at in range(len(TEXT) - 3))


@pytest.mark.parametrize("part", ["wrapped_key", "ciphertext"])
def test_every_changed_byte_is_refused(part: str) -> None:
    sealed = seal(TEXT, ALICE)
    stored: bytes = getattr(sealed, part)

    for at in range(len(stored)):
        changed = stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :]
        with pytest.raises(CannotOpen):
            open_sealed(_with(sealed, part, changed), ALICE)


@pytest.mark.parametrize("part", ["wrapped_key", "ciphertext"])
def test_every_shortened_record_is_refused(part: str) -> None:
    sealed = seal(TEXT, ALICE)
    stored: bytes = getattr(sealed, part)

    for length in range(len(stored)):
        with pytest.raises(CannotOpen):
            open_sealed(_with(sealed, part, stored[:length]), ALICE)


@pytest.mark.parametrize(
    "other",
    [
        replace(ALICE, team="team-b"),
        replace(ALICE, row="row-2"),
        replace(ALICE, key_id="b5c3f2ab-37a9-4d0c-a3a1-0c55b1f0f0f0"),
        replace(ALICE, purpose="webhook secret"),
        Binding(purpose="api key", team="team-a", row="", key_id="row-1" + ALICE.key_id),
    ],
)
def test_a_record_moved_elsewhere_is_refused(other: Binding) -> None:
    with pytest.raises(CannotOpen):
        open_sealed(seal(TEXT, ALICE), other)


def test_halves_of_two_records_of_one_row_do_not_open_together() -> None:
    older, newer = seal(b"older", ALICE), seal(b"newer", ALICE)

    with pytest.raises(CannotOpen):
        open_sealed(replace(newer, ciphertext=older.ciphertext), ALICE)


@pytest.mark.parametrize("version", [0, 2, -1])
def test_another_version_is_refused(version: int) -> None:
    with pytest.raises(CannotOpen):
        open_sealed(replace(seal(TEXT, ALICE), version=version), ALICE)


def test_a_refusal_says_nothing_of_the_record() -> None:
    sealed = seal(TEXT, ALICE)

    with pytest.raises(CannotOpen) as refusal:
        open_sealed(replace(sealed, ciphertext=sealed.ciphertext[:-1]), ALICE)

    assert str(refusal.value) == "This key could not be opened: what is stored was changed or damaged."
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


def test_the_ring_is_made_once_and_only_for_its_owner(ring: KeyRing, tmp_path: Path) -> None:
    seal(TEXT, ALICE)
    first = (tmp_path / "master.keys").read_bytes()

    seal(TEXT, ALICE)

    assert (tmp_path / "master.keys").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "master.keys").read_bytes() == first
    assert len(ring.kids()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["master.keys"]


def test_opening_never_makes_a_ring(tmp_path: Path) -> None:
    sealed = seal(TEXT, ALICE)
    (tmp_path / "master.keys").unlink()

    with pytest.raises(UnknownMasterKey):
        open_sealed(sealed, ALICE)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_ring_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    sealed = seal(TEXT, ALICE)
    (tmp_path / "master.keys").chmod(mode)

    with pytest.raises(BadRing, match="open to others: run chmod 600 on it"):
        open_sealed(sealed, ALICE)


def test_a_turned_ring_seals_with_the_new_key_and_opens_with_the_old(ring: KeyRing) -> None:
    old = seal(TEXT, ALICE)

    kid = ring.turn()

    assert seal(TEXT, ALICE).kid == kid != old.kid
    assert open_sealed(old, ALICE) == TEXT


def test_a_rewrapped_record_keeps_its_ciphertext_and_outlives_the_old_master_key(ring: KeyRing) -> None:
    old = seal(TEXT, ALICE)
    ring.turn()

    new = rewrap(old, ALICE)
    ring.retire(old.kid)

    assert new.ciphertext == old.ciphertext
    assert open_sealed(new, ALICE) == TEXT
    with pytest.raises(UnknownMasterKey, match="restore it"):
        open_sealed(old, ALICE)


def test_an_old_wrapping_under_the_name_of_the_new_master_key_is_refused(ring: KeyRing) -> None:
    old = seal(TEXT, ALICE)
    ring.turn()

    with pytest.raises(CannotOpen):
        open_sealed(replace(old, kid=ring.current()), ALICE)


def test_the_master_key_in_use_cannot_be_retired(ring: KeyRing) -> None:
    seal(TEXT, ALICE)

    with pytest.raises(BadRing, match="in use"):
        ring.retire(ring.current())


def test_a_ring_from_the_environment_wraps_with_its_first_key(
    ring: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KALSHIWEB_MASTER_KEYS", OTHER_KEYS)
    sealed = seal(TEXT, ALICE)

    assert open_sealed(sealed, ALICE) == TEXT
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadRing, match="change it there"):
        ring.turn()


def test_a_ring_may_come_from_a_named_file_that_others_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "credential"
    named.write_text(OTHER_KEYS + "\n")
    named.chmod(0o444)
    monkeypatch.setenv("KALSHIWEB_MASTER_KEYS_FILE", str(named))

    assert open_sealed(seal(TEXT, ALICE), ALICE) == TEXT
    named.chmod(0o466)
    with pytest.raises(BadRing, match="open to others"):
        seal(TEXT, ALICE)


@pytest.mark.parametrize(
    "text",
    [
        "not base64 at all!",
        base64.b64encode(b"short").decode(),
        base64.b64encode(bytes(32)).decode(),
        base64.b64encode(b"password" * 4).decode(),
        base64.b64encode(bytes(range(64))).decode(),
        f"{OTHER_KEYS},nonsense",
        ",",
    ],
)
def test_a_ring_that_cannot_be_right_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("KALSHIWEB_MASTER_KEYS", text)

    with pytest.raises(BadRing) as refusal:
        seal(TEXT, ALICE)

    assert not any(part in str(refusal.value) for part in text.split(",") if part)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process hide its memory")
def test_a_process_that_has_opened_a_key_leaves_no_core_and_shows_no_memory() -> None:
    seal(TEXT, ALICE)

    pr_get_dumpable = 3
    assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    assert ctypes.CDLL(None).prctl(pr_get_dumpable, 0, 0, 0, 0) == 0


def test_a_key_management_service_may_hold_the_master_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALSHIWEB_KEY_PROVIDER", "tests.trading.test_vault.Service")

    sealed = seal(TEXT, ALICE)

    assert sealed.kid == "service"
    assert open_sealed(sealed, ALICE) == TEXT
    assert list(tmp_path.iterdir()) == []


class Service:
    """A service with one master key that never leaves it."""

    def wrap(self, key: bytes, context: bytes) -> tuple[str, bytes]:
        """Turn the key round and put its context before it."""
        return "service", context + key[::-1]

    def unwrap(self, kid: str, wrapped: bytes, context: bytes) -> bytes:
        """Give it back for the same context only."""
        if not wrapped.startswith(context):
            raise CannotOpen
        return wrapped[len(context) :][::-1]

    def knows(self, kid: str) -> bool:
        """Know one."""
        return kid == self.current()

    def current(self) -> str:
        """Name it."""
        return "service"


def _with(sealed: Sealed, part: str, stored: bytes) -> Sealed:
    change: Callable[..., Sealed] = replace
    return change(sealed, **{part: stored})
