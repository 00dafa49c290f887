"""A lost second factor: who takes it away, for whom, and what another team has to say in it."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils import timezone

from tests.trading.conftest import member
from tests.trading.test_pages_doors import as_, just_logged_in
from tests.trading.test_people import of
from trading import people
from trading.models import AuditEntry, Membership, Team
from trading.people import PeopleRefused


def with_factor(user: User) -> User:
    """Have somebody prove a second factor when they log in."""
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={})
    return user


def has_factor(user: User) -> bool:
    return bool(Authenticator.objects.filter(user=user).exists())


def test_an_owner_takes_a_lost_second_factor_away_and_the_record_names_both(alice: User, bob: User) -> None:
    there = just_logged_in(with_factor(bob))
    there.force_login(bob)

    people.forget_second_factor(alice, membership=of(bob))

    assert not has_factor(bob)
    assert there.get("/x/sandbox/").status_code == 302
    entry = AuditEntry.objects.get(action="session.second_factor")
    assert (entry.actor_name, entry.facts["user"], entry.facts["done"]) == ("alice", "bob", "taken away")
    assert entry.facts["sessions_ended"] == 1


@pytest.mark.parametrize("who", ["alice", "other"])
def test_an_admin_takes_no_factor_of_owners_and_admins_away(
    team: Team, alice: User, bob: User, ada: User, who: str
) -> None:
    member("other", team, Membership.Role.ADMIN)
    high = with_factor(User.objects.get(username=who))

    with pytest.raises(PermissionDenied):
        people.forget_second_factor(ada, membership=of(high))
    people.forget_second_factor(ada, membership=of(with_factor(bob)))

    assert (has_factor(high), has_factor(bob)) == (True, False)


@pytest.mark.parametrize("who", ["bob", "vera", "mallory"])
def test_nobody_else_takes_a_factor_away(
    team: Team, alice: User, bob: User, vera: User, mallory: User, who: str
) -> None:
    dora = with_factor(member("dora", team, Membership.Role.TRADER))

    with pytest.raises((PermissionDenied, Http404)):
        people.forget_second_factor(User.objects.get(username=who), membership=of(dora))

    assert has_factor(dora)


def test_nobody_takes_their_own_factor_away_without_it(team: Team, alice: User) -> None:
    with pytest.raises(PeopleRefused, match="Somebody else"):
        people.forget_second_factor(alice, membership=of(with_factor(alice)))

    assert has_factor(alice)


@pytest.mark.parametrize("paused", [False, True])
def test_a_factor_that_another_team_relies_on_too_is_taken_away_by_whoever_owns_both(
    team: Team, other_team: Team, alice: User, bob: User, mallory: User, paused: bool
) -> None:
    theirs = Membership.objects.create(team=other_team, user=with_factor(bob), role="trader", is_active=not paused)
    ours = Membership.objects.get(team=team, user=bob)
    admin_there = Membership.objects.create(team=other_team, user=alice, role="admin")

    with pytest.raises(PeopleRefused, match="another team") as refused:
        people.forget_second_factor(alice, membership=ours)
    assert "South" not in str(refused.value)
    assert has_factor(bob)
    admin_there.role = "owner"
    admin_there.save()
    people.forget_second_factor(alice, membership=ours)

    assert not has_factor(bob)
    told = set(AuditEntry.objects.filter(action="session.second_factor").values_list("team", flat=True))
    assert told == ({team.pk} if paused else {team.pk, theirs.team_id})


def test_a_team_that_somebody_has_left_has_no_say_in_their_factor(
    team: Team, other_team: Team, alice: User, bob: User, mallory: User
) -> None:
    Membership.objects.create(
        team=other_team, user=with_factor(bob), role="trader", is_active=False, left_at=timezone.now()
    )

    people.forget_second_factor(alice, membership=Membership.objects.get(team=team, user=bob))

    assert not has_factor(bob)


def test_staff_of_the_whole_desk_keep_their_factor(alice: User, bob: User) -> None:
    User.objects.filter(pk=with_factor(bob).pk).update(is_staff=True)

    with pytest.raises(PeopleRefused, match="operator"):
        people.forget_second_factor(alice, membership=of(bob))

    assert has_factor(bob)


def test_where_there_is_no_factor_or_no_member_nothing_is_taken_away(alice: User, bob: User, vera: User) -> None:
    with pytest.raises(PeopleRefused, match="no second factor"):
        people.forget_second_factor(alice, membership=of(bob))
    people.pause(alice, membership=of(with_factor(vera)), handed_to=None)
    with pytest.raises(PeopleRefused, match="not in the team"):
        people.forget_second_factor(alice, membership=of(vera))

    assert has_factor(vera)
    assert not AuditEntry.objects.filter(action="session.second_factor").exists()


def test_the_page_asks_before_it_takes_a_factor_away(alice: User, bob: User) -> None:
    with_factor(bob)
    browser, page = just_logged_in(alice), f"/x/sandbox/team/members/{of(bob).pk}/second-factor/"
    assert page in browser.get("/x/sandbox/team/").content.decode()

    assert "bob" in browser.get(page).content.decode()
    assert has_factor(bob)
    answer = browser.post(page, follow=True)

    assert "second factor of bob is taken away" in answer.content.decode()
    assert not has_factor(bob)
    assert page not in browser.get("/x/sandbox/team/").content.decode()


def test_taking_a_factor_away_wants_a_fresh_proof(alice: User, bob: User) -> None:
    page = f"/x/sandbox/team/members/{of(with_factor(bob)).pk}/second-factor/"

    answer = as_(alice).post(page)

    assert answer.headers["Location"].startswith("/accounts/reauthenticate/")
    assert has_factor(bob)
