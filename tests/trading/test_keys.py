"""A key is tried before it is sealed, is never shown again, and leaves nothing of itself anywhere."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import RequestFactory
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter
from django.views.decorators.debug import sensitive_variables
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kalshiweb.reporting import AlwaysSafe
from markets.kalshi.errors import BadKey
from markets.kalshi.signing import load_private_key
from tests.trading import keyexchange
from tests.trading.canary import database_files, is_found
from tests.trading.keyexchange import BAD_SIGNATURE, CLOCK_DIFFERS, FORBIDDEN, KeyExchange, MadeKey, pem_of
from trading import clients, keys, setup
from trading.keys import KeyRefused
from trading.models import ApiKey, AuditEntry, Membership
from trading.setup import Desk

pytestmark = pytest.mark.django_db

STATES = ApiKey.State


@pytest.fixture
def exchange(settings: Any, tmp_path: Path) -> Iterator[KeyExchange]:
    """Run an exchange that knows keys, and a desk with its own ring of master keys."""
    settings.KALSHIWEB_DATA_DIR = tmp_path
    with keyexchange.running(settings) as found:
        yield found


@pytest.fixture
def desk(exchange: KeyExchange) -> Desk:
    """Return Alice's team."""
    return setup.create_team("Alice's desk", owner="alice", environment="sandbox")


@pytest.fixture
def key(desk: Desk, exchange: KeyExchange) -> ApiKey:
    """Return a stored key that may do everything."""
    return add(desk, exchange.make_key())


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    """Return one RSA key for all tests: making one costs time."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def add(desk: Desk, made: MadeKey, *, name: str = "trading") -> ApiKey:
    """Add a key in the owner's name."""
    return keys.add(desk.owner, account=desk.account, name=name, key_id=made.key_id, pem=made.pem)


# --- adding ------------------------------------------------------------------------------------------


def test_a_key_that_works_is_tried_and_then_sealed(desk: Desk, exchange: KeyExchange) -> None:
    made = exchange.make_key(scopes=("read", "write::trade"))

    key = add(desk, made)

    assert exchange.heard == ["GET /account/limits", "GET /api_keys"]
    assert (key.state, key.key_id, key.key_type, key.scopes) == (
        "active",
        made.key_id,
        "ed25519",
        ["read", "write::trade"],
    )
    assert key.can_trade
    assert AuditEntry.objects.get(action="key.added").subject == f"apikey:{key.pk}"
    with clients.rest_client(key, purpose="read") as client:
        assert client.account_limits().usage_tier == "basic"


def test_an_rsa_key_works_as_an_ed25519_key_does(desk: Desk, exchange: KeyExchange, rsa_key: rsa.RSAPrivateKey) -> None:
    key = add(desk, exchange.make_key(rsa_key))

    with clients.rest_client(key, purpose="read") as client:
        assert client.balance().cents == 1000
    assert key.key_type == "rsa"


def test_scopes_that_the_exchange_does_not_tell_are_none(desk: Desk, exchange: KeyExchange) -> None:
    exchange.answers["GET /api_keys"] = (403, FORBIDDEN)

    assert add(desk, exchange.make_key()).scopes == []


def test_a_key_that_may_not_see_the_limits_is_still_a_key(desk: Desk, exchange: KeyExchange) -> None:
    exchange.answers["GET /account/limits"] = (403, FORBIDDEN)

    assert add(desk, exchange.make_key()).state == STATES.ACTIVE


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, BAD_SIGNATURE, "The private key does not belong to this key id"),
        (401, CLOCK_DIFFERS, "This computer's clock differs from the exchange's"),
        (401, {"error": {"code": "signature_is_missing_from_headers"}}, "something between removes headers"),
        (418, {"error": {"code": "teapot"}}, r"The exchange refused to read with this key \(HTTP 418\)"),
        (200, {"nonsense": 1}, "an answer that is not understood"),
    ],
)
def test_what_the_exchange_refuses_is_one_sentence_and_nothing_is_stored(
    desk: Desk, exchange: KeyExchange, status: int, body: Any, sentence: str
) -> None:
    exchange.answers["GET /account/limits"] = (status, body)

    with pytest.raises(KeyRefused, match=sentence):
        add(desk, exchange.make_key())

    assert not ApiKey.objects.exists()


