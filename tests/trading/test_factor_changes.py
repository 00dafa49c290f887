"""A password or a second factor is changed together with its entry, and with the end of the other sessions, or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.test import Client
from django.urls import get_resolver, resolve, reverse

from kalshiweb import factor_pages
from tests.trading.passkeys import Passkey
from tests.trading.test_sessions import PASSWORD, SECRET, code_of, sign_in
from trading.models import AuditEntry

pytestmark = pytest.mark.django_db(transaction=True)

NEW = "quite another password"
REFUSE = "CREATE TRIGGER no_more BEFORE INSERT ON trading_auditentry BEGIN SELECT RAISE(ABORT, 'full'); END"
on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="the refusing trigger is written for SQLite")


@pytest.fixture(autouse=True)
def no_code_used_before() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@contextmanager
def a_record_that_cannot_be_written() -> Iterator[None]:
    """Let the database itself refuse every new entry, as one does whose disk is full."""
    with connection.cursor() as cursor:
        cursor.execute(REFUSE)
        try:
            yield
        finally:
            cursor.execute("DROP TRIGGER no_more")


def rows() -> list[tuple[int, str, dict[str, Any]]]:
    return list(Authenticator.objects.order_by("pk").values_list("pk", "type", "data"))


def told() -> list[tuple[str, str, str, int]]:
    entries = AuditEntry.objects.filter(action="session.second_factor").order_by("number")
    return [
        (entry.actor_name, entry.facts["kind"], entry.facts["done"], entry.facts["sessions_ended"]) for entry in entries
    ]


# --- what is done ------------------------------------------------------------------------------------------------


def proved(user: User) -> Client:
    """Return a browser whose person has just proved to be there, with whatever there is."""
    browser = sign_in("alice")
    browser.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return browser


def with_an_app(user: User) -> Client:
    browser = sign_in("alice")
    TOTP.activate(user, SECRET)
    RecoveryCodes.activate(user)
    browser.post("/accounts/2fa/reauthenticate/", {"code": code_of(SECRET)})
    return browser


def with_a_passkey_too(user: User) -> Client:
    browser = with_an_app(user)
    Passkey().belongs_to(user)
    return browser


def activate(browser: Client) -> Any:
    secret = browser.get("/accounts/2fa/totp/activate/").context["form"].secret
    return lambda: browser.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})


def add(browser: Client) -> Any:
    options = browser.get("/accounts/2fa/webauthn/add/").context["js_data"]["creation_options"]
    credential = json.dumps(Passkey().registration(options["publicKey"]["challenge"]))
    return lambda: browser.post("/accounts/2fa/webauthn/add/", {"name": "Mine", "credential": credential})


def passkey_page() -> str:
    return f"/accounts/2fa/webauthn/keys/{Authenticator.objects.get(type='webauthn').pk}/remove/"


Done = tuple[Callable[[User], Client], Callable[[Client], Callable[[], Any]], list[tuple[str, str, str, int]]]
CHANGES: dict[str, Done] = {
    "mfa_activate_totp": (
        proved,
        activate,
        [("alice", "totp", "added", 1), ("alice", "recovery_codes", "added", 0)],
    ),
    "mfa_deactivate_totp": (
        with_an_app,
        lambda browser: lambda: browser.post("/accounts/2fa/totp/deactivate/"),
        [("alice", "totp", "removed", 1), ("alice", "recovery_codes", "removed", 0)],
    ),
    "mfa_generate_recovery_codes": (
        with_an_app,
        lambda browser: lambda: browser.post("/accounts/2fa/recovery-codes/generate/"),
        [("alice", "recovery_codes", "made anew", 1)],
    ),
    "mfa_add_webauthn": (
        proved,
        add,
        [("alice", "webauthn", "added", 1), ("alice", "recovery_codes", "added", 0)],
    ),
    "mfa_remove_webauthn": (
        with_a_passkey_too,
        lambda browser: lambda: browser.post(passkey_page()),
        [("alice", "webauthn", "removed", 1)],
    ),
    "mfa_remove_webauthn by DELETE": (
        with_a_passkey_too,
        lambda browser: lambda: browser.delete(passkey_page()),
        [("alice", "webauthn", "removed", 1)],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_a_second_factor_is_in_the_record_and_ends_other_sessions(alice: User, name: str) -> None:
    prepare, do, expected = CHANGES[name]
    browser = prepare(alice)
    change = do(browser)
    there = _another_session()

    assert change().status_code == 302

    assert told() == expected
    assert there.get("/x/sandbox/").status_code == 302
    assert browser.get("/x/sandbox/").status_code == 200


def _another_session() -> Client:
    browser = Client()
    browser.force_login(User.objects.get(username="alice"))
    return browser


@on_sqlite
@pytest.mark.parametrize("name", CHANGES)
def test_without_the_record_no_second_factor_is_changed_and_no_session_ends(alice: User, name: str) -> None:
    prepare, do, _ = CHANGES[name]
    change = do(prepare(alice))
    there = _another_session()
    before = rows()

    with a_record_that_cannot_be_written(), pytest.raises(DatabaseError):
        change()

    assert rows() == before
    assert there.get("/x/sandbox/").status_code == 200


def test_using_a_factor_is_no_change_of_it(alice: User) -> None:
    browser = sign_in("alice")
    TOTP.activate(alice, SECRET)
    code = RecoveryCodes.activate(alice).get_unused_codes()[0]
    there = _another_session()

    browser.post("/accounts/2fa/reauthenticate/", {"code": code})
    browser.get("/accounts/2fa/recovery-codes/")
    browser.post("/accounts/2fa/totp/activate/")

    assert told() == []
    assert there.get("/x/sandbox/").status_code == 200


# allauth's other pages under the same folder, which change no second factor.
OTHERS = {
    "mfa_index",
    "mfa_authenticate",
    "mfa_reauthenticate",
    "mfa_view_recovery_codes",
    "mfa_download_recovery_codes",
    "mfa_list_webauthn",
    "mfa_reauthenticate_webauthn",
    "mfa_edit_webauthn",
    "mfa_login_webauthn",
}


def test_every_page_that_changes_a_second_factor_does_it_with_its_entry() -> None:
    names = {name for name in get_resolver().reverse_dict if isinstance(name, str) and name.startswith("mfa_")}
    changing = {name.partition(" ")[0] for name in CHANGES}

    assert names == changing | OTHERS
    for name in changing:
        path = reverse(name, args=[1] if name == "mfa_remove_webauthn" else [])
        assert resolve(path).func in {page.callback for page in factor_pages.urlpatterns}, name


# --- passwords ---------------------------------------------------------------------------------------------------


def change_password(browser: Client) -> Any:
    form = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
    return browser.post("/accounts/password/change/", form)


def set_first_password(browser: Client) -> Any:
    User.objects.filter(username="alice").update(password="!none")
    user = User.objects.get(username="alice")
    browser.force_login(user)
    return browser.post("/accounts/password/set/", {"password1": NEW, "password2": NEW})


@pytest.mark.parametrize("change", [change_password, set_first_password])
def test_a_password_is_set_with_one_entry(alice: User, change: Callable[[Client], Any]) -> None:
    browser = sign_in("alice")

    assert change(browser).status_code == 302

    (entry,) = AuditEntry.objects.filter(action="login.password_set")
    assert (entry.actor_name, entry.facts["user"]) == ("alice", "alice")
    assert User.objects.get(username="alice").check_password(NEW)
    assert browser.get("/x/sandbox/").status_code == 200


@on_sqlite
def test_without_the_record_no_password_is_changed(alice: User) -> None:
    browser = sign_in("alice")

    with a_record_that_cannot_be_written(), pytest.raises(DatabaseError):
        change_password(browser)

    assert User.objects.get(username="alice").check_password(PASSWORD)
    assert browser.get("/x/sandbox/").status_code == 200
