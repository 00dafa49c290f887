"""Every route, socket action and task of the desk, asked by everybody: the answers are those of the matrix.

What is refused leaves the database as it was and nothing at the exchange. A route, action or task that the matrix does
not know fails the run.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import get_resolver, reverse
from django.urls.resolvers import URLPattern, URLResolver
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from kalshiweb.celery import app as celery_app
from kalshiweb.exchanges import Exchange
from markets import tops
from markets.kalshi.limits import LocalBudget
from markets.models import CatalogueClaim, CatalogueRun, Event, Market, Series
from markets.tops import Top
from tests.trading.conftest import ENV, TICKER, PrivateKey
from tests.trading.exchange import ScriptedExchange
from tests.trading.matrix import CAST, TASKS, Row, all_rows
from trading import audit, clients, invitations, sessions, vault
from trading.models import (
    Account,
    ApiKey,
    AuditEntry,
    DeskSession,
    Invitation,
    Membership,
    Order,
    RiskLimit,
    Team,
    TradingState,
)

PASSWORD = "a long enough password"
FAR_AWAY = "203.0.113.9"
NONE = "00000000-0000-4000-8000-000000000000"
IGNORED = {"django_session"}  # a log-in's own notes, such as its messages


@dataclass
class Side:
    """A team and one of everything that belongs to it."""

    team: Team
    account: Account
    key: ApiKey
    order: Order
    members: dict[str, Membership] = field(default_factory=dict)
    invitations: dict[str, Invitation] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)


@dataclass
class World:
    """Both teams, the cast's sessions, and the exchange."""

    own: Side
    other: Side
    sessions: dict[str, str]
    people: dict[str, User]
    exchange: ScriptedExchange

    def side(self, case: str) -> Side:
        return self.other if case == "other" else self.own

    def ask(self, who: str, row: Row) -> HttpResponse:
        client = Client(REMOTE_ADDR=FAR_AWAY, raise_request_exception=False)
        if who in self.sessions:
            client.cookies[settings.SESSION_COOKIE_NAME] = self.sessions[who]
        path = self.path(row)
        if row.method == "GET":
            return client.get(path)  # type: ignore[return-value]
        return client.post(path, self.body(row, who), headers={"Accept": self.accepts(row)})  # type: ignore[return-value]

    def accepts(self, row: Row) -> str:
        return "application/json" if row.route.startswith("trading:order_") else "text/html"

    def path(self, row: Row) -> str:
        if row.route.startswith("admin:"):
            return self.admin_path(row.route.removeprefix("admin:"))
        arguments = {**self.arguments(row), **ARGUMENTS.get(row.route, {})}
        return reverse(row.route, kwargs=arguments)

    def arguments(self, row: Row) -> dict[str, Any]:
        name, side = row.route.partition(":")[2], self.side(row.case)
        if not row.route.startswith(("trading:", "markets:")) or name in {"about", "first_password"}:
            return {}
        if name in {"welcome", "join"}:
            return {"token": side.tokens["usual"] if row.case == "own" else "made-up"}
        found: dict[str, Any] = {"environment": "moon" if row.case == "moon" else ENV}
        if row.route in TICKERS:
            found["ticker"] = "KXNONE" if row.case == "none" else TICKER
        elif name in {"order_cancel", "key_remove", "key_pause", "key_resume", "key_lend"}:
            kept = side.order.pk if name == "order_cancel" else side.key.pk
            found["pk"] = NONE if row.case == "none" else kept
        elif name == "order_state":
            found["key"] = NONE if row.case == "none" else side.order.idempotency_key
        elif name in {"member_role", "member_leave", "member_resume", "own_limits"}:
            found["pk"] = 999_999 if row.case == "none" else self.member(row).pk
        elif name == "invitation_withdraw":
            found["pk"] = side.invitations["high" if row.case == "high" else "usual"].pk
        elif name == "session_end":
            found["pk"] = self.session(row)
        return found

    def member(self, row: Row) -> Membership:
        side = self.side(row.case)
        if row.route == "trading:member_resume":
            return side.members["paused"]
        if row.case == "admin":
            return side.members["second admin"]
        if row.case in {"self", "raise"} and self.asking in side.members:
            return side.members[self.asking]
        if row.case in {"self", "raise"} and self.asking == "stranger":
            return self.other.members["stranger"]
        return side.members["colleague"]

    def session(self, row: Row) -> object:
        if row.case == "none":
            return NONE
        name = {"own": "colleague", "other": "their colleague"}.get(row.case, self.asking)
        if name not in self.people:
            name = "colleague"
        return DeskSession.objects.filter(user=self.people[name]).values_list("pk", flat=True)[0]

    asking: str = ""

    def body(self, row: Row, who: str) -> dict[str, Any]:
        make = BODIES.get(row.route)
        return make(self, row, who) if make else {}

    def admin_path(self, name: str) -> str:
        if name == "(?P<url>.*)$":
            return "/admin/no-such-page/"
        plain: dict[str, list[Any]] = {"view_on_site": [999, 999], "app_list": ["trading"]}
        model, _, view = name.rpartition("_")
        if name in plain:
            return reverse(f"admin:{name}", args=plain[name])
        if view == "redirect":
            app, _, short = model.partition("_")
            return f"/admin/{app}/{short}/{self.admin_objects[model]}/"
        if view in {"change", "delete", "history"} and model in self.admin_objects:
            return reverse(f"admin:{name}", args=[self.admin_objects[model]])
        return reverse(f"admin:{name}")

    admin_objects: dict[str, Any] = field(default_factory=dict)