def test_an_id_that_the_exchange_does_not_know_is_told_apart_from_a_wrong_key(
    desk: Desk, exchange: KeyExchange
) -> None:
    made, other = exchange.make_key(), exchange.make_key()

    with pytest.raises(KeyRefused, match=r"The exchange \(sandbox\) does not know this key id"):
        add(desk, MadeKey("a952bcbe-ec3b-4b5b-b8f9-11dae589608c", made.pem))
    with pytest.raises(KeyRefused, match="does not belong to this key id"):
        add(desk, MadeKey(made.key_id, other.pem))
    assert not ApiKey.objects.exists()


def test_an_exchange_that_is_away_is_said(desk: Desk, exchange: KeyExchange, settings: Any) -> None:
    made = exchange.make_key()
    exchange.silent.add("GET /account/limits")

    with pytest.raises(KeyRefused, match="could not be reached: try again"):
        add(desk, made)


@pytest.mark.parametrize("text", ["", "my key", "-----BEGIN PRIVATE KEY-----", "x" * 5000, "1234", "ключ"])
def test_a_key_id_that_cannot_be_one_is_not_repeated(desk: Desk, text: str) -> None:
    with pytest.raises(KeyRefused) as refusal:
        add(desk, MadeKey(text, "not looked at"))

    assert str(refusal.value) == "The key id is the line of 36 letters, digits and dashes that the exchange shows."


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\0b", "-----BEGIN PRIVATE KEY-----"])
def test_a_key_needs_a_name_that_can_be_shown(desk: Desk, exchange: KeyExchange, name: str) -> None:
    with pytest.raises(KeyRefused, match="Give the key a name of 1 to 80 characters"):
        add(desk, exchange.make_key(), name=name)


def test_a_key_is_stored_once(desk: Desk, exchange: KeyExchange) -> None:
    made = exchange.make_key()
    add(desk, made)

    with pytest.raises(KeyRefused, match="stored already"):
        add(desk, made)


def test_only_roles_that_may_add_keys_do_and_strangers_find_no_team(desk: Desk, exchange: KeyExchange) -> None:
    vera = User.objects.create(username="vera")
    Membership.objects.create(team=desk.team, user=vera, role=Membership.Role.TRADER)
    mallory = User.objects.create(username="mallory")
    made = exchange.make_key()

    with pytest.raises(PermissionDenied):
        keys.add(vera, account=desk.account, name="x", key_id=made.key_id, pem=made.pem)
    with pytest.raises(Http404):
        keys.add(mallory, account=desk.account, name="x", key_id=made.key_id, pem=made.pem)
    assert exchange.heard == []


