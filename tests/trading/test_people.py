"""Roles, leaving, limits and settings: who may change them, what becomes of orders, and the owner who stays."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import Http404
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.trading.conftest import a_ticket, member
from tests.trading.exchange import ScriptedExchange
from tests.trading.test_models import an_order
from tests.trading.test_pages_doors import as_, just_logged_in
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


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_whose_new_role_cancels_nothing_hands_their_working_orders_over(
    team: Team, account: Account, alice: User, bob: User, role: str
) -> None:
    carl = member("carl", team, Membership.Role.TRADER)
    Team.objects.filter(pk=team.pk).update(traders_cancel_any=False)
    order = an_order(account, placed_by=bob)

    with pytest.raises(PeopleRefused, match="Say who looks after the 1 working order of bob"):
        people.change_role(alice, membership=of(bob), role=role)
    with pytest.raises(PeopleRefused, match="may cancel"):
        people.change_role(alice, membership=of(bob), role=role, handed_to=bob)
    assert (of(bob).role, of(bob).handed_to) == ("trader", None)
    people.change_role(alice, membership=of(bob), role=role, handed_to=carl)

    assert permissions.may_cancel(of(carl), order)
    assert [found.pk for found in people.working_orders(of(carl))] == [order.pk]
    assert people.working_counts(team)[carl.pk] == 1
    facts = {"user": "bob", "from": "trader", "to": role, "handed_to": "carl", "orders": [str(order.pk)]}
    assert AuditEntry.objects.get(action="member.changed").facts == facts


def test_whose_new_role_cancels_has_their_orders_back(team: Team, account: Account, alice: User, bob: User) -> None:
    Team.objects.filter(pk=team.pk).update(traders_cancel_any=False)
    carl = member("carl", team, Membership.Role.TRADER)
    order = an_order(account, placed_by=bob)
    people.change_role(alice, membership=of(bob), role="viewer", handed_to=carl)

    people.change_role(alice, membership=of(bob), role="trader")

    assert permissions.may_cancel(of(bob), order)
    assert not permissions.may_cancel(of(carl), order)


def test_the_keeper_of_a_removed_persons_orders_hands_them_on_with_their_role(
    team: Team, account: Account, alice: User, bob: User
) -> None:
    Team.objects.filter(pk=team.pk).update(traders_cancel_any=False)
    carl = member("carl", team, Membership.Role.TRADER)
    dora = member("dora", team, Membership.Role.TRADER)
    order = an_order(account, placed_by=bob)
    people.remove(alice, membership=of(bob), handed_to=carl)

    with pytest.raises(PeopleRefused, match="1 working order"):
        people.change_role(alice, membership=of(carl), role="viewer")
    people.change_role(alice, membership=of(carl), role="viewer", handed_to=dora)

    assert of(bob).handed_to == dora
    assert permissions.may_cancel(of(dora), order)


@pytest.mark.parametrize(("role", "keeper"), [("viewer", "carl"), ("trader", None)])
def test_who_comes_back_in_a_role_that_cancels_nothing_leaves_their_orders_with_whoever_has_them(
    team: Team, account: Account, alice: User, bob: User, role: str, keeper: str | None
) -> None:
    carl = member("carl", team, Membership.Role.TRADER)
    an_order(account, placed_by=bob)
    people.remove(alice, membership=of(bob), handed_to=carl)

    invitations.accept(bob, token=invitations.invite(alice, team=team, role=role, for_whom="Bob"))

    assert (of(bob).is_active, of(bob).role) == (True, role)
    assert getattr(of(bob).handed_to, "username", None) == keeper


def test_a_role_that_still_cancels_asks_for_nobody(account: Account, alice: User, bob: User) -> None:
    an_order(account, placed_by=bob)

    people.change_role(alice, membership=of(bob), role="admin")

    assert (of(bob).role, of(bob).handed_to) == ("admin", None)


def test_the_page_asks_who_looks_after_the_orders_before_it_takes_the_role(
    team: Team, account: Account, alice: User, bob: User, vera: User
) -> None:
    an_order(account, placed_by=bob)
    browser, role = just_logged_in(alice), f"/x/sandbox/team/members/{of(bob).pk}/role/"

    asked = browser.post(role, {"role": "viewer"})
    assert (asked.status_code, of(bob).role) == (422, "trader")
    page = asked.content.decode()
    assert "Who looks after it?" in page
    assert '<option value="alice">' in page
    assert '<option value="vera">' not in page
    browser.post(role, {"role": "viewer", "handed_to": "alice"})

    assert (of(bob).role, of(bob).handed_to) == ("viewer", alice)
    assert "orders with alice" in browser.get("/x/sandbox/team/").content.decode()


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


def test_a_paused_viewer_comes_back_without_the_orders_that_others_look_after(
    team: Team, account: Account, alice: User, bob: User
) -> None:
    Team.objects.filter(pk=team.pk).update(traders_cancel_any=False)
    carl = member("carl", team, Membership.Role.TRADER)
    order = an_order(account, placed_by=bob)
    people.change_role(alice, membership=of(bob), role="viewer", handed_to=carl)
    people.pause(alice, membership=of(bob), handed_to=carl)

    people.resume(alice, membership=of(bob))

    assert permissions.may_cancel(of(carl), order)


# --- a lost second factor ------------------------------------------------------------------------------------------


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
