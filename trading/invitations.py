"""Invitations: a link joins one person to a team once, in the role it names.

Only the hash of a link's token is kept, so nobody who reads the database can use it. Of two people who open the same
link, one gets in.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth import password_validation
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from trading import audit, permissions, teams
from trading.models import Invitation, Membership, Team
from trading.permissions import HIGH

LIFE = timedelta(days=3)
GONE = "This invitation was used, withdrawn or is too old: ask for a new one."


class InvitationRefused(Exception):
    """An invitation is not made or not accepted; the text is one sentence for a person."""


def invite(actor: User, *, team: Team, role: str, for_whom: str) -> str:
    """Make an invitation and return its token, the only place where it exists.

    Raises InvitationRefused, Http404 or PermissionDenied.
    """
    if role not in Membership.Role.values:
        raise InvitationRefused("There is no such role.")
    for_whom = " ".join(for_whom.split())[:80]
    if not for_whom or not for_whom.isprintable():
        raise InvitationRefused("Say whom the invitation is for.")
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        team = teams.locked(team)
        permissions.require(actor, team, permissions.needed(role))
        made = Invitation.objects.create(
            token_hash=_hash(token),
            team=team,
            role=role,
            for_whom=for_whom,
            invited_by=actor,
            expires_at=timezone.now() + LIFE,
        )
        audit.record("invitation.made", actor, team=team, subject=made, facts={"for": for_whom, "role": role})
    return token


def withdraw(actor: User, *, invitation: Invitation) -> None:
    """End an invitation that nobody has used. Raises InvitationRefused, Http404 or PermissionDenied."""
    with transaction.atomic():
        team = teams.locked(invitation.team)
        permissions.require(actor, team, permissions.needed(invitation.role))
        if not _end(invitation, withdrawn_at=timezone.now()):
            raise InvitationRefused("The invitation is over already.")
        audit.record("invitation.withdrawn", actor, team=team, subject=invitation, facts={"for": invitation.for_whom})


def waiting(team: Team) -> list[Invitation]:
    """Return a team's invitations that can still be used."""
    return list(_open().filter(team=team).select_related("invited_by").order_by("created_at"))


def look_up(token: str) -> Invitation:
    """Return the invitation of a token, for the page that asks whether to accept. Raises InvitationRefused."""
    found = _open().select_related("team", "invited_by").filter(token_hash=_hash(token)).first()
    if found is None:
        raise InvitationRefused(GONE)
    return found


def accept(actor: User, *, token: str) -> Membership:
    """Join the team as somebody who has an account. Raises InvitationRefused."""
    with transaction.atomic():
        return _join(actor, _held(token))


@sensitive_variables("password")
def accept_new(token: str, *, username: str, password: str) -> User:
    """Make an account and join the team with it. Raises InvitationRefused; ValidationError for name or password."""
    user = User(username=username.strip())
    look_up(token)
    _check_name(user)
    password_validation.validate_password(password, user)
    user.set_password(password)  # takes its time by design: before the team's row is held
    with transaction.atomic():
        invitation = _held(token)
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError:
            raise ValidationError("This name is taken.") from None
        _join(user, invitation)
    return user


def _held(token: str) -> Invitation:
    """Return an invitation that can be used, with its team's row held: whoever made it cannot be leaving now."""
    teams.locked(look_up(token).team)
    return look_up(token)


def _join(user: User, invitation: Invitation) -> Membership:
    """Use the invitation up and let the person in; somebody who had left comes back in the new role."""
    if not _end(invitation, used_at=timezone.now(), used_by=user):
        raise InvitationRefused(GONE)
    membership = Membership.objects.filter(team=invitation.team, user=user).first()
    if membership is None:
        membership = Membership(team=invitation.team, user=user)
    elif membership.is_active:
        raise InvitationRefused("You are in this team already.")
    elif membership.left_at is None:
        raise InvitationRefused("Your membership is paused: only the team can let you in again.")
    membership.role, membership.is_active = invitation.role, True
    membership.left_at = None
    if permissions.cancels_own(membership.role):  # else their working orders stay with whoever looks after them
        membership.handed_to = None
    membership.save()
    facts = {"user": user.get_username(), "role": invitation.role, "invited_by": invitation.invited_by.get_username()}
    audit.record("member.joined", user, team=invitation.team, subject=membership, facts=facts)
    return membership


def _end(invitation: Invitation, **columns: object) -> bool:
    """End an invitation that nobody has ended; of two at once one does.

    The row's own columns alone are asked: PostgreSQL looks at those again when it has waited for the row, while the
    rows of a join would be those of before.
    """
    still = Invitation.objects.filter(pk=invitation.pk, used_at=None, withdrawn_at=None, expires_at__gt=timezone.now())
    return bool(still.update(**columns))


def _check_name(user: User) -> None:
    """Refuse names that cannot be told apart from others."""
    field = User._meta.get_field("username")
    field.clean(user.username, user)
    if User.objects.filter(username__iexact=user.username).exists():
        raise ValidationError("This name is taken.")


def _open() -> QuerySet[Invitation]:
    """Return the invitations that can be used: not too old, and made by somebody who may still make them."""
    usable = Invitation.objects.filter(used_at=None, withdrawn_at=None, expires_at__gt=timezone.now())
    may_still = Q(invited_by__memberships__role=Membership.Role.OWNER) | (
        Q(invited_by__memberships__role=Membership.Role.ADMIN) & ~Q(role__in=HIGH)
    )
    return usable.filter(
        may_still,
        invited_by__is_active=True,
        invited_by__memberships__team=F("team"),
        invited_by__memberships__is_active=True,
    )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