def test_without_a_usable_ring_the_exchange_is_not_even_asked(
    desk: Desk, exchange: KeyExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KALSHIWEB_MASTER_KEYS", "nonsense!")

    with pytest.raises(KeyRefused, match=r"The desk cannot keep keys now\. A master key is not base64"):
        add(desk, exchange.make_key())

    assert exchange.heard == []


# --- wrong files -------------------------------------------------------------------------------------

KEY_ID = "a952bcbe-ec3b-4b5b-b8f9-11dae589608c"
GOOD = pem_of(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
PUBLIC = (
    Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


def wrong_files() -> list[tuple[str | bytes, str]]:
    """Return what people paste instead of their private key, and the words that tell them."""
    locked = serialization.BestAvailableEncryption(b"password")
    body = GOOD.splitlines()[1]
    traditional, plain = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    elliptic = ec.generate_private_key(ec.SECP256R1())
    ssh = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, plain
    )
    return [
        ("", "There is no private key in it"),
        (KEY_ID, "There is no private key in it"),
        (body, "There is no private key in it"),
        (GOOD.partition("-----END")[0], "There is no private key in it"),
        (PUBLIC, "This is a public key; the private key is needed"),
        (GOOD + GOOD, "more than one key"),
        (GOOD + PUBLIC, "more than one key"),
        (pem_of(Ed25519PrivateKey.generate(), locked), "locked with a password"),
        (pem_of(elliptic), "a key of another kind"),
        (elliptic.private_bytes(serialization.Encoding.PEM, traditional, plain), "a key of another kind"),
        (pem_of(X25519PrivateKey.generate()), "a key of another kind"),
        (pem_of(dsa.generate_private_key(1024)), "a key of another kind"),  # noqa: S505
        (pem_of(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "2048 to 8192 bits"),  # noqa: S505
        (ssh, "a key for SSH"),
        (GOOD.replace(body, body[:-8]), "cannot be read"),
        (GOOD.replace("PRIVATE KEY", "CERTIFICATE"), "a public key"),
        (GOOD.encode("utf-16"), "There is no private key in it"),
        (b"PK\x03\x04" + bytes(range(256)), "There is no private key in it"),
        ("A" * 1_000_000, "too long"),
        (GOOD.replace(body, body[:20] + "\0" + body[20:]), "cannot be read"),
    ]


@pytest.mark.parametrize(("pem", "words"), wrong_files(), ids=range(20))
def test_a_wrong_file_is_told_in_one_sentence_that_repeats_none_of_it(
    desk: Desk, exchange: KeyExchange, pem: str | bytes, words: str
) -> None:
    with pytest.raises(KeyRefused, match=words) as refusal:
        add(desk, MadeKey(KEY_ID, pem))  # type: ignore[arg-type]

    assert str(refusal.value).count(".") == 1
    assert not shares_a_window(str(refusal.value), pem)
    assert exchange.heard == []


@pytest.mark.parametrize(
    "pem", [GOOD.replace("\n", "\r\n"), GOOD.rstrip("\n"), GOOD.replace("\n", " "), f"\n\n  {GOOD}", GOOD.encode()]
)
def test_a_right_file_is_read_however_it_was_pasted(desk: Desk, exchange: KeyExchange, pem: str | bytes) -> None:
    made = exchange.make_key(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))

    key = keys.add(desk.owner, account=desk.account, name="pasted", key_id=made.key_id, pem=pem)

    assert key.is_usable


mutations = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=400),
    st.tuples(st.integers(0, len(GOOD) - 1), st.text(min_size=1, max_size=30)).map(
        lambda change: GOOD[: change[0]] + change[1] + GOOD[change[0] + 1 :]
    ),
    st.tuples(st.integers(0, len(GOOD)), st.integers(0, len(GOOD))).map(lambda cut: GOOD[min(cut) : max(cut)]),
    st.sampled_from(["RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "DSA PRIVATE KEY", "X509 CRL"]).map(
        lambda label: GOOD.replace("PRIVATE KEY", label)
    ),
)


@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pem=mutations)
@example(pem=GOOD[:-1] + "\x00")
def test_no_file_whatever_gets_another_answer_than_a_key_or_a_sentence(pem: str | bytes) -> None:
    try:
        clients.describe("sandbox", KEY_ID, pem)
        load_private_key(pem)
    except BadKey as exc:
        assert str(exc).endswith(".")
        assert not shares_a_window(str(exc), pem, length=12)
        assert exc.__cause__ is None
        assert exc.__context__ is None


def shares_a_window(said: str, given: str | bytes, *, length: int = 20) -> bool:
    """Say whether a sentence repeats a piece of what was given; the PEM's own labels do not count."""
    text = given.decode("latin-1") if isinstance(given, bytes) else given
    return any(text[at : at + length] in said for at in range(len(text) - length + 1))


# --- nothing of it anywhere --------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_nothing_of_a_key_is_found_anywhere_after_it_was_used(
    desk: Desk, exchange: KeyExchange, caplog: pytest.LogCaptureFixture, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    caplog.set_level(logging.DEBUG)
    canaries: list[Ed25519PrivateKey | rsa.RSAPrivateKey] = [Ed25519PrivateKey.generate(), rsa_key]

    told = [use_in_every_way(desk, exchange, exchange.make_key(canary)) for canary in canaries]

    told += [record.getMessage() + str(record.__dict__) for record in caplog.records]
    told += [str(entry.__dict__) for entry in AuditEntry.objects.all()]
    told += [repr(key.__dict__) for key in ApiKey.objects.all()]
    files = [*database_files(), *(path for path in tmp_path.rglob("*") if path.is_file())]
    haystacks = [text.encode("utf-8", "replace") for text in told] + [path.read_bytes() for path in files]
    assert len(files) >= 2
    assert not any(is_found(canary, haystacks) for canary in canaries)


