"""Guessing at the door: what is refused is in the record, and a flood of it does not fill the record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from fido2.utils import websafe_encode

from tests.trading.passkeys import Passkey
from tests.trading.test_sessions import PASSWORD, SECRET, sign_in
from trading.models import AuditEntry

pytestmark = pytest.mark.django_db

HERE, ELSEWHERE = "203.0.113.7", "198.51.100.4"
LOGIN, CODE, CODE_AGAIN = "/accounts/login/", "/accounts/2fa/authenticate/", "/accounts/2fa/reauthenticate/"
PASSKEY, PASSKEY_AGAIN = "/accounts/2fa/webauthn/login/", "/accounts/2fa/webauthn/reauthenticate/"


@pytest.fixture(autouse=True)
def nobody_guessed_before() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def guess(browser: Client, name: str, times: int) -> None:
    for number in range(times):
        browser.post(LOGIN, {"login": name, "password": f"guess {number}"})


def told(action: str) -> list[dict[str, Any]]:
    """Return the facts of the entries of an action, all of which nobody is the actor of."""
    entries = AuditEntry.objects.filter(action=action).order_by("number")
    assert [entry.actor for entry in entries] == [None] * len(entries)
    return [{key: value for key, value in entry.facts.items() if key != "origin"} for entry in entries]


def half_in(name: str, address: str = HERE) -> Client:
    """Return a browser that gave the right password and is asked for the second factor."""
    browser = Client(REMOTE_ADDR=address)
    assert browser.post(LOGIN, {"login": name, "password": PASSWORD}).headers["Location"].startswith(CODE)
    return browser


def challenge(browser: Client) -> str:
    """Have the desk make the challenge that a passkey answers in place of a password."""
    answer = browser.get(PASSKEY, headers={"X-Requested-With": "XMLHttpRequest"})
    return str(answer.json()["request_options"]["publicKey"]["challenge"])


def handle_of(user: User) -> str:
    """Return the handle under which passkeys remember a person."""
    return str(websafe_encode(user_pk_to_url_str(user).encode()))


# --- too many ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["alice", "ALICE"])
def test_whom_too_many_wrong_passwords_keep_out_is_in_the_record_once(alice: User, typed: str) -> None:
    guess(Client(REMOTE_ADDR=HERE), typed, 8)

    assert len(told("session.failed")) == 5
    assert told("session.kept_out") == [{"user": "alice", "address": HERE}]


def test_five_wrong_passwords_keep_nobody_out_yet(alice: User) -> None:
    guess(Client(REMOTE_ADDR=HERE), "alice", 5)

    assert told("session.kept_out") == []


def test_guesses_from_another_address_are_an_entry_of_their_own(alice: User) -> None:
    guess(Client(REMOTE_ADDR=HERE), "alice", 6)
    guess(Client(REMOTE_ADDR=ELSEWHERE), "alice", 6)

    assert [facts["address"] for facts in told("session.kept_out")] == [HERE, ELSEWHERE]


def test_the_right_password_after_too_many_wrong_ones_is_refused_too(alice: User) -> None:
    browser = Client(REMOTE_ADDR=HERE)
    guess(browser, "alice", 5)

    assert b"Too many failed login attempts" in browser.post(LOGIN, {"login": "alice", "password": PASSWORD}).content
    assert len(told("session.kept_out")) == 1
    assert not AuditEntry.objects.filter(action="session.started").exists()


def test_too_many_guesses_at_a_name_that_nobody_has_are_in_no_record(alice: User) -> None:
    guess(Client(REMOTE_ADDR=HERE), "alicia", 8)

    assert not AuditEntry.objects.exists()


def test_whom_too_many_wrong_codes_keep_out_is_in_the_record_once(alice: User) -> None:
    TOTP.activate(alice, SECRET)
    browser = half_in("alice")
    for _ in range(8):
        browser.post(CODE, {"code": "0000000"})

    assert len(told("session.factor_failed")) == 5
    assert told("session.kept_out") == [{"user": "alice", "address": HERE}]


def test_wrong_codes_of_somebody_who_is_logged_in_are_counted_as_well(alice: User) -> None:
    browser = sign_in("alice", REMOTE_ADDR=HERE)
    TOTP.activate(alice, SECRET)
    for _ in range(8):
        browser.post(CODE_AGAIN, {"code": "0000000"})

    assert len(told("session.factor_failed")) == 5
    assert told("session.kept_out") == [{"user": "alice", "address": HERE}]


# --- passkeys ----------------------------------------------------------------------------------------------------

WRONG = [{"user": "alice", "kind": "webauthn", "address": HERE}]


def test_a_passkey_opens_the_desk_and_leaves_no_trace_of_a_wrong_one(alice: User) -> None:
    passkey = Passkey()
    passkey.belongs_to(alice)
    browser = Client(REMOTE_ADDR=HERE)

    browser.post(PASSKEY, {"credential": passkey.answer(challenge(browser), whose=user_pk_to_url_str(alice))})

    assert browser.get("/x/sandbox/").status_code == 200
    assert told("session.factor_failed") == []


@pytest.mark.parametrize("wrong", ["another signature", "an old challenge"])
def test_a_wrong_passkey_in_place_of_a_password_is_in_the_record_of_whose_it_is(alice: User, wrong: str) -> None:
    passkey, browser = Passkey(), Client(REMOTE_ADDR=HERE)
    passkey.belongs_to(alice)
    asked = challenge(browser)
    if wrong == "an old challenge":
        challenge(browser)
    signing = Passkey(passkey.id) if wrong == "another signature" else passkey

    browser.post(PASSKEY, {"credential": signing.answer(asked, whose=user_pk_to_url_str(alice))})

    assert told("session.factor_failed") == WRONG
    assert browser.get("/x/sandbox/").status_code == 302


@pytest.mark.parametrize("wrong", ["nobody's", "another than hers", "somebody else's"])
def test_who_only_names_a_person_puts_nothing_into_the_record(alice: User, mallory: User, wrong: str) -> None:
    passkey, browser = Passkey(), Client(REMOTE_ADDR=HERE)
    if wrong == "another than hers":
        Passkey(b"her own").belongs_to(alice)
    if wrong == "somebody else's":
        passkey.belongs_to(mallory)

    browser.post(PASSKEY, {"credential": passkey.answer(challenge(browser), whose=user_pk_to_url_str(alice))})

    assert not AuditEntry.objects.exists()
    assert browser.get("/x/sandbox/").status_code == 302


def test_a_user_handle_alone_puts_nothing_into_the_record(alice: User) -> None:
    Passkey().belongs_to(alice)

    Client().post(PASSKEY, {"credential": f'{{"response": {{"userHandle": "{handle_of(alice)}"}}}}'})

    assert not AuditEntry.objects.exists()


def test_a_wrong_passkey_after_the_password_is_in_the_record_and_the_right_one_opens(alice: User) -> None:
    passkey = Passkey()
    passkey.belongs_to(alice)
    browser = half_in("alice")

    asked = browser.get(CODE).context["js_data"]["request_options"]["publicKey"]["challenge"]
    browser.post(CODE, {"credential": Passkey(b"another").answer(asked)})
    assert told("session.factor_failed") == WRONG
    assert browser.get("/x/sandbox/").status_code == 302

    asked = browser.get(CODE).context["js_data"]["request_options"]["publicKey"]["challenge"]
    browser.post(CODE, {"credential": passkey.answer(asked)})
    assert browser.get("/x/sandbox/").status_code == 200
    assert told("session.factor_failed") == WRONG


def test_a_wrong_passkey_of_somebody_who_is_logged_in_is_in_the_record(alice: User) -> None:
    browser = sign_in("alice", REMOTE_ADDR=HERE)
    Passkey().belongs_to(alice)

    browser.post(PASSKEY_AGAIN, {"credential": Passkey(b"another").answer("AAAA")})

    assert told("session.factor_failed") == WRONG


def test_whom_too_many_wrong_passkeys_keep_out_is_in_the_record_once(alice: User) -> None:
    Passkey().belongs_to(alice)
    browser = half_in("alice")
    for _ in range(8):
        browser.post(CODE, {"credential": Passkey(b"another").answer("AAAA")})

    assert len(told("session.factor_failed")) == 5
    assert told("session.kept_out") == [{"user": "alice", "address": HERE}]


@pytest.mark.parametrize("given", ['"text"', "[]", "7", "{}", '{"response": 7}', "no json", ""])
def test_what_is_no_passkey_at_all_names_nobody_and_breaks_nothing(alice: User, given: str) -> None:
    browser = Client(REMOTE_ADDR=HERE)
    challenge(browser)

    assert browser.post(PASSKEY, {"credential": given}).status_code == 302
    assert told("session.factor_failed") == []


def test_passkeys_are_tried_ten_times_a_minute_and_one_entry_comes_of_it(alice: User) -> None:
    passkey, browser = Passkey(), Client(REMOTE_ADDR=HERE)
    passkey.belongs_to(alice)
    given = passkey.answer("AAAA", whose=user_pk_to_url_str(alice))
    answers = [browser.post(PASSKEY, {"credential": given}).status_code for _ in range(12)]

    assert answers == [302] * 10 + [429] * 2
    assert told("session.factor_failed") == WRONG


def test_a_wrong_passkey_from_another_address_is_an_entry_of_its_own(alice: User) -> None:
    passkey = Passkey()
    passkey.belongs_to(alice)
    for address in (HERE, ELSEWHERE, HERE):
        given = passkey.answer("AAAA", whose=user_pk_to_url_str(alice))
        Client(REMOTE_ADDR=address).post(PASSKEY, {"credential": given})

    assert [facts["address"] for facts in told("session.factor_failed")] == [HERE, ELSEWHERE]


# --- one machine, many addresses ---------------------------------------------------------------------------------


def test_addresses_of_one_network_are_kept_out_as_one(alice: User) -> None:
    for number in range(1, 9):
        guess(Client(REMOTE_ADDR=f"2001:db8:1:2::{number}"), "alice", 1)
    guess(Client(REMOTE_ADDR="2001:db8:1:3::1"), "alice", 1)

    assert [facts["address"] for facts in told("session.failed")] == [
        "2001:db8:1:2::1",
        "2001:db8:1:2::2",
        "2001:db8:1:2::3",
        "2001:db8:1:2::4",
        "2001:db8:1:2::5",
        "2001:db8:1:3::1",
    ]
    assert told("session.kept_out") == [{"user": "alice", "address": "2001:db8:1:2::6"}]
