"""Archives: the oldest rows of a team's record go out of the database into a signed file, up to a signed checkpoint.

The file is a package like evidence (`trading/evidence.py`), checked by the same program without this desk: the rows as
they are hashed, the checkpoints that know them, a signed manifest. It is written, put on the disk, read back and
compared before a row goes; then one transaction writes the archive's own row, signed too, and the entry that tells of
it, and deletes the rows. The database's guards let exactly these go (migration 0005), and the chain goes on from the
last hash of the archive. Neither end is held in memory.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from trading import audit, chain, checkpoints, verify_evidence
from trading.checkpoints import Checkpoint
from trading.evidence import VERIFIER
from trading.models import Archive, AuditEntry, Team
from trading.models.record import canonical
from trading.verify_evidence import Wrong

FOLDER = "record"  # inside the zip
READ_AT_ONCE = 1 << 20
README = """Archive of the record of {team}: rows {first} to {through}.

Check it with Python 3.9 or newer, nothing else: unpack verify.py and run   python verify.py {file}

These rows were moved out of the desk's database; this file is where they are. What it proves and what it does not is
what an evidence package proves: the desk whose signing key has the fingerprint below had exactly these rows, without a
hole, when it signed their checkpoints. Compare the fingerprint with the one that the desk's owner noted elsewhere:

    {fingerprint}

That the file joins the record that goes on after it is checked at the desk:   manage.py audit_verify --archive {file}
"""


class ArchiveRefused(Exception):
    """Nothing was archived, or a file is no archive of this desk's; the text is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class Span:
    """The rows of a team that are to go, from the first that is in no archive to a signed checkpoint."""

    team: Team
    first: int
    through: int
    previous_hash: str
    hash: str
    since: datetime
    until: datetime
    previous: str  # signature of the archive before

    @property
    def count(self) -> int:
        """How many rows; their numbers have no holes."""
        return self.through - self.first + 1

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"record-{self.team.slug}-{self.first}-{self.through}.zip"

    def rows(self) -> QuerySet[AuditEntry]:
        """Return the rows as they are in the database."""
        found = AuditEntry.objects.filter(team=self.team, number__range=(self.first, self.through))
        return found.order_by("number")

    def checkpoints(self) -> Iterator[Checkpoint]:
        """Yield the checkpoints that know the rows, in order."""
        return (line for line in checkpoints.of(self.team) if self.first <= line.number <= self.through)


def span(team: Team, *, through: int | None = None, before: date | None = None) -> Span:
    """Return what may be archived: rows through a checkpoint's number, or all whole checkpoints before a day (UTC).

    Raises ArchiveRefused where that is nothing or where the record does not hold, and CheckpointRefused.
    """
    verdict = checkpoints.verify(team)
    if not verdict.is_whole:
        raise ArchiveRefused(f"The record of {team} does not hold: row {verdict.number} is bad, {verdict.why}.")
    if missing := chain.missing_triggers():
        raise ArchiveRefused(f"The database's guards of the record are gone: {', '.join(sorted(missing))}.")
    ends = [line.number for line in checkpoints.of(team)]
    if through is None:
        limit = _last_before(team, before) if before is not None else verdict.last
        through = max((end for end in ends if end <= limit), default=0)
        if through <= verdict.archived:
            raise ArchiveRefused(f"No signed checkpoint ends after row {verdict.archived} and before that day.")
    if verdict.archived and through <= verdict.archived:
        raise ArchiveRefused(f"Rows to {verdict.archived} are in an archive already.")
    if through not in ends:
        nearest = max((end for end in ends if verdict.archived < end < through), default=None)
        advice = f"the last one before it ends at row {nearest}" if nearest else "none ends before it"
        raise ArchiveRefused(f"No signed checkpoint ends at row {through}; {advice}.")
    return _span(team, verdict.archived + 1, through)


def make(rows: Span, directory: Path) -> Archive:
    """Move the rows into a file in a directory and return the archive. Raises ArchiveRefused; then nothing is changed.

    The file is complete on the disk, and compared, before a row goes. Where the database fails at the commit itself
    nobody knows whether the rows went: then the file stays.
    """
    path, is_complete = directory / rows.name, False
    with _new_file(path) as file:
        try:
            digest = _write(rows, file)
            _sync_folder(directory)
            _read_back(rows, path, digest)
            with transaction.atomic():
                archive = _move(rows, path, digest)
                is_complete = True
        except DatabaseError as exc:
            what = f"{path} stays; audit_verify says whether the rows went" if is_complete else "nothing was changed"
            why = str(exc).partition("\n")[0]  # what follows may show the row
            raise ArchiveRefused(f"The database failed ({why}): {what}.") from None
        finally:
            if not is_complete:
                path.unlink()
    return archive