@pytest.mark.parametrize("is_debug", [False, True])
@pytest.mark.parametrize("failing", ["clients.probe", "keys.pem_of", "keys.seal", "audit.record"])
def test_no_error_page_shows_anything_of_a_key(
    desk: Desk, exchange: KeyExchange, settings: Any, monkeypatch: pytest.MonkeyPatch, is_debug: bool, failing: str
) -> None:
    settings.DEBUG = is_debug
    monkeypatch.setattr(f"trading.{failing}", fail)
    canary = Ed25519PrivateKey.generate()

    pages = error_pages(desk, exchange.make_key(canary), AlwaysSafe())

    assert b"keys.py" in pages[0]
    assert not is_found(canary, pages)


def test_djangos_own_filter_would_show_it_under_debug(
    desk: Desk, exchange: KeyExchange, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEBUG = True
    monkeypatch.setattr("trading.keys.seal", fail)
    canary = Ed25519PrivateKey.generate()

    pages = error_pages(desk, exchange.make_key(canary), SafeExceptionReporterFilter())

    assert is_found(canary, pages)


def error_pages(desk: Desk, made: MadeKey, chosen: SafeExceptionReporterFilter) -> list[bytes]:
    """Add a key where that fails, and return Django's pages about it."""
    request = RequestFactory().post("/x/sandbox/keys/add/")
    request.exception_reporter_filter = chosen
    with pytest.raises(ZeroDivisionError) as failure:
        add(desk, made)
    # Begin below the test's own frames, which hold the key.
    below = failure.value.__traceback__.tb_next.tb_next  # type: ignore[union-attr]
    report = ExceptionReporter(request, ZeroDivisionError, failure.value, below)
    return [report.get_traceback_html().encode(), report.get_traceback_text().encode()]


@sensitive_variables()
def fail(*args: Any, **kwargs: Any) -> None:
    """Fail in a way that nobody expects."""
    raise ZeroDivisionError


def test_a_planted_rsa_key_would_be_found(rsa_key: rsa.RSAPrivateKey) -> None:
    assert is_found(rsa_key, [pem_of(rsa_key).encode()])
    assert not is_found(rsa_key, [PUBLIC.encode()])


@pytest.mark.parametrize("form", ["pem", "der", "hex", "seed"])
def test_a_planted_key_would_be_found(form: str) -> None:
    key = Ed25519PrivateKey.generate()
    raw, plain = serialization.PrivateFormat.Raw, serialization.NoEncryption()
    seed = key.private_bytes(serialization.Encoding.Raw, raw, plain)
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, plain)
    planted = {"pem": pem_of(key).encode(), "der": der, "hex": seed.hex().encode(), "seed": seed}[form]

    assert is_found(key, [b"a log line: " + planted + b" and more"])


def use_in_every_way(desk: Desk, exchange: KeyExchange, made: MadeKey) -> str:
    """Add a key well and badly, use it, damage it; return what was said meanwhile, tracebacks and objects included."""
    told = []
    for key_id, pem in [
        (KEY_ID, made.pem),
        (made.pem, made.pem),
        (made.key_id, made.pem[:-30]),
        (made.key_id, made.pem * 2),
    ]:
        try:
            add(desk, MadeKey(key_id, pem))
        except KeyRefused:
            told.append(traceback.format_exc())
    key = add(desk, made)
    with clients.rest_client(key, purpose="keys") as client:
        told.append(repr(vars(client)) + repr(client._transport._signer))
        client.balance()
    told.append(repr(exchange.heard) + repr(keys.check(key)) + repr(clients.probe_stored(key)))
    ApiKey.objects.filter(pk=key.pk).update(ciphertext=bytes(key.ciphertext)[:-1])
    try:
        clients.probe_stored(key.__class__.objects.get(pk=key.pk))
    except clients.CannotUse:
        told.append(traceback.format_exc())
    return "\n".join(told)


# --- generating, replacing, removing -----------------------------------------------------------------


