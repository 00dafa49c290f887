"""The cast: alice owns the team, bob trades in it, vera only looks, mallory owns another; and what they trade on."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.apps import apps
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings

from kalshiweb.exchanges import Exchange
from markets import tops
from markets.kalshi.limits import LocalBudget
from markets.kalshi.rest import RestClient
from markets.kalshi.signing import fingerprint, load_private_key
from markets.models import Market
from markets.tops import Top
from tests.trading.exchange import ScriptedExchange, Turn
from trading import clients, orders, vault
from trading.models import Account, ApiKey, Membership, Order, RiskLimit, Team
from trading.risk import Ticket

ENV = "sandbox"
TICKER = "KXRAIN-26DEC01-T2"
SCOPES = ("read", "write")
CENTS = [[0, 10_000, 100]]


@pytest.fixture(autouse=True)
def audit_table_can_be_emptied(request: pytest.FixtureRequest, _django_db_helper: None) -> Iterator[None]:
    """Let a transactional test end: the database refuses to empty the record, which is what it is there for."""
    marker = request.node.get_closest_marker("django_db")
    is_transactional = "transactional_db" in request.fixturenames or (marker and marker.kwargs.get("transaction"))
    yield
    if is_transactional:
        empty_audit_table()


def empty_audit_table() -> None:
    """Delete all entries behind the triggers' back, as only somebody with the database's own rights can."""
    forbid = import_module("trading.migrations.0005_archive")
    with connection.schema_editor() as editor:
        forbid.allow_changes(apps, editor)
        editor.execute("DELETE FROM trading_auditentry")
        editor.execute("DELETE FROM trading_archive")
        forbid.forbid_changes(apps, editor)


@pytest.fixture(autouse=True)
def no_old_tops() -> Iterator[None]:
    """Forget the tops of other tests."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def no_waiting_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a read that failed tried again at once; how long a client waits is told in tests/markets/kalshi."""
    monkeypatch.setattr(RestClient, "_retry_wait", lambda client, attempt, failure: 0.0)


# --- people ------------------------------------------------------------------------------------------------


@pytest.fixture
def team(db: None) -> Team:
    """Return the team that everything is about."""
    return Team.objects.create(name="North desk", slug="north-desk")


@pytest.fixture
def other_team(db: None) -> Team:
    """Return a team that must not see anything of it."""
    return Team.objects.create(name="South desk", slug="south-desk")


def member(name: str, team: Team, role: Membership.Role) -> User:
    """Make a person with a role in a team."""
    user = User.objects.create_user(name, password="a long enough password")
    Membership.objects.create(team=team, user=user, role=role)
    return user


@pytest.fixture
def alice(team: Team) -> User:
    """Return the owner."""
    return member("alice", team, Membership.Role.OWNER)


@pytest.fixture
def bob(team: Team) -> User:
    """Return a trader."""
    return member("bob", team, Membership.Role.TRADER)


@pytest.fixture
def ada(team: Team) -> User:
    """Return an admin."""
    return member("ada", team, Membership.Role.ADMIN)


@pytest.fixture
def vera(team: Team) -> User:
    """Return a viewer."""
    return member("vera", team, Membership.Role.VIEWER)


@pytest.fixture
def mallory(other_team: Team) -> User:
    """Return the owner of another team."""
    return member("mallory", other_team, Membership.Role.OWNER)


# --- account, key, limits, market ----------------------------------------------------------------------------


@pytest.fixture
def account(team: Team) -> Account:
    """Return the team's account, just compared with the exchange."""
    return Account.objects.create(environment=ENV, team=team, name="Main", reconciled_at=timezone.now())


@pytest.fixture
def limits(team: Team) -> RiskLimit:
    """Return limits that ordinary orders of a test stay under."""
    return RiskLimit.objects.create(
        environment=ENV,
        team=team,
        max_order_cost=Decimal("100.00"),
        max_exposure=Decimal("500.00"),
        max_position=Decimal("500.00"),
        max_orders_per_minute=100,
        price_collar=Decimal("0.1000"),
    )


@dataclass(frozen=True)
class PrivateKey:
    """A private key of the tests, made once."""

    pem: bytes
    fingerprint: str