def check(path: Path) -> Archive:
    """Verify an archive's file and that it is this desk's; return the archive. Raises ArchiveRefused.

    Whether the record goes on from it, and whether the archive's own row holds, says `checkpoints.verify` of its team.
    """
    try:
        verify_evidence.check(path)
        manifest, digest = _manifest_of(path), _digest(path)
    except (Wrong, OSError, KeyError, zipfile.BadZipFile) as exc:
        raise ArchiveRefused(f"{path.name} does not hold: {exc}.") from None
    if manifest["key"] != checkpoints.fingerprint():
        raise ArchiveRefused(f"{path.name} was signed with another key than this desk's: {manifest['key']}.")
    archive = Archive.objects.select_related("team").filter(digest=digest).first()
    if archive is None:
        raise ArchiveRefused(
            f"{path.name} holds in itself, but the record names no archive with its SHA-256, {digest}."
        )
    rows = _as_span(archive)
    if manifest["archive"] != _bounds(rows) or manifest["team"] != str(archive.team_id):
        raise ArchiveRefused(f"{path.name} does not hold what the record says of it, rows {rows.first}–{rows.through}.")
    if not _is_the_same(path, "checkpoints.jsonl", map(_line, rows.checkpoints())):
        raise ArchiveRefused(f"The checkpoints in {path.name} are not those that this desk has kept.")
    return archive


# --- what goes -------------------------------------------------------------------------------------------------


def _last_before(team: Team, day: date) -> int:
    """Return the number of the last row before the first that was written on a day or later."""
    start = datetime.combine(day, time(), UTC)
    numbers = AuditEntry.objects.filter(team=team).order_by("number").values_list("number", flat=True)
    later = numbers.filter(at__gte=start).first()
    last = numbers.last() or 0
    return last if later is None else later - 1


def _span(team: Team, first: int, through: int) -> Span:
    before = Archive.objects.of(team).last()
    start = AuditEntry.objects.get(team=team, number=first)
    end = AuditEntry.objects.get(team=team, number=through)
    previous = before.signature if before else ""
    return Span(team, first, through, start.previous_hash, end.hash, start.at, end.at, previous)


def _as_span(archive: Archive) -> Span:
    names = ("first", "through", "previous_hash", "hash", "since", "until", "previous")
    return Span(archive.team, **{name: getattr(archive, name) for name in names})


def _bounds(rows: Span) -> dict[str, Any]:
    """Return what the manifest says of the rows and of their place in the chain."""
    lines, signature = 0, ""
    for line in rows.checkpoints():
        lines, signature = lines + 1, line.signature
    return {
        "first": rows.first,
        "through": rows.through,
        "count": rows.count,
        "previous_hash": rows.previous_hash,
        "hash": rows.hash,
        "since": rows.since.astimezone(UTC).isoformat(),
        "until": rows.until.astimezone(UTC).isoformat(),
        "checkpoints": lines,
        "last_checkpoint": signature,
        "previous_archive": rows.previous,
    }


# --- the file --------------------------------------------------------------------------------------------------


