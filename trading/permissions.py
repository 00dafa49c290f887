"""Who may do what: the only doors to a team's rows.

Outside the team everything is 404, as if it did not exist; inside, without the permission, PermissionDenied (403).
Being a superuser opens no door here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404

from trading.models import Account, ApiKey, Invitation, Membership, Order, Team

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser


class Permission(StrEnum):
    """What a role allows."""

    SEE_ORDERS = "see_orders"
    EXPORT_HISTORY = "export_history"
    PLACE_ORDER = "place_order"
    CANCEL_OWN_ORDER = "cancel_own_order"
    CANCEL_ANY_ORDER = "cancel_any_order"
    RESOLVE_ORDER = "resolve_order"
    HALT = "halt"
    LIFT_HALT = "lift_halt"
    SEE_KEYS = "see_keys"
    ADD_KEY = "add_key"
    REMOVE_KEY = "remove_key"
    LEND_FEED = "lend_feed"
    CHANGE_MEMBERS = "change_members"
    CHANGE_ADMINS = "change_admins"
    RESET_FACTOR = "reset_factor"
    CHANGE_LIMITS = "change_limits"
    CHANGE_TEAM = "change_team"
    SEE_POSITIONS = "see_positions"
    SEE_AUDIT = "see_audit"
    SEE_OWN_AUDIT = "see_own_audit"


_P, _R = Permission, Membership.Role
HIGH = frozenset({_R.OWNER, _R.ADMIN})  # only an owner gives and takes these
_READS = frozenset({_P.SEE_ORDERS, _P.SEE_POSITIONS, _P.EXPORT_HISTORY, _P.SEE_KEYS})

ALLOWS: Mapping[str, frozenset[Permission]] = MappingProxyType(
    {
        _R.OWNER: frozenset(Permission),
        _R.ADMIN: frozenset(Permission)
        - {_P.PLACE_ORDER, _P.LIFT_HALT, _P.LEND_FEED, _P.CHANGE_ADMINS, _P.CHANGE_TEAM},
        _R.TRADER: _READS | {_P.PLACE_ORDER, _P.CANCEL_OWN_ORDER, _P.CANCEL_ANY_ORDER, _P.HALT, _P.SEE_OWN_AUDIT},
        _R.VIEWER: frozenset({_P.SEE_ORDERS, _P.SEE_POSITIONS}),
        _R.AUDITOR: _READS | {_P.SEE_AUDIT, _P.SEE_OWN_AUDIT},
    }
)

# What a team may switch off: (role, permission) → the team's switch.
SWITCHES: Mapping[tuple[str, Permission], str] = MappingProxyType(
    {
        (_R.OWNER, _P.PLACE_ORDER): "owners_trade",
        (_R.TRADER, _P.CANCEL_ANY_ORDER): "traders_cancel_any",
        (_R.VIEWER, _P.SEE_POSITIONS): "viewers_see_positions",
    }
)


def current_membership(user: AbstractBaseUser | AnonymousUser) -> Membership | None:
    """Return the membership a person acts in, or None: that in the team chosen for this session, else the oldest."""
    if not user.is_authenticated or not user.is_active:
        return None
    standing = list(
        Membership.objects.select_related("team").filter(user_id=user.pk or 0, is_active=True).order_by("pk")
    )
    chosen = getattr(user, "chosen_team", None)  # set from the session by `trading.sessions`
    return next((found for found in standing if str(found.team_id) == chosen), standing[0] if standing else None)


def membership_in(user: AbstractBaseUser | AnonymousUser, team: Team) -> Membership | None:
    """Return the person's standing membership in this team, asked of the database anew."""
    if not user.is_authenticated:
        return None
    memberships = Membership.objects.select_related("team").filter(user_id=user.pk or 0, team=team, is_active=True)
    return memberships.filter(user__is_active=True).first()


def other_teams(membership: Membership | None) -> list[Team]:
    """Return the other teams of a member, to switch to."""
    if membership is None:
        return []
    theirs = Team.objects.filter(memberships__user_id=membership.user_id, memberships__is_active=True)
    return list(theirs.exclude(pk=membership.team_id).order_by("name"))


def cancels_own(role: str) -> bool:
    """Say whether somebody of a role may cancel their own orders, and so look after them."""
    return Permission.CANCEL_OWN_ORDER in ALLOWS.get(role, frozenset())


def needed(*roles: str) -> Permission:
    """Return the permission that it takes to give or take these roles."""
    return Permission.CHANGE_ADMINS if HIGH & set(roles) else Permission.CHANGE_MEMBERS


def may(membership: Membership | None, permission: Permission) -> bool:
    """Say whether a membership allows something; for buttons, never instead of a door."""
    if membership is None or not membership.is_active or permission not in ALLOWS.get(membership.role, frozenset()):
        return False
    switch = SWITCHES.get((membership.role, permission))
    return switch is None or bool(getattr(membership.team, switch))


def may_cancel(membership: Membership | None, order: Order) -> bool:
    """Say whether a membership allows to cancel this order: one's own, or anybody's."""
    return bool(cancelable_by(membership, [order]))


