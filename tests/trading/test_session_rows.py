"""Every log-in has its row: none is forked from another, none outlives its end, and none works without being listed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user, update_session_auth_hash
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from tests.trading.test_sessions import PASSWORD, sign_in
from trading import sessions as desk_sessions
from trading.models import DeskSession, Membership, Team

pytestmark = pytest.mark.django_db


@pytest.fixture
def second_team(alice: User, other_team: Team) -> Team:
    """Return another team that alice is in."""
    Membership.objects.create(team=other_team, user=alice, role=Membership.Role.VIEWER)
    return other_team


def request_of(browser: Client) -> HttpRequest:
    """Return a request of a browser that has come as far as a view: its session is read, nothing is done yet."""
    request = RequestFactory().post("/x/sandbox/team/choose/")
    request.session = SessionStore(browser.session.session_key)
    request.user = get_user(request)
    assert request.user.is_authenticated
    return request


def answered(request: HttpRequest, view: Callable[[HttpRequest], Any]) -> HttpResponse:
    """Let a view do its part within the middleware."""

    def run(request: HttpRequest) -> HttpResponse:
        view(request)
        return HttpResponse()

    answer: HttpResponse = desk_sessions.DeskSessions(run)(request)
    return answer


def standing() -> list[str]:
    """Return the keys of Django's sessions, each of which has to be in the list."""
    return sorted(Session.objects.values_list("session_key", flat=True))


def listed() -> list[str]:
    return sorted(DeskSession.objects.values_list("session_key", flat=True))


# --- choosing a team ---------------------------------------------------------------------------------------------


def test_two_choices_at_once_leave_one_session_and_it_is_listed(alice: User, second_team: Team) -> None:
    browser = sign_in("alice")
    first, second = request_of(browser), request_of(browser)

    assert desk_sessions.choose_team(first, second_team.pk)
    assert not desk_sessions.choose_team(second, second_team.pk)

    assert (standing(), listed()) == ([first.session.session_key], [first.session.session_key])
    assert not second.user.is_authenticated
    assert second.session.is_empty()


def test_a_session_that_is_ended_while_it_chooses_a_team_is_over(team: Team, alice: User, second_team: Team) -> None:
    request = request_of(sign_in("alice"))
    desk_sessions.end(alice, session=DeskSession.objects.get(), team=team)

    assert not desk_sessions.choose_team(request, second_team.pk)

    assert (standing(), listed()) == ([], [])


def test_a_session_is_ended_that_has_another_key_since_the_list_was_read(
    team: Team, alice: User, second_team: Team
) -> None:
    browser = sign_in("alice")
    read = DeskSession.objects.get()
    desk_sessions.choose_team(request_of(browser), second_team.pk)

    desk_sessions.end(alice, session=read, team=team)

    assert (standing(), listed()) == ([], [])


def test_who_chooses_a_team_stays_logged_in_and_listed(alice: User, second_team: Team) -> None:
    browser = sign_in("alice")
    before = browser.session.session_key

    browser.post("/x/sandbox/team/choose/", {"to": str(second_team.pk)})

    assert browser.get("/x/sandbox/").status_code == 200
    assert browser.session.session_key != before
    assert (standing(), listed()) == ([browser.session.session_key], [browser.session.session_key])


# --- another key by a new password -------------------------------------------------------------------------------


def test_two_new_passwords_at_once_leave_one_session(alice: User) -> None:
    browser = sign_in("alice")
    first, second = request_of(browser), request_of(browser)
    desk_sessions.DeskSessions(lambda request: HttpResponse()).process_request(second)

    answered(first, lambda request: update_session_auth_hash(request, alice))
    update_session_auth_hash(second, alice)
    desk_sessions.DeskSessions(lambda request: HttpResponse()).process_response(second, HttpResponse())

    assert (standing(), listed()) == ([first.session.session_key], [first.session.session_key])
    assert not second.user.is_authenticated