TICKERS = {
    "trading:market",
    "trading:position",
    "trading:order_review",
    "trading:order_submit",
    "markets:book",
    "markets:trades",
    "markets:lookback",
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "account_confirm_email": {"key": "abc"},
    "account_reset_password_from_key": {"uidb36": "1", "key": "abc-def"},
    "mfa_remove_webauthn": {"pk": 1},
    "mfa_edit_webauthn": {"pk": 1},
}


def _ticket(world: World, row: Row, who: str) -> dict[str, Any]:
    body = {"direction": "buy-yes", "price": "48", "count": "2", "idempotency_key": str(uuid.uuid4())}
    return body | ({"team": str(world.other.team.pk)} if row.case == "other" else {})


def _role(world: World, row: Row, who: str) -> dict[str, Any]:
    return {"role": "owner" if row.case == "high" else "viewer"}


def _leave(world: World, row: Row, who: str) -> dict[str, Any]:
    return {"how": "remove", "handed_to": "stranger" if row.case == "other" else "owner"}


def _invitation(world: World, row: Row, who: str) -> dict[str, Any]:
    return {"for_whom": "Carl", "role": "admin" if row.case == "high" else "trader"}


def _team_limits(world: World, row: Row, who: str) -> dict[str, Any]:
    return {
        "team-seen": "100.00;500.00;500.00;100;0.1000",
        "team-max_order_cost": "90",
        "team-max_exposure": "500",
        "team-max_position": "500",
        "team-max_orders_per_minute": "100",
        "team-price_collar": "10",
    }


def _own_limits(world: World, row: Row, who: str) -> dict[str, Any]:
    name = f"own-{world.member(row).pk}"
    cost = "60" if row.case == "raise" else "40"
    return {f"{name}-seen": "50.00;-;-", f"{name}-max_order_cost": cost}


def _evidence(world: World, row: Row, who: str) -> dict[str, Any]:
    if row.case == "day":
        return {"day": timezone.now().date().isoformat()}
    return {"order": str(world.side(row.case).order.pk)}


def _settings(world: World, row: Row, who: str) -> dict[str, Any]:
    return {"name": "Renamed", "owners_trade": "on"}


def _choose(world: World, row: Row, who: str) -> dict[str, Any]:
    return {"to": str(world.side(row.case).team.pk)}


def _join(world: World, row: Row, who: str) -> dict[str, Any]:
    return {"username": f"new-{who}", "password": "an even longer password", "again": "an even longer password"}