def test_a_generated_key_is_sealed_and_works(desk: Desk, key: ApiKey) -> None:
    made = keys.generate(desk.owner, account=desk.account, name="bot", signed_by=key, scopes=("read",))

    assert (made.name, made.scopes, made.can_trade) == ("bot", ["read"], False)
    with clients.rest_client(made, purpose="read") as client:
        assert client.balance().cents == 1000
    assert AuditEntry.objects.filter(action="key.generated").count() == 1


def test_a_key_without_the_right_makes_no_other(desk: Desk, exchange: KeyExchange) -> None:
    weak = add(desk, exchange.make_key(scopes=("read", "write::trade")))

    with pytest.raises(KeyRefused, match=r"No key was made: the exchange does not allow it to this key \(HTTP 403\)"):
        keys.generate(desk.owner, account=desk.account, name="bot", signed_by=weak)


def test_a_lost_answer_to_a_generation_is_not_taken_for_a_refusal(
    desk: Desk, key: ApiKey, exchange: KeyExchange
) -> None:
    exchange.silent.add("POST /api_keys/generate")

    with pytest.raises(KeyRefused, match="No answer came: look at the exchange's list of keys"):
        keys.generate(desk.owner, account=desk.account, name="bot", signed_by=key)

    assert exchange.heard.count("POST /api_keys/generate") == 1


def test_a_rotated_key_hands_its_duties_over_and_ends(desk: Desk, key: ApiKey, exchange: KeyExchange) -> None:
    keys.lend_feed(desk.owner, key=key)

    new = keys.rotate(desk.owner, key=key)

    assert list(exchange.keys) == [new.key_id]
    assert ApiKey.objects.get(is_feed=True) == new
    assert new.scopes == ["read", "write"]
    assert ApiKey.objects.get(pk=key.pk).state == STATES.REMOVED


def test_a_key_that_cannot_be_replaced_stays_in_use(desk: Desk, key: ApiKey, exchange: KeyExchange) -> None:
    exchange.answers["POST /api_keys/generate"] = (403, FORBIDDEN)

    with pytest.raises(KeyRefused):
        keys.rotate(desk.owner, key=key)

    assert ApiKey.objects.get(pk=key.pk).is_usable
    assert key.key_id in exchange.keys


def test_a_removed_key_leaves_no_ciphertext_and_signs_nothing_more(
    desk: Desk, key: ApiKey, exchange: KeyExchange
) -> None:
    client = clients.rest_client(key, purpose="read")

    keys.remove(desk.owner, key=key)

    stored = ApiKey.objects.get(pk=key.pk)
    assert (bytes(stored.wrapped_key), bytes(stored.ciphertext), stored.kid, stored.state) == (b"", b"", "", "removed")
    assert key.key_id in exchange.keys
    with pytest.raises(clients.CannotUse, match="cannot be used: removed"):
        client.balance()


def test_a_key_is_removed_at_the_exchange_too_where_that_is_wanted(
    desk: Desk, key: ApiKey, exchange: KeyExchange
) -> None:
    keys.remove(desk.owner, key=key, is_deleted_there=True)

    assert exchange.keys == {}


def test_a_key_that_the_exchange_does_not_delete_is_not_removed_here(
    desk: Desk, key: ApiKey, exchange: KeyExchange
) -> None:
    exchange.answers[f"DELETE /api_keys/{key.key_id}"] = (403, FORBIDDEN)

    with pytest.raises(KeyRefused, match="The key was not removed"):
        keys.remove(desk.owner, key=key, is_deleted_there=True)

    assert ApiKey.objects.get(pk=key.pk).is_usable


def test_a_removed_key_may_be_added_again(desk: Desk, exchange: KeyExchange) -> None:
    made = exchange.make_key()
    keys.remove(desk.owner, key=add(desk, made))

    assert add(desk, made).is_usable


# --- pausing, checking, lending ----------------------------------------------------------------------


def test_a_paused_key_signs_nothing_until_it_is_resumed(desk: Desk, key: ApiKey) -> None:
    client = clients.rest_client(key, purpose="read")
    keys.pause(desk.owner, key=key)

    with pytest.raises(clients.CannotUse, match="paused by alice"):
        client.account_limits()

    keys.resume(desk.owner, key=key)
    assert client.account_limits().usage_tier == "basic"


