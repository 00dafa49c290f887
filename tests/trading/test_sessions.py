"""Log-ins: fresh proofs for what is dangerous, the idle lock, second factors, guessing, and the list of sessions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from tests.trading.conftest import TICKER, member
from tests.trading.exchange import ScriptedExchange
from tests.trading.test_models import an_order
from trading import sessions as desk_sessions
from trading import setup
from trading.models import Account, ApiKey, AuditEntry, DeskSession, Membership, Team

PASSWORD = "a long enough password"
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Stop the clock, to be moved by the test."""
    with time_machine.travel(NOW, tick=False) as moved:
        yield moved


def sign_in(name: str, **headers: Any) -> Client:
    browser = Client(**headers)
    answer = browser.post("/accounts/login/", {"login": name, "password": PASSWORD})
    assert answer.status_code == 302, answer.content
    return browser


def code_of(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time()))))


def order(browser: Client, key: str = "6f1c0f5e-6a5e-4a55-9a42-1a0f6c2f7d11") -> Any:
    ticket = {"direction": "buy-yes", "price": "48", "count": "10", "idempotency_key": key}
    return browser.post(f"/x/sandbox/markets/{TICKER}/orders/", ticket, headers={"Accept": "application/json"})


# --- a fresh proof -----------------------------------------------------------------------------------------------


def change_role(browser: Client, who: User, role: str = "viewer") -> Any:
    pk = Membership.objects.get(user=who).pk
    return browser.post(f"/x/sandbox/team/members/{pk}/role/", {"role": role})


def test_what_is_dangerous_asks_for_the_password_after_five_minutes(
    alice: User, bob: User, clock: time_machine.Traveller
) -> None:
    browser = sign_in("alice")
    clock.shift(299)
    change_role(browser, bob, "auditor")
    assert Membership.objects.get(user=bob).role == "auditor"
    clock.shift(2)

    answer = change_role(browser, bob, "trader")

    assert answer.headers["Location"] == "/accounts/reauthenticate/?next=%2Fx%2Fsandbox%2Fteam%2F"
    assert Membership.objects.get(user=bob).role == "auditor"


def test_the_password_given_again_leads_back_and_lets_it_pass(
    alice: User, bob: User, clock: time_machine.Traveller
) -> None:
    browser = sign_in("alice")
    clock.shift(301)
    asked = change_role(browser, bob).headers["Location"]

    assert browser.post(asked, {"password": "not this one"}).status_code == 200
    change_role(browser, bob)
    assert Membership.objects.get(user=bob).role == "trader"
    assert browser.post(asked, {"password": PASSWORD}).headers["Location"] == "/x/sandbox/team/"
    change_role(browser, bob)

    assert Membership.objects.get(user=bob).role == "viewer"


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("invitation_make", {"for_whom": "Carl", "role": "viewer"}),
        ("team_settings", {"name": "Ours"}),
    ],
)
def test_each_of_them_asks(alice: User, clock: time_machine.Traveller, name: str, form: dict[str, str]) -> None:
    browser = sign_in("alice")
    clock.shift(301)

    answer = browser.post(reverse(f"trading:{name}", args=["sandbox"]), form)

    assert answer.headers["Location"].startswith("/accounts/reauthenticate/")


@pytest.mark.parametrize("verb", ["remove", "pause", "resume", "lend"])
def test_each_change_of_a_key_asks(alice: User, api_key: ApiKey, clock: time_machine.Traveller, verb: str) -> None:
    browser = sign_in("alice")
    clock.shift(301)

    answer = browser.post(f"/x/sandbox/keys/{api_key.pk}/{verb}/")

    assert answer.headers["Location"].startswith("/accounts/reauthenticate/")
    assert ApiKey.objects.get().state == "active"


def test_a_private_key_is_typed_in_only_after_the_proof(
    alice: User, account: Account, clock: time_machine.Traveller
) -> None:
    browser = sign_in("alice")
    clock.shift(301)

    assert browser.get("/x/sandbox/keys/add/").headers["Location"].startswith("/accounts/reauthenticate/")
    browser.post("/x/sandbox/keys/add/", {"pem": "-----BEGIN PRIVATE KEY-----"})

    assert not any("PRIVATE KEY" in str(row.get_decoded()) for row in Session.objects.all())


