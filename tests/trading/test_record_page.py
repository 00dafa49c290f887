"""The page of the record: what the address asks for, and how much of it each role reads."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client

from tests.trading.conftest import member
from tests.trading.test_models import an_order
from trading import audit, limits
from trading.limits import OwnLimits
from trading.models import Account, AuditEntry, Membership, Order, Team


@pytest.fixture
def order(account: Account) -> Order:
    """Return an order to which entries belong."""
    return an_order(account)


@pytest.fixture(autouse=True)
def entries(team: Team, order: Order, alice: User, bob: User) -> None:
    """Write five entries on three days."""
    for day, action, actor, facts in (
        (22, "team.created", None, {"name": "North desk"}),
        (23, "limits.changed", alice, {"max_order_cost": "100"}),
        (23, "order.submitted", bob, {"words": "buy 10 YES at 48¢"}),
        (24, "order.canceled", bob, {"reason": "too late"}),
        (24, "key.added", alice, {"name": "alpha-trade"}),
    ):
        subject = order if action.startswith("order.") else None
        with time_machine.travel(datetime(2026, 11, day, 12, 0, tzinfo=UTC), tick=False):
            audit.record(action, actor, team=team, subject=subject, facts=facts)


def rows(user: User, query: str = "") -> list[int]:
    """Return the numbers of the rows that somebody is shown."""
    browser = Client()
    browser.force_login(user)
    page = browser.get(f"/x/sandbox/audit/{query}").content.decode()
    return [number for number in map(int, re.findall(r'data-number="(\d+)"', page)) if number <= 5]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [5, 4, 3, 2, 1]),
        ("?who=alice", [5, 2]),
        ("?who=desk", [1]),
        ("?action=order.canceled", [4]),
        ("?from=2026-11-24", [5, 4]),
        ("?to=2026-11-22", [1]),
        ("?from=2026-11-23&to=2026-11-23", [3, 2]),
        ("?text=ALPHA", [5]),
        ("?text=buy 10 yes", [3]),
        ("?text=bob&from=2026-11-24", [4]),
        ("?from=yesterday", [5, 4, 3, 2, 1]),
        ("?who=nobody", []),
        ("?to=9999-12-31", [5, 4, 3, 2, 1]),
        ("?from=9999-12-31", []),
        ("?to=0001-01-01", []),
    ],
)
def test_the_address_says_what_is_shown(alice: User, query: str, expected: list[int]) -> None:
    assert rows(alice, query) == expected


@pytest.mark.parametrize("form", ["{pk}", "order:{pk}"])
def test_a_subject_is_found_by_its_id(alice: User, order: Order, form: str) -> None:
    assert rows(alice, f"?subject={form.format(pk=order.pk)}") == [4, 3]


def test_a_trader_reads_what_they_did_themselves(bob: User) -> None:
    assert rows(bob) == [4, 3]
    assert rows(bob, "?who=alice") == []


def test_an_auditor_reads_everything_and_a_viewer_nothing(team: Team, vera: User) -> None:
    assert rows(member("udo", team, Membership.Role.AUDITOR)) == [5, 4, 3, 2, 1]
    assert rows(vera) == []


def test_another_teams_record_is_its_own(mallory: User) -> None:
    browser = Client()
    browser.force_login(mallory)
    page = browser.get("/x/sandbox/audit/").content.decode()

    assert "logged in" in page
    assert "alpha-trade" not in page
    assert browser.get("/x/sandbox/audit/?who=alice").content.count(b"audit-row") == 0


def test_reading_the_whole_record_is_written_down_once_an_hour(alice: User, bob: User) -> None:
    for user in (alice, alice, bob):
        rows(user)

    assert list(AuditEntry.objects.filter(action="audit.read").values_list("actor_name", flat=True)) == ["alice"]


def test_a_changed_limit_is_shown_as_before_and_after(alice: User, bob: User) -> None:
    membership = Membership.objects.get(user=bob)
    limits.set_own(alice, membership=membership, before=OwnLimits(None, None, None), after=OwnLimits(None, None, 20))
    browser = Client()
    browser.force_login(alice)

    assert "max orders per minute: – → 20" in browser.get("/x/sandbox/audit/").content.decode()
