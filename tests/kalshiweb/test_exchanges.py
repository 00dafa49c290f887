"""A signed request goes to the exchange's own hosts over TLS, or to this machine."""

from __future__ import annotations

import pytest

from kalshiweb import env
from kalshiweb.exchanges import read_exchanges


def test_production_is_the_documented_host_over_tls() -> None:
    exchange = read_exchanges("production")["production"]

    assert exchange.rest_url == "https://external-api.kalshi.com/trade-api/v2"
    assert exchange.ws_url == "wss://external-api-ws.kalshi.com/trade-api/ws/v2"
    assert exchange.hosts == {"external-api.kalshi.com", "external-api-ws.kalshi.com"}


def test_demo_ends_in_co() -> None:
    assert read_exchanges("demo")["demo"].rest_url == "https://external-api.demo.kalshi.co/trade-api/v2"


def test_an_override_moves_the_active_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALSHI_REST_URL", "http://127.0.0.1:9999/trade-api/v2/")

    exchanges = read_exchanges("demo")

    assert exchanges["demo"].rest_url == "http://127.0.0.1:9999/trade-api/v2"
    assert exchanges["production"].rest_url.startswith("https://external-api.kalshi.com")


@pytest.mark.parametrize("address", ["http://example.org/trade-api/v2", "ftp://127.0.0.1", "nonsense", "https://"])
def test_an_address_without_tls_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("KALSHI_REST_URL", address)

    with pytest.raises(env.BadSetting, match="KALSHI_REST_URL"):
        read_exchanges("sandbox")
