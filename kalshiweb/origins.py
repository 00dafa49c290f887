"""By which names browsers may call this desk, and by which one it tells people its address. Imports no Django."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

from kalshiweb import env

LOCAL = ("localhost", "127.0.0.1", "[::1]")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (listened on → asked)


def hosts(bind: str) -> list[str]:
    """Return KALSHIWEB_HOSTS; without it loopback's names, and the one address that is listened on.

    An address may join them because no name server can point another site's name at it as a Host.
    """
    own = f"[{bind}]" if ":" in bind else bind
    first = [own] if _is_address(bind) and bind not in EVERYWHERE and own != "127.0.0.1" else []
    return _some("KALSHIWEB_HOSTS", [*first, *(name for name in LOCAL if name not in first)])


def origins(bind: str, port: int) -> list[str]:
    """Return KALSHIWEB_ORIGINS; without it one for each host: behind HTTPS at its own port, else at ours."""
    names = hosts(bind)
    is_https = env.flag("KALSHIWEB_HTTPS")
    made = [f"https://{name}" if is_https else f"http://{name}:{port}" for name in names]
    return _some("KALSHIWEB_ORIGINS", made)


def asked_host(bind: str) -> str:
    """Return a Host that the settings accept."""
    return _named(hosts(bind)[0])


def told_url(bind: str, port: int) -> str:
    """Return the address for a person, as browsers are let in."""
    scheme, _, rest = origins(bind, port)[0].partition("://")
    return f"{scheme}://{_named(rest)}/"


def as_browsers_write(bind: str) -> str:
    """Return an address as it stands in a URL, without brackets and leading zeros; any other text as it is."""
    bare = bind.strip().strip("[]")
    return str(ip_address(bare)) if _is_address(bare) else bare


def _is_address(bind: str) -> bool:
    with suppress(ValueError):
        ip_address(bind)
        return True
    return False


def _some(name: str, default: list[str]) -> list[str]:
    if found := env.names(name, ",".join(default)):
        return found
    raise env.BadSetting(f"{name} names nothing: unset it, or name at least one.")


def _named(pattern: str) -> str:
    """Return one name that fits a pattern of hosts: `*` is any, `.example.org` the domain and all below it."""
    return pattern.replace("*", "localhost", 1) if pattern.startswith("*") else pattern.lstrip(".")