def test_lowering_a_limit_asks_for_nothing_and_raising_does(
    alice: User, bob: User, clock: time_machine.Traveller
) -> None:
    membership = Membership.objects.get(user=bob)
    url, field = f"/x/sandbox/limits/members/{membership.pk}/", f"own-{membership.pk}"
    browser = sign_in("alice")
    clock.shift(301)

    lowered = browser.post(url, {f"{field}-seen": "-;-;-", f"{field}-max_order_cost": "50"})
    raised = browser.post(url, {f"{field}-seen": "50.00;-;-", f"{field}-max_order_cost": "51"})

    assert lowered.headers["Location"] == "/x/sandbox/limits/"
    assert raised.headers["Location"].startswith("/accounts/reauthenticate/")
    assert str(Membership.objects.get(user=bob).max_order_cost) == "50.00"


def test_the_first_owner_of_a_sandbox_has_nothing_to_prove_with(alice: User, bob: User) -> None:
    alice.set_unusable_password()
    alice.save()
    browser = Client()
    browser.force_login(alice)

    change_role(browser, bob)

    assert Membership.objects.get(user=bob).role == "viewer"


# --- the idle lock -----------------------------------------------------------------------------------------------


def test_thirty_idle_minutes_lock_trading_and_not_the_view(
    ready: ScriptedExchange, alice: User, clock: time_machine.Traveller, show_top: Any
) -> None:
    browser = sign_in("alice")
    clock.shift(30 * 60 + 1)
    Account.objects.update(reconciled_at=datetime.now(UTC))
    show_top()

    answer = order(browser)

    assert (answer.status_code, ready.sent) == (403, [])
    assert "locked" in answer.json()["fault"]["text"]
    assert browser.get("/x/sandbox/orders/").status_code == 200
    assert b"Trading is locked" in browser.get(f"/x/sandbox/markets/{TICKER}/").content


def test_looking_at_a_page_does_not_unlock(
    ready: ScriptedExchange, alice: User, clock: time_machine.Traveller, show_top: Any
) -> None:
    browser = sign_in("alice")
    clock.shift(30 * 60 + 1)
    browser.get("/x/sandbox/")
    clock.shift(61)
    show_top()

    assert order(browser).status_code == 403
    browser.post("/accounts/reauthenticate/", {"password": PASSWORD})
    Account.objects.update(reconciled_at=datetime.now(UTC))

    assert order(browser).status_code == 200
    assert len(ready.sent) == 1


def test_somebody_who_is_there_is_not_locked(
    ready: ScriptedExchange, alice: User, clock: time_machine.Traveller, show_top: Any
) -> None:
    browser = sign_in("alice")
    for _ in range(3):
        clock.shift(29 * 60)
        browser.get("/x/sandbox/")
    Account.objects.update(reconciled_at=datetime.now(UTC))
    show_top()

    assert order(browser).status_code == 200


def test_what_a_script_fetches_is_no_sign_of_a_person(
    ready: ScriptedExchange, alice: User, clock: time_machine.Traveller, show_top: Any
) -> None:
    browser = sign_in("alice")
    for _ in range(3):
        clock.shift(15 * 60)
        browser.get("/x/sandbox/orders.json", headers={"Sec-Fetch-Dest": "empty"})
    show_top()

    assert order(browser).status_code == 403


def test_a_cancel_passes_the_lock(
    ready: ScriptedExchange, account: Account, alice: User, clock: time_machine.Traveller
) -> None:
    there = ready.place({"side": "bid", "ticker": TICKER, "price": "0.4800", "count": "10.00"})
    resting = an_order(account, placed_by=alice, exchange_order_id=there["order_id"])
    browser = sign_in("alice")
    clock.shift(45 * 60)

    answer = browser.post(f"/x/sandbox/orders/{resting.pk}/cancel/", headers={"Accept": "application/json"})

    assert (answer.status_code, ready.cancels_sent) == (200, 1)


