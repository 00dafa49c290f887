"""The ring of master keys: where it comes from, how it is made, turned and shortened.

It is read from KALSHIWEB_MASTER_KEYS, from the file that KALSHIWEB_MASTER_KEYS_FILE names (a systemd credential, a
container's secret), or from `master.keys` in the data directory, which is made once. It is base64, one key a line
(in a variable also separated by commas): the first wraps, all unwrap. A key's id is a digest of the key, so that it
can neither be mistaken nor given twice.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from allauth.mfa.models import Authenticator
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db.models import Q
from django.views.decorators.debug import sensitive_variables

from trading.models import ApiKey

VARIABLE = "KALSHIWEB_MASTER_KEYS"
FILE_NAME = "master.keys"
SEALED_TEXT = "sealed:"  # begins what is sealed where a column holds text: people's second factors
KEY_BYTES = 32
NONCE_BYTES = 12
# Fewer different bytes than this never happens by chance in 32 random ones: zeros, a repeated word.
LEAST_DIFFERENT_BYTES = 12


class CannotOpen(Exception):
    """A sealed key does not open. It says nothing about the key: whoever sees it knows which row was asked for."""

    def __init__(self, sentence: str = "This key could not be opened: what is stored was changed or damaged.") -> None:
        super().__init__(sentence)


class UnknownMasterKey(CannotOpen):
    """The master key that wraps a record is not in the ring."""

    def __init__(self, kid: str) -> None:
        super().__init__(f"The master key {kid[:16]} is not in the ring: restore it, then try again.")


class BadRing(CannotOpen):
    """The ring itself cannot be used; the text is for the operator and holds no part of it."""


class KeyRing:
    """The master keys of this installation; reads its source at each use, so that a turn reaches every process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    @property
    def is_ours(self) -> bool:
        """Say whether the ring is the file in the data directory, which the desk may write."""
        return not (os.environ.get(VARIABLE, "").strip() or os.environ.get(f"{VARIABLE}_FILE", "").strip())

    @sensitive_variables()
    def wrap(self, key: bytes, context: bytes) -> tuple[str, bytes]:
        """Wrap by the first key of the ring, which is made where there has never been one."""
        ring = self._keys() or self._first()
        kid, master = next(iter(ring.items()))
        nonce = os.urandom(NONCE_BYTES)
        return kid, nonce + AESGCM(master).encrypt(nonce, key, _bound(kid, context))

    @sensitive_variables()
    def unwrap(self, kid: str, wrapped: bytes, context: bytes) -> bytes:
        """Return the wrapped key; raise CannotOpen."""
        master = self._keys().get(kid)
        if master is None:
            raise UnknownMasterKey(kid)
        try:
            return AESGCM(master).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _bound(kid, context))
        except (InvalidTag, ValueError):
            raise CannotOpen from None

    def knows(self, kid: str) -> bool:
        """Say whether the key is in the ring."""
        return kid in self._keys()

    def kids(self) -> tuple[str, ...]:
        """Return the ids of all keys, the one in use first."""
        return tuple(self._keys())

    def current(self) -> str:
        """Return the id of the key that wraps; raise BadRing where the ring is empty."""
        for kid in self._keys():
            return kid
        raise BadRing("There is no master key.")

    def is_same_secret(self, text: str) -> bool:
        """Say whether `text` is one of the master keys, in whatever spelling."""
        return any(
            text.encode() in {master, base64.b64encode(master), base64.urlsafe_b64encode(master).rstrip(b"=")}
            for master in self._keys().values()
        )

    @sensitive_variables()
    def turn(self) -> str:
        """Put a new key first and return its id; every key before it still unwraps."""
        self._refuse_foreign()
        ring = self._keys() or self._first()
        master = secrets.token_bytes(KEY_BYTES)
        self._replace([master, *ring.values()])
        return _kid(master)

    @sensitive_variables()
    def retire(self, kid: str) -> None:
        """Take a key out of the ring; the caller has seen to it that nothing is wrapped by it."""
        self._refuse_foreign()
        ring = self._keys()
        if kid == self.current():
            raise BadRing("This master key is the one in use: turn the ring first.")
        self._replace([master for other, master in ring.items() if other != kid])

    def _keys(self) -> dict[str, bytes]:
        if text := os.environ.get(VARIABLE, "").strip():
            return _parse(text)
        if named := os.environ.get(f"{VARIABLE}_FILE", "").strip():
            return _read(Path(named), forbidden=stat.S_IWGRP | stat.S_IWOTH)
        if not self._path.exists():
            return {}
        return _read(self._path, forbidden=0o077)

    @sensitive_variables()
    def _first(self) -> dict[str, bytes]:
        """Make the first key of an installation, unless keys are stored that another one wraps."""
        self._refuse_foreign()
        if ApiKey.objects.exclude(kid="").exists() or _are_factors_sealed():
            raise BadRing(f"Keys are stored, but their master keys are gone: restore {FILE_NAME}. No new one was made.")
        temporary = self._write([secrets.token_bytes(KEY_BYTES)])
        try:
            # A link fails where the name is taken: of two processes one wins, and nobody reads half a file.
            os.link(temporary, self._path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        _sync_folder(self._path.parent)
        return self._keys()

    def _replace(self, masters: Iterable[bytes]) -> None:
        self._write(masters).replace(self._path)
        _sync_folder(self._path.parent)

    def _write(self, masters: Iterable[bytes]) -> Path:
        """Write a complete file beside the ring, 0600 from its first byte, on the disk before anybody may need it."""
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{FILE_NAME}.")
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(base64.b64encode(master) + b"\n" for master in masters)
            file.flush()
            os.fsync(file.fileno())
        return Path(name)

    def _refuse_foreign(self) -> None:
        if not self.is_ours:
            raise BadRing(f"The ring comes from {VARIABLE} or {VARIABLE}_FILE: change it there, the first key wraps.")


def _are_factors_sealed() -> bool:
    """Say whether a second factor of anybody is sealed."""
    in_data = Q(data__secret__startswith=SEALED_TEXT) | Q(data__seed__startswith=SEALED_TEXT)
    return bool(Authenticator.objects.filter(in_data).exists())


def _read(path: Path, *, forbidden: int) -> dict[str, bytes]:
    try:
        found = path.stat()
    except OSError as exc:
        raise BadRing(f"The master keys cannot be read: {exc.strerror}.") from None
    if found.st_mode & forbidden:
        raise BadRing(f"{path} is open to others: run chmod 600 on it.")
    return _read_unchanged(path, found.st_mtime_ns, found.st_ino, found.st_size)


@lru_cache(maxsize=4)
@sensitive_variables()
def _read_unchanged(path: Path, _mtime_ns: int, _inode: int, _size: int) -> dict[str, bytes]:
    try:
        text = path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        raise BadRing(f"{path} cannot be read as a list of master keys.") from None
    return _parse(text)


@sensitive_variables()
def _parse(text: str) -> dict[str, bytes]:
    """Read the keys in their order; raise BadRing, which shows nothing of them."""
    masters = [_decode(part) for part in text.replace(",", "\n").split()]
    if not masters:
        raise BadRing("The ring of master keys is empty.")
    return {_kid(master): master for master in masters}


@sensitive_variables()
def _decode(part: str) -> bytes:
    try:
        master = base64.b64decode(part, altchars=b"-_" if set("-_") & set(part) else None, validate=True)
    except (binascii.Error, ValueError):
        raise BadRing("A master key is not base64: make one with `openssl rand -base64 32`.") from None
    if len(master) != KEY_BYTES or len(set(master)) < LEAST_DIFFERENT_BYTES:
        raise BadRing("A master key must be 32 random bytes in base64: make one with `openssl rand -base64 32`.")
    return master


def _kid(master: bytes) -> str:
    return hashlib.sha256(b"kalshiweb master key\0" + master).hexdigest()[:16]


def _bound(kid: str, context: bytes) -> bytes:
    return b"key of a record\0" + kid.encode() + b"\0" + context


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
