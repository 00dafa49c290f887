"""The stock admin: staff look at people and lock them; keys, factors, orders and the record stay out of reach."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django.fixtures import Settings

from trading.models import ApiKey, AuditEntry, Fill, Invitation, LogInLink, Membership, Order, Team

PASSWORD = "a long enough password"


@pytest.fixture
def staff(db: None) -> Client:
    """Return the browser of the site's superuser, who is in no team."""
    User.objects.create_superuser("root", password=PASSWORD)
    browser = Client()
    browser.post("/accounts/login/", {"login": "root", "password": PASSWORD})
    return browser


@pytest.fixture
def people(db: None) -> dict[str, User]:
    """Make a team of an owner and a trader."""
    team = Team.objects.create(name="North desk", slug="north")
    made = {name: User.objects.create_user(name, password=PASSWORD) for name in ("alice", "bob")}
    Membership.objects.create(team=team, user=made["alice"], role="owner")
    Membership.objects.create(team=team, user=made["bob"], role="trader")
    return made


@pytest.mark.parametrize(
    "model", [ApiKey, Order, Fill, Invitation, LogInLink, Authenticator, EmailAddress, Group, Session]
)
def test_what_opens_or_orders_anything_is_not_in_the_admin(model: type) -> None:
    assert not admin.site.is_registered(model)


def test_locking_somebody_ends_their_sessions_and_is_written_down(staff: Client, people: dict[str, User]) -> None:
    browser = Client()
    browser.post("/accounts/login/", {"login": "bob", "password": PASSWORD})

    staff.post(f"/admin/auth/user/{people['bob'].pk}/change/", {})

    assert browser.get("/x/sandbox/").status_code == 302
    entry = AuditEntry.objects.get(action="person.locked")
    assert entry.facts.pop("origin")["ip"] == "127.0.0.1"
    assert (entry.actor_name, entry.facts) == ("root", {"user": "bob", "may_log_in": False, "sessions_ended": 1})


def test_the_only_owner_of_a_team_is_not_locked_out(staff: Client, people: dict[str, User]) -> None:
    answer = staff.post(f"/admin/auth/user/{people['alice'].pk}/change/", {})

    assert answer.status_code == 200
    assert User.objects.get(username="alice").is_active


def test_nothing_but_the_lock_is_taken(staff: Client, people: dict[str, User]) -> None:
    bob = people["bob"]
    more = {"is_active": "on", "username": "root2", "is_superuser": "on", "is_staff": "on", "password": "x"}

    staff.post(f"/admin/auth/user/{bob.pk}/change/", more)

    after = User.objects.get(pk=bob.pk)
    assert (after.username, after.is_superuser, after.is_staff) == ("bob", False, False)
    assert after.check_password(PASSWORD)


def test_an_order_in_the_record_is_not_shown_to_staff(staff: Client, people: dict[str, User]) -> None:
    team = Team.objects.get()
    AuditEntry.objects.append("order.submitted", people["bob"], team=team, facts={"words": "buy 10 YES"})
    AuditEntry.objects.append("limits.changed", people["alice"], team=team, facts={"secret plan": "1000"})
    seen = AuditEntry.objects.get(action="limits.changed")

    assert b"order.submitted" not in staff.get("/admin/trading/auditentry/").content
    assert b"secret plan" not in staff.get(f"/admin/trading/auditentry/{seen.pk}/change/").content


def test_beside_production_money_staff_need_a_second_factor(staff: Client, settings: Settings) -> None:
    assert staff.get("/admin/").status_code == 200
    settings.ENVIRONMENT = "production"

    assert staff.get("/admin/", follow=True).redirect_chain[-1][0] == "/accounts/2fa/"


def test_staff_do_not_become_somebody_else_in_the_admins_own_form(staff: Client) -> None:
    User.objects.create_superuser("other", password=PASSWORD)

    staff.post("/admin/login/", {"username": "other", "password": PASSWORD})

    assert b"other" not in staff.get("/admin/").content.split(b"user-tools")[1].split(b"</div>")[0]


@pytest.mark.parametrize("page", ["/admin/password_change/", "/admin/password_change/done/"])
def test_staff_change_their_password_on_their_own_page_with_its_limits_and_record(staff: Client, page: str) -> None:
    form = {
        "old_password": PASSWORD,
        "new_password1": "quite another password",
        "new_password2": "quite another password",
    }

    asked, posted = staff.get(page), staff.post(page, form)

    assert {asked.headers.get("Location"), posted.headers.get("Location")} == {"/accounts/password/change/"}
    assert User.objects.get(username="root").check_password(PASSWORD)


def test_somebody_locked_may_be_let_in_again(staff: Client, people: dict[str, User]) -> None:
    alice = people["alice"]
    User.objects.filter(pk=alice.pk).update(is_active=False)

    staff.post(f"/admin/auth/user/{alice.pk}/change/", {"is_active": "on"})

    assert User.objects.get(pk=alice.pk).is_active
    assert AuditEntry.objects.get(action="person.locked").facts["may_log_in"] is True