def test_a_session_ends_after_twelve_hours(alice: User, clock: time_machine.Traveller) -> None:
    browser = sign_in("alice")
    for _ in range(12):
        clock.shift(61 * 60)
        last = browser.get("/x/sandbox/")

    assert last.headers["Location"].startswith("/accounts/login/")


# --- the second factor -------------------------------------------------------------------------------------------


@pytest.fixture
def production(settings: Settings, team: Team, alice: User) -> Team:
    """Let the installation be one for real money, with a key of the team in use."""
    settings.ENVIRONMENT = "production"
    account = Account.objects.create(environment="production", team=team, name="Main")
    ApiKey.objects.create(
        account=account, environment="production", key_id="k", key_type="rsa", name="k", state="active", added_by=alice
    )
    return team


def test_beside_a_production_key_a_second_factor_comes_first(production: Team, alice: User) -> None:
    browser = sign_in("alice")

    assert browser.get("/x/production/").headers["Location"] == "/accounts/2fa/"
    assert browser.get("/x/production/orders.json").status_code == 403
    TOTP.activate(alice, SECRET)

    assert browser.get("/x/production/").status_code == 200


def test_without_a_usable_key_nobody_is_held_up(production: Team, alice: User) -> None:
    ApiKey.objects.update(state="paused")

    assert sign_in("alice").get("/x/production/").status_code == 200


def test_logging_in_asks_for_the_second_factor_and_takes_each_code_once(alice: User) -> None:
    TOTP.activate(alice, SECRET)
    browser = Client()
    answer = browser.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    assert answer.headers["Location"].startswith("/accounts/2fa/authenticate/")
    assert browser.get("/x/sandbox/").status_code == 302
    code = code_of(SECRET)

    assert browser.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 302
    assert browser.get("/x/sandbox/").status_code == 200
    again = Client()
    again.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    assert again.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 200
    assert again.get("/x/sandbox/").status_code == 302


def test_a_recovery_code_works_once_and_is_kept_unreadable(alice: User) -> None:
    TOTP.activate(alice, SECRET)
    code = RecoveryCodes.activate(alice).get_unused_codes()[0]
    for expected in (200, 302):
        browser = Client()
        browser.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
        browser.post("/accounts/2fa/authenticate/", {"code": code})
        assert browser.get("/x/sandbox/").status_code == expected

    assert code not in str(list(Authenticator.objects.values_list("data", flat=True)))


def test_in_production_a_password_is_no_fresh_proof(
    production: Team, alice: User, bob: User, clock: time_machine.Traveller
) -> None:
    browser = sign_in("alice")
    TOTP.activate(alice, SECRET)
    pk = Membership.objects.get(user=bob).pk

    answer = browser.post(f"/x/production/team/members/{pk}/role/", {"role": "viewer"})
    assert answer.headers["Location"].startswith("/accounts/2fa/reauthenticate/")
    browser.post(answer.headers["Location"], {"code": code_of(SECRET)})
    browser.post(f"/x/production/team/members/{pk}/role/", {"role": "viewer"})

    assert Membership.objects.get(user=bob).role == "viewer"


@pytest.mark.parametrize(
    "name", ["mfa_index", "mfa_activate_totp", "mfa_list_webauthn", "mfa_add_webauthn", "account_change_password"]
)
def test_the_pages_of_ones_own_security_stand(alice: User, name: str) -> None:
    browser = sign_in("alice")
    browser.post("/accounts/reauthenticate/", {"password": PASSWORD})

    assert browser.get(reverse(name)).status_code == 200


# --- guessing ----------------------------------------------------------------------------------------------------


def test_guessing_is_stopped_and_locks_nobody_out_elsewhere(alice: User) -> None:
    cache.clear()
    guesser, owner = Client(REMOTE_ADDR="203.0.113.7"), Client(REMOTE_ADDR="198.51.100.4")
    for number in range(5):
        guesser.post("/accounts/login/", {"login": "alice", "password": f"guess {number}"})

    refused = guesser.post("/accounts/login/", {"login": "alice", "password": PASSWORD})

    assert refused.status_code == 200
    assert b"Too many failed login attempts" in refused.content
    assert owner.post("/accounts/login/", {"login": "alice", "password": PASSWORD}).status_code == 302


