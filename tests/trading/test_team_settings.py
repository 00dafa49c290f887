"""The team's settings: what they switch, who changes them, and forms that are older than they are."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.test import Client

from tests.trading.conftest import member
from tests.trading.exchange import ScriptedExchange
from tests.trading.test_models import an_order
from tests.trading.test_own_limits import place
from tests.trading.test_pages_doors import as_, just_logged_in
from tests.trading.test_people import of
from trading import limits, people, permissions
from trading.models import Account, AuditEntry, Invitation, Membership, Team

PASSWORD = "a long enough password"


def switch(alice: User, team: Team, **changed: bool) -> None:
    team.refresh_from_db()
    switches = {name: changed.get(name, getattr(team, name)) for name in limits.SWITCHES}
    limits.set_switches(alice, team=team, name=team.name, switches=switches)


def test_owners_trade_only_while_the_team_says_so(ready: ScriptedExchange, team: Team, alice: User) -> None:
    switch(alice, team, owners_trade=False)
    with pytest.raises(PermissionDenied):
        place(alice)
    switch(alice, team, owners_trade=True)

    assert place(alice).state == "resting"
    assert len(ready.sent) == 1


def test_traders_cancel_only_their_own_where_the_team_says_so(
    team: Team, account: Account, alice: User, bob: User
) -> None:
    order = an_order(account, placed_by=alice)
    assert permissions.may_cancel(of(bob), order)

    switch(alice, team, traders_cancel_any=False)

    assert not permissions.may_cancel(of(bob), order)
    assert permissions.may_cancel(of(bob), an_order(account, placed_by=bob))


def test_viewers_see_no_positions_where_the_team_says_so(team: Team, account: Account, alice: User, vera: User) -> None:
    browser = Client()
    browser.force_login(vera)
    assert b"Exposure" in browser.get("/x/sandbox/").content

    switch(alice, team, viewers_see_positions=False)

    page = browser.get("/x/sandbox/").content
    assert b"Exposure" not in page
    assert b"Positions" not in page


def test_only_an_owner_changes_the_teams_settings(team: Team, alice: User, ada: User) -> None:
    with pytest.raises(PermissionDenied):
        limits.set_switches(ada, team=team, name="Ours", switches=dict.fromkeys(limits.SWITCHES, True))
    limits.set_switches(alice, team=team, name="Ours", switches=dict.fromkeys(limits.SWITCHES, True))

    assert Team.objects.get().name == "Ours"
    assert AuditEntry.objects.get(action="team.changed").facts == {"name": {"from": "North desk", "to": "Ours"}}


def test_settings_filled_in_beside_older_ones_overwrite_nothing(team: Team, alice: User) -> None:
    browser = just_logged_in(alice)
    seen = browser.get("/x/sandbox/team/").context["settings_form"]["seen"].value()
    switch(alice, team, traders_cancel_any=False)
    older = {"name": "Ours", "owners_trade": "on", "traders_cancel_any": "on", "viewers_see_positions": "on"}

    refused = browser.post("/x/sandbox/team/settings/", {**older, "seen": seen})
    assert refused.status_code == 422
    assert "Somebody else changed these settings meanwhile" in refused.content.decode()
    assert not Team.objects.get().traders_cancel_any

    shown = refused.context["settings_form"]
    assert [name for name in limits.SWITCHES if "checked" in str(shown[name])] == [
        "owners_trade",
        "viewers_see_positions",
    ]
    seen = shown["seen"].value()
    browser.post("/x/sandbox/team/settings/", {"name": "Ours", "owners_trade": "on", "seen": seen})
    after = Team.objects.get()
    assert (after.name, after.traders_cancel_any, after.viewers_see_positions) == ("Ours", False, False)


def test_settings_that_nobody_has_seen_are_not_changed(team: Team, alice: User) -> None:
    answer = just_logged_in(alice).post("/x/sandbox/team/settings/", {"name": "Ours"})

    assert (answer.status_code, Team.objects.get().name) == (422, "North desk")


def test_what_is_switched_off_is_shown_so(team: Team, alice: User) -> None:
    switch(alice, team, traders_cancel_any=False)

    form = as_(alice).get("/x/sandbox/team/").context["settings_form"]

    assert [name for name in limits.SWITCHES if "checked" in str(form[name])] == [
        "owners_trade",
        "viewers_see_positions",
    ]


def test_who_has_left_is_not_invited_by_an_old_link(team: Team, alice: User, bob: User) -> None:
    people.remove(alice, membership=of(bob), handed_to=None)

    assert not Invitation.objects.exists()
    assert not Membership.objects.filter(user=bob, is_active=True).exists()


def test_a_form_of_the_team_before_is_too_old_after_a_switch(team: Team, other_team: Team, alice: User) -> None:
    Membership.objects.create(team=other_team, user=alice, role="owner")
    browser = Client(enforce_csrf_checks=True)
    form = browser.get("/accounts/login/").context["csrf_token"]
    browser.post("/accounts/login/", {"login": "alice", "password": PASSWORD, "csrfmiddlewaretoken": str(form)})
    shown = str(browser.get("/x/sandbox/team/").context["csrf_token"])
    browser.post("/x/sandbox/team/choose/", {"to": str(other_team.pk), "csrfmiddlewaretoken": shown})
    invitation = {"role": "viewer", "for_whom": "Carl"}

    stale = browser.post("/x/sandbox/team/invitations/", {**invitation, "csrfmiddlewaretoken": shown})
    assert (stale.status_code, Invitation.objects.count()) == (403, 0)

    fresh = str(browser.get("/x/sandbox/team/").context["csrf_token"])
    browser.post("/x/sandbox/team/invitations/", {**invitation, "csrfmiddlewaretoken": fresh})
    assert Invitation.objects.get().team == other_team


def test_a_form_of_a_team_one_was_removed_from_changes_nothing_in_the_next(
    team: Team, other_team: Team, alice: User
) -> None:
    zoe = member("zoe", team, Membership.Role.ADMIN)
    Membership.objects.create(team=other_team, user=zoe, role="owner")
    browser = Client()
    browser.post("/accounts/login/", {"login": "zoe", "password": PASSWORD})
    browser.get("/x/sandbox/team/")
    people.remove(alice, membership=Membership.objects.get(team=team, user=zoe), handed_to=None)

    answer = browser.post("/x/sandbox/team/invitations/", {"role": "viewer", "for_whom": "Carl"})
    assert (answer.headers.get("Location"), Invitation.objects.count()) == ("/x/sandbox/", 0)

    browser.post("/x/sandbox/team/invitations/", {"role": "viewer", "for_whom": "Carl"})
    assert Invitation.objects.get().team == other_team
