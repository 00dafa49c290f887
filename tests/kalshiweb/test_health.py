"""What the desk says about itself, and to whom."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth.models import AnonymousUser, User
from django.db import DatabaseError, connection
from django.http import Http404, HttpRequest
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings

from kalshiweb import data_dir, health, valkey
from trading.models import Account, ApiKey, Team

NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def valkey_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the socket of an embedded Valkey that answers."""
    path = data_dir.runtime_dir(tmp_path_factory.mktemp("health")) / "valkey.sock"
    with subprocess.Popen(valkey.command(path), stdout=subprocess.DEVNULL) as running:
        retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.01), 300)
        errors = [redis.ConnectionError, FileNotFoundError]
        with redis.Redis(unix_socket_path=str(path), retry=retry, retry_on_error=errors) as client:
            client.ping()
        yield path
        running.kill()


@pytest.fixture
def live_valkey(valkey_socket: Path, settings: Settings) -> Iterator[redis.Redis]:
    settings.REDIS_URL = f"unix://{valkey_socket}?db=0"
    health.valkey.cache_clear()
    yield health.valkey()
    health.valkey().flushall()
    health.valkey().close()
    health.valkey.cache_clear()


@pytest.fixture
def dead_valkey(tmp_path: Path, settings: Settings) -> Iterator[None]:
    settings.REDIS_URL = f"unix://{tmp_path}/nobody.sock?db=0"
    health.valkey.cache_clear()
    yield
    health.valkey.cache_clear()


def asked(path: str, *, user: Any = None, address: str = "127.0.0.1", **headers: str) -> HttpRequest:
    request = RequestFactory().get(path, REMOTE_ADDR=address, headers=headers)
    request.user = user or AnonymousUser()
    return request


def body(response: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(response.content)
    return found


def test_healthz_asks_nobody() -> None:
    assert health.healthz(asked("/healthz")).content == b"ok\n"


@pytest.mark.django_db
def test_readyz_says_yes_when_all_it_needs_answers(live_valkey: redis.Redis) -> None:
    response = health.readyz(asked("/readyz"))

    assert response.status_code == 200
    assert body(response) == {"ready": True, "database": "ok", "migrations": "ok", "layer": "ok"}


@pytest.mark.django_db
def test_readyz_names_a_layer_that_does_not_answer(dead_valkey: None) -> None:
    response = health.readyz(asked("/readyz"))

    assert response.status_code == 503
    assert body(response) == {"ready": False, "database": "ok", "migrations": "ok", "layer": "does not answer"}


def test_readyz_names_a_database_that_does_not_answer(
    live_valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise DatabaseError("at 10.0.0.7 with password hunter2")

    monkeypatch.setattr(connection, "cursor", refuse)

    response = health.readyz(asked("/readyz"))

    assert response.status_code == 503
    assert body(response)["database"] == "does not answer"
    assert "hunter2" not in response.content.decode()


@pytest.mark.django_db
def test_readyz_counts_migrations_that_are_not_applied(
    live_valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_is_migrated", False)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'markets'")

    response = health.readyz(asked("/readyz"))

    assert response.status_code == 503
    assert "not applied" in body(response)["migrations"]


@pytest.mark.django_db
def test_status_tells_the_age_of_each_part(live_valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW_MS / 1000)
    live_valkey.set("kalshiweb:health:feed:sandbox", json.dumps({"as_of": NOW_MS - 900, "state": "live"}))
    live_valkey.set("kalshiweb:health:worker", json.dumps({"as_of": NOW_MS - 60_000}))

    found = body(health.status(asked("/status")))

    assert found["feed"] == {"as_of": NOW_MS - 900, "state": "live", "alive": True, "age_ms": 900}
    assert found["worker"] == {"as_of": NOW_MS - 60_000, "alive": False, "age_ms": 60_000}
    assert found["beat"] == {"alive": False, "age_ms": None}
    assert found["catalogue"]["markets"] == 0


def account(name: str, *, reconciled_s_ago: int | None, key_state: str = "active") -> None:
    team, _ = Team.objects.get_or_create(name="Desk", slug="desk")
    owner, _ = User.objects.get_or_create(username="alice")
    at = None if reconciled_s_ago is None else datetime.fromtimestamp(NOW_MS / 1000 - reconciled_s_ago, UTC)
    row = Account.objects.create(environment="sandbox", team=team, name=name, reconciled_at=at)
    ApiKey.objects.create(
        account=row, environment="sandbox", key_id=name, key_type="rsa", state=key_state, added_by=owner
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([], {"alive": False, "age_ms": None}),
        ([3, 12], {"as_of": NOW_MS - 12_000, "accounts": 2, "alive": True, "age_ms": 12_000}),
        ([3, 90], {"as_of": NOW_MS - 90_000, "accounts": 2, "alive": False, "age_ms": 90_000}),
        ([3, None], {"alive": False, "age_ms": None}),
    ],
)
def test_status_tells_which_account_waits_longest_to_be_compared(
    live_valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch, ages: list[int | None], expected: dict[str, Any]
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW_MS / 1000)
    for number, age in enumerate(ages):
        account(f"a{number}", reconciled_s_ago=age)
    account("without a key", reconciled_s_ago=None, key_state="removed")

    assert body(health.status(asked("/status")))["reconcile"] == expected


@pytest.mark.django_db
def test_status_answers_while_valkey_is_gone(dead_valkey: None) -> None:
    found = body(health.status(asked("/status")))

    assert found["layer"] == "does not answer"


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["", "{", "[]", '{"as_of": "now"}'])
def test_a_sign_that_cannot_be_read_is_no_sign(live_valkey: redis.Redis, value: str) -> None:
    live_valkey.set("kalshiweb:health:worker", value)

    assert body(health.status(asked("/status")))["worker"] == {"alive": False, "age_ms": None}


@pytest.mark.parametrize(
    ("address", "headers", "allowed"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("10.0.0.9", {}, False),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.7"}, False),
        ("127.0.0.1", {"Forwarded": "for=203.0.113.7"}, False),
    ],
)
def test_status_is_for_whoever_sits_at_this_machine(address: str, headers: dict[str, str], allowed: bool) -> None:
    request = asked("/status", address=address, **headers)

    assert health.may_see_status(request) is allowed


def test_status_is_for_staff_everywhere_and_for_other_people_nowhere() -> None:
    staff, trader = User(username="sam", is_staff=True), User(username="bob")

    assert health.may_see_status(asked("/status", user=staff, address="10.0.0.9"))
    assert not health.may_see_status(asked("/status", user=trader, address="10.0.0.9"))
    with pytest.raises(Http404):
        health.status(asked("/status", user=trader, address="10.0.0.9"))


@pytest.mark.django_db
def test_a_probe_behind_https_is_answered_and_nobody_else_is(dead_valkey: None, settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    probe = Client()

    for path, status in (("/healthz/", 301), ("/status", 301), ("/accounts/login/", 301)):
        assert probe.get(path).status_code == status
    for path, status in (("/healthz", 200), ("/readyz", 503)):
        answer = probe.get(path)
        assert answer.status_code == status
        assert not answer.cookies