def cancelable_by(membership: Membership | None, orders: Iterable[Order]) -> set[uuid.UUID]:
    """Return which of some orders a membership allows to cancel. Blocks for at most one query."""
    if membership is None:
        return set()
    of_team = [order for order in orders if order.team_id == membership.team_id]
    if not may(membership, Permission.CANCEL_ANY_ORDER):
        if not may(membership, Permission.CANCEL_OWN_ORDER):
            return set()
        own = {membership.user_id}
        if any(order.placed_by_id not in own for order in of_team):
            own |= _handed_to(membership)
        of_team = [order for order in of_team if order.placed_by_id in own]
    return {order.pk for order in of_team}


def _handed_to(membership: Membership) -> set[int]:
    """Return the people who have handed their orders to this one: who are away, or cancel nothing in their new role."""
    handed = Membership.objects.filter(team_id=membership.team_id, handed_to_id=membership.user_id)
    return set(handed.values_list("user_id", flat=True))


def require(user: AbstractBaseUser | AnonymousUser, team: Team, permission: Permission) -> Membership:
    """Return the person's membership in a team, as of now. Raises Http404 outside, PermissionDenied inside."""
    membership = membership_in(user, team)
    if membership is None:
        raise Http404
    if not may(membership, permission):
        raise PermissionDenied(f"Your role in {team} does not allow this.")
    return membership


def get_team(user: AbstractBaseUser | AnonymousUser, permission: Permission = Permission.SEE_ORDERS) -> Team:
    """Return the team a person acts in. Raises Http404 without one, PermissionDenied without the permission."""
    membership = current_membership(user)
    if membership is None:
        raise Http404
    return require(user, membership.team, permission).team


def get_account(
    user: AbstractBaseUser | AnonymousUser, environment: str, *, permission: Permission = Permission.SEE_ORDERS
) -> Account:
    """Return the account of the person's team at one exchange. Raises as `get_team` does."""
    team = get_team(user, permission)
    account = Account.objects.filter(team=team, environment=environment).order_by("pk").first()
    if account is None:
        raise Http404
    return account


def get_order(
    user: AbstractBaseUser | AnonymousUser, pk: uuid.UUID | str, permission: Permission = Permission.SEE_ORDERS
) -> Order:
    """Return an order of the team the person acts in; Http404 for all others, and for none.

    `CANCEL_OWN_ORDER` asks for what this order needs: one's own, or the right to cancel anybody's. To cancel, any team
    the person is in will do: an order is taken out of the market by whoever may, whatever their page shows.
    """
    orders = Order.objects.select_related("team", "account", "placed_by")
    is_cancel = permission == Permission.CANCEL_OWN_ORDER
    order = _one_of_a_team_of(user, orders, pk, "team") if is_cancel else _one_of_the_team_of(user, orders, pk, "team")
    if permission != Permission.CANCEL_OWN_ORDER:
        require(user, order.team, permission)
    elif not may_cancel(membership_in(user, order.team), order):
        raise PermissionDenied("Your role does not allow you to cancel this order.")
    return order


def get_key(
    user: AbstractBaseUser | AnonymousUser, pk: uuid.UUID | str, permission: Permission = Permission.SEE_KEYS
) -> ApiKey:
    """Return a key of the team the person acts in; Http404 for all others, and for none."""
    keys = ApiKey.objects.select_related("account__team").exclude(state=ApiKey.State.REMOVED)
    key = _one_of_the_team_of(user, keys, pk, "account__team")
    require(user, key.account.team, permission)
    return key


def get_member(
    user: AbstractBaseUser | AnonymousUser, pk: int, permission: Permission = Permission.SEE_ORDERS
) -> Membership:
    """Return a membership of the team the person acts in; Http404 for all others, and for none."""
    member = _one_of_the_team_of(user, Membership.objects.select_related("team", "user"), pk, "team")
    require(user, member.team, permission)
    return member


def get_invitation(
    user: AbstractBaseUser | AnonymousUser, pk: uuid.UUID, permission: Permission = Permission.CHANGE_MEMBERS
) -> Invitation:
    """Return an invitation into the team the person acts in; Http404 for all others, and for none."""
    invitation = _one_of_the_team_of(user, Invitation.objects.select_related("team", "invited_by"), pk, "team")
    require(user, invitation.team, permission)
    return invitation


Row = TypeVar("Row", bound=Model)


def _one_of_the_team_of(
    user: AbstractBaseUser | AnonymousUser, rows: QuerySet[Row], pk: uuid.UUID | str | int, team: str
) -> Row:
    """Return a row of the team the person acts in: of no other was it asked whether they need a second factor."""
    membership = current_membership(user)
    if membership is None:
        raise Http404
    return _one_of_a_team_of(user, rows.filter(**{team: membership.team_id}), pk, team)


def _one_of_a_team_of(
    user: AbstractBaseUser | AnonymousUser, rows: QuerySet[Row], pk: uuid.UUID | str | int, team: str
) -> Row:
    if not user.is_authenticated:
        raise Http404
    standing = {f"{team}__memberships__user_id": user.pk, f"{team}__memberships__is_active": True}
    try:
        found = rows.filter(pk=pk, **standing).first()
    except ValidationError:
        found = None
    if found is None:
        raise Http404
    return found
