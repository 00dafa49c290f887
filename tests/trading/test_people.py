"""Roles, leaving, limits and settings: who may change them, what becomes of orders, and the owner who stays."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import Http404
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.trading.conftest import a_ticket, member
from tests.trading.exchange import ScriptedExchange
from tests.trading.test_models import an_order
from tests.trading.test_pages_doors import as_
from trading import invitations, limits, orders, people, permissions
from trading.limits import LimitRefused, OwnLimits
from trading.models import Account, AuditEntry, Invitation, Membership, Order, RiskLimit, Team
from trading.people import PeopleRefused

PASSWORD = "a long enough password"


def of(user: User) -> Membership:
    return Membership.objects.select_related("team", "user").get(user=user)


@pytest.fixture
def ada(team: Team) -> User:
    """Return an admin."""
    return member("ada", team, Membership.Role.ADMIN)


# --- roles -------------------------------------------------------------------------------------------------------


def test_an_owner_gives_a_role_and_the_record_says_which(alice: User, bob: User) -> None:
    people.change_role(alice, membership=of(bob), role="admin")

    assert of(bob).role == "admin"
    entry = AuditEntry.objects.get(action="member.changed")
    assert (entry.actor_name, entry.facts) == ("alice", {"user": "bob", "from": "trader", "to": "admin"})


@pytest.mark.parametrize(("who", "role"), [("bob", "admin"), ("bob", "owner"), ("alice", "viewer"), ("ada", "owner")])
def test_an_admin_neither_gives_nor_takes_the_high_roles(
    alice: User, bob: User, ada: User, who: str, role: str
) -> None:
    membership = of(User.objects.get(username=who))

    with pytest.raises(PermissionDenied):
        people.change_role(ada, membership=membership, role=role)
    people.change_role(ada, membership=of(bob), role="auditor")

    assert (of(bob).role, of(alice).role, of(ada).role) == ("auditor", "owner", "admin")


def test_the_last_owner_stays_one(alice: User, bob: User) -> None:
    with pytest.raises(PeopleRefused, match="needs an owner"):
        people.change_role(alice, membership=of(alice), role="trader")
    people.change_role(alice, membership=of(bob), role="owner")
    people.change_role(alice, membership=of(alice), role="trader")

    assert (of(alice).role, of(bob).role) == ("trader", "owner")


def test_an_owner_whose_account_is_locked_counts_as_none(alice: User, bob: User) -> None:
    people.change_role(alice, membership=of(bob), role="owner")
    User.objects.filter(pk=bob.pk).update(is_active=False)

    with pytest.raises(PeopleRefused, match="needs an owner"):
        people.change_role(alice, membership=of(alice), role="trader")


def test_a_change_beside_another_is_refused(alice: User, bob: User) -> None:
    seen = of(bob)
    people.change_role(alice, membership=of(bob), role="viewer")

    with pytest.raises(PeopleRefused, match="meanwhile"):
        people.change_role(alice, membership=seen, role="auditor")

    assert of(bob).role == "viewer"


def test_another_teams_owner_finds_nobody_here(bob: User, mallory: User) -> None:
    with pytest.raises(Http404):
        people.change_role(mallory, membership=of(bob), role="viewer")
    with pytest.raises(Http404):
        people.remove(mallory, membership=of(bob), handed_to=None)


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_demote_each_other_leave_one(team: Team, alice: User) -> None:
    olga = member("olga", team, Membership.Role.OWNER)
    barrier = threading.Barrier(2)
    refused = []

    def demote(actor: User, membership: Membership) -> None:
        barrier.wait()
        try:
            people.change_role(actor, membership=membership, role="viewer")
        except (PeopleRefused, PermissionDenied) as exc:
            refused.append(exc)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=demote, args=(alice, of(olga))),
        threading.Thread(target=demote, args=(olga, of(alice))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 1
    assert Membership.objects.filter(team=team, role="owner", is_active=True).count() == 1


# --- leaving -----------------------------------------------------------------------------------------------------


def test_working_orders_have_to_be_handed_to_somebody(account: Account, alice: User, bob: User) -> None:
    order = an_order(account, placed_by=bob)

    with pytest.raises(PeopleRefused, match="1 working order"):
        people.remove(alice, membership=of(bob), handed_to=None)
    people.remove(alice, membership=of(bob), handed_to=alice)

    assert permissions.membership_in(bob, order.team) is None
    assert AuditEntry.objects.get(action="member.removed").facts == {
        "user": "bob",
        "role": "trader",
        "handed_to": "alice",
        "orders": [str(order.pk)],
        "sessions_ended": 0,
    }


def test_whoever_orders_were_handed_to_may_cancel_them_as_their_own(
    team: Team, account: Account, alice: User, bob: User
) -> None:
    Team.objects.filter(pk=team.pk).update(traders_cancel_any=False)
    carl = member("carl", team, Membership.Role.TRADER)
    dora = member("dora", team, Membership.Role.TRADER)
    order = an_order(account, placed_by=bob)
    people.pause(alice, membership=of(bob), handed_to=carl)

    assert permissions.may_cancel(of(carl), order)
    assert not permissions.may_cancel(of(dora), order)
    assert [found.pk for found in people.working_orders(of(carl))] == [order.pk]


def test_the_page_counts_by_as_many_queries_for_many_members_as_for_one(
    team: Team, account: Account, alice: User, bob: User
) -> None:
    browser = as_(alice)
    carl = member("carl", team, Membership.Role.TRADER)
    for index, (by, state) in enumerate([(bob, "resting"), (carl, "unknown"), (carl, "canceled"), (alice, "resting")]):
        an_order(account, placed_by=by, state=state, client_order_id=f"c{index}")
    people.pause(alice, membership=of(bob), handed_to=carl)
    browser.get("/x/sandbox/team/")
    with CaptureQueriesContext(connection) as few:
        rows = browser.get("/x/sandbox/team/").context["members"]
    for index in range(20):
        member(f"person-{index}", team, Membership.Role.TRADER)

    with CaptureQueriesContext(connection) as many:
        browser.get("/x/sandbox/team/")

    assert {row["member"].user.username: row["working"] for row in rows} == {"alice": 1, "bob": 1, "carl": 2}
    assert len(many) == len(few)


def test_what_was_handed_over_goes_on_with_its_keeper(team: Team, account: Account, alice: User, bob: User) -> None:
    Team.objects.filter(pk=team.pk).update(traders_cancel_any=False)
    carl = member("carl", team, Membership.Role.TRADER)
    dora = member("dora", team, Membership.Role.TRADER)
    order = an_order(account, placed_by=bob)
    people.remove(alice, membership=of(bob), handed_to=carl)

    with pytest.raises(PeopleRefused, match="1 working order"):
        people.remove(alice, membership=of(carl), handed_to=None)
    people.remove(alice, membership=of(carl), handed_to=dora)

    assert permissions.may_cancel(of(dora), order)


def test_orders_go_to_nobody_who_could_not_cancel_them(account: Account, alice: User, bob: User, vera: User) -> None:
    an_order(account, placed_by=bob)

    with pytest.raises(PeopleRefused, match="may cancel"):
        people.remove(alice, membership=of(bob), handed_to=vera)
    with pytest.raises(PeopleRefused, match="may cancel"):
        people.remove(alice, membership=of(bob), handed_to=bob)

    assert of(bob).is_active


def test_nobody_removes_themselves(team: Team, alice: User) -> None:
    member("olga", team, Membership.Role.OWNER)

    with pytest.raises(PeopleRefused, match="Somebody else"):
        people.remove(alice, membership=of(alice), handed_to=None)


def test_sessions_and_invitations_of_a_removed_person_end(team: Team, alice: User) -> None:
    ada = member("ada", team, Membership.Role.ADMIN)
    Client().login(username="ada", password=PASSWORD)
    browser = Client()
    browser.post("/accounts/login/", {"login": "ada", "password": PASSWORD})
    invitations.invite(ada, team=team, role="viewer", for_whom="Carl")

    people.remove(alice, membership=of(ada), handed_to=None)

    assert not Session.objects.filter(session_key=browser.session.session_key or "").exists()
    assert browser.get("/x/sandbox/").status_code == 302
    assert invitations.waiting(team) == []


def test_somebody_in_two_teams_stays_logged_in_for_the_other(team: Team, other_team: Team, alice: User) -> None:
    bob = member("bob", team, Membership.Role.TRADER)
    Membership.objects.create(team=other_team, user=bob, role="viewer")
    browser = Client()
    browser.post("/accounts/login/", {"login": "bob", "password": PASSWORD})

    people.remove(alice, membership=Membership.objects.get(team=team, user=bob), handed_to=None)

    assert b"South desk" in browser.get("/x/sandbox/team/").content


def test_a_paused_member_comes_back_in_the_same_role(alice: User, bob: User) -> None:
    people.pause(alice, membership=of(bob), handed_to=None)
    assert permissions.current_membership(bob) is None

    people.resume(alice, membership=of(bob))

    assert of(bob).is_active
    assert of(bob).role == "trader"


def test_a_removed_member_is_not_simply_resumed(alice: User, bob: User) -> None:
    people.remove(alice, membership=of(bob), handed_to=None)

    with pytest.raises(PeopleRefused):
        people.resume(alice, membership=of(bob))


def test_an_order_queued_before_the_removal_is_not_sent(
    ready: ScriptedExchange, alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = orders._send
    membership = of(bob)

    def late(order: Order, key: object) -> None:
        people.remove(alice, membership=membership, handed_to=alice)
        send(order, key)  # type: ignore[arg-type]

    monkeypatch.setattr(orders, "_send", late)

    order = orders.submit(bob, team=membership.team, environment="sandbox", ticket=a_ticket(), idempotency_key="k")

    assert (order.state, order.reason_code, ready.sent) == ("lapsed", "PERMISSION_LOST", [])


# --- own limits --------------------------------------------------------------------------------------------------


NONE = OwnLimits(None, None, None)


def limit(actor: User, whose: User, **wanted: object) -> None:
    before = limits.own_limits(of(whose))
    after = OwnLimits(**{name: wanted.get(name, getattr(before, name)) for name in OwnLimits.__slots__})  # type: ignore[arg-type]
    limits.set_own(actor, membership=of(whose), before=before, after=after)


def place(bob: User, **changes: object) -> Order:
    team = of(bob).team
    key = str(len(Order.objects.all()))
    return orders.submit(bob, team=team, environment="sandbox", ticket=a_ticket(**changes), idempotency_key=key)


def test_an_order_above_the_persons_own_limit_is_denied(ready: ScriptedExchange, alice: User, bob: User) -> None:
    limit(alice, bob, max_order_cost=Decimal("4.79"))

    order = place(bob)

    assert (order.state, order.reason_code, ready.sent) == ("denied", "OWN_ORDER_COST_LIMIT", [])
    assert order.reason_text == "This order would cost $4.80; your own limit is $4.79."
    assert place(alice).state == "resting"


def test_an_order_at_the_persons_own_limit_is_sent(ready: ScriptedExchange, alice: User, bob: User) -> None:
    limit(alice, bob, max_order_cost=Decimal("4.80"), max_working_cost=Decimal("4.80"), max_orders_per_minute=1)

    assert place(bob).state == "resting"


def test_working_orders_of_one_person_count_together(ready: ScriptedExchange, alice: User, bob: User) -> None:
    limit(alice, bob, max_working_cost=Decimal("9.59"))
    place(alice)

    first, second = place(bob), place(bob)

    assert (first.state, second.state, second.reason_code) == ("resting", "denied", "OWN_WORKING_COST_LIMIT")


def test_one_person_may_be_held_to_fewer_orders_a_minute(ready: ScriptedExchange, alice: User, bob: User) -> None:
    limit(alice, bob, max_orders_per_minute=1)

    first, second = place(bob), place(bob)

    assert (first.state, second.reason_code) == ("resting", "OWN_RATE_LIMIT")


def test_a_trader_lowers_their_own_limit_and_raises_none(alice: User, bob: User) -> None:
    limit(bob, bob, max_order_cost=Decimal("50.00"))
    with pytest.raises(PermissionDenied):
        limit(bob, bob, max_order_cost=Decimal("50.01"))
    with pytest.raises(PermissionDenied):
        limit(bob, bob, max_order_cost=None)
    limit(alice, bob, max_order_cost=None)

    assert limits.own_limits(of(bob)) == NONE


def test_a_limit_changed_meanwhile_is_not_overwritten(alice: User, bob: User) -> None:
    limit(alice, bob, max_orders_per_minute=5)

    with pytest.raises(LimitRefused, match="meanwhile"):
        limits.set_own(alice, membership=of(bob), before=NONE, after=OwnLimits(Decimal(1), None, None))


def test_the_teams_limits_change_with_what_they_were_in_the_record(
    team: Team, limits: RiskLimit, alice: User, bob: User
) -> None:
    from trading import limits as desk_limits

    before = desk_limits.team_limits(team, "sandbox")
    after = desk_limits.TeamLimits(Decimal(90), Decimal(500), Decimal(500), 10, Decimal("0.05"))
    with pytest.raises(PermissionDenied):
        desk_limits.set_team(bob, team=team, environment="sandbox", before=before, after=after)
    desk_limits.set_team(alice, team=team, environment="sandbox", before=before, after=after)

    assert desk_limits.team_limits(team, "sandbox") == after
    facts = AuditEntry.objects.get(action="limits.changed").facts
    assert (facts["from"]["max_order_cost"], facts["to"]["max_order_cost"]) == ("100.00", "90")


# --- settings ----------------------------------------------------------------------------------------------------


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