BODIES: dict[str, Callable[[World, Row, str], dict[str, Any]]] = {
    "trading:order_review": _ticket,
    "trading:order_submit": _ticket,
    "trading:member_role": _role,
    "trading:member_leave": _leave,
    "trading:invitation_make": _invitation,
    "trading:team_limits": _team_limits,
    "trading:own_limits": _own_limits,
    "trading:audit_evidence": _evidence,
    "trading:team_settings": _settings,
    "trading:team_choose": _choose,
    "trading:join": _join,
    "trading:key_add": lambda world, row, who: {"name": "no key at all"},
    "admin:auth_user_change": lambda world, row, who: {"is_active": "on"},
}


# --- the world, made once ------------------------------------------------------------------------------------


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
            yield _make_world(exchange, private_key)
        transaction.set_rollback(True)
    patched.undo()


def _make_world(exchange: ScriptedExchange, private_key: PrivateKey) -> World:
    market = _market()
    people = {name: _person(name) for name in CAST if name not in {"nobody", "root"}}
    people["root"] = User.objects.create_superuser("root", password=PASSWORD)
    for name in ("colleague", "their colleague", "second admin", "paused", "their paused"):
        people[name] = _person(name)
    own = _side("North desk", exchange, private_key, owner=people["owner"], placed_by=people["colleague"])
    other = _side("South desk", exchange, private_key, owner=people["stranger"], placed_by=people["stranger"])
    for name, role in {
        "owner": "owner",
        "admin": "admin",
        "trader": "trader",
        "viewer": "viewer",
        "auditor": "auditor",
        "colleague": "trader",
        "second admin": "admin",
        "locked": "trader",
        "removed": "trader",
        "paused": "viewer",
    }.items():
        own.members[name] = _member(own.team, people[name], role)
    other.members["stranger"] = _member(other.team, people["stranger"], "owner")
    other.members["colleague"] = _member(other.team, people["their colleague"], "viewer")
    other.members["paused"] = _member(other.team, people["their paused"], "viewer")
    log_ins = {name: _log_in(name) for name in people}
    Membership.objects.filter(user=people["removed"]).update(is_active=False, left_at=timezone.now())
    Membership.objects.filter(user__username__contains="paused").update(is_active=False)
    User.objects.filter(username="locked").update(is_active=False)
    for side, by in ((own, people["owner"]), (other, people["stranger"])):
        _invite(side, by)
        audit.record("order.submitted", by, team=side.team, subject=side.order, environment=ENV)
    log_ins = {name: key for name, key in log_ins.items() if name in CAST}
    made = World(own, other, log_ins, people, exchange)
    made.admin_objects = _admin_objects(own, market)
    return made


def _market() -> Market:
    columns = {"environment": ENV, "synced_at": timezone.now()}
    Series.objects.create(ticker="KXRAIN", title="Rain", **columns)
    Event.objects.create(ticker="KXRAIN-26DEC01", series_ticker="KXRAIN", title="Rain", **columns)
    return Market.objects.create(
        ticker=TICKER,
        event_ticker="KXRAIN-26DEC01",
        status=Market.Status.ACTIVE,
        price_ranges=[[0, 10_000, 100]],
        close_at=timezone.now() + timedelta(days=1),
        **columns,
    )


def _person(name: str) -> User:
    return User.objects.create_user(name, password=PASSWORD)


def _member(team: Team, user: User, role: str) -> Membership:
    return Membership.objects.create(team=team, user=user, role=role, max_order_cost=Decimal("50.00"))