def test_a_wrong_name_and_a_wrong_password_are_answered_alike(alice: User) -> None:
    answers = []
    for name in ("alice", "nobody-of-this-name"):
        page = Client().post("/accounts/login/", {"login": name, "password": "a wrong password"}).content.decode()
        answers.append([line for line in page.splitlines() if "fault" in line])

    assert answers[0] == answers[1] != []


def test_log_ins_and_failures_are_in_the_record_without_the_password(alice: User) -> None:
    Client(REMOTE_ADDR="203.0.113.7").post("/accounts/login/", {"login": "alice", "password": "a wrong password"})
    sign_in("alice", REMOTE_ADDR="198.51.100.4")

    session = hashlib.sha256(DeskSession.objects.get().session_key.encode()).hexdigest()[:12]
    came = {"ip": "198.51.100.4", "session": session}
    assert list(AuditEntry.objects.values_list("action", "actor_name", "facts")) == [
        ("session.failed", "", {"user": "alice", "address": "203.0.113.7", "origin": {"ip": "203.0.113.7"}}),
        ("session.started", "alice", {"address": "198.51.100.4", "origin": came}),
    ]


@pytest.mark.parametrize("typed", ["bob", "BOB", "Bob"])
def test_a_guess_is_in_the_record_however_the_name_is_written(bob: User, typed: str) -> None:
    Client().post("/accounts/login/", {"login": typed, "password": "a wrong password"})

    assert [entry.facts["user"] for entry in AuditEntry.objects.filter(action="session.failed")] == ["bob"]
    assert Client().post("/accounts/login/", {"login": typed, "password": PASSWORD}).status_code == 302


def test_a_guess_at_a_name_that_nobody_has_is_in_no_record(bob: User) -> None:
    Client().post("/accounts/login/", {"login": "bobby", "password": "a wrong password"})

    assert not AuditEntry.objects.exists()


def test_each_wrong_code_is_in_the_record_and_the_right_one_is_a_log_in(bob: User) -> None:
    TOTP.activate(bob, SECRET)
    browser = Client(REMOTE_ADDR="203.0.113.7")
    asked = browser.post("/accounts/login/", {"login": "bob", "password": PASSWORD}).headers["Location"]
    for _ in range(3):
        browser.post(asked, {"code": "0000000"})

    failed = AuditEntry.objects.filter(action="session.factor_failed")
    assert [(entry.actor, entry.facts["user"], entry.facts["kind"], entry.facts["address"]) for entry in failed] == [
        (None, "bob", "totp", "203.0.113.7")
    ] * 3
    assert not AuditEntry.objects.filter(action="session.started").exists()
    browser.post(asked, {"code": code_of(SECRET)})
    assert [entry.action for entry in AuditEntry.objects.order_by("number")][3:] == ["session.started"]


def test_a_log_out_is_in_the_record_of_whoever_was_logged_in(bob: User) -> None:
    browser = sign_in("bob", REMOTE_ADDR="203.0.113.7")
    browser.post("/accounts/logout/")
    browser.post("/accounts/logout/")

    left = AuditEntry.objects.get(action="session.left")
    began = AuditEntry.objects.get(action="session.started")
    assert (left.actor_name, left.facts["address"]) == ("bob", "203.0.113.7")
    assert left.facts["origin"] == began.facts["origin"]


# --- the list ----------------------------------------------------------------------------------------------------


def test_ones_sessions_are_listed_and_each_can_be_ended(alice: User) -> None:
    here = sign_in("alice", HTTP_USER_AGENT="Firefox on the desk")
    there = sign_in("alice", HTTP_USER_AGENT="Safari on a phone")
    page = here.get("/x/sandbox/sessions/").content.decode()
    assert ("Firefox on the desk" in page, "Safari on a phone" in page) == (True, True)
    phone = DeskSession.objects.get(agent="Safari on a phone")

    here.post(f"/x/sandbox/sessions/{phone.pk}/end/")

    assert there.get("/x/sandbox/").status_code == 302
    assert here.get("/x/sandbox/").status_code == 200


