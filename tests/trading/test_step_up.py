"""Proofs of being there: whoever has a second factor proves with it, and each proof gives the session another key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from allauth.account.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.test import Client
from pytest_django.fixtures import Settings

from markets.sessions import LogIn, ended
from tests.trading.passkeys import Passkey
from tests.trading.test_sessions import PASSWORD, SECRET, change_role, code_of, sign_in
from trading.models import DeskSession, Membership

pytestmark = pytest.mark.django_db

AGAIN, CODE_AGAIN = "/accounts/reauthenticate/", "/accounts/2fa/reauthenticate/"
PASSKEY_AGAIN = "/accounts/2fa/webauthn/reauthenticate/"


@pytest.fixture(autouse=True)
def no_code_used_before() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def browser(alice: User) -> Client:
    """Alice's browser; she has an app, recovery codes and a passkey since she logged in."""
    browser = sign_in("alice")
    TOTP.activate(alice, SECRET)
    RecoveryCodes.activate(alice)
    Passkey().belongs_to(alice)
    return browser


def kinds(user: User) -> list[tuple[str, str]]:
    rows = Authenticator.objects.filter(user=user).order_by("pk")
    return [(row.type, row.data.get("name", "")) for row in rows]


ALL_OF_ALICE = [("totp", ""), ("recovery_codes", ""), ("webauthn", "A passkey")]


def passkey_page(verb: str) -> str:
    return f"/accounts/2fa/webauthn/keys/{Authenticator.objects.get(type='webauthn').pk}/{verb}/"


# What allauth has of doors to second factors, each with what a browser does there.
DOORS: dict[str, Callable[[Client], Any]] = {
    "see codes": lambda browser: browser.get("/accounts/2fa/recovery-codes/"),
    "download codes": lambda browser: browser.get("/accounts/2fa/recovery-codes/download/"),
    "ask for new codes": lambda browser: browser.get("/accounts/2fa/recovery-codes/generate/"),
    "make new codes": lambda browser: browser.post("/accounts/2fa/recovery-codes/generate/"),
    "take the app away": lambda browser: browser.post("/accounts/2fa/totp/deactivate/"),
    "be asked for a passkey": lambda browser: browser.get("/accounts/2fa/webauthn/add/"),
    "add a passkey": lambda browser: browser.post("/accounts/2fa/webauthn/add/", {"credential": "{}"}),
    "take a passkey away": lambda browser: browser.post(passkey_page("remove")),
    "delete a passkey": lambda browser: browser.delete(passkey_page("remove")),
    "rename a passkey": lambda browser: browser.post(passkey_page("edit"), {"name": "Mine now"}),
}


@pytest.mark.parametrize("environment", ["sandbox", "demo", "production"])
@pytest.mark.parametrize("door", DOORS)
def test_a_password_opens_no_door_to_second_factors_that_are_there(
    browser: Client, alice: User, settings: Settings, door: str, environment: str
) -> None:
    settings.ENVIRONMENT = environment
    browser.post(AGAIN, {"password": PASSWORD})

    answer = DOORS[door](browser)

    assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (302, CODE_AGAIN)
    assert kinds(alice) == ALL_OF_ALICE


@pytest.mark.parametrize("door", [name for name in DOORS if name != "add a passkey"])
def test_a_code_opens_each_of_them(browser: Client, alice: User, door: str) -> None:
    before = kinds(alice), set(Authenticator.objects.values_list("pk", flat=True))
    browser.post(CODE_AGAIN, {"code": code_of(SECRET)})

    answer = DOORS[door](browser)

    assert not answer.headers.get("Location", "").startswith((AGAIN, CODE_AGAIN, "/accounts/login/"))
    is_look = answer.request["REQUEST_METHOD"] == "GET"
    assert ((kinds(alice), set(Authenticator.objects.values_list("pk", flat=True))) == before) == is_look


def test_the_password_is_not_even_asked_for(browser: Client) -> None:
    for answer in (browser.get(AGAIN), browser.post(AGAIN, {"password": PASSWORD})):
        assert answer.headers["Location"] == CODE_AGAIN
    assert AGAIN not in browser.get(CODE_AGAIN).content.decode().replace(CODE_AGAIN, "").replace(PASSKEY_AGAIN, "")


