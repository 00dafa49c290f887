"""No change without its entry: where the record cannot be written, nothing is changed and no order leaves.

Every public function of the desk that takes an actor is tried, found by looking at the modules: one that is new and not
tried here fails the test.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from pytest_django.fixtures import Settings

import trading
from tests.trading import keyexchange
from tests.trading.conftest import TICKER, a_ticket, member
from tests.trading.exchange import ScriptedExchange
from tests.trading.keyexchange import MadeKey
from tests.trading.tables import digest
from tests.trading.test_models import an_order
from trading import checkpoints, evidence, invitations, keys, limits, orders, people, sessions, setup
from trading.keys import KeyRefused
from trading.limits import OwnLimits, TeamLimits
from trading.models import Account, ApiKey, DeskSession, Invitation, Membership, Order, RiskLimit, Team
from trading.setup import Desk

# Functions that take an actor and change nothing by themselves: they write the entry, in their caller's transaction.
WRITERS = {
    "trading.audit.record",
    "trading.audit.record_once",
    "trading.people.record_lock",
    "trading.teams.record_in_each",
}


class Scene:
    """One of everything that can be changed."""

    def __init__(self, team: Team, account: Account, key: ApiKey, alice: User, bob: User, there: str) -> None:
        self.team, self.account, self.key, self.alice, self.bob = team, account, key, alice, bob
        self.bobs = Membership.objects.select_related("team", "user").get(user=bob)
        paused = member("paula", team, Membership.Role.VIEWER)
        Membership.objects.filter(user=paused).update(is_active=False)
        self.paused = Membership.objects.select_related("team", "user").get(user=paused)
        self.order = an_order(account, placed_by=alice, exchange_order_id=there)
        self.token = invitations.invite(alice, team=team, role="viewer", for_whom="Carl")
        self.invitation = Invitation.objects.get()
        self.stranger = User.objects.create_user("stranger")
        columns = {"started_at": team.created_at, "seen_at": team.created_at}
        Authenticator.objects.create(user=bob, type=Authenticator.Type.TOTP, data={})
        self.session = DeskSession.objects.create(session_key="k" * 32, user=bob, **columns)


Call = Callable[[Scene], Any]
CHANGES: dict[str, Call] = {
    "trading.orders.submit": lambda s: orders.submit(
        s.alice, team=s.team, environment="sandbox", ticket=a_ticket(), idempotency_key="k"
    ),
    "trading.orders.cancel": lambda s: orders.cancel(s.alice, order=s.order),
    "trading.keys.remove": lambda s: keys.remove(s.alice, key=s.key),
    "trading.keys.pause": lambda s: keys.pause(s.alice, key=s.key),
    "trading.keys.lend_feed": lambda s: keys.lend_feed(s.alice, key=s.key),
    "trading.keys.take_back": lambda s: keys.take_back(s.alice, key=s.key),
    "trading.people.change_role": lambda s: people.change_role(
        s.alice, membership=s.bobs, role="viewer", handed_to=s.alice
    ),
    "trading.people.forget_second_factor": lambda s: people.forget_second_factor(s.alice, membership=s.bobs),
    "trading.people.pause": lambda s: people.pause(s.alice, membership=s.bobs, handed_to=s.alice),
    "trading.people.remove": lambda s: people.remove(s.alice, membership=s.bobs, handed_to=s.alice),
    "trading.people.resume": lambda s: people.resume(s.alice, membership=s.paused),
    "trading.invitations.invite": lambda s: invitations.invite(s.alice, team=s.team, role="viewer", for_whom="Dora"),
    "trading.invitations.withdraw": lambda s: invitations.withdraw(s.alice, invitation=s.invitation),
    "trading.invitations.accept": lambda s: invitations.accept(s.stranger, token=s.token),
    "trading.invitations.accept_new": lambda s: invitations.accept_new(
        s.token, username="carl", password="an even longer password"
    ),
    "trading.limits.set_own": lambda s: limits.set_own(
        s.alice, membership=s.bobs, before=OwnLimits(None, None, None), after=OwnLimits(Decimal(1), None, None)
    ),
    "trading.limits.set_team": lambda s: limits.set_team(
        s.alice,
        team=s.team,
        environment="sandbox",
        before=limits.team_limits(s.team, "sandbox"),
        after=TeamLimits(Decimal(1), Decimal(1), Decimal(1), 1, Decimal(0)),
    ),
    "trading.limits.set_switches": lambda s: limits.set_switches(
        s.alice, team=s.team, name="Ours", switches=dict.fromkeys(limits.SWITCHES, True)
    ),
    "trading.sessions.end": lambda s: sessions.end(s.alice, session=s.session, team=s.team),
    "trading.sessions.forget_second_factor": lambda s: sessions.forget_second_factor(s.bob, actor=s.alice),
    "trading.evidence.of_order": lambda s: evidence.of_order(s.alice, order=s.order),
    "trading.evidence.of_day": lambda s: evidence.of_day(s.alice, team=s.team, day=s.invitation.created_at.date()),
}


KeyCall = Callable[[Desk, ApiKey, MadeKey], Any]
# What talks to the exchange about keys first: the key of the desk, and one that its owner has made there.
KEY_CHANGES: dict[str, KeyCall] = {
    "trading.keys.add": lambda d, key, made: keys.add(
        d.owner, account=d.account, name="second", key_id=made.key_id, pem=made.pem
    ),
    "trading.keys.generate": lambda d, key, made: keys.generate(d.owner, account=d.account, name="b", signed_by=key),
    "trading.keys.exchange_first": lambda d, key, made: keys.exchange_first(
        d.owner, account=d.account, name="c", key_id=made.key_id, pem=made.pem
    ),
    "trading.keys.rotate": lambda d, key, made: keys.rotate(d.owner, key=key),
    "trading.keys.resume": lambda d, key, made: keys.resume(d.owner, key=key),
}


@contextmanager
def a_record_that_cannot_be_written() -> Iterator[None]:
    """Let the database itself refuse every new entry, as one does whose disk is full."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER no_more BEFORE INSERT ON trading_auditentry BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        yield
        cursor.execute("DROP TRIGGER no_more")


