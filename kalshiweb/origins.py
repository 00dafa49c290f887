"""By which names browsers may call this desk, and by which one it tells people its address. Imports no Django."""

from __future__ import annotations

from kalshiweb import env

LOCAL = ("localhost", "127.0.0.1", "[::1]")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (listened on → asked)


def hosts(bind: str) -> list[str]:
    """Return KALSHIWEB_HOSTS; without it loopback's names, and the one address that is listened on.

    An address may join them because no name server can point another site's name at it as a Host.
    """
    own = f"[{bind}]" if ":" in bind else bind
    first = [] if bind in EVERYWHERE or own == "127.0.0.1" else [own]
    return env.names("KALSHIWEB_HOSTS", ",".join([*first, *(name for name in LOCAL if name not in first)]))


def origins(bind: str, port: int) -> list[str]:
    """Return KALSHIWEB_ORIGINS; without it one for each host: behind HTTPS at its own port, else at ours."""
    names = hosts(bind)
    is_https = env.flag("KALSHIWEB_HTTPS")
    made = [f"https://{name}" if is_https else f"http://{name}:{port}" for name in names]
    return env.names("KALSHIWEB_ORIGINS", ",".join(made))


def asked_host(bind: str) -> str:
    """Return a Host that the settings accept."""
    return _named(hosts(bind)[0])


def told_url(bind: str, port: int) -> str:
    """Return the address for a person, as browsers are let in."""
    scheme, _, rest = origins(bind, port)[0].partition("://")
    return f"{scheme}://{_named(rest)}/"


def _named(pattern: str) -> str:
    """Return one name that fits a pattern of hosts: `*` is any, `.example.org` the domain and all below it."""
    return pattern.replace("*", "localhost", 1) if pattern.startswith("*") else pattern.lstrip(".")
