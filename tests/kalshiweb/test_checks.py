"""Settings that contradict each other, or the stored keys, are found at the start, each with the next step."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from kalshiweb import checks, prepare
from trading import setup
from trading.models import ApiKey
from trading.vault import Binding, seal

GOOD_SECRET = "a" * 25 + "b" * 25
LOCAL = ["localhost", "127.0.0.1", "[::1]"]
EVERYWHERE = "0.0.0.0"  # noqa: S104
MASTER = base64.b64encode(bytes(range(100, 132))).decode()


@pytest.fixture(autouse=True)
def installation(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test an installation with no master keys."""
    settings.KALSHIWEB_DATA_DIR = tmp_path
    monkeypatch.delenv("KALSHIWEB_MASTER_KEYS", raising=False)
    monkeypatch.delenv("KALSHIWEB_MASTER_KEYS_FILE", raising=False)


@pytest.fixture
def stored_key(db: None) -> ApiKey:
    """Return a key that was sealed here."""
    desk = setup.create_team("Alice's desk", owner="alice", environment="sandbox")
    sealed = seal(b"text", Binding("api key", team="", row="", key_id=""))
    return ApiKey.objects.create(
        account=desk.account,
        environment="sandbox",
        key_id="a952bcbe-ec3b-4b5b-b8f9-11dae589608c",
        key_type="ed25519",
        name="key",
        fingerprint="",
        added_by=desk.owner,
        version=sealed.version,
        kid=sealed.kid,
        wrapped_key=sealed.wrapped_key,
        ciphertext=sealed.ciphertext,
    )


def ids(found: list[Any]) -> list[str]:
    """Return the checks' ids."""
    return [str(message.id) for message in found]


@pytest.mark.parametrize(
    ("secret", "expected"),
    [(GOOD_SECRET, []), ("short", ["kalshiweb.E001"]), ("django-insecure-" + GOOD_SECRET, ["kalshiweb.E001"])],
)
def test_a_secret_key_that_could_be_guessed_is_refused(settings: Any, secret: str, expected: list[str]) -> None:
    settings.SECRET_KEY = secret

    assert ids(checks.check_secret_key(None)) == expected


@pytest.mark.parametrize(
    ("environment", "debug", "hosts", "expected"),
    [
        ("production", True, ["desk.example"], ["kalshiweb.E002"]),
        ("production", False, ["*"], ["kalshiweb.E003"]),
        ("production", False, ["desk.example"], []),
        ("sandbox", True, ["*"], []),
    ],
)
def test_production_is_refused_with_open_doors(
    settings: Any, environment: str, debug: bool, hosts: list[str], expected: list[str]
) -> None:
    settings.ENVIRONMENT, settings.DEBUG, settings.ALLOWED_HOSTS = environment, debug, hosts
    settings.HTTPS = True

    assert ids(checks.check_production_doors(None)) == expected


@pytest.mark.parametrize(
    ("environment", "https", "bind", "hosts", "expected"),
    [
        ("production", False, EVERYWHERE, LOCAL, ["kalshiweb.E008"]),
        ("production", False, "10.0.0.7", ["10.0.0.7", *LOCAL], ["kalshiweb.E008"]),
        ("production", False, "::", LOCAL, ["kalshiweb.E008"]),
        # The web server listens on loopback, or was started by hand: the names say that other machines come.
        ("production", False, "127.0.0.1", ["desk.example"], ["kalshiweb.E008"]),
        ("production", False, "127.0.0.1", [".desk.example", *LOCAL], ["kalshiweb.E008"]),
        ("production", False, "127.0.0.1", LOCAL, []),
        ("production", False, "127.0.0.2", ["127.0.0.2", *LOCAL], []),
        ("production", False, "::1", LOCAL, []),
        ("production", False, "localhost", LOCAL, []),
        ("production", True, EVERYWHERE, ["desk.example"], []),
        ("demo", False, EVERYWHERE, ["desk.example"], []),
        ("sandbox", False, EVERYWHERE, ["desk.example"], []),
    ],
)
def test_production_is_served_to_other_machines_over_https_alone(
    settings: Any, environment: str, https: bool, bind: str, hosts: list[str], expected: list[str]
) -> None:
    settings.ENVIRONMENT, settings.HTTPS, settings.BIND, settings.ALLOWED_HOSTS = environment, https, bind, hosts

    assert ids(checks.check_production_doors(None)) == expected