def test_an_owner_ends_a_members_session_and_a_trader_does_not(team: Team, alice: User, bob: User) -> None:
    dora = member("dora", team, Membership.Role.TRADER)
    owner, trader, other = sign_in("alice"), sign_in("bob"), sign_in("dora")
    session = DeskSession.objects.get(user=dora)

    assert trader.post(f"/x/sandbox/sessions/{session.pk}/end/").status_code == 403
    assert other.get("/x/sandbox/").status_code == 200
    owner.post(f"/x/sandbox/sessions/{session.pk}/end/")

    assert other.get("/x/sandbox/").status_code == 302
    assert AuditEntry.objects.get(action="session.ended").facts["user"] == "dora"


def test_looking_at_other_peoples_sessions_is_written_down_once_an_hour(alice: User) -> None:
    browser = sign_in("alice")
    for _ in range(3):
        browser.get("/x/sandbox/sessions/?of=team")

    assert AuditEntry.objects.filter(action="sessions.read").count() == 1


def test_a_new_session_key_comes_with_the_log_in(alice: User) -> None:
    browser = Client()
    browser.get("/accounts/login/")
    session = browser.session
    session["visited"] = True
    session.save()
    before = session.session_key

    browser.post("/accounts/login/", {"login": "alice", "password": PASSWORD})

    assert browser.session.session_key != before


def test_a_changed_password_ends_every_other_session(alice: User) -> None:
    here, there = sign_in("alice"), sign_in("alice")
    form = {"oldpassword": PASSWORD, "password1": "quite another password", "password2": "quite another password"}

    here.post("/accounts/password/change/", form)

    assert there.get("/x/sandbox/").status_code == 302


def test_the_operator_takes_a_lost_second_factor_away(alice: User) -> None:
    TOTP.activate(alice, SECRET)

    call_command("reset_second_factor", user="alice")

    assert sign_in("alice").get("/x/sandbox/").status_code == 200
    assert AuditEntry.objects.filter(action="session.second_factor", actor=None).count() == 1


def test_a_log_in_over_somebody_elses_session_is_listed_too(alice: User, bob: User) -> None:
    browser = sign_in("alice")
    browser.post(f"/welcome/{setup.make_link(bob, kind='reset')}")
    assert browser.get("/x/sandbox/").context["request"].user == bob

    assert DeskSession.objects.get(user=bob).session_key == browser.session.session_key
    assert desk_sessions.end_all(bob) == 1
    assert browser.get("/x/sandbox/").status_code == 302


def test_a_session_stays_in_the_list_when_its_password_is_changed(alice: User) -> None:
    browser = sign_in("alice")
    form = {"oldpassword": PASSWORD, "password1": "quite another password", "password2": "quite another password"}

    browser.post("/accounts/password/change/", form)

    assert DeskSession.objects.get(user=alice).session_key == browser.session.session_key
    desk_sessions.end_all(alice)
    assert browser.get("/x/sandbox/").status_code == 302


def test_behind_a_trusted_proxy_people_are_told_apart_by_what_it_says(alice: User, settings: Settings) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    cache.clear()
    guesser = Client(HTTP_X_FORWARDED_FOR="198.51.100.4, 203.0.113.7")  # the first is what the guesser claims
    owner = Client(HTTP_X_FORWARDED_FOR="198.51.100.4")
    for number in range(10):
        guesser.post("/accounts/login/", {"login": "alice", "password": f"guess {number}"})

    assert owner.post("/accounts/login/", {"login": "alice", "password": PASSWORD}).status_code == 302
    assert DeskSession.objects.get(user=alice).address == "198.51.100.4"
    failed = AuditEntry.objects.filter(action="session.failed").values_list("facts__address", flat=True)
    assert set(failed) == {"203.0.113.7"}


def test_without_a_trusted_proxy_nobody_says_where_they_are(alice: User) -> None:
    sign_in("alice", REMOTE_ADDR="203.0.113.7", HTTP_X_FORWARDED_FOR="198.51.100.4")

    assert DeskSession.objects.get(user=alice).address == "203.0.113.7"
