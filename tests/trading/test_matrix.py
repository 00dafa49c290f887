"""Every route, socket action and task of the desk, asked by everybody: the answers are those of the matrix.

What is refused leaves the database as it was and nothing at the exchange. A route, action or task that the matrix does
not know fails the run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import override_settings
from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from kalshiweb.celery import app as celery_app
from kalshiweb.exchanges import Exchange
from markets import tops
from markets.kalshi.limits import LocalBudget
from markets.tops import Top
from tests.trading.conftest import ENV, TICKER, PrivateKey
from tests.trading.exchange import ScriptedExchange
from tests.trading.matrix import CAST, TASKS, Row, all_rows, elsewhere
from tests.trading.tables import Writes, digest
from tests.trading.world import Side, World
from tests.trading.worldmaking import make_world
from trading import clients, sessions
from trading.models import Account, ApiKey, AuditEntry, Invitation, Membership, Order, Team


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker, private_key: PrivateKey) -> Iterator[World]:
    """Make both teams once, in a transaction that is undone in the end; every cell undoes what it did."""
    patched = pytest.MonkeyPatch()
    patched.setattr(clients, "_budget", lambda account, pk: LocalBudget(read_rate=1e6, write_rate=1e6))
    # The clock of this run is a busy machine's: log-ins stay fresh, and their use is not noted, until its end.
    patched.setattr(sessions, "FRESH", timedelta(hours=1))
    patched.setattr(sessions, "NOTED_EVERY_SECONDS", 3_600)
    with ScriptedExchange() as exchange, django_db_blocker.unblock(), transaction.atomic():
        with override_settings(EXCHANGES={ENV: Exchange(ENV, exchange.rest_url, exchange.ws_url)}):
            yield make_world(exchange, private_key)
        transaction.set_rollback(True)
    patched.undo()


# --- the cells -----------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("row", all_rows(), ids=str)
def test_everybody_gets_the_answer_of_the_matrix(world: World, row: Row) -> None:
    before = digest()
    got = [_cell(world, row, who, before) for who in CAST]

    assert dict(zip(CAST, got, strict=True)) == dict(zip(CAST, row.codes, strict=True))


def _cell(world: World, row: Row, who: str, before: str) -> str:
    world.asking = who
    cache.clear()
    tops.write(ENV, {TICKER: Top(4700, 10_000, 4900, 10_000, None, "LIVE", int(timezone.now().timestamp() * 1000))})
    requests = len(world.exchange.requests)
    with transaction.atomic():
        before = digest() if world.prepare(who, row) else before
        with Writes() as writes:
            code = _code(world.ask(who, row))
            if code == "login" or int(code) >= 400 or row.case == "still":
                is_untouched = writes.are_none() or digest() == before
                assert is_untouched, f"{row} as {who}: refused, and yet the database changed"
                assert len(world.exchange.requests) == requests, f"{row} as {who}: refused, and yet something was sent"
        transaction.set_rollback(True)
    return code


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asked", "code"), elsewhere().items(), ids=lambda found: found if isinstance(found, str) else "-".join(found)
)
def test_what_belongs_to_ones_other_team_is_not_there(world: World, asked: tuple[str, str], code: str) -> None:
    world.asking = "owner"
    cache.clear()
    with transaction.atomic():
        Membership.objects.create(team=world.other.team, user=world.people["owner"], role=Membership.Role.OWNER)
        row = Row(*asked, "other", ())
        world.prepare("owner", row)
        before, requests = digest(), len(world.exchange.requests)
        got = _code(world.ask("owner", row))
        if got == "404":
            assert digest() == before
            assert len(world.exchange.requests) == requests
        transaction.set_rollback(True)

    assert got == code


def test_every_route_that_is_asked_for_another_teams_is_asked_for_ones_own_other() -> None:
    assert set(elsewhere()) == {(row.route, row.method) for row in all_rows() if row.case == "other"}


@pytest.mark.django_db
def test_every_write_is_counted_and_no_reading(world: World) -> None:
    changes: list[Callable[[], object]] = [
        lambda: Team.objects.create(name="East desk", slug="east-desk"),
        lambda: Team.objects.filter(pk=world.own.team.pk).update(name="Renamed"),
        lambda: Invitation.objects.filter(team=world.own.team).delete(),
    ]
    for change in changes:
        before = digest()
        with transaction.atomic(), Writes() as writes:
            Session.objects.update(session_data="")
            assert digest() == before
            assert writes.are_none() or connection.vendor != "sqlite"
            change()
            assert not writes.are_none()
            assert digest() != before
            transaction.set_rollback(True)


def _code(answer: HttpResponse) -> str:
    place = answer.headers.get("Location", "")
    is_log_in = answer.status_code == 302 and place.startswith(("/accounts/login/", "/admin/login/"))
    return "login" if is_log_in else str(answer.status_code)


# --- nothing is left out -------------------------------------------------------------------------------------


def routes(patterns: list[URLPattern | URLResolver], inside: str = "", before: str = "") -> Iterator[str]:
    """Yield every route of the desk as the matrix names it."""
    for pattern in patterns:
        here = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, f"{pattern.namespace}:" if pattern.namespace else inside, here)
        elif pattern.name:
            yield f"{inside}{pattern.name}"
        elif here.startswith("admin/") and here.endswith("<path:object_id>/"):
            _, app, model, _, _ = here.split("/")
            yield f"admin:{app}_{model}_redirect"
        else:
            yield f"{inside}{pattern.pattern}".replace("^", "")


def test_every_route_stands_in_the_matrix_to_be_read_and_to_be_written_to() -> None:
    wanted = {(route, method) for route in routes(get_resolver().url_patterns) for method in ("GET", "POST")}

    assert {(row.route, row.method) for row in all_rows()} == wanted


def tasks() -> dict[str, Any]:
    """Return the desk's tasks by name."""
    celery_app.autodiscover_tasks(force=True)
    return {name: task for name, task in celery_app.tasks.items() if not name.startswith("celery.")}


def test_every_task_stands_in_the_matrix() -> None:
    assert set(tasks()) == set(TASKS)


@pytest.mark.django_db
@pytest.mark.parametrize("task", [name for name, takes in TASKS.items() if takes == "account"])
@pytest.mark.parametrize("case", ["own", "other", "none"])
def test_a_task_touches_the_account_it_names_and_no_other(world: World, task: str, case: str) -> None:
    ids = {"own": world.own.account.pk, "other": world.other.account.pk, "none": 999_999}
    untouched = {"own": [world.other], "other": [world.own], "none": [world.own, world.other]}[case]
    before = [_rows_of(side) for side in untouched]

    with transaction.atomic():
        with contextlib.suppress(Account.DoesNotExist):
            tasks()[task](ids[case])
        after = [_rows_of(side) for side in untouched]
        transaction.set_rollback(True)

    assert after == before


def _rows_of(side: Side) -> list[Any]:
    """Return what a team has, as the database holds it."""
    account = Account.objects.filter(pk=side.account.pk).values_list()
    orders = Order.objects.filter(team=side.team).values_list()
    keys = ApiKey.objects.filter(account=side.account).values_list()
    record = AuditEntry.objects.filter(team=side.team).values_list("number", "hash")
    return [list(found.order_by("pk")) for found in (account, orders, keys, record)]


def test_the_matrix_is_as_large_as_it_claims() -> None:
    assert len(all_rows()) * len(CAST) >= 1_200
