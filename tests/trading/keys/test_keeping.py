"""What is done with a stored key: another is made with it, it is replaced, removed, paused, checked, lent."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection

from tests.trading.keyexchange import BAD_SIGNATURE, CLOCK_DIFFERS, FORBIDDEN, KeyExchange
from tests.trading.keys.conftest import add
from tests.trading.test_doors import a_record_that_cannot_be_written
from trading import clients, keys, setup
from trading.keys import KeyRefused
from trading.models import ApiKey, AuditEntry, Membership
from trading.setup import Desk

pytestmark = pytest.mark.django_db

STATES = ApiKey.State


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


NO_VERDICT = [(503, None), (429, {}), (401, CLOCK_DIFFERS)]


@pytest.mark.parametrize("answer", NO_VERDICT)
def test_a_key_is_not_replaced_by_one_that_the_exchange_said_nothing_about(
    desk: Desk, key: ApiKey, exchange: KeyExchange, answer: tuple[int, Any]
) -> None:
    exchange.answers["GET /account/limits"] = answer

    with pytest.raises(KeyRefused, match="gave no answer about the key that it made: the old one stays in use"):
        keys.rotate(desk.owner, key=key)

    assert key.key_id in exchange.keys
    assert ApiKey.objects.get(pk=key.pk).is_usable
    new = ApiKey.objects.exclude(pk=key.pk).get()
    assert (new.state, new.probed_at) == (STATES.UNCHECKED, None)


def test_a_generated_key_comes_into_use_once_the_exchange_accepts_it(
    desk: Desk, key: ApiKey, exchange: KeyExchange
) -> None:
    exchange.answers["GET /account/limits"] = (503, None)
    made = keys.generate(desk.owner, account=desk.account, name="bot", signed_by=key, scopes=("read",))
    assert made.state == STATES.UNCHECKED
    exchange.answers.clear()

    assert keys.check(made).state == STATES.ACTIVE

    entry = AuditEntry.objects.get(action="key.probed")
    assert entry.actor is None
    assert entry.facts["from"] == {"state": "unchecked", "scopes": ["read"]}
    assert entry.facts["to"] == {"state": "active", "scopes": ["read"]}


def test_a_generated_key_that_the_exchange_refuses_replaces_nothing(
    desk: Desk, key: ApiKey, exchange: KeyExchange
) -> None:
    exchange.answers["GET /account/limits"] = (401, BAD_SIGNATURE)

    with pytest.raises(KeyRefused, match="does not accept the key that it made: the old one stays in use"):
        keys.rotate(desk.owner, key=key)

    assert key.key_id in exchange.keys
    assert ApiKey.objects.get(pk=key.pk).is_usable


def test_a_first_key_is_not_deleted_before_the_desks_own_was_accepted(desk: Desk, exchange: KeyExchange) -> None:
    first = exchange.make_key()
    exchange.answers["GET /account/limits"] = (429, {})

    with pytest.raises(KeyRefused, match="the first key stays"):
        keys.exchange_first(desk.owner, account=desk.account, name="desk", key_id=first.key_id, pem=first.pem)

    assert first.key_id in exchange.keys
    assert ApiKey.objects.get().state == STATES.UNCHECKED


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


def test_a_check_writes_down_scopes_that_changed_and_nothing_when_none_did(
    desk: Desk, key: ApiKey, exchange: KeyExchange
) -> None:
    before = AuditEntry.objects.count()
    assert keys.check(key).state == STATES.ACTIVE
    assert AuditEntry.objects.count() == before
    exchange.keys[key.key_id][2][:] = ["read"]

    assert keys.check(key).scopes == ["read"]

    facts = AuditEntry.objects.get(action="key.probed").facts
    assert (facts["from"]["scopes"], facts["to"]["scopes"]) == (["read", "write"], ["read"])


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the refusing trigger is written for SQLite")
def test_a_check_changes_nothing_that_cannot_be_written_down(desk: Desk, key: ApiKey, exchange: KeyExchange) -> None:
    exchange.keys[key.key_id][2][:] = ["read"]

    with a_record_that_cannot_be_written(), pytest.raises(DatabaseError):
        keys.check(key)

    assert ApiKey.objects.get(pk=key.pk).scopes == ["read", "write"]


def test_a_paused_key_stays_paused_whatever_a_check_finds(desk: Desk, key: ApiKey) -> None:
    keys.pause(desk.owner, key=key)

    assert keys.check(key).state == STATES.PAUSED


def test_a_key_that_is_not_lent_cannot_be_taken_back(desk: Desk, key: ApiKey) -> None:
    with pytest.raises(KeyRefused, match="does not read the books"):
        keys.take_back(desk.owner, key=key)
    keys.lend_feed(desk.owner, key=key)

    keys.take_back(desk.owner, key=key)

    assert not ApiKey.objects.filter(is_feed=True).exists()
    assert AuditEntry.objects.filter(action="key.taken_back").count() == 1


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