def test_a_paused_key_that_the_exchange_no_longer_knows_stays_paused(
    desk: Desk, key: ApiKey, exchange: KeyExchange
) -> None:
    keys.pause(desk.owner, key=key)
    exchange.keys.clear()

    with pytest.raises(KeyRefused, match="does not know this key id"):
        keys.resume(desk.owner, key=key)

    assert ApiKey.objects.get(pk=key.pk).state == STATES.PAUSED


def test_a_check_puts_aside_a_key_that_the_exchange_refuses(desk: Desk, key: ApiKey, exchange: KeyExchange) -> None:
    exchange.keys.clear()

    assert keys.check(key).state == STATES.REFUSED
    assert AuditEntry.objects.filter(action="key.refused", actor=None).count() == 1


@pytest.mark.parametrize("answer", [(503, None), (429, {}), (401, CLOCK_DIFFERS), (200, [])])
def test_a_check_puts_nothing_aside_for_what_is_not_the_keys_fault(
    desk: Desk, key: ApiKey, exchange: KeyExchange, answer: tuple[int, Any]
) -> None:
    exchange.answers["GET /account/limits"] = answer

    assert keys.check(key).state == STATES.ACTIVE


def test_one_key_reads_the_feed_and_lending_another_takes_the_first_back(
    desk: Desk, key: ApiKey, exchange: KeyExchange
) -> None:
    second = add(desk, exchange.make_key(), name="second")
    keys.lend_feed(desk.owner, key=key)

    keys.lend_feed(desk.owner, key=second)

    assert ApiKey.objects.get(is_feed=True) == second
    actions = AuditEntry.objects.filter(action__in=["key.lent", "key.taken_back"]).order_by("pk")
    assert [entry.action for entry in actions] == ["key.lent", "key.taken_back", "key.lent"]


def test_an_admin_replaces_the_feed_key_that_only_its_owner_may_lend(desk: Desk, key: ApiKey) -> None:
    keys.lend_feed(desk.owner, key=key)
    ada = User.objects.create(username="ada")
    Membership.objects.create(team=desk.team, user=ada, role=Membership.Role.ADMIN)

    with pytest.raises(PermissionDenied):
        keys.lend_feed(ada, key=key)
    assert keys.rotate(ada, key=key).is_feed


def test_a_team_does_not_displace_the_working_feed_key_of_another(
    desk: Desk, key: ApiKey, exchange: KeyExchange
) -> None:
    keys.lend_feed(desk.owner, key=key)
    bob = setup.create_team("Bob's desk", owner="bob", environment="sandbox")
    theirs = add(bob, exchange.make_key())

    with pytest.raises(KeyRefused, match="Another team's key reads the books already"):
        keys.lend_feed(bob.owner, key=theirs)

    keys.pause(desk.owner, key=key)
    keys.lend_feed(bob.owner, key=theirs)
    assert ApiKey.objects.get(is_feed=True) == theirs


def test_a_key_that_is_not_in_use_cannot_be_lent(desk: Desk, key: ApiKey) -> None:
    keys.pause(desk.owner, key=key)

    with pytest.raises(KeyRefused):
        keys.lend_feed(desk.owner, key=key)


def test_a_key_does_not_open_in_another_row_or_team(desk: Desk, key: ApiKey, exchange: KeyExchange) -> None:
    bob = setup.create_team("Bob's desk", owner="bob", environment="sandbox")
    theirs = add(bob, exchange.make_key())
    stolen = {name: getattr(key, name) for name in ("version", "kid", "wrapped_key", "ciphertext")}
    ApiKey.objects.filter(pk=theirs.pk).update(**stolen)

    with (
        pytest.raises(clients.CannotUse, match="changed or damaged"),
        clients.rest_client(theirs, purpose="read") as client,
    ):
        client.balance()

    ApiKey.objects.filter(pk=key.pk).update(account=bob.account)
    with (
        pytest.raises(clients.CannotUse, match="changed or damaged"),
        clients.rest_client(key, purpose="read") as client,
    ):
        client.balance()