# --- without a row -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [{}, {"Sec-Fetch-Dest": "empty"}])
def test_a_log_in_without_its_row_is_none(alice: User, header: dict[str, str]) -> None:
    browser = sign_in("alice")
    assert browser.get("/x/sandbox/orders.json", headers=header).status_code == 200
    DeskSession.objects.all().delete()

    answer = browser.get("/x/sandbox/orders.json", headers=header)

    assert answer.status_code in {302, 401, 403}
    assert standing() == []


def test_somebody_whose_row_is_gone_logs_in_again(alice: User) -> None:
    browser = sign_in("alice")
    DeskSession.objects.all().delete()

    browser.post("/accounts/login/", {"login": "alice", "password": PASSWORD})

    assert browser.get("/x/sandbox/").status_code == 200
    assert listed() == standing() == [browser.session.session_key]


def test_it_costs_a_request_one_query(alice: User) -> None:
    browser = sign_in("alice")
    browser.get("/about/")

    with CaptureQueriesContext(connection) as asked:
        browser.get("/about/", headers={"Sec-Fetch-Dest": "empty"})

    of_rows = [query["sql"] for query in asked if "trading_desksession" in query["sql"]]
    assert len(of_rows) == 1


def test_a_stranger_costs_none(client: Client) -> None:
    with CaptureQueriesContext(connection) as asked:
        client.get("/about/")

    assert len(asked) == 0


# --- kept by nobody ----------------------------------------------------------------------------------------------


OWN_PAGES = [
    "/about/",
    "/accounts/2fa/",
    "/accounts/2fa/totp/activate/",
    "/accounts/2fa/webauthn/",
    "/accounts/2fa/webauthn/add/",
    "/accounts/reauthenticate/",
    "/accounts/password/change/",
    "/accounts/logout/",
    "/x/sandbox/",
    "/x/sandbox/orders.json",
    "/no-such-page",
]


@pytest.mark.parametrize("page", OWN_PAGES)
def test_what_somebody_sees_who_is_logged_in_is_kept_by_nobody(alice: User, page: str) -> None:
    browser = sign_in("alice")
    browser.post("/accounts/reauthenticate/", {"password": PASSWORD})

    answer = browser.get(page)

    assert answer.status_code == (404 if page == "/no-such-page" else 200)
    assert {"no-store", "private"} <= set(answer.headers["Cache-Control"].split(", "))


def test_what_a_view_says_of_keeping_it_stands(alice: User) -> None:
    def say(request: HttpRequest) -> HttpResponse:
        return HttpResponse(headers={"Cache-Control": "private, max-age=60"})

    answer = desk_sessions.DeskSessions(say)(request_of(sign_in("alice")))

    assert answer.headers["Cache-Control"] == "private, max-age=60"


def test_what_everybody_sees_is_left_as_it_is(client: Client) -> None:
    assert "Cache-Control" not in client.get("/about/").headers


# --- the cookie --------------------------------------------------------------------------------------------------


def test_an_answer_to_a_request_with_the_key_of_before_leaves_the_browser_its_cookie(
    alice: User, second_team: Team
) -> None:
    browser, late = sign_in("alice"), Client()
    late.cookies[settings.SESSION_COOKIE_NAME] = str(browser.session.session_key)
    browser.post("/x/sandbox/team/choose/", {"to": str(second_team.pk)})

    answer = late.get("/x/sandbox/")

    assert answer.status_code == 302
    assert settings.SESSION_COOKIE_NAME not in answer.cookies
    assert browser.get("/x/sandbox/").status_code == 200


def test_an_answer_to_a_session_without_a_row_leaves_the_cookie_too(alice: User) -> None:
    browser = sign_in("alice")
    DeskSession.objects.all().delete()

    answer = browser.get("/x/sandbox/")

    assert answer.status_code == 302
    assert settings.SESSION_COOKIE_NAME not in answer.cookies
    assert standing() == []


def test_a_log_out_takes_the_cookie_away(alice: User) -> None:
    browser = sign_in("alice")

    answer = browser.post("/accounts/logout/")

    assert answer.cookies[settings.SESSION_COOKIE_NAME].value == ""
    assert answer.cookies[settings.SESSION_COOKIE_NAME]["max-age"] == 0
