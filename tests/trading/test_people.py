"""Roles and leaving: who may change them, what becomes of orders, and the owner who stays."""

from __future__ import annotations

import threading

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
from tests.trading.test_pages_doors import as_, just_logged_in
from trading import invitations, orders, people, permissions
from trading.models import Account, AuditEntry, Membership, Order, Team
from trading.people import PeopleRefused

PASSWORD = "a long enough password"


def of(user: User) -> Membership:
    return Membership.objects.select_related("team", "user").get(user=user)


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
