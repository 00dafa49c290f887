"""Who belongs to a team, in which role, and what becomes of somebody's orders and sessions when they go.

A team has an owner at every moment. Each change is one transaction under the team's lock, its audit row in it; open
sockets close within seconds, because their right to be open is asked for again and again.
"""

from __future__ import annotations

import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from trading import audit, permissions, sessions, teams
from trading.models import Invitation, LogInLink, Membership, Order, Team
from trading.permissions import Permission, needed

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Role = Membership.Role


class PeopleRefused(Exception):
    """Something about a person was refused; the text is one sentence for a person."""


def change_role(actor: User, *, membership: Membership, role: str, handed_to: User | None = None) -> None:
    """Give a member another role; whose new one cancels nothing hands working orders over. Raises as `remove`."""
    before = membership.role
    with transaction.atomic():
        team = teams.locked(membership.team)
        permissions.require(actor, team, needed(before, role))
        if role not in Role.values:
            raise PeopleRefused("There is no such role.")
        keeper, orders = None if permissions.cancels_own(role) else handed_to, orders_left(membership, role)
        _check_successor(membership, keeper, orders)
        _change(membership, {"is_active": True, "role": before}, role=role, handed_to=keeper)
        _keep_an_owner(team)
        facts: dict[str, Any] = {"user": membership.user.get_username(), "from": before, "to": role}
        if not permissions.cancels_own(role):
            _hand_on(membership, keeper)
        if keeper is not None:
            facts |= {"handed_to": keeper.get_username(), "orders": [str(order.pk) for order in orders]}
        audit.record("member.changed", actor, team=team, subject=membership, facts=facts)


def pause(actor: User, *, membership: Membership, handed_to: User | None) -> None:
    """Keep a member out until they are let in again; who has working orders hands them over. Raises as `remove`."""
    _leave(actor, membership, "member.paused", handed_to=handed_to)


def remove(actor: User, *, membership: Membership, handed_to: User | None) -> None:
    """Take somebody out of the team. Raises PeopleRefused, Http404 or PermissionDenied.

    Their sessions end unless they are in another team; working orders stay at the exchange, and `handed_to` looks
    after them: may cancel them as their own.
    """
    _leave(actor, membership, "member.removed", handed_to=handed_to, left_at=timezone.now())


def resume(actor: User, *, membership: Membership) -> None:
    """Let a paused member in again, in the same role. Raises PeopleRefused, Http404 or PermissionDenied."""
    with transaction.atomic():
        team = teams.locked(membership.team)
        permissions.require(actor, team, needed(membership.role))
        back = {"handed_to": None} if permissions.cancels_own(membership.role) else {}
        _change(membership, {"is_active": False, "left_at": None}, is_active=True, **back)
        facts = {"user": membership.user.get_username(), "role": membership.role}
        audit.record("member.resumed", actor, team=team, subject=membership, facts=facts)


def forget_second_factor(actor: User, *, membership: Membership) -> None:
    """Take away the second factor of a member who has lost it. Raises PeopleRefused, Http404 or PermissionDenied.

    It guards every team the person is in: whoever takes it away owns the others too.
    """
    person = membership.user
    with transaction.atomic():
        others = _other_teams_of(membership)
        teams.lock_all({membership.team_id, *others})
        membership.refresh_from_db()
        permissions.require(actor, membership.team, Permission.RESET_FACTOR)
        permissions.require(actor, membership.team, needed(membership.role))
        _check_may_forget(actor, membership)
        owned = Membership.objects.filter(user=actor, team__in=others, role=Role.OWNER, is_active=True)
        if _other_teams_of(membership) - set(owned.values_list("team_id", flat=True)):
            raise PeopleRefused(
                f"{person} is in another team too: only an owner of all their teams, or the operator, may."
            )
        sessions.forget_second_factor(person, actor=actor)


def working_orders(membership: Membership) -> list[Order]:
    """Return the orders that somebody looks after and whose end is not known."""
    kept = Membership.objects.filter(team=membership.team, handed_to=membership.user)
    people = [membership.user_id, *kept.values_list("user_id", flat=True)]
    return list(Order.objects.filter(team=membership.team, placed_by_id__in=people).open().order_by("created_at"))


def orders_left(membership: Membership, role: str) -> list[Order]:
    """Return the orders that somebody could look after no longer in another role."""
    return [] if permissions.cancels_own(role) or role not in Role.values else working_orders(membership)


def working_counts(team: Team) -> Counter[int]:
    """Return how many orders each person of a team looks after whose end is not known, by the person's id."""
    orders = Order.objects.filter(team=team, placed_by__isnull=False).open().order_by()
    placed = Counter(dict(orders.values_list("placed_by_id").annotate(Count("pk"))))
    counted = Counter(placed)
    handed = Membership.objects.filter(team=team, handed_to__isnull=False)
    for person, keeper in handed.values_list("user_id", "handed_to_id"):
        counted[keeper] += placed[person]
    return counted


