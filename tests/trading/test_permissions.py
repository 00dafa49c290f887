"""The doors: 404 outside a team, 403 inside it without the permission."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import Http404

from tests.trading.conftest import member
from tests.trading.test_models import an_order
from trading import permissions
from trading.models import Account, ApiKey, Membership, Team
from trading.permissions import Permission

# Who may do what, written out; a permission that is missing here fails the test below.
MATRIX = {
    "see_orders": "owner admin trader viewer auditor",
    "export_history": "owner admin trader auditor",
    "place_order": "owner trader",
    "cancel_own_order": "owner admin trader",
    "cancel_any_order": "owner admin trader",
    "resolve_order": "owner admin",
    "halt": "owner admin trader",
    "lift_halt": "owner",
    "see_keys": "owner admin trader auditor",
    "add_key": "owner admin",
    "remove_key": "owner admin",
    "lend_feed": "owner",
    "change_members": "owner admin",
    "change_admins": "owner",
    "reset_factor": "owner admin",
    "change_limits": "owner admin",
    "change_team": "owner",
    "see_positions": "owner admin trader viewer auditor",
    "see_audit": "owner admin auditor",
    "see_own_audit": "owner admin trader auditor",
}


@pytest.mark.parametrize("permission", list(Permission))
def test_the_matrix_holds(team: Team, permission: Permission) -> None:
    allowed = set(MATRIX[permission].split())

    for role in Membership.Role:
        user = member(role.value, team, role)
        if role in allowed:
            assert permissions.get_team(user, permission) == team
        else:
            with pytest.raises(PermissionDenied):
                permissions.get_team(user, permission)


def test_an_order_is_seen_inside_its_team_only(account: Account, vera: User, mallory: User) -> None:
    order = an_order(account)

    assert permissions.get_order(vera, order.pk) == order
    with pytest.raises(Http404):
        permissions.get_order(mallory, order.pk)


@pytest.mark.parametrize("pk", [uuid.uuid4(), "no-uuid"])
def test_an_order_that_does_not_exist_is_answered_like_another_teams(vera: User, pk: uuid.UUID | str) -> None:
    with pytest.raises(Http404):
        permissions.get_order(vera, pk)


def test_a_viewer_cancels_nothing(account: Account, vera: User, bob: User) -> None:
    order = an_order(account, placed_by=vera)

    assert permissions.get_order(bob, order.pk, Permission.CANCEL_OWN_ORDER) == order
    with pytest.raises(PermissionDenied):
        permissions.get_order(vera, order.pk, Permission.CANCEL_OWN_ORDER)


def test_a_key_is_seen_by_those_who_may(
    account: Account, api_key: ApiKey, bob: User, vera: User, mallory: User
) -> None:
    assert permissions.get_key(bob, api_key.pk) == api_key
    with pytest.raises(PermissionDenied):
        permissions.get_key(vera, api_key.pk)
    with pytest.raises(Http404):
        permissions.get_key(mallory, api_key.pk)


def test_a_removed_key_is_gone(account: Account, api_key: ApiKey, alice: User) -> None:
    ApiKey.objects.filter(pk=api_key.pk).update(state="removed")

    with pytest.raises(Http404):
        permissions.get_key(alice, api_key.pk)


def test_who_has_left_the_team_is_outside(account: Account, bob: User) -> None:
    order = an_order(account)
    Membership.objects.filter(user=bob).update(is_active=False)

    with pytest.raises(Http404):
        permissions.get_team(bob)
    with pytest.raises(Http404):
        permissions.get_order(bob, order.pk)


def test_a_locked_person_has_no_membership(team: Team, bob: User) -> None:
    assert permissions.current_membership(bob) is not None
    bob.is_active = False
    bob.save(update_fields=["is_active"])

    assert permissions.current_membership(bob) is None
    assert permissions.membership_in(bob, team) is None


def test_a_superuser_is_outside_like_anybody(account: Account, team: Team) -> None:
    root = User.objects.create_superuser("root", password="a long enough password")

    with pytest.raises(Http404):
        permissions.get_team(root)
    with pytest.raises(Http404):
        permissions.get_order(root, an_order(account).pk)


@pytest.mark.parametrize(
    "door",
    [
        lambda user, order: permissions.get_team(user),
        lambda user, order: permissions.get_order(user, order.pk),
        lambda user, order: permissions.get_account(user, "sandbox"),
        lambda user, order: permissions.require(user, order.team, Permission.SEE_ORDERS),
    ],
)
def test_nobody_in_particular_finds_nothing(account: Account, door: Callable[[object, object], object]) -> None:
    with pytest.raises(Http404):
        door(AnonymousUser(), an_order(account))
