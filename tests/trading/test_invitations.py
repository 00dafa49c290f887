"""An invitation joins one person once, in its role, as long as whoever made it may still invite."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.test import Client
from django.utils import timezone

from tests.trading.conftest import member
from trading import invitations, people
from trading.invitations import InvitationRefused
from trading.models import AuditEntry, Invitation, Membership, Team

PASSWORD = "an even longer password"


@pytest.fixture
def token(team: Team, alice: User) -> str:
    """Invite somebody as a trader."""
    return invitations.invite(alice, team=team, role="trader", for_whom="Carl")


def test_a_new_person_joins_in_the_role_of_the_invitation(team: Team, token: str) -> None:
    carl = invitations.accept_new(token, username="carl", password=PASSWORD)

    assert carl.check_password(PASSWORD)
    assert Membership.objects.get(user=carl).role == "trader"
    entry = AuditEntry.objects.get(action="member.joined")
    assert entry.facts == {"user": "carl", "role": "trader", "invited_by": "alice"}


def test_a_person_of_another_team_joins_with_the_account_they_have(team: Team, token: str, mallory: User) -> None:
    invitations.accept(mallory, token=token)

    assert {found.team.name for found in Membership.objects.filter(user=mallory)} == {"North desk", "South desk"}


def test_a_link_works_once(token: str, mallory: User) -> None:
    invitations.accept_new(token, username="carl", password=PASSWORD)

    with pytest.raises(InvitationRefused):
        invitations.accept(mallory, token=token)


def test_only_the_hash_of_a_link_is_kept(token: str) -> None:
    kept = Invitation.objects.get()

    assert token not in str(vars(kept))
    assert len(kept.token_hash) == 64
    assert token not in str(list(AuditEntry.objects.values_list("facts", flat=True)))


def test_a_link_ends_after_three_days(token: str) -> None:
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    with pytest.raises(InvitationRefused):
        invitations.look_up(token)


def test_a_withdrawn_link_does_not_work(token: str, alice: User) -> None:
    invitations.withdraw(alice, invitation=Invitation.objects.get())

    with pytest.raises(InvitationRefused):
        invitations.accept_new(token, username="carl", password=PASSWORD)
    with pytest.raises(InvitationRefused):
        invitations.withdraw(alice, invitation=Invitation.objects.get())
    assert not User.objects.filter(username="carl").exists()


def test_a_link_ends_with_the_right_to_invite(team: Team, alice: User) -> None:
    ada = member("ada", team, Membership.Role.ADMIN)
    token = invitations.invite(ada, team=team, role="viewer", for_whom="Carl")
    people.change_role(alice, membership=Membership.objects.get(user=ada), role="viewer")

    with pytest.raises(InvitationRefused):
        invitations.look_up(token)


@pytest.mark.parametrize("role", ["admin", "owner"])
def test_an_admin_invites_nobody_into_the_high_roles(team: Team, alice: User, role: str) -> None:
    ada = member("ada", team, Membership.Role.ADMIN)

    with pytest.raises(PermissionDenied):
        invitations.invite(ada, team=team, role=role, for_whom="Carl")
    invitations.invite(ada, team=team, role="trader", for_whom="Carl")

    assert [found.role for found in invitations.waiting(team)] == ["trader"]


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("alice", PASSWORD),
        ("ALICE", PASSWORD),
        ("", PASSWORD),
        ("carl dot", PASSWORD),
        ("carl", "short"),
        ("carl", "password1234"),
    ],
)
def test_a_name_or_password_that_is_refused_leaves_the_link_usable(token: str, name: str, password: str) -> None:
    with pytest.raises(ValidationError):
        invitations.accept_new(token, username=name, password=password)

    assert invitations.look_up(token).used_at is None
    assert Membership.objects.count() == 1


def test_a_removed_member_comes_back_by_a_new_invitation(team: Team, token: str, alice: User, bob: User) -> None:
    people.remove(alice, membership=Membership.objects.get(user=bob), handed_to=None)

    invitations.accept(bob, token=token)

    assert Membership.objects.get(user=bob, is_active=True).left_at is None


def test_a_paused_member_does_not_get_round_the_pause(token: str, alice: User, bob: User) -> None:
    people.pause(alice, membership=Membership.objects.get(user=bob), handed_to=None)

    with pytest.raises(InvitationRefused, match="paused"):
        invitations.accept(bob, token=token)

    assert invitations.look_up(token).used_at is None


@pytest.mark.django_db(transaction=True)
def test_of_two_people_with_one_link_one_gets_in(team: Team, token: str) -> None:
    barrier, results = threading.Barrier(2), []

    def join(name: str) -> None:
        barrier.wait()
        try:
            results.append(invitations.accept_new(token, username=name, password=PASSWORD).username)
        except InvitationRefused:
            results.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=join, args=(name,)) for name in ("carl", "dora")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results)[-1] == "refused"
    assert User.objects.filter(username__in=["carl", "dora"]).count() == 1


def test_the_link_leads_a_stranger_through_a_form_to_the_desk(token: str) -> None:
    browser = Client()
    assert b"Carl" in browser.get(f"/join/{token}").content

    form = {"username": "carl", "password": PASSWORD, "again": PASSWORD}
    assert browser.post(f"/join/{token}", {**form, "again": "other"}).status_code == 422
    assert browser.post(f"/join/{token}", form).headers["Location"] == "/"

    assert b"trader of North desk" in browser.get("/x/sandbox/team/").content
    assert browser.get(f"/join/{token}").status_code == 410


def test_a_member_of_two_teams_acts_in_the_one_they_choose(
    team: Team, other_team: Team, token: str, mallory: User
) -> None:
    browser = Client()
    browser.force_login(mallory)
    assert b"owner of South desk" in browser.get("/x/sandbox/").content

    browser.post(f"/join/{token}")
    assert b"trader of North desk" in browser.get("/x/sandbox/").content
    browser.post("/x/sandbox/team/choose/", {"to": str(other_team.pk)})

    assert b"owner of South desk" in browser.get("/x/sandbox/").content


def test_a_page_of_the_other_team_cannot_place_orders_after_the_switch(
    team: Team, other_team: Team, token: str, mallory: User, market: object
) -> None:
    browser = Client()
    browser.force_login(mallory)
    browser.post(f"/join/{token}")

    answer = browser.post(
        "/x/sandbox/markets/KXRAIN-26DEC01-T2/orders/",
        {"team": str(other_team.pk)},
        headers={"Accept": "application/json"},
    )

    assert answer.status_code == 409


@pytest.mark.parametrize(("role", "works"), [("owner", False), ("admin", False), ("trader", True)])
def test_who_is_no_owner_any_more_has_invited_no_owner(team: Team, alice: User, role: str, works: bool) -> None:
    member("olga", team, Membership.Role.OWNER)
    token = invitations.invite(alice, team=team, role=role, for_whom="Alice again")
    people.change_role(alice, membership=Membership.objects.get(user=alice), role="admin")

    if works:
        assert invitations.accept_new(token, username="carl", password=PASSWORD)
    else:
        with pytest.raises(InvitationRefused):
            invitations.accept_new(token, username="carl", password=PASSWORD)
        assert invitations.waiting(team) == []
