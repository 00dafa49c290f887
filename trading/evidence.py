"""Evidence: a zip of one order's, or one day's, entries of the record that can be checked without this desk.

It holds the entries as they are hashed, the signed checkpoints that know those hashes, the public key and a program
that checks all of it with Python's standard library alone (`trading/verify_evidence.py`, packed as `verify.py`).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from trading import audit, chain, checkpoints, permissions
from trading.chain import Row
from trading.checkpoints import Checkpoint
from trading.models import Archive, AuditEntry, Fill, Order, Team
from trading.models.record import canonical
from trading.permissions import Permission

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_ENTRIES = 100_000
VERIFIER = Path(__file__).with_name("verify_evidence.py")
README = """Evidence out of the record of {team}: {what}.

Check it with Python 3.9 or newer, nothing else:   python verify.py

What it proves: the desk whose signing key has the fingerprint below had exactly these entries in its record when it
signed the checkpoints in checkpoints.jsonl; none of them was changed, put in or moved since, and this package is as
the desk made it.
What it does not prove: that an entry was true when it was written, that the clock was right, that there are no other
entries (for a day: that none is missing between the first and the last row number given is checked), or whose key it
is. Compare the fingerprint with the one that the desk's owner noted elsewhere:

    {fingerprint}
{elsewhere}"""


class EvidenceRefused(Exception):
    """No package is made; the text is one sentence for a person."""


def of_order(actor: User, *, order: Order) -> bytes:
    """Return the package of one order. Raises EvidenceRefused, CheckpointRefused, Http404 or PermissionDenied."""
    entries = AuditEntry.objects.filter(team=order.team)
    mine = entries.filter(subject=f"order:{order.pk}")
    fills = [f"fill:{pk}" for pk in Fill.objects.filter(order=order).values_list("pk", flat=True)]
    found = mine | entries.filter(subject__in=fills)
    archives = Archive.objects.of(order.team).filter(until__gte=order.created_at)
    return _package(actor, order.team, found, archives, what=f"order {order.pk}", is_range=False)


def of_day(actor: User, *, team: Team, day: date) -> bytes:
    """Return the package of one day, midnight to midnight UTC. Raises as `of_order` does."""
    # To the day's last microsecond, which is as fine as the record's clock: the calendar's last day has no next one.
    start, end = datetime.combine(day, time.min, UTC), datetime.combine(day, time.max, UTC)
    found = AuditEntry.objects.filter(team=team, at__gte=start, at__lte=end)
    archives = Archive.objects.of(team).filter(since__lte=end, until__gte=start)
    return _package(actor, team, found, archives, what=f"{day.isoformat()}, midnight to midnight UTC", is_range=True)


def _package(
    actor: User, team: Team, found: QuerySet[AuditEntry], archives: Iterable[Archive], *, what: str, is_range: bool
) -> bytes:
    """Return the package of the rows found; those of its time that are in archives are named in it, not left out."""
    permissions.require(actor, team, Permission.SEE_AUDIT)
    permissions.require(actor, team, Permission.EXPORT_HISTORY)
    elsewhere = [_place(archive) for archive in archives]
    rows = _rows(team, found, elsewhere)
    checkpoints.make(team)
    numbers = {row[0]["number"] for row in rows}
    more = "".join(f"\nNot in here: {place}.\n" for place in elsewhere)
    readme = README.format(team=team.name, what=what, fingerprint=checkpoints.fingerprint(), elsewhere=more)
    files = {
        "entries.jsonl": b"".join(map(chain.line, rows)),
        "checkpoints.jsonl": _lines(asdict(line) for line in _covering(team, numbers)),
        "public_key.pem": checkpoints.public_key(),
        "verify.py": VERIFIER.read_bytes(),
        "README.txt": readme.encode(),
    }
    manifest = {
        "team": str(team.pk),
        "team_name": team.name,
        "what": what,
        "is_range": is_range,
        "not_in_here": elsewhere,
        "made_at": timezone.now().isoformat(),
        "made_by": actor.get_username(),
        "key": checkpoints.fingerprint(),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    files["manifest.json"] = canonical(manifest).encode()
    files["manifest.sig"] = checkpoints.sign(files["manifest.json"]).hex().encode()
    with transaction.atomic():
        audit.record("audit.exported", actor, team=team, facts={"what": what, "entries": len(rows)})
    return _zipped(files)


def _rows(team: Team, found: QuerySet[AuditEntry], elsewhere: list[str]) -> list[Row]:
    rows = list(chain.rows(team, found.order_by("number")[: MOST_ENTRIES + 1]))
    if not rows and elsewhere:
        raise EvidenceRefused(f"The database has no entry of that any more: {'; '.join(elsewhere)}.")
    if not rows:
        raise EvidenceRefused("The record has no entry of that.")
    if len(rows) > MOST_ENTRIES:
        raise EvidenceRefused(f"That is more than {MOST_ENTRIES} entries: take a shorter time.")
    return rows


def _place(archive: Archive) -> str:
    """Return where rows of the time in question are."""
    return f"rows {archive.first}–{archive.through} are in the archive {archive.file} (SHA-256 {archive.digest})"


def _covering(team: Team, numbers: set[int]) -> list[Checkpoint]:
    wanted = sorted(numbers)
    return [
        line for line in checkpoints.of(team) if bisect_left(wanted, line.first) < bisect_right(wanted, line.number)
    ]


def _lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n" for row in rows).encode()


def _zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"evidence/{name}", content)
    return packed.getvalue()
