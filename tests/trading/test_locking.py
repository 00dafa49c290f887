"""Whoever writes takes the team's row first: on PostgreSQL nobody waits for somebody who waits for them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.http import Http404
from django.test import Client

from tests import servers
from tests.trading.conftest import ENV, a_ticket, member
from tests.trading.exchange import ScriptedExchange
from trading import invitations, keys, limits, orders, people, teams
from trading.invitations import InvitationRefused
from trading.keys import KeyRefused
from trading.limits import LimitRefused, OwnLimits
from trading.models import ApiKey, Invitation, Membership, Order, Team, TradingState
from trading.people import PeopleRefused

ROOT = Path(__file__).resolve().parent.parent.parent
ROUNDS = 60
Call = Callable[[], Any]

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")


def of(user: User) -> Membership:
    return Membership.objects.select_related("team", "user").get(user=user)


def at_once(*calls: Call) -> list[str]:
    """Run each call many times in a thread of its own; return what the database refused."""
    barrier, failures = threading.Barrier(len(calls)), []

    def repeat(call: Call) -> None:
        barrier.wait()
        for _ in range(ROUNDS):
            try:
                call()
            except DatabaseError as exc:
                failures.append(str(exc).splitlines()[0])
            except (LimitRefused, PeopleRefused, InvitationRefused, KeyRefused):
                pass  # somebody was faster: what is asked here is only whether both come to an end
        connection.close()

    threads = [threading.Thread(target=repeat, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


@contextlib.contextmanager
def beside(change: Call) -> Iterator[None]:
    """Have `change` done and not yet durable, until this thread asks the database for a lock."""
    done, asked = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                change()
                done.set()
                asked.wait(20)
        finally:
            done.set()
            connection.close()

    def tell(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if sql.startswith(("BEGIN", "UPDATE")) or "FOR NO KEY UPDATE" in sql:
            asked.set()
        return execute(sql, *arguments)

    thread = threading.Thread(target=hold)
    thread.start()
    done.wait(20)
    try:
        with connection.execute_wrapper(tell):
            yield
    finally:
        asked.set()
        thread.join()


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_limits_and_role_of_one_member_are_changed_at_once(alice: User, bob: User) -> None:
    costs = iter(range(1, ROUNDS + 1))

    def limit() -> None:
        after = OwnLimits(Decimal(next(costs)), None, None)
        limits.set_own(alice, membership=of(bob), before=limits.own_limits(of(bob)), after=after)

    def promote() -> None:
        found = of(bob)
        people.change_role(alice, membership=found, role="viewer" if found.role == "trader" else "trader")

    assert at_once(limit, promote) == []


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_invitations_are_withdrawn_while_whoever_made_them_is_paused(team: Team, alice: User, bob: User) -> None:
    people.change_role(alice, membership=of(bob), role="owner")

    def come_and_go() -> None:
        with contextlib.suppress(Http404):  # bob may be outside at that moment
            invitations.invite(bob, team=team, role="viewer", for_whom="Carl")
        people.pause(alice, membership=of(bob), handed_to=None)

    def let_in() -> None:
        people.resume(alice, membership=of(bob))

    def withdraw() -> None:
        for found in Invitation.objects.filter(used_at=None, withdrawn_at=None):
            invitations.withdraw(alice, invitation=found)

    assert at_once(come_and_go, let_in, withdraw) == []


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_key_is_lent_while_it_and_another_are_changed(
    alice: User, api_key: ApiKey, store_key: Callable[..., ApiKey]
) -> None:
    other = store_key(api_key.account, alice, name="other")

    def lend() -> None:
        for key in (api_key, other):
            keys.lend_feed(alice, key=ApiKey.objects.select_related("account__team").get(pk=key.pk))

    def take_back() -> None:
        for key in (other, api_key):
            keys.take_back(alice, key=ApiKey.objects.select_related("account__team").get(pk=key.pk))

    def pause() -> None:
        for key in (other, api_key):
            keys.pause(alice, key=ApiKey.objects.select_related("account__team").get(pk=key.pk))
            ApiKey.objects.filter(pk=key.pk).update(state=ApiKey.State.ACTIVE)

    assert at_once(lend, take_back, pause) == []


# --- what is decided while somebody else is not yet done --------------------------------------------------------------


def remove_bob(team: Team) -> None:
    alice, bob = User.objects.get(username="alice"), User.objects.get(username="bob")
    people.remove(alice, membership=of(bob), handed_to=alice)


def trading_only_by_traders(team: Team) -> None:
    olga = User.objects.get(username="olga")
    switches = {name: name != "owners_trade" for name in limits.SWITCHES}
    limits.set_switches(olga, team=team, name=team.name, switches=switches)


def halt(team: Team) -> None:
    teams.locked(team)
    TradingState.objects.create(team=team, environment=ENV, state=TradingState.State.HALTED)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("who", "change", "reason"),
    [
        ("bob", remove_bob, "PERMISSION_LOST"),
        ("alice", trading_only_by_traders, "PERMISSION_LOST"),
        ("bob", halt, "TRADING_HALTED"),
        ("bob", lambda team: None, ""),
    ],
)
def test_an_order_does_not_leave_beside_what_forbids_it(
    ready: ScriptedExchange,
    team: Team,
    alice: User,
    bob: User,
    monkeypatch: pytest.MonkeyPatch,
    who: str,
    change: Callable[[Team], None],
    reason: str,
) -> None:
    member("olga", team, Membership.Role.OWNER)
    leave = orders._leave

    def meanwhile(order: Order) -> None:
        with beside(lambda: change(team)):
            leave(order)

    monkeypatch.setattr(orders, "_leave", meanwhile)
    actor = User.objects.get(username=who)

    order = orders.submit(actor, team=team, environment=ENV, ticket=a_ticket(), idempotency_key="k")

    assert (order.state, order.reason_code) == (("lapsed", reason) if reason else ("resting", ""))
    assert len(ready.sent) == (0 if reason else 1)


@pytest.mark.django_db(transaction=True)
def test_the_last_owner_who_can_log_in_is_not_locked_beside_the_others_going(team: Team, alice: User) -> None:
    olga = member("olga", team, Membership.Role.OWNER)
    User.objects.create_superuser("root", password="a long enough password")
    staff = Client()
    staff.force_login(User.objects.get(username="root"))

    with beside(lambda: people.change_role(alice, membership=of(olga), role="viewer")):
        answer = staff.post(f"/admin/auth/user/{alice.pk}/change/", {})

    assert answer.status_code == 200
    assert "North desk has no other owner" in answer.content.decode()
    assert User.objects.get(pk=alice.pk).is_active


# --- on PostgreSQL -------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_nobody_waits_for_each_other_on_postgresql() -> None:
    with servers.postgresql() as database_url:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "not long", "-p", "no:cacheprovider", __file__],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url},
            capture_output=True,
            text=True,
            check=False,
        )

    assert run.returncode == 0, run.stdout[-6_000:]
    assert "8 passed" in run.stdout
