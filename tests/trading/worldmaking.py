"""Makes the two teams of the matrix: the cast with its roles, accounts, keys, orders, invitations, log-ins."""

from __future__ import annotations

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from markets.models import CatalogueClaim, CatalogueRun, Event, Market, Series
from tests.trading.conftest import ENV, TICKER, PrivateKey
from tests.trading.exchange import ScriptedExchange
from tests.trading.matrix import CAST
from tests.trading.world import FAR_AWAY, Side, World
from trading import audit, clients, invitations, vault
from trading.models import (
    Account,
    ApiKey,
    AuditEntry,
    Invitation,
    Membership,
    Order,
    RiskLimit,
    Team,
    TradingState,
)

PASSWORD = "a long enough password"


def make_world(exchange: ScriptedExchange, private_key: PrivateKey) -> World:
    """Make both teams, everybody in them and an exchange's view of their orders; log everybody in."""
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