def test_a_form_that_is_asked_all_the_same_takes_no_password(browser: Client, alice: User) -> None:
    with pytest.raises(ValidationError, match="Confirm that it is you with your second factor"):
        get_adapter().reauthenticate(alice, PASSWORD)


def test_whose_only_factor_is_a_passkey_is_asked_for_that(alice: User) -> None:
    browser = sign_in("alice")
    Passkey().belongs_to(alice)

    assert browser.get(AGAIN).headers["Location"] == PASSKEY_AGAIN
    assert browser.get(PASSKEY_AGAIN).status_code == 200


def test_without_a_second_factor_the_password_opens_the_way_to_the_first(alice: User) -> None:
    browser = sign_in("alice")
    assert browser.get("/accounts/2fa/totp/activate/").headers["Location"].startswith(AGAIN)

    browser.post(AGAIN, {"password": PASSWORD})

    assert browser.get("/accounts/2fa/totp/activate/").status_code == 200


@pytest.mark.parametrize("environment", ["sandbox", "demo"])
def test_a_fresh_password_is_no_proof_of_somebody_with_a_second_factor(
    browser: Client, bob: User, settings: Settings, environment: str
) -> None:
    settings.ENVIRONMENT = environment

    if environment == "sandbox":
        assert change_role(browser, bob).headers["Location"].startswith(CODE_AGAIN)
        assert Membership.objects.get(user=bob).role == "trader"
        browser.post(CODE_AGAIN, {"code": code_of(SECRET)})
        change_role(browser, bob)
        assert Membership.objects.get(user=bob).role == "viewer"
    else:
        url = f"/x/demo/team/members/{Membership.objects.get(user=bob).pk}/role/"
        assert browser.post(url, {"role": "viewer"}).headers["Location"].startswith(CODE_AGAIN)


# --- another key -------------------------------------------------------------------------------------------------


def with_the_password(browser: Client, alice: User) -> None:
    browser.post(AGAIN, {"password": PASSWORD})


def with_a_code(browser: Client, alice: User) -> None:
    TOTP.activate(alice, SECRET)
    browser.post(CODE_AGAIN, {"code": code_of(SECRET)})


def with_a_passkey(browser: Client, alice: User) -> None:
    passkey = Passkey()
    passkey.belongs_to(alice)
    asked = browser.get(PASSKEY_AGAIN).context["js_data"]["request_options"]["publicKey"]["challenge"]
    browser.post(PASSKEY_AGAIN, {"credential": passkey.answer(asked)})


@pytest.mark.parametrize("prove", [with_the_password, with_a_code, with_a_passkey])
def test_each_proof_gives_the_session_a_new_key_under_which_it_is_listed(
    alice: User, prove: Callable[[Client, User], None]
) -> None:
    browser = sign_in("alice")
    before = str(browser.session.session_key)
    thief = Client()
    thief.cookies["sessionid"] = before
    row = DeskSession.objects.get()

    prove(browser, alice)

    assert browser.session.session_key != before
    assert [(found.pk, found.session_key) for found in DeskSession.objects.all()] == [
        (row.pk, browser.session.session_key)
    ]
    assert [found.session_key for found in Session.objects.all()] == [browser.session.session_key]
    assert browser.get("/x/sandbox/").status_code == 200
    assert thief.get("/x/sandbox/").status_code == 302


def test_sockets_of_before_a_proof_close_and_those_of_after_it_stand(alice: User) -> None:
    browser = sign_in("alice")
    old = LogIn(str(browser.session.session_key), alice.pk)

    with_the_password(browser, alice)

    assert ended([old, LogIn(str(browser.session.session_key), alice.pk)]) == {old}


def test_a_proof_that_fails_gives_no_new_key(alice: User) -> None:
    browser = sign_in("alice")
    before = browser.session.session_key

    browser.post(AGAIN, {"password": "not this one"})

    assert browser.session.session_key == before