def _side(name: str, exchange: ScriptedExchange, private_key: PrivateKey, *, owner: User, placed_by: User) -> Side:
    team = Team.objects.create(name=name, slug=name.lower().replace(" ", "-"))
    account = Account.objects.create(environment=ENV, team=team, name="Main", reconciled_at=timezone.now())
    RiskLimit.objects.create(
        environment=ENV,
        team=team,
        max_order_cost=Decimal(100),
        max_exposure=Decimal(500),
        max_position=Decimal(500),
        max_orders_per_minute=100,
        price_collar=Decimal("0.1"),
    )
    TradingState.objects.create(environment=ENV, team=team)
    key = ApiKey(
        account=account,
        environment=ENV,
        key_id=str(uuid.uuid4()),
        key_type="ed25519",
        name="trading",
        scopes=["read", "write"],
        fingerprint=private_key.fingerprint,
        state="active",
        added_by=owner,
    )
    sealed = vault.seal(private_key.pem, clients.binding(key))
    key.version, key.kid, key.wrapped_key, key.ciphertext = (
        sealed.version,
        sealed.kid,
        sealed.wrapped_key,
        sealed.ciphertext,
    )
    key.save()
    there = exchange.place({"side": "bid", "ticker": TICKER, "price": "0.4000", "count": "3.00"})
    order = Order.objects.create(
        environment=ENV,
        team=team,
        account=account,
        placed_by=placed_by,
        ticker=TICKER,
        action="buy",
        side="yes",
        price=Decimal("0.40"),
        count=3,
        remaining=3,
        wire_side="bid",
        wire_price=Decimal("0.40"),
        state="resting",
        idempotency_key=str(uuid.uuid4()),
        client_order_id=str(uuid.uuid4()),
        exchange_order_id=there["order_id"],
    )
    return Side(team, account, key, order)


def _invite(side: Side, by: User) -> None:
    for name, role in {"usual": "viewer", "high": "admin"}.items():
        side.tokens[name] = invitations.invite(by, team=side.team, role=role, for_whom="Carl")
        side.invitations[name] = Invitation.objects.filter(team=side.team, role=role).get()


def _log_in(name: str) -> str:
    client = Client(REMOTE_ADDR=FAR_AWAY)
    answer = client.post("/accounts/login/", {"login": name, "password": PASSWORD})
    assert answer.status_code == 302, name
    return str(client.session.session_key)


def _admin_objects(own: Side, market: Market) -> dict[str, Any]:
    run = CatalogueRun.objects.create(environment=ENV, kind="markets", started_at=timezone.now())
    claim = CatalogueClaim.objects.create(environment=ENV)
    return {
        "auth_user": own.members["colleague"].user_id,
        "markets_series": Series.objects.get().pk,
        "markets_event": Event.objects.get().pk,
        "markets_market": market.pk,
        "markets_cataloguerun": run.pk,
        "markets_catalogueclaim": claim.pk,
        "trading_team": own.team.pk,
        "trading_membership": own.members["colleague"].pk,
        "trading_account": own.account.pk,
        "trading_risklimit": RiskLimit.objects.get(team=own.team).pk,
        "trading_tradingstate": TradingState.objects.get(team=own.team).pk,
        "trading_auditentry": AuditEntry.objects.filter(team=own.team, action="session.started")[0].pk,
    }


# --- the cells -----------------------------------------------------------------------------------------------


def digest(*, but: frozenset[str] | set[str] = frozenset()) -> str:
    """Return a digest of all tables, rows and all, without some columns."""
    found = hashlib.sha256()
    with connection.cursor() as cursor:
        for table in sorted(set(connection.introspection.table_names(cursor)) - IGNORED):
            cursor.execute(f"SELECT * FROM {table}")  # noqa: S608  (names out of the database itself)
            kept = [index for index, column in enumerate(cursor.description) if column[0] not in but]
            rows = sorted(repr([row[index] for index in kept]) for row in cursor.fetchall())
            found.update(repr((table, rows)).encode())
    return found.hexdigest()


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
        answer = world.ask(who, row)
        code = _code(answer)
        if code == "login" or int(code) >= 400:
            assert digest() == before, f"{row} as {who}: refused, and yet the database changed"
            assert len(world.exchange.requests) == requests, f"{row} as {who}: refused, and yet something was sent"
        transaction.set_rollback(True)
    return code


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


def test_every_route_stands_in_the_matrix() -> None:
    listed = {row.route for row in all_rows()}

    assert set(routes(get_resolver().url_patterns)) == listed


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
