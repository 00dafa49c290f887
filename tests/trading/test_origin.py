"""Each entry of a request says from where it came: the address and the session, without what would open the session."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import AsyncClient, Client

from tests.trading.test_models import an_order
from trading import audit, origin
from trading.models import Account, AuditEntry, DeskSession, Membership, Team

KEY = "k" * 32
HASHED = "5e318f8cf9cb"  # printf 'kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk' | sha256sum


@pytest.fixture
def cookie(alice: User) -> str:
    """Log alice in, by a session whose key is known."""
    Client().post("/accounts/login/", {"login": "alice", "password": "a long enough password"})
    Session.objects.update(session_key=KEY)
    DeskSession.objects.update(session_key=KEY)
    return KEY


def test_a_change_by_a_page_says_from_where_and_by_which_session(cookie: str, alice: User, bob: User) -> None:
    browser = Client(REMOTE_ADDR="203.0.113.7")
    browser.cookies[settings.SESSION_COOKIE_NAME] = cookie
    membership = Membership.objects.get(user=bob)

    browser.post(f"/x/sandbox/team/members/{membership.pk}/role/", {"role": "viewer"})

    entry = AuditEntry.objects.get(action="member.changed")
    assert entry.facts == {
        "user": "bob",
        "from": "trader",
        "to": "viewer",
        "origin": {"ip": "203.0.113.7", "session": HASHED},
    }
    assert KEY not in str(entry.facts)
    assert audit.verify(entry.team).is_whole


async def test_it_is_the_same_on_the_event_loop(cookie: str, transactional_db: None, bob: User) -> None:
    browser = AsyncClient()
    browser.cookies[settings.SESSION_COOKIE_NAME] = cookie
    membership = await Membership.objects.aget(user=bob)

    await browser.post(f"/x/sandbox/team/members/{membership.pk}/role/", {"role": "viewer"})

    entry = await AuditEntry.objects.aget(action="member.changed")
    assert entry.facts["origin"] == {"ip": "127.0.0.1", "session": HASHED}
    assert origin.current() == {}


def test_an_order_says_it_too(account: Account, alice: User) -> None:
    order = an_order(account, state="resting", placed_by=alice)
    with origin.asked_of(lambda: {"ip": "203.0.113.7"}):
        order.note("cancel_requested", actor=alice)
    order.note("heard")

    facts = {entry.action: entry.facts for entry in AuditEntry.objects.all()}
    assert facts == {"order.cancel_requested": {"origin": {"ip": "203.0.113.7"}}, "order.heard": {}}


def test_what_no_request_asked_for_says_nothing_even_after_one(cookie: str, team: Team) -> None:
    browser = Client()
    browser.cookies[settings.SESSION_COOKIE_NAME] = cookie
    assert browser.get("/x/sandbox/audit/").status_code == 200

    audit.record("team.changed", None, team=team, facts={"name": "North"})

    assert AuditEntry.objects.get(action="team.changed").facts == {"name": "North"}
    assert AuditEntry.objects.get(action="audit.read").facts == {"origin": {"ip": "127.0.0.1", "session": HASHED}}


def test_a_request_that_fails_leaves_nothing_behind() -> None:
    with pytest.raises(ZeroDivisionError), origin.asked_of(lambda: {"ip": "203.0.113.7"}):
        raise ZeroDivisionError

    assert origin.current() == {}


def test_the_page_says_it_only_to_those_who_look_for_something(cookie: str, team: Team) -> None:
    with origin.asked_of(lambda: {"ip": "203.0.113.7", "session": "0123456789ab"}):
        audit.record("team.changed", None, team=team, facts={"name": "North"})
    browser = Client()
    browser.cookies[settings.SESSION_COOKIE_NAME] = cookie

    assert "203.0.113.7" not in browser.get("/x/sandbox/audit/").content.decode()
    page = browser.get("/x/sandbox/audit/?text=0123456789ab").content.decode()

    assert "name: North · ip: 203.0.113.7 · session: 0123456789ab" in page
