"""The record of the desk: `record` writes in the caller's transaction, `verify` finds the first row that was bent.

Orders write their entries themselves (`Order.advance`), through the same chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django.db.models import Model
from django.utils import timezone

from trading.chain import Verdict, verify
from trading.models import AuditEntry, Team

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

__all__ = ["SENTENCES", "UnknownAction", "Verdict", "record", "record_once", "sentence", "verify"]

READ_AGAIN_AFTER = timedelta(hours=1)

SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        "team.created": "created the team",
        "member.added": "added a member",
        "member.changed": "changed a member's role",
        "member.removed": "removed a member",
        "member.paused": "paused a member",
        "member.resumed": "let a paused member in again",
        "member.limits_changed": "changed a member's own limits",
        "member.joined": "joined the team by an invitation",
        "invitation.made": "made an invitation",
        "invitation.withdrawn": "withdrew an invitation",
        "team.changed": "changed the team's settings",
        "session.started": "logged in",
        "session.failed": "failed to log in",
        "session.factor_failed": "gave a wrong second factor",
        "session.kept_out": "was kept out after too many wrong guesses",
        "session.left": "logged out",
        "session.ended": "ended a session",
        "session.second_factor": "changed a second factor",
        "person.locked": "locked or unlocked a person's account",
        "keys.read": "looked at the keys' ids and fingerprints",
        "sessions.read": "looked at the team's sessions",
        "audit.read": "looked at the record",
        "audit.exported": "took evidence out of the record",
        "audit.archived": "moved old rows of the record into an archive",
        "login.link_made": "made a log-in link",
        "login.link_used": "logged in with a link",
        "login.password_set": "set a password",
        "account.added": "added an account",
        "account.reconciled": "compared the account with the exchange",
        "key.added": "added a key",
        "key.generated": "had a key generated at the exchange",
        "key.probed": "tried a key at the exchange",
        "key.paused": "paused a key",
        "key.resumed": "resumed a key",
        "key.removed": "removed a key",
        "key.refused": "found that the exchange refuses a key",
        "key.lent": "lent a key to the desk's feed",
        "key.taken_back": "took a key back from the desk's feed",
        "key.rewrapped": "wrapped a key with the newest master key",
        "limits.changed": "changed the limits",
        "trading.changed": "changed the trading state",
        "order.submitted": "submitted an order",
        "order.denied": "the desk denied the order",
        "order.awaiting_approval": "the order awaits approval",
        "order.queued": "the order was cleared to be sent",
        "order.sending": "the order was sent",
        "order.resting": "the order rests in the book",
        "order.executed": "the order was executed",
        "order.canceled": "the order was canceled",
        "order.rejected": "the exchange rejected the order",
        "order.unknown": "no answer came: the order's state is unknown",
        "order.needs_human": "the order's state could not be found out: a person is needed",
        "order.not_placed": "the order was never placed, as the exchange shows",
        "order.lapsed": "the order lapsed, it was never sent",
        "order.heard": "the exchange told of the order",
        "order.scanned": "the exchange's lists did not contain the order",
        "order.cancel_requested": "asked to cancel the order",
        "order.cancel_refused": "the cancel was refused",
        "order.cancel_not_done": "the cancel was not carried out",
        "order.adopted": "found an order placed elsewhere",
        "order.contradicted": "found at the exchange an order that should not be there",
        "fill.booked": "booked a fill",
    }
)


class UnknownAction(Exception):
    """An action without a sentence: an error of ours."""


def record(
    action: str,
    actor: AbstractBaseUser | None,
    *,
    team: Team,
    subject: Model | None = None,
    environment: str = "",
    facts: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Write an entry in the caller's transaction: where this fails, the change fails.

    `actor` is None for the desk itself; `facts` are made JSON, secrets in them are blanked. Locks the team's row until
    the transaction ends, so call it last. Raises UnknownAction for an action that has no sentence.
    """
    if action not in SENTENCES:
        raise UnknownAction(action)
    return AuditEntry.objects.append(action, actor, team=team, subject=subject, environment=environment, facts=facts)


def record_once(action: str, actor: AbstractBaseUser, *, team: Team, environment: str = "") -> None:
    """Write that somebody looked at something, once an hour and person; a page that is reloaded fills no record."""
    lately = AuditEntry.objects.filter(team=team, at__gt=timezone.now() - READ_AGAIN_AFTER)
    if not lately.filter(action=action, actor_id=actor.pk).exists():
        record(action, actor, team=team, environment=environment)


def sentence(entry: AuditEntry) -> str:
    """Return what the entry says, for a person, without the name."""
    return SENTENCES.get(entry.action, entry.action)
