"""Signed checkpoints of the record, kept outside the database.

A chain of hashes cannot show that its end was cut off or that all of it was computed anew; a line in a file that
somebody with the database's rights cannot write does. Each line is JSON: team, first and last row, the last row's
hash, the beginnings of the hashes of all rows between, the signature of the line before it, and an Ed25519 signature.
Rows newer than the last checkpoint are protected by the chain alone, so one is made every hour and at each look.

A line counts from its line feed on, and is acknowledged once it is on the disk. What stands after the last line feed is
what a full disk or a killed process left of a line that nobody was ever told of: it is no line, and the next checkpoint
cuts it off. That opens no door. To make a signed line such a rest somebody has to write to the file, and could as well
take the line out without a trace: of an end that is gone only a copy of the file elsewhere tells. The lines before it
lose nothing: each is signed, bound to the one before, and compared with its rows; and a bad line that has its line feed
is refused wherever it stands.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings
from django.utils import timezone

from trading import chain
from trading.chain import Verdict
from trading.models import Archive, Team
from trading.models.record import canonical

KEY_FILE, FILE = "audit.key", "audit.checkpoints.jsonl"
ROWS_MOST = 10_000  # in one checkpoint
PREFIX = 32  # hexadecimal digits of each row's hash that a checkpoint keeps: 128 bits

logger = logging.getLogger(__name__)


class CheckpointRefused(Exception):
    """The key or the file of checkpoints cannot be used; the text is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the record of a team was up to a row."""

    team: str
    first: int
    number: int
    hash: str
    rows: str  # PREFIX digits for each row from `first` to `number`
    at: str
    previous: str  # signature of the line before, of whatever team
    key: str  # fingerprint of the public key
    signature: str

    @property
    def signed(self) -> bytes:
        """What is signed: everything but the signature, in canonical JSON."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "signature"}
        return canonical(fields).encode()

    def row(self, number: int) -> str:
        """Return the beginning of a row's hash."""
        start = (number - self.first) * PREFIX
        return self.rows[start : start + PREFIX]


def make(team: Team) -> list[Checkpoint]:
    """Write checkpoints of a team's rows that have none yet; safe to run beside itself. Raises CheckpointRefused.

    A chain that does not hold gets none: what is wrong is not signed.
    """
    if not chain.verify(team).is_whole or _first_unsigned(team, list(Archive.objects.of(team))):
        raise CheckpointRefused(f"The record of {team} does not hold: nothing is signed.")
    with _in_words(FILE), _locked_file() as path:
        last, previous = 0, ""
        for line in read(path):
            previous = line.signature
            if line.team == str(team.pk):
                last = max(last, line.number)
        made: list[Checkpoint] = []
        rows = chain.hashes(team, after=last)
        while part := list(islice(rows, ROWS_MOST)):
            made.append(_signed(team, part, previous=previous))
            previous = made[-1].signature
        _append(path, made)
    return made


def verify(team: Team) -> Verdict:
    """Look at a team's chain, its archives and each checkpoint; name the first row that does not fit.

    Raises CheckpointRefused where the file itself was changed.
    """
    _check_file()
    archives = list(Archive.objects.of(team))
    verdict = _compare(team, archives)
    # As in the chain's own walk: an archive that is made meanwhile takes rows away.
    while not verdict.is_whole and archives != (now := list(Archive.objects.of(team))):
        archives, verdict = now, _compare(team, now)
    return verdict


def of(team: Team) -> Iterator[Checkpoint]:
    """Yield a team's lines of the file in order, each beginning where the one before ends."""
    return (line for line in read() if line.team == str(team.pk))


def read(path: Path | None = None) -> Iterator[Checkpoint]:
    """Yield the lines of the file in order, without the rest of one. Raises CheckpointRefused for a bad one."""
    path = path or _path()
    if not path.exists():
        return
    with _in_words(FILE), path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            if not text.endswith(b"\n"):
                return
            try:
                yield Checkpoint(**json.loads(text))
            except (ValueError, TypeError):
                raise CheckpointRefused(f"Line {number} of {path.name} is no checkpoint.") from None


def public_key() -> bytes:
    """Return the public half of the desk's signing key, PEM."""
    return _key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint() -> str:
    """Return SHA-256 of the public key (32 raw bytes), hexadecimal: to be noted somewhere else."""
    return _fingerprint(_key().public_key())


def sign(message: bytes) -> bytes:
    """Return the desk's Ed25519 signature of a message."""
    return _key().sign(message)


def has_signed(message: bytes, signature: str) -> bool:
    """Say whether a signature of a message, hexadecimal, is this desk's."""
    return _is_signed(_key().public_key(), message, signature)


def _compare(team: Team, archives: Sequence[Archive]) -> Verdict:
    """Return the verdict that names the lowest row, of the chain, the archives' signatures and the checkpoints."""
    verdict = chain.walk(team, archives)
    bad = _first_unsigned(team, archives)
    if bad is not None and (verdict.is_whole or (verdict.number or 0) >= (bad.number or 0)):
        return bad
    bent = _first_difference(team, after=verdict.archived)
    if bent is not None and (verdict.is_whole or (verdict.number or 0) > bent):
        last = max(line.number for line in of(team))
        gone = verdict.last < last and bent > verdict.last
        why = "rows were cut off at the end" if gone else "the row is not the one that was signed"
        return Verdict(False, bent - 1 - verdict.archived, bent, why, verdict.archived)
    return (chain.untold(team, archives) or verdict) if verdict.is_whole else verdict


