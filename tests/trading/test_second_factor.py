"""Second factors at rest: nothing in the database lets a reader of it log in, and what was bent lets nobody in."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from pytest_django.fixtures import Settings

from kalshiweb import checks, prepare, second_factor
from trading.models import AuditEntry
from trading.ring import BadRing, KeyRing
from trading.vault import Binding, seal

pytestmark = pytest.mark.django_db

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
PASSWORD = "a long enough password"
UNREADABLE = "Your second factor cannot be read: what is stored was changed, or its master key is missing."


@pytest.fixture(autouse=True)
def ring(settings: Settings, tmp_path: Path) -> Path:
    """Return where this test's own ring of master keys will be."""
    cache.clear()  # a code that was used is remembered there
    settings.KALSHIWEB_DATA_DIR = tmp_path
    return tmp_path / "master.keys"


def column(kind: str = "totp") -> str:
    """Return what the database itself holds, past every hook."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CAST(data AS text) FROM mfa_authenticator WHERE type = %s", [kind])
        return str(cursor.fetchone()[0])


def put_in(user: User, kind: str, text: str) -> Authenticator:
    """Write a text into a person's row past every hook, as only somebody with the database's own rights can."""
    field = {"totp": "secret", "recovery_codes": "seed"}[kind]
    row, _ = Authenticator.objects.get_or_create(user=user, type=kind, defaults={"data": {field: "", "used_mask": 0}})
    Authenticator.objects.filter(pk=row.pk).update(data={**row.data, field: text})
    return Authenticator.objects.get(pk=row.pk)


def code_of(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time()))))


def log_in(name: str, code: str) -> tuple[Client, str]:
    """Log in with password and code; return the browser and the page that answered the code."""
    browser = Client()
    browser.post("/accounts/login/", {"login": name, "password": PASSWORD})
    return browser, browser.post("/accounts/2fa/authenticate/", {"code": code}).content.decode()


def run(verb: str) -> str:
    out = StringIO()
    call_command("master_key", verb, stdout=out)
    return out.getvalue()


# --- sealed ------------------------------------------------------------------------------------------------------


def test_the_database_holds_no_secret_of_an_authenticator_app(alice: User) -> None:
    TOTP.activate(alice, SECRET)

    assert SECRET not in column()
    assert json.loads(column())["secret"].startswith("sealed:")


def test_the_database_holds_no_seed_of_recovery_codes(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecoveryCodes, "generate_seed", classmethod(lambda cls: "5eed" * 20))
    codes = RecoveryCodes.activate(alice).get_unused_codes()

    assert len(codes) == 10
    assert "5eed" not in column("recovery_codes")
    assert [code for code in codes if code in column("recovery_codes")] == []


def test_a_row_that_is_saved_in_the_clear_is_sealed_on_its_way(alice: User) -> None:
    Authenticator.objects.create(user=alice, type="totp", data={"secret": SECRET})

    assert SECRET not in column()
    assert TOTP(Authenticator.objects.get()).validate_code(code_of(SECRET))


def test_a_code_of_the_app_opens_the_desk_and_a_wrong_one_does_not(alice: User) -> None:
    TOTP.activate(alice, SECRET)
    refused, page = log_in("alice", "000000")
    assert "Incorrect code" in page
    assert refused.get("/x/sandbox/").status_code == 302

    browser, _ = log_in("alice", code_of(SECRET))
    assert browser.get("/x/sandbox/").status_code == 200


def test_each_recovery_code_opens_the_desk_once(alice: User) -> None:
    TOTP.activate(alice, SECRET)
    first, second, *_ = RecoveryCodes.activate(alice).get_unused_codes()

    answers = [log_in("alice", code)[0].get("/x/sandbox/").status_code for code in (first, first, second)]

    assert answers == [200, 302, 200]


# --- fails closed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["clear", "cut", "bent", "empty", "another version", "no list", "a strange kid"])
def test_what_was_changed_in_the_database_lets_nobody_in_and_says_so(alice: User, change: str) -> None:
    text = str(TOTP.activate(alice, SECRET).instance.data["secret"])
    version, kid, wrapped, ciphertext = json.loads(text.removeprefix("sealed:"))
    bent = ("A" if ciphertext[20] != "A" else "B").join((ciphertext[:20], ciphertext[21:]))
    changed = {
        "clear": SECRET,
        "cut": text[:-9],
        "bent": "sealed:" + json.dumps([version, kid, wrapped, bent]),
        "empty": "",
        "another version": "sealed:" + json.dumps([2, kid, wrapped, ciphertext]),
        "no list": "sealed:7",
        "a strange kid": "sealed:" + json.dumps([version, {"a": 1}, wrapped, ciphertext]),
    }
    put_in(alice, "totp", changed[change])

    browser, page = log_in("alice", code_of(SECRET))

    assert UNREADABLE in page
    assert browser.get("/x/sandbox/").status_code == 302


def test_a_factor_that_was_moved_to_another_person_lets_nobody_in(alice: User, mallory: User) -> None:
    TOTP.activate(alice, "A" * 32)
    own = str(TOTP.activate(mallory, SECRET).instance.data["secret"])
    put_in(alice, "totp", own)

    browser, page = log_in("alice", code_of(SECRET))

    assert UNREADABLE in page
    assert browser.get("/x/sandbox/").status_code == 302


def test_a_factor_cannot_be_saved_for_another_person_or_as_another_kind(alice: User, mallory: User) -> None:
    row = TOTP.activate(mallory, SECRET).instance
    row.user = alice
    with pytest.raises(second_factor.FactorRefused):
        row.save()

    row.user, row.type = mallory, "recovery_codes"
    with pytest.raises(second_factor.FactorRefused):
        row.save()
    assert Authenticator.objects.get().user == mallory


def test_what_was_sealed_for_nobody_yet_opens_for_nobody(alice: User) -> None:
    fresh = second_factor.SealedFactors().encrypt(SECRET)
    Authenticator.objects.bulk_create([Authenticator(user=alice, type="totp", data={"secret": fresh})])

    with pytest.raises(second_factor.FactorRefused):
        TOTP(Authenticator.objects.get()).validate_code(code_of(SECRET))
    with pytest.raises(second_factor.FactorRefused):
        second_factor.SealedFactors().decrypt(fresh)


def test_a_stored_key_cannot_be_passed_off_as_a_second_factor(alice: User) -> None:
    row = put_in(alice, "totp", "")
    sealed = seal(SECRET.encode(), Binding("api key", team="", row=str(alice.pk), key_id="totp"))
    row = put_in(alice, "totp", second_factor._written(sealed))

    with pytest.raises(second_factor.FactorRefused):
        TOTP(row).validate_code(code_of(SECRET))


def test_without_the_master_key_nobody_is_let_in_and_no_new_one_is_made(alice: User, ring: Path) -> None:
    TOTP.activate(alice, SECRET)
    ring.unlink()

    _, page = log_in("alice", code_of(SECRET))
    assert UNREADABLE in page
    with pytest.raises(BadRing, match=r"restore master\.keys"):
        KeyRing(ring.parent).wrap(b"key", b"context")
    assert not ring.exists()


def test_where_nothing_can_be_sealed_no_factor_is_set_up(alice: User, ring: Path) -> None:
    ring.write_text("not a ring")
    ring.chmod(0o600)

    with pytest.raises(
        PermissionDenied, match=r"^The desk cannot keep second factors now\. A master key is not base64"
    ):
        TOTP.activate(alice, SECRET)
    assert Authenticator.objects.count() == 0


def test_a_page_of_recovery_codes_that_cannot_be_read_says_why(alice: User) -> None:
    TOTP.activate(alice, SECRET)
    browser, _ = log_in("alice", RecoveryCodes.activate(alice).get_unused_codes()[0])
    browser.post("/accounts/2fa/reauthenticate/", {"code": code_of(SECRET)})
    assert browser.get("/accounts/2fa/recovery-codes/").status_code == 200
    put_in(alice, "recovery_codes", "5eed" * 20)

    answer = browser.get("/accounts/2fa/recovery-codes/")

    page = answer.content.decode()
    assert answer.status_code == 403
    assert "<h1>Your second factor cannot be used</h1>" in page
    assert UNREADABLE in page
    assert "role" not in page


# --- rows of older versions --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_start_seals_what_an_older_version_left_in_the_clear(alice: User, mallory: User) -> None:
    put_in(alice, "totp", SECRET)
    put_in(alice, "recovery_codes", "5eed" * 20)
    sealed = TOTP.activate(mallory, "B" * 32).instance.data["secret"]

    prepare.seal_second_factors()
    prepare.seal_second_factors()

    with connection.cursor() as cursor:
        cursor.execute("SELECT CAST(data AS text) FROM mfa_authenticator")
        assert [row for row in cursor.fetchall() if SECRET in row[0] or "5eed" in row[0]] == []
    assert TOTP(Authenticator.objects.get(user=alice, type="totp")).validate_code(code_of(SECRET))
    assert Authenticator.objects.get(user=mallory).data["secret"] == sealed
    done = AuditEntry.objects.filter(action="session.second_factor").values_list("facts", flat=True)
    assert sorted((facts["kind"], facts["done"]) for facts in done) == [
        ("recovery_codes", "sealed by the desk"),
        ("totp", "sealed by the desk"),
    ]


def test_a_sealing_that_is_stopped_goes_on_where_it_stopped(
    alice: User, mallory: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(alice, "totp", SECRET)
    put_in(mallory, "totp", "B" * 32)
    whole = second_factor.Factor._become

    def killed(self: second_factor.Factor, text: str, *, done: str) -> bool:
        if self.row.user == mallory:
            raise KeyboardInterrupt
        return whole(self, text, done=done)

    monkeypatch.setattr(second_factor.Factor, "_become", killed)
    with pytest.raises(KeyboardInterrupt):
        second_factor.seal_all()
    assert [factor.is_sealed for factor in second_factor.factors()] == [True, False]

    monkeypatch.undo()
    assert (second_factor.seal_all(), second_factor.seal_all()) == (1, 0)
    assert [factor.opens() for factor in second_factor.factors()] == [True, True]


def test_a_recovery_code_used_while_its_seed_is_sealed_stays_used(alice: User) -> None:
    row = put_in(alice, "recovery_codes", "5eed" * 20)
    (factor,) = second_factor.factors()
    Authenticator.objects.filter(pk=row.pk).update(data={**row.data, "used_mask": 5})

    assert factor.seal()
    assert Authenticator.objects.get().data["used_mask"] == 5


def test_a_factor_that_was_changed_while_it_is_sealed_is_left_as_it_is(alice: User) -> None:
    put_in(alice, "totp", SECRET)
    (factor,) = second_factor.factors()
    put_in(alice, "totp", "C" * 32)

    assert not factor.seal()
    assert json.loads(column())["secret"] == "C" * 32


@pytest.mark.django_db(transaction=True)
def test_a_ring_that_cannot_be_used_keeps_no_desk_from_starting(alice: User, ring: Path) -> None:
    put_in(alice, "totp", SECRET)
    ring.write_text("not a ring")
    ring.chmod(0o600)

    prepare.seal_second_factors()

    assert SECRET in column()


# --- master keys -------------------------------------------------------------------------------------------------


def test_the_ring_turns_and_everybody_gets_in_as_before(alice: User, ring: Path) -> None:
    TOTP.activate(alice, SECRET)
    code = RecoveryCodes.activate(alice).get_unused_codes()[0]
    (old,) = KeyRing(ring.parent).kids()
    assert f"{old}  in use   wraps 2\n0 stored keys, all open.\n2 second factors, all open.\n" == run("check")

    run("rotate")
    assert log_in("alice", code)[0].get("/x/sandbox/").status_code == 200
    assert f"{old} still wraps 2" in run("retire")
    assert "2 second factors wrapped anew" in run("rewrap")
    assert "second factors" not in run("rewrap")
    assert run("retire") == "1 master keys retired.\n"

    assert old not in column() + column("recovery_codes")
    assert log_in("alice", code_of(SECRET))[0].get("/x/sandbox/").status_code == 200
    assert "2 second factors, all open" in run("check")


def test_rewrap_seals_what_stands_in_the_clear_too(alice: User) -> None:
    put_in(alice, "totp", SECRET)
    TOTP.activate(User.objects.create_user("bob"), "B" * 32)  # makes the ring

    assert "1 second factors wrapped anew" in run("rewrap")
    assert SECRET not in str(list(Authenticator.objects.values_list("data", flat=True)))


def test_check_names_whose_factor_does_not_open(alice: User, capsys: pytest.CaptureFixture[str]) -> None:
    TOTP.activate(alice, SECRET)
    put_in(alice, "totp", SECRET)
    TOTP.activate(User.objects.create_user("bob"), "B" * 32)
    out = StringIO()

    with pytest.raises(CommandError, match="1 of 2 second factors do not open"):
        call_command("master_key", "check", stdout=out)
    assert "does not open: TOTP Authenticator of alice" in out.getvalue()
    assert SECRET not in out.getvalue()


@pytest.mark.parametrize(("environment", "expected"), [("production", "kalshiweb.E007"), ("sandbox", "kalshiweb.W007")])
def test_a_missing_master_key_of_second_factors_is_found_at_the_start(
    alice: User, ring: Path, settings: Settings, environment: str, expected: str
) -> None:
    TOTP.activate(alice, SECRET)
    settings.ENVIRONMENT = environment
    assert checks.check_master_keys(None) == []
    (kid,) = KeyRing(ring.parent).kids()
    ring.unlink()

    (found,) = checks.check_master_keys(None)

    assert (found.id, kid in found.msg) == (expected, True)