def test_the_start_says_what_keeps_production_from_plain_http(db: None, settings: Any) -> None:
    settings.ENVIRONMENT, settings.HTTPS, settings.BIND, settings.ALLOWED_HOSTS = "production", False, EVERYWHERE, LOCAL

    with pytest.raises(prepare.CannotPrepare) as refused:
        prepare.check_doors()

    assert str(refused.value) == (
        "Production would be served to other machines over plain HTTP: passwords and sessions could be read on the way."
        " Put a proxy with a certificate in front and set KALSHIWEB_HTTPS=1 and KALSHIWEB_BEHIND_PROXY=1; or serve this"
        " machine alone, with the bind address 127.0.0.1 and no KALSHIWEB_HOSTS."
    )


@pytest.mark.parametrize(
    ("https", "header", "expected"),
    [
        (True, None, ["kalshiweb.W009"]),
        (True, ("HTTP_X_FORWARDED_PROTO", "https"), []),
        (False, None, []),
    ],
)
def test_https_that_nothing_tells_of_is_warned_of(
    settings: Any, https: bool, header: tuple[str, str] | None, expected: list[str]
) -> None:
    settings.HTTPS, settings.SECURE_PROXY_SSL_HEADER = https, header

    assert ids(checks.check_proxy(None)) == expected


def test_a_new_installation_needs_no_master_key(db: None) -> None:
    assert checks.check_master_keys(None) == []


def test_stored_keys_with_their_master_key_are_fine(stored_key: ApiKey) -> None:
    assert checks.check_master_keys(None) == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [("production", "kalshiweb.E004"), ("demo", "kalshiweb.W004"), ("sandbox", "kalshiweb.W004")],
)
def test_a_missing_master_key_is_named_and_stops_production(
    stored_key: ApiKey, settings: Any, tmp_path: Path, environment: str, expected: str
) -> None:
    settings.ENVIRONMENT = environment
    (tmp_path / "master.keys").unlink()

    (found,) = checks.check_master_keys(None)

    assert found.id == expected
    assert stored_key.kid in found.msg


def test_a_ring_that_others_can_read_is_refused(stored_key: ApiKey, tmp_path: Path) -> None:
    (tmp_path / "master.keys").chmod(0o644)

    assert ids(checks.check_master_keys(None)) == ["kalshiweb.E005"]


def test_a_ring_that_cannot_be_read_is_refused_without_showing_it(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALSHIWEB_MASTER_KEYS", "my-secret-ring")

    (found,) = checks.check_master_keys(None)

    assert found.id == "kalshiweb.E005"
    assert "my-secret-ring" not in f"{found.msg}{found.hint}"


def test_the_secret_key_must_not_be_a_master_key(db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALSHIWEB_MASTER_KEYS", MASTER)
    settings.SECRET_KEY = MASTER

    assert ids(checks.check_master_keys(None)) == ["kalshiweb.E006"]


@pytest.mark.parametrize(
    ("database_url", "is_embedded", "expected"),
    [("postgres://db/desk", True, ["kalshiweb.W001"]), ("postgres://db/desk", False, []), ("", True, [])],
)
def test_a_desk_of_which_one_half_is_scaled_is_warned_of(
    settings: Any, database_url: str, is_embedded: bool, expected: list[str]
) -> None:
    settings.DATABASE_URL, settings.IS_EMBEDDED_VALKEY = database_url, is_embedded

    assert ids(checks.check_embedded_parts(None)) == expected
