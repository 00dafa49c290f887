"""A key is tried before it is sealed; what the exchange refuses is one sentence, and nothing is stored."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404

from tests.trading.keyexchange import BAD_SIGNATURE, CLOCK_DIFFERS, FORBIDDEN, KeyExchange, MadeKey
from tests.trading.keys.conftest import add
from trading import clients, keys
from trading.keys import KeyRefused
from trading.models import ApiKey, AuditEntry, Membership
from trading.setup import Desk

pytestmark = pytest.mark.django_db

STATES = ApiKey.State


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
