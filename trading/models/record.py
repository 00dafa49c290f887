"""The record: what was done by whom, chained so that nobody can bend it; and what a team's browsers are told.

Each entry's hash covers the one before it: a row that is changed, taken out, put in or moved breaks the chain from
there on. The database refuses updates and deletions by triggers (migration 0005), but for the oldest rows once a signed
archive holds them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import uuid
from collections.abc import Mapping
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import F
from django.utils import timezone

from markets.lines import LAYER_ERRORS
from trading import origin
from trading.models.people import Team

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

logger = logging.getLogger(__name__)

DESK_GROUP = "desk"  # the layer's group of all web processes; its messages name the team
PUBLISH_SECONDS = 0.5
_SECRET_NAME = re.compile(r"signature|private|secret|password|cookie|authorization|token|pem\b|sealed|master", re.I)
_SECRET_TEXT = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)
_MASK = "[hidden]"


class AppendOnly(Exception):
    """Somebody tried to change or remove an entry of the record."""


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    """The entries of a team, the one way to add to them, and the one way to move them out."""

    def append(
        self,
        action: str,
        actor: AbstractBaseUser | None,
        *,
        team: Team,
        subject: models.Model | None = None,
        environment: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> AuditEntry:
        """Add an entry at the end of the team's chain; the team's row is locked until the caller's transaction ends.

        Where a request is under way, the facts say from where it comes.
        """
        came = origin.current()
        with transaction.atomic():
            Team.objects.select_for_update(no_key=True).get(pk=team.pk)
            last = self.filter(team=team).order_by("-number").first()
            entry = AuditEntry(
                team=team,
                number=last.number + 1 if last else 1,
                at=timezone.now(),
                environment=environment,
                actor_id=actor.pk if actor else None,
                actor_name=actor.get_username() if actor else "",
                action=action,
                subject=f"{subject._meta.model_name}:{subject.pk}" if subject else "",
                facts=masked({**(facts or {}), **({origin.KEY: came} if came else {})}),
                previous_hash=last.hash if last else "",
            )
            entry.hash = entry.digest()
            entry.save(force_insert=True)
            return entry

    def move_out(self, archive: Archive) -> int:
        """Delete the rows that an archive holds, return how many; without its row and entry the database refuses."""
        held = self.filter(team_id=archive.team_id, number__range=(archive.first, archive.through))
        return models.QuerySet.delete(held)[0]

    def update(self, **kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnly("Entries of the record are never changed.")

    def delete(self) -> NoReturn:
        """Refuse."""
        raise AppendOnly("Entries of the record are never removed.")


class AuditEntry(models.Model):
    """One thing that was done; written in the transaction that did it."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="audit_entries")
    number = models.BigIntegerField(help_text="In the team's chain, from 1, without holes.")
    at = models.DateTimeField()
    environment = models.CharField(max_length=10, default="", blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    actor_name = models.CharField(max_length=150, default="", help_text="As it was then; empty for the desk itself.")
    action = models.CharField(max_length=60)
    subject = models.CharField(max_length=100, default="", blank=True)
    facts = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64, default="", blank=True)
    hash = models.CharField(max_length=64)

    objects: ClassVar[AuditQuerySet] = AuditQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name_plural = "audit entries"
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "number"], name="audit_team_number")]
        indexes: ClassVar = [models.Index(fields=["team", "subject"], name="audit_subject")]

    def __str__(self) -> str:
        return f"{self.number} {self.action} {self.subject}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write a new entry; refuse to write one again."""
        if not self._state.adding:
            raise AppendOnly("Entries of the record are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnly("Entries of the record are never removed.")

    def digest(self) -> str:
        """Return SHA-256 over the previous hash and this row in its one canonical form, hexadecimal."""
        row = {
            "team": str(self.team_id),
            "number": self.number,
            "at": self.at.astimezone(UTC).isoformat(),
            "environment": self.environment,
            "actor": self.actor_id,
            "actor_name": self.actor_name,
            "action": self.action,
            "subject": self.subject,
            "facts": self.facts,
        }
        return hashlib.sha256((self.previous_hash + canonical(row)).encode()).hexdigest()


class ArchiveQuerySet(models.QuerySet["Archive"]):
    """The archives of a team, the oldest rows first."""

    def of(self, team: Team) -> ArchiveQuerySet:
        """Return a team's archives in the order of their rows."""
        return self.filter(team=team).order_by("first", "pk")

    def update(self, **kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnly("Archives of the record are never changed.")

    def delete(self) -> NoReturn:
        """Refuse."""
        raise AppendOnly("Archives of the record are never removed.")


class Archive(models.Model):
    """Rows of a team's record that stand in a signed file from now on; the database lets these, and no others, go.

    What it says is signed with the desk's key, names the archive before it, and stands in the record as an entry too.
    """

    ACTION: ClassVar = "audit.archived"

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="archives")
    first = models.BigIntegerField(help_text="Number of its first row: the one after the archive before it.")
    through = models.BigIntegerField(help_text="Number of its last row, where a signed checkpoint ends.")
    previous_hash = models.CharField(max_length=64, default="", blank=True, help_text="Of the row before the first.")
    hash = models.CharField(max_length=64, help_text="Hash of the last row, from which the chain goes on.")
    since = models.DateTimeField(help_text="When its first row was written.")
    until = models.DateTimeField(help_text="When its last row was written.")
    at = models.DateTimeField()
    file = models.CharField(max_length=255, help_text="Name of the file, without its folder.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the file.")
    previous = models.CharField(max_length=128, default="", blank=True, help_text="Signature of the archive before it.")
    signature = models.CharField(max_length=128)

    objects: ClassVar[ArchiveQuerySet] = ArchiveQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "first"], name="archive_team_first")]

    def __str__(self) -> str:
        return f"rows {self.first}–{self.through} in {self.file}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write a new archive; refuse to write one again."""
        if not self._state.adding:
            raise AppendOnly("Archives of the record are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnly("Archives of the record are never removed.")

    @property
    def facts(self) -> dict[str, Any]:
        """What the entry of the record says of it."""
        return {name: getattr(self, name) for name in ("first", "through", "file", "hash", "digest")}

    @property
    def statement(self) -> bytes:
        """What is signed: everything but the signature, in canonical JSON."""
        times = {name: getattr(self, name).astimezone(UTC).isoformat() for name in ("since", "until", "at")}
        bound = {"previous_hash": self.previous_hash, "previous": self.previous, "team": str(self.team_id)}
        return canonical({"kind": "archive", **self.facts, **times, **bound}).encode()


class DeskEvent(models.Model):
    """A number of the team's, and what changed with it; the frame is made from the row as it stands when it is sent."""

    class Kind(models.TextChoices):
        """What changed."""

        ORDER = "order", "Order"
        FILL = "fill", "Fill"

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="desk_events")
    number = models.BigIntegerField()
    environment = models.CharField(max_length=10)
    kind = models.CharField(max_length=10, choices=Kind)
    subject = models.CharField(max_length=40, help_text="Primary key of the order or fill.")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "number"], name="deskevent_team_number")]
        indexes: ClassVar = [models.Index(fields=["at"], name="deskevent_at")]

    def __str__(self) -> str:
        return f"{self.team_id} {self.number} {self.kind}"

    @staticmethod
    def append(kind: str, *subjects: models.Model, team_id: uuid.UUID, environment: str) -> None:
        """Give each change the team's next number; browsers hear of them when the caller's transaction is durable."""
        with transaction.atomic():
            Team.objects.filter(pk=team_id).update(number=F("number") + len(subjects))
            last = Team.objects.values_list("number", flat=True).get(pk=team_id)
            DeskEvent.objects.bulk_create(
                DeskEvent(team_id=team_id, number=number, environment=environment, kind=kind, subject=str(subject.pk))
                for number, subject in enumerate(subjects, start=last - len(subjects) + 1)
            )
            _publish_once(team_id)