class _Hashed:
    """A file that is written from its beginning to its end, and the SHA-256 of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def write(self, content: bytes) -> int:
        """Write and hash."""
        self.sha256.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        """Hand on to the system what was written."""
        self._file.flush()


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that must not be there yet; what the disk refuses is one sentence."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except FileExistsError:
        advice = "if the record names no archive of that name, remove it and try again"
        raise ArchiveRefused(f"{path} exists already and is never replaced; {advice}.") from None
    except OSError as exc:
        raise ArchiveRefused(f"The archive cannot be written to {path.parent}: {exc.strerror or exc}.") from None


def _write(rows: Span, file: IO[bytes]) -> str:
    """Write the archive and have it on the disk; return the SHA-256 of what was written."""
    hashed = _Hashed(file)
    # The zip is written as to a pipe: nothing is patched afterwards, so the hash is that of the bytes on the disk.
    with zipfile.ZipFile(hashed, "w", zipfile.ZIP_DEFLATED) as packed:  # type: ignore[call-overload]
        digests = {
            "entries.jsonl": _pack(packed, "entries.jsonl", map(chain.line, chain.rows(rows.team, rows.rows()))),
            "checkpoints.jsonl": _pack(packed, "checkpoints.jsonl", map(_line, rows.checkpoints())),
        }
        readme = README.format(
            team=rows.team.name,
            first=rows.first,
            through=rows.through,
            file=rows.name,
            fingerprint=checkpoints.fingerprint(),
        )
        for name, content in (
            ("public_key.pem", checkpoints.public_key()),
            ("verify.py", VERIFIER.read_bytes()),
            ("README.txt", readme.encode()),
        ):
            digests[name] = _pack(packed, name, [content])
        manifest = _manifest(rows, digests)
        _pack(packed, "manifest.json", [manifest])
        _pack(packed, "manifest.sig", [checkpoints.sign(manifest).hex().encode()])
    file.flush()
    os.fsync(file.fileno())
    return hashed.sha256.hexdigest()


def _manifest(rows: Span, digests: dict[str, str]) -> bytes:
    said = {
        "team": str(rows.team.pk),
        "team_name": rows.team.name,
        "what": f"rows {rows.first} to {rows.through}",
        "is_range": True,
        "archive": _bounds(rows),
        "made_at": timezone.now().isoformat(),
        "made_by": f"audit_archive on {socket.gethostname()}",
        "key": checkpoints.fingerprint(),
        "files": digests,
    }
    return canonical(said).encode()


def _pack(packed: zipfile.ZipFile, name: str, parts: Iterable[bytes]) -> str:
    """Write a file of the zip piece by piece; return its SHA-256."""
    digest = hashlib.sha256()
    with packed.open(f"{FOLDER}/{name}", "w", force_zip64=True) as file:
        for part in parts:
            digest.update(part)
            file.write(part)
    return digest.hexdigest()


def _read_back(rows: Span, path: Path, digest: str) -> None:
    """Refuse a file whose bytes are not those written, that does not hold, or whose rows are not the database's."""
    try:
        if _digest(path) != digest:
            raise ArchiveRefused("The archive reads otherwise than it was written: the disk cannot be trusted.")
        verify_evidence.check(path)
        if not _is_the_same(path, "entries.jsonl", map(chain.line, chain.rows(rows.team, rows.rows()))):
            raise ArchiveRefused("The rows in the archive are not those in the database.")
    except Wrong as exc:
        raise ArchiveRefused(f"The archive does not hold as it was read back: {exc}.") from None


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file as the disk has it, not as the system remembers having written it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while part := file.read(READ_AT_ONCE):
            digest.update(part)
    return digest.hexdigest()


def _is_the_same(path: Path, name: str, lines: Iterable[bytes]) -> bool:
    """Say whether a file of the zip has exactly these lines."""
    with zipfile.ZipFile(path) as packed, packed.open(f"{FOLDER}/{name}") as file:
        return all(kept == line for kept, line in zip_longest(file, lines))


def _manifest_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as packed:
        manifest: dict[str, Any] = json.loads(packed.read(f"{FOLDER}/manifest.json"))
        return manifest


def _line(line: Checkpoint) -> bytes:
    return canonical(asdict(line)).encode() + b"\n"


def _sync_folder(directory: Path) -> None:
    """Have the file's name on the disk, not only what is in it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- the database ----------------------------------------------------------------------------------------------


def _move(rows: Span, path: Path, digest: str) -> Archive:
    """Write the archive's row and the entry of it and delete the rows, in the caller's transaction."""
    team = Team.objects.select_for_update(no_key=True).get(pk=rows.team.pk)
    last = Archive.objects.of(team).last()
    if (last.through if last else 0) != rows.first - 1:
        raise ArchiveRefused("Somebody else has archived rows of this team meanwhile.")
    names = ("first", "through", "previous_hash", "hash", "since", "until", "previous")
    archive = Archive(team=team, at=timezone.now(), file=path.name, digest=digest)
    for name in names:
        setattr(archive, name, getattr(rows, name))
    archive.signature = checkpoints.sign(archive.statement).hex()
    archive.save(force_insert=True)
    where = {"directory": str(path.parent), "host": socket.gethostname(), "person": _person()}
    facts = {**archive.facts, **where, "command": "audit_archive"}
    audit.record(Archive.ACTION, None, team=team, subject=archive, facts=facts)
    if AuditEntry.objects.move_out(archive) != rows.count:
        raise ArchiveRefused("The database did not let exactly these rows go.")
    return archive


def _person() -> str:
    """Return the name of the system's user who runs the command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"