def _signed(team: Team, rows: list[tuple[int, str]], *, previous: str) -> Checkpoint:
    key = _key()
    fields: dict[str, Any] = {
        "team": str(team.pk),
        "first": rows[0][0],
        "number": rows[-1][0],
        "hash": rows[-1][1],
        "rows": "".join(digest[:PREFIX] for _, digest in rows),
        "at": timezone.now().isoformat(),
        "previous": previous,
        "key": _fingerprint(key.public_key()),
    }
    return Checkpoint(**fields, signature=key.sign(canonical(fields).encode()).hex())


def _first_difference(team: Team, *, after: int) -> int | None:
    """Return the number of the first row after the archives that a checkpoint knows otherwise or the database lacks."""
    rows = chain.hashes(team, after=after)
    number, digest = next(rows, (0, ""))
    for line in of(team):
        for wanted in range(max(line.first, after + 1), line.number + 1):
            while 0 < number < wanted:  # a row that no checkpoint knows is guarded by the chain alone
                number, digest = next(rows, (0, ""))
            if number != wanted or not digest.startswith(line.row(wanted)):
                return wanted
            if wanted == line.number and digest != line.hash:
                return wanted
            number, digest = next(rows, (0, ""))
    return None


def _first_unsigned(team: Team, archives: Sequence[Archive]) -> Verdict | None:
    """Return the verdict on the first archive that this desk did not sign, or whose end no checkpoint of the file is.

    Who may write to the database alone can put in an archive and the entry of it, but not its signature.
    """
    ends = {line.number: line.hash for line in of(team)} if archives else {}
    key, through, previous = _key().public_key(), 0, ""
    for archive in archives:
        if archive.previous != previous or not _is_signed(key, archive.statement, archive.signature):
            return Verdict(False, 0, archive.first, "its archive was not signed with this desk's key", through)
        if ends.get(archive.through) != archive.hash:
            return Verdict(False, 0, archive.first, "its archive does not end at a signed checkpoint", through)
        through, previous = archive.through, archive.signature
    return None


def _check_file() -> None:
    """Refuse a file whose lines were changed, put in, taken out or moved."""
    previous, key = "", _key().public_key()
    for number, line in enumerate(read(), start=1):
        if line.previous != previous:
            raise CheckpointRefused(f"Line {number} of {FILE} does not follow the one before it.")
        if not _is_signed(key, line.signed, line.signature):
            raise CheckpointRefused(f"Line {number} of {FILE} was not signed with this desk's key.")
        previous = line.signature


def _is_signed(key: Ed25519PublicKey, message: bytes, signature: str) -> bool:
    try:
        key.verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


@contextmanager
def _locked_file() -> Iterator[Path]:
    """Hold the file against other processes that would append to it."""
    path = _path()
    descriptor = os.open(path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(descriptor)


def _append(path: Path, made: list[Checkpoint]) -> None:
    """Put lines on the disk, all of them or none. Raises OSError with the file as it was."""
    lines = [canonical({name: getattr(line, name) for name in line.__slots__}) + "\n" for line in made]
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    # Without a buffer: what one still holds after a failure would be written when the file is closed.
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        _cut_rest(path)
        size = file.seek(0, os.SEEK_END)
        try:
            left = memoryview("".join(lines).encode())
            while left:
                left = left[file.write(left) :]
            os.fsync(descriptor)
        except OSError:
            file.truncate(size)
            raise


def _cut_rest(path: Path) -> None:
    """Cut off what follows the last line feed."""
    with path.open("r+b") as file:
        size = sum(len(line) for line in file if line.endswith(b"\n"))
        if rest := file.seek(0, os.SEEK_END) - size:
            logger.warning("%s ended in %d bytes of a line that was never finished: they are cut off.", FILE, rest)
            file.truncate(size)


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    """Say in a sentence that the disk or the file system refuses a file."""
    try:
        yield
    except OSError as exc:
        raise CheckpointRefused(
            f"{name} cannot be used: {exc.strerror or exc}. See that its disk has room and that the file is the desk's"
            " own, then verify the record again."
        ) from exc


def _path() -> Path:
    return Path(settings.KALSHIWEB_DATA_DIR) / FILE


def _key() -> Ed25519PrivateKey:
    """Return the signing key, made once and kept at 0600."""
    path = Path(settings.KALSHIWEB_DATA_DIR) / KEY_FILE
    with _in_words(KEY_FILE):
        if not path.exists():
            _make_key(path)
        if path.stat().st_mode & 0o077:
            raise CheckpointRefused(f"{path} can be read by others: run chmod 600 on it.")
        key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise CheckpointRefused(f"{path} is no Ed25519 key.")
    return key


def _make_key(path: Path) -> None:
    """Write a new key beside its place and move it there: nobody reads half of one, and the first of two wins."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def _fingerprint(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()
