"""Where each environment of the exchange lives.

Source: Kalshi's documentation of environments (hosts recommended since May 2026).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from kalshiweb import env

ENVIRONMENTS = ("sandbox", "demo", "production")

DEFAULT_HOSTS = {
    "sandbox": ("http://127.0.0.1:8790/trade-api/v2", "ws://127.0.0.1:8790/trade-api/ws/v2"),
    "demo": (
        "https://external-api.demo.kalshi.co/trade-api/v2",
        "wss://external-api-ws.demo.kalshi.co/trade-api/ws/v2",
    ),
    "production": (
        "https://external-api.kalshi.com/trade-api/v2",
        "wss://external-api-ws.kalshi.com/trade-api/ws/v2",
    ),
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """The two addresses of one environment and the hosts a request may go to."""

    environment: str
    rest_url: str
    ws_url: str

    @property
    def hosts(self) -> frozenset[str]:
        """Host names that signed requests may be sent to."""
        return frozenset(filter(None, (urlsplit(self.rest_url).hostname, urlsplit(self.ws_url).hostname)))


def read_exchanges(active: str) -> dict[str, Exchange]:
    """Return every environment's addresses; KALSHI_REST_URL and KALSHI_WS_URL move the active one."""
    exchanges = {name: Exchange(name, *urls) for name, urls in DEFAULT_HOSTS.items()}
    rest_url, ws_url = DEFAULT_HOSTS[active]
    exchanges[active] = Exchange(
        active,
        env.exchange_url("KALSHI_REST_URL", rest_url, schemes=("https", "http")),
        env.exchange_url("KALSHI_WS_URL", ws_url, schemes=("wss", "ws")),
    )
    return exchanges
