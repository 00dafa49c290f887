"""The record grows at its end and in no other way, and a bent row is found."""

from __future__ import annotations

import threading
from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction

from tests.trading.conftest import empty_audit_table
from trading import audit
from trading.models import AppendOnly, AuditEntry, Team


@pytest.fixture
def entries(team: Team, alice: User) -> list[AuditEntry]:
    """Write three entries."""
    return [
        audit.record("team.created", alice, team=team, facts={"name": "North desk"}),
        audit.record("member.added", alice, team=team, facts={"who": "bob"}),
        audit.record("limits.changed", None, team=team),
    ]


def bend(statement: str) -> None:
    """Change the table as somebody with the database's own rights can, behind the triggers' back."""
    import_module("trading.migrations.0002_append_only").allow_changes(apps, connection.schema_editor())
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_an_entry_is_neither_changed_nor_removed(entries: list[AuditEntry]) -> None:
    entries[0].action = "member.removed"

    with pytest.raises(AppendOnly):
        entries[0].save()
    with pytest.raises(AppendOnly):
        entries[0].delete()
    with pytest.raises(AppendOnly):
        AuditEntry.objects.all().delete()
    with pytest.raises(AppendOnly):
        AuditEntry.objects.update(action="member.removed")


@pytest.mark.parametrize("statement", ["UPDATE trading_auditentry SET action = 'x'", "DELETE FROM trading_auditentry"])
def test_the_database_itself_refuses(entries: list[AuditEntry], statement: str) -> None:
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert AuditEntry.objects.count() == 3


def test_an_untouched_chain_is_whole(entries: list[AuditEntry], team: Team, other_team: Team) -> None:
    assert audit.verify(team) == audit.Verdict(True, 3)
    assert audit.verify(other_team) == audit.Verdict(True, 0)


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("UPDATE trading_auditentry SET actor_name = 'bob' WHERE number = 2", 2),
        ("UPDATE trading_auditentry SET facts = '{}' WHERE number = 1", 1),
        ("DELETE FROM trading_auditentry WHERE number = 2", 2),
        ("UPDATE trading_auditentry SET number = number + 10 WHERE number = 3", 3),
    ],
)
def test_a_bent_row_is_named(entries: list[AuditEntry], team: Team, statement: str, number: int) -> None:
    bend(statement)

    verdict = audit.verify(team)

    assert (verdict.is_whole, verdict.number) == (False, number)


def test_rows_that_changed_places_are_found(entries: list[AuditEntry], team: Team) -> None:
    bend("UPDATE trading_auditentry SET number = 20 WHERE number = 1")
    bend("UPDATE trading_auditentry SET number = 1 WHERE number = 2")
    bend("UPDATE trading_auditentry SET number = 2 WHERE number = 20")

    assert audit.verify(team).number == 1


def test_each_team_has_a_chain_of_its_own(team: Team, other_team: Team) -> None:
    audit.record("limits.changed", None, team=team)
    first = audit.record("limits.changed", None, team=other_team)

    assert (first.number, first.previous_hash) == (1, "")


def test_secrets_do_not_reach_the_record(team: Team) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----"

    facts = audit.record("key.added", None, team=team, facts={"private_key": "abc", "note": f"see {pem}"}).facts

    assert facts == {"private_key": "[hidden]", "note": "see [hidden]"}


def test_an_action_without_a_sentence_is_refused(team: Team) -> None:
    with pytest.raises(audit.UnknownAction):
        audit.record("order.vanished", None, team=team)


def test_an_entry_goes_with_its_transaction(team: Team) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        audit.record("limits.changed", None, team=team)
        raise ZeroDivisionError

    assert AuditEntry.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_writers_at_once_keep_one_chain(team: Team) -> None:
    def write() -> None:
        for _ in range(5):
            audit.record("limits.changed", None, team=team)
        connection.close()

    threads = [threading.Thread(target=write) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert audit.verify(team) == audit.Verdict(True, 50)


@pytest.mark.django_db(transaction=True)
def test_the_triggers_stand_after_the_tests_have_emptied_the_table(team: Team) -> None:
    audit.record("limits.changed", None, team=team)
    empty_audit_table()
    audit.record("limits.changed", None, team=team)

    with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
        cursor.execute("DELETE FROM trading_auditentry")