def successors(membership: Membership) -> list[Membership]:
    """Return the members who could look after somebody's orders."""
    others = Membership.objects.select_related("user", "team").filter(
        team=membership.team, is_active=True, user__is_active=True
    )
    may = (other for other in others.exclude(pk=membership.pk).order_by("user__username"))
    return [other for other in may if permissions.may(other, Permission.CANCEL_OWN_ORDER)]


def check_not_last_owner(person: User) -> None:
    """Raise PeopleRefused for somebody without whom a team would have no owner who can log in."""
    for owned in Membership.objects.select_related("team").filter(user=person, role=Role.OWNER, is_active=True):
        others = Membership.objects.filter(team=owned.team, role=Role.OWNER, is_active=True, user__is_active=True)
        if not others.exclude(user=person).exists():
            raise PeopleRefused(f"{owned.team} has no other owner: it would be without one.")


def record_lock(actor: User, *, person: User) -> None:
    """Write in the caller's transaction that an account was locked or unlocked; a locked one's sessions end."""
    theirs = teams.lock_all_of(person, with_former=True)
    ended = 0 if person.is_active else sessions.end_all(person)
    facts = {"user": person.get_username(), "may_log_in": person.is_active, "sessions_ended": ended}
    for team in theirs:
        audit.record("person.locked", actor, team=team, facts=facts)


def _leave(actor: User, membership: Membership, action: str, *, handed_to: User | None, **columns: Any) -> None:
    with transaction.atomic():
        team = teams.locked(membership.team)
        permissions.require(actor, team, needed(membership.role))
        if membership.user_id == actor.pk:
            raise PeopleRefused("Somebody else has to do this: nobody locks themselves out.")
        orders = working_orders(membership)
        _check_successor(membership, handed_to, orders)
        was = {"role": membership.role, "is_active": membership.is_active, "left_at": None}
        _change(membership, was, is_active=False, handed_to=handed_to, **columns)
        _keep_an_owner(team)
        _hand_on(membership, handed_to)
        ended = _end_ways_in(membership)
        facts = {
            "user": membership.user.get_username(),
            "role": membership.role,
            "handed_to": handed_to.get_username() if handed_to else "",
            "orders": [str(order.pk) for order in orders],
            "sessions_ended": ended,
        }
        audit.record(action, actor, team=team, subject=membership, facts=facts)


def _other_teams_of(membership: Membership) -> set[uuid.UUID]:
    """Return the other teams that somebody is in, or may be let into again."""
    others = Membership.objects.filter(user=membership.user_id, left_at=None).exclude(team=membership.team_id)
    return set(others.values_list("team_id", flat=True))


def _check_may_forget(actor: User, membership: Membership) -> None:
    person = membership.user
    if person.pk == actor.pk:
        raise PeopleRefused("Somebody else has to do this: your own second factor is changed on your own page.")
    if not membership.is_active:
        raise PeopleRefused(f"{person} is not in the team at present: let them in again first.")
    if person.is_staff:
        raise PeopleRefused(f"{person} looks after the whole desk: only the operator may do this.")
    if not sessions.has_second_factor(person):
        raise PeopleRefused(f"{person} has no second factor.")


def _hand_on(membership: Membership, keeper: User | None) -> None:
    """Give what somebody looked after for others to the next."""
    Membership.objects.filter(team=membership.team, handed_to=membership.user).update(handed_to=keeper)


def _check_successor(membership: Membership, handed_to: User | None, orders: list[Order]) -> None:
    if handed_to is None and orders:
        many = "order" if len(orders) == 1 else "orders"
        raise PeopleRefused(f"Say who looks after the {len(orders)} working {many} of {membership.user}.")
    if handed_to is not None and handed_to.pk not in {other.user_id for other in successors(membership)}:
        raise PeopleRefused("Orders can be handed only to a member who may cancel orders.")


def _end_ways_in(membership: Membership) -> int:
    """End what would let the person in again: invitations they made and, without another team, sessions and links."""
    open_invitations = Invitation.objects.filter(team=membership.team, used_at=None, withdrawn_at=None)
    open_invitations.filter(invited_by=membership.user).update(withdrawn_at=timezone.now())
    if Membership.objects.filter(user=membership.user, is_active=True).exists():
        return 0
    LogInLink.objects.filter(user=membership.user, used_at=None).delete()
    return sessions.end_all(membership.user)


def _change(membership: Membership, was: dict[str, Any], **columns: Any) -> None:
    """Change a membership that is as we know it, or raise PeopleRefused."""
    if not Membership.objects.filter(pk=membership.pk, **was).update(**columns):
        raise PeopleRefused("Somebody else changed this member meanwhile: look at the page again.")
    membership.refresh_from_db()


def _keep_an_owner(team: Team) -> None:
    owners = Membership.objects.filter(team=team, role=Role.OWNER, is_active=True, user__is_active=True)
    if not owners.exists():
        raise PeopleRefused("A team needs an owner: make somebody else an owner first.")