def _publish_once(team_id: uuid.UUID) -> None:
    """Have a team's browsers told when the transaction is durable, once however many changes it holds."""
    hooks = [entry[1] for entry in connection.run_on_commit]
    if not any(isinstance(hook, partial) and (hook.func, hook.args) == (publish, (team_id,)) for hook in hooks):
        transaction.on_commit(partial(publish, team_id))


def publish(team_id: uuid.UUID) -> None:
    """Tell all web processes that a team has news. It may get lost: they ask the database each second anyway."""
    try:
        async_to_sync(_publish)({"type": "desk.news", "team": str(team_id)})
    except LAYER_ERRORS as exc:
        logger.warning("the desk's news did not get through at once: %s", type(exc).__name__)


async def _publish(message: dict[str, Any]) -> None:
    async with asyncio.timeout(PUBLISH_SECONDS):
        await get_channel_layer().group_send(DESK_GROUP, message)


def canonical(value: Any) -> str:
    """Return JSON in the one form that is hashed: sorted, without spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def masked(value: Any) -> Any:
    """Return a value as JSON can hold it, without private keys and whatever stands under a secret's name."""
    if isinstance(value, Mapping):
        return {str(name): _MASK if _SECRET_NAME.search(str(name)) else masked(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(inner) for inner in value]
    if value is None or isinstance(value, bool | int):
        return value
    return _SECRET_TEXT.sub(_MASK, str(value))