@pytest.fixture
def scene(
    ready: ScriptedExchange,
    settings: Settings,
    tmp_path: Any,
    team: Team,
    account: Account,
    api_key: ApiKey,
    alice: User,
    bob: User,
) -> Scene:
    """Make one of everything."""
    settings.KALSHIWEB_DATA_DIR = tmp_path
    there = ready.place({"side": "bid", "ticker": TICKER, "price": "0.4800", "count": "10.00"})
    made = Scene(team, account, api_key, alice, bob, there["order_id"])
    an_order(account, placed_by=bob, client_order_id="c")
    made.order.note("cancel_refused", cancel_requested_at=None)
    checkpoints.make(team)
    return made


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the refusing trigger is written for SQLite")
@pytest.mark.parametrize("name", CHANGES)
def test_without_the_record_nothing_is_changed_and_no_order_leaves(
    scene: Scene, ready: ScriptedExchange, name: str
) -> None:
    before, requests = digest(), len(ready.sent) + ready.cancels_sent

    with a_record_that_cannot_be_written(), pytest.raises((DatabaseError, KeyRefused)), transaction.atomic():
        CHANGES[name](scene)

    assert digest() == before
    assert len(ready.sent) + ready.cancels_sent == requests


@pytest.mark.parametrize("name", CHANGES)
def test_with_the_record_each_of_them_changes_something(scene: Scene, name: str) -> None:
    before = digest()
    if name.endswith("take_back"):
        ApiKey.objects.update(is_feed=True)
        scene.key.refresh_from_db()

    CHANGES[name](scene)

    assert digest() != before


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="the refusing trigger is written for SQLite")
@pytest.mark.parametrize("name", KEY_CHANGES)
def test_without_the_record_no_key_is_stored_or_changed(settings: Settings, tmp_path: Any, name: str) -> None:
    settings.KALSHIWEB_DATA_DIR = tmp_path
    with keyexchange.running(settings) as exchange:
        desk = setup.create_team("Alice's desk", owner="alice", environment="sandbox")
        first, second = exchange.make_key(), exchange.make_key()
        key = keys.add(desk.owner, account=desk.account, name="first", key_id=first.key_id, pem=first.pem)
        if name.endswith("resume"):
            keys.pause(desk.owner, key=key)
        before = digest(but={"last_used_at", "probed_at"})

        with a_record_that_cannot_be_written(), pytest.raises((DatabaseError, KeyRefused)):
            KEY_CHANGES[name](desk, key, second)

        assert digest(but={"last_used_at", "probed_at"}) == before
        KEY_CHANGES[name](desk, key, second)
        assert digest(but={"last_used_at", "probed_at"}) != before


def functions_with_an_actor() -> set[str]:
    """Return the public functions of the desk's modules, pages aside, that somebody acts through."""
    found = {"trading.invitations.accept_new"}  # whoever acts does not exist before
    for module_info in pkgutil.iter_modules(trading.__path__, "trading."):
        if module_info.name.rpartition(".")[2] in {"views", "migrations", "templatetags", "admin", "urls"}:
            continue
        module = importlib.import_module(module_info.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            is_public = not name.startswith("_") and function.__module__ == module.__name__
            if is_public and "actor" in inspect.signature(function).parameters:
                found.add(f"{module.__name__}.{name}")
    return found


def test_every_function_that_somebody_acts_through_is_tried() -> None:
    assert functions_with_an_actor() == set(CHANGES) | set(KEY_CHANGES) | WRITERS


def test_the_limits_of_a_scene_are_those_of_the_fixture(scene: Scene) -> None:
    assert RiskLimit.objects.get().max_order_cost == Decimal(100)
    assert Order.objects.count() == 2