@pytest.fixture(scope="session")
def private_key() -> PrivateKey:
    """Return an Ed25519 key."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return PrivateKey(pem, fingerprint(load_private_key(pem)))


@pytest.fixture
def store_key(private_key: PrivateKey) -> Callable[..., ApiKey]:
    """Return a function that gives an account a sealed key that may trade."""

    def store(
        account: Account,
        by: User,
        *,
        name: str = "trading",
        scopes: tuple[str, ...] = ("read", "write"),
        key_id: str | None = None,
        pem: str | None = None,
    ) -> ApiKey:
        key = ApiKey(
            account=account,
            environment=account.environment,
            key_id=key_id or str(uuid.uuid4()),
            key_type=ApiKey.KeyType.ED25519,
            name=name,
            scopes=list(scopes),
            fingerprint=private_key.fingerprint,
            state=ApiKey.State.ACTIVE,
            added_by=by,
        )
        sealed = vault.seal(pem.encode() if pem else private_key.pem, clients.binding(key))
        key.version, key.kid = sealed.version, sealed.kid
        key.wrapped_key, key.ciphertext = sealed.wrapped_key, sealed.ciphertext
        key.save()
        return key

    return store


@pytest.fixture
def api_key(store_key: Callable[..., ApiKey], account: Account, alice: User) -> ApiKey:
    """Return the team's key."""
    return store_key(account, alice)


@pytest.fixture
def market(db: None) -> Market:
    """Return an open market with whole-cent prices."""
    return Market.objects.create(
        environment=ENV,
        ticker=TICKER,
        event_ticker="KXRAIN-26DEC01",
        status=Market.Status.ACTIVE,
        price_ranges=CENTS,
        synced_at=timezone.now(),
    )


@pytest.fixture
def show_top() -> Callable[..., None]:
    """Return a function that has the relay say a market's top, as of now unless told otherwise."""

    def show(ticker: str = TICKER, *, bid: int | None = 4700, ask: int | None = 4900, age_ms: int = 0) -> None:
        as_of = int(timezone.now().timestamp() * 1000) - age_ms
        tops.write(ENV, {ticker: Top(bid, 10_000, ask, 10_000, None, "LIVE", as_of)})

    return show


@pytest.fixture
def top(show_top: Callable[..., None]) -> None:
    """Have the market's book stand at 47¢ bid, 49¢ asked."""
    show_top()


def a_ticket(**changes: object) -> Ticket:
    """Return a ticket for 10 YES at 48¢, changed as told."""
    usual = {"ticker": TICKER, "action": "buy", "side": "yes", "price": Decimal("0.48"), "count": Decimal(10)}
    return Ticket(**{**usual, **changes})  # type: ignore[arg-type]


# --- the exchange --------------------------------------------------------------------------------------------


@pytest.fixture
def exchange(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedExchange]:
    """Return an exchange that answers, drops, hangs and truncates as it is told; the desk is pointed at it."""
    # Tests order faster than an account may: how tokens are counted is tested by itself.
    monkeypatch.setattr(clients, "_budget", lambda account, pk: LocalBudget(read_rate=1e6, write_rate=1e6))
    with ScriptedExchange() as running:
        settings.EXCHANGES = {ENV: Exchange(ENV, running.rest_url, running.ws_url)}
        yield running


@pytest.fixture
def ready(
    exchange: ScriptedExchange, api_key: ApiKey, limits: RiskLimit, market: Market, top: None
) -> ScriptedExchange:
    """Return the exchange with everything there that an order needs."""
    return exchange


@pytest.fixture
def reader(ready: ScriptedExchange, api_key: ApiKey) -> Iterator[RestClient]:
    """Return a client that reads with the team's key."""
    with clients.rest_client(api_key, purpose="read") as client:
        yield client


@pytest.fixture
def place(ready: ScriptedExchange, bob: User, team: Team) -> Callable[..., Order]:
    """Return a function with which bob places an order; `turn` is what the exchange does with it."""
    counted = iter(range(1_000))

    def place(turn: Turn | None = None, **changes: Any) -> Order:
        ready.creates.append(turn or Turn())
        return orders.submit(
            bob, team=team, environment=ENV, ticket=a_ticket(**changes), idempotency_key=f"k{next(counted)}"
        )

    return place
